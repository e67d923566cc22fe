//! Files and directories on a disk: read, compared, and written so that a power cut leaves the old ones or
//! the new ones.

use std::{cell::Cell, io};

use anyhow::{Context as _, Result, bail};
use firn::fs::{ErrorKind, File, FileSystem, FileType};

use super::disk::{Disk, Room};

/// What is read and written at once, in bytes.
const PIECE: usize = 1 << 20;
/// Ends the names of files that are being written.
const UNFINISHED: &str = ".tmp";

/// Where a file's contents come from.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Here they are.
    Bytes(Vec<u8>),
    /// Another file of the tree.
    File(String),
}

/// Writes to a disk, and counts what it has written.
pub(super) struct Writer<'a> {
    disk: &'a dyn Disk,
    pub(super) written: Cell<usize>,
    pub(super) removed: Cell<usize>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(disk: &'a dyn Disk) -> Self {
        Self { disk, written: Cell::new(0), removed: Cell::new(0) }
    }

    pub(super) fn tree(&self) -> Box<dyn FileSystem> {
        self.disk.tree()
    }

    /// Makes a file of these contents, unless it is there. Whether it was written.
    pub(super) fn put(&self, path: &str, mode: u32, content: &Content) -> Result<bool> {
        if self.is(path, content)? {
            return Ok(false);
        }
        self.put_anew(path, mode, content)?;
        Ok(true)
    }

    /// Makes a file of these contents, in a directory that is made if it must be.
    pub(super) fn put_anew(&self, path: &str, mode: u32, content: &Content) -> Result<()> {
        self.make_directories(parent(path), 0o755)?;
        let unfinished = format!("{path}{UNFINISHED}");
        let written = self.write(&unfinished, mode, content).and_then(|()| {
            let renamed = self.disk.rename(&unfinished, path);
            renamed.with_context(|| format!("cannot rename {unfinished} to {path}"))
        });
        if let Err(error) = written {
            // It would keep room that somebody needs now; the next installation looks for it again.
            let _ = self.disk.remove(&unfinished);
            return Err(error);
        }
        self.written.set(self.written.get() + 1);
        Ok(())
    }

    fn write(&self, path: &str, mode: u32, content: &Content) -> Result<()> {
        let failed = || format!("cannot write {path}");
        let mut file = self.disk.create(path, mode).with_context(failed)?;
        for_each_piece(&mut *self.tree(), content, |piece| file.write(piece).with_context(failed))?;
        file.sync().with_context(failed)
    }

    /// Makes a directory of these files, which is there with all of them or not at all.
    pub(super) fn put_directory(&self, path: &str, files: &[(String, Content)]) -> Result<()> {
        let unfinished = format!("{path}{UNFINISHED}");
        self.remove_all(&unfinished)?;
        self.make_directories(&unfinished, 0o755)?;
        let filled = files.iter().try_for_each(|(name, content)| {
            let path = format!("{unfinished}/{name}");
            self.make_directories(parent(&path), 0o755)?;
            self.write(&path, 0o644, content)
        });
        if let Err(error) = filled {
            let _ = self.remove_all(&unfinished);
            return Err(error);
        }
        let failed = || format!("cannot finish {path}");
        self.disk.sync_file_system(&unfinished).with_context(failed)?;
        self.disk.rename(&unfinished, path).with_context(failed)?;
        self.written.set(self.written.get() + files.len());
        Ok(())
    }

    /// Makes a directory and those that lead to it, if they are not there.
    pub(super) fn make_directories(&self, path: &str, mode: u32) -> Result<()> {
        if path == "/" {
            return Ok(());
        }
        match self.tree().metadata(path) {
            Ok(found) if found.file_type == FileType::Directory => return Ok(()),
            Ok(_) => bail!("{path} is there and no directory"),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("cannot make a directory"),
        }
        self.make_directories(parent(path), 0o755)?;
        let failed = || format!("cannot make {path}");
        self.disk.make_directory(path, mode).with_context(failed)?;
        self.disk.sync_directory(parent(path)).with_context(failed)
    }

    /// Makes a symbolic link.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<()> {
        let failed = || format!("cannot make the link {path}");
        self.disk.link(path, target).with_context(failed)?;
        self.disk.sync_directory(parent(path)).with_context(failed)?;
        self.written.set(self.written.get() + 1);
        Ok(())
    }

    /// Whether the file at `path` holds this.
    pub(super) fn is(&self, path: &str, content: &Content) -> Result<bool> {
        let mut tree = self.tree();
        let Some(mut there) = open(&mut *tree, path)? else { return Ok(false) };
        if there.size() != size(&mut *tree, content)? {
            return Ok(false);
        }
        let (mut offset, mut same) = (0, true);
        let mut buffer = Vec::new();
        for_each_piece(&mut *tree, content, |piece| {
            if same {
                buffer.resize(piece.len(), 0);
                // What cannot be read is written anew.
                same = there.read_at(offset, &mut buffer).is_ok() && buffer == piece;
                offset += piece.len() as u64;
            }
            Ok(())
        })?;
        Ok(same)
    }

    /// Removes what is at `path`, with all that is below it; nothing there is as good.
    pub(super) fn remove_all(&self, path: &str) -> Result<()> {
        let failed = || format!("cannot remove {path}");
        let is_directory = match self.tree().read_link(path) {
            Ok(_) => false,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            Err(_) => {
                let found = self.tree().metadata(path);
                found.is_ok_and(|found| found.file_type == FileType::Directory)
            }
        };
        if is_directory {
            let names = self.tree().read_dir(path).with_context(failed)?;
            for entry in names {
                self.remove_all(&format!("{path}/{}", entry.name))?;
            }
            self.disk.remove_directory(path).with_context(failed)?;
        } else {
            self.disk.remove(path).with_context(failed)?;
            self.removed.set(self.removed.get() + 1);
        }
        Ok(())
    }

    /// Names in a directory; none if it is not there.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>> {
        names(&mut *self.tree(), directory)
    }

    /// Room on the file system that holds `path`.
    pub(super) fn room(&self, path: &str) -> Result<Room> {
        let room = self.disk.room(path);
        room.with_context(|| format!("cannot tell how much room {path} has"))
    }

    /// Returns when all of the file system that holds `path` is on the disk.
    pub(super) fn sync_file_system(&self, path: &str) -> Result<()> {
        let synced = self.disk.sync_file_system(path);
        synced.with_context(|| format!("cannot sync the file system of {path}"))
    }
}

