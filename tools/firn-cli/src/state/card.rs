//! The card that holds the record.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, bail, ensure};
use firn::{
    block::{BlockDevice, Error, SharedDevice, cache::Cache},
    boot::Store,
};
use rustix::fs::Access;

use crate::file_device::FileDevice;

/// An open card.
pub(super) struct Card {
    path: PathBuf,
    device: SharedDevice,
}

impl Card {
    /// Opens the card at `path` to look at it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let device = FileDevice::open(path);
        let device = device.with_context(|| format!("cannot open {}", path.display()))?;
        let writable = rustix::fs::access(path, Access::WRITE_OK).is_ok();
        Ok(Self::new(path, Seen { device, writable }))
    }

    /// Opens the card at `path` to change its record.
    pub(super) fn open_to_write(path: &Path) -> anyhow::Result<Self> {
        let device = FileDevice::open_writable(path);
        let device = device.with_context(|| format!("cannot write to {}", path.display()))?;
        Ok(Self::new(path, device))
    }

    fn new(path: &Path, device: impl BlockDevice + 'static) -> Self {
        Self { path: path.to_owned(), device: Rc::new(RefCell::new(Cache::new(device))) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn device(&self) -> &SharedDevice {
        &self.device
    }

    /// Its record, as it is on the card now.
    pub(super) fn store(&self) -> Store {
        Store::open(&self.device, None)
    }
}

/// A card that is only looked at: that is no reason to say that it cannot be written to. Opening it for
/// writing would have udev probe it again.
struct Seen {
    device: FileDevice,
    writable: bool,
}

impl BlockDevice for Seen {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn block_count(&self) -> u64 {
        self.device.block_count()
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.device.read(first_block, destination)
    }

    fn read_medium(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.device.read_medium(first_block, destination)
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}

/// What `path` leads to, if that can hold a record: an image, or a whole device of the system below `root`.
pub(super) fn whole_device(root: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    let path = fs::canonicalize(path).with_context(|| format!("cannot find {shown}"))?;
    let metadata = fs::metadata(&path).with_context(|| format!("cannot look at {shown}"))?;
    let kind = metadata.file_type();
    ensure!(
        kind.is_file() || kind.is_block_device(),
        "{shown} is neither a card nor an image of one"
    );
    let name = path.file_name().unwrap_or_default();
    if kind.is_block_device() && root.join("sys/class/block").join(name).join("partition").exists()
    {
        bail!("{shown} is a partition; name the whole device");
    }
    Ok(path)
}
