//! Why the board was reset.
//!
//! Three witnesses: the reset controller, the watchdog and the PMIC. When the watchdog's pin makes
//! the PMIC cycle the supplies, the SoC only knows of a power-on, and the PMIC tells the rest.
//! Sources: i.MX 8M Plus reference manual, SRC_SRSR and WDOG_WRSR; PCA9450 data sheet, PWRON_STAT.

#![forbid(unsafe_code)]

use core::fmt;

use crate::{handoff::ResetCause, mmio::Bus};

use super::wdog::Watchdog;

/// SRC_SRSR; a one written clears a bit.
const SRSR: u32 = 0x3039_005c;
const POWER_ON: u32 = 1 << 0;
const WATCHDOG_1: u32 = 1 << 4;
const REASONS: &[(u32, &str)] = &[
    (1 << 2, "security violation"),
    (1 << 3, "reset pin"),
    (1 << 5, "JTAG"),
    (1 << 6, "JTAG, by software"),
    (1 << 7, "watchdog 3"),
    (1 << 8, "watchdog 2"),
    (1 << 9, "too hot"),
];
/// WDOG_WRSR: by its control register, or because nobody served it.
const WRSR_SOFTWARE: u16 = 1 << 0;
const WRSR_TIME_OUT: u16 = 1 << 1;
/// PWRON_STAT.
const PMIC_REASONS: &[(u8, &str)] = &[
    (1 << 6, "by the watchdog's pin"),
    (1 << 5, "by software through the PMIC"),
    (1 << 4, "by the reset button"),
];

/// Reads the cause, and clears it in the reset controller, so that the next one stands alone.
/// `pmic` is what the PMIC says, if it answered.
pub fn take_cause(bus: &impl Bus, watchdog: Watchdog, pmic: Option<u8>) -> ResetCause {
    let src = bus.read32(SRSR);
    bus.write32(SRSR, src);
    ResetCause { src, watchdog: watchdog.reset_status(bus), pmic }
}

impl fmt::Display for ResetCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, watchdog, pmic } = *self;
        let mut list = List { f, separator: "" };
        if src & POWER_ON != 0 {
            list.add("power-on")?;
        } else if src & WATCHDOG_1 != 0 {
            // With a power-on this bit comes along.
            list.add("watchdog 1")?;
        }
        if watchdog & WRSR_SOFTWARE != 0 {
            list.add("by software")?;
        }
        if watchdog & WRSR_TIME_OUT != 0 {
            list.add("nobody served it")?;
        }
        for (_, text) in REASONS.iter().filter(|(bit, _)| src & bit != 0) {
            list.add(text)?;
        }
        let pmic = pmic.unwrap_or(0);
        for (_, text) in PMIC_REASONS.iter().filter(|(bit, _)| pmic & bit != 0) {
            list.add(text)?;
        }
        if list.separator.is_empty() { list.f.write_str("unknown") } else { Ok(()) }
    }
}

struct List<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    separator: &'static str,
}

impl List<'_, '_> {
    fn add(&mut self, text: &str) -> fmt::Result {
        self.f.write_str(self.separator)?;
        self.separator = ", ";
        self.f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn told(src: u32, watchdog: u16, pmic: Option<u8>) -> std::string::String {
        ResetCause { src, watchdog, pmic }.to_string()
    }

    #[test]
    fn each_cause_reads_as_a_person_would_say_it() {
        for (src, watchdog, pmic, text) in [
            (0x001, 0x10, None, "power-on"),
            (0x011, 0x10, Some(0x80), "power-on"),
            (0x001, 0x10, Some(0x40), "power-on, by the watchdog's pin"),
            (0x001, 0x10, Some(0x20), "power-on, by software through the PMIC"),
            (0x001, 0x10, Some(0x10), "power-on, by the reset button"),
            (0x010, 0x02, None, "watchdog 1, nobody served it"),
            (0x010, 0x01, None, "watchdog 1, by software"),
            (0x008, 0x00, None, "reset pin"),
            (0x004, 0x00, None, "security violation"),
            (0x020, 0x00, None, "JTAG"),
            (0x040, 0x00, None, "JTAG, by software"),
            (0x180, 0x00, None, "watchdog 3, watchdog 2"),
            (0x200, 0x00, None, "too hot"),
            (0x000, 0x00, None, "unknown"),
        ] {
            assert_eq!(told(src, watchdog, pmic), text, "{src:#x} {watchdog:#x} {pmic:?}");
        }
    }
}
