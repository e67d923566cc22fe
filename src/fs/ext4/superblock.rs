//! The superblock: what it must say before anything else is believed.
//!
//! Field offsets and feature bits: the kernel's `Documentation/filesystems/ext4/super.rst`.

use alloc::{format, string::String};

use super::{
    super::ErrorKind,
    bytes::{Crc32c, le16, le32, wide},
};

/// Where it is on the volume, in bytes.
pub(super) const AT: u64 = 1024;
/// Its size in bytes.
pub(super) const SIZE: usize = 1024;

/// A superblock's bytes.
pub(super) type Bytes = [u8; SIZE];

/// 16 TiB of 4 KiB blocks; `ext4-view` keeps all descriptors in memory.
const MAX_GROUPS: u64 = 1 << 17;
/// 64 KiB, the largest block that mke2fs makes.
const MAX_LOG_BLOCK_SIZE: u32 = 6;

const INCOMPAT_AT: usize = 0x60;
const RO_COMPAT_AT: usize = 0x64;
const CHECKSUM_AT: usize = 0x3fc;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_ENCRYPT: u32 = 0x10000;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// huge_file, uninit_bg, dir_nlink, extra_isize, bigalloc, metadata_csum
const RO_COMPAT_EXT4: u32 = 0x8 | 0x10 | 0x20 | 0x40 | 0x200 | RO_COMPAT_METADATA_CSUM;

/// What `ext4-view` and this adapter read.
const READABLE: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_FLEX_BG
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_ENCRYPT;

/// The names of the other incompatible features, as `mke2fs` and `tune2fs` know them.
const UNREADABLE: [(u32, &str); 9] = [
    (0x1, "compression"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x100, "mmp"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x20000, "casefold"),
];

/// The part of a superblock that this adapter needs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Bytes in a block, a power of two from 1 KiB to 64 KiB.
    pub(super) block_size: u32,
    /// Blocks of the file system, all of them on the volume.
    pub(super) block_count: u64,
    /// Inodes of the file system.
    pub(super) inode_count: u32,
    /// Inodes of a group, not zero.
    pub(super) inodes_per_group: u32,
    /// Bytes of an inode, a power of two from 128 to the block size.
    pub(super) inode_size: u16,
    /// Bytes of a group descriptor, a power of two from 32 to the block size.
    pub(super) descriptor_size: u16,
    /// Whether block numbers have 64 bits.
    pub(super) is_64bit: bool,
    /// Seed of metadata's checksums, if it has them.
    pub(super) checksum_seed: Option<Crc32c>,
    /// The journal's inode, if there is something in it to replay.
    pub(super) dirty_journal: Option<u32>,
    /// "ext2", "ext3" or "ext4".
    pub(super) kind: &'static str,
}

impl Superblock {
    /// Reads and checks a superblock of a volume of `volume_size` bytes.
    pub(super) fn parse(bytes: &Bytes, volume_size: u64) -> Result<Self, ErrorKind> {
        let compat = le32(bytes, 0x5c);
        let incompat = le32(bytes, INCOMPAT_AT);
        let ro_compat = le32(bytes, RO_COMPAT_AT);
        check_features(incompat)?;
        let has_checksums = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
        if has_checksums && checksum(bytes) != le32(bytes, CHECKSUM_AT) {
            return Err(corrupt("wrong checksum of the superblock"));
        }

        let log_block_size = le32(bytes, 0x18);
        if log_block_size > MAX_LOG_BLOCK_SIZE {
            return Err(ErrorKind::Corrupt(format!("blocks of 2^(10+{log_block_size}) bytes")));
        }
        let block_size = 1024 << log_block_size;
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let high = if is_64bit { le32(bytes, 0x150) } else { 0 };
        let block_count = wide(high, le32(bytes, 0x4));
        check_size(block_count, block_size, volume_size)?;
        check_groups(bytes, block_count)?;

        let inodes_per_group = le32(bytes, 0x28);
        if inodes_per_group == 0 {
            return Err(corrupt("groups without inodes"));
        }
        let inode_size = le16(bytes, 0x58);
        if !is_part_size(inode_size, 128, block_size) {
            return Err(ErrorKind::Corrupt(format!("inodes of {inode_size} bytes")));
        }
        let descriptor_size = if is_64bit { le16(bytes, 0xfe) } else { 32 };
        let least = if is_64bit { 64 } else { 32 };
        if !is_part_size(descriptor_size, least, block_size) {
            return Err(ErrorKind::Corrupt(format!("descriptors of {descriptor_size} bytes")));
        }

        let seed = if incompat & INCOMPAT_CSUM_SEED != 0 {
            Crc32c(le32(bytes, 0x270))
        } else {
            Crc32c::START.over(&bytes[0x68..0x78])
        };
        let has_journal = compat & COMPAT_HAS_JOURNAL != 0;
        let is_dirty = has_journal && incompat & INCOMPAT_RECOVER != 0;
        Ok(Self {
            block_size,
            block_count,
            inode_count: le32(bytes, 0x0),
            inodes_per_group,
            inode_size,
            descriptor_size,
            is_64bit,
            checksum_seed: has_checksums.then_some(seed),
            dirty_journal: is_dirty.then(|| le32(bytes, 0xe0)),
            kind: kind(has_journal, incompat, ro_compat),
        })
    }
}

