//! Job ring 1: one job at a time.
//!
//! A job is a descriptor in memory; its address goes into the input ring, and comes back with a status
//! in the output ring. The ring is reset around each job, which makes it the first entry of both.

use core::time::Duration;

use zeroize::Zeroize;

use super::{Error, RING, Status};
use crate::{
    dma::{Dma, Receive, Send},
    entropy::{GATHERED, Secret},
    mmio::Bus,
    time::{self, Clock},
};

const IRBA_MS: u32 = RING;
const IRBA_LS: u32 = RING + 0x04;
const IRS: u32 = RING + 0x0c;
const IRJA: u32 = RING + 0x1c;
const ORBA_MS: u32 = RING + 0x20;
const ORBA_LS: u32 = RING + 0x24;
const ORS: u32 = RING + 0x2c;
const ORJR: u32 = RING + 0x34;
const ORSF: u32 = RING + 0x3c;
const JRINT: u32 = RING + 0x4c;
const JRINT_JOB_DONE: u32 = 1 << 0;
const JRINT_HALT: u32 = 0b11 << 2;
const JRINT_HALT_IN_PROGRESS: u32 = 0b01 << 2;
const JRCFG_LS: u32 = RING + 0x54;
const JRCFG_LS_IMSK: u32 = 1 << 0;
const JRCR: u32 = RING + 0x6c;
/// Halts a ring; in one that is halted, resets it.
const JRCR_RESET: u32 = 1 << 0;

/// Entries of both rings.
const ENTRIES: u32 = 4;

/// A job that is running is finished first, but for its seed.
const HALT_WAIT: Duration = Duration::from_millis(20);

/// Memory that the module reads and writes, each part in cache lines of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Buffers {
    input: [u8; 64],
    output: [u8; 64],
    descriptor: [u8; 64],
    random: [u8; GATHERED],
}

impl Buffers {
    /// Empty.
    pub const fn new() -> Self {
        Self { input: [0; 64], output: [0; 64], descriptor: [0; 64], random: [0; GATHERED] }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What the ring is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Seeds a state handle; with the first one, the keys of this power-on are made.
    Instantiate { handle: u32, keys: bool },
    /// Random bytes from the first handle.
    Generate,
}

/// A job descriptor's header, with its length in words.
const HEADER: u32 = 0xb080_0000;
/// An operation of the generator. State handle in bit 4.
const RNG: u32 = 0x8250_0000;
const RNG_PREDICTION_RESISTANCE: u32 = 1 << 1;
const RNG_INSTANTIATE: u32 = 0b01 << 2;
const RNG_MAKE_KEYS: u32 = 1 << 12;
/// Goes on when the operation before is done.
const JUMP_WHEN_DONE: u32 = 0xa200_0001;
/// The word behind it goes to the register that clears what was done.
const LOAD_CLEAR_WRITTEN: u32 = 0x1088_0004;
const CLEAR_MODE: u32 = 1;
/// 64 random bytes to the address in the word behind it.
const STORE_RANDOM: u32 = 0x6034_0040;
const _: () = assert!(GATHERED == 64, "STORE_RANDOM says how many");

impl Job {
    fn words(self, random: u32) -> ([u32; 6], u32) {
        let instantiate = RNG | RNG_INSTANTIATE | RNG_PREDICTION_RESISTANCE;
        match self {
            Self::Instantiate { handle, keys: false } => {
                ([HEADER, instantiate | handle << 4, 0, 0, 0, 0], 2)
            }
            Self::Instantiate { handle, keys: true } => {
                let keys = RNG | RNG_MAKE_KEYS;
                let first = instantiate | handle << 4;
                ([HEADER, first, JUMP_WHEN_DONE, LOAD_CLEAR_WRITTEN, CLEAR_MODE, keys], 6)
            }
            Self::Generate => ([HEADER, RNG, STORE_RANDOM, random, 0, 0], 4),
        }
    }
}

/// The ring with its memory.
pub(super) struct Ring<'a, B, C, D> {
    pub(super) bus: &'a B,
    pub(super) clock: &'a C,
    pub(super) dma: &'a D,
    /// Never anybody else's: a module that does not stop may still write there.
    pub(super) buffers: &'static mut Buffers,
}

impl<B: Bus, C: Clock, D: Dma> Ring<'_, B, C, D> {
    /// Has one job done.
    pub(super) fn run(&mut self, job: Job, wait: Duration) -> Result<(), Error> {
        let Self { bus, clock, dma, buffers } = self;
        let Buffers { input, output, descriptor, random } = &mut **buffers;
        reset(*bus, *clock)?;

        let random = Receive::begin(*dma, random)?;
        let (mut words, length) = job.words(random.bus_address());
        words[0] |= length;
        put(descriptor, &words);
        let descriptor = Send::begin(*dma, &*descriptor)?;
        put(input, &[descriptor.bus_address()]);
        let input = Send::begin(*dma, &*input)?;
        let answer = Receive::begin(*dma, output)?;

        for (register, value) in [
            (IRBA_MS, 0),
            (IRBA_LS, input.bus_address()),
            (ORBA_MS, 0),
            (ORBA_LS, answer.bus_address()),
            (ORS, ENTRIES),
            (IRS, ENTRIES),
        ] {
            bus.write32(register, value);
        }
        bus.modify32(JRCFG_LS, 0, JRCFG_LS_IMSK);
        bus.write32(IRJA, 1);
        let done = time::poll(*clock, wait, || (bus.read32(ORSF) != 0).then_some(()));
        if done.is_ok() {
            bus.write32(ORJR, 1);
        }
        let stopped = reset(*bus, *clock);
        // The memory is this side's again.
        drop((random, descriptor, input, answer));
        done.map_err(|_| Error::Silent)?;
        stopped?;
        match status(output) {
            Status::DONE => Ok(()),
            status => Err(Error::Job(status)),
        }
    }

    /// What [`Job::Generate`] made, which is wiped here.
    pub(super) fn take_random(&mut self) -> Option<Secret> {
        let secret = Secret::take(&mut self.buffers.random);
        self.buffers.output.zeroize();
        secret
    }
}

/// Halts the ring and empties it, whoever used it before.
fn reset(bus: &impl Bus, clock: &impl Clock) -> Result<(), Error> {
    bus.modify32(JRCFG_LS, 0, JRCFG_LS_IMSK);
    bus.write32(JRINT, JRINT_JOB_DONE);
    bus.write32(JRCR, JRCR_RESET);
    let halted = || bus.read32(JRINT) & JRINT_HALT != JRINT_HALT_IN_PROGRESS;
    time::poll(clock, HALT_WAIT, || halted().then_some(())).map_err(|_| Error::Halt)?;
    bus.write32(JRCR, JRCR_RESET);
    let reset = || bus.read32(JRCR) & JRCR_RESET == 0;
    time::poll(clock, HALT_WAIT, || reset().then_some(())).map_err(|_| Error::Reset)
}

/// The second word of the output ring's first entry.
fn status(output: &[u8; 64]) -> Status {
    let [_, _, _, _, a, b, c, d, ..] = *output;
    Status(u32::from_le_bytes([a, b, c, d]))
}

/// Words as the module reads them: little endian.
fn put(room: &mut [u8; 64], words: &[u32]) {
    for (to, word) in room.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}
