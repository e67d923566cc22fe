//! FAT12, FAT16 and FAT32 through `hadris-fat`.
//!
//! `hadris-fat` ties a mounted volume to a borrowed token, and a file to a slot of the volume. The
//! adapter keeps neither: each operation mounts anew (three sectors, from the card's cache), and an
//! open file is the list of its runs. Names are compared without regard to the case of ASCII
//! letters.

use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use core::ops::ControlFlow;

use hadris_fat::{
    FatKind,
    embedded::{Dir, MountToken, Options, sync::Fat as Driver},
};
use hadris_fs::{
    DirCursor, Error as HadrisError, ErrorKind as HadrisKind, Extent, FileType as HadrisType,
    FsResult, OpenOptions,
};
use hadris_io::ErrorType;
use hadris_storage::{BlockIndex, BlockSize, sync::BlockDevice as HadrisDevice};

use super::{
    DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata,
    path::normalised,
    runs::{MAX_RUNS, Run, RunFile, RunMap},
};
use crate::block::{self, volume::Volume};

/// A mounted FAT file system.
pub(super) struct Fat {
    volume: Volume,
    kind: &'static str,
    label: Option<String>,
}

/// One file is open at a time, for as long as it takes to map it.
type Mounted<'token> = Driver<'token, VolumeIo, 1>;
type DriverResult<T> = FsResult<T, block::Error>;

impl Fat {
    /// Mounts `volume`; `None` if it does not begin with a FAT boot sector.
    pub(super) fn mount(volume: &Volume) -> Result<Option<Self>, Error> {
        let mounted = with_driver(volume, |driver| {
            let kind = match driver.info().kind() {
                FatKind::Fat12 => "FAT12",
                FatKind::Fat16 => "FAT16",
                _ => "FAT32",
            };
            Ok((kind, label(driver)?))
        });
        match mounted {
            Ok((kind, label)) => Ok(Some(Self { volume: volume.clone(), kind, label })),
            Err(error) if error.kind() == HadrisKind::NotRecognized => Ok(None),
            Err(error) => Err(convert(error, "")),
        }
    }

