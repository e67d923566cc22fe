//! Where the state record may be written, on cards with any partition table: never on a table, never
//! in somebody else's partition.
#![no_main]

use std::{cell::RefCell, collections::BTreeMap, ops::Range, rc::Rc};

use crc::{CRC_32_ISO_HDLC, Crc};
use firn::{
    block::{
        BLOCK_SIZE, BlockDevice, Error, ErrorKind, SharedDevice,
        partition::{self, TableKind},
    },
    state::{
        RECORD_BLOCKS,
        copies::Ground,
        place::{Front, find},
    },
};
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Of a partition of the record's own type, as it lies on the card.
const OWN: [u8; 16] = [
    0xd9, 0x97, 0x42, 0x24, 0xe6, 0xab, 0xc2, 0x4c, 0xb2, 0xdb, 0x30, 0xdf, 0xed, 0xd2, 0x8f, 0x6b,
];
/// Blocks at which something begins or ends.
const MARKS: [u64; 12] =
    [0, 1, 2, 34, 64, 0x1f00, 0x1f08, 0x2000, 0x3f00, 0x3f08, 0x4000, 0xffff_ffff];

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let mut card = Card { blocks: BTreeMap::new(), count: number(&mut input).max(4) };
    let mbr = mbr(&mut input, flags & 1 != 0, flags & 2 == 0);
    card.blocks.insert(0, mbr);
    if flags & 4 != 0 {
        for _ in 0..input.byte() % 4 {
            let at = number(&mut input);
            let link = mbr_block(&mut input);
            card.blocks.insert(at, link);
        }
    }
    let mut foreign = Vec::new();
    let mut tables = Vec::new();
    if flags & 1 != 0 {
        gpt(&mut card, &mut input, flags, &mut foreign, &mut tables);
    }
    let count = card.count;
    let device: SharedDevice = Rc::new(RefCell::new(card));
    let table = partition::scan(&device).expect("a card that can be read");
    table.problems.iter().for_each(|problem| drop(problem.to_string()));
    for partition in &table.partitions {
        let end = partition.start.checked_add(partition.block_count);
        assert!(partition.block_count > 0 && end.is_some_and(|end| end <= count));
    }
    let mut front: Front = [0; 2 * BLOCK_SIZE];
    device.borrow_mut().read(0, &mut front).expect("two blocks");
    let place = match find(&table, &front, count) {
        Ok(place) => place,
        Err(error) => return drop(error.to_string()),
    };
    assert_ne!(table.kind, TableKind::Whole);
    let copies = place.first_blocks.map(|first| first..first + RECORD_BLOCKS);
    assert!(!overlap(&copies[0], &copies[1]), "{copies:?}");
    for copy in &copies {
        assert!(copy.end <= count, "beyond the end");
        if table.kind == TableKind::Gpt {
            let touched = foreign.iter().chain(&tables).find(|other| overlap(copy, other));
            assert_eq!(touched, None, "{copy:?} is not the record's");
        } else {
            assert_eq!(place.ground, Ground::Gap);
            let records = front[446..510].chunks(16).filter(|record| record[4] != 0);
            for record in records.filter(|record| record[4] != 0xee) {
                let start = u64::from(Input(&record[8..]).u32());
                assert!(copy.end <= start, "behind the start of a partition");
            }
        }
    }
});

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// A number of blocks: near to one that means something, or any.
fn number(input: &mut Input<'_>) -> u64 {
    let (choice, offset) = (usize::from(input.byte()), i64::from(input.byte() as i8));
    match MARKS.get(choice % 16) {
        Some(mark) => mark.saturating_add_signed(offset),
        None => u64::from(input.u32()),
    }
}

fn mbr(input: &mut Input<'_>, protective: bool, signed: bool) -> [u8; BLOCK_SIZE] {
    let mut block = mbr_block(input);
    if protective {
        block[446..462]
            .copy_from_slice(&[0, 0, 2, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]);
    }
    if !signed {
        block[510..].fill(0);
    }
    block
}

