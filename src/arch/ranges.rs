//! Sets of addresses: banks, reservations, what is mapped, what is given away.
//!
//! Pure and without allocation, because the first of them is needed before the heap.

use core::ops::Range;

/// `range` as a pointer's value and a length in bytes.
#[expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits, here and on hosts")]
pub(super) fn start_and_length(range: &Range<u64>) -> (usize, usize) {
    const { assert!(usize::BITS == u64::BITS) };
    (range.start as usize, range.end.saturating_sub(range.start) as usize)
}

/// There is no room for another gap-separated range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Disjoint ranges in ascending order, at most `N` of them; neighbours that touch are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges<const N: usize> {
    sorted: [(u64, u64); N],
    len: usize,
}

impl<const N: usize> Default for Ranges<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Ranges<N> {
    /// The empty set.
    pub const fn new() -> Self {
        Self { sorted: [(0, 0); N], len: 0 }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.sorted[..self.len].iter().map(|&(start, end)| start..end)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all of `range` is in it.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.iter().any(|r| r.start <= range.start && range.end <= r.end)
    }

    /// Whether any of `range` is in it.
    pub fn intersects(&self, range: &Range<u64>) -> bool {
        self.iter().any(|r| r.start < range.end && range.start < r.end && !range.is_empty())
    }

    /// Adds `range`; what is in it already stays.
    pub fn insert(&mut self, range: Range<u64>) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        let mut merged = range;
        let mut rest = Self::new();
        for r in self.iter() {
            if r.end < merged.start || merged.end < r.start {
                rest.push(r)?;
            } else {
                merged = merged.start.min(r.start)..merged.end.max(r.end);
            }
        }
        let at = rest.iter().take_while(|r| r.start < merged.start).count();
        if rest.len == N {
            return Err(Full);
        }
        rest.sorted.copy_within(at..rest.len, at + 1);
        rest.sorted[at] = (merged.start, merged.end);
        rest.len += 1;
        *self = rest;
        Ok(())
    }

    /// Takes `range` out; what is not in it does not matter.
    pub fn remove(&mut self, range: &Range<u64>) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        let mut rest = Self::new();
        for r in self.iter() {
            rest.push(r.start..r.end.min(range.start.max(r.start)))?;
            rest.push(r.start.max(range.end.min(r.end))..r.end)?;
        }
        *self = rest;
        Ok(())
    }

    fn push(&mut self, range: Range<u64>) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        let slot = self.sorted.get_mut(self.len).ok_or(Full)?;
        *slot = (range.start, range.end);
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn members(set: &Ranges<16>) -> Vec<u64> {
        set.iter().flatten().collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = Ranges::<1>::new();
        set.insert(0..4).unwrap();
        set.insert(8..12).unwrap_err();
        set.insert(4..8).unwrap();
        assert!(set.iter().eq(core::iter::once(0..8)));
    }

    #[test]
    fn a_refused_change_leaves_the_set_as_it_was() {
        let mut set = Ranges::<1>::new();
        set.insert(0..10).unwrap();
        assert_eq!(set.remove(&(4..6)), Err(Full));
        assert!(set.contains(&(0..10)));
    }

    #[test]
    fn the_top_of_the_address_space_does_not_overflow() {
        let mut set = Ranges::<4>::new();
        set.insert(0..u64::MAX).unwrap();
        set.remove(&(16..u64::MAX - 16)).unwrap();
        assert!(set.contains(&(u64::MAX - 16..u64::MAX)));
        assert!(!set.intersects(&(16..u64::MAX - 16)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_addresses(
            steps in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..20), 0..14)
        ) {
            let mut set = Ranges::<16>::new();
            let mut model = std::collections::BTreeSet::new();
            for (insert, start, length) in steps {
                let range = start..start + length;
                if insert {
                    set.insert(range.clone()).unwrap();
                    model.extend(range);
                } else {
                    set.remove(&range).unwrap();
                    model.retain(|address| !range.contains(address));
                }
            }
            prop_assert_eq!(members(&set), model.iter().copied().collect::<Vec<_>>());
            let gaps = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start);
            prop_assert!(gaps);
            for start in 0..64 {
                let range = start..start + 3;
                prop_assert_eq!(set.contains(&range), range.clone().all(|a| model.contains(&a)));
                prop_assert_eq!(set.intersects(&range), range.clone().any(|a| model.contains(&a)));
            }
        }
    }
}