/// Makes of `bytes` a superblock that is clean and has no checksums of metadata, for `ext4-view`.
pub(super) fn simplify(bytes: &mut Bytes) {
    for (at, feature) in [(INCOMPAT_AT, INCOMPAT_RECOVER), (RO_COMPAT_AT, RO_COMPAT_METADATA_CSUM)]
    {
        let features = le32(bytes, at) & !feature;
        bytes[at..at + 4].copy_from_slice(&features.to_le_bytes());
    }
}

fn checksum(bytes: &Bytes) -> u32 {
    Crc32c::START.over(&bytes[..CHECKSUM_AT]).0
}

fn check_features(incompat: u32) -> Result<(), ErrorKind> {
    let mut names = String::new();
    let mut unnamed = incompat & !READABLE;
    for (bit, name) in UNREADABLE {
        if unnamed & bit != 0 {
            unnamed &= !bit;
            names = if names.is_empty() { name.into() } else { format!("{names}, {name}") };
        }
    }
    if unnamed != 0 {
        let comma = if names.is_empty() { "" } else { ", " };
        names = format!("{names}{comma}unknown features {unnamed:#x}");
    }
    if !names.is_empty() {
        return Err(ErrorKind::Feature(names));
    }
    if incompat & INCOMPAT_FILETYPE == 0 {
        return Err(ErrorKind::Feature("directories without filetype".into()));
    }
    Ok(())
}

fn check_size(block_count: u64, block_size: u32, volume_size: u64) -> Result<(), ErrorKind> {
    let available = volume_size / u64::from(block_size);
    if block_count > available {
        return Err(ErrorKind::Corrupt(format!(
            "it has {block_count} blocks, its partition only {available}; was the image cut short?"
        )));
    }
    Ok(())
}

/// Whether the number of groups is one that can be.
fn check_groups(bytes: &Bytes, block_count: u64) -> Result<(), ErrorKind> {
    let per_group = u64::from(le32(bytes, 0x20));
    let data_blocks = block_count.checked_sub(u64::from(le32(bytes, 0x14)));
    match data_blocks.and_then(|blocks| blocks.checked_add(per_group)?.checked_div(per_group)) {
        Some(groups) if groups <= MAX_GROUPS => Ok(()),
        _ => Err(ErrorKind::Corrupt(format!("{block_count} blocks in groups of {per_group}"))),
    }
}

/// Whether structures of `size` bytes fill a block without a rest.
fn is_part_size(size: u16, least: u16, block_size: u32) -> bool {
    size.is_power_of_two() && size >= least && u32::from(size) <= block_size
}

fn kind(has_journal: bool, incompat: u32, ro_compat: u32) -> &'static str {
    let newer = INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG;
    if incompat & newer != 0 || ro_compat & RO_COMPAT_EXT4 != 0 {
        "ext4"
    } else if has_journal {
        "ext3"
    } else {
        "ext2"
    }
}

fn corrupt(what: &str) -> ErrorKind {
    ErrorKind::Corrupt(what.into())
}
