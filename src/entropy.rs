//! Random numbers for the kernel: what was gathered, and the seeds that are made of it.
//!
//! Everything that any stage could gather goes into one [`Pool`], mixed by SHA-256, so that the seeds
//! are as good as the best of it, whatever the rest is worth. A draw changes the pool in a way that
//! cannot be undone: no two draws are the same, and a seed that leaks tells nothing of the others.
//! With too little in the pool there are no seeds, because the kernel would take a constant for
//! randomness.
//!
//! Nothing here is ever printed, and what is kept wipes itself. Copies that moves left on the stack
//! are wiped by the jump into the next stage or the kernel.

#![forbid(unsafe_code)]

use core::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Bytes that a generator is asked for: twice what the pool can hold.
pub const GATHERED: usize = 64;
/// Bytes of [`Seeds::rng`]: those of a block of the kernel's own generator.
pub const RNG_SEED: usize = 64;

/// The state of a [`Pool`], and what must have gone into it before the kernel is told that a seed
/// of that many bytes or more is random.
const STATE: usize = 32;

/// Random bytes that nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; GATHERED]);

impl Secret {
    /// Takes charge of `bytes`, and wipes them where they are; `None` if no generator makes such
    /// bytes: all of them are the same, or the second half is the first one.
    pub fn take(bytes: &mut [u8; GATHERED]) -> Option<Self> {
        let secret = Self(*bytes);
        bytes.zeroize();
        let (first, second) = secret.0.split_at(GATHERED / 2);
        (first != second && is_varied(&secret.0)).then_some(secret)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; GATHERED] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where random bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The SoC's generator, asked by this stage.
    Generator,
    /// The same, asked by the first stage.
    FirstStage,
    /// Seeds in the device tree that the stage before handed over.
    FirmwareTree,
}

impl Source {
    const ALL: [Self; 3] = [Self::Generator, Self::FirstStage, Self::FirmwareTree];

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generator => "the SoC's generator",
            Self::FirstStage => "the first stage",
            Self::FirmwareTree => "the device tree of the stage before",
        }
    }
}

/// What was gathered.
#[derive(Default)]
pub struct Pool {
    state: Zeroizing<[u8; STATE]>,
    /// Bytes that went in.
    gathered: usize,
    sources: [bool; Source::ALL.len()],
}

impl Pool {
    /// Mixes `bytes` in. What is one value over and over, as the seed of a template or what a
    /// generator gives that does not run, is not taken for random.
    pub fn absorb(&mut self, source: Source, bytes: &[u8]) {
        if !is_varied(bytes) {
            return;
        }
        self.state = hash("absorb", &self.state, &[source.name().as_bytes(), bytes]);
        self.gathered = self.gathered.saturating_add(bytes.len());
        self.sources[source as usize] = true;
    }

    /// What it was gathered from.
    pub fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        Source::ALL.into_iter().filter(|source| self.sources[*source as usize])
    }

    /// Seeds that nobody was given before; `None` if there is nothing to make them of.
    pub fn draw(&mut self) -> Option<Seeds> {
        let mut kaslr = [0; KASLR_SEED];
        if self.gathered < kaslr.len() {
            return None;
        }
        let from = hash("kaslr-seed", &self.state, &[]);
        kaslr.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = *from);
        let rng = (self.gathered >= STATE).then(|| {
            let mut rng = [0; RNG_SEED];
            for (half, label) in rng.chunks_mut(STATE).zip(["rng-seed 1", "rng-seed 2"]) {
                half.copy_from_slice(&*hash(label, &self.state, &[]));
            }
            rng
        });
        self.state = hash("next", &self.state, &[]);
        Some(Seeds { kaslr, rng })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

/// Bytes of [`Seeds::kaslr`]: two cells.
const KASLR_SEED: usize = 8;

/// Random numbers for one kernel, of which each serves one purpose.
pub struct Seeds {
    /// Where the kernel puts itself.
    pub kaslr: [u8; KASLR_SEED],
    /// What its generator begins with; nothing if less than its first half was gathered, because
    /// the kernel counts each bit of it.
    pub rng: Option<[u8; RNG_SEED]>,
}

impl Drop for Seeds {
    fn drop(&mut self) {
        self.kaslr.zeroize();
        self.rng.zeroize();
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeds")
    }
}

