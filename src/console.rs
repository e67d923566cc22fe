//! The serial console: what a person reads and types, and the log.
//!
//! A line of the log begins with `firn: `; whoever reports an error puts its code in front, as
//! `[E503]`. `Console` is usable from the moment the UART runs, before the MMU; the log, which
//! needs atomics, after it.

#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use log::{Level, LevelFilter, Record};

/// What the log shows unless somebody asks for more.
pub const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;

/// Puts a carriage return in front of line feeds that have none, as a terminal wants it.
pub struct Lines<W> {
    inner: W,
    after_return: bool,
}

impl<W: Write> Lines<W> {
    /// Begins a line.
    pub const fn new(inner: W) -> Self {
        Self { inner, after_return: false }
    }

    /// What is written to.
    pub fn inner(&mut self) -> &mut W {
        &mut self.inner
    }
}

impl<W: Write> Write for Lines<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            let (line, ends) = match piece.strip_suffix('\n') {
                Some(line) => (line, true),
                None => (piece, false),
            };
            self.inner.write_str(line)?;
            if !line.is_empty() {
                self.after_return = line.ends_with('\r');
            }
            if ends {
                self.inner.write_str(if self.after_return { "\n" } else { "\r\n" })?;
                self.after_return = false;
            }
        }
        Ok(())
    }
}

/// Writes `record` as a line of the log.
pub fn write_record(out: &mut impl Write, record: &Record<'_>) -> fmt::Result {
    let prefix = match record.level() {
        // An error speaks for itself, by its code.
        Level::Error | Level::Info => "firn: ",
        Level::Warn => "firn: warning: ",
        Level::Debug => "firn: debug: ",
        Level::Trace => "firn: trace: ",
    };
    out.write_str(prefix)?;
    out.write_fmt(*record.args())?;
    out.write_str("\n")
}

#[cfg(target_os = "none")]
pub(crate) use hardware::emergency;
#[cfg(target_os = "none")]
pub use hardware::{Console, start, start_log};

#[cfg(target_os = "none")]
mod hardware {
    use core::cell::{Cell, RefCell};

    use log::{Log, Metadata};

    use super::*;
    use crate::arch::single_core::{Late, SingleCore};
    use crate::arch::timer::GenericTimer;
    use crate::board::BOARD;
    use crate::driver::uart::Uart;
    use crate::mmio::Hardware;
    use crate::time::Clock;

    type Port = Lines<Uart<Hardware, GenericTimer>>;

    static PORT: SingleCore<RefCell<Late<Port>>> = SingleCore::new(RefCell::new(Late::Absent));
    static STARTED: SingleCore<Cell<bool>> = SingleCore::new(Cell::new(false));

    fn port(bus: Hardware) -> Port {
        let mut uart = Uart::new(bus, GenericTimer, BOARD.console_uart);
        if !STARTED.replace(true) {
            uart.initialise(BOARD.console_setup);
        }
        Lines::new(uart)
    }

    /// Starts the board's console.
    pub fn start(bus: Hardware) -> Console {
        PORT.replace(Late::Present(port(bus)));
        Console
    }

    /// Sends the log to the console, from `level` on.
    pub fn start_log(level: LevelFilter) {
        // Fails only if a logger is set already.
        let _ = log::set_logger(&LOG);
        log::set_max_level(level);
    }

    /// A way to the line that does not go through the one console, which whoever failed may be
    /// holding.
    pub(crate) fn emergency(bus: Hardware) -> impl Write {
        port(bus)
    }

    /// The one console. All handles are the same.
    #[derive(Clone, Copy, Debug)]
    pub struct Console;

    impl Console {
        /// The next byte that was typed, if there is one. Whoever waits for keys alone looks at the
        /// clock here, which serves a running watchdog.
        pub fn read(&self) -> Option<u8> {
            GenericTimer.now();
            self.with(|port| port.inner().read()).flatten()
        }

        /// Waits until everything written is on the line.
        pub fn flush(&self) {
            self.with(|port| port.inner().flush());
        }

        /// Whether typed keys were lost since the last question.
        pub fn take_lost(&self) -> bool {
            self.with(|port| port.inner().take_lost()).unwrap_or(false)
        }

        fn with<T>(self, action: impl FnOnce(&mut Port) -> T) -> Option<T> {
            PORT.try_borrow_mut().ok()?.as_mut().map(action)
        }
    }

    impl Write for Console {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.with(|port| port.write_str(text)).unwrap_or(Err(fmt::Error))
        }
    }

    struct ConsoleLog;

    static LOG: ConsoleLog = ConsoleLog;

    impl Log for ConsoleLog {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= log::max_level()
        }

        fn log(&self, record: &Record<'_>) {
            if self.enabled(record.metadata()) {
                // A line that cannot be written has nowhere else to go.
                let _ = write_record(&mut Console, record);
            }
        }

        fn flush(&self) {
            Console.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn lines(pieces: &[&str]) -> String {
        let mut out = Lines::new(String::new());
        pieces.iter().for_each(|piece| out.write_str(piece).unwrap());
        out.inner
    }

    #[test]
    fn every_line_ends_with_return_and_feed() {
        assert_eq!(lines(&["a\nb\n", "\n"]), "a\r\nb\r\n\r\n");
        assert_eq!(lines(&["a\r\nb\r", "\n", "c"]), "a\r\nb\r\nc");
        assert_eq!(lines(&["a", "", "\n"]), "a\r\n");
    }

    #[test]
    fn levels_are_told_apart_and_errors_speak_by_their_code() {
        let line = |level, text: &'static str| {
            let mut out = String::new();
            let args = format_args!("{text}");
            write_record(&mut out, &Record::builder().level(level).args(args).build()).unwrap();
            out
        };
        assert_eq!(line(Level::Info, "hello"), "firn: hello\n");
        assert_eq!(line(Level::Error, "[E101] no card"), "firn: [E101] no card\n");
        assert_eq!(line(Level::Warn, "slow"), "firn: warning: slow\n");
        assert_eq!(line(Level::Debug, "x"), "firn: debug: x\n");
    }
}
