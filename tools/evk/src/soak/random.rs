//! Random numbers that a seed and an index give again.

use std::ops::Range;

use crate::card::splitmix;

/// One run of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of all runs.
    pub seed: u64,
    /// Its number, from 0 on. It depends on no other run.
    pub index: u64,
}

impl Run {
    /// Its random numbers.
    pub fn random(self) -> Random {
        let mut random = Random(self.seed);
        let mixed = random.next();
        Random(mixed ^ self.index.wrapping_mul(0xd134_2543_de82_ef95))
    }
}

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The next one.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        splitmix(&mut self.0)
    }

    /// One of `range`, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    /// One of `range` as an index.
    pub fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.within(0..below as u64)).unwrap_or_default()
    }

    /// One of `all`, of which there is one at least.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.within(0..n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_draws_the_same_numbers_each_time_and_others_than_its_neighbours() {
        let first = |seed, index| Run { seed, index }.random().next();
        assert_eq!(first(1, 2), first(1, 2));
        let mut all: Vec<_> =
            (0..10).flat_map(|seed| (0..100).map(move |index| first(seed, index))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn numbers_stay_within_their_range() {
        let mut random = Run { seed: 0, index: 0 }.random();
        assert!((0..1000).all(|_| (3..7).contains(&random.within(3..7))));
        let seen: std::collections::BTreeSet<_> =
            (0..100).map(|_| *random.one_of(&[1, 2])).collect();
        assert_eq!(seen.len(), 2);
    }
}
