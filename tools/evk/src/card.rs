//! Card images as they come from real tools: described in a few lines, made without root rights,
//! kept until the description changes.
//!
//! The first partition begins at 8 MiB: the gap in front of it belongs to the loader's own image
//! and its state record.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use firn::soc::boot_rom::CARD_OFFSET;

use rustix::fs::{FlockOperation, seek};

use crate::{
    crowd::Crowd,
    tool::{MCOPY, MKE2FS, MKFS_FAT, SFDISK},
    tree::Tree,
};

/// 1024 * 1024 bytes.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;

/// Bytes in a sector of every card.
pub const SECTOR: u64 = SECTOR_SIZE as u64;

const SECTOR_SIZE: usize = 512;

/// What files on a card say when they were written, in seconds since 1970.
const TIME: &str = "1771027200";

/// How long a card is kept that nobody asks for.
const KEPT_UNUSED: Duration = Duration::from_secs(12 * 3600);

const FIRST_PARTITION: u64 = 8 * MIB;

/// Changes when the way that cards are made changes, so that no old card is taken for a new one.
const MAKER: [&str; 2] = [include_str!("card.rs"), include_str!("crowd.rs")];

/// What divides the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// GUID partition table.
    Gpt,
    /// Master boot record with up to four primary partitions.
    Mbr,
}

/// What a partition is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// FAT with 32-bit entries.
    Fat32,
    /// FAT with 16-bit entries.
    Fat16,
    /// ext4 with the features that mke2fs 1.47 turns on unless told otherwise, as on NixOS.
    Ext4,
}

/// One partition.
#[derive(Clone, Debug, Hash)]
pub struct Partition {
    label: String,
    file_system: FileSystem,
    size: Option<u64>,
    tree: Tree,
    crowd: Option<Crowd>,
}

impl Partition {
    /// A partition that fills what is left of the card.
    pub fn new(file_system: FileSystem, label: &str, tree: Tree) -> Self {
        Self { label: label.into(), file_system, size: None, tree, crowd: None }
    }

    /// With a folder that has many entries more; ext4 only.
    #[must_use]
    pub fn crowded(mut self, crowd: Crowd) -> Self {
        self.crowd = Some(crowd);
        self
    }

    /// With a size in bytes.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }
}

/// Where damage is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// So many bytes from the card's start.
    Card(u64),
    /// So many bytes before the card's end.
    End(u64),
    /// So many bytes from the start of the partition with this index (from 0).
    Partition(usize, u64),
}

/// What damage leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filling {
    /// Zeros.
    Zeros,
    /// Bytes without order, always the same ones for the same seed.
    Noise(u64),
}

#[derive(Clone, Debug, Hash)]
struct Damage {
    place: Place,
    length: u64,
    filling: Filling,
}

/// The description of a card.
#[derive(Clone, Debug, Hash)]
pub struct Card {
    size: u64,
    table: Table,
    partitions: Vec<Partition>,
    flash: Option<Vec<u8>>,
    damages: Vec<Damage>,
}

impl Card {
    /// A 4 GiB card (SDHC) without partitions.
    pub fn new(table: Table) -> Self {
        Self { size: 4 * GIB, table, partitions: Vec::new(), flash: None, damages: Vec::new() }
    }

