//! ADMA2: where the data of a read goes, as descriptors.
//!
//! A cache line that is written by the controller must hold nothing else, so only the part of a
//! destination that covers whole lines is written by it; the few bytes before and after take the
//! way over small buffers. Source: SD Host Controller Simplified Specification 3.00, chapter 1.13.

use crate::dma::ALIGNMENT;

/// Bytes that one descriptor moves: whole blocks, and below 64 KiB, because this controller does
/// not take a length field of 0 for 64 KiB (so does Linux, `SDHCI_QUIRK_BROKEN_ADMA_ZEROLEN_DESC`).
const MOST_BYTES: u16 = 127 * 512;
/// Bytes of a descriptor: attributes, length, address.
const DESCRIPTOR: usize = 8;
/// For 65,535 blocks, and one descriptor for either edge, in whole cache lines.
const TABLE: usize = 520 * DESCRIPTOR;
/// Valid; moves data.
const TRANSFER: u16 = 0x21;
/// The last one. This controller ignores the mark on a descriptor that moves nothing.
const END: u16 = 0x02;

/// Memory that a controller works with. Reachable by 32-bit bus masters; one for each controller
/// in use.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Buffers {
    pub(super) table: [u8; TABLE],
    pub(super) head: [u8; ALIGNMENT],
    pub(super) tail: [u8; 2 * ALIGNMENT],
}

impl Buffers {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { table: [0; TABLE], head: [0; ALIGNMENT], tail: [0; 2 * ALIGNMENT] }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// How a stream of bytes is laid out in a destination.
///
/// The controller's addresses must be multiples of 4. A destination that begins at another one
/// gets its body at its first whole cache line, and the body is moved down afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes that go to the head buffer.
    pub(super) head: usize,
    /// Where the body is put in the destination; multiples of the cache line.
    pub(super) body_at: usize,
    /// Its length.
    pub(super) body: usize,
    /// Bytes that go to the tail buffer.
    pub(super) tail: usize,
}

impl Layout {
    pub(super) fn of(destination: &[u8]) -> Self {
        let length = destination.len();
        let to_line = destination.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        let body_at = to_line.min(length);
        let body = (length - body_at) / ALIGNMENT * ALIGNMENT;
        let head = if body_at.is_multiple_of(4) { body_at } else { 0 };
        Self { head, body_at, body, tail: length - head - body }
    }

    /// Puts the bytes in the two small buffers where they belong, and the body, too.
    pub(super) fn assemble(&self, destination: &mut [u8], head: &[u8], tail: &[u8]) {
        destination[..self.head].copy_from_slice(&head[..self.head]);
        if self.body_at != self.head {
            destination.copy_within(self.body_at..self.body_at + self.body, self.head);
        }
        destination[self.head + self.body..].copy_from_slice(&tail[..self.tail]);
    }
}

/// Writes a descriptor table.
pub(super) struct Table<'a> {
    bytes: &'a mut [u8; TABLE],
    used: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(bytes: &'a mut [u8; TABLE]) -> Self {
        Self { bytes, used: 0 }
    }

    /// Adds `length` bytes at `address`. Returns whether the table had room.
    #[must_use]
    pub(super) fn add(&mut self, address: u32, length: usize) -> bool {
        let mut address = address;
        let mut left = length;
        while left > 0 {
            let step = u16::try_from(left).unwrap_or(MOST_BYTES).min(MOST_BYTES);
            let Some(slot) = self.bytes.get_mut(self.used..self.used + DESCRIPTOR) else {
                return false;
            };
            slot[..2].copy_from_slice(&TRANSFER.to_le_bytes());
            slot[2..4].copy_from_slice(&step.to_le_bytes());
            slot[4..].copy_from_slice(&address.to_le_bytes());
            self.used += DESCRIPTOR;
            address = address.wrapping_add(u32::from(step));
            left -= usize::from(step);
        }
        true
    }

    /// Marks the end and returns the part in use, in whole cache lines.
    pub(super) fn finish(self) -> &'a [u8] {
        if let Some(last) = self.used.checked_sub(DESCRIPTOR) {
            self.bytes[last] |= END.to_le_bytes()[0];
        }
        let lines = self.used.next_multiple_of(ALIGNMENT);
        &self.bytes[..lines]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Aligned([u8; 4096]);

    fn layout(offset: usize, length: usize) -> Layout {
        Layout::of(&Aligned([0; 4096]).0[offset..offset + length])
    }

    #[test]
    fn aligned_destination_needs_no_edges() {
        assert_eq!(layout(0, 1024), Layout { head: 0, body_at: 0, body: 1024, tail: 0 });
    }

    #[test]
    fn word_aligned_destination_bounces_only_the_lines_that_it_shares() {
        assert_eq!(layout(4, 1024), Layout { head: 60, body_at: 60, body: 960, tail: 4 });
    }

    #[test]
    fn odd_destination_gets_its_body_moved() {
        assert_eq!(layout(1, 1024), Layout { head: 0, body_at: 63, body: 960, tail: 64 });
        assert_eq!(layout(63, 1024), Layout { head: 0, body_at: 1, body: 960, tail: 64 });
    }

    #[test]
    fn tiny_destination_fits_into_the_edges() {
        assert_eq!(layout(0, 8), Layout { head: 0, body_at: 0, body: 0, tail: 8 });
        assert_eq!(layout(60, 8), Layout { head: 4, body_at: 4, body: 0, tail: 4 });
        assert_eq!(layout(3, 8), Layout { head: 8, body_at: 8, body: 0, tail: 0 });
    }

    #[test]
    fn every_layout_assembles_to_the_stream() {
        for offset in 0..130 {
            for length in [8, 64, 512, 1024, 1536] {
                let stream: std::vec::Vec<u8> = (0..=250).cycle().take(length).collect();
                let mut memory = Aligned([0; 4096]);
                let destination = &mut memory.0[offset..offset + length];
                let layout = Layout::of(destination);
                let (mut head, mut tail) = ([0; 64], [0; 128]);
                let (to_head, rest) = stream.split_at(layout.head);
                let (to_body, to_tail) = rest.split_at(layout.body);
                head[..to_head.len()].copy_from_slice(to_head);
                tail[..to_tail.len()].copy_from_slice(to_tail);
                destination[layout.body_at..layout.body_at + layout.body].copy_from_slice(to_body);
                layout.assemble(destination, &head, &tail);
                assert_eq!(destination, stream, "offset {offset}, length {length}");
            }
        }
    }

    #[test]
    fn largest_transfer_fits_into_the_table() {
        let mut buffers = Buffers::new();
        let mut table = Table::new(&mut buffers.table);
        let all = 65_535 * 512;
        assert!(table.add(0x1000, 60) && table.add(0x4000_0000, all - 64) && table.add(0x2000, 4));
        let bytes = table.finish();
        assert_eq!(bytes.len() % ALIGNMENT, 0);
    }

    #[test]
    fn only_the_last_descriptor_ends() {
        let mut buffers = Buffers::new();
        let mut table = Table::new(&mut buffers.table);
        assert!(table.add(0x4000_0000, 70_000));
        let bytes = table.finish();
        assert_eq!(bytes[..8], [0x21, 0, 0x00, 0xfe, 0, 0, 0, 0x40]);
        assert_eq!(bytes[8..16], [0x23, 0, 0x70, 0x13, 0x00, 0xfe, 0, 0x40]);
    }
}
