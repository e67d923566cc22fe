//! The system counter, which the generic timer counts by.
//!
//! Source: i.MX 8M Plus reference manual, "System Counter (SYS_CTR)" (CNTCR, CNTFID0).

#![forbid(unsafe_code)]

use crate::mmio::Bus;

use super::ccm;

const GATE: u32 = 57;
const CNTCR: u32 = 0x306c_0000;
/// Counts; stops for a debugger.
const CNTCR_RUN: u32 = 0b11;
/// Which entry of the table of frequencies: one bit each.
const CNTCR_ENTRY: u32 = 0b11 << 8;
const CNTCR_ENTRY_0: u32 = 1 << 8;
const CNTFID0: u32 = 0x306c_0020;

/// Lets it run at its base frequency, which is the result, in hertz: what CNTFRQ_EL0 is to hold. 0 if
/// the table of frequencies is empty.
pub fn start(bus: &impl Bus) -> u32 {
    ccm::open(bus, GATE);
    let hertz = bus.read32(CNTFID0);
    bus.modify32(CNTCR, CNTCR_ENTRY, CNTCR_ENTRY_0 | CNTCR_RUN);
    hertz
}
