//! NXP's PMIC PCA9450C, as far as software on the I2C bus sees it.
//!
//! Registers as in the data sheet's map. Reset values are the data sheet's where a boot depends on
//! them (device, reset control, the outputs of BUCK1 to BUCK3); the others read 0.

use std::sync::{Arc, Mutex};

use super::i2c::Target;

/// Its address on every board.
pub const ADDRESS: u8 = 0x25;

const DEV_ID: u8 = 0x00;
/// Why it gave power.
pub const PWRON_STAT: u8 = 0x05;
/// What resets make it do.
pub const RESET_CTRL: u8 = 0x08;
const BUCK1OUT_DVS0: u8 = 0x11;
const BUCK2OUT_DVS0: u8 = 0x14;
/// The registers that there are.
const MAP: [std::ops::RangeInclusive<u8>; 5] =
    [0x00..=0x0a, 0x0c..=0x1e, 0x20..=0x26, 0x2a..=0x2a, 0x2b..=0x2e];
/// Those that software cannot write: device, status, power-on reason, faults.
const READ_ONLY: [u8; 6] = [DEV_ID, 0x03, 0x04, PWRON_STAT, 0x2b, 0x2c];
const RESET_VALUES: [(u8, u8); 8] = [
    (DEV_ID, 0x31),
    (PWRON_STAT, 0x80),
    (RESET_CTRL, 0x21),
    (BUCK1OUT_DVS0, 0x14),
    (0x12, 0x14),
    (BUCK2OUT_DVS0, 0x14),
    (0x15, 0x14),
    (0x17, 0x14),
];

/// The PMIC.
pub struct Pmic {
    registers: [u8; 256],
    /// The register that the next byte is for; none yet behind a START.
    pointer: Option<u8>,
    writes: Vec<(u8, u8)>,
    rules: Vec<String>,
}

/// A PMIC that its bus and a test both hold.
pub type Shared = Arc<Mutex<Pmic>>;

impl Pmic {
    /// Just powered on.
    #[must_use]
    pub fn new() -> Self {
        let mut registers = [0; 256];
        for (register, value) in RESET_VALUES {
            registers[usize::from(register)] = value;
        }
        Self { registers, pointer: None, writes: Vec::new(), rules: Vec::new() }
    }

    /// One for a bus and a test.
    #[must_use]
    pub fn shared() -> Shared {
        Arc::new(Mutex::new(Self::new()))
    }

    /// What a register holds, whatever put it there: another chip's number, a power-on reason.
    pub fn set(&mut self, register: u8, value: u8) {
        self.registers[usize::from(register)] = value;
    }

    /// What a register holds.
    #[must_use]
    pub fn register(&self, register: u8) -> u8 {
        self.registers[usize::from(register)]
    }

    /// Registers and values that software wrote, in order.
    #[must_use]
    pub fn writes(&self) -> &[(u8, u8)] {
        &self.writes
    }

    /// Rules that software broke, in order.
    #[must_use]
    pub fn broken_rules(&self) -> &[String] {
        &self.rules
    }

    /// What BUCK1 makes while the board runs, in units of 0.1 mV.
    #[must_use]
    pub fn vdd_soc(&self) -> u32 {
        self.buck(BUCK1OUT_DVS0)
    }

    /// What BUCK2 makes while the board runs, in units of 0.1 mV.
    #[must_use]
    pub fn vdd_arm(&self) -> u32 {
        self.buck(BUCK2OUT_DVS0)
    }

    fn buck(&self, register: u8) -> u32 {
        6000 + 125 * u32::from(self.register(register) & 0x7f)
    }

    fn require(&mut self, kept: bool, rule: impl FnOnce() -> String) -> bool {
        if !kept && self.rules.len() < 100 {
            self.rules.push(rule());
        }
        kept
    }

    fn start(&mut self, read: bool) {
        if read {
            let set = self.pointer.is_some();
            self.require(set, || "PMIC: read without a register".into());
        } else {
            self.pointer = None;
        }
    }

    fn write(&mut self, byte: u8) -> bool {
        let Some(register) = self.pointer else {
            self.pointer = Some(byte);
            let there = MAP.iter().any(|range| range.contains(&byte));
            return self.require(there, || format!("PMIC: no register {byte:#04x}"));
        };
        let writable = !READ_ONLY.contains(&register);
        if !self.require(writable, || format!("PMIC: write to register {register:#04x}")) {
            return false;
        }
        self.set(register, byte);
        self.writes.push((register, byte));
        self.pointer = Some(register.wrapping_add(1));
        true
    }

    fn read(&mut self) -> u8 {
        let register = self.pointer.unwrap_or(0);
        self.pointer = Some(register.wrapping_add(1));
        self.register(register)
    }
}

impl Default for Pmic {
    fn default() -> Self {
        Self::new()
    }
}

/// The PMIC on a bus.
pub struct OnBus(pub Shared);

impl OnBus {
    fn with<T>(&self, access: impl FnOnce(&mut Pmic) -> T) -> T {
        access(&mut self.0.lock().expect("no one panics with the model"))
    }
}

impl Target for OnBus {
    fn address(&self) -> u8 {
        ADDRESS
    }

    fn start(&mut self, read: bool) {
        self.with(|pmic| pmic.start(read));
    }

    fn write(&mut self, byte: u8) -> bool {
        self.with(|pmic| pmic.write(byte))
    }

    fn read(&mut self) -> u8 {
        self.with(Pmic::read)
    }
}
