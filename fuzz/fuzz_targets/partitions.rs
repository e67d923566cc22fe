//! Partition tables of any bytes: what they give lies on the card and has numbers of its own, and
//! finding it takes a bounded number of reads.
#![no_main]

use std::{collections::BTreeSet, rc::Rc};

use crc::{CRC_32_ISO_HDLC, Crc};
use firn::block::{BLOCK_SIZE, partition::scan, volume::Volume};
use firn_fuzz::{
    disk::{Card, Image, Specimens, Structure},
    input::Input,
};
use libfuzzer_sys::fuzz_target;

const IMAGES: [&[u8]; 2] = [
    include_bytes!("../../tests/fixtures/gpt.image"),
    include_bytes!("../../tests/fixtures/mbr.image"),
];

/// Four records, and the signature: status, type, first block, blocks.
const MBR: &[(u16, u8)] = &[
    (446, 1),
    (450, 1),
    (454, 4),
    (458, 4),
    (466, 1),
    (470, 4),
    (474, 4),
    (482, 1),
    (486, 4),
    (490, 4),
    (498, 1),
    (502, 4),
    (506, 4),
    (510, 2),
];
/// UEFI specification 2.10, 5.3.2 "GPT Header".
const HEADER: &[(u16, u8)] = &[
    (0, 4),
    (8, 4),
    (12, 4),
    (16, 4),
    (24, 4),
    (28, 4),
    (32, 4),
    (36, 4),
    (40, 4),
    (48, 4),
    (72, 4),
    (76, 4),
    (80, 4),
    (84, 4),
    (88, 4),
];
/// The same, 5.3.3 "GPT Partition Entry Array".
const ENTRY: &[(u16, u8)] =
    &[(0, 4), (16, 4), (32, 4), (36, 4), (40, 4), (44, 4), (48, 4), (56, 2), (58, 2), (126, 2)];

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

thread_local! {
    static SPECIMENS: Specimens<2> = Specimens::new(IMAGES, structures);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let which = usize::from(flags) % IMAGES.len();
    let (mut card, is_changed) =
        SPECIMENS.with(|specimens| specimens.get(which).damaged(&mut input));
    if flags & 0x80 == 0 {
        repair(&mut card);
    }
    let device = card.cached();
    let table = scan(&device).expect("a card that can be read");
    assert!(is_changed || table.problems.is_empty(), "{:?}", table.problems);
    for problem in &table.problems {
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
    let count = device.borrow().block_count();
    let mut numbers = BTreeSet::new();
    assert!(table.partitions.len() <= 512, "{} partitions", table.partitions.len());
    for partition in &table.partitions {
        assert!(numbers.insert(partition.index), "two partitions {}", partition.index);
        let end = partition.start.checked_add(partition.block_count);
        assert!(partition.block_count > 0 && end.is_some_and(|end| end <= count));
        let volume = Volume::new(Rc::clone(&device), partition);
        let mut block = [0; BLOCK_SIZE];
        let last = partition.block_count - 1;
        volume.read_blocks(last, &mut block).expect("the last block of a partition");
        assert!(volume.read_blocks(last + 1, &mut block).is_err(), "behind a partition");
    }
});

fn structures(image: &Image) -> Vec<Structure> {
    let blocks = || image.literal_blocks().into_iter();
    let starting = |mark: &[u8]| -> Vec<u64> {
        blocks()
            .map(|block| block * 512)
            .filter(|&at| image.read(at, 8).starts_with(mark))
            .collect()
    };
    let signed =
        blocks().map(|block| block * 512).filter(|&at| image.read(at + 510, 2) == [0x55, 0xaa]);
    let entries = blocks().flat_map(|block| (0..4).map(move |index| block * 512 + 128 * index));
    let structure = |places, fields| Structure { places, fields, big_endian: false };
    vec![
        structure(signed.collect(), MBR),
        structure(starting(b"EFI PART"), HEADER),
        structure(entries.filter(|&at| image.read(at, 4) != [0; 4]).collect(), ENTRY),
    ]
}

/// Makes the checksums of both copies of a GPT right again, of as many entries as they say.
fn repair(card: &mut Card) {
    use firn::block::BlockDevice as _;
    let last = card.block_count() - 1;
    for at in [1, last].map(|block| block * 512) {
        let header = card.bytes(at, 92);
        let number = |at: usize| Input(&header[at..]).u32();
        if !header.starts_with(b"EFI PART") {
            continue;
        }
        let size = u64::from(number(80)) * u64::from(number(84));
        let entries_at = u64::from(number(72)) * 512;
        if size <= 128 * 1024 {
            let entries = card.bytes(entries_at, size as usize);
            card.write(at + 88, &CRC.checksum(&entries).to_le_bytes());
        }
        card.write(at + 16, &[0; 4]);
        let size = number(12).min(512) as usize;
        let sum = CRC.checksum(&card.bytes(at, size));
        card.write(at + 16, &sum.to_le_bytes());
    }
}
