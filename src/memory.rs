//! Ranges of physical addresses.

#![forbid(unsafe_code)]

use core::fmt;

/// A half-open range of physical addresses; may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    start: u64,
    end: u64,
}

impl Region {
    /// `size` bytes from `start` on. What would wrap around ends at the last address: sizes come
    /// from device trees, and "to the end of everything" is what such a value means.
    pub const fn new(start: u64, size: u64) -> Self {
        Self { start, end: start.saturating_add(size) }
    }

    /// From `start` up to, not including, `end`; empty if that is not above `start`.
    pub const fn between(start: u64, end: u64) -> Self {
        Self { start, end: if end > start { end } else { start } }
    }

    /// The first address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The first address behind.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.intersection(other).size() > 0
    }

    /// What the two share; empty if nothing.
    pub const fn intersection(self, other: Self) -> Self {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        Self::between(start, end)
    }

    /// The smallest region around it whose bounds are multiples of `unit`, or the last address.
    pub fn outward(self, unit: u64) -> Self {
        let end = self.end.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        Self::between(self.start - self.start % unit, end)
    }

    /// The largest region in it whose bounds are multiples of `unit`; empty if there is none.
    pub fn inward(self, unit: u64) -> Self {
        let start = self.start.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        Self::between(start, self.end - self.end % unit)
    }

    /// Whether all of `other` lies in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#011x}-{:#011x}", self.start, self.end)
    }
}

/// A number of bytes as a person reads it: `512 bytes`, `37.5 KiB`, `3.0 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..0x400 => return write!(f, "{} bytes", self.0),
            0x400..0x10_0000 => (0x400, "KiB"),
            0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
            _ => (0x4000_0000, "GiB"),
        };
        write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_region_that_would_wrap_ends_at_the_last_address() {
        assert_eq!(Region::new(u64::MAX - 1, 0x1000).end(), u64::MAX);
    }

    #[test]
    fn neighbours_do_not_overlap() {
        assert!(!Region::new(0, 0x1000).overlaps(Region::new(0x1000, 0x1000)));
        assert!(Region::new(0, 0x1001).overlaps(Region::new(0x1000, 0x1000)));
    }

    #[test]
    fn an_empty_region_overlaps_nothing() {
        assert!(!Region::new(0x800, 0).overlaps(Region::new(0, 0x1000)));
    }

    #[test]
    fn bounds_are_rounded_outward_and_inward() {
        let region = Region::between(0x1801, 0x3001);
        assert_eq!(region.outward(0x1000), Region::between(0x1000, 0x4000));
        assert_eq!(region.inward(0x1000), Region::between(0x2000, 0x3000));
        assert!(Region::between(0x1001, 0x1fff).inward(0x1000).is_empty());
        assert_eq!(region.outward(0x1000).inward(0x1000), region.outward(0x1000));
    }

    #[test]
    fn rounding_stays_within_all_addresses() {
        let last = Region::between(u64::MAX - 1, u64::MAX);
        assert_eq!(last.outward(0x1000), Region::between(u64::MAX - 0xfff, u64::MAX));
        assert!(last.inward(0x1000).is_empty());
    }

    #[test]
    fn sizes_read_as_a_person_writes_them() {
        assert_eq!(Size(0).to_string(), "0 bytes");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(0xc000_0000).to_string(), "3.0 GiB");
        assert_eq!(Size(u64::MAX).to_string(), "17179869183.9 GiB");
    }
}