    /// With another size in bytes: a power of two, because QEMU refuses other ones. Up to 2 GiB it
    /// is an SDSC card, which counts in bytes instead of blocks.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = bytes;
        self
    }

    /// With one more partition, behind the others.
    #[must_use]
    pub fn partition(mut self, partition: Partition) -> Self {
        self.partitions.push(partition);
        self
    }

    /// With a flash.bin where the boot ROM looks first.
    #[must_use]
    pub fn flash(mut self, image: Vec<u8>) -> Self {
        self.flash = Some(image);
        self
    }

    /// With `length` bytes overwritten after everything was made.
    #[must_use]
    pub fn damaged(mut self, place: Place, length: u64, filling: Filling) -> Self {
        self.damages.push(Damage { place, length, filling });
        self
    }

    /// With all copies of the partition table gone.
    #[must_use]
    pub fn without_table(self) -> Self {
        self.damaged(Place::Card(0), 34 * SECTOR, Filling::Zeros).damaged(
            Place::End(33 * SECTOR),
            33 * SECTOR,
            Filling::Zeros,
        )
    }

    /// Makes the card below `cache` unless a card of this very description is there.
    pub fn make(&self, cache: &Path) -> Result<CardImage> {
        let extents = self.layout()?;
        let path = cache.join(format!("card-{:016x}.img", self.key()));
        fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let lock = File::create(path.with_extension("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        lock.set_modified(SystemTime::now())?;
        if !path.is_file() {
            let draft = path.with_extension("part");
            self.write_to(&draft, &extents)
                .with_context(|| format!("making the card image {}", path.display()))?;
            fs::rename(&draft, &path)?;
            remove_unused(cache)
                .with_context(|| format!("removing old cards from {}", cache.display()))?;
        }
        Ok(CardImage { path, extents })
    }

    fn key(&self) -> u64 {
        let mut state = DefaultHasher::new();
        MAKER.hash(&mut state);
        self.hash(&mut state);
        state.finish()
    }

    fn layout(&self) -> Result<Vec<Extent>> {
        ensure!(self.size.is_power_of_two(), "a card of {} bytes: not a power of two", self.size);
        // A GPT's second copy ends the card; partitions end on a MiB.
        let end = self.size.saturating_sub(MIB);
        let mut start = FIRST_PARTITION;
        self.partitions
            .iter()
            .map(|partition| {
                let room = end.saturating_sub(start);
                let length = partition.size.unwrap_or(room);
                ensure!(
                    length != 0 && length.is_multiple_of(MIB) && length <= room,
                    "partition {:?} of {length} bytes at {start} does not fit a card of {} bytes",
                    partition.label,
                    self.size
                );
                let extent = Extent { start, length };
                start += length;
                Ok(extent)
            })
            .collect()
    }

    fn write_to(&self, path: &Path, extents: &[Extent]) -> Result<()> {
        File::create(path)?.set_len(self.size)?;
        self.write_table(path, extents)?;
        for (partition, extent) in self.partitions.iter().zip(extents) {
            format(path, partition, *extent)
                .with_context(|| format!("partition {:?}", partition.label))?;
        }
        let mut file = OpenOptions::new().write(true).open(path)?;
        if let Some(flash) = &self.flash {
            let end = CARD_OFFSET + flash.len() as u64;
            ensure!(end <= FIRST_PARTITION, "flash.bin would end at {end:#x}, in a partition");
            file.seek(SeekFrom::Start(CARD_OFFSET))?;
            file.write_all(flash)?;
        }
        for damage in &self.damages {
            let offset = damage.place.offset(self.size, extents)?;
            ensure!(offset + damage.length <= self.size, "damage beyond the end of the card");
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&damage.filling.bytes(damage.length))?;
        }
        Ok(())
    }

    fn write_table(&self, path: &Path, extents: &[Extent]) -> Result<()> {
        // Fixed identifiers: the same description gives the same bytes.
        let mut script = match self.table {
            Table::Gpt => "label: gpt\nlabel-id: 0F1A2B3C-4D5E-4F60-8172-8394A5B6C7D8\n".to_owned(),
            Table::Mbr => "label: dos\nlabel-id: 0x2178694e\n".to_owned(),
        };
        for (index, (partition, extent)) in self.partitions.iter().zip(extents).enumerate() {
            script += &format!(
                "start={}, size={}, type={}",
                extent.start / SECTOR,
                extent.length / SECTOR,
                partition_type(self.table, partition.file_system)
            );
            if self.table == Table::Gpt {
                script += &format!(
                    ", name=\"{}\", uuid=0F1A2B3C-4D5E-4F60-8172-{:012X}",
                    partition.label,
                    index + 1
                );
            }
            script.push('\n');
        }
        SFDISK
            .call()
            .args(["--quiet", "--no-reread", "--no-tell-kernel"])
            .arg(path)
            .input(script)
            .run()?;
        Ok(())
    }
}

