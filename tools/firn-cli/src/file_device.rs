//! A card image or block device of the host as the library sees a card.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::Path,
};

use firn::block::{BLOCK_SIZE, BlockDevice, Error, ErrorKind};
use rustix::fs::{Advice, fadvise};

/// An image file or block device.
pub(crate) struct FileDevice {
    file: File,
    name: String,
    block_count: u64,
    writable: bool,
}

impl FileDevice {
    /// Opens `path` for reading. A size that is not a multiple of 512 bytes loses its last, partial
    /// block.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::new(path, File::open(path)?, false)
    }

    /// Opens `path` for reading and writing.
    pub(crate) fn open_writable(path: &Path) -> io::Result<Self> {
        Self::new(path, OpenOptions::new().read(true).write(true).open(path)?, true)
    }

    fn new(path: &Path, mut file: File, writable: bool) -> io::Result<Self> {
        // What was written through a mounted partition is not in the pages of the whole device.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        // Block devices have no length in their metadata; seeking to the end works for both.
        let size = file.seek(SeekFrom::End(0))?;
        let (name, block_count) = (path.display().to_string(), size / BLOCK_SIZE as u64);
        Ok(Self { file, name, block_count, writable })
    }

    fn error(&self, kind: ErrorKind, block: u64) -> Error {
        Error { kind, device: self.name.clone(), block }
    }

    /// Offset of `first_block`, if `length` bytes from there on are on the device.
    fn offset(&self, first_block: u64, length: usize) -> Result<u64, Error> {
        let blocks = (length / BLOCK_SIZE) as u64;
        match first_block.checked_add(blocks) {
            Some(end) if end <= self.block_count => Ok(first_block * BLOCK_SIZE as u64),
            _ => Err(self.error(ErrorKind::OutOfRange, first_block)),
        }
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
        let offset = self.offset(first_block, destination.len())?;
        self.file
            .read_exact_at(destination, offset)
            .map_err(|_| self.error(ErrorKind::Transfer, first_block))
    }

    fn read_medium(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let offset = self.offset(first_block, destination.len())?;
        let length = NonZeroU64::new(destination.len() as u64);
        // Only clean pages go; a write has synced its own. Advice that is not taken is no error.
        let _ = fadvise(&self.file, offset, length, Advice::DontNeed);
        self.read(first_block, destination)
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        let offset = self.offset(first_block, source.len())?;
        if !self.writable {
            return Err(self.error(ErrorKind::ReadOnly, first_block));
        }
        let written = self.file.write_all_at(source, offset).and_then(|()| self.file.sync_all());
        written.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::ReadOnly
                }
                _ => ErrorKind::Transfer,
            };
            self.error(kind, first_block)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(blocks: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![0x11; blocks * BLOCK_SIZE]).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_in_the_file_and_nothing_else_is_touched() {
        let file = file(8);
        let mut device = FileDevice::open_writable(file.path()).unwrap();
        assert!(device.is_writable());
        device.write(3, &[0x22; 2 * BLOCK_SIZE]).unwrap();
        let mut read = [0; 2 * BLOCK_SIZE];
        device.read_medium(3, &mut read).unwrap();
        assert_eq!(read, [0x22; 2 * BLOCK_SIZE]);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len(), 8 * BLOCK_SIZE);
        let foreign = bytes.iter().filter(|&&byte| byte == 0x11).count();
        assert_eq!(foreign, 6 * BLOCK_SIZE);
    }

    #[test]
    fn a_device_opened_for_reading_refuses_a_write() {
        let file = file(8);
        let mut device = FileDevice::open(file.path()).unwrap();
        assert!(!device.is_writable());
        let error = device.write(0, &[0; BLOCK_SIZE]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ReadOnly);
        assert_eq!(std::fs::read(file.path()).unwrap(), vec![0x11; 8 * BLOCK_SIZE]);
    }

    #[test]
    fn a_write_beyond_the_end_does_not_make_the_file_longer() {
        let file = file(8);
        let mut device = FileDevice::open_writable(file.path()).unwrap();
        let error = device.write(7, &[0; 2 * BLOCK_SIZE]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::OutOfRange);
        assert_eq!(file.as_file().metadata().unwrap().len(), 8 * BLOCK_SIZE as u64);
    }
}
