//! ext2, ext3 and ext4 file systems of which any field of superblock, groups, inodes, directories,
//! maps and journal may be wrong, with checksums that are right if the input says so: every question
//! ends with an answer or an error, after a bounded number of reads.
#![no_main]

use crc::{CRC_32_ISCSI, Crc};
use firn_fuzz::{
    disk::{Card, Image, Specimens, Structure, explore},
    input::Input,
};
use libfuzzer_sys::fuzz_target;

const IMAGES: [&[u8]; 8] = [
    include_bytes!("../../tests/fixtures/ext4.image"),
    include_bytes!("../../tests/fixtures/ext4-plain.image"),
    include_bytes!("../../tests/fixtures/ext4-dirty.image"),
    include_bytes!("../../tests/fixtures/ext4-dirty-v2.image"),
    include_bytes!("../../tests/fixtures/ext4-dirty-wrapped.image"),
    include_bytes!("../../tests/fixtures/ext3.image"),
    include_bytes!("../../tests/fixtures/ext3-dirty.image"),
    include_bytes!("../../tests/fixtures/ext2.image"),
];

const SUPERBLOCK_AT: u64 = 1024;

// Linux, Documentation/filesystems/ext4: "Super Block", "Block Group Descriptors", "Index Nodes".
const SUPERBLOCK: &[(u16, u8)] = &[
    (0x00, 4),
    (0x04, 4),
    (0x14, 4),
    (0x18, 4),
    (0x1c, 4),
    (0x20, 4),
    (0x28, 4),
    (0x38, 2),
    (0x4c, 4),
    (0x54, 4),
    (0x58, 2),
    (0x5c, 4),
    (0x60, 4),
    (0x64, 4),
    (0xe0, 4),
    (0xe8, 4),
    (0xfc, 1),
    (0xfe, 2),
    (0x104, 4),
    (0x150, 4),
    (0x174, 1),
    (0x175, 1),
    (0x178, 4),
    (0x270, 4),
];
const GROUP: &[(u16, u8)] = &[(0x00, 4), (0x04, 4), (0x08, 4), (0x12, 2), (0x1c, 2), (0x28, 4)];
/// The map begins at 0x28, as numbers of blocks or as the head of a tree of extents.
const INODE: &[(u16, u8)] = &[
    (0x00, 2),
    (0x04, 4),
    (0x1a, 2),
    (0x20, 4),
    (0x28, 4),
    (0x28, 2),
    (0x2a, 2),
    (0x2c, 2),
    (0x2e, 2),
    (0x34, 4),
    (0x38, 4),
    (0x38, 2),
    (0x3a, 2),
    (0x3c, 4),
    (0x40, 4),
    (0x44, 4),
    (0x48, 4),
    (0x58, 4),
    (0x5c, 4),
    (0x60, 4),
    (0x64, 4),
    (0x6c, 4),
    (0x80, 2),
];

thread_local! {
    static SPECIMENS: Specimens<8> = Specimens::new(IMAGES, structures);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let first = input.byte();
    let which = usize::from(flags) % IMAGES.len();
    let (mut card, is_changed) =
        SPECIMENS.with(|specimens| specimens.get(which).damaged(&mut input));
    if flags & 0x80 == 0 && is_changed {
        repair(&mut card, &SPECIMENS.with(|specimens| Layout::of(specimens.get(which).image())));
    }
    let names = explore(card, first);
    assert!(is_changed || names > 0, "an image that is not damaged has no names");
});

/// Where things are in an image that is not damaged.
#[derive(Clone, Copy)]
struct Layout {
    groups_at: u64,
    group_count: u64,
    group_size: u64,
    inodes_per_group: u64,
    inode_size: u64,
    has_checksums: bool,
    seed: u32,
}

