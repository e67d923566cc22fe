//! The loader's log, which goes to the line of the board that this thread is booting, and what it
//! panics with.

use std::{
    cell::{Cell, RefCell},
    panic,
    rc::Rc,
    sync::Once,
};

use firn::{
    console::{self, Lines},
    driver::uart::Uart,
};
use log::{LevelFilter, Log, Metadata, Record};

use super::line::Line;

/// The console.
pub(super) type Port = Rc<RefCell<Lines<Uart<&'static Line, &'static Line>>>>;

thread_local! {
    static PORT: RefCell<Option<Port>> = const { RefCell::new(None) };
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

struct ToPort;

impl Log for ToPort {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        PORT.with_borrow(|port| {
            if let Some(mut port) = port.as_ref().and_then(|port| port.try_borrow_mut().ok()) {
                let _ = console::write_record(&mut *port, record);
            }
        });
    }

    fn flush(&self) {}
}

/// Sends this thread's log there.
pub(super) fn to(port: Option<Port>) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // A test of this process may have a log of its own.
        if log::set_logger(&ToPort).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A boot's panic is an outcome; any other one is somebody else's.
            if PORT.with_borrow(Option::is_some) {
                PLACE.set(info.location().map(|place| format!(" at {place}")));
            } else {
                before(info);
            }
        }));
    });
    PORT.set(port);
}

/// Where this thread has panicked.
pub(super) fn take_place() -> String {
    PLACE.take().unwrap_or_default()
}
