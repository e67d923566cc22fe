//! Rank-to-rank correction: the ranks' signals do not arrive at the same time.
//!
//! Training measures the critical delay differences between two commands to different ranks, one
//! for each pair of ranks and each channel, as signed bytes in memory clocks, two of which are one of
//! the controller's. Where one is positive, the controller must leave more time between such
//! commands.
//!
//! U-Boot and barebox store channel B's first and last byte over channel A's; see docs/ddr.md.

/// Registers of the message block with channel A's results: low byte first, from RR(1,0) on.
pub(super) const CHANNEL_A: u32 = 0x5_4013;
/// And channel B's, which begin in the high byte of the first register and end in the low byte of
/// the last one.
pub(super) const CHANNEL_B: u32 = 0x5_402c;

/// The largest differences of a set point, for each order of reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spacing {
    /// A read after a read.
    pub read_read: u8,
    /// A write after a read.
    pub read_write: u8,
    /// A read after a write.
    pub write_read: u8,
    /// A write after a write.
    pub write_write: u8,
}

impl Spacing {
    /// From the six registers with channel A's results and the seven with channel B's.
    pub fn from_results(a: [u16; 6], b: [u16; 7]) -> Self {
        let mut channel_a = [0; 12];
        for (bytes, word) in channel_a.as_chunks_mut().0.iter_mut().zip(a) {
            *bytes = word.to_le_bytes();
        }
        let mut channel_b = [0; 14];
        for (bytes, word) in channel_b.as_chunks_mut().0.iter_mut().zip(b) {
            *bytes = word.to_le_bytes();
        }
        let [_, channel_b @ .., _] = channel_b;
        Self::from_channel(channel_a).widest(Self::from_channel(channel_b))
    }

    /// RR(1,0) RR(0,1), then RW and WR of (1,1) (1,0) (0,1) (0,0), then WW(1,0) WW(0,1).
    fn from_channel(differences: [u8; 12]) -> Self {
        let [rr0, rr1, rw0, rw1, rw2, rw3, wr0, wr1, wr2, wr3, ww0, ww1] = differences;
        Self {
            read_read: largest(&[rr0, rr1]),
            read_write: largest(&[rw0, rw1, rw2, rw3]),
            write_read: largest(&[wr0, wr1, wr2, wr3]),
            write_write: largest(&[ww0, ww1]),
        }
    }

    fn widest(self, other: Self) -> Self {
        Self {
            read_read: self.read_read.max(other.read_read),
            read_write: self.read_write.max(other.read_write),
            write_read: self.write_read.max(other.write_read),
            write_write: self.write_write.max(other.write_write),
        }
    }

    /// DRAMTMG2 with more time from write to read (5:0) and from read to write (13:8).
    pub fn widen_turnaround(self, register: u32) -> u32 {
        let register = widen(register, 0, 0x3f, self.write_read);
        widen(register, 8, 0x3f, self.read_write)
    }

    /// RANKCTL with larger gaps between writes (11:8) and between reads (7:4).
    pub fn widen_gaps(self, register: u32) -> u32 {
        let register = widen(register, 8, 0xf, self.write_write);
        widen(register, 4, 0xf, self.read_read)
    }
}

/// The largest of signed bytes that is not negative, or 0.
fn largest(differences: &[u8]) -> u8 {
    differences.iter().copied().filter(|byte| *byte < 0x80).max().unwrap_or(0)
}

/// Adds a difference, in controller clocks, to a field that must not overflow.
fn widen(register: u32, shift: u32, mask: u32, difference: u8) -> u32 {
    let sum = (register >> shift & mask) + u32::from(difference >> 1);
    register & !(mask << shift) | sum.min(mask) << shift
}