/// The hash of a purpose, the pool and more. Each piece counts with its length, so that no two ways to cut
/// the same bytes hash alike.
fn hash(purpose: &str, state: &[u8; STATE], more: &[&[u8]]) -> Zeroizing<[u8; STATE]> {
    let mut hash = Sha256::new();
    for piece in [purpose.as_bytes(), state].iter().chain(more) {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    let mut output = hash.finalize();
    let state = Zeroizing::new(output.into());
    output.as_mut_slice().zeroize();
    state
}

fn is_varied(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, format, vec::Vec};

    use super::*;

    fn bytes(first: u8) -> [u8; GATHERED] {
        let mut bytes = [0; GATHERED];
        (0..).zip(&mut bytes).for_each(|(index, byte): (u8, _)| *byte = first * 31 + index);
        bytes
    }

    fn pool(inputs: &[(Source, &[u8])]) -> Pool {
        let mut pool = Pool::default();
        inputs.iter().for_each(|(source, bytes)| pool.absorb(*source, bytes));
        pool
    }

    fn drawn(pool: &mut Pool) -> (Vec<u8>, Vec<u8>) {
        let seeds = pool.draw().unwrap();
        (seeds.kaslr.into(), seeds.rng.unwrap().into())
    }

    #[test]
    fn without_entropy_there_are_no_seeds() {
        assert!(Pool::default().draw().is_none());
        let constants = [[0; GATHERED], [0xff; GATHERED]];
        let mut pool =
            pool(&constants.each_ref().map(|bytes| (Source::FirstStage, bytes.as_slice())));
        assert_eq!(pool.sources().count(), 0);
        assert!(pool.draw().is_none());
    }

    #[test]
    fn every_draw_differs_and_so_does_each_seed_of_it() {
        let mut pool = pool(&[(Source::Generator, &bytes(1))]);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let (kaslr, rng) = drawn(&mut pool);
            let (first, second) = rng.split_at(32);
            for part in [&kaslr[..], &first[..8], &second[..8]] {
                assert!(seen.insert(part.to_vec()), "{part:x?} twice");
            }
        }
    }

    #[test]
    fn each_source_counts_by_its_bytes_and_by_what_it_is() {
        let (one, other) = (&bytes(1)[..], &bytes(2)[..]);
        let inputs: &[&[(Source, &[u8])]] = &[
            &[(Source::Generator, one)],
            &[(Source::Generator, other)],
            &[(Source::FirstStage, one)],
            &[(Source::Generator, one), (Source::FirstStage, other)],
            &[(Source::Generator, other), (Source::FirstStage, one)],
            // The same bytes, cut otherwise.
            &[(Source::Generator, &one[..40]), (Source::Generator, &one[40..])],
        ];
        let seeds: HashSet<_> = inputs.iter().map(|inputs| drawn(&mut pool(inputs))).collect();
        assert_eq!(seeds.len(), inputs.len());
    }

    #[test]
    fn what_was_gathered_alike_gives_the_same_seeds() {
        let gather = || drawn(&mut pool(&[(Source::FirmwareTree, &bytes(3))]));
        assert_eq!(gather(), gather());
    }

    #[test]
    fn the_kernel_is_not_told_that_eight_bytes_are_sixty_four() {
        let mut pool = pool(&[(Source::FirmwareTree, &bytes(1)[..8])]);
        assert!(pool.draw().unwrap().rng.is_none());
        pool.absorb(Source::FirmwareTree, &bytes(2)[..24]);
        assert!(pool.draw().unwrap().rng.is_some());
        let mut too_little = Pool::default();
        too_little.absorb(Source::FirmwareTree, &bytes(1)[..7]);
        assert!(too_little.draw().is_none());
    }

    #[test]
    fn a_secret_is_wiped_where_it_was_and_never_printed() {
        let mut memory = bytes(4);
        let secret = Secret::take(&mut memory).unwrap();
        assert_eq!((memory, secret.bytes()), ([0; GATHERED], &bytes(4)));
        let mut pool = Pool::default();
        pool.absorb(Source::Generator, secret.bytes());
        let seeds = pool.draw().unwrap();
        assert_eq!(format!("{secret:?} {pool:?} {seeds:?}"), "Secret [Generator] Seeds");
    }

    #[test]
    fn what_a_generator_does_not_make_is_no_secret() {
        let mut twice = bytes(1);
        twice.copy_within(..GATHERED / 2, GATHERED / 2);
        for mut bytes in [[0; GATHERED], [0xa5; GATHERED], twice] {
            assert_eq!(Secret::take(&mut bytes), None);
        }
    }
}
