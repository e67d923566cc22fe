//! The PHY: registers that belong to the processor or to the microcontroller.

use std::collections::BTreeMap;

use super::{
    Fault, Patience, Rules,
    pmu::{End, Pmu, REVISION, differences},
};
use crate::access::Width;

/// Where it is: 32-bit words, one for each 16-bit register.
pub(super) const BASE: u32 = 0x3c00_0000;
pub(super) const END: u32 = 0x3d00_0000;

const MUX_SEL: u32 = 0xd_0000;
const STATE: u32 = 0xd_0004;
const ACKNOWLEDGED: u32 = 0xd_0031;
const LOW: u32 = 0xd_0032;
const HIGH: u32 = 0xd_0034;
const MICRO_RESET: u32 = 0xd_0099;
const CLOCKS: u32 = 0xc_0080;
const CALIBRATE: u32 = 0x2_0088;
const CALIBRATE_NOW: u16 = 0x10;
const CAL_BUSY: u32 = 0x2_0097;
/// Memories of the microcontroller.
const MEMORY: std::ops::Range<u32> = 0x5_0000..0x5_6000;
/// In the message block.
const FAILED_RANKS: u32 = 0x5_4007;
const CHANNEL_A: u32 = 0x5_4013;
const CHANNEL_B: u32 = 0x5_402c;
const FREQUENCY: u32 = 0x5_4003;
const SEQUENCE: u32 = 0x5_4008;
/// 2D read and write training.
const SEQUENCE_2D: u16 = 0x60;

pub(super) struct Phy {
    faults: Vec<Fault>,
    registers: BTreeMap<u32, u16>,
    memory: Vec<u16>,
    /// Halfwords of firmware written since the reset or the last start.
    loaded: usize,
    was_reset: bool,
    calibration: Option<Patience>,
    initialized: bool,
    pmu: Option<Pmu>,
    runs: usize,
    one_d_runs: u16,
}

