//! What `ext4-view` reads, and what it must not see.
//!
//! It walks extent trees of up to five levels without counting, and from its own cache: nodes that
//! all name the same few children would keep it busy for days. Directories and links never need
//! more than one level below the inode, so a node that has nodes below it is made unrecognisable;
//! `ext4-view` then reports a damaged extent tree, if it looks at that node at all: it also reads
//! what lies around a block. Files, which may need more, are not read through here.

use alloc::{boxed::Box, string::String};

use ext4_view::Ext4Read;

use super::{
    super::{Error, ErrorKind},
    blocks::{Blocks, lay_over},
    bytes::le16,
    superblock::{self, Superblock},
};

/// The reader that `ext4-view` is given.
pub(super) struct Guard {
    blocks: Blocks,
    /// Simplified, see [`superblock::simplify`].
    superblock: Box<superblock::Bytes>,
    block_size: usize,
}

impl Guard {
    /// Of `blocks`, whose superblock is `bytes`.
    pub(super) fn new(blocks: Blocks, bytes: superblock::Bytes, superblock: &Superblock) -> Self {
        let mut bytes = Box::new(bytes);
        superblock::simplify(&mut bytes);
        let block_size = usize::try_from(superblock.block_size).unwrap_or(usize::MAX);
        Self { blocks, superblock: bytes, block_size }
    }

    fn read(&self, start: u64, destination: &mut [u8]) -> Result<(), ErrorKind> {
        self.blocks.read(start, destination)?;
        lay_over(&self.superblock[..], superblock::AT, start, destination);
        // Pieces of less than a block are group descriptors.
        for block in destination.chunks_exact_mut(self.block_size) {
            if has_nodes_below(block) {
                block[..2].fill(0);
            }
        }
        Ok(())
    }
}

impl Ext4Read for Guard {
    fn read(
        &mut self,
        start: u64,
        destination: &mut [u8],
    ) -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
        // Boxed once: whoever asks for the error within finds it.
        Guard::read(self, start, destination)
            .map_err(|kind| Error { kind, path: String::new() }.into())
    }
}

/// Whether `ext4-view` would take `block` for an extent node with nodes below it. Directories and
/// inodes never look like this.
fn has_nodes_below(block: &[u8]) -> bool {
    let (magic, count, room, depth) =
        (le16(block, 0), le16(block, 2), le16(block, 4), le16(block, 6));
    let fits = (usize::from(room) + 1) * 12 <= block.len();
    magic == 0xf30a && (1..=5).contains(&depth) && (1..=room).contains(&count) && fits
}