/// Removes cards that nobody has asked for in a while: descriptions change, their cards stay.
fn remove_unused(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.extension().is_none_or(|kind| kind != "lock") {
            continue;
        }
        let lock = File::open(&path)?;
        let age = lock.metadata()?.modified()?.elapsed().unwrap_or_default();
        let is_free = || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if age > KEPT_UNUSED && is_free() {
            for kind in ["img", "part", "lock"] {
                // Another process may be doing the same.
                let _ = fs::remove_file(path.with_extension(kind));
            }
        }
    }
    Ok(())
}

/// Type codes as `sfdisk` takes them. Source: UEFI specification, 5.3.3 (EFI system partition);
/// Discoverable Partitions Specification (arm64 root); MBR codes 0x0c and 0x83.
fn partition_type(table: Table, file_system: FileSystem) -> &'static str {
    match (table, file_system) {
        (Table::Gpt, FileSystem::Fat32 | FileSystem::Fat16) => {
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
        }
        (Table::Gpt, FileSystem::Ext4) => "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
        (Table::Mbr, FileSystem::Fat32) => "c",
        (Table::Mbr, FileSystem::Fat16) => "e",
        (Table::Mbr, FileSystem::Ext4) => "83, bootable",
    }
}

/// Makes the file system in a file of its own: not every tool copes with an offset into a card.
fn format(card: &Path, partition: &Partition, extent: Extent) -> Result<()> {
    let staging = tempfile::tempdir()?;
    partition.tree.write_to(staging.path())?;
    let folder = card.parent().context("a card without a folder")?;
    let image = tempfile::NamedTempFile::new_in(folder)?;
    image.as_file().set_len(extent.length)?;
    match partition.file_system {
        FileSystem::Fat32 => format_fat(image.path(), partition, staging.path(), "32")?,
        FileSystem::Fat16 => format_fat(image.path(), partition, staging.path(), "16")?,
        FileSystem::Ext4 => format_ext4(image.path(), partition, staging.path())?,
    }
    copy_data(image.path(), card, extent.start)
}

fn format_fat(image: &Path, partition: &Partition, staging: &Path, bits: &str) -> Result<()> {
    MKFS_FAT.call().args(["--invariant", "-F", bits, "-n", &partition.label]).arg(image).run()?;
    let mut entries: Vec<PathBuf> =
        fs::read_dir(staging)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    if !entries.is_empty() {
        MCOPY
            .call()
            .env("SOURCE_DATE_EPOCH", TIME)
            .args(["-s", "-Q", "-i"])
            .arg(image)
            .args(entries)
            .arg("::/")
            .run()?;
    }
    Ok(())
}

/// What mke2fs 1.47 as released does without options; distributions of the host differ in it.
/// Source: e2fsprogs 1.47, misc/mke2fs.conf.
const MKE2FS_CONFIGURATION: &str = "[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,\
dir_nlink,extra_isize,orphan_file
}
";

fn format_ext4(image: &Path, partition: &Partition, staging: &Path) -> Result<()> {
    let configuration = tempfile::NamedTempFile::new()?;
    fs::write(configuration.path(), MKE2FS_CONFIGURATION)?;
    // With the feature, e2fsck indexes what it repairs.
    let unindexed = partition.crowd.as_ref().is_some_and(|crowd| !crowd.indexed);
    MKE2FS
        .call()
        .env("MKE2FS_CONFIG", configuration.path())
        .env("E2FSPROGS_FAKE_TIME", TIME)
        .args(["-q", "-F", "-t", "ext4", "-L", &partition.label])
        .args(["-U", "44444444-4444-4444-8888-888888888888"])
        .arg("-E")
        .arg(
            "root_owner=0:0,hash_seed=44444444-4444-4444-8888-888888888888,\
             lazy_itable_init=1,lazy_journal_init=1",
        )
        .args(["-O", if unindexed { "^dir_index" } else { "dir_index" }])
        .arg("-d")
        .arg(staging)
        .arg(image)
        .run()?;
    partition.crowd.as_ref().map_or(Ok(()), |crowd| crowd.fill(image))
}

