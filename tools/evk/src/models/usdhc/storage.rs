//! What is on a card.

use std::{fs::File, os::unix::fs::FileExt as _};

/// Bytes that a card holds.
pub trait Storage: Send {
    /// Reads the block `block`.
    fn read(&self, block: u64, bytes: &mut [u8; 512]);
}

/// A card of any size on which no two blocks are alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pattern;

impl Pattern {
    /// What block `block` holds: one byte all over, and marks that tell where they belong.
    pub fn block(block: u64) -> [u8; 512] {
        let mark = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = [mark.to_le_bytes()[7]; 512];
        for place in [0, 56, 64, 244, 256, 448, 504] {
            let mark = mark.rotate_left(place).to_le_bytes();
            bytes[place as usize..][..8].copy_from_slice(&mark);
        }
        bytes
    }
}

impl Storage for Pattern {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        *bytes = Self::block(block);
    }
}

/// A card image; what is beyond its end reads 0.
impl Storage for File {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        bytes.fill(0);
        let mut filled = 0;
        while let Ok(count @ 1..) = self.read_at(&mut bytes[filled..], block * 512 + filled as u64)
        {
            filled += count;
        }
    }
}
