//! The subsystem with the engine on it: registers, time that passes with every look, and a record
//! of all stores.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use firn::{mmio::Bus, time::Clock};

use super::{Fault, Model};
use crate::access::{Store, Width};

/// What a register access takes where nobody says otherwise, and a look at the clock.
const ACCESS: Duration = Duration::from_nanos(100);
const LOOK: Duration = Duration::from_nanos(100);
/// After so many looks without a store each takes longer by [`LOOK`]: a long wait costs the host
/// little.
const PATIENT_LOOKS: u32 = 100;

/// The engine's surroundings.
pub struct Bench {
    model: RefCell<Model>,
    access: Duration,
    stores: RefCell<Vec<Store>>,
    loads: Cell<usize>,
    now: Cell<Duration>,
    looks: Cell<u32>,
}

impl Bench {
    /// With these faults.
    pub fn new(faults: &[Fault]) -> Self {
        Self::with_access_time(faults, ACCESS)
    }

    /// With register accesses that take `access`: slow ones end long waits after fewer looks.
    pub fn with_access_time(faults: &[Fault], access: Duration) -> Self {
        Self {
            model: RefCell::new(Model::new(faults)),
            access,
            stores: RefCell::default(),
            loads: Cell::new(0),
            now: Cell::new(Duration::from_secs(1)),
            looks: Cell::new(0),
        }
    }

    /// With these faults from now on.
    pub fn set_faults(&self, faults: &[Fault]) {
        self.model.borrow_mut().set_faults(faults);
    }

    /// All stores so far; the record begins anew.
    pub fn take_stores(&self) -> Vec<Store> {
        self.stores.take()
    }

    /// How many loads there were.
    pub fn loads(&self) -> usize {
        self.loads.get()
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.get().saturating_sub(Duration::from_secs(1))
    }

    /// Rules of the hardware that were broken.
    pub fn broken_rules(&self) -> Vec<String> {
        self.model.borrow().broken_rules().to_vec()
    }

    /// Whether memory can be used.
    pub fn is_online(&self) -> bool {
        self.model.borrow().is_online()
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    fn load(&self, address: u32, width: Width) -> u32 {
        self.pass(self.access);
        self.loads.set(self.loads.get() + 1);
        self.model.borrow_mut().read(address, width)
    }

    fn store(&self, address: u32, width: Width, value: u32) {
        self.pass(self.access);
        self.looks.set(0);
        self.stores.borrow_mut().push(Store {
            width,
            address: address.into(),
            value: value.into(),
        });
        self.model.borrow_mut().write(address, width, value);
    }
}

impl Bus for Bench {
    fn read16(&self, address: u32) -> u16 {
        (self.load(address, Width::Half) & 0xffff) as u16
    }

    fn write16(&self, address: u32, value: u16) {
        self.store(address, Width::Half, u32::from(value));
    }

    fn read32(&self, address: u32) -> u32 {
        self.load(address, Width::Word)
    }

    fn write32(&self, address: u32, value: u32) {
        self.store(address, Width::Word, value);
    }
}

impl Clock for Bench {
    fn now(&self) -> Duration {
        let looks = self.looks.get().saturating_add(1);
        self.looks.set(looks);
        self.pass(LOOK * (1 + looks / PATIENT_LOOKS));
        self.now.get()
    }
}
