//! Secure non-volatile storage: the low-power domain with its clock, key and general registers.
//!
//! Source: i.MX 8M Plus security reference manual, "SNVS" (HPCOMR, LPSR, LPPGDR).

#![forbid(unsafe_code)]

use crate::mmio::Bus;

use super::ccm;

const GATE: u32 = 71;
const BASE: u32 = 0x3037_0000;
/// Anybody, not only privileged software, may use the registers.
const HPCOMR: u32 = BASE + 0x04;
const HPCOMR_NPSWA_EN: u32 = 1 << 31;
const LPSR: u32 = BASE + 0x4c;
/// The glitch detector takes the supply as good while this holds the word below.
const LPPGDR: u32 = BASE + 0x64;
const LPPGDR_GOOD: u32 = 0x4173_6166;

/// Clears what power-up left in its status, and lets Linux use it.
pub fn set_up(bus: &impl Bus) {
    ccm::open(bus, GATE);
    bus.write32(LPPGDR, LPPGDR_GOOD);
    bus.write32(LPSR, u32::MAX);
    bus.modify32(HPCOMR, 0, HPCOMR_NPSWA_EN);
}
