//! The i.MX I2C controller with devices on its bus.
//!
//! A byte takes the time that the divider makes of 24 MHz; whoever owns the model says what time it
//! is. Rules of the programming sequences that software breaks are noted. Source: i.MX 8M Plus
//! reference manual, "I2C Controller (I2C)".

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    access::Width,
    gdb::{self, Bus, Device},
};

/// Where I2C1 is.
pub const I2C1: u64 = 0x30a2_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

const IADR: u32 = 0x00;
const IFDR: u32 = 0x04;
const I2CR: u32 = 0x08;
const IEN: u8 = 1 << 7;
const MSTA: u8 = 1 << 5;
const MTX: u8 = 1 << 4;
const TXAK: u8 = 1 << 3;
const RSTA: u8 = 1 << 2;
const I2SR: u32 = 0x0c;
const ICF: u8 = 1 << 7;
const IBB: u8 = 1 << 5;
const IAL: u8 = 1 << 4;
const IIF: u8 = 1 << 1;
const RXAK: u8 = 1 << 0;
const I2DR: u32 = 0x10;

/// Dividers that IFDR's first codes mean.
const DIVIDERS: [u32; 16] = [30, 32, 36, 42, 48, 52, 60, 72, 80, 88, 104, 128, 144, 160, 192, 240];
/// One cycle of 24 MHz is 41.67 ns.
const CYCLES_PER_24_US: u32 = 576;

/// A device on the bus.
pub trait Target: Send {
    /// Its 7-bit address.
    fn address(&self) -> u8;
    /// A START with its address, to read from it or to write to it.
    fn start(&mut self, read: bool);
    /// A byte for it; whether it acknowledges.
    fn write(&mut self, byte: u8) -> bool;
    /// The next byte of it.
    fn read(&mut self) -> u8;
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The byte with this number, from 0 on over all that are sent, is not acknowledged.
    Refused(usize),
    /// From the byte with this number on none is acknowledged.
    Deaf(usize),
    /// Somebody else drives the line during this byte.
    Collision(usize),
    /// From the byte with this number on the clock line is held down.
    ClockDown(usize),
    /// A device holds SDA down until it has seen so many clocks.
    DataDown(u32),
}

/// The controller.
pub struct Controller {
    targets: Vec<Box<dyn Target>>,
    faults: Vec<Fault>,
    /// Clocks that a device still waits for while it holds SDA down.
    holds: u32,
    registers: Registers,
    /// A byte on the bus, or a START or STOP, and when it is over.
    under_way: Option<(Duration, Event)>,
    /// The device that was addressed last, and whether to read from it.
    addressed: Option<(usize, bool)>,
    expects_address: bool,
    refused: bool,
    sent: usize,
    rules: Vec<String>,
}

#[derive(Default)]
struct Registers {
    address: u8,
    divider: u8,
    control: u8,
    status: u8,
    data: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Start,
    Stop,
    Sent(u8),
    Received,
}

impl Controller {
    /// With nothing on its bus.
    #[must_use]
    pub fn new() -> Self {
        Self {
            targets: Vec::new(),
            faults: Vec::new(),
            holds: 0,
            registers: Registers { status: ICF | RXAK, ..Registers::default() },
            under_way: None,
            addressed: None,
            expects_address: false,
            refused: false,
            sent: 0,
            rules: Vec::new(),
        }
    }

    /// With this device on the bus.
    #[must_use]
    pub fn with(mut self, target: impl Target + 'static) -> Self {
        self.targets.push(Box::new(target));
        self
    }

    /// With these faults from now on.
    pub fn set_faults(&mut self, faults: &[Fault]) {
        self.faults = faults.to_vec();
        let held = |fault: &Fault| match fault {
            Fault::DataDown(clocks) => Some(*clocks),
            _ => None,
        };
        self.holds = faults.iter().find_map(held).unwrap_or(0);
    }

    /// Rules that software broke, in order.
    pub fn broken_rules(&self) -> &[String] {
        &self.rules
    }

