//! Whether a flash.bin fits into the gap that a card's partitions leave.

use std::{cell::RefCell, ops::Range, path::Path, rc::Rc};

use anyhow::{Context as _, Result, bail, ensure};
use firn::{
    block::{
        BLOCK_SIZE, SharedDevice,
        partition::{self, Partition, PartitionTable, Problem, TableKind},
        volume::Volume,
    },
    fs::{self, ErrorKind},
};

use crate::file_device::FileDevice;

const BLOCK: u64 = BLOCK_SIZE as u64;
/// What a GPT takes at the end of a card: 128 entries of 128 bytes, and a header.
const BACKUP_GPT_BLOCKS: u64 = 33;
/// How [`fs::mount`] begins to tell what it knows and cannot mount.
const KNOWN: &str = "this is ";
/// Names of GPT partitions that keep the place of a boot image.
const OWN_NAMES: [&str; 4] = ["firn", "bootloader", "u-boot", "uboot"];

/// Refuses a range of bytes that is not free.
pub(crate) fn check(card: &Path, range: Range<u64>) -> Result<()> {
    let shown = card.display();
    let device = FileDevice::open(card).with_context(|| format!("cannot read {shown}"))?;
    let device: SharedDevice = Rc::new(RefCell::new(device));
    let table = partition::scan(&device).with_context(|| format!("cannot read {shown}"))?;
    if let Some(problem @ Problem::BothDamaged { .. }) = table.problems.first() {
        bail!("{shown}: {problem}; what is on it cannot be told");
    }
    match table.kind {
        TableKind::Whole => check_whole(&device)?,
        TableKind::Gpt => check_gpt(&device, &range)?,
        TableKind::Mbr => check_extended(&device, &range)?,
    }
    check_partitions(&table, &range)
}

/// A card without partitions is free if nobody has put a file system on all of it.
fn check_whole(device: &SharedDevice) -> Result<()> {
    let found = match fs::mount(Volume::whole(device.clone())) {
        Ok(_) => "a file system".to_owned(),
        Err(error) => match error.kind {
            // Nothing that is known by its marks.
            ErrorKind::Unknown(what) if !what.starts_with(KNOWN) => return Ok(()),
            ErrorKind::Unknown(what) => what[KNOWN.len()..].to_owned(),
            _ => error.to_string(),
        },
    };
    bail!("the whole device holds {found}, which a boot image would damage; partition it first")
}

fn check_partitions(table: &PartitionTable, range: &Range<u64>) -> Result<()> {
    if table.kind == TableKind::Whole {
        return Ok(());
    }
    for partition in &table.partitions {
        let start = partition.start * BLOCK;
        let end = start.saturating_add(partition.block_count.saturating_mul(BLOCK));
        let free = range.end <= start || end <= range.start;
        ensure!(
            free || keeps_place(partition, start..end, range),
            "partition {} lies at {start:#x} to {end:#x} and would be overwritten from {:#x} to \
             {:#x}; make one that begins at 8 MiB or behind",
            partition.index,
            range.start,
            range.end
        );
    }
    Ok(())
}

/// A partition that somebody has made for the boot image.
fn keeps_place(partition: &Partition, place: Range<u64>, range: &Range<u64>) -> bool {
    let name = partition.name.to_ascii_lowercase();
    let own = OWN_NAMES.iter().any(|own| name.starts_with(own));
    own && place.start == range.start && range.end <= place.end
}

/// The table itself: one with more than the usual 128 entries, or moved ones, may reach far.
fn check_gpt(device: &SharedDevice, range: &Range<u64>) -> Result<()> {
    let header = read_block(device, 1)?;
    let u32_at = |at: usize| header[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    let u64_at = |at: usize| header[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    // Source: UEFI specification 2.10, table 5.5. A damaged header is not believed; its table is
    // then where every tool puts it.
    let (start, size) = match header.starts_with(b"EFI PART") {
        true => (u64_at(72), u64::from(u32_at(80)) * u64::from(u32_at(84))),
        false => (2, 128 * 128),
    };
    let entries = start.saturating_mul(BLOCK)..start.saturating_mul(BLOCK).saturating_add(size);
    ensure!(
        range.end <= entries.start || entries.end <= range.start,
        "the GPT's entries lie at {:#x} to {:#x} and would be overwritten",
        entries.start,
        entries.end
    );
    let backup = device.borrow().block_count().saturating_sub(BACKUP_GPT_BLOCKS) * BLOCK;
    ensure!(range.end <= backup, "the GPT's copy at the card's end would be overwritten");
    Ok(())
}

/// Extended partitions: their links lie between the logical ones.
fn check_extended(device: &SharedDevice, range: &Range<u64>) -> Result<()> {
    let table = read_block(device, 0)?;
    for record in table[446..510].chunks_exact(16) {
        let number = |at: usize| record[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let start = u64::from(number(8)) * BLOCK;
        let end = start + u64::from(number(12)) * BLOCK;
        let extended = matches!(record[4], 0x05 | 0x0f | 0x85);
        ensure!(
            !extended || range.end <= start || end <= range.start,
            "an extended partition lies at {start:#x} to {end:#x} and would be overwritten"
        );
    }
    Ok(())
}

fn read_block(device: &SharedDevice, block: u64) -> Result<[u8; BLOCK_SIZE]> {
    let mut bytes = [0; BLOCK_SIZE];
    device.borrow_mut().read(block, &mut bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(bytes)
}
