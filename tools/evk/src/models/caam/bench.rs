//! A host around the module: registers, time that passes with every look, memory that it may only
//! touch while that was handed over.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use firn::{
    dma::{Dma, Error},
    mmio::Bus,
    time::Clock,
};

use super::{
    Caam,
    model::{BASE, LENGTH, Model},
};
use crate::models::usdhc::{HandedOver, Rules};

/// What a register access and a look at the clock take.
const ACCESS: Duration = Duration::from_nanos(200);
const LOOK: Duration = Duration::from_micros(2);

/// A driver's surroundings.
pub struct Bench {
    model: RefCell<Model>,
    memory: RefCell<HandedOver>,
    now: Cell<Duration>,
    stores: RefCell<Vec<(u32, u32)>>,
    unreachable: Cell<bool>,
    rules: Rules,
}

impl Bench {
    /// With this kind of module.
    #[must_use]
    pub fn new(caam: Caam) -> Self {
        let rules = Rules::default();
        Self {
            model: RefCell::new(Model::new(caam, rules.clone())),
            memory: RefCell::new(HandedOver::new(rules.clone())),
            now: Cell::default(),
            stores: RefCell::default(),
            unreachable: Cell::default(),
            rules,
        }
    }

    /// No memory of this host is where the module reaches it.
    #[must_use]
    pub fn out_of_reach(self) -> Self {
        self.unreachable.set(true);
        self
    }

    /// What is asked of the module.
    pub fn model<T>(&self, question: impl FnOnce(&Model) -> T) -> T {
        question(&self.model.borrow())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.get()
    }

    /// What was stored to a register of the module, by its offset, in order.
    pub fn stored(&self, offset: u32) -> Vec<u32> {
        let stores = self.stores.borrow();
        stores.iter().filter(|(at, _)| *at == offset).map(|(_, value)| *value).collect()
    }

    /// Rules that were broken.
    pub fn broken_rules(&self) -> Vec<String> {
        self.rules.list()
    }

    fn pass(&self, time: Duration) -> Duration {
        self.now.set(self.now.get() + time);
        self.now.get()
    }

    fn offset(&self, address: u32) -> u32 {
        let offset = address.wrapping_sub(BASE);
        self.rules.require(offset < LENGTH, || format!("{address:#x} is not the CAAM's"));
        offset
    }

    fn check_reach(&self) -> Result<(), Error> {
        if self.unreachable.get() { Err(Error::Unreachable) } else { Ok(()) }
    }

    fn check_idle(&self) {
        let busy = self.model.borrow().is_busy();
        self.rules.require(!busy, || "memory taken back while the CAAM uses it".into());
    }
}

impl Bus for Bench {
    fn read16(&self, address: u32) -> u16 {
        self.rules.broken(format!("16-bit load from {address:#x}"));
        0
    }

    fn write16(&self, address: u32, _: u16) {
        self.rules.broken(format!("16-bit store to {address:#x}"));
    }

    fn read32(&self, address: u32) -> u32 {
        let (offset, now) = (self.offset(address), self.pass(ACCESS));
        self.model.borrow_mut().read(offset, now, &mut *self.memory.borrow_mut())
    }

    fn write32(&self, address: u32, value: u32) {
        let (offset, now) = (self.offset(address), self.pass(ACCESS));
        self.stores.borrow_mut().push((offset, value));
        self.model.borrow_mut().write(offset, value, now, &mut *self.memory.borrow_mut());
    }
}

impl Clock for Bench {
    fn now(&self) -> Duration {
        self.pass(LOOK)
    }
}

impl Dma for Bench {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error> {
        self.check_reach()?;
        self.memory.borrow_mut().receive(buffer)
    }

    fn end_receive(&self, buffer: &mut [u8], bus_address: u32) {
        self.check_idle();
        self.memory.borrow_mut().give_back(buffer, bus_address);
    }

    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        self.check_reach()?;
        Ok(self.memory.borrow_mut().add(buffer, false))
    }

    fn end_send(&self, _: &[u8], bus_address: u32) {
        self.check_idle();
        self.memory.borrow_mut().remove(bus_address);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let left = self.memory.borrow().count();
        self.rules.require(left == 0, || format!("{left} buffers never taken back"));
    }
}
