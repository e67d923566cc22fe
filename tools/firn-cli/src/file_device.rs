//! A card image or block device of the host as the library sees a card.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use firn::block::{BLOCK_SIZE, BlockDevice, Error, ErrorKind};

/// An image file or block device, opened for reading.
pub(crate) struct FileDevice {
    file: File,
    name: String,
    block_count: u64,
}

impl FileDevice {
    /// Opens `path`. A size that is not a multiple of 512 bytes loses its last, partial block.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        // Block devices have no length in their metadata; seeking to the end works for both.
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, name: path.display().to_string(), block_count: size / BLOCK_SIZE as u64 })
    }
}

impl BlockDevice for FileDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let error = |kind| Error { kind, device: self.name.clone(), block: first_block };
        let blocks = (destination.len() / BLOCK_SIZE) as u64;
        if first_block.checked_add(blocks).is_none_or(|end| end > self.block_count) {
            return Err(error(ErrorKind::OutOfRange));
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(first_block * BLOCK_SIZE as u64))
            .and_then(|_| file.read_exact(destination))
            .map_err(|_| error(ErrorKind::Transfer))
    }
}
