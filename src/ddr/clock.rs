//! The memory's clock: the DRAM PLL for training and work, root clocks for the slow set points.
//!
//! The controller runs at a quarter of the data rate; fast rates come from the PLL, rates of 400
//! MT/s and below bypass it. Source: i.MX 8M Plus reference manual, chapters "Clock Controller
//! Module" and "Analog"; the dividers are those of U-Boot's `imx8mm_fracpll_tbl`.

use core::time::Duration;

use crate::{mmio::Bus, time};

use super::{
    error::Cause,
    ports::{PLL_LOCK, Ports},
};

/// Power controller: which core's requests count, and requests to power up.
const GPC_CPU_MAPPING: u32 = 0x303a_00ec;
const GPC_MAPPING_DRAM: u32 = 1 << 7;
const GPC_POWER_UP: u32 = 0x303a_00f8;
const GPC_POWER_UP_DRAM: u32 = 1 << 5;
/// The PLL: control, then dividers, then the fraction.
const PLL: u32 = 0x3036_0050;
const PLL_DIVIDERS: u32 = PLL + 4;
const PLL_FRACTION: u32 = PLL + 8;
const PLL_BYPASS: u32 = 1 << 4;
const PLL_NOT_RESET: u32 = 1 << 9;
const PLL_LOCKED: u32 = 1 << 31;
/// The dividers must stand for so long before the reset ends.
const PLL_SETTLE: Duration = Duration::from_micros(100);
/// Target roots: enable (28), source (26:24), pre-divider - 1 (18:16).
const ROOT_ALTERNATIVE: u32 = 0x3038_a000;
const ROOT_REGISTERS: u32 = 0x3038_a080;
const ROOT_SELECT: u32 = 0x3038_9800;
const SELECT_PLL: u32 = 0x1000_0000;
const SELECT_ALTERNATIVE: u32 = 0x1100_0000;
/// SYS_PLL1, 800 MHz, by 4 and by 5.
const REGISTERS_200_MHZ: u32 = 0x1403_0000;
const REGISTERS_160_MHZ: u32 = 0x1404_0000;

/// Where a clock comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The PLL, with this divider word: m (25:12), p (9:4), s (2:0); 24 MHz * m / (p * 2^s).
    Pll(u32),
    /// Target roots of the memory and of the registers.
    Roots(u32, u32),
}

const fn pll(m: u32, p: u32, s: u32) -> Option<Source> {
    Some(Source::Pll(m << 12 | p << 4 | s))
}

/// The clock for `rate` MT/s, if there is one.
pub(super) const fn source(rate: u16) -> Option<Source> {
    match rate {
        4000 => pll(250, 3, 1),
        3732..=3734 => pll(311, 4, 1),
        3600 => pll(300, 2, 2),
        3200 => pll(200, 3, 1),
        3000 => pll(250, 2, 2),
        2400 => pll(300, 3, 2),
        1600 => pll(400, 3, 3),
        1066 => pll(266, 3, 3),
        667 => pll(334, 3, 4),
        400 => Some(Source::Roots(0x1101_0000, 0x1301_0000)),
        100 => Some(Source::Roots(0x1200_0000, 0x1201_0000)),
        _ => None,
    }
}

/// Gives the memory `rate` MT/s.
pub(super) fn set<B: Bus, C: time::Clock>(ports: Ports<'_, B, C>, rate: u16) -> Result<(), Cause> {
    match source(rate).ok_or(Cause::NoClock(rate))? {
        Source::Pll(dividers) => {
            start_pll(ports, dividers)?;
            ports.write(ROOT_SELECT, SELECT_PLL);
            ports.write(ROOT_REGISTERS, REGISTERS_160_MHZ);
        }
        Source::Roots(memory, registers) => {
            ports.write(ROOT_ALTERNATIVE, memory);
            ports.write(ROOT_REGISTERS, registers);
            ports.write(ROOT_SELECT, SELECT_ALTERNATIVE);
        }
    }
    Ok(())
}

/// A clock for the registers, and power for the memory subsystem: before everything else.
pub(super) fn power_up<B: Bus, C: time::Clock>(ports: Ports<'_, B, C>) {
    ports.write(ROOT_REGISTERS, REGISTERS_200_MHZ);
    ports.write(GPC_CPU_MAPPING, 0xffff);
    ports.modify(GPC_POWER_UP, 0, GPC_POWER_UP_DRAM);
}

/// Bypasses the PLL while it is set up anew.
fn start_pll<B: Bus, C: time::Clock>(ports: Ports<'_, B, C>, dividers: u32) -> Result<(), Cause> {
    ports.modify(GPC_CPU_MAPPING, 0, GPC_MAPPING_DRAM);
    ports.modify(GPC_POWER_UP, 0, GPC_POWER_UP_DRAM);
    let control = ports.read(PLL) | PLL_BYPASS;
    ports.write(PLL, control);
    ports.write(PLL, control & !PLL_NOT_RESET);
    ports.write(PLL_DIVIDERS, dividers);
    ports.write(PLL_FRACTION, 0);
    ports.delay(PLL_SETTLE);
    ports.write(PLL, control | PLL_NOT_RESET);
    ports.poll(PLL, PLL_LOCKED, PLL_LOCKED, PLL_LOCK)?;
    ports.write(PLL, (control | PLL_NOT_RESET) & !PLL_BYPASS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dividers_make_a_quarter_of_the_data_rate() {
        for rate in 0..5000 {
            let Some(Source::Pll(word)) = source(rate) else { continue };
            let (m, p, s) = (word >> 12, word >> 4 & 0x3f, word & 7);
            let hertz = 24_000_000 * u64::from(m) / (u64::from(p) << s);
            let off = (hertz * 4).abs_diff(u64::from(rate) * 1_000_000);
            assert!(off <= 2_000_000, "{rate} MT/s from {hertz} Hz");
        }
    }

    #[test]
    fn a_rate_without_a_clock_is_none() {
        // U-Boot asks its PLL table for these, finds nothing and goes on with the clock before.
        for rate in [2800, 1866, 1200, 933, 800, 0] {
            assert_eq!(source(rate), None, "{rate}");
        }
    }
}
