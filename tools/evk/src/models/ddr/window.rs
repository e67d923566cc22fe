//! The model behind QEMU's GDB port: a window for each range of addresses that it answers for.

use std::sync::{Arc, Mutex};

use super::{Model, Width, controller, phy};
use crate::gdb::{Bus, Device, decode};

/// Ranges that QEMU has nothing behind: the PHY, the subsystem with its controller, and the page
/// with the controller's resets.
const WINDOWS: [(u32, u32); 3] = [
    (phy::BASE, phy::END),
    (controller::SUBSYSTEM, controller::END),
    (controller::RESET, controller::RESET + 0x1000),
];

/// Puts `model` on `bus`. Clocks and power stay QEMU's, so they count as set up.
#[must_use]
pub fn attach(mut bus: Bus, model: &Arc<Mutex<Model>>) -> Bus {
    model.lock().expect("no one panics with the model").assume_clocks();
    for (start, end) in WINDOWS {
        let window = Window { start, model: Arc::clone(model) };
        bus = bus.with(start.into(), (end - start).into(), window);
    }
    bus
}

struct Window {
    start: u32,
    model: Arc<Mutex<Model>>,
}

impl Window {
    fn address(&self, offset: u64) -> u32 {
        self.start + u32::try_from(offset).expect("a window is smaller than 4 GiB")
    }

    fn with<T>(&self, access: impl FnOnce(&mut Model) -> T) -> T {
        access(&mut self.model.lock().expect("no one panics with the model"))
    }
}

fn width(width: decode::Width) -> Option<Width> {
    match width {
        decode::Width::Half => Some(Width::Half),
        decode::Width::Word => Some(Width::Word),
        decode::Width::Byte | decode::Width::Double => None,
    }
}

impl Device for Window {
    fn read(&mut self, offset: u64, wide: decode::Width) -> u64 {
        let address = self.address(offset);
        self.with(|model| match width(wide) {
            Some(width) => model.read(address, width).into(),
            None => {
                model.rules.require(false, || format!("{wide:?} load from {address:#x}"));
                0
            }
        })
    }

    fn write(&mut self, offset: u64, wide: decode::Width, value: u64) {
        let address = self.address(offset);
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
        self.with(|model| match width(wide) {
            Some(width) => model.write(address, width, value),
            None => model.rules.require(false, || format!("{wide:?} store to {address:#x}")),
        });
    }
}
