//! Where the two copies lie on a card.
//!
//! Partitions of the record's own type, where there are any; else two fixed places in the gap
//! before the first partition. Everything that a table says is checked, because what comes of it is
//! written to: a copy never touches a partition of another type, nor a partition table.

use core::fmt;

use gpt_disk_types::{Guid, guid};

use super::{codec::RECORD_BLOCKS, copies::Ground};
use crate::{
    block::{
        BLOCK_SIZE,
        partition::{Partition, PartitionTable, PartitionType, Problem, TableKind},
    },
    error::{Code, Coded},
};

/// Type of a GPT partition that holds the record, or one copy of it. Random, and Firn's own.
pub const PARTITION_TYPE: Guid = guid!("249297d9-abe6-4cc2-b2db-30dfedd28f6b");

/// The places in the gap, in bytes: behind the first and behind the second flash.bin, 4 MiB apart, so
/// that no allocation unit of a card holds both.
pub const GAP_OFFSETS: [u64; 2] = [0x3e_0000, 0x7e_0000];

/// First blocks of the two copies. They do not overlap, and both are on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where [`Copy::A`](super::copies::Copy::A) and
    /// [`Copy::B`](super::copies::Copy::B) begin.
    pub first_blocks: [u64; 2],
    /// Whom the ground belongs to.
    pub ground: Ground,
}

/// Why a card has no place for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// One file system takes the whole card.
    NoTable,
    /// The table is damaged: what is free cannot be known.
    DamagedTable,
    /// The card ends before the second copy would.
    CardTooSmall,
    /// A partition begins at this block, before the end of the second copy.
    NoGap {
        /// The partition's first block.
        first: u64,
    },
    /// The partition table lies where the record would, or behind it.
    TableInPlace,
    /// The partitions of the record's type are too small, or others overlap them.
    UnusablePartition,
}

impl Coded for NoPlace {
    fn code(&self) -> Code {
        Code::StatePlace
    }
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place for the state record: ")?;
        match self {
            Self::NoTable => f.write_str("one file system takes the whole card"),
            Self::DamagedTable => f.write_str("the partition table is damaged; repair it"),
            Self::CardTooSmall => f.write_str("the card is smaller than 8 MiB"),
            Self::NoGap { first } => {
                write!(f, "the first partition begins at block {first}, before 8 MiB")
            }
            Self::TableInPlace => f.write_str("the partition table lies where the record would"),
            Self::UnusablePartition => write!(
                f,
                "the partitions of its type {PARTITION_TYPE} are smaller than {} blocks or overlap \
                 others",
                2 * RECORD_BLOCKS
            ),
        }
    }
}

impl core::error::Error for NoPlace {}

/// The card's first two blocks: the MBR, and the header of a GPT if there is one. They tell what
/// [`PartitionTable`] leaves out: where the tables end, and where an extended partition begins.
pub type Front = [u8; 2 * BLOCK_SIZE];

/// Finds the places on a device of `device_blocks` blocks that `table` was read from.
///
/// # Errors
/// [`NoPlace`]: the record must not be written to this card.
pub fn find(table: &PartitionTable, front: &Front, device_blocks: u64) -> Result<Place, NoPlace> {
    if table.kind == TableKind::Whole {
        let damaged = |problem: &Problem| matches!(problem, Problem::BothDamaged { .. });
        let damaged = table.problems.iter().any(damaged);
        return Err(if damaged { NoPlace::DamagedTable } else { NoPlace::NoTable });
    }
    let damaged = |problem: &Problem| matches!(problem, Problem::PrimaryDamaged(_));
    if table.problems.iter().any(damaged) {
        return Err(NoPlace::DamagedTable);
    }
    let place = match in_partitions(table)? {
        Some(first_blocks) => Place { first_blocks, ground: Ground::Own },
        None => Place { first_blocks: in_gap(table)?, ground: Ground::Gap },
    };
    let [a, b] = place.first_blocks;
    let fits =
        |first: u64| first.checked_add(RECORD_BLOCKS).is_some_and(|end| end <= device_blocks);
    if !fits(a) || !fits(b) {
        return Err(NoPlace::CardTooSmall);
    }
    check_tables(table.kind, front, place)?;
    Ok(place)
}

