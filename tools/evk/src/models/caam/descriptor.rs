//! What a job descriptor's commands do: those that a driver of the generator needs.

use std::time::Duration;

use super::model::Model;
use crate::models::usdhc::Memory;

/// Longer descriptors are no driver's.
pub(super) const MOST_WORDS: usize = 64;
const GENERATE: Duration = Duration::from_micros(5);
/// Of the module's clock.
const CLOCK: Duration = Duration::from_nanos(8);

const DECO: u32 = 4 << 28;
const DECO_UNKNOWN: u32 = DECO | 0x04;
const DECO_LOAD: u32 = DECO | 0x07;
const DECO_OPERATION: u32 = DECO | 0x09;
const DECO_FIFO_STORE: u32 = DECO | 0x0b;
const DECO_JUMP: u32 = DECO | 0x0d;
const DECO_HEADER: u32 = DECO | 0x13;
const DECO_DMA: u32 = DECO | 0x16;
const RNG: u32 = 2 << 28 | 5 << 4;
const RNG_MODE: u32 = RNG | 1;
const RNG_INSTANTIATE: u32 = RNG | 3;
const RNG_NOT_INSTANTIATED: u32 = RNG | 4;
const RNG_PREDICTION_RESISTANCE: u32 = RNG | 6;
const RNG_KEYS: u32 = RNG | 9;
const RNG_HARDWARE: u32 = RNG | 11;
const RNG_NOT_CLEARED: u32 = RNG | 13;

/// How long a descriptor takes.
pub(super) fn duration(words: &[u32], sample: u32, samples: u32) -> Duration {
    let seeds = words.iter().filter(|word| **word & 0xffff_000c == 0x8250_0004).count();
    let seeds = u32::try_from(seeds).unwrap_or(u32::MAX);
    GENERATE + CLOCK * sample * samples * seeds
}

/// A run of one.
pub(super) struct Run<'a> {
    model: &'a mut Model,
    memory: &'a mut dyn Memory,
    /// The generator has done something since it was cleared.
    used: bool,
    /// It gives random bytes.
    gives: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(model: &'a mut Model, memory: &'a mut dyn Memory) -> Self {
        Self { model, memory, used: false, gives: false }
    }

    /// Executes a descriptor; its status.
    pub(super) fn execute(mut self, words: &[u32]) -> u32 {
        match self.commands(words) {
            Ok(()) => 0,
            // Which word it was, in bits 15:8.
            Err((status, index)) => status | u32::try_from(index).unwrap_or(0xff) << 8,
        }
    }

    fn commands(&mut self, words: &[u32]) -> Result<(), (u32, usize)> {
        let header = words.first().copied().unwrap_or(0);
        let length = (header & 0x7f) as usize;
        if header & 0xff80_8000 != 0xb080_0000 || length != words.len() || length < 2 {
            return Err((DECO_HEADER, 0));
        }
        let mut index = 1;
        while let Some(&word) = words.get(index) {
            let next = words.get(index + 1).copied();
            let taken = match word >> 27 {
                0x02 => self.load(word, next),
                0x0c => self.store(word, next),
                0x10 => self.operation(word),
                0x14 => jump(word),
                _ => Err(DECO_UNKNOWN),
            };
            index += taken.map_err(|status| (status, index))?;
        }
        Ok(())
    }

    /// An immediate word that clears the generator's mode.
    fn load(&mut self, word: u32, next: Option<u32>) -> Result<usize, u32> {
        if word != 0x1088_0004 || next != Some(1) {
            return Err(DECO_LOAD);
        }
        self.used = false;
        Ok(2)
    }

    /// Random bytes to memory.
    fn store(&mut self, word: u32, next: Option<u32>) -> Result<usize, u32> {
        let (Some(address), 0x6034_0000, true) = (next, word & 0xffff_0000, self.gives) else {
            return Err(DECO_FIFO_STORE);
        };
        let bytes = self.model.random_bytes((word & 0xffff) as usize);
        self.memory.write(address, &bytes).map_err(|_| DECO_DMA)?;
        Ok(2)
    }

    fn operation(&mut self, word: u32) -> Result<usize, u32> {
        if word & 0xffff_0000 != 0x8250_0000 {
            return Err(DECO_OPERATION);
        }
        if std::mem::replace(&mut self.used, true) {
            return Err(RNG_NOT_CLEARED);
        }
        let (mode, handle) = (word >> 2 & 0b11, word >> 4 & 1);
        let resistant = word & 0b10 != 0;
        match (word >> 12 & 1, mode) {
            (1, 0) => self.model.make_keys().then_some(()).ok_or(RNG_KEYS)?,
            (0, 1) => {
                if self.model.is_instantiated(handle) {
                    return Err(RNG_INSTANTIATE);
                }
                self.model.instantiate(handle, resistant).then_some(()).ok_or(RNG_HARDWARE)?;
            }
            (0, 0) => {
                if !self.model.is_instantiated(handle) {
                    return Err(RNG_NOT_INSTANTIATED);
                }
                if resistant && !self.model.is_resistant(handle) {
                    return Err(RNG_PREDICTION_RESISTANCE);
                }
                if let Some(status) = self.model.failing_draw() {
                    return Err(status);
                }
                self.gives = true;
            }
            _ => return Err(RNG_MODE),
        }
        Ok(1)
    }
}

/// Waits for the generator, and goes on with the next word.
fn jump(word: u32) -> Result<usize, u32> {
    if word == 0xa200_0001 { Ok(1) } else { Err(DECO_JUMP) }
}
