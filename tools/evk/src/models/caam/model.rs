//! The registers.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Caam, Fault,
    descriptor::{self, MOST_WORDS, Run},
    random::Random,
};
use crate::{
    access::Width,
    models::usdhc::{Memory, Rules},
};

/// Where it is.
pub(super) const BASE: u32 = 0x3090_0000;
/// How much room it has.
pub(super) const LENGTH: u32 = 0x4_0000;

const MCFGR: u32 = 0x04;
const MCFGR_LONG_POINTERS: u32 = 1 << 16;
const JR1DID_MS: u32 = 0x18;
const SECURE_OWNER: u32 = 0x8011;
const JRSTARTR: u32 = 0x5c;
const RTMCTL: u32 = 0x600;
const RTMCTL_PRGM: u32 = 1 << 16;
const RTSDCTL: u32 = 0x610;
const RTSCML: u32 = 0x620;
const RTSCRL6: u32 = 0x638;
const RDSTA: u32 = 0x6c0;
const RDSTA_SKVN: u32 = 1 << 30;
/// Ring 0's registers but for those of secure memory.
const RING_0: u32 = 0x1000;
const RING_0_END: u32 = 0x1070;
const RING: u32 = 0x2000;
const RING_END: u32 = 0x3000;
/// Each page has a copy of what tells of the module.
const COPY: u32 = 0xf00;
const CTPR_MS: u32 = 0xfa8;
/// Virtualization is built in, and on after power-on.
const CTPR_VIRTUAL: u32 = 0b11;
const CHAVID_LS: u32 = 0xfec;
const RNG_VERSION: u32 = 4 << 16;

/// After a reset: 2500 samples of 3200 clocks.
const RTSDCTL_RESET: u32 = 3200 << 16 | 2500;
/// Ones among 512 samples.
const RTSCML_512: u32 = 122 << 16 | 317;

/// Ring 1.
#[derive(Default)]
struct Ring {
    input: u32,
    input_size: u32,
    output: u32,
    output_size: u32,
    interrupt: u32,
    configuration: u32,
    halted: bool,
    resetting: bool,
    /// How many jobs it has taken.
    taken: u32,
    /// How many it has answered.
    answered: u32,
    /// Answers that software has not removed.
    full: u32,
    jobs: Vec<Job>,
}

struct Job {
    address: u32,
    words: Vec<u32>,
    due: Duration,
}

const HALT: u32 = 0b11 << 2;
const HALT_IN_PROGRESS: u32 = 0b01 << 2;
const HALT_COMPLETE: u32 = 0b10 << 2;
const JOB_DONE: u32 = 1;

/// A module's registers.
pub struct Model {
    caam: Caam,
    random: Random,
    registers: BTreeMap<u32, u32>,
    state: u32,
    ring: Ring,
    draws: usize,
    rules: Rules,
}

impl Model {
    /// A module of this kind after power-on. What breaks its rules is written to `rules`.
    #[must_use]
    pub fn new(caam: Caam, rules: Rules) -> Self {
        let mut registers = BTreeMap::from([(RTSDCTL, RTSDCTL_RESET)]);
        if caam.is_given {
            registers.extend([(JR1DID_MS, 1)]);
        }
        if caam.has(Fault::Foreign) {
            registers.extend([(JR1DID_MS, SECURE_OWNER)]);
        }
        if caam.is_behind_tee {
            registers.extend([(JRSTARTR, 0b1111)]);
        }
        let keys = if caam.instantiated == 0 { 0 } else { RDSTA_SKVN };
        let state = keys | caam.instantiated | caam.instantiated << 4;
        let random = Random::new(caam.seed);
        Self { caam, random, registers, state, ring: Ring::default(), draws: 0, rules }
    }

