//! A board around a controller, for a driver that runs on the host: registers, time that passes
//! with every look, memory that the controller may only touch while it was handed over.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use firn::{
    board::CardSlot,
    dma::{ALIGNMENT, Dma, Error},
    mmio::Bus,
    time::Clock,
};

use super::{
    card::Card,
    controller::{Controller, Issued},
    fault::Fault,
    handed_over::HandedOver,
    rules::Rules,
};

/// What a register access and a look at the clock take.
const ACCESS: Duration = Duration::from_nanos(200);
const LOOK: Duration = Duration::from_nanos(500);
/// What the maintenance of a cache line takes, a cautious guess.
const LINE: Duration = Duration::from_nanos(5);
/// After so many looks without a store each takes longer by [`LOOK`]: a long wait costs the host
/// little and is still measured to a few percent.
const PATIENT_LOOKS: u32 = 8;
const LONGEST_LOOK: u32 = 2000;

/// A driver's surroundings.
pub struct Bench {
    slot: &'static CardSlot,
    now: Cell<Duration>,
    looks: Cell<u32>,
    controller: RefCell<Controller>,
    memory: RefCell<HandedOver>,
    registers: RefCell<BTreeMap<u32, u32>>,
    unreachable: Cell<Option<(usize, usize)>>,
    rules: Rules,
}

impl Bench {
    /// A board whose `slot` holds `card`. As after a boot ROM that used another slot: clocks off,
    /// pads elsewhere, power off where it can be.
    pub fn new(slot: &'static CardSlot, card: Option<Box<dyn Card>>) -> Self {
        let rules = Rules::default();
        let mut controller = Controller::new(card, rules.clone());
        if slot.power.is_some() {
            controller.set_power(false, Duration::ZERO);
        }
        Self {
            slot,
            now: Cell::new(Duration::from_secs(1)),
            looks: Cell::new(0),
            controller: RefCell::new(controller),
            memory: RefCell::new(HandedOver::new(rules.clone())),
            registers: RefCell::default(),
            unreachable: Cell::new(None),
            rules,
        }
    }

    /// The controller, to be broken.
    pub fn with_controller<T>(&self, f: impl FnOnce(&mut Controller) -> T) -> T {
        f(&mut self.controller.borrow_mut())
    }

    /// Lets `fault` happen at the command with that number, counted from 0.
    pub fn inject(&self, number: usize, fault: Fault) {
        self.controller.borrow_mut().inject(number, fault);
    }

    /// Memory of this host that bus masters shall not reach.
    pub fn hide(&self, memory: &[u8]) {
        let start = memory.as_ptr().addr();
        self.unreachable.set(Some((start, start + memory.len())));
    }

