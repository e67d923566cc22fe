//! What is written to, and the program that talks to eMMCs: all that acts on hardware, so that a model of it
//! can take its place.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::fs::{Advice, OFlags, fadvise};

/// Hardware, or a model of it.
pub(crate) trait Hardware: Debug {
    /// Opens a device or file for reading and writing. Exclusively: as mount(8) does, so that the kernel
    /// refuses what is in use.
    fn open(&self, path: &Path, exclusively: bool) -> io::Result<Box<dyn Medium>>;

    /// Runs `mmc` of mmc-utils with these words on the device at `node`.
    fn mmc(&self, words: &[&str], node: &Path) -> io::Result<Output>;
}

/// What a boot image is written to.
pub(crate) trait Medium {
    /// Fills `bytes` from this place on.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`; until [`Medium::sync`] any of it may still be lost.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all that was written has reached the medium.
    fn sync(&self) -> io::Result<()>;
    /// Lets the next read come from the medium, not from what the kernel remembers.
    fn forget_cache(&self);
}

/// This machine's.
#[derive(Debug)]
pub(crate) struct Real {
    /// `mmc` of mmc-utils.
    pub(crate) mmc: PathBuf,
}

impl Hardware for Real {
    fn open(&self, path: &Path, exclusively: bool) -> io::Result<Box<dyn Medium>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if exclusively {
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        Ok(Box::new(options.open(path)?))
    }

    fn mmc(&self, words: &[&str], node: &Path) -> io::Result<Output> {
        Command::new(&self.mmc).args(words).arg(node).output()
    }
}

impl Medium for File {
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn forget_cache(&self) {
        // A whole range cannot be given up where others map it; there is nothing to do about that.
        let _ = fadvise(self, 0, None, Advice::DontNeed);
    }
}
