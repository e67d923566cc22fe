//! Secure non-volatile storage: the low-power domain with its clock, key and general registers.
//!
//! Source: i.MX 8M Plus security reference manual, "SNVS" (HPCOMR, LPSR, LPPGDR,
//! HPLR, LPLR, LPGPR).

#![forbid(unsafe_code)]

use super::ccm;
use crate::{
    mmio::Bus,
    state::counter::{Counter, Words},
};

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

/// Locks of the general registers, one of the high-power and one of the low-power domain.
const HPLR: u32 = BASE;
const LPLR: u32 = BASE + 0x34;
const GPR_LOCK: u32 = 1 << 5;
/// The first of the four.
const LPGPR0: u32 = BASE + 0x90;

/// The four general registers of the low-power domain, which keep what they hold while the board, or
/// a battery, powers them. Places and locks as in Linux (`drivers/nvmem/snvs_lpgpr.c`, its i.MX 7D).
#[derive(Debug)]
pub struct GeneralRegisters<B>(B);

impl<B: Bus> GeneralRegisters<B> {
    /// Nothing but their clock is touched.
    pub fn open(bus: B) -> Self {
        ccm::open(&bus, GATE);
        Self(bus)
    }
}

impl<B: Bus> Counter for GeneralRegisters<B> {
    fn read(&mut self) -> Option<Words> {
        let locked = [HPLR, LPLR].iter().any(|lock| self.0.read32(*lock) & GPR_LOCK != 0);
        let [a, b, c, d] = [0, 4, 8, 12].map(|offset| self.0.read32(LPGPR0 + offset));
        (!locked).then_some([a, b, c, d])
    }

    fn write(&mut self, words: Words) {
        for (offset, word) in (0..).step_by(4).zip(words) {
            self.0.write32(LPGPR0 + offset, word);
        }
    }
}
