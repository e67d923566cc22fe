//! ext2, ext3 and ext4 through `ext4-view`, which does all that has to do with names: directories
//! with their hashed trees, symbolic links and metadata.
//!
//! What is done here, and why, as facts of `ext4-view` 1.0.0 to report upstream (and
//! `tests/ext4_upstream.rs` tells when one of them is gone):
//! * It reads a file block by block, in groups of 32 KiB, with three copies, and shows neither a
//!   file's extents nor its inode number. [`inode`] makes the map; the inode number comes from
//!   `File`'s `Debug`, which is why the release is pinned, and is checked against its metadata.
//! * It reads extents that were allocated but never written as data, 32768 blocks longer than they
//!   are, and fails on ext2 files with gaps of whole branches of their map.
//! * Its journal replay forgets what lies behind the wrap of the log; it applies revocations to the
//!   transaction that holds them but not to those before; it fails on a journal that is empty though
//!   the file system is marked dirty, on escaped blocks, and on journals without 64-bit numbers and
//!   checksums of version 3. So [`journal`] makes a clean file system of a dirty one, and
//!   `ext4-view` sees that.
//! * It panics where it computes the checksum of a directory's index that says that it has more
//!   entries than room (`DirBlock::calc_internal_checksum`), as one bad block can. And it refuses
//!   inodes of 128 bytes where there are checksums. So it is shown a file system without checksums;
//!   those of superblock, descriptors, inodes of files and extents are compared here.
//! * It allocates what a superblock or a symbolic link's size asks for, and walks maps whose nodes
//!   point to each other in all combinations. [`superblock`], [`resolve`] and [`guard`] refuse such
//!   before it looks.

mod blocks;
mod bytes;
mod guard;
mod inode;
mod journal;
mod resolve;
mod superblock;

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use ext4_view::{Ext4 as Driver, Ext4Error};

use super::{
    DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata,
    names::Names,
    runs::{RunFile, RunMap},
};
use crate::block::volume::Volume;
use blocks::Blocks;
use guard::Guard;
use inode::Inode;
use resolve::Resolver;
use superblock::Superblock;

/// A mounted ext file system.
pub(super) struct Ext4 {
    driver: Driver,
    resolver: Resolver,
    superblock: Superblock,
    blocks: Blocks,
}

impl Ext4 {
    /// Mounts `volume`, which has ext's magic number.
    pub(super) fn mount(volume: Volume) -> Result<Self, Error> {
        let mounted = |kind| Error { kind, path: String::new() };
        let (bytes, superblock, blocks) = recover(volume).map_err(mounted)?;
        let reader = Guard::new(blocks.clone(), bytes, &superblock);
        let driver = Driver::load(Box::new(reader)).map_err(|error| convert(error, ""))?;
        let resolver = Resolver::new(&driver)?;
        Ok(Self { driver, resolver, superblock, blocks })
    }

    /// The file of inode `number`, if the inode says of it what `ext4-view` does.
    fn map(&self, number: u32, metadata: &ext4_view::Metadata) -> Result<(u64, RunMap), ErrorKind> {
        let inode = Inode::read(&self.blocks, &self.superblock, number)?;
        let permissions = inode.mode & 0o7777;
        if (inode.size, permissions) != (metadata.len(), metadata.mode()) {
            return Err(ErrorKind::Corrupt(format!("inode {number} is read in two ways")));
        }
        Ok((inode.size, inode.map(&self.blocks, &self.superblock)?))
    }
}

/// Reads the superblock and, if it is needed, the journal.
fn recover(volume: Volume) -> Result<(superblock::Bytes, Superblock, Blocks), ErrorKind> {
    let mut bytes = [0; superblock::SIZE];
    volume.read_at(superblock::AT, &mut bytes).map_err(ErrorKind::Device)?;
    let on_disk = Superblock::parse(&bytes, volume.size())?;
    let blocks = Blocks::new(volume.clone(), &on_disk);
    let Some(journal) = on_disk.dirty_journal else {
        return Ok((bytes, on_disk, blocks));
    };

    let copies = journal::replay(&blocks, &on_disk, journal)?;
    let blocks = blocks.with_copies(copies);
    blocks.read(superblock::AT, &mut bytes)?;
    let superblock = Superblock::parse(&bytes, volume.size())?;
    if superblock.block_size != on_disk.block_size {
        return Err(ErrorKind::Corrupt("the journal has another file system's superblock".into()));
    }
    Ok((bytes, superblock, blocks))
}

