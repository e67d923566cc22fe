//! The module behind QEMU's GDB port. Its time is the machine's, and skips ahead to whatever somebody
//! waits for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::model::{BASE, LENGTH, Model};
use crate::{
    access::Width,
    gdb::{self, Bus, Device},
    models::usdhc::{BusError, Memory},
};

/// Puts `model` on `bus`, for both stages.
#[must_use]
pub fn attach(bus: Bus, model: &Arc<Mutex<Model>>) -> Bus {
    let window = Window { model: Arc::clone(model), skipped: Duration::ZERO };
    bus.with_staying(BASE.into(), LENGTH.into(), window)
}

struct Window {
    model: Arc<Mutex<Model>>,
    skipped: Duration,
}

/// The machine's memory.
struct Master<'a>(&'a mut dyn gdb::Machine);

impl Memory for Master<'_> {
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), BusError> {
        self.0.read(address.into(), bytes).map_err(|_| BusError)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusError> {
        self.0.write(address.into(), bytes).map_err(|_| BusError)
    }
}

impl Device for Window {
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn gdb::Machine) -> u64 {
        let now = machine.now() + self.skipped;
        let mut model = self.model.lock().expect("no one panics with the model");
        let offset = model.offset(offset, width);
        let value = model.read(offset, now, &mut Master(machine));
        // Whoever looks waits for something: the next look finds it done.
        if let Some(at) = model.next_change().filter(|at| *at != Duration::MAX) {
            self.skipped += at.saturating_sub(now);
        }
        value.into()
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn gdb::Machine) {
        let now = machine.now() + self.skipped;
        let mut model = self.model.lock().expect("no one panics with the model");
        let offset = model.offset(offset, width);
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
        model.write(offset, value, now, &mut Master(machine));
    }
}
