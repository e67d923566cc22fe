//! The blocks of a file system as they are after its journal was replayed.
//!
//! Nothing is written: what the journal has a newer copy of is read from there.

use alloc::{collections::BTreeMap, format, rc::Rc, vec};

use super::{bytes::Crc32c, superblock::Superblock};
use crate::{block::volume::Volume, fs::ErrorKind};

/// What the first four bytes of a block in the journal are if they are the journal's own magic
/// number, which would make the block look like one of the journal's.
const ESCAPED: [u8; 4] = [0; 4];

/// A file system's blocks.
#[derive(Clone)]
pub(super) struct Blocks {
    volume: Volume,
    block_size: u64,
    /// What a dirty journal has, by number of the block in the file system.
    copies: Rc<BTreeMap<u64, JournalCopy>>,
}

/// A block's newer copy in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalCopy {
    /// Where it is on the volume, in bytes.
    pub(super) position: u64,
    /// Whether its first four bytes were replaced, see [`ESCAPED`].
    pub(super) is_escaped: bool,
    /// What the journal says of its contents.
    pub(super) checksum: Option<CopyChecksum>,
}

/// The checksum of a block in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyChecksum {
    /// Of the journal and the transaction.
    pub(super) seed: Crc32c,
    /// The checksum, cut to `mask`.
    pub(super) value: u32,
    /// The bits of it that the journal keeps.
    pub(super) mask: u32,
}

impl Blocks {
    /// The blocks of a file system as they are on its volume.
    pub(super) fn new(volume: Volume, superblock: &Superblock) -> Self {
        Self { volume, block_size: u64::from(superblock.block_size), copies: Rc::default() }
    }

    /// Puts what the journal has in the place of what is on the volume.
    pub(super) fn with_copies(self, copies: BTreeMap<u64, JournalCopy>) -> Self {
        Self { copies: Rc::new(copies), ..self }
    }

    /// The volume that they are on.
    pub(super) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Reads bytes, from `offset` of the file system on.
    pub(super) fn read(&self, offset: u64, destination: &mut [u8]) -> Result<(), ErrorKind> {
        if self.copies.is_empty() {
            return self.volume.read_at(offset, destination).map_err(ErrorKind::Device);
        }
        let mut offset = offset;
        let mut rest = destination;
        while !rest.is_empty() {
            let number = offset / self.block_size;
            let next = self.copies.range(number..).next();
            let here = next.filter(|&(&copied, _)| copied == number);
            let piece_end = match (here, next) {
                (Some(_), _) => number.saturating_add(1).saturating_mul(self.block_size),
                (None, Some((&copied, _))) => copied.saturating_mul(self.block_size),
                (None, None) => u64::MAX,
            };
            let length = usize::try_from(piece_end - offset).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(length.min(rest.len()));
            match here {
                Some((_, copy)) => self.read_from_copy(number, copy, offset, piece)?,
                None => self.volume.read_at(offset, piece).map_err(ErrorKind::Device)?,
            }
            offset = offset.saturating_add(piece.len() as u64);
            rest = behind;
        }
        Ok(())
    }

    /// The number of the first block in `number..end` that has a copy, with that copy's place.
    /// `end` is at most the number of blocks.
    pub(super) fn next_copy(&self, number: u64, end: u64) -> Result<Option<(u64, u64)>, ErrorKind> {
        if self.copies.is_empty() {
            return Ok(None);
        }
        let Some((&number, copy)) = self.copies.range(number..end).next() else {
            return Ok(None);
        };
        if copy.is_escaped {
            return Err(ErrorKind::Feature("escaped file contents in the journal".into()));
        }
        self.check_copy(number, copy, &mut vec![0; self.buffer_size()])?;
        Ok(Some((number, copy.position)))
    }

    fn read_from_copy(
        &self,
        number: u64,
        copy: &JournalCopy,
        offset: u64,
        destination: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let mut block = vec![0; self.buffer_size()];
        self.check_copy(number, copy, &mut block)?;
        if copy.is_escaped && block.starts_with(&ESCAPED) {
            block[..4].copy_from_slice(&super::journal::MAGIC.to_be_bytes());
        }
        lay_over(&block, number.saturating_mul(self.block_size), offset, destination);
        Ok(())
    }

    /// Reads a copy and compares its checksum.
    fn check_copy(
        &self,
        number: u64,
        copy: &JournalCopy,
        block: &mut [u8],
    ) -> Result<(), ErrorKind> {
        self.volume.read_at(copy.position, block).map_err(ErrorKind::Device)?;
        let is_good = copy
            .checksum
            .is_none_or(|expected| expected.seed.over(block).0 & expected.mask == expected.value);
        if !is_good {
            let what = format!("wrong checksum of the journal's copy of block {number}");
            return Err(ErrorKind::Corrupt(what));
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "at most 64 KiB")]
    fn buffer_size(&self) -> usize {
        self.block_size as usize
    }
}

/// Copies `source`, which belongs at `source_at`, over the part of `destination`, which belongs at
/// `destination_at`, that both have.
pub(super) fn lay_over(source: &[u8], source_at: u64, destination_at: u64, destination: &mut [u8]) {
    let skip = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let source = source.get(skip(source_at, destination_at)..).unwrap_or(&[]);
    let target = destination.get_mut(skip(destination_at, source_at)..).unwrap_or(&mut []);
    let length = source.len().min(target.len());
    target[..length].copy_from_slice(&source[..length]);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn laying_over_touches_only_what_both_have() {
        let laid = |source_at, destination_at| -> Vec<u8> {
            let mut destination = vec![0; 4];
            lay_over(&[1, 2, 3], source_at, destination_at, &mut destination);
            destination
        };
        assert_eq!(laid(10, 10), [1, 2, 3, 0]);
        assert_eq!(laid(11, 10), [0, 1, 2, 3]);
        assert_eq!(laid(12, 10), [0, 0, 1, 2]);
        assert_eq!(laid(9, 10), [2, 3, 0, 0]);
        assert_eq!(laid(7, 10), [0; 4]);
        assert_eq!(laid(14, 10), [0; 4]);
    }
}
