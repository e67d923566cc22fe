//! Read-only file systems behind one small trait.
//!
//! [`mount`] looks at what a volume holds. Paths, names and metadata are the business of library
//! crates behind an adapter each; what an adapter adds is the map of a file, from which `RunFile`
//! reads all of it, in requests as large as the file's pieces, straight into memory.

#![forbid(unsafe_code)]

mod ext4;
mod fat;
mod names;
mod path;
mod recognise;
mod runs;
mod stream;

pub use recognise::mount;
pub use stream::{FileStream, Stream};

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::{
    block::{self, volume},
    dma::Buffer,
    error::{Code, Coded},
    memory::Region,
};

/// A mounted file system. Paths are absolute, separated by `/`, may hold `.` and `..`, and follow
/// symbolic links (absolute ones from this file system's root).
pub trait FileSystem {
    /// "FAT32", "ext4".
    fn kind(&self) -> &'static str;
    /// The volume label, if it has one.
    fn label(&self) -> Option<String>;
    /// Opens a regular file.
    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error>;
    /// What `path` is, links followed.
    fn metadata(&mut self, path: &str) -> Result<Metadata, Error>;
    /// The names in a directory, without `.` and `..`, in the order of the medium.
    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error>;
    /// Where the symbolic link `path` points to (its last component is not followed).
    fn read_link(&mut self, path: &str) -> Result<String, Error>;
    /// When what `path` names was changed, in seconds since 1970 (its last component is not
    /// followed); `None` if that is not known.
    fn link_modified(&mut self, path: &str) -> Option<u64> {
        let _ = path;
        None
    }
}

/// An open file.
pub trait File {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Fills `destination` from `offset` on; reading beyond the end is an error. Large reads go
    /// straight from the device to `destination`.
    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error>;
    /// Starts to read up to `length` bytes into `buffer`, from `offset` on, and returns while the
    /// device goes on by itself.
    ///
    /// # Errors
    /// The buffer: where it cannot be done in this way or not now, [`File::read_at`] reads all the
    /// same, or says why not.
    fn start(&mut self, offset: u64, length: usize, buffer: Buffer) -> Result<Reading, Buffer> {
        let _ = (offset, length);
        Err(buffer)
    }
    /// [`Reading::finish`], then [`File::start`], so soon after each other that the device hardly
    /// rests. After an error nothing is started.
    fn start_after(
        &mut self,
        before: Reading,
        offset: u64,
        length: usize,
        buffer: Buffer,
    ) -> (Result<(Buffer, usize), Error>, Result<Reading, Buffer>) {
        let finished = before.finish();
        let started = match finished {
            Ok(_) => self.start(offset, length, buffer),
            Err(_) => Err(buffer),
        };
        (finished, started)
    }
    /// The memory that holds all of it already, in pages of its own, if there is such memory.
    fn in_memory(&self) -> Option<Region> {
        None
    }
}

/// A read of a file that goes on by itself. If it is dropped, the device has ended it.
#[derive(Debug)]
pub struct Reading {
    below: volume::Reading,
    length: usize,
    path: String,
}

impl Reading {
    /// Bytes of the file that it brings: at least one, and not always all that were asked for.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Waits for its end. Returns the buffer, and how many of the bytes in its front are the file's.
    pub fn finish(self) -> Result<(Buffer, usize), Error> {
        let Self { below, length, path } = self;
        located(below.finish(), length, path)
    }
}

/// What a read has brought, as the file system tells it.
fn located(
    finished: Result<Buffer, block::Error>,
    length: usize,
    path: String,
) -> Result<(Buffer, usize), Error> {
    match finished {
        Ok(buffer) => Ok((buffer, length)),
        Err(error) => Err(Error { kind: ErrorKind::Device(error), path }),
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device node, socket or pipe.
    Other,
}

/// Of a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub file_type: FileType,
    /// Size in bytes; of regular files only.
    pub size: u64,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// What it is, links not followed.
    pub file_type: FileType,
}

/// What went wrong, without where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Neither FAT nor ext4; the text says what it looks like, if that can be told.
    Unknown(String),
    /// The structures contradict themselves; the text says which.
    Corrupt(String),
    /// A feature that cannot be read, by name.
    Feature(String),
    /// No such file or directory.
    NotFound,
    /// A directory where a file is expected, or the other way round.
    WrongType,
    /// A loop, or a chain beyond reason.
    TooManyLinks,
    /// The range is beyond the end of the file.
    BeyondEnd,
    /// The device below failed.
    Device(block::Error),
}

/// A failed operation: what, and on which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The path as asked for; empty when mounting.
    pub path: String,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match &self.kind {
            ErrorKind::Unknown(_) => Code::UnknownFileSystem,
            ErrorKind::Corrupt(_) => Code::FileSystemCorrupt,
            ErrorKind::Feature(_) => Code::FileSystemFeature,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::WrongType => Code::WrongFileType,
            ErrorKind::TooManyLinks => Code::TooManyLinks,
            ErrorKind::BeyondEnd => Code::FileRead,
            ErrorKind::Device(error) => error.code(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match &self.kind {
            ErrorKind::Device(error) => error.fmt(f),
            ErrorKind::Unknown(text) | ErrorKind::Corrupt(text) | ErrorKind::Feature(text) => {
                write!(f, "{}: {text}", self.code().summary())
            }
            _ => f.write_str(self.code().summary()),
        }
    }
}

impl core::error::Error for Error {}
