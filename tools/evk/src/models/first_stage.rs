//! The SoC around a first stage, before and after DRAM: a bus with the models on it, time that passes
//! with every look, a record of all stores, and the rules between the blocks.
//!
//! Registers without a model keep what is written. Gates are open, PLLs bypassed, as after a reset.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use firn::{
    mmio::{Bus, ByteBus},
    time::Clock,
};

use crate::access::{Store, Width};

use super::{
    i2c::{self, Controller},
    ocotp::Fuses,
    pca9450::{OnBus, Pmic, Shared},
};

/// What a register access takes, and a look at the clock.
const ACCESS: Duration = Duration::from_nanos(100);
const LOOK: Duration = Duration::from_nanos(100);
/// From the end of its reset to its lock.
const PLL_LOCK: Duration = Duration::from_micros(70);

/// Blocks whose registers are 32 bits wide: start, end, and the gate that they need.
const WORDS: &[(u32, u32, Option<u32>)] = &[
    (0x3024_0000, 0x3025_0000, None),
    (0x3033_0000, 0x3034_0000, None),
    (0x3034_0000, 0x3035_0000, None),
    (0x3035_0000, 0x3036_0000, Some(34)),
    (0x3036_0000, 0x3037_0000, None),
    (0x3037_0000, 0x3038_0000, Some(71)),
    (0x3038_0000, 0x3039_0000, None),
    (0x3039_0000, 0x303a_0000, None),
    (0x303a_0000, 0x303b_0000, None),
    (0x306c_0000, 0x306d_0000, Some(57)),
    (0x3089_0000, 0x308a_0000, Some(74)),
    (0x32f8_0000, 0x32f9_0000, None),
];
/// The watchdogs: 16 bits.
const WATCHDOGS: [(u32, u32); 3] = [(0x3028_0000, 83), (0x3029_0000, 84), (0x302a_0000, 85)];
const I2C: u32 = 0x30a2_0000;
const I2C_GATE: u32 = 23;
const OCOTP: u32 = 0x3035_0000;

/// What they hold after a reset, where it matters. The PLLs' are those of the reference recording.
const RESET_VALUES: &[(u32, u32)] = &[
    (ARM_PLL, 0xa000_0a00),
    (0x3036_0094, 0xaaaa_aa00),
    (0x3036_0104, 0xa000_0a00),
    (SYS_PLL3, 0xa000_0a00),
    (0x306c_0020, 8_000_000),
    (SRSR, 1),
];
const ARM_PLL: u32 = 0x3036_0084;
const SYS_PLL3: u32 = 0x3036_0114;
const PLL_BYPASS: u32 = 1 << 4;
const PLL_NOT_RESET: u32 = 1 << 9;
const PLL_LOCKED: u32 = 1 << 31;
const GATES: u32 = 0x3038_4000;
const ROOTS: u32 = 0x3038_8000;
const CORE_SELECT: u32 = ROOTS + 49 * 0x80;
const GIC_ROOT: u32 = ROOTS + 100 * 0x80;
const GIC_500_MHZ: u32 = 0x1500_0000;
const SRSR: u32 = 0x3039_005c;
const CNTCR: u32 = 0x306c_0000;
const UCR2: u32 = 0x3089_0084;
/// UART2's reset is over at once.
const UCR2_NOT_RESET: u32 = 1;
const GPIO5: u32 = 0x3024_0000;
const GPIO_DIRECTION: u32 = GPIO5 + 4;
const GPIO_STATUS: u32 = GPIO5 + 8;
/// I2C1's pads, as GPIO5_IO14 and GPIO5_IO15.
const SCL: (u32, u32) = (0x3033_0200, 14);
const SDA: (u32, u32) = (0x3033_0204, 15);
const ALTERNATIVE_GPIO: u32 = 5;

/// The first stage's surroundings.
pub struct Bench {
    i2c: RefCell<Controller>,
    pmic: Shared,
    fuses: RefCell<Fuses>,
    registers: RefCell<BTreeMap<u32, u32>>,
    /// When a PLL that is out of reset is locked, by its control register.
    locks: RefCell<BTreeMap<u32, Duration>>,
    never_lock: Vec<u32>,
    now: Cell<Duration>,
    stores: RefCell<Vec<Store>>,
    loads: Cell<usize>,
    rules: RefCell<Vec<String>>,
}

