//! Master boot records, with the logical partitions in an extended one.
//!
//! Four records of 16 bytes at byte 446: flag, (CHS), type, (CHS), first block, number of blocks.
//! An extended partition holds a chain of blocks of the same form: the first record is a logical
//! partition, relative to its own block; the second is the next link, relative to the extended
//! partition's start.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::{
    BLOCK_SIZE, Error, ErrorKind, SharedDevice,
    partition::{Partition, PartitionTable, PartitionType, Problem, TableKind, fit},
};

const RECORDS_AT: usize = 446;
const RECORD_SIZE: usize = 16;
const SIGNATURE_AT: usize = 510;
const DISK_ID_AT: usize = 440;
const TYPE_EMPTY: u8 = 0;
const TYPE_PROTECTIVE: u8 = 0xee;
const FLAG_ACTIVE: u8 = 0x80;
/// Linux and `fdisk` stop long before.
const MAX_LOGICAL: u32 = 128;

/// What the first block of a device is.
pub(super) enum BootSector {
    /// A GPT's protective MBR, possibly a hybrid one: the GPT is what counts.
    Protective,
    /// A partition table.
    Mbr(Records),
    /// Blank, a file system's boot sector, or something unknown.
    Other,
}

/// A parsed master boot record.
pub(super) struct Records {
    disk_id: u32,
    records: [Record; 4],
}

#[derive(Clone, Copy)]
struct Record {
    flag: u8,
    system: u8,
    start: u32,
    block_count: u32,
}

impl Record {
    fn parse(block: &[u8; BLOCK_SIZE], number: usize) -> Self {
        let at = RECORDS_AT + number * RECORD_SIZE;
        Self {
            flag: block[at],
            system: block[at + 4],
            start: read_u32(block, at + 8),
            block_count: read_u32(block, at + 12),
        }
    }

    fn is_used(&self) -> bool {
        self.system != TYPE_EMPTY && self.block_count != 0
    }

    fn is_extended(&self) -> bool {
        matches!(self.system, 0x05 | 0x0f | 0x85)
    }
}

/// Tells a partition table from a boot sector, which ends in the same signature: a table's flags
/// are 0 or 0x80, and its partitions begin on the device and behind the table.
pub(super) fn parse(block: &[u8; BLOCK_SIZE], device_blocks: u64) -> BootSector {
    if block[SIGNATURE_AT..] != [0x55, 0xaa] {
        return BootSector::Other;
    }
    let records = [0, 1, 2, 3].map(|number| Record::parse(block, number));
    if records.iter().any(|record| record.flag & !FLAG_ACTIVE != 0) {
        return BootSector::Other;
    }
    if records.iter().any(|record| record.system == TYPE_PROTECTIVE) {
        return BootSector::Protective;
    }
    let used = || records.iter().filter(|record| record.is_used());
    let plausible =
        used().all(|record| record.start != 0 && u64::from(record.start) < device_blocks);
    if used().next().is_none() || !plausible {
        return BootSector::Other;
    }
    BootSector::Mbr(Records { disk_id: read_u32(block, DISK_ID_AT), records })
}

/// Lists primary, then logical partitions.
pub(super) fn partitions(
    device: &SharedDevice,
    records: &Records,
) -> Result<PartitionTable, Error> {
    let mut list = List {
        disk_id: records.disk_id,
        device_blocks: device.borrow().block_count(),
        table: PartitionTable {
            kind: TableKind::Mbr,
            partitions: Vec::new(),
            problems: Vec::new(),
        },
    };
    let mut extended = None;
    for (index, record) in (1..).zip(&records.records) {
        if record.is_used() && record.is_extended() {
            extended = extended.or(Some(u64::from(record.start)));
        } else if record.is_used() {
            list.add(index, 0, record);
        }
    }
    if let Some(start) = extended {
        list.add_logical(device, start)?;
    }
    Ok(list.table)
}

struct List {
    disk_id: u32,
    device_blocks: u64,
    table: PartitionTable,
}

impl List {
    fn add(&mut self, index: u32, base: u64, record: &Record) {
        let start = base + u64::from(record.start);
        let range = fit(start, u64::from(record.block_count), self.device_blocks);
        if range.as_ref().is_none_or(|range| range.cut) {
            self.table.problems.push(Problem::OutOfRange { index });
        }
        let Some(range) = range else { return };
        self.table.partitions.push(Partition {
            index,
            start,
            block_count: range.block_count,
            name: String::new(),
            partition_type: PartitionType::Mbr(record.system),
            partuuid: Some(format!("{:08x}-{index:02x}", self.disk_id)),
            bootable: record.flag == FLAG_ACTIVE,
        });
    }

    /// Follows the chain of the extended partition at `extended`.
    fn add_logical(&mut self, device: &SharedDevice, extended: u64) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut block = extended;
        for index in 5..5 + MAX_LOGICAL {
            let link = if seen.insert(block) { read_link(device, block)? } else { None };
            let Some((logical, next)) = link else {
                self.table.problems.push(Problem::LogicalChain { block });
                return Ok(());
            };
            if logical.is_used() {
                self.add(index, block, &logical);
            }
            if !next.is_used() || !next.is_extended() {
                return Ok(());
            }
            block = extended + u64::from(next.start);
        }
        self.table.problems.push(Problem::LogicalChain { block });
        Ok(())
    }
}

/// Reads a link of the chain; `None` if there is none at `block`.
fn read_link(device: &SharedDevice, block: u64) -> Result<Option<(Record, Record)>, Error> {
    let mut link = [0; BLOCK_SIZE];
    let result = device.borrow_mut().read(block, &mut link);
    match result {
        Ok(()) => {}
        Err(Error { kind, .. }) if kind.is_about_a_block() || kind == ErrorKind::OutOfRange => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let valid = link[SIGNATURE_AT..] == [0x55, 0xaa];
    Ok(valid.then(|| (Record::parse(&link, 0), Record::parse(&link, 1))))
}

fn read_u32(block: &[u8; BLOCK_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}