/// Four records.
fn mbr_block(input: &mut Input<'_>) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    for record in block[446..510].chunks_mut(16) {
        let kind = input.byte();
        if kind == 0 {
            continue;
        }
        record[4] = [0x83, 0x0c, 0x05, 0x0f, 0x85, 0xee][usize::from(kind) % 6];
        record[8..12].copy_from_slice(&(number(input) as u32).to_le_bytes());
        record[12..16].copy_from_slice(&(number(input) as u32).to_le_bytes());
    }
    block[510..].copy_from_slice(&[0x55, 0xaa]);
    block
}

/// A GPT whose checksums hold, unless `flags` say otherwise. Notes what it gives to others.
fn gpt(
    card: &mut Card,
    input: &mut Input<'_>,
    flags: u8,
    foreign: &mut Vec<Range<u64>>,
    tables: &mut Vec<Range<u64>>,
) {
    let entry_size = 128u32 << (input.byte() % 4 / 2);
    let mut entries = Vec::new();
    let count = u32::from(input.byte());
    for _ in 0..count {
        let mut entry = vec![0; entry_size as usize];
        let kind = if input.is_empty() { 0 } else { input.byte() };
        if kind > 0 {
            let (start, last) = (number(input), number(input));
            let guid = if kind % 2 == 0 { OWN } else { [kind; 16] };
            entry[..16].copy_from_slice(&guid);
            entry[16] = kind;
            entry[32..40].copy_from_slice(&start.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            if kind % 2 != 0 && start <= last {
                foreign.push(start..last.saturating_add(1));
            }
        }
        entries.extend(entry);
    }
    let sum = CRC.checksum(&entries).wrapping_add(u32::from(flags & 8));
    let mut numbers = [(); 3].map(|()| number(input));
    if flags & 16 == 0 {
        numbers = [34, card.count.saturating_sub(34), 2];
    }
    let [first_usable, last_usable, entries_at] = numbers;
    let mut header = [0; BLOCK_SIZE];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    header[24] = 1;
    header[32..40].copy_from_slice(&(card.count - 1).to_le_bytes());
    header[40..48].copy_from_slice(&first_usable.to_le_bytes());
    header[48..56].copy_from_slice(&last_usable.to_le_bytes());
    header[72..80].copy_from_slice(&entries_at.to_le_bytes());
    header[80..84].copy_from_slice(&count.to_le_bytes());
    header[84..88].copy_from_slice(&entry_size.to_le_bytes());
    header[88..92].copy_from_slice(&sum.to_le_bytes());
    let sum = CRC.checksum(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    for (index, block) in entries.chunks(BLOCK_SIZE).enumerate() {
        let mut padded = [0; BLOCK_SIZE];
        padded[..block.len()].copy_from_slice(block);
        card.blocks.insert(entries_at.saturating_add(index as u64), padded);
    }
    // Last, so that no entry lies over it.
    card.blocks.insert(1, header);
    tables.push(0..2);
    tables.push(entries_at..entries_at.saturating_add(entries.len().div_ceil(BLOCK_SIZE) as u64));
}

/// A card of which most blocks are zero.
struct Card {
    blocks: BTreeMap<u64, [u8; BLOCK_SIZE]>,
    count: u64,
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        "card"
    }

    fn block_count(&self) -> u64 {
        self.count
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let blocks = (destination.len() / BLOCK_SIZE) as u64;
        if first_block.checked_add(blocks).is_none_or(|end| end > self.count) {
            let kind = ErrorKind::OutOfRange;
            return Err(Error { kind, device: "card".into(), block: first_block });
        }
        for (block, part) in (first_block..).zip(destination.chunks_mut(BLOCK_SIZE)) {
            match self.blocks.get(&block) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => part.fill(0),
            }
        }
        Ok(())
    }
}
