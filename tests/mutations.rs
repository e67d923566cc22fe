//! Damaged images: whatever the bytes are, there is an answer or an error, after a bounded number of
//! reads. `cargo test` tries a few hundred, always the same; by hand, with as many as are wanted:
//!
//!     FIRN_MUTATIONS=10000 cargo test --release --test mutations -- --include-ignored

#![allow(clippy::cast_possible_truncation, reason = "numbers are cut on purpose")]

mod disk;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use disk::{Disk, Image, recipes::crc32c};
use firn::{
    block::{partition::scan, volume::Volume},
    fs::{FileSystem, FileType, mount},
};

const FIXTURES: [&str; 11] = [
    "gpt",
    "mbr",
    "fat12",
    "fat16",
    "fat32",
    "ext4",
    "ext4-1k",
    "ext4-plain",
    "ext4-dirty",
    "ext3-dirty",
    "ext2",
];

/// More than any of the fixtures needs, even if each block is read alone.
const COMMANDS: u64 = 20_000;
const LONGEST: Duration = Duration::from_secs(20);
/// Deeper than the fixtures; a damaged directory may contain itself.
const DEPTH: usize = 6;
const ENTRIES: usize = 40;
const READ_SIZE: u64 = 200_000;

/// A sequence of numbers, the same for the same seed (Steele and others' SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Damages a few places of the metadata, most of them where something is.
fn mutate(image: &mut Image, metadata: &[u64], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let block = metadata[random.below(metadata.len() as u64) as usize];
        let mut at = block * 512 + random.below(512);
        for _ in 0..4 {
            // A byte that is not zero is more likely to mean something.
            if image.read(at, 1) == [0] {
                at = block * 512 + random.below(512);
            }
        }
        match random.below(7) {
            0 => image.write(at, &[image.read(at, 1)[0] ^ 1 << random.below(8)]),
            1 => image.write(at, &[random.next() as u8]),
            2 => image.write(at & !3, &[0xff; 4]),
            3 => image.write(at & !3, &[0; 4]),
            4 => image.write(at & !1, &(random.next() as u16).to_le_bytes()),
            5 => image.write(at & !3, &(random.below(40_000) as u32).to_le_bytes()),
            _ => {
                let other = metadata[random.below(metadata.len() as u64) as usize];
                let bytes = image.read(other * 512, 512);
                image.write(block * 512, &bytes);
            }
        }
    }
}

/// Makes the checksum of an ext superblock right, so that what it says is looked at.
fn repair_superblock(image: &mut Image) {
    let bytes = image.read(1024, 1020);
    image.write(1024 + 1020, &crc32c(&bytes).to_le_bytes());
}

/// Does what a loader does, with everything that it finds.
fn explore(image: Image) -> usize {
    let device = Disk::new(Rc::new(image)).with_budget(COMMANDS).cached();
    let Ok(table) = scan(&device) else { return 0 };
    let mut found = 0;
    for partition in &table.partitions {
        let volume = Volume::new(Rc::clone(&device), partition);
        match mount(volume) {
            Ok(mut fs) => {
                let _ = (fs.kind(), fs.label());
                found += explore_directory(&mut *fs, "", DEPTH);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for problem in table.problems {
        assert!(!problem.to_string().is_empty());
    }
    found
}

fn explore_directory(fs: &mut dyn FileSystem, directory: &str, depth: usize) -> usize {
    let root = if directory.is_empty() { "/" } else { directory };
    let Ok(entries) = fs.read_dir(root) else { return 0 };
    let mut found = 0;
    for entry in entries.iter().take(ENTRIES) {
        let path = format!("{directory}/{}", entry.name);
        let _ = fs.metadata(&path);
        match entry.file_type {
            FileType::Link => {
                let _ = fs.read_link(&path);
            }
            FileType::Directory if depth > 0 => found += explore_directory(fs, &path, depth - 1),
            _ => {}
        }
        if let Ok(mut file) = fs.open(&path) {
            let length = file.size().min(READ_SIZE) as usize;
            let mut bytes = vec![0; length];
            found += usize::from(file.read_at(0, &mut bytes).is_ok());
            let _ = file.read_at(file.size() - length as u64, &mut bytes);
        }
    }
    found
}

/// Tries `count` mutations of each fixture; gives how many files could still be read.
fn try_mutations(count: u64) -> usize {
    let mut read = 0;
    for fixture in FIXTURES {
        let image = Image::fixture(fixture);
        let metadata = image.literal_blocks();
        for seed in 0..count {
            let mut mutated = image.clone();
            mutate(&mut mutated, &metadata, &mut Random(seed));
            if fixture.starts_with("ext4") && seed % 2 == 0 {
                repair_superblock(&mut mutated);
            }
            let start = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| explore(mutated))) {
                Ok(found) => read += found,
                Err(_) => panic!("{fixture}, mutation {seed}"),
            }
            assert!(start.elapsed() < LONGEST, "{fixture}, mutation {seed}: very slow");
        }
        println!("{fixture}: {count} mutations, {read} files read so far");
    }
    read
}

#[test]
fn damaged_images_give_answers_or_errors_and_end() {
    let read = try_mutations(15);
    // Most damage is elsewhere, so that most files are still there.
    assert!(read > 500, "{read} files");
}

#[test]
#[ignore = "takes as long as FIRN_MUTATIONS says"]
fn many_damaged_images_give_answers_or_errors_and_end() {
    let count = std::env::var("FIRN_MUTATIONS").ok().and_then(|count| count.parse().ok());
    try_mutations(count.unwrap_or(1000));
}
