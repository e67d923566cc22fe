//! GUID partition tables (UEFI specification 2.10, section 5.3), through `gpt_disk_io`.

use alloc::{vec, vec::Vec};
use core::fmt;

use gpt_disk_io::{BlockIo, Disk, DiskError};
use gpt_disk_types::{
    BlockSize, GptHeader, GptPartitionEntry, GptPartitionEntryArrayLayout, GptPartitionEntrySize,
    Lba,
};

use super::{
    BLOCK_SIZE, Error, ErrorKind, SharedDevice,
    partition::{Partition, PartitionType, Problem, fit},
};

/// The usual table has 16 KiB; more than this is not a table.
const MAX_ARRAY_SIZE: u64 = 256 * 1024;
/// The only header size in use; `gpt_disk_types` computes its checksum over no other.
const HEADER_SIZE: u32 = 92;

/// What a device holds.
pub(super) enum Gpt {
    Primary(Table),
    Backup { table: Table, primary: Defect },
    Damaged { primary: Defect, backup: Defect },
}

/// The contents of one valid copy.
pub(super) struct Table {
    pub(super) partitions: Vec<Partition>,
    pub(super) problems: Vec<Problem>,
}

/// Why a copy of a GPT cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// No header where one belongs.
    NoSignature,
    /// The header's checksum is wrong.
    HeaderChecksum,
    /// The header names another block as its own place: it is a copy from elsewhere.
    Misplaced {
        /// The block that it names.
        names: u64,
    },
    /// A size of header that no tool writes.
    HeaderSize(u32),
    /// A size of entries that the specification forbids, or one larger than a table may be.
    EntrySize(u32),
    /// More entries than a table may have.
    EntryCount(u32),
    /// The entries are not on the device.
    EntriesOutside,
    /// The checksum of the entries is wrong.
    EntriesChecksum,
    /// It cannot be read.
    Unreadable(Error),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => f.write_str("no header"),
            Self::HeaderChecksum => f.write_str("wrong checksum of the header"),
            Self::Misplaced { names } => write!(f, "its header belongs to block {names}"),
            Self::HeaderSize(size) => write!(f, "a header of {size} bytes"),
            Self::EntrySize(size) => write!(f, "entries of {size} bytes"),
            Self::EntryCount(count) => write!(f, "{count} entries"),
            Self::EntriesOutside => f.write_str("its entries lie beyond the end of the card"),
            Self::EntriesChecksum => f.write_str("wrong checksum of the entries"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

/// Reads the primary copy, and the backup if that cannot be used. An error means that the card is
/// gone or silent, not that a copy is bad.
pub(super) fn read(device: &SharedDevice) -> Result<Gpt, Error> {
    let last_block = device.borrow().block_count().saturating_sub(1);
    let primary = match read_copy(device, 1)? {
        Ok(table) => return Ok(Gpt::Primary(table)),
        Err(defect) => defect,
    };
    match (read_copy(device, last_block)?, primary) {
        (Ok(table), primary) => Ok(Gpt::Backup { table, primary }),
        // Silent at both of its ends: it is the card.
        (Err(Defect::Unreadable(error)), Defect::Unreadable(_))
            if error.kind == ErrorKind::Timeout =>
        {
            Err(error)
        }
        (Err(backup), primary) => Ok(Gpt::Damaged { primary, backup }),
    }
}

/// Reads the copy whose header is at `block`. The outer error ends the search.
fn read_copy(device: &SharedDevice, block: u64) -> Result<Result<Table, Defect>, Error> {
    let result = try_copy(device, block);
    match result {
        Err(Defect::Unreadable(error))
            if !error.kind.is_about_a_block() && error.kind != ErrorKind::OutOfRange =>
        {
            Err(error)
        }
        other => Ok(other),
    }
}

fn try_copy(device: &SharedDevice, block: u64) -> Result<Table, Defect> {
    let device_blocks = device.borrow().block_count();
    let mut disk = Disk::new(DeviceIo(device)).map_err(unreadable)?;
    let mut header_block = [0; BLOCK_SIZE];
    let header = disk.read_gpt_header(Lba(block), &mut header_block).map_err(unreadable)?;
    let layout = check_header(&header, block, device_blocks)?;

    let size = layout.num_bytes_rounded_to_block_as_usize(BlockSize::BS_512);
    let mut storage = vec![0; size.ok_or(Defect::EntriesOutside)?];
    let entries = disk.read_gpt_partition_entry_array(layout, &mut storage).map_err(unreadable)?;
    if entries.calculate_crc32() != header.partition_entry_array_crc32 {
        return Err(Defect::EntriesChecksum);
    }

    let mut table = Table { partitions: Vec::new(), problems: Vec::new() };
    for number in 0..layout.num_entries {
        if let Some(entry) = entries.get_partition_entry(number).filter(|entry| entry.is_used()) {
            table.add(number + 1, entry, device_blocks);
        }
    }
    Ok(table)
}

/// Everything that must hold before the entries are read.
fn check_header(
    header: &GptHeader,
    block: u64,
    device_blocks: u64,
) -> Result<GptPartitionEntryArrayLayout, Defect> {
    if !header.is_signature_valid() {
        return Err(Defect::NoSignature);
    }
    let header_size = header.header_size.to_u32();
    if header_size != HEADER_SIZE {
        return Err(Defect::HeaderSize(header_size));
    }
    if header.calculate_header_crc32() != header.header_crc32 {
        return Err(Defect::HeaderChecksum);
    }
    let names = header.my_lba.to_u64();
    if names != block {
        return Err(Defect::Misplaced { names });
    }
    let entry_size = header.size_of_partition_entry.to_u32();
    let entry_count = header.number_of_partition_entries.to_u32();
    if GptPartitionEntrySize::new(entry_size).is_err() || u64::from(entry_size) > MAX_ARRAY_SIZE {
        return Err(Defect::EntrySize(entry_size));
    }
    let array_size = u64::from(entry_size) * u64::from(entry_count);
    if array_size > MAX_ARRAY_SIZE {
        return Err(Defect::EntryCount(entry_count));
    }
    let array_end = header
        .partition_entry_lba
        .to_u64()
        .checked_add(array_size.div_ceil(BLOCK_SIZE as u64))
        .ok_or(Defect::EntriesOutside)?;
    if array_end > device_blocks {
        return Err(Defect::EntriesOutside);
    }
    header.get_partition_entry_array_layout().map_err(|_| Defect::EntrySize(entry_size))
}

impl Table {
    fn add(&mut self, index: u32, entry: &GptPartitionEntry, device_blocks: u64) {
        let start = entry.starting_lba.to_u64();
        let end = entry.ending_lba.to_u64();
        let block_count = end.checked_sub(start).map_or(0, |blocks| blocks.saturating_add(1));
        let range = fit(start, block_count, device_blocks);
        if range.as_ref().is_none_or(|range| range.cut) {
            self.problems.push(Problem::OutOfRange { index });
        }
        let Some(range) = range else { return };
        let name = entry.name;
        let (type_guid, unique_guid) = (entry.partition_type_guid, entry.unique_partition_guid);
        let attributes = entry.attributes;
        self.partitions.push(Partition {
            index,
            start,
            block_count: range.block_count,
            name: name.chars().collect(),
            partition_type: PartitionType::Gpt(type_guid.0),
            partuuid: Some(alloc::format!("{unique_guid}")),
            bootable: attributes.legacy_bios_bootable(),
        });
    }
}

fn unreadable(error: DiskError<Error>) -> Defect {
    match error {
        DiskError::Io(error) => Defect::Unreadable(error),
        _ => Defect::EntriesOutside,
    }
}

/// A shared device as `gpt_disk_io` wants it.
struct DeviceIo<'a>(&'a SharedDevice);

impl BlockIo for DeviceIo<'_> {
    type Error = Error;

    fn block_size(&self) -> BlockSize {
        BlockSize::BS_512
    }

    fn num_blocks(&mut self) -> Result<u64, Error> {
        Ok(self.0.borrow().block_count())
    }

    fn read_blocks(&mut self, start: Lba, destination: &mut [u8]) -> Result<(), Error> {
        self.0.borrow_mut().read(start.to_u64(), destination)
    }

    fn write_blocks(&mut self, start: Lba, _source: &[u8]) -> Result<(), Error> {
        // Nothing here writes; the trait wants an answer.
        Err(Error {
            kind: ErrorKind::Unsupported,
            device: self.0.borrow().name().into(),
            block: start.to_u64(),
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
