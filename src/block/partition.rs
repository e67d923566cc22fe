//! What is on a card: a GPT, an MBR, or one file system without a partition table.
//!
//! Nothing in a table is believed before it was checked against the size of the device. What was
//! wrong but could be worked around comes back as a [`Problem`], for the user to see.

use alloc::{string::String, vec, vec::Vec};
use core::fmt;

use gpt_disk_types::Guid;

use super::{
    BLOCK_SIZE, Error, SharedDevice,
    gpt::{self, Gpt},
    mbr::{self, BootSector},
};
use crate::error::{Code, Coded};

pub use gpt::Defect as GptDefect;

/// A partition, all of it on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The number that Linux gives it: the 2 of `mmcblk1p2`. 0 for a whole card.
    pub index: u32,
    /// First block.
    pub start: u64,
    /// Number of blocks, at least 1.
    pub block_count: u64,
    /// GPT's name of the partition; empty elsewhere.
    pub name: String,
    /// What the table says it holds.
    pub partition_type: PartitionType,
    /// The PARTUUID that Linux and `blkid` know it by.
    pub partuuid: Option<String>,
    /// Marked as the one to boot from: GPT's "legacy BIOS bootable", MBR's 0x80.
    pub bootable: bool,
}

/// What a table says a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// GPT partition type.
    Gpt(Guid),
    /// MBR system indicator.
    Mbr(u8),
    /// No table, no type.
    Whole,
}

/// How a card is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// GUID partition table.
    Gpt,
    /// Master boot record.
    Mbr,
    /// No partition table; the only "partition" is the whole card.
    Whole,
}

/// The partitions of a device, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// How the device is divided.
    pub kind: TableKind,
    /// The partitions; one if there is no table.
    pub partitions: Vec<Partition>,
    /// What is wrong with the table and was worked around.
    pub problems: Vec<Problem>,
}

/// Something wrong with a partition table, worked around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no partition table. Of interest only if the card holds no file system either.
    NoTable,
    /// The primary GPT is damaged; its backup is used.
    PrimaryDamaged(GptDefect),
    /// Both copies of the GPT are damaged.
    BothDamaged {
        /// What is wrong with the primary.
        primary: GptDefect,
        /// What is wrong with the backup.
        backup: GptDefect,
    },
    /// A GPT without the protective MBR that keeps other tools off it.
    NoProtectiveMbr,
    /// The first block cannot be read; the GPT behind it, or its backup, is used.
    FirstBlock(Error),
    /// A partition lies (partly) beyond the end of the device, or ends before it starts. What is
    /// left of it, if anything, is used.
    OutOfRange {
        /// Its number.
        index: u32,
    },
    /// The chain of logical partitions is broken; those found before are used.
    LogicalChain {
        /// The block of the broken link.
        block: u64,
    },
}

impl Coded for Problem {
    fn code(&self) -> Code {
        match self {
            Self::NoTable => Code::NoPartitions,
            Self::FirstBlock(error) => error.code(),
            _ => Code::PartitionTableCorrupt,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("no partition table"),
            Self::PrimaryDamaged(defect) => write!(
                f,
                "the primary GPT is damaged ({defect}); its backup at the end of the card is used. \
                 `fdisk` on the card, then `w`, repairs it"
            ),
            Self::BothDamaged { primary, backup } => {
                write!(f, "both copies of the GPT are damaged: primary {primary}; backup {backup}")
            }
            Self::NoProtectiveMbr => f.write_str("the GPT has no protective MBR"),
            Self::FirstBlock(error) => {
                write!(f, "{error}; the GPT behind it is used; replace the card")
            }
            Self::OutOfRange { index } => {
                write!(
                    f,
                    "partition {index} reaches beyond the end of the card; is the card smaller \
                     than its image?"
                )
            }
            Self::LogicalChain { block } => {
                write!(f, "the chain of logical partitions breaks at block {block}")
            }
        }
    }
}

