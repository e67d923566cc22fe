//! The model behind QEMU's GDB port: a window for each range of addresses that it answers for.

use std::sync::{Arc, Mutex};

use super::{Model, controller, phy};
use crate::{
    access::Width,
    gdb::{self, Bus, Device},
};

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

/// Whether the subsystem has registers of this width.
fn has(width: Width) -> bool {
    matches!(width, Width::Half | Width::Word)
}

impl Device for Window {
    fn read(&mut self, offset: u64, width: Width, _: &mut dyn gdb::Machine) -> u64 {
        let address = self.address(offset);
        self.with(|model| {
            if has(width) {
                return model.read(address, width).into();
            }
            model.rules.require(false, || format!("{width:?} load from {address:#x}"));
            0
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut dyn gdb::Machine) {
        let address = self.address(offset);
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
        self.with(|model| {
            if has(width) {
                return model.write(address, width, value);
            }
            model.rules.require(false, || format!("{width:?} store to {address:#x}"));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, time::Duration};

    use firn::{
        board::MEMORY,
        ddr::{
            bring_up,
            saved::{ADDRESS, Saved, words},
        },
        mmio, time,
    };

    use super::*;
    use crate::{gdb::NoMachine, models::ddr::blobs::Blobs};

    const PLL: u32 = 0x3036_0050;

    /// A machine with windows to the model, whose own registers keep what is written.
    struct Machine {
        windows: RefCell<Vec<(u32, u32, Window)>>,
        registers: RefCell<BTreeMap<u32, u32>>,
    }

    impl Machine {
        fn new(model: &Arc<Mutex<Model>>) -> Self {
            let windows = WINDOWS
                .map(|(start, end)| (start, end, Window { start, model: Arc::clone(model) }));
            Self { windows: RefCell::new(windows.into()), registers: RefCell::default() }
        }

        fn access<T>(&self, address: u32, access: impl FnOnce(&mut Window, u64) -> T) -> Option<T> {
            let mut windows = self.windows.borrow_mut();
            let window =
                windows.iter_mut().find(|(start, end, _)| (*start..*end).contains(&address));
            window.map(|(start, _, window)| access(window, u64::from(address - *start)))
        }

        fn load(&self, address: u32, width: Width) -> u32 {
            let seen =
                self.access(address, |window, offset| window.read(offset, width, &mut NoMachine));
            let own = || self.registers.borrow().get(&address).copied().unwrap_or(0);
            seen.map_or_else(own, |value| u32::try_from(value).unwrap())
        }

        fn store(&self, address: u32, width: Width, value: u32) {
            if self
                .access(address, |window, offset| {
                    window.write(offset, width, value.into(), &mut NoMachine)
                })
                .is_none()
            {
                self.registers.borrow_mut().insert(address, value);
            }
        }
    }

    impl mmio::Bus for Machine {
        fn read16(&self, address: u32) -> u16 {
            u16::try_from(self.load(address, Width::Half)).unwrap()
        }

        fn write16(&self, address: u32, value: u16) {
            self.store(address, Width::Half, value.into());
        }

        fn read32(&self, address: u32) -> u32 {
            let locked = if address == PLL { 1 << 31 } else { 0 };
            self.load(address, Width::Word) | locked
        }

        fn write32(&self, address: u32, value: u32) {
            self.store(address, Width::Word, value);
        }
    }

    struct Instant;

    impl time::Clock for Instant {
        fn now(&self) -> Duration {
            static LOOKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            Duration::from_micros(LOOKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
    }

    #[test]
    fn memory_is_brought_up_through_windows_beside_the_machines_own_clocks() {
        let model = Arc::new(Mutex::new(Model::new(&[])));
        let _bus = attach(Bus::default(), &model);
        let machine = Machine::new(&model);
        let blobs = Blobs::raw();
        let mut room = vec![0; words(MEMORY.timing)];
        let saved = Saved::new(ADDRESS, &mut room, MEMORY.timing).unwrap();
        let firmware = blobs.firmware().unwrap();
        let online = bring_up(&machine, &Instant, MEMORY.timing, firmware, saved).map(|_| ());
        assert_eq!(online, Ok(()));
        let model = model.lock().unwrap();
        assert_eq!(model.broken_rules(), [""; 0]);
        assert!(model.is_online());
    }

    #[test]
    fn an_access_of_another_width_breaks_a_rule() {
        let model = Arc::new(Mutex::new(Model::new(&[])));
        let mut window = Window { start: phy::BASE, model: Arc::clone(&model) };
        window.write(0, Width::Double, 0, &mut NoMachine);
        assert_eq!(window.read(0, Width::Byte, &mut NoMachine), 0);
        assert_eq!(model.lock().unwrap().broken_rules().len(), 2);
    }
}