    /// Whether somebody asked for random bytes, and how often.
    #[must_use]
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// The state handles that are instantiated, by their bits.
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.state & 0b11
    }

    /// Those that are, with prediction resistance.
    #[must_use]
    pub fn resistant_handles(&self) -> u32 {
        self.state >> 4 & 0b11
    }

    /// Clocks of a sample that are set.
    #[must_use]
    pub fn sample(&self) -> u32 {
        self.register(RTSDCTL) >> 16
    }

    /// Whether memory may be read or written.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.ring.jobs.is_empty()
    }

    /// Whether ring 1 is as after a reset.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Ring { input_size, output_size, full, jobs, .. } = &self.ring;
        *input_size == 0 && *output_size == 0 && *full == 0 && jobs.is_empty()
    }

    /// When something changes by itself.
    #[must_use]
    pub fn next_change(&self) -> Option<Duration> {
        self.ring.jobs.first().map(|job| job.due)
    }

    /// What a load of 32 bits sees.
    pub fn read(&mut self, offset: u32, now: Duration, memory: &mut dyn Memory) -> u32 {
        self.catch_up(now, memory);
        if self.caam.has(Fault::Absent) || self.is_hidden(offset) {
            return 0;
        }
        match offset {
            RDSTA => self.state,
            RING..RING_END if offset % 0x1000 < COPY => self.read_ring(offset - RING),
            _ => match offset % 0x1000 {
                CTPR_MS => CTPR_VIRTUAL,
                CHAVID_LS => RNG_VERSION,
                _ => self.register(offset),
            },
        }
    }

    /// What a store of 32 bits does.
    pub fn write(&mut self, offset: u32, value: u32, now: Duration, memory: &mut dyn Memory) {
        self.catch_up(now, memory);
        if self.caam.has(Fault::Absent) || self.is_hidden(offset) {
            return;
        }
        let mode = self.register(RTMCTL);
        match offset {
            JR1DID_MS if self.caam.has(Fault::Foreign) => {}
            RTMCTL..=RTSCRL6 if offset != RTMCTL && mode & RTMCTL_PRGM == 0 => {
                self.rules.broken(format!("CAAM: {offset:#x} written while the TRNG runs"));
            }
            RING_0..RING_0_END => self.rules.broken("CAAM: ring 0 is HAB's"),
            RING..RING_END => self.write_ring(offset - RING, value, now, memory),
            _ => drop(self.registers.insert(offset, value)),
        }
    }

    /// A register by its offset; all have 32 bits.
    pub(super) fn offset(&self, offset: u64, width: Width) -> u32 {
        self.rules
            .require(width == Width::Word, || format!("CAAM: {width:?} access at {offset:#x}"));
        u32::try_from(offset).unwrap_or(u32::MAX)
    }

    fn is_hidden(&self, offset: u32) -> bool {
        let hidden = self.caam.is_behind_tee && offset < 0x1000;
        self.rules.require(!hidden, || format!("CAAM: {offset:#x} is the TEE's"));
        hidden
    }

    fn register(&self, offset: u32) -> u32 {
        self.registers.get(&offset).copied().unwrap_or(0)
    }

    fn read_ring(&self, offset: u32) -> u32 {
        match offset {
            0x04 => self.ring.input,
            0x0c => self.ring.input_size,
            0x14 => self.ring.input_size.saturating_sub(self.waiting()),
            0x24 => self.ring.output,
            0x2c => self.ring.output_size,
            0x3c => self.ring.full,
            0x4c => self.ring.interrupt,
            0x54 => self.ring.configuration,
            0x6c => u32::from(self.ring.resetting),
            _ => 0,
        }
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.ring.jobs.len()).unwrap_or(u32::MAX)
    }

    fn write_ring(&mut self, offset: u32, value: u32, now: Duration, memory: &mut dyn Memory) {
        let idle = self.ring.jobs.is_empty() && self.ring.full == 0;
        let configures = matches!(offset, 0x04 | 0x0c | 0x24 | 0x2c);
        self.rules.require(idle || !configures, || {
            format!("CAAM: ring register {offset:#x} written while jobs are in the ring")
        });
        match offset {
            0x00 | 0x20 => self.rules.require(value == 0, || "CAAM: rings above 4 GiB".into()),
            0x04 => self.ring.input = value,
            0x0c => self.ring.input_size = value,
            0x1c => self.take_jobs(value, now, memory),
            0x24 => self.ring.output = value,
            0x2c => self.ring.output_size = value,
            0x34 => {
                self.rules.require(value <= self.ring.full, || "CAAM: no such answers".into());
                self.ring.full = self.ring.full.saturating_sub(value);
            }
            // Ones clear.
            0x4c => self.ring.interrupt &= !(value & JOB_DONE),
            0x54 => self.ring.configuration = value,
            0x6c if value & 1 != 0 => self.command(),
            _ => {}
        }
    }

    /// Halts the ring; resets one that is halted.
    fn command(&mut self) {
        if self.ring.halted {
            let resetting = self.caam.has(Fault::NeverResets);
            let configuration = self.ring.configuration;
            self.ring = Ring { resetting, configuration, ..Ring::default() };
            return;
        }
        let halt = match self.caam.has(Fault::NeverHalts) {
            true => HALT_IN_PROGRESS,
            false => HALT_COMPLETE,
        };
        self.ring.interrupt = self.ring.interrupt & !HALT | halt;
        self.ring.halted = halt == HALT_COMPLETE;
        if self.ring.halted {
            self.ring.jobs.clear();
        }
    }

    fn take_jobs(&mut self, count: u32, now: Duration, memory: &mut dyn Memory) {
        let room = self.ring.input_size.saturating_sub(self.waiting());
        self.rules.require(count <= room && self.ring.output_size > 0, || {
            format!("CAAM: {count} jobs for a ring with room for {room}")
        });
        let long = self.register(MCFGR) & MCFGR_LONG_POINTERS != 0;
        self.rules.require(!long, || "CAAM: 32-bit pointers where 64 are set".into());
        let runs = self.register(JR1DID_MS) != 0 && self.register(JRSTARTR) & 0b10 != 0;
        self.rules.require(runs, || "CAAM: a job for a ring that nobody owns or started".into());
        for _ in 0..count.min(room) {
            let entry = self.ring.input + self.ring.taken % self.ring.input_size * 4;
            self.ring.taken += 1;
            let address = self.word(entry, memory);
            let length = (self.word(address, memory) & 0x7f) as usize;
            let words: Vec<_> = (0..length.min(MOST_WORDS))
                .map(|index| self.word(address + 4 * u32::try_from(index).unwrap_or(0), memory))
                .collect();
            let samples = self.register(RTSDCTL) & 0xffff;
            let due = now + descriptor::duration(&words, self.sample(), samples);
            if runs && !self.ring.halted {
                let silent = self.caam.has(Fault::Silent);
                let due = if silent { Duration::MAX } else { due };
                self.ring.jobs.push(Job { address, words, due });
            }
        }
    }

    fn word(&self, address: u32, memory: &mut dyn Memory) -> u32 {
        let mut bytes = [0; 4];
        let read = memory.read(address, &mut bytes).is_ok() && address.is_multiple_of(4);
        self.rules.require(read, || format!("CAAM: no descriptor or ring at {address:#x}"));
        u32::from_le_bytes(bytes)
    }

    /// Does what is due.
    fn catch_up(&mut self, now: Duration, memory: &mut dyn Memory) {
        while self.ring.jobs.first().is_some_and(|job| job.due <= now) {
            let job = self.ring.jobs.remove(0);
            let status = Run::new(self, memory).execute(&job.words);
            let entry = self.ring.output + self.ring.answered % self.ring.output_size.max(1) * 8;
            self.ring.answered += 1;
            self.ring.full += 1;
            self.ring.interrupt |= JOB_DONE;
            let answer = [job.address.to_le_bytes(), status.to_le_bytes()].concat();
            let written = memory.write(entry, &answer).is_ok();
            self.rules.require(written, || format!("CAAM: no output ring at {entry:#x}"));
        }
    }

    pub(super) fn is_instantiated(&self, handle: u32) -> bool {
        self.state >> handle & 1 != 0
    }

    pub(super) fn is_resistant(&self, handle: u32) -> bool {
        self.state >> (4 + handle) & 1 != 0
    }

    /// Whether the oscillator passes its tests, and the handle is seeded.
    pub(super) fn instantiate(&mut self, handle: u32, resistant: bool) -> bool {
        if self.caam.has(Fault::InstantiatesNothing) {
            return true;
        }
        let needed = self.caam.faults.iter().filter_map(|fault| match fault {
            Fault::NeedsSample(clocks) => Some(*clocks),
            _ => None,
        });
        let is_long = needed.max().is_none_or(|needed| self.sample() >= needed);
        // The limits that go with 2500 samples fail 512 of them.
        let few = self.register(RTSDCTL) & 0xffff == 512;
        let has_limits = !few || self.register(RTSCML) == RTSCML_512;
        let runs = self.register(RTMCTL) & RTMCTL_PRGM == 0;
        let lacks = handle == 1 && self.caam.has(Fault::OneHandle);
        let passed = is_long && has_limits && runs && !lacks;
        if passed {
            self.state |= (1 | u32::from(resistant) << 4) << handle;
        }
        passed
    }

    /// Whether that was still to be done.
    pub(super) fn make_keys(&mut self) -> bool {
        let first = self.state & RDSTA_SKVN == 0;
        self.state |= RDSTA_SKVN;
        first
    }

    pub(super) fn random_bytes(&mut self, count: usize) -> Vec<u8> {
        self.draws += 1;
        let mut bytes = vec![0; count];
        self.random.fill(&mut bytes);
        for fault in &self.caam.faults {
            match fault {
                Fault::Constant(byte) => bytes.fill(*byte),
                Fault::Repeats => bytes.copy_within(..count / 2, count / 2),
                Fault::WritesNothing => bytes.clear(),
                _ => {}
            }
        }
        bytes
    }

    pub(super) fn failing_draw(&self) -> Option<u32> {
        self.caam.faults.iter().find_map(|fault| match fault {
            Fault::Status(status) => Some(*status),
            _ => None,
        })
    }
}