impl Bench {
    /// A whole part with a PMIC that answers.
    #[must_use]
    pub fn new() -> Self {
        let pmic = Pmic::shared();
        Self {
            i2c: RefCell::new(Controller::new().with(OnBus(pmic.clone()))),
            pmic,
            fuses: RefCell::new(Fuses::new()),
            registers: RefCell::new(RESET_VALUES.iter().copied().collect()),
            locks: RefCell::default(),
            never_lock: Vec::new(),
            now: Cell::new(Duration::from_secs(1)),
            stores: RefCell::default(),
            loads: Cell::new(0),
            rules: RefCell::default(),
        }
    }

    /// Without a PMIC.
    #[must_use]
    pub fn without_pmic(mut self) -> Self {
        self.i2c = RefCell::new(Controller::new());
        self
    }

    /// With another device on the bus, whose faults are gone.
    #[must_use]
    pub fn with_device(mut self, device: impl i2c::Target + 'static) -> Self {
        self.i2c = RefCell::new(self.i2c.take().with(device));
        self
    }

    /// With these fuses.
    #[must_use]
    pub fn with_fuses(mut self, fuses: Fuses) -> Self {
        self.fuses = RefCell::new(fuses);
        self
    }

    /// With these faults on the I2C bus.
    #[must_use]
    pub fn with_faults(self, faults: &[i2c::Fault]) -> Self {
        self.i2c.borrow_mut().set_faults(faults);
        self
    }

    /// With a PLL, by its control register, that never locks.
    #[must_use]
    pub fn without_lock(mut self, control: u32) -> Self {
        self.never_lock.push(control);
        self
    }