/// Two partitions hold a copy each, at their starts; a single one holds one copy at its start and
/// one at its end. `None` if there is no partition of the type.
fn in_partitions(table: &PartitionTable) -> Result<Option<[u64; 2]>, NoPlace> {
    let is_own =
        |partition: &&Partition| partition.partition_type == PartitionType::Gpt(PARTITION_TYPE);
    let mut own = table.partitions.iter().filter(is_own);
    let Some(first) = own.next() else { return Ok(None) };
    let first_blocks = match own.next() {
        Some(second) if second.block_count < RECORD_BLOCKS => None,
        Some(second) => Some([first.start, second.start]),
        None => first
            .block_count
            .checked_sub(RECORD_BLOCKS)
            .and_then(|distance| first.start.checked_add(distance).map(|last| [first.start, last])),
    };
    let first_blocks = first_blocks
        .filter(|[a, b]| first.block_count >= RECORD_BLOCKS && a.abs_diff(*b) >= RECORD_BLOCKS)
        .ok_or(NoPlace::UnusablePartition)?;
    let others = || table.partitions.iter().filter(|partition| !is_own(partition));
    let touched =
        |start: u64| others().any(|other| overlaps(start, other.start, other.block_count));
    match first_blocks.into_iter().any(touched) {
        true => Err(NoPlace::UnusablePartition),
        false => Ok(Some(first_blocks)),
    }
}

/// The gap's places, if no partition that is listed begins before their end.
fn in_gap(table: &PartitionTable) -> Result<[u64; 2], NoPlace> {
    let first_blocks = GAP_OFFSETS.map(|offset| offset / BLOCK_SIZE as u64);
    no_partition_before(first_blocks, table.partitions.iter().map(|partition| partition.start))?;
    Ok(first_blocks)
}

fn no_partition_before(copies: [u64; 2], starts: impl Iterator<Item = u64>) -> Result<(), NoPlace> {
    let end = copies[1] + RECORD_BLOCKS;
    match starts.min().filter(|&first| first < end) {
        Some(first) => Err(NoPlace::NoGap { first }),
        None => Ok(()),
    }
}

/// That no copy lies on a partition table, or on what only the MBR lists.
fn check_tables(kind: TableKind, front: &Front, place: Place) -> Result<(), NoPlace> {
    if place.ground == Ground::Gap {
        no_partition_before(place.first_blocks, mbr_starts(front))?;
    }
    if kind != TableKind::Gpt {
        return Ok(());
    }
    let gpt = GptHeader::read(front).ok_or(NoPlace::DamagedTable)?;
    let is_free = |copy: &u64| match place.ground {
        Ground::Gap => gpt.entries_end <= *copy,
        Ground::Own => {
            gpt.entries_end <= *copy
                && gpt.first_usable <= *copy
                && copy.checked_add(RECORD_BLOCKS - 1).is_some_and(|last| last <= gpt.last_usable)
        }
    };
    match place.first_blocks.iter().all(is_free) {
        true => Ok(()),
        false => Err(NoPlace::TableInPlace),
    }
}

/// Whether a copy that begins at `copy` has a block in common with a partition.
fn overlaps(copy: u64, start: u64, block_count: u64) -> bool {
    copy < start.saturating_add(block_count) && start < copy.saturating_add(RECORD_BLOCKS)
}

/// First blocks of what the MBR lists, extended partitions among them. The record that protects a
/// GPT is none.
fn mbr_starts(front: &Front) -> impl Iterator<Item = u64> {
    const RECORDS_AT: usize = 446;
    const TYPE_EMPTY: u8 = 0;
    const TYPE_PROTECTIVE: u8 = 0xee;
    let records = front[RECORDS_AT..BLOCK_SIZE - 2].chunks_exact(16);
    records.filter_map(|record| {
        let used = !matches!(record[4], TYPE_EMPTY | TYPE_PROTECTIVE);
        let start = record[8..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
        used.then_some(u64::from(start))
    })
}

/// What a GPT's header says of the blocks that are not for partitions (UEFI specification 2.10, table
/// 5.5). The entries may lie anywhere.
struct GptHeader {
    first_usable: u64,
    last_usable: u64,
    entries_end: u64,
}

impl GptHeader {
    fn read(front: &Front) -> Option<Self> {
        let header = &front[BLOCK_SIZE..];
        let u32_at = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        if !header.starts_with(b"EFI PART") {
            return None;
        }
        let bytes = u64::from(u32_at(80)?).checked_mul(u64::from(u32_at(84)?))?;
        let entries = u64_at(72)?;
        Some(Self {
            first_usable: u64_at(40)?,
            last_usable: u64_at(48)?,
            // The header is in block 1.
            entries_end: entries.max(2).checked_add(bytes.div_ceil(BLOCK_SIZE as u64))?,
        })
    }
}
