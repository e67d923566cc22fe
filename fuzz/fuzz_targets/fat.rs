//! FAT file systems of which any field of boot sector, table and directories may be wrong: every
//! question ends with an answer or an error, after a bounded number of reads.
#![no_main]

use firn_fuzz::{
    disk::{Image, Specimens, Structure, explore},
    input::Input,
};
use libfuzzer_sys::fuzz_target;

const IMAGES: [&[u8]; 4] = [
    include_bytes!("../../tests/fixtures/fat12.image"),
    include_bytes!("../../tests/fixtures/fat16.image"),
    include_bytes!("../../tests/fixtures/fat32.image"),
    include_bytes!("../../tests/fixtures/fat32-large.image"),
];

/// Microsoft's FAT specification (fatgen103), "Boot Sector and BPB", with those of FAT32.
const BOOT_SECTOR: &[(u16, u8)] = &[
    (0, 1),
    (11, 2),
    (13, 1),
    (14, 2),
    (16, 1),
    (17, 2),
    (19, 2),
    (21, 1),
    (22, 2),
    (32, 4),
    (36, 4),
    (40, 2),
    (42, 2),
    (44, 4),
    (48, 2),
    (50, 2),
    (82, 4),
    (510, 2),
];
/// The same, "FAT Directory Structure" and long names: first letter, attributes, checksum, cluster,
/// size, letters.
const ENTRY: &[(u16, u8)] =
    &[(0, 1), (1, 4), (8, 1), (11, 1), (12, 1), (13, 1), (20, 2), (26, 2), (28, 4), (14, 2)];

thread_local! {
    static SPECIMENS: Specimens<4> = Specimens::new(IMAGES, structures);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (which, first) = (usize::from(input.byte()) % IMAGES.len(), input.byte());
    let (card, is_changed) = SPECIMENS.with(|specimens| specimens.get(which).damaged(&mut input));
    let names = explore(card, first);
    assert!(is_changed || names > 0, "an image that is not damaged has no names");
});

fn structures(image: &Image) -> Vec<Structure> {
    let number = |at, size| {
        let bytes = image.read(at, size);
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (reserved, tables) = (number(14, 2), number(16, 1));
    let table_size = if number(22, 2) == 0 { number(36, 4) } else { number(22, 2) };
    let table_end = reserved + tables * table_size;
    let used = image.literal_blocks();
    let within = |from: u64, to: u64, step: u64| -> Vec<u64> {
        let blocks = used.iter().filter(|&&block| (from..to).contains(&block));
        blocks
            .flat_map(|&block| (0..512 / step).map(move |index| block * 512 + index * step))
            .collect()
    };
    let structure = |places, fields| Structure { places, fields, big_endian: false };
    vec![
        structure(vec![0, 6 * 512], BOOT_SECTOR),
        structure(vec![512], &[(0, 4), (484, 4), (488, 4), (492, 4), (508, 4)]),
        structure(within(reserved, table_end, 2), &[(0, 2), (0, 4), (1, 2)]),
        structure(within(table_end, u64::MAX, 32), ENTRY),
    ]
}