    /// How many bytes were sent, addresses included.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Whether a device holds SDA down.
    pub fn is_data_down(&self) -> bool {
        self.holds > 0
    }

    /// SCL went up, by the controller or by hand.
    pub fn clock(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// What a load sees at `now`.
    pub fn read(&mut self, offset: u32, now: Duration) -> u8 {
        self.settle(now);
        match offset {
            IADR => self.registers.address,
            IFDR => self.registers.divider,
            I2CR => self.registers.control,
            I2SR => self.status(),
            I2DR => self.read_data(now),
            _ => {
                self.require(false, || format!("I2C: load from +{offset:#x}"));
                0
            }
        }
    }

    /// What a store does at `now`.
    pub fn write(&mut self, offset: u32, value: u8, now: Duration) {
        self.settle(now);
        match offset {
            IADR => self.registers.address = value,
            IFDR => self.registers.divider = value,
            I2CR => self.control(value, now),
            I2SR => self.registers.status &= value | !(IIF | IAL),
            I2DR => self.send(value, now),
            _ => self.require(false, || format!("I2C: store to +{offset:#x}")),
        }
    }

    fn status(&self) -> u8 {
        // A START of whoever holds SDA down makes the bus busy.
        let held = if self.is_data_down() { IBB } else { 0 };
        self.registers.status | held
    }

    fn require(&mut self, kept: bool, rule: impl FnOnce() -> String) {
        // Software that breaks rules may do so for ever.
        if !kept && self.rules.len() < 100 {
            self.rules.push(rule());
        }
    }

    fn is_on(&self, bits: u8) -> bool {
        self.registers.control & bits == bits
    }

    /// So many bits on the bus.
    fn bits(&self, count: u32) -> Duration {
        let divider = DIVIDERS.get(usize::from(self.registers.divider)).copied().unwrap_or(3840);
        Duration::from_micros(24) * divider * count / CYCLES_PER_24_US
    }

    fn control(&mut self, value: u8, now: Duration) {
        let was = self.registers.control;
        self.registers.control = value & !RSTA;
        if value & IEN == 0 {
            self.registers.status = ICF | RXAK;
            (self.under_way, self.addressed) = (None, None);
            return;
        }
        let enabled = was & IEN != 0;
        self.require(enabled || value & MSTA == 0, || "I2C: START while it is off".into());
        if was & MSTA != 0 && (value & MSTA == 0 || value & RSTA != 0) {
            self.check_end_of_read();
        }
        match (was & MSTA != 0, value & MSTA != 0) {
            (false, true) if self.is_data_down() => self.lose(),
            (false, true) => self.begin(Event::Start, 1, now),
            (true, true) if value & RSTA != 0 => self.begin(Event::Start, 1, now),
            (true, false) => self.begin(Event::Stop, 1, now),
            _ => {}
        }
    }

    /// A device that sends goes on with the next byte, and may hold the line, unless it is refused.
    fn check_end_of_read(&mut self) {
        let reads = matches!(self.addressed, Some((_, true)));
        let refused = self.refused || self.is_clock_down();
        self.require(!reads || refused, || "I2C: ends a read without refusing a byte".into());
    }

    fn begin(&mut self, event: Event, bits: u32, now: Duration) {
        let before = self.under_way;
        // A bus that does not move may be left in the middle of a byte.
        let free = before.is_none() || self.is_clock_down();
        self.require(free, || format!("I2C: {event:?} during {before:?}"));
        self.under_way = Some((now + self.bits(bits), event));
    }

    /// Arbitration is lost: the controller is no master any more.
    fn lose(&mut self) {
        self.registers.control &= !(MSTA | MTX);
        self.registers.status |= IAL | IIF | ICF;
        self.addressed = None;
    }

    fn send(&mut self, byte: u8, now: Duration) {
        let ready = self.is_on(IEN | MSTA | MTX);
        self.require(ready, || format!("I2C: sends {byte:#04x} without being a transmitter"));
        // A repeated START takes less than the byte, and the byte waits for it.
        if let Some((_, Event::Start)) = self.under_way {
            self.under_way = None;
            self.start();
        }
        self.registers.status &= !ICF;
        self.begin(Event::Sent(byte), 9, now);
    }

    fn read_data(&mut self, now: Duration) -> u8 {
        let data = self.registers.data;
        if self.is_on(IEN | MSTA) && !self.is_on(MTX) {
            let reads = matches!(self.addressed, Some((_, true)));
            self.require(reads, || "I2C: receives without having asked".into());
            let refused = self.refused;
            self.require(!refused, || "I2C: clocks in a byte behind the last one".into());
            self.registers.status &= !ICF;
            self.begin(Event::Received, 9, now);
        }
        data
    }

    /// Lets happen what is over by `now`.
    fn settle(&mut self, now: Duration) {
        let Some((due, event)) = self.under_way else { return };
        if now < due || self.is_clock_down() {
            return;
        }
        self.under_way = None;
        match event {
            Event::Start => self.start(),
            Event::Stop => {
                self.registers.status &= !IBB;
                self.addressed = None;
            }
            Event::Sent(byte) => self.byte_sent(byte),
            Event::Received => self.byte_received(),
        }
    }

    fn is_clock_down(&self) -> bool {
        let down = |fault: &Fault| matches!(fault, Fault::ClockDown(from) if self.sent >= *from);
        self.faults.iter().any(down)
    }

    fn start(&mut self) {
        self.registers.status |= IBB;
        self.expects_address = true;
        self.refused = false;
    }

    fn byte_sent(&mut self, byte: u8) {
        let number = self.sent;
        self.sent += 1;
        if self.faults.contains(&Fault::Collision(number)) {
            self.lose();
            return;
        }
        let heard = !self.faults.iter().any(|fault| match *fault {
            Fault::Refused(at) => at == number,
            Fault::Deaf(from) => number >= from,
            _ => false,
        });
        let acknowledged = heard && self.deliver(byte);
        self.registers.status |= ICF | IIF | RXAK;
        if acknowledged {
            self.registers.status &= !RXAK;
        }
    }

    /// Whether somebody acknowledges.
    fn deliver(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.expects_address) {
            let read = byte & 1 != 0;
            let found = self.targets.iter().position(|target| target.address() == byte >> 1);
            self.addressed = found.map(|index| (index, read));
            if let Some(index) = found {
                self.targets[index].start(read);
            }
            return found.is_some();
        }
        match self.addressed {
            Some((index, false)) => self.targets[index].write(byte),
            _ => {
                self.require(false, || format!("I2C: sends {byte:#04x} to nobody"));
                false
            }
        }
    }