/// Copies what is not a hole in `source` to `offset` in `target`.
fn copy_data(source: &Path, target: &Path, offset: u64) -> Result<()> {
    let mut from = File::open(source)?;
    let mut to = OpenOptions::new().write(true).open(target)?;
    for data in data_ranges(&from)? {
        from.seek(SeekFrom::Start(data.start))?;
        to.seek(SeekFrom::Start(offset + data.start))?;
        std::io::copy(&mut Read::by_ref(&mut from).take(data.end - data.start), &mut to)?;
    }
    Ok(())
}

/// Where a file is not a hole: cards mostly are.
pub(crate) fn data_ranges(file: &File) -> Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut position = 0;
    loop {
        let start = match seek(file, rustix::fs::SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        };
        position = seek(file, rustix::fs::SeekFrom::Hole(start))?;
        ranges.push(start..position);
    }
}

impl Place {
    fn offset(self, card: u64, extents: &[Extent]) -> Result<u64> {
        match self {
            Place::Card(offset) => Ok(offset),
            Place::End(distance) => {
                card.checked_sub(distance).context("damage before the start of the card")
            }
            Place::Partition(index, offset) => {
                let extent =
                    extents.get(index).context("damage in a partition that is not there")?;
                Ok(extent.start + offset)
            }
        }
    }
}

impl Filling {
    pub(crate) fn bytes(self, length: u64) -> Vec<u8> {
        match self {
            Filling::Zeros => (0..length).map(|_| 0).collect(),
            Filling::Noise(seed) => {
                let mut state = seed;
                (0..length).map(|_| splitmix(&mut state).to_le_bytes()[0]).collect()
            }
        }
    }
}

/// The next number of the SplitMix64 sequence.
/// Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Where a partition lies on the card, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Of its first byte, from the card's start.
    pub start: u64,
    /// Of all of it.
    pub length: u64,
}

/// A card image that was made.
#[derive(Clone, Debug)]
pub struct CardImage {
    path: PathBuf,
    extents: Vec<Extent>,
}

impl CardImage {
    /// The image file. It is shared with whoever asks for the same card: boot it as it is, or copy
    /// it first.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its partitions, in order.
    pub fn partitions(&self) -> &[Extent] {
        &self.extents
    }

    /// Which sectors are not empty.
    pub fn used(&self) -> Result<Vec<Range<u64>>> {
        let ranges = data_ranges(&File::open(&self.path)?)?;
        let sectors = |data: Range<u64>| data.start / SECTOR..data.end.div_ceil(SECTOR);
        Ok(ranges.into_iter().map(sectors).collect())
    }

    /// A copy that may be written to, and is gone with the value.
    pub fn copy(&self) -> Result<tempfile::TempPath> {
        let folder = self.path.parent().context("a card without a folder")?;
        let copy = tempfile::Builder::new().prefix("copy-").suffix(".img").tempfile_in(folder)?;
        copy.as_file().set_len(fs::metadata(&self.path)?.len())?;
        copy_data(&self.path, copy.path(), 0)?;
        Ok(copy.into_temp_path())
    }

    /// The first sector that begins with `needle`, at least 16 bytes of it: where a file's data
    /// lies, as long as no other one begins alike.
    pub fn sector_beginning_with(&self, needle: &[u8]) -> Result<u64> {
        ensure!((16..=512).contains(&needle.len()), "a sector is known by 16 to 512 bytes");
        let mut file = File::open(&self.path)?;
        let mut sector = [0; SECTOR_SIZE];
        for data in data_ranges(&file)? {
            let mut position = data.start / SECTOR * SECTOR;
            file.seek(SeekFrom::Start(position))?;
            let mut reader = std::io::BufReader::with_capacity(1 << 20, &file);
            while position < data.end {
                reader.read_exact(&mut sector)?;
                if sector.starts_with(needle) {
                    return Ok(position / SECTOR);
                }
                position += SECTOR;
            }
        }
        bail!("no sector of {} begins like that", self.path.display())
    }
}
