//! DRAM PLL, root clocks and the power request.

use std::collections::BTreeMap;

use super::{Fault, Patience};

/// The lowest and the highest address.
pub(super) const GPC: u32 = 0x3036_0000;
pub(super) const END: u32 = 0x303b_0000;

const PLL: u32 = 0x3036_0050;
const PLL_DIVIDERS: u32 = 0x3036_0054;
const PLL_FRACTION: u32 = 0x3036_0058;
const ROOT_SELECT: u32 = 0x3038_9800;
const ROOT_ALTERNATIVE: u32 = 0x3038_a000;
const ROOT_REGISTERS: u32 = 0x3038_a080;
const MAPPING: u32 = 0x303a_00ec;
const POWER_UP: u32 = 0x303a_00f8;
const BYPASS: u32 = 1 << 4;
const NOT_RESET: u32 = 1 << 9;
const LOCKED: u32 = 1 << 31;

pub(super) struct Clocks {
    registers: BTreeMap<u32, u32>,
    lock: Option<Patience>,
    locked: bool,
    locks: bool,
    powered: bool,
    assumed: bool,
}

impl Clocks {
    pub(super) fn new(faults: &[Fault]) -> Self {
        let registers = [PLL_DIVIDERS, PLL_FRACTION, ROOT_SELECT, ROOT_ALTERNATIVE];
        let mut registers: BTreeMap<u32, u32> = registers
            .into_iter()
            .chain([ROOT_REGISTERS, MAPPING, POWER_UP])
            .map(|r| (r, 0))
            .collect();
        // Bypassed, clock on: what the boot ROM leaves.
        registers.insert(PLL, 0x2010);
        Self {
            registers,
            lock: None,
            locked: false,
            locks: !faults.contains(&Fault::NoLock),
            powered: false,
            assumed: false,
        }
    }

    pub(super) fn set_faults(&mut self, faults: &[Fault]) {
        self.locks = !faults.contains(&Fault::NoLock);
    }

    /// Somebody else's clocks and power: they count as right.
    pub(super) fn assume(&mut self) {
        (self.powered, self.assumed) = (true, true);
    }

    pub(super) fn has(&self, address: u32) -> bool {
        self.registers.contains_key(&address)
    }

    fn register(&self, address: u32) -> u32 {
        self.registers.get(&address).copied().unwrap_or(0)
    }

    pub(super) fn read(&mut self, address: u32) -> u32 {
        match address {
            PLL => {
                if let Some(lock) = &mut self.lock {
                    self.locked = self.locks && lock.look();
                }
                self.register(PLL) & !LOCKED | if self.locked { LOCKED } else { 0 }
            }
            // A request clears itself.
            POWER_UP => 0,
            _ => self.register(address),
        }
    }

    pub(super) fn write(&mut self, address: u32, value: u32) {
        match address {
            PLL if value & NOT_RESET == 0 => (self.lock, self.locked) = (None, false),
            PLL if self.lock.is_none() => self.lock = Some(Patience::default()),
            POWER_UP => self.powered |= value & 1 << 5 != 0 && self.register(MAPPING) & 1 << 7 != 0,
            _ => {}
        }
        self.registers.insert(address, value);
    }

    pub(super) fn is_powered(&self) -> bool {
        self.powered
    }

    /// The data rate that the memory's clock makes, in MT/s, 0 if there is none; `None` if that is
    /// not known.
    pub(super) fn rate(&self) -> Option<u32> {
        if self.assumed {
            return None;
        }
        let select = self.register(ROOT_SELECT);
        Some(if select >> 24 & 7 == 1 { self.root_rate() } else { self.pll_rate() })
    }

    fn root_rate(&self) -> u32 {
        let root = self.register(ROOT_ALTERNATIVE);
        let source = match root >> 24 & 7 {
            1 => 800,
            2 => 100,
            3 => 500,
            _ => 0,
        };
        source / ((root >> 16 & 7) + 1)
    }

    fn pll_rate(&self) -> u32 {
        let dividers = self.register(PLL_DIVIDERS);
        let (m, p, s) = (dividers >> 12 & 0x3ff, dividers >> 4 & 0x3f, dividers & 7);
        let runs = self.locked && self.register(PLL) & BYPASS == 0;
        if runs && p != 0 { 4 * 24 * m / (p << s) } else { 0 }
    }
}