    fn byte_received(&mut self) {
        self.registers.data = match self.addressed {
            Some((index, true)) => self.targets[index].read(),
            // Nobody pulls the line down.
            _ => 0xff,
        };
        self.refused = self.is_on(TXAK);
        self.registers.status |= ICF | IIF;
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts `model` on `bus` in I2C1's place.
#[must_use]
pub fn attach(bus: Bus, model: &Arc<Mutex<Controller>>) -> Bus {
    bus.with(I2C1, LENGTH, Window(Arc::clone(model)))
}

struct Window(Arc<Mutex<Controller>>);

impl Window {
    fn with<T>(&self, access: impl FnOnce(&mut Controller) -> T) -> T {
        access(&mut self.0.lock().expect("no one panics with the model"))
    }
}

impl Device for Window {
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn gdb::Machine) -> u64 {
        let (offset, now) = (u32::try_from(offset).unwrap_or(u32::MAX), machine.now());
        self.with(|model| {
            model.require(width == Width::Byte, || format!("I2C: {width:?} load"));
            model.read(offset, now).into()
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn gdb::Machine) {
        let (offset, now) = (u32::try_from(offset).unwrap_or(u32::MAX), machine.now());
        self.with(|model| {
            model.require(width == Width::Byte, || format!("I2C: {width:?} store"));
            model.write(offset, u8::try_from(value & 0xff).unwrap_or(0), now);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::pca9450::{ADDRESS, OnBus, Pmic};

    const START: u8 = IEN | MSTA;
    const SEND: u8 = IEN | MSTA | MTX;
    const SELECT: u8 = ADDRESS << 1;

    /// What the model says of these stores, each a millisecond after the one before.
    fn broken_by(stores: &[(u32, u8)]) -> Vec<String> {
        let pmic = Pmic::shared();
        let mut model = Controller::new().with(OnBus(pmic.clone()));
        let mut now = Duration::ZERO;
        for (offset, value) in stores {
            now += Duration::from_millis(1);
            model.write(*offset, *value, now);
        }
        model.read(I2DR, now + Duration::from_millis(1));
        [model.broken_rules(), pmic.lock().unwrap().broken_rules()].concat()
    }

    #[test]
    fn each_broken_rule_is_noticed() {
        let begin = [(I2CR, IEN), (I2CR, START), (I2CR, SEND)];
        for (stores, rule) in [
            (&[(I2CR, START)][..], "START while it is off"),
            (&[(I2CR, IEN), (I2DR, SELECT)], "without being a transmitter"),
            (&[(I2CR, IEN), (I2CR, START)], "receives without having asked"),
            (&[(0x14, 0)], "store to +0x14"),
            (&[&begin[..], &[(I2DR, SELECT + 2), (I2DR, 1)]].concat(), "to nobody"),
            (&[&begin[..], &[(I2DR, SELECT), (I2DR, 0x30)]].concat(), "no register 0x30"),
            (&[&begin[..], &[(I2DR, SELECT), (I2DR, 0), (I2DR, 1)]].concat(), "write to register"),
            (&[&begin[..], &[(I2DR, SELECT | 1)]].concat(), "read without a register"),
            (&[&begin[..], &[(I2DR, SELECT | 1), (I2CR, IEN)]].concat(), "ends a read"),
        ] {
            let broken = broken_by(stores).join("\n");
            assert!(broken.contains(rule), "{rule}: {broken:?}");
        }
        let good = [&begin[..], &[(I2DR, SELECT), (I2DR, 0x11), (I2DR, 0x1c)]].concat();
        assert_eq!(broken_by(&good), [""; 0]);
    }

    #[test]
    fn a_byte_takes_the_time_that_the_divider_makes() {
        let mut model = Controller::new().with(OnBus(Pmic::shared()));
        let at = Duration::from_micros;
        model.write(IFDR, 6, at(0));
        model.write(I2CR, IEN, at(0));
        model.write(I2CR, START, at(10));
        assert_eq!(model.read(I2SR, at(11)) & IBB, 0);
        assert_eq!(model.read(I2SR, at(13)) & IBB, IBB);
        model.write(I2CR, SEND, at(13));
        model.write(I2DR, SELECT, at(20));
        // Nine bits at 400 kHz: 22.5 us.
        assert_eq!(model.read(I2SR, at(42)) & IIF, 0);
        assert_eq!(model.read(I2SR, at(43)) & (IIF | RXAK), IIF);
        model.write(I2SR, 0, at(44));
        assert_eq!(model.read(I2SR, at(45)) & IIF, 0);
    }

    #[test]
    fn through_its_window_it_takes_bytes_only() {
        struct Still;
        impl gdb::Machine for Still {
            fn now(&self) -> Duration {
                Duration::ZERO
            }
            fn read(&mut self, _: u64, _: &mut [u8]) -> anyhow::Result<()> {
                Ok(())
            }
            fn write(&mut self, _: u64, _: &[u8]) -> anyhow::Result<()> {
                Ok(())
            }
        }
        let model = Arc::new(Mutex::new(Controller::new()));
        let mut window = Window(Arc::clone(&model));
        window.write(IFDR.into(), Width::Byte, 6, &mut Still);
        assert_eq!(window.read(IFDR.into(), Width::Byte, &mut Still), 6);
        assert_eq!(model.lock().unwrap().broken_rules(), [""; 0]);
        window.write(IFDR.into(), Width::Word, 7, &mut Still);
        assert_eq!(model.lock().unwrap().broken_rules(), ["I2C: Word store"]);
    }
}