impl Phy {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self {
            faults: faults.to_vec(),
            registers: BTreeMap::new(),
            memory: vec![0; MEMORY.len()],
            loaded: 0,
            was_reset: false,
            calibration: None,
            initialized: false,
            pmu: None,
            runs: 0,
            one_d_runs: 0,
        }
    }

    pub(super) fn set_faults(&mut self, faults: &[Fault]) {
        self.faults = faults.to_vec();
    }

    pub(super) fn reset(&mut self, resets: u32) {
        if resets & 4 != 0 {
            // What the memories held before power-up is not there for software to rely on.
            *self = Self::new(&self.faults);
        }
    }

    /// Whether it can start: trained and calibrated, registers back with the microcontroller.
    pub(super) fn is_initialized(&self) -> bool {
        self.initialized && self.register(MUX_SEL) == 1
    }

    fn register(&self, register: u32) -> u16 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    fn memory(&mut self, register: u32) -> Option<&mut u16> {
        let index = register.checked_sub(MEMORY.start)?;
        self.memory.get_mut(usize::try_from(index).ok()?)
    }

    fn check(&self, register: u32, width: Width, rules: &mut Rules) {
        let always = register >> 8 == 0xd00 || register == CAL_BUSY;
        rules.require(always || self.register(MUX_SEL) == 0, || {
            format!("PHY register {register:#x} belongs to the microcontroller")
        });
        rules.require(width == Width::Word || MEMORY.contains(&register), || {
            format!("16-bit access to PHY register {register:#x}")
        });
    }

    pub(super) fn read(&mut self, address: u32, width: Width, rules: &mut Rules) -> u32 {
        let register = (address - BASE) / 4;
        self.check(register, width, rules);
        let value = match register {
            STATE => self.pmu.as_mut().is_none_or(Pmu::is_empty).into(),
            LOW | HIGH => match self.pmu.as_ref().and_then(Pmu::word) {
                Some(word) if register == LOW => (word & 0xffff) as u16,
                Some(word) => (word >> 16) as u16,
                None => {
                    rules.require(false, || "mail read that is not there".into());
                    0
                }
            },
            CAL_BUSY => {
                let stuck = self.faults.contains(&Fault::NoCalibration);
                let calibrated = match &mut self.calibration {
                    None => true,
                    Some(patience) => !stuck && patience.look(),
                };
                self.initialized |= calibrated && self.calibration.is_some();
                u16::from(!calibrated)
            }
            _ if MEMORY.contains(&register) => {
                let stuck = self.faults.contains(&Fault::StuckBit(register - MEMORY.start));
                let value = self.memory(register).map_or(0, |word| *word);
                if stuck { value & !1 } else { value }
            }
            // What training found, for registers that nobody wrote.
            _ => self.registers.get(&register).copied().unwrap_or((register & 0xffff) as u16),
        };
        u32::from(value)
    }

    pub(super) fn write(
        &mut self,
        address: u32,
        width: Width,
        value: u32,
        rate: Option<u32>,
        rules: &mut Rules,
    ) {
        let register = (address - BASE) / 4;
        self.check(register, width, rules);
        let value = (value & 0xffff) as u16;
        match register {
            MICRO_RESET => self.micro_reset(value, rate, rules),
            ACKNOWLEDGED => {
                let end = self.pmu.as_mut().and_then(|pmu| pmu.acknowledge(value, rules));
                if let Some(end) = end {
                    self.finish(end);
                }
            }
            CALIBRATE if value & CALIBRATE_NOW != 0 => {
                self.calibration = Some(Patience::default());
            }
            CLOCKS => rules.require(self.pmu.is_none(), || "clocks changed during a run".into()),
            _ => {}
        }
        if let Some(word) = self.memory(register) {
            *word = value;
            self.loaded += usize::from(width == Width::Half);
        } else {
            self.registers.insert(register, value);
        }
    }

    /// Reset and stall, then stall, then neither: the firmware runs.
    fn micro_reset(&mut self, value: u16, rate: Option<u32>, rules: &mut Rules) {
        match value {
            9 => self.was_reset = true,
            1 => self.pmu = None,
            0 => {
                rules.require(self.was_reset, || "microcontroller started without a reset".into());
                rules.require(self.register(MUX_SEL) == 1, || {
                    "microcontroller started without its registers".into()
                });
                self.was_reset = false;
                self.start(rate, rules);
            }
            _ => rules.require(false, || format!("MicroReset set to {value}")),
        }
    }

    fn start(&mut self, rate: Option<u32>, rules: &mut Rules) {
        let frequency = u32::from(self.memory(FREQUENCY).map_or(0, |word| *word));
        rules.require(rate.is_none_or(|rate| frequency.abs_diff(rate) <= 2), || {
            format!("memory runs at {rate:?} MT/s, trained for {frequency}")
        });
        let two_dimensional = self.memory(SEQUENCE).is_some_and(|word| *word & SEQUENCE_2D != 0);
        rules.require(self.loaded != 0 || !two_dimensional && self.runs != 0, || {
            "run without its firmware".into()
        });
        self.loaded = 0;
        self.set_memory(REVISION);
        self.pmu = Some(Pmu::new(self.runs, two_dimensional, &self.faults));
        self.runs += 1;
    }

    fn finish(&mut self, end: End) {
        self.set_memory((FAILED_RANKS, end.failed_ranks()));
        if end == End::PassedOneD {
            let measured = self.faults.iter().find_map(|fault| match fault {
                Fault::Differences(a, b) => Some((*a, *b)),
                _ => None,
            });
            let (a, b) = measured.unwrap_or_else(|| differences(self.one_d_runs));
            (CHANNEL_A..).zip(a).chain((CHANNEL_B..).zip(b)).for_each(|word| self.set_memory(word));
            self.one_d_runs += 1;
        }
    }

    fn set_memory(&mut self, (register, value): (u32, u16)) {
        if let Some(word) = self.memory(register) {
            *word = value;
        }
    }
}
