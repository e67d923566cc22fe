//! The analog part of the clock controller: PLLs.
//!
//! Source: i.MX 8M Plus reference manual, chapter 5 (CCM_ANALOG, `*_PLL_GEN_CTRL` and
//! `*_PLL_FDIV_CTL0` of the integer PLLs).

#![forbid(unsafe_code)]

use core::{fmt, time::Duration};

use crate::{
    error::{Code, Coded},
    mmio::Bus,
    time::{Clock, delay, poll},
};

/// The crystal is passed on in the PLL's place.
const BYPASS: u32 = 1 << 4;
/// Clear holds the PLL in reset.
const NOT_RESET: u32 = 1 << 9;
const OUTPUT: u32 = 1 << 11;
const LOCKED: u32 = 1 << 31;
/// From the control register to the one with the dividers.
const DIVIDERS: u32 = 4;

/// The dividers must stand for so long before the reset ends.
const SETTLE: Duration = Duration::from_micros(100);
/// A PLL locks within some 100 us.
const LOCK: Duration = Duration::from_millis(10);

/// A PLL without a fraction, and the frequency that it is to make.
#[derive(Clone, Copy, Debug)]
pub struct IntegerPll {
    /// The manual's name.
    pub name: &'static str,
    /// Address of its control register; the dividers' is the next one.
    pub control: u32,
    /// What it multiplies the 24 MHz of the crystal by, and divides the product by: m, p, s of
    /// 24 MHz * m / (p * 2^s).
    pub dividers: (u32, u32, u32),
}

/// The main and the divided outputs of a system PLL that the boot ROM has started.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// Address of the PLL's control register.
    pub control: u32,
    /// Their enable bits there.
    pub enables: u32,
}

/// A PLL did not lock. It stays bypassed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlocked {
    /// The manual's name.
    pub name: &'static str,
    /// Address of its control register.
    pub control: u32,
    /// What was read there last.
    pub read: u32,
}

impl Coded for Unlocked {
    fn code(&self) -> Code {
        Code::PllUnlocked
    }
}

impl fmt::Display for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, control, read } = self;
        write!(f, "{name} does not lock: register {control:#x} stays {read:#010x}")
    }
}

/// Starts the PLL anew. Whoever is clocked by it runs at 24 MHz meanwhile.
pub fn start(bus: &impl Bus, clock: &impl Clock, pll: &IntegerPll) -> Result<(), Unlocked> {
    let IntegerPll { name, control, dividers: (m, p, s) } = *pll;
    bus.modify32(control, 0, BYPASS);
    bus.modify32(control, NOT_RESET, 0);
    bus.write32(control + DIVIDERS, m << 12 | p << 4 | s);
    delay(clock, SETTLE);
    bus.modify32(control, 0, NOT_RESET);
    let locked = || (bus.read32(control) & LOCKED != 0).then_some(());
    poll(clock, LOCK, locked).map_err(|_| Unlocked { name, control, read: bus.read32(control) })?;
    bus.modify32(control, BYPASS, 0);
    bus.modify32(control, 0, OUTPUT);
    Ok(())
}

/// Enables outputs.
pub fn enable(bus: &impl Bus, outputs: &Outputs) {
    bus.modify32(outputs.control, 0, outputs.enables);
}