    /// All commands so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.controller.borrow().issued().to_vec()
    }

    /// Time since the start, without a look at the clock.
    pub fn elapsed(&self) -> Duration {
        self.now.get() - Duration::from_secs(1)
    }

    /// The processor has something else to do for `time`.
    pub fn spend(&self, time: Duration) {
        self.pass(time);
    }

    /// Somebody pulls the card; the slot's switch says so.
    pub fn pull(&self) {
        self.controller.borrow_mut().pull(self.now.get());
    }

    /// The SoC is reset, and with it what drives the slot's power switch. A card that is not
    /// switched does not notice.
    pub fn reset(&self) {
        self.registers.borrow_mut().clear();
        self.memory.borrow_mut().clear();
        let mut controller = self.controller.borrow_mut();
        controller.reset();
        if self.slot.power.is_some() {
            controller.set_power(false, self.now.get());
        }
    }

    /// Pieces of memory that the driver has handed over and not taken back.
    pub fn handed_over(&self) -> usize {
        self.memory.borrow().count()
    }

    /// All broken rules.
    pub fn broken_rules(&self) -> Vec<String> {
        self.rules.list()
    }

    fn check_reach(&self, buffer: &[u8]) -> Result<(), Error> {
        let start = buffer.as_ptr().addr();
        match self.unreachable.get() {
            Some((from, to)) if start < to && from < start + buffer.len() => {
                Err(Error::Unreachable)
            }
            _ => Ok(()),
        }
    }

    fn pass(&self, time: Duration) -> Duration {
        let now = self.now.get() + time;
        self.now.set(now);
        now
    }

    fn is_used(&self, memory: &[u8], bus_address: u32) -> bool {
        let length = u32::try_from(memory.len()).expect("below 4 GiB");
        let memory = bus_address..bus_address.saturating_add(length);
        self.controller.borrow().uses(&memory, self.now.get())
    }

    fn maintain(&self, memory: &[u8]) {
        let lines = u32::try_from(memory.len().div_ceil(ALIGNMENT)).expect("below 256 GiB");
        self.pass(LINE * lines);
    }

    fn register(&self, address: u32) -> u32 {
        self.registers.borrow().get(&address).copied().unwrap_or(0)
    }

    fn is_usdhc(&self, address: u32) -> bool {
        address & !0xffff == self.slot.usdhc
    }

    fn follow_pins(&self, now: Duration) {
        let Some(power) = self.slot.power else { return };
        let mask = 1 << power.line.number;
        let driven = self.register(power.line.block + 4) & mask != 0;
        let high = self.register(power.line.block) & mask != 0;
        let on = driven && high != power.line.active_low;
        self.controller.borrow_mut().set_power(on, now);
    }

    fn pin_state(&self, block: u32) -> u32 {
        match self.slot.detect {
            Some(line) if line.block == block => {
                let detected = self.controller.borrow().is_card_detected();
                u32::from(detected != line.active_low) << line.number
            }
            _ => 0,
        }
    }

    /// Clock and pads, when a command goes out.
    fn check_surroundings(&self) {
        let rules = &self.rules;
        let gate = 0x3038_4000 + self.slot.clock.gate * 0x10;
        rules.require(self.register(gate) & 3 == 3, || "controller clock gated".into());
        let controller = self.controller.borrow();
        let running = controller.is_clock_running();
        let drive = match controller.hertz() {
            _ if !running => 0,
            0..=52_000_000 => 0b000,
            52_000_001..=100_000_000 => 0b100,
            _ => 0b110,
        };
        for pad in self.slot.pads {
            let muxed = self.register(pad.mux) == pad.alternate;
            rules.require(muxed, || format!("pad {:#x} not multiplexed", pad.mux));
            let value = self.register(pad.control);
            rules.require(value >= pad.value | drive && value & !0b110 == pad.value, || {
                format!("pad control {:#x} is {value:#x} at {} Hz", pad.control, controller.hertz())
            });
        }
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
        let now = self.pass(ACCESS);
        if self.is_usdhc(address) {
            return self.controller.borrow_mut().read(address & 0xffff, now);
        }
        if address & 0xf000_ffff == 0x3000_0008 {
            return self.pin_state(address & !0xffff);
        }
        self.register(address)
    }

    fn write32(&self, address: u32, value: u32) {
        self.looks.set(0);
        let now = self.pass(ACCESS);
        if self.is_usdhc(address) {
            if address & 0xffff == 0x0c {
                self.check_surroundings();
            }
            let mut controller = self.controller.borrow_mut();
            let memory: &mut HandedOver = &mut self.memory.borrow_mut();
            controller.write(address & 0xffff, value, now, memory);
            return;
        }
        // Gates have a register for setting and one for clearing.
        if (0x3038_4000..0x3038_5000).contains(&address) {
            let gate = address & !0xf;
            let before = self.register(gate);
            let after = match address & 0xf {
                4 => before | value,
                8 => before & !value,
                _ => value,
            };
            self.registers.borrow_mut().insert(gate, after);
        } else {
            self.registers.borrow_mut().insert(address, value);
        }
        let (root, target) = self.slot.clock.roots[0];
        if address == 0x3038_8000 + root * 0x80 {
            let hertz = if value == target { self.slot.clock.hertz } else { 0 };
            self.controller.borrow_mut().set_root_hertz(hertz);
        }
        self.follow_pins(now);
    }
}

impl Clock for Bench {
    fn now(&self) -> Duration {
        let looks = self.looks.get() + 1;
        self.looks.set(looks);
        self.pass(LOOK * (1 + looks / PATIENT_LOOKS).min(LONGEST_LOOK))
    }
}

impl Dma for Bench {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error> {
        self.check_reach(buffer)?;
        let address = self.memory.borrow_mut().receive(buffer)?;
        self.maintain(buffer);
        Ok(address)
    }

    fn end_receive(&self, buffer: &mut [u8], bus_address: u32) {
        let used = self.is_used(buffer, bus_address);
        self.rules.require(!used, || "buffer taken back while the controller writes".into());
        self.memory.borrow_mut().give_back(buffer, bus_address);
        self.maintain(buffer);
    }

    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        self.check_reach(buffer)?;
        self.maintain(buffer);
        Ok(self.memory.borrow_mut().add(buffer, false))
    }

    fn end_send(&self, buffer: &[u8], bus_address: u32) {
        let used = self.is_used(buffer, bus_address);
        self.rules.require(!used, || "descriptors taken back while the controller runs".into());
        self.memory.borrow_mut().remove(bus_address);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let left = self.memory.borrow().count();
        self.rules.require(left == 0, || format!("{left} buffers never taken back"));
    }
}
