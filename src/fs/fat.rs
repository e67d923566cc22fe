//! FAT12, FAT16 and FAT32 through `hadris-fat-raw`, the primitives of `hadris-fat`.
//!
//! `hadris-fat` itself does the same on top of them, but its file handles bring all that it has for
//! writing into the firmware, and it does not show where a file is without walking its chain twice.
//! Here one walk makes the map of a file. Names are compared without regard to the case of ASCII
//! letters, long ones and the short ones that stand for them.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{ops::ControlFlow, str};

use hadris_fat_raw::{
    FatKind, MAX_DIR_ENTRIES, ShortEntry, Slot, fold_ascii,
    io::{BlockBuf, ChainPos, DirStart, DirWalk, Fat as Layout, sync as raw},
    lfn::Assembler,
    name::{eq_folded, utf16_chars},
    short_name,
};
use hadris_fs::{CodePage, Cp437};
use hadris_io::{Error as HadrisError, ErrorKind as HadrisKind, ErrorType, FsResult};
use hadris_storage::{BlockIndex, BlockSize, sync::BlockDevice as HadrisDevice};

use super::{
    DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata,
    names::Names,
    path::normalised,
    runs::{MAX_RUNS, Run, RunError, RunFile, RunMap},
};
use crate::block::{self, BLOCK_SIZE, volume::Volume};

/// A mounted FAT file system.
pub(super) struct Fat {
    medium: Medium,
    label: Option<String>,
}

/// What a path names.
#[derive(Clone, Copy)]
enum Found {
    Directory(DirStart),
    File { first: u32, size: u32 },
}

type DriverResult<T> = FsResult<T, block::Error>;

impl Fat {
    /// Mounts `volume`; `None` if it does not begin with a FAT boot sector.
    pub(super) fn mount(volume: &Volume) -> Result<Option<Self>, Error> {
        let mounted = Medium::new(volume.clone()).and_then(|mut medium| {
            let label = medium.label()?;
            Ok(Self { medium, label })
        });
        match mounted {
            Ok(fat) => Ok(Some(fat)),
            Err(error) if error.kind() == HadrisKind::NotRecognized => Ok(None),
            Err(error) => Err(convert(&error, "")),
        }
    }

    fn find(&mut self, path: &str) -> Result<Found, Error> {
        self.medium.find(path).map_err(|error| convert(&error, path))
    }
}