    fn with<T>(
        &self,
        path: &str,
        operation: impl FnOnce(&mut Mounted<'_>) -> DriverResult<T>,
    ) -> Result<T, Error> {
        with_driver(&self.volume, operation).map_err(|error| convert(error, path))
    }
}

impl FileSystem for Fat {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn label(&self) -> Option<String> {
        self.label.clone()
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let (size, map) = self.with(path, |driver| {
            let (directory, name) = parent(driver, path)?;
            let name = name.ok_or(HadrisKind::IsADirectory)?;
            let file = driver.open(directory, name, OpenOptions::new().read())?;
            let size = driver.metadata(directory, name)?.len();
            let extents = extents(driver, &file)?;
            driver.close(file)?;
            Ok((size, map_of(&extents)?))
        })?;
        if !map.covers(size) {
            let kind = ErrorKind::Corrupt("its cluster chain is shorter than its size".into());
            return Err(Error { kind, path: path.into() });
        }
        Ok(Box::new(RunFile::new(self.volume.clone(), path.into(), size, map)))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        self.with(path, |driver| {
            let (directory, name) = parent(driver, path)?;
            let Some(name) = name else {
                return Ok(Metadata { file_type: FileType::Directory, size: 0 });
            };
            let found = driver.metadata(directory, name)?;
            Ok(Metadata { file_type: file_type(found.file_type()), size: found.len() })
        })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        self.with(path, |driver| {
            let directory = directory(driver, &normalised(path))?;
            let mut entries = Vec::new();
            driver.list(directory, DirCursor::START, |entry| {
                entries.push(DirEntry {
                    name: entry.chars().collect(),
                    file_type: file_type(entry.file_type()),
                });
                ControlFlow::Continue(())
            })?;
            Ok(entries)
        })
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        self.metadata(path)?;
        Err(Error { kind: ErrorKind::WrongType, path: path.into() })
    }
}

/// Mounts `volume` for one operation.
fn with_driver<T>(
    volume: &Volume,
    operation: impl FnOnce(&mut Mounted<'_>) -> DriverResult<T>,
) -> DriverResult<T> {
    let mut token = MountToken::new();
    let device = VolumeIo(volume.clone());
    let mut driver = Mounted::mount_with(device, &mut token, Options::new().read_only())
        .map_err(hadris_fs::MountError::into_error)?;
    operation(&mut driver)
}

fn label(driver: &mut Mounted<'_>) -> DriverResult<Option<String>> {
    let mut text = [0; 64];
    match driver.label(&mut text) {
        Ok(label) => Ok(label.map(Into::into)),
        Err(error) if error.device_error().is_some() => Err(error),
        // A damaged label is no reason not to boot.
        Err(_) => Ok(None),
    }
}

/// The directory that holds the last component of `path`, and that component; none for the root.
fn parent<'path>(
    driver: &mut Mounted<'_>,
    path: &'path str,
) -> DriverResult<(Dir, Option<&'path str>)> {
    let components = normalised(path);
    match components.split_last() {
        Some((name, above)) => Ok((directory(driver, above)?, Some(name))),
        None => Ok((driver.root(), None)),
    }
}

fn directory(driver: &mut Mounted<'_>, components: &[&str]) -> DriverResult<Dir> {
    let mut directory = driver.root();
    for component in components {
        directory = driver.open_dir(directory, component)?;
    }
    Ok(directory)
}

/// All pieces of `file`. `hadris-fat` walks the whole chain at each call, so after a try with room
/// for what most files need comes one with room for all that are accepted.
fn extents(
    driver: &mut Mounted<'_>,
    file: &hadris_fat::embedded::File<'_>,
) -> DriverResult<Vec<Extent>> {
    for room in [64, MAX_RUNS + 1] {
        let mut extents = vec![Extent::new(0, 0); room];
        let count = driver.extents(file, 0, &mut extents)?;
        if count < room {
            extents.truncate(count);
            return Ok(extents);
        }
    }
    Err(HadrisError::new(HadrisKind::LimitExceeded, "a file in too many pieces"))
}

fn map_of(extents: &[Extent]) -> DriverResult<RunMap> {
    let mut map = RunMap::default();
    for extent in extents {
        let run =
            Run { offset: extent.file_offset(), position: extent.offset(), length: extent.len() };
        map.push(run).map_err(|_| HadrisKind::Corrupt)?;
    }
    Ok(map)
}

fn file_type(file_type: HadrisType) -> FileType {
    match file_type {
        HadrisType::File => FileType::File,
        HadrisType::Dir => FileType::Directory,
        _ => FileType::Other,
    }
}

fn convert(error: HadrisError<block::Error>, path: &str) -> Error {
    let kind = match error.kind() {
        HadrisKind::NotFound | HadrisKind::InvalidInput | HadrisKind::NameTooLong => {
            ErrorKind::NotFound
        }
        HadrisKind::NotADirectory | HadrisKind::IsADirectory => ErrorKind::WrongType,
        HadrisKind::Unsupported => ErrorKind::Feature(describe(&error)),
        _ => match error.device_error() {
            Some(error) => ErrorKind::Device(error.clone()),
            None => ErrorKind::Corrupt(describe(&error)),
        },
    };
    Error { kind, path: path.into() }
}

fn describe(error: &HadrisError<block::Error>) -> String {
    format!("{error}")
}

/// A volume as `hadris-fat` wants it.
struct VolumeIo(Volume);

impl ErrorType for VolumeIo {
    type Error = block::Error;
}

impl HadrisDevice for VolumeIo {
    fn block_size(&self) -> BlockSize {
        const SIZE: BlockSize = BlockSize::new(512).expect("not zero");
        const { assert!(block::BLOCK_SIZE == 512) };
        SIZE
    }

    fn block_count(&self) -> u64 {
        self.0.block_count()
    }

    fn read_blocks(
        &mut self,
        first: BlockIndex,
        destination: &mut [u8],
    ) -> Result<(), HadrisError<block::Error>> {
        self.0
            .read_blocks(first.get(), destination)
            .map_err(|error| HadrisError::device(error, "reading the card failed"))
    }
}
