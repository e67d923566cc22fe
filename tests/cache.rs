//! The cache in front of a card.

#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

mod disk;

use disk::{Counters, Disk, Image, content};
use firn::block::{
    BlockDevice, ErrorKind,
    cache::{Cache, LINE_BLOCKS, Statistics},
};

const LINE: u64 = LINE_BLOCKS;

/// A card of a little more than 40 lines, with known contents.
fn card() -> (Image, Vec<u8>) {
    let blocks = 40 * LINE + 5;
    let bytes = content(9, blocks as usize * 512);
    let mut image = Image::blank(blocks);
    image.write(0, &bytes);
    (image, bytes)
}

fn read(cache: &mut Cache<Disk>, block: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * 512];
    cache.read(block, &mut bytes).expect("readable blocks");
    bytes
}

#[test]
fn small_reads_next_to_each_other_are_one_read_of_the_card() {
    let (image, bytes) = card();
    let disk = Disk::new(image);
    let counters = disk.counters();
    let mut cache = Cache::new(disk);
    for block in [3, 4, 60, 0, 3] {
        let at = block as usize * 512;
        assert_eq!(read(&mut cache, block, 2), bytes[at..at + 1024]);
    }
    assert_eq!(counters.get(), Counters { commands: 1, blocks: LINE });
    let expected =
        Statistics { hits: 4, misses: 1, bypasses: 0, device_reads: 1, device_blocks: LINE };
    assert_eq!(cache.statistics(), expected);
}

#[test]
fn a_small_read_over_the_end_of_a_line_takes_two() {
    let (image, bytes) = card();
    let mut cache = Cache::new(Disk::new(image));
    let at = (LINE as usize - 1) * 512;
    assert_eq!(read(&mut cache, LINE - 1, 2), bytes[at..at + 1024]);
    assert_eq!(cache.statistics().misses, 2);
}

#[test]
fn a_large_read_goes_past_the_cache_and_leaves_its_lines() {
    let (image, bytes) = card();
    let disk = Disk::new(image);
    let counters = disk.counters();
    let mut cache = Cache::new(disk);
    read(&mut cache, 0, 1);
    assert_eq!(read(&mut cache, 1, 20 * LINE as usize), bytes[512..][..20 * LINE as usize * 512]);
    read(&mut cache, 2, 1);
    assert_eq!(counters.get(), Counters { commands: 2, blocks: 21 * LINE });
    assert_eq!(cache.statistics().bypasses, 1);
}

#[test]
fn the_line_that_was_not_used_for_longest_makes_room() {
    let (image, _) = card();
    let mut cache = Cache::new(Disk::new(image));
    for line in 0..32 {
        read(&mut cache, line * LINE, 1);
    }
    read(&mut cache, 0, 1);
    read(&mut cache, 32 * LINE, 1);
    let misses = cache.statistics().misses;
    read(&mut cache, 0, 1);
    assert_eq!(cache.statistics().misses, misses, "line 0 was used lately");
    read(&mut cache, LINE, 1);
    assert_eq!(cache.statistics().misses, misses + 1, "line 1 was not");
}

#[test]
fn the_last_blocks_of_a_card_are_read_and_none_beyond() {
    let (image, bytes) = card();
    let count = image.block_count;
    let mut cache = Cache::new(Disk::new(image));
    assert_eq!(read(&mut cache, count - 1, 1), bytes[bytes.len() - 512..]);
    for (block, blocks) in [(count, 1), (count - 1, 2), (u64::MAX, 1), (0, count as usize + 1)] {
        let error = cache.read(block, &mut vec![0; blocks * 512]).expect_err("beyond the end");
        assert_eq!((error.kind, error.block), (ErrorKind::OutOfRange, block));
    }
}

#[test]
fn a_bad_block_fails_only_those_who_want_it() {
    let (image, bytes) = card();
    let mut cache = Cache::new(Disk::new(image).with_bad_block(7, ErrorKind::Transfer));
    assert_eq!(read(&mut cache, 5, 2), bytes[5 * 512..7 * 512]);
    let error = cache.read(7, &mut [0; 512]).expect_err("the bad block");
    assert_eq!((error.kind, error.block), (ErrorKind::Transfer, 7));
    assert_eq!(read(&mut cache, 8, 1), bytes[8 * 512..9 * 512]);
}

#[test]
fn nothing_is_remembered_of_a_card_that_was_pulled() {
    let (image, _) = card();
    let mut cache = Cache::new(Disk::new(image).with_bad_block(LINE, ErrorKind::Removed));
    read(&mut cache, 0, 1);
    let reads = cache.statistics().device_reads;
    assert!(cache.read(LINE, &mut [0; 512]).is_err());
    assert_eq!(cache.statistics().device_reads, reads + 1, "a card that is gone is asked once");
    let misses = cache.statistics().misses;
    read(&mut cache, 0, 1);
    assert_eq!(cache.statistics().misses, misses + 1);
}