/// Reads the partition table of `device`. A damaged table is not an error but a [`Problem`]; only a
/// device that cannot be read at all is.
pub fn scan(device: &SharedDevice) -> Result<PartitionTable, Error> {
    let mut first = [0; BLOCK_SIZE];
    let read = device.borrow_mut().read(0, &mut first);
    if let Err(error) = read {
        return scan_behind_first_block(device, error);
    }
    let boot_sector = mbr::parse(&first, device.borrow().block_count());
    match boot_sector {
        BootSector::Protective => {
            let gpt = gpt::read(device)?;
            Ok(from_gpt(device, gpt, Vec::new()))
        }
        BootSector::Mbr(records) => mbr::partitions(device, &records),
        BootSector::Other => scan_without_mbr(device),
    }
}

/// A GPT whose protective MBR was overwritten, or no partition table at all. The backup of a GPT
/// counts only where the front of the card is blank: it may be left over from before the card was
/// formatted as a whole.
fn scan_without_mbr(device: &SharedDevice) -> Result<PartitionTable, Error> {
    let gpt = gpt::read(device)?;
    let believed = match &gpt {
        Gpt::Primary(_) => true,
        Gpt::Backup { .. } => front_is_blank(device)?,
        Gpt::Damaged { .. } => false,
    };
    if believed {
        return Ok(from_gpt(device, gpt, vec![Problem::NoProtectiveMbr]));
    }
    Ok(whole_device(device, Problem::NoTable))
}

/// A card whose first block cannot be read: a GPT keeps nothing there that is needed, and its header
/// or its backup (UEFI 5.3.2) tells that it is one. A backup behind a readable block that is no header
/// may be left over from before the card was formatted as a whole.
fn scan_behind_first_block(device: &SharedDevice, error: Error) -> Result<PartitionTable, Error> {
    if !error.kind.is_about_a_block() {
        return Err(error);
    }
    match gpt::read(device) {
        Ok(Gpt::Backup { primary: GptDefect::NoSignature, .. } | Gpt::Damaged { .. }) | Err(_) => {
            Err(error)
        }
        Ok(gpt) => Ok(from_gpt(device, gpt, vec![Problem::FirstBlock(error)])),
    }
}

fn from_gpt(device: &SharedDevice, gpt: Gpt, mut problems: Vec<Problem>) -> PartitionTable {
    let table = match gpt {
        Gpt::Primary(table) => table,
        Gpt::Backup { table, primary } => {
            problems.push(Problem::PrimaryDamaged(primary));
            table
        }
        Gpt::Damaged { primary, backup } => {
            return whole_device(device, Problem::BothDamaged { primary, backup });
        }
    };
    problems.extend(table.problems);
    PartitionTable { kind: TableKind::Gpt, partitions: table.partitions, problems }
}

fn whole_device(device: &SharedDevice, problem: Problem) -> PartitionTable {
    let whole = Partition {
        index: 0,
        start: 0,
        block_count: device.borrow().block_count(),
        name: String::new(),
        partition_type: PartitionType::Whole,
        partuuid: None,
        bootable: false,
    };
    PartitionTable { kind: TableKind::Whole, partitions: vec![whole], problems: vec![problem] }
}

/// Whether the first 2 KiB, where a FAT or ext4 file system without partition table would have its
/// superblock, are all zero.
fn front_is_blank(device: &SharedDevice) -> Result<bool, Error> {
    let mut front = [0; 4 * BLOCK_SIZE];
    device.borrow_mut().read(0, &mut front)?;
    Ok(front.iter().all(|&byte| byte == 0))
}

/// Cuts a partition to the device. `None` if nothing of it is there.
pub(super) fn fit(start: u64, block_count: u64, device_blocks: u64) -> Option<Range> {
    let available = device_blocks.checked_sub(start)?;
    let fitting = block_count.min(available);
    (fitting > 0).then_some(Range { block_count: fitting, cut: fitting < block_count })
}

/// A partition's extent after [`fit`].
pub(super) struct Range {
    pub(super) block_count: u64,
    pub(super) cut: bool,
}
