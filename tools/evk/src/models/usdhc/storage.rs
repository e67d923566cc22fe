//! What is on a card.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt as _};

/// Bytes that a card holds.
pub trait Storage: Send {
    /// Reads the block `block`.
    fn read(&self, block: u64, bytes: &mut [u8; 512]);

    /// Writes the block `block`.
    ///
    /// # Errors
    /// Where it cannot be kept; a card says then that it is protected.
    fn write(&mut self, block: u64, bytes: &[u8; 512]) -> io::Result<()> {
        let _ = (block, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }
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

/// A card image, or none; what is beyond its end reads 0.
#[derive(Debug, Default)]
pub struct Image {
    file: Option<File>,
    writable: bool,
    /// What was written and does not go to the file.
    kept: BTreeMap<u64, [u8; 512]>,
}

impl Image {
    /// The file's contents. Writes go there if it is `writable`, and are forgotten in the end if
    /// not.
    pub fn new(file: File, writable: bool) -> Self {
        Self { file: Some(file), writable, kept: BTreeMap::new() }
    }
}

impl Storage for Image {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        bytes.fill(0);
        if let Some(kept) = self.kept.get(&block) {
            bytes.copy_from_slice(kept);
            return;
        }
        let Some(file) = &self.file else { return };
        let mut filled = 0;
        while let Some(rest @ [_, ..]) = bytes.get_mut(filled..)
            && let Ok(count @ 1..) = file.read_at(rest, block * 512 + filled as u64)
        {
            filled += count;
        }
    }

    fn write(&mut self, block: u64, bytes: &[u8; 512]) -> io::Result<()> {
        match &self.file {
            Some(file) if self.writable => file.write_all_at(bytes, block * 512),
            _ => {
                self.kept.insert(block, *bytes);
                Ok(())
            }
        }
    }
}

/// A card image in memory; what is beyond its end reads 0.
impl Storage for Vec<u8> {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        bytes.fill(0);
        let rest = usize::try_from(block * 512).ok().and_then(|start| self.get(start..));
        let held = rest.unwrap_or_default();
        let count = held.len().min(512);
        bytes[..count].copy_from_slice(&held[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &Image, block: u64) -> [u8; 512] {
        let mut bytes = [0xff; 512];
        image.read(block, &mut bytes);
        bytes
    }

    #[test]
    fn a_file_keeps_writes_only_where_it_may() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 700], 0).unwrap();
        let mut forgetful = Image::new(file.try_clone().unwrap(), false);
        forgetful.write(0, &[2; 512]).unwrap();
        assert_eq!(read(&forgetful, 0), [2; 512]);
        let mut keeping = Image::new(file, true);
        assert_eq!(read(&keeping, 0), [1; 512]);
        keeping.write(0, &[3; 512]).unwrap();
        assert_eq!(read(&keeping, 0), [3; 512]);
    }

    #[test]
    fn behind_its_end_a_file_reads_zero() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 700], 0).unwrap();
        let image = Image::new(file, false);
        assert_eq!(read(&image, 1)[..188], [1; 188]);
        assert_eq!(read(&image, 1)[188..], [0; 324]);
        assert_eq!(read(&image, 2), [0; 512]);
        assert_eq!(read(&Image::default(), 0), [0; 512]);
    }
}