/// The directory that holds `path`.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

/// Whether something failed because a disk is full.
pub(super) fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

/// Names in a directory, sorted; none if it is not there.
pub(super) fn names(tree: &mut dyn FileSystem, directory: &str) -> Result<Vec<String>> {
    match tree.read_dir(directory) {
        Ok(entries) => {
            let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list {directory}")),
    }
}

/// A small file's contents; none if it is not there.
pub(super) fn read(tree: &mut dyn FileSystem, path: &str) -> Result<Option<Vec<u8>>> {
    const LIMIT: u64 = 1 << 20;
    let Some(mut file) = open(tree, path)? else { return Ok(None) };
    let size = file.size();
    let length = usize::try_from(size).ok().filter(|_| size <= LIMIT);
    let length = length.with_context(|| format!("{path} has {size} bytes"))?;
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes).with_context(|| format!("cannot read {path}"))?;
    Ok(Some(bytes))
}

/// A file's size in bytes.
pub(super) fn size(tree: &mut dyn FileSystem, content: &Content) -> Result<u64> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.len() as u64),
        Content::File(path) => Ok(tree.open(path)?.size()),
    }
}

fn open(tree: &mut dyn FileSystem, path: &str) -> Result<Option<Box<dyn File>>> {
    match tree.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongType) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn for_each_piece(
    tree: &mut dyn FileSystem,
    content: &Content,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let path = match content {
        Content::Bytes(bytes) => return take(bytes),
        Content::File(path) => path,
    };
    let mut file = tree.open(path)?;
    let (size, mut offset) = (file.size(), 0);
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).min(PIECE)];
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = &mut buffer[..length];
        file.read_at(offset, piece).with_context(|| format!("cannot read {path}"))?;
        take(piece)?;
        offset += length as u64;
    }
    Ok(())
}
