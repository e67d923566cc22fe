//! The System Reset Controller, as far as software asks it why and how the board starts.
//!
//! Source: i.MX 8M Plus Reference Manual, chapter "System Reset Controller (SRC)".

use super::{Device, Machine};
use crate::access::Width;

/// Where it is. What resets the DRAM controller is in the page behind.
pub const BASE: u64 = 0x3039_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

/// Reset status: bit 0 power-on reset, bit 4 watchdog 1.
const SRSR: u64 = 0x5c;
/// Boot mode: the switches in bits 27:24.
const SBMR2: u64 = 0x70;

/// Why the chip was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Power came.
    PowerOn,
    /// Watchdog 1 bit, and the PMIC took the power away and gave it back: the chip knows of that only.
    PowerCycled,
    /// Watchdog 1 bit, within the chip.
    Watchdog {
        /// Because it was told to.
        by_software: bool,
    },
}

impl Cause {
    /// What the watchdog's WRSR says: bit 0 software, bit 1 time-out, bit 4 power-on.
    pub(super) fn watchdog_status(self) -> u16 {
        match self {
            Cause::PowerOn | Cause::PowerCycled => 1 << 4,
            Cause::Watchdog { by_software: false } => 1 << 1,
            Cause::Watchdog { by_software: true } => 1,
        }
    }
}

/// An SRC that remembers why, and how the boot switches stood.
#[derive(Clone, Copy, Debug)]
pub struct Src {
    /// Why the chip was reset.
    pub cause: Cause,
    /// The four boot mode pins.
    pub boot_mode: u8,
}

impl Device for Src {
    fn read(&mut self, offset: u64, width: Width, _: &mut dyn Machine) -> u64 {
        let word: u64 = match (offset & !3, self.cause) {
            (SRSR, Cause::PowerOn | Cause::PowerCycled) => 0x1,
            (SRSR, Cause::Watchdog { .. }) => 0x10,
            (SBMR2, _) => u64::from(self.boot_mode & 0xf) << 24,
            _ => 0,
        };
        word >> (8 * (offset % 4)) & width.mask()
    }

    // Causes are cleared by writing them, which nobody looks at; secondary cores do not start anyway.
    fn write(&mut self, _: u64, _: Width, _: u64, _: &mut dyn Machine) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::NoMachine;

    #[test]
    fn software_reads_the_cause_of_the_reset_and_the_boot_switches() {
        let mut src = Src { cause: Cause::Watchdog { by_software: false }, boot_mode: 0b0011 };
        assert_eq!(src.read(0x5c, Width::Word, &mut NoMachine), 0x10);
        assert_eq!(src.read(0x70, Width::Word, &mut NoMachine), 0x0300_0000);
        assert_eq!(src.read(0x73, Width::Byte, &mut NoMachine), 3);
    }
}
