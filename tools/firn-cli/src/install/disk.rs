//! What an installation does to disks: the few operations that a power cut, a full disk or a broken card
//! can come between, each one step.
//!
//! Paths are absolute and as the installed system has them. The tests have a disk of their own behind
//! this trait, which loses what was not synced.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use firn::fs::FileSystem;
use rustix::fs::{statvfs, syncfs};

use super::view::View;

/// The disks of the system that is installed to.
pub(crate) trait Disk {
    /// Its tree, to be read.
    fn tree(&self) -> Box<dyn FileSystem>;

    /// Makes a file that was not there, or takes the place of what a cut installation left.
    fn create(&self, path: &str, mode: u32) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file that is synced another name in the same directory, or takes the place of the file
    /// that has it: whenever the power fails, the name leads to the one or the other. It is on the
    /// disk when this returns.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file or a link.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes one directory, whose parent is there.
    fn make_directory(&self, path: &str, mode: u32) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_directory(&self, path: &str) -> io::Result<()>;

    /// Makes a symbolic link.
    fn link(&self, path: &str, target: &str) -> io::Result<()>;

    /// Returns when the names in a directory are on the disk.
    fn sync_directory(&self, path: &str) -> io::Result<()>;

    /// Returns when all of the file system that holds `path` is on the disk.
    fn sync_file_system(&self, path: &str) -> io::Result<()>;

    /// Room on the file system that holds `path`.
    fn room(&self, path: &str) -> io::Result<Room>;
}

/// A file that is being written.
pub(crate) trait NewFile {
    /// Writes all of `bytes` behind what is there.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when its contents are on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Free bytes.
    pub(crate) free: u64,
    /// Bytes that files are rounded up to.
    pub(crate) unit: u64,
}

/// The disks below a directory of this machine.
pub(crate) struct Mounted {
    root: PathBuf,
    store: PathBuf,
}

impl Mounted {
    /// Those of the system at `root`, whose store is that of the one at `store`.
    pub(crate) fn new(root: &Path, store: &Path) -> Self {
        Self { root: root.to_owned(), store: store.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Disk for Mounted {
    fn tree(&self) -> Box<dyn FileSystem> {
        Box::new(View::new(&self.root, &self.store))
    }

    fn create(&self, path: &str, mode: u32) -> io::Result<Box<dyn NewFile>> {
        let path = self.path(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(mode))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        // FAT has no journal. Linux writes the new file's place into the old one's directory entry, a
        // single sector, and frees the old one's clusters when nobody has it open any more: held open, it
        // stays whole until that sector is on the card.
        let replaced = File::open(&to).ok();
        fs::rename(&from, &to)?;
        File::open(&to)?.sync_all()?;
        sync_directory_of(&to)?;
        drop(replaced);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn make_directory(&self, path: &str, mode: u32) -> io::Result<()> {
        let path = self.path(path);
        fs::create_dir(&path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.path(path))
    }

    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        symlink(target, self.path(path))
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn sync_file_system(&self, path: &str) -> io::Result<()> {
        Ok(syncfs(File::open(self.path(path))?)?)
    }

    fn room(&self, path: &str) -> io::Result<Room> {
        let found = statvfs(self.path(path))?;
        let unit = found.f_frsize.max(512);
        Ok(Room { free: found.f_bavail.saturating_mul(found.f_frsize), unit })
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
