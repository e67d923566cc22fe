//! Archives that a kernel unpacks as its first root file system.
//!
//! Format: Linux documentation, driver-api/early-userspace/buffer-format ("newc").

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};

const REGULAR: u32 = 0o100000;
const FOLDER: u32 = 0o040000;
const LINK: u32 = 0o120000;
const CHARACTER_DEVICE: u32 = 0o020000;

/// A cpio archive that is being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder. Folders come before what is in them.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER | 0o755, (0, 0), &[])
    }

    /// Adds a file; `mode` holds the permission bits.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(path, REGULAR | mode, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device with its major and minor number.
    pub fn character_device(&mut self, path: &str, numbers: (u32, u32)) -> Result<()> {
        self.entry(path, CHARACTER_DEVICE | 0o600, numbers, &[])
    }

    /// The archive, ended as the format asks.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    /// [`finish`](Self::finish), compressed with gzip.
    pub fn finish_gzip(self) -> Result<Vec<u8>> {
        let plain = self.finish()?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&plain)?;
        Ok(encoder.finish()?)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).context("a file of 4 GiB in an initrd")?;
        let name = u32::try_from(path.len() + 1).context("a path of 4 GiB in an initrd")?;
        let inode = self.entries;
        self.entries += 1;
        let fields = [
            inode, mode, 0, 0, /* links */ 1, /* time */ 0, size, 0, 0, device.0,
            device.1, name, /* checksum, unused in this variant */ 0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