impl FileSystem for Ext4 {
    fn kind(&self) -> &'static str {
        self.superblock.kind
    }

    fn label(&self) -> Option<String> {
        let label = self.driver.label().display().to_string();
        (!label.is_empty()).then_some(label)
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let place = self.resolver.follow(&self.driver, path)?;
        let file = self.driver.open(&place.path).map_err(|error| convert(error, path))?;
        let (size, map) = inode_number(&file)
            .and_then(|number| self.map(number, file.metadata()))
            .map_err(|kind| Error { kind, path: path.into() })?;
        Ok(Box::new(RunFile::new(self.blocks.volume().clone(), path.into(), size, map)))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        let place = self.resolver.follow(&self.driver, path)?;
        let size = if place.file_type == FileType::File { place.size } else { 0 };
        Ok(Metadata { file_type: place.file_type, size })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let place = self.resolver.follow(&self.driver, path)?;
        let failed = |error| convert(error, path);
        let mut names = Names::default();
        for entry in self.driver.read_dir(&place.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let file_type = file_type(entry.file_type().map_err(failed)?);
            let listed = names.push(DirEntry { name: name.display().to_string(), file_type });
            listed.map_err(|kind| Error { kind, path: path.into() })?;
        }
        Ok(names.finish())
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        let place = self.resolver.find(&self.driver, path)?;
        resolve::link_target(&self.driver, &place).map_err(|kind| Error { kind, path: path.into() })
    }

    fn link_modified(&mut self, path: &str) -> Option<u64> {
        Some(self.resolver.find(&self.driver, path).ok()?.modified)
    }
}

/// The inode number of an open file, which `ext4-view` shows nowhere else.
fn inode_number(file: &ext4_view::File) -> Result<u32, ErrorKind> {
    let text = format!("{file:?}");
    text.split_once("inode: ")
        .and_then(|(_, rest)| rest.split(|letter: char| !letter.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| ErrorKind::Corrupt(format!("no inode number in {text}")))
}

fn file_type(file_type: ext4_view::FileType) -> FileType {
    match file_type {
        ext4_view::FileType::Regular => FileType::File,
        ext4_view::FileType::Directory => FileType::Directory,
        ext4_view::FileType::Symlink => FileType::Link,
        _ => FileType::Other,
    }
}

fn convert(error: Ext4Error, path: &str) -> Error {
    Error { kind: convert_kind(error), path: path.into() }
}

fn convert_kind(error: Ext4Error) -> ErrorKind {
    match error {
        Ext4Error::NotFound
        | Ext4Error::MalformedPath
        | Ext4Error::NotAbsolute
        | Ext4Error::PathTooLong => ErrorKind::NotFound,
        Ext4Error::IsADirectory
        | Ext4Error::NotADirectory
        | Ext4Error::NotASymlink
        | Ext4Error::IsASpecialFile => ErrorKind::WrongType,
        Ext4Error::TooManySymlinks => ErrorKind::TooManyLinks,
        Ext4Error::Encrypted => ErrorKind::Feature("encrypt".into()),
        Ext4Error::Incompatible(what) => ErrorKind::Feature(what.to_string()),
        Ext4Error::Corrupt(what) => ErrorKind::Corrupt(what.to_string()),
        Ext4Error::Io(inner) => match inner.downcast::<Error>() {
            Ok(error) => error.kind,
            Err(inner) => ErrorKind::Corrupt(inner.to_string()),
        },
        other => ErrorKind::Corrupt(other.to_string()),
    }
}
