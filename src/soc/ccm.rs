//! Clock controller module: root slices and gates.
//!
//! Source: i.MX 8M Plus reference manual, chapter 5 (CCM_TARGET_ROOTn, CCM_CCGRn).

#![forbid(unsafe_code)]

use crate::mmio::Bus;

const BASE: u32 = 0x3038_0000;
const GATES: u32 = BASE + 0x4000;
const GATE_STRIDE: u32 = 0x10;
const ROOTS: u32 = BASE + 0x8000;
const ROOT_STRIDE: u32 = 0x80;
/// Offset of the register whose ones set bits; the next one's clear them.
const SET: u32 = 4;
const CLEAR: u32 = 8;
/// Running in every power mode, for domain 0: the Cortex-A53 cluster's.
const ALWAYS: u32 = 3;

/// The clock of a peripheral: root slices behind a gate.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Root slices: number, and what its target register holds: enable (28), source (26:24),
    /// pre-divider - 1 (18:16), post-divider - 1 (5:0).
    pub roots: &'static [(u32, u32)],
    /// What the first one makes, in hertz.
    pub hertz: u32,
    /// Number of the gate.
    pub gate: u32,
}

/// Lets a clock through to its peripheral.
pub fn open(bus: &impl Bus, gate: u32) {
    bus.write32(GATES + gate * GATE_STRIDE + SET, ALWAYS);
}

/// Stops it there.
pub fn shut(bus: &impl Bus, gate: u32) {
    bus.write32(GATES + gate * GATE_STRIDE + CLEAR, ALWAYS);
}

/// Makes a root slice what its target register then says.
pub fn set_root(bus: &impl Bus, root: u32, target: u32) {
    bus.write32(ROOTS + root * ROOT_STRIDE, target);
}

/// Starts `clock`, whatever it was before. The gate is shut while the slices change, so that the
/// peripheral sees no glitch.
pub fn start(bus: &impl Bus, clock: &Clock) {
    shut(bus, clock.gate);
    for &(root, target) in clock.roots {
        set_root(bus, root, target);
    }
    open(bus, clock.gate);
}
