//! The DRAM controller: which registers may be written when, and what follows.

use std::collections::BTreeMap;

use super::{Fault, Patience, Rules};

/// The reset controller's register.
pub(super) const RESET: u32 = 0x3039_1000;
/// The subsystem's general purpose register, and the end of the controller.
pub(super) const SUBSYSTEM: u32 = 0x3d00_0000;
pub(super) const END: u32 = 0x3d40_5000;

const BASE: u32 = 0x3d40_0000;
const STAT: u32 = BASE + 0x004;
const MRCTRL0: u32 = BASE + 0x010;
const MRCTRL1: u32 = BASE + 0x014;
const PWRCTL: u32 = BASE + 0x030;
const RFSHCTL3: u32 = BASE + 0x060;
const ECCCFG1: u32 = BASE + 0x074;
const DFIMISC: u32 = BASE + 0x1b0;
const DFISTAT: u32 = BASE + 0x1bc;
const DBG1: u32 = BASE + 0x304;
const SWCTL: u32 = BASE + 0x320;
const SWSTAT: u32 = BASE + 0x324;
const PCTRL_0: u32 = BASE + 0x490;
const SCRUBBER: std::ops::RangeInclusive<u32> = BASE + 0xf24..=BASE + 0xf40;
const SBRCTL: u32 = BASE + 0xf24;
const SBRSTAT: u32 = BASE + 0xf28;
/// Registers at these offsets, of each set point, are quasi-dynamic.
const TURNAROUND: u32 = 0x108;
const GAPS: u32 = 0x0f4;

const RESET_REGISTERS: u32 = 1;
const RESET_CORE: u32 = 2;
const RESET_PHY: u32 = 4;
const POWER_NOT_GOOD: u32 = 8;

#[derive(Default)]
pub(super) struct Controller {
    resets: u32,
    registers: BTreeMap<u32, u32>,
    handshake: Patience,
    phy_start: Patience,
    normal: Patience,
    fill: Patience,
    faults: Vec<Fault>,
    online: bool,
}

impl Controller {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self { resets: 0xf, faults: faults.to_vec(), ..Self::default() }
    }

    pub(super) fn set_faults(&mut self, faults: &[Fault]) {
        self.faults = faults.to_vec();
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn register(&self, address: u32) -> u32 {
        self.registers.get(&address).copied().unwrap_or(0)
    }

    /// Whether PHY and registers are out of reset.
    pub(super) fn is_released(&self) -> bool {
        self.resets & (RESET_REGISTERS | RESET_PHY | POWER_NOT_GOOD) == 0
    }

    pub(super) fn is_online(&self) -> bool {
        self.online && self.register(PCTRL_0) == 1 && self.register(RFSHCTL3) == 0
    }

    pub(super) fn reset(&mut self, value: u32, rules: &mut Rules) {
        rules
            .require(value >> 24 == 0x8f, || format!("reset register without domains: {value:#x}"));
        self.resets = value & 0xf;
        if self.resets & RESET_REGISTERS != 0 {
            self.registers.clear();
            self.online = false;
        }
    }

    pub(super) fn read(
        &mut self,
        address: u32,
        phy_is_initialized: bool,
        rules: &mut Rules,
    ) -> u32 {
        rules.require(self.resets & RESET_REGISTERS == 0, || {
            format!("controller in reset: load from {address:#x}")
        });
        match address {
            SWSTAT => {
                let done = self.register(SWCTL) == 1 && !self.has(Fault::NoHandshake);
                u32::from(done && self.handshake.look())
            }
            DFISTAT => {
                let started = self.register(DFIMISC) & 1 << 5 != 0 && phy_is_initialized;
                u32::from(started && !self.has(Fault::NoPhy) && self.phy_start.look())
            }
            STAT => {
                let taken = self.register(DFIMISC) & 1 != 0 && self.register(PWRCTL) & 1 << 5 == 0;
                self.online = taken && !self.has(Fault::NoNormalMode) && self.normal.look();
                u32::from(self.online)
            }
            SBRSTAT => {
                let filling = self.register(SBRCTL) == 0x15;
                if !filling {
                    0
                } else if !self.has(Fault::NoFill) && self.fill.look() {
                    2
                } else {
                    1
                }
            }
            _ => self.register(address),
        }
    }

    pub(super) fn write(&mut self, address: u32, value: u32, rules: &mut Rules) {
        rules.require(self.resets & RESET_REGISTERS == 0, || {
            format!("controller in reset: store to {address:#x}")
        });
        if self.resets & RESET_CORE == 0 {
            self.check_running(address, rules);
        }
        match address {
            SWCTL => self.handshake = Patience::default(),
            DFIMISC => self.phy_start = Patience::default(),
            SBRCTL => self.fill = Patience::default(),
            PWRCTL => self.normal = Patience::default(),
            _ => {}
        }
        self.registers.insert(address, value);
    }

    /// What may be written while the core runs.
    fn check_running(&self, address: u32, rules: &mut Rules) {
        let offset = if address < BASE { address } else { address & 0xfff };
        let quasi_dynamic =
            matches!(address, DFIMISC | ECCCFG1) || matches!(offset, TURNAROUND | GAPS);
        let dynamic = matches!(address, DBG1 | RFSHCTL3 | PWRCTL | SWCTL | PCTRL_0 | SUBSYSTEM)
            || matches!(address, MRCTRL0 | MRCTRL1)
            || SCRUBBER.contains(&address);
        if quasi_dynamic {
            let open = self.registers.get(&SWCTL) == Some(&0);
            rules.require(open, || format!("store to {address:#x} while SWCTL is set"));
        } else {
            rules.require(dynamic, || format!("store to static register {address:#x}"));
        }
    }
}