impl Layout {
    fn of(image: &Image) -> Self {
        let number = |at, size| little(&image.read(SUPERBLOCK_AT + at, size));
        let block_size = 1024 << number(0x18, 4);
        let has_checksums = number(0x64, 4) & 0x400 != 0;
        let is_64bit = number(0x60, 4) & 0x80 != 0;
        let has_seed = number(0x60, 4) & 0x2000 != 0;
        let uuid = image.read(SUPERBLOCK_AT + 0x68, 16);
        let blocks = number(0x04, 4) - number(0x14, 4);
        Self {
            groups_at: (number(0x14, 4) + 1) * block_size,
            group_count: blocks.div_ceil(number(0x20, 4)),
            group_size: if is_64bit { number(0xfe, 2) } else { 32 },
            inodes_per_group: number(0x28, 4),
            inode_size: number(0x58, 2),
            has_checksums,
            seed: if has_seed { number(0x270, 4) as u32 } else { crc32c(!0, &uuid) },
        }
    }

    fn groups(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let Self { groups_at, group_size, .. } = *self;
        (0..self.group_count).map(move |group| (group, groups_at + group * group_size))
    }
}

fn structures(image: &Image) -> Vec<Structure> {
    let layout = Layout::of(image);
    let block_size = 1024 << little(&image.read(SUPERBLOCK_AT + 0x18, 4));
    let inodes = layout.groups().flat_map(|(_, group)| {
        let table = little(&image.read(group + 8, 4)) * block_size;
        (0..layout.inodes_per_group).map(move |index| table + index * layout.inode_size)
    });
    let inodes = inodes.filter(|&inode| image.read(inode, 2) != [0; 2]).collect();
    let groups = layout.groups().map(|(_, at)| at).collect();
    let structure = |places, fields| Structure { places, fields, big_endian: false };
    vec![
        structure(vec![SUPERBLOCK_AT], SUPERBLOCK),
        structure(groups, GROUP),
        structure(inodes, INODE),
    ]
}

/// Makes the checksums of superblock, groups and inodes right again.
fn repair(card: &mut Card, layout: &Layout) {
    if !layout.has_checksums {
        return;
    }
    let superblock = card.bytes(SUPERBLOCK_AT, 1020);
    card.write(SUPERBLOCK_AT + 1020, &crc32c(!0, &superblock).to_le_bytes());
    let block_size = 1024 << (little(&superblock[0x18..0x1c]) % 8);
    for (group, at) in layout.groups() {
        let table = little(&card.bytes(at + 8, 4)) * block_size;
        for index in 0..layout.inodes_per_group {
            let number = group * layout.inodes_per_group + index + 1;
            let inode = table + index * layout.inode_size;
            if card.is_changed(inode) {
                repair_inode(card, layout, number as u32, inode);
            }
        }
        let mut bytes = card.bytes(at, layout.group_size as usize);
        bytes[0x1e..0x20].fill(0);
        let sum = crc32c(crc32c(layout.seed, &(group as u32).to_le_bytes()), &bytes);
        card.write(at + 0x1e, &sum.to_le_bytes()[..2]);
    }
}

fn repair_inode(card: &mut Card, layout: &Layout, number: u32, at: u64) {
    let mut bytes = card.bytes(at, layout.inode_size as usize);
    if bytes[..2] == [0; 2] {
        return;
    }
    bytes[0x7c..0x7e].fill(0);
    let has_high = layout.inode_size > 128 && little(&bytes[0x80..0x82]) >= 4;
    if has_high {
        bytes[0x82..0x84].fill(0);
    }
    let seed = crc32c(crc32c(layout.seed, &number.to_le_bytes()), &bytes[0x64..0x68]);
    let sum = crc32c(seed, &bytes).to_le_bytes();
    card.write(at + 0x7c, &sum[..2]);
    if has_high {
        card.write(at + 0x82, &sum[2..]);
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32C (Castagnoli) from `sum` on, without inversion at either end, as ext4 has it.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    let mut digest = CRC.digest_with_initial(sum.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}