impl FileSystem for Fat {
    fn kind(&self) -> &'static str {
        match self.medium.kind() {
            FatKind::Fat12 => "FAT12",
            FatKind::Fat16 => "FAT16",
            _ => "FAT32",
        }
    }

    fn label(&self) -> Option<String> {
        self.label.clone()
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let Found::File { first, size } = self.find(path)? else {
            return Err(Error { kind: ErrorKind::WrongType, path: path.into() });
        };
        let map = self.medium.map(first, size).map_err(|error| convert(&error, path))?;
        let volume = self.medium.io.0.clone();
        Ok(Box::new(RunFile::new(volume, path.into(), u64::from(size), map)))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        Ok(match self.find(path)? {
            Found::Directory(_) => Metadata { file_type: FileType::Directory, size: 0 },
            Found::File { size, .. } => {
                Metadata { file_type: FileType::File, size: u64::from(size) }
            }
        })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let Found::Directory(directory) = self.find(path)? else {
            return Err(Error { kind: ErrorKind::WrongType, path: path.into() });
        };
        let mut names = Names::default();
        let mut too_many = None;
        let listed = self.medium.each_entry(directory, |entry, long| {
            if entry.is_visible() {
                let name = match long {
                    Some(units) => utf16_chars(units.iter().copied()).collect(),
                    None => short_name(entry, |text| text.to_string()),
                };
                let file_type = if entry.is_dir() { FileType::Directory } else { FileType::File };
                if let Err(kind) = names.push(DirEntry { name, file_type }) {
                    too_many = Some(kind);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        listed.map_err(|error| convert(&error, path))?;
        match too_many {
            Some(kind) => Err(Error { kind, path: path.into() }),
            None => Ok(names.finish()),
        }
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        self.find(path)?;
        Err(Error { kind: ErrorKind::WrongType, path: path.into() })
    }
}

/// What the primitives work on.
struct Medium {
    io: VolumeIo,
    /// The block that was looked at last.
    block: BlockBuf<[u8; BLOCK_SIZE]>,
    layout: Layout,
}

impl Medium {
    fn new(volume: Volume) -> DriverResult<Self> {
        let mut io = VolumeIo(volume);
        let mut block = BlockBuf::new(BLOCK_SIZE).ok_or(HadrisKind::Unsupported)?;
        let geometry = raw::read_geometry(&mut io, &mut block)?;
        let mut medium = Self { io, block, layout: Layout::new(geometry) };
        medium.check_table()?;
        Ok(medium)
    }

    /// Refuses an allocation table that does not begin with the media byte and ones, as each does
    /// whatever its width: a boot sector in front of garbage would else pass for an empty file system.
    fn check_table(&mut self) -> DriverResult<()> {
        let geometry = self.layout.geometry();
        let start = geometry.fat_start() + u64::from(geometry.active_fat()) * geometry.fat_size();
        let mut block = [0; BLOCK_SIZE];
        self.io.read_blocks(BlockIndex::new(start / BLOCK_SIZE as u64), &mut block)?;
        match block {
            [0xf0..=0xff, 0xff, 0xff, ..] => Ok(()),
            _ => Err(corrupt("its allocation table does not begin as one")),
        }
    }

    fn kind(&self) -> FatKind {
        self.layout.geometry().kind()
    }

    fn label(&mut self) -> DriverResult<Option<String>> {
        let mut label = None;
        let listed = self.each_entry(self.layout.root(), |entry, _| {
            if !entry.is_label() {
                return ControlFlow::Continue(());
            }
            let mut text = [0; short_name::DISPLAY_MAX];
            let length = short_name::display_label(&entry.name(), decode, &mut text);
            label = str::from_utf8(&text[..length]).ok().map(Into::into);
            ControlFlow::Break(())
        });
        match listed {
            // A damaged root is no reason not to mount: it is named when a path is looked up.
            Err(error) if error.device_error().is_none() => Ok(None),
            other => other.map(|()| label),
        }
    }

    fn find(&mut self, path: &str) -> DriverResult<Found> {
        let mut found = Found::Directory(self.layout.root());
        for name in normalised(path) {
            let Found::Directory(directory) = found else {
                return Err(HadrisKind::NotADirectory.into());
            };
            found = self.find_in(directory, name)?;
        }
        Ok(found)
    }

    fn find_in(&mut self, directory: DirStart, name: &str) -> DriverResult<Found> {
        let mut found = None;
        self.each_entry(directory, |entry, long| {
            if entry.is_visible() && is_named(entry, long, name) {
                found = Some(*entry);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let entry = found.ok_or(HadrisKind::NotFound)?;
        let first = entry.first_cluster(self.kind());
        if entry.is_dir() {
            let first = self.layout.check_cluster(first)?;
            return Ok(Found::Directory(DirStart::Chain(first)));
        }
        Ok(Found::File { first, size: entry.size() })
    }

    /// Shows the entries of a directory, with their long names, until `each` breaks.
    fn each_entry(
        &mut self,
        directory: DirStart,
        mut each: impl FnMut(&ShortEntry, Option<&[u16]>) -> ControlFlow<()>,
    ) -> DriverResult<()> {
        let Self { io, block, layout } = self;
        let mut walk = DirWalk::new(directory);
        let mut long = Assembler::new();
        for slot in 0..MAX_DIR_ENTRIES {
            let Some(offset) = raw::slot_offset(io, block, layout, &mut walk, slot)? else { break };
            match raw::read_slot(io, block, offset)? {
                Slot::End => break,
                Slot::Free => long.reset(),
                Slot::Long(part) => long.push(&part),
                Slot::Short(entry) => {
                    let name = long.finish(entry.lfn_checksum());
                    if each(&entry, name.filter(|units| !units.is_empty())).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Follows the chain of a file of `size` bytes.
    fn map(&mut self, first: u32, size: u32) -> DriverResult<RunMap> {
        let Self { io, block, layout } = self;
        let cluster_size = u64::from(layout.geometry().cluster_size());
        let clusters = u64::from(size).div_ceil(cluster_size);
        let mut map = RunMap::default();
        let mut at = ChainPos::start(first);
        let mut number = 0;
        while number < clusters {
            let position = layout.cluster_at(at.cluster())?;
            let behind = u64::from(in_a_row(block, layout, at.cluster()));
            let behind = behind.min(clusters - number - 1);
            let row = behind + 1;
            let run = Run { offset: number * cluster_size, position, length: row * cluster_size };
            map.push(run).map_err(|error| match error {
                RunError::TooMany => HadrisKind::LimitExceeded,
                RunError::OutOfOrder => HadrisKind::Corrupt,
            })?;
            number += row;
            if number == clusters {
                break;
            }
            // Not more than there are clusters.
            let last = at.cluster() + u32::try_from(behind).unwrap_or(0);
            match raw::next(io, block, layout, last)? {
                Some(next) if at.advance(next) => {}
                Some(_) => return Err(corrupt("its cluster chain is a loop")),
                None => return Err(corrupt("its cluster chain is shorter than its size")),
            }
        }
        Ok(map)
    }
}

/// How many clusters behind `cluster` follow one another on the medium and in its chain, as far as the
/// block at hand tells. Most of a file does, and a look at each link by itself costs more than to read
/// what it links to.
fn in_a_row(block: &BlockBuf<[u8; BLOCK_SIZE]>, layout: &Layout, cluster: u32) -> u32 {
    const BLOCK: u64 = BLOCK_SIZE as u64;
    let geometry = layout.geometry();
    let kind = geometry.kind();
    let table = geometry.fat_copy(geometry.active_fat());
    let at = table.saturating_add(kind.entry_offset(u64::from(cluster)));
    let within = (at % BLOCK) as usize;
    let links = match block.contents().get(within..) {
        Some(links) if block.cached() == Some(at / BLOCK) => links,
        _ => return 0,
    };
    let count = match kind {
        FatKind::Fat16 => count_up(cluster, links.as_chunks().0, u16::from_le_bytes),
        FatKind::Fat32 => {
            let number = |link| u32::from_le_bytes(link) & FatKind::Fat32.mask();
            count_up(cluster, links.as_chunks().0, number)
        }
        // Its entries have no bytes of their own, and its chains are short.
        _ => 0,
    };
    count.min(geometry.max_cluster().saturating_sub(cluster))
}

/// How many of `links` in front lead from `cluster` to the next one, from there to the next, and so on.
fn count_up<const N: usize, T: Into<u32>>(
    cluster: u32,
    links: &[[u8; N]],
    number: impl Fn([u8; N]) -> T,
) -> u32 {
    let mut last = cluster;
    for link in links {
        let next = number(*link).into();
        if next != last.wrapping_add(1) {
            break;
        }
        last = next;
    }
    last.wrapping_sub(cluster)
}

/// Whether `name` is an entry's long or short name.
fn is_named(entry: &ShortEntry, long: Option<&[u16]>, name: &str) -> bool {
    let is_long = |units: &[u16]| eq_folded(name.encode_utf16(), units.iter().copied(), fold_ascii);
    long.is_some_and(is_long) || short_name(entry, |short| short.eq_ignore_ascii_case(name))
}

/// Shows an entry's short name.
fn short_name<T>(entry: &ShortEntry, show: impl FnOnce(&str) -> T) -> T {
    let mut text = [0; short_name::DISPLAY_MAX];
    let length = short_name::display(&entry.name(), entry.nt_case(), decode, &mut text);
    show(str::from_utf8(&text[..length]).unwrap_or_default())
}

fn decode(byte: u8) -> char {
    Cp437.decode(byte)
}

fn corrupt(what: &'static str) -> HadrisError<block::Error> {
    HadrisError::new(HadrisKind::Corrupt, what)
}

fn convert(error: &HadrisError<block::Error>, path: &str) -> Error {
    let kind = match (error.device_error(), error.kind()) {
        (Some(error), _) => ErrorKind::Device(error.clone()),
        (None, HadrisKind::NotFound) => ErrorKind::NotFound,
        (None, HadrisKind::NotADirectory) => ErrorKind::WrongType,
        (None, HadrisKind::Unsupported) => ErrorKind::Feature(error.to_string()),
        (None, HadrisKind::LimitExceeded) => {
            ErrorKind::Feature(format!("a file in over {MAX_RUNS} pieces"))
        }
        (None, _) => ErrorKind::Corrupt(error.to_string()),
    };
    Error { kind, path: path.into() }
}

/// A volume as `hadris` wants it.
struct VolumeIo(Volume);

impl ErrorType for VolumeIo {
    type Error = block::Error;
}

impl HadrisDevice for VolumeIo {
    fn block_size(&self) -> BlockSize {
        const SIZE: BlockSize = BlockSize::new(512).expect("not zero");
        const { assert!(BLOCK_SIZE == 512) };
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