    /// The PMIC, whether or not it is on the bus.
    pub fn pmic(&self) -> std::sync::MutexGuard<'_, Pmic> {
        self.pmic.lock().expect("no one panics with the model")
    }

    /// What a register without a model holds.
    pub fn register(&self, address: u32) -> u32 {
        self.registers.borrow().get(&address).copied().unwrap_or(0)
    }

    /// All stores so far; the record begins anew.
    pub fn take_stores(&self) -> Vec<Store> {
        self.stores.take()
    }

    /// How many loads there were.
    pub fn loads(&self) -> usize {
        self.loads.get()
    }

    /// Bytes that the I2C controller sent.
    pub fn bytes_sent(&self) -> usize {
        self.i2c.borrow().sent()
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.get().saturating_sub(Duration::from_secs(1))
    }

    /// Rules of the hardware that were broken.
    pub fn broken_rules(&self) -> Vec<String> {
        let mut rules = self.rules.borrow().clone();
        rules.extend_from_slice(self.i2c.borrow().broken_rules());
        rules.extend_from_slice(self.pmic().broken_rules());
        rules.extend_from_slice(self.fuses.borrow().broken_rules());
        rules
    }

    fn require(&self, kept: bool, rule: impl FnOnce() -> String) {
        let mut rules = self.rules.borrow_mut();
        if !kept && rules.len() < 100 {
            rules.push(rule());
        }
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    fn is_open(&self, gate: u32) -> bool {
        // Open after a reset.
        self.registers.borrow().get(&(GATES + gate * 16)).is_none_or(|bits| *bits != 0)
    }

    fn check(&self, address: u32, width: Width) {
        let inside = |start: u32| (start..start + 0x4000).contains(&address);
        let (right, gate) = if inside(I2C) {
            (Width::Byte, Some(I2C_GATE))
        } else if let Some((_, gate)) = WATCHDOGS.iter().find(|(start, _)| inside(*start)) {
            (Width::Half, Some(*gate))
        } else {
            let block = WORDS.iter().find(|(start, end, _)| (*start..*end).contains(&address));
            self.require(block.is_some(), || format!("nothing is at {address:#x}"));
            (Width::Word, block.and_then(|(_, _, gate)| *gate))
        };
        self.require(width == right, || format!("{width:?} access to {address:#x}"));
        let clocked = gate.is_none_or(|gate| self.is_open(gate));
        self.require(clocked, || format!("access to {address:#x} behind a shut gate"));
    }

    fn load(&self, address: u32, width: Width) -> u32 {
        self.pass(ACCESS);
        self.loads.set(self.loads.get() + 1);
        self.check(address, width);
        match address {
            I2C..0x30a2_4000 => self.i2c.borrow_mut().read(address - I2C, self.now.get()).into(),
            OCOTP..0x3036_0000 => self.fuses.borrow_mut().read(address - OCOTP),
            ARM_PLL | SYS_PLL3 => self.register(address) & !PLL_LOCKED | self.lock(address),
            GPIO_STATUS => self.levels(),
            UCR2 => self.register(address) | UCR2_NOT_RESET,
            _ => self.register(address),
        }
    }

    fn store(&self, address: u32, width: Width, value: u32) {
        self.pass(ACCESS);
        self.check(address, width);
        self.stores.borrow_mut().push(Store {
            width,
            address: address.into(),
            value: value.into(),
        });
        match address {
            I2C..0x30a2_4000 => {
                let byte = u8::try_from(value).unwrap_or(u8::MAX);
                self.i2c.borrow_mut().write(address - I2C, byte, self.now.get());
            }
            OCOTP..0x3036_0000 => self.fuses.borrow_mut().write(address - OCOTP, value),
            // Each gate has a word, and words that set and clear its bits.
            GATES..0x3038_5000 => self.gate(address, value),
            SRSR => self.set(SRSR, self.register(SRSR) & !value),
            _ => self.store_word(address, value),
        }
    }

    fn store_word(&self, address: u32, value: u32) {
        match address {
            ARM_PLL | SYS_PLL3 if value & PLL_NOT_RESET == 0 => {
                self.locks.borrow_mut().remove(&address);
            }
            ARM_PLL | SYS_PLL3 if !self.never_lock.contains(&address) => {
                let due = self.now.get() + PLL_LOCK;
                self.locks.borrow_mut().entry(address).or_insert(due);
            }
            CORE_SELECT => {
                let runs = self.lock(ARM_PLL) != 0 && self.register(ARM_PLL) & PLL_BYPASS == 0;
                self.require(runs, || "cores on a PLL that does not run".into());
            }
            GIC_ROOT if value == GIC_500_MHZ => {
                let soc = self.pmic().vdd_soc();
                self.require(soc >= 9500, || format!("GIC at 500 MHz with {soc} * 0.1 mV"));
            }
            GPIO_DIRECTION => {
                let rises = self.register(GPIO_DIRECTION) & !value & 1 << SCL.1 != 0;
                if rises && self.register(SCL.0) == ALTERNATIVE_GPIO {
                    self.i2c.borrow_mut().clock();
                }
            }
            _ => {}
        }
        self.set(address, value);
    }

    fn set(&self, address: u32, value: u32) {
        self.registers.borrow_mut().insert(address, value);
    }

    fn gate(&self, address: u32, value: u32) {
        let gate = address & !0xf;
        let bits = self.registers.borrow().get(&gate).copied().unwrap_or(2);
        self.set(
            gate,
            match address & 0xf {
                4 => bits | value,
                8 => bits & !value,
                12 => bits ^ value,
                _ => value,
            },
        );
    }

    /// A PLL's lock bit.
    fn lock(&self, pll: u32) -> u32 {
        let due = self.locks.borrow().get(&pll).copied();
        if due.is_some_and(|due| self.now.get() >= due) { PLL_LOCKED } else { 0 }
    }

    /// What the lines of the I2C bus are at, as GPIO.
    fn levels(&self) -> u32 {
        let released = |(_, bit): (u32, u32)| self.register(GPIO_DIRECTION) & 1 << bit == 0;
        let scl = released(SCL);
        let sda = released(SDA) && !self.i2c.borrow().is_data_down();
        u32::from(scl) << SCL.1 | u32::from(sda) << SDA.1
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for Bench {
    fn read16(&self, address: u32) -> u16 {
        (self.load(address, Width::Half) & 0xffff) as u16
    }

    fn write16(&self, address: u32, value: u16) {
        self.store(address, Width::Half, value.into());
    }

    fn read32(&self, address: u32) -> u32 {
        self.load(address, Width::Word)
    }

    fn write32(&self, address: u32, value: u32) {
        self.store(address, Width::Word, value);
    }
}

impl ByteBus for Bench {
    fn read8(&self, address: u32) -> u8 {
        (self.load(address, Width::Byte) & 0xff) as u8
    }

    fn write8(&self, address: u32, value: u8) {
        self.store(address, Width::Byte, value.into());
    }
}

impl Clock for Bench {
    fn now(&self) -> Duration {
        self.require(self.register(CNTCR) & 1 != 0, || "the system counter stands still".into());
        self.pass(LOOK);
        self.now.get()
    }
}
