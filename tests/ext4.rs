//! ext2, ext3 and ext4 file systems made by mke2fs and debugfs.

#![allow(clippy::cast_possible_truncation, reason = "numbers are cut on purpose")]

mod disk;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use disk::{Counters, Disk, Image, content, recipes};
use firn::{
    block::{ErrorKind as BlockErrorKind, volume::Volume},
    error::{Code, Coded},
    fs::{Error, ErrorKind, FileSystem, FileType, mount},
};

fn mount_fixture(name: &str) -> Box<dyn FileSystem> {
    mount_image(Image::fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn mount_image(image: Image) -> Result<Box<dyn FileSystem>, Error> {
    mount(Disk::new(image).volume())
}

fn read(fs: &mut dyn FileSystem, path: &str) -> Result<Vec<u8>, Error> {
    let mut file = fs.open(path)?;
    let mut bytes = vec![0xee; usize::try_from(file.size()).expect("a small file")];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn error_of<T>(result: Result<T, Error>) -> ErrorKind {
    result.err().expect("an error").kind
}

const WITH_TREE: [(&str, &str); 8] = [
    ("ext2", "ext2"),
    ("ext3", "ext3"),
    ("ext3-dirty", "ext3"),
    ("ext4", "ext4"),
    ("ext4-1k", "ext4"),
    ("ext4-plain", "ext4"),
    ("ext4-dirty", "ext4"),
    ("ext4-dirty-wrapped", "ext4"),
];

#[test]
fn every_variant_gives_kind_label_and_the_contents_of_all_files() {
    for (fixture, kind) in WITH_TREE {
        let mut fs = mount_fixture(fixture);
        assert_eq!((fs.kind(), fs.label().as_deref()), (kind, Some("nixos")), "{fixture}");
        for &(path, seed, size) in recipes::EXT4_FILES {
            let bytes = read(&mut *fs, path).unwrap_or_else(|error| panic!("{fixture}: {error}"));
            assert!(bytes == content(seed, size), "{fixture} {path}");
            let metadata = fs.metadata(path).expect("metadata");
            assert_eq!((metadata.file_type, metadata.size), (FileType::File, size as u64));
        }
    }
}

#[test]
fn symbolic_links_are_followed_and_loops_end() {
    let kernel = content(14, 70_000);
    for (fixture, _) in WITH_TREE {
        let mut fs = mount_fixture(fixture);
        for path in [
            "/nix/var/nix/profiles/system/kernel",
            "/nix/store/xyz-nixos-system/up",
            "/nix/var/../store/xyz-nixos-system/../abc-linux/Image",
            "//nix/./store/abc-linux/../../../nix/store/abc-linux/Image",
            "/long-link",
        ] {
            assert!(read(&mut *fs, path).expect("a kernel") == kernel, "{fixture} {path}");
        }
        for path in ["/loop-a", "/loop-b/below", "/self", "/self/../boot"] {
            assert_eq!(error_of(fs.metadata(path)), ErrorKind::TooManyLinks, "{fixture} {path}");
        }
        assert_eq!(error_of(fs.open("/dangling")), ErrorKind::NotFound);
        for &(path, target) in recipes::EXT4_LINKS {
            assert_eq!(fs.read_link(path).expect("a link"), target);
        }
        assert_eq!(fs.metadata("/nix/var/nix/profiles/system").unwrap().file_type, {
            FileType::Directory
        });
    }
}

#[test]
fn what_is_not_there_or_of_another_kind_is_told_apart() {
    let mut fs = mount_fixture("ext4");
    assert_eq!(error_of(fs.open("/nothing")), ErrorKind::NotFound);
    assert_eq!(error_of(fs.open("/nothing/below")), ErrorKind::NotFound);
    assert_eq!(error_of(fs.open("/boot")), ErrorKind::WrongType);
    assert_eq!(error_of(fs.open("/")), ErrorKind::WrongType);
    assert_eq!(error_of(fs.open("/empty/below")), ErrorKind::WrongType);
    assert_eq!(error_of(fs.read_dir("/empty")), ErrorKind::WrongType);
    assert_eq!(error_of(fs.read_link("/empty")), ErrorKind::WrongType);
    assert_eq!(error_of(fs.open(&"/very-long".repeat(1000))), ErrorKind::NotFound);
    assert_eq!(error_of(fs.open(&format!("/{}", "n".repeat(256)))), ErrorKind::NotFound);
    assert_eq!(fs.metadata("/").expect("the root").file_type, FileType::Directory);
    let error = fs.open("/boot/nothing").err().expect("no such file");
    assert_eq!((error.to_string().as_str(), error.code()), {
        ("/boot/nothing: no such file", Code::NotFound)
    });
}

#[test]
fn directories_are_listed_with_the_types_of_what_is_in_them() {
    let mut fs = mount_fixture("ext4");
    let mut entries: Vec<_> = fs
        .read_dir("/")
        .expect("the root")
        .into_iter()
        .map(|entry| (entry.name, entry.file_type))
        .collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("boot", FileType::Directory),
        ("dangling", FileType::Link),
        ("empty", FileType::File),
        ("long-link", FileType::Link),
        ("loop-a", FileType::Link),
        ("loop-b", FileType::Link),
        ("lost+found", FileType::Directory),
        ("nix", FileType::Directory),
        ("self", FileType::Link),
    ];
    assert_eq!(entries, expected.map(|(name, file_type)| (name.to_string(), file_type)));
}

#[test]
fn an_indexed_directory_is_searched_by_its_index() {
    let disk = Disk::new(Image::fixture("ext4-1k"));
    let counters = disk.counters();
    let mut fs = mount(disk.volume()).expect("a file system");
    let before = counters.get();
    for number in [0, 1, 1234, recipes::MANY_NAMES - 1] {
        let bytes = read(&mut *fs, &recipes::one_of_many(number)).expect("one of many");
        assert_eq!(bytes, b"one of many");
    }
    let absent = recipes::one_of_many(recipes::MANY_NAMES);
    assert_eq!(error_of(fs.open(&absent)), ErrorKind::NotFound);
    let commands = counters.get().commands - before.commands;
    assert!(commands <= 12, "{commands} commands for five names");

    let mut names: Vec<_> =
        fs.read_dir("/many").expect("a directory").into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names.len(), recipes::MANY_NAMES);
    assert_eq!(format!("/many/{}", names[77]), recipes::one_of_many(77));
}

#[test]
fn punched_gaps_sparse_and_unwritten_parts_of_files_are_zero() {
    let mut fs = mount_fixture("ext4-1k");
    let (path, seed, size) = recipes::PUNCHED;
    let mut expected = content(seed, size);
    for gap in expected.chunks_mut(1024).step_by(2) {
        gap.fill(0);
    }
    assert!(read(&mut *fs, path).expect("a file with a deep extent tree") == expected);

    for fixture in ["ext4-1k", "ext3", "ext2"] {
        let mut fs = mount_fixture(fixture);
        let (path, seed, size) = recipes::SPARSE;
        let mut expected = content(seed, size);
        expected[1024..20 * 1024].fill(0);
        assert!(read(&mut *fs, path).expect("a sparse file") == expected, "{fixture}");
    }
}

#[test]
fn a_file_of_70_mb_is_read_through_the_block_map_of_ext2() {
    let mut fs = mount_fixture("ext2");
    let (path, seed, size) = recipes::INDIRECT;
    assert!(read(&mut *fs, path).expect("a file") == content(seed, size));
}

#[test]
fn whole_branches_missing_from_the_block_map_of_ext2_are_zero() {
    let mut fs = mount_fixture("ext2");
    assert!(read(&mut *fs, recipes::GAP.0).expect("a file") == recipes::gap_content());
}

#[test]
fn a_part_of_a_file_is_read_from_any_offset() {
    let mut fs = mount_fixture("ext4-1k");
    let (path, seed, size) = recipes::SPARSE;
    let mut expected = content(seed, size);
    expected[1024..20 * 1024].fill(0);
    let mut file = fs.open(path).expect("a file");
    for (offset, length) in
        [(0, 1), (1023, 2), (500, 30_000), (20_479, 2), (size - 1, 1), (2000, 7), (size, 0)]
    {
        let mut bytes = vec![0xee; length];
        file.read_at(offset as u64, &mut bytes).expect("inside of the file");
        assert!(bytes == expected[offset..offset + length], "{offset} {length}");
    }
    for (offset, length) in [(size as u64, 1), (0, size + 1), (u64::MAX, 2)] {
        let error = file.read_at(offset, &mut vec![0; length]).expect_err("beyond the end");
        assert_eq!((&error.kind, error.code()), (&ErrorKind::BeyondEnd, Code::FileRead));
    }
}

const DIRTY: [&str; 4] = ["ext4-dirty", "ext4-dirty-v2", "ext4-dirty-wrapped", "ext3-dirty"];

#[test]
fn what_only_the_journal_knows_is_found_and_what_it_revoked_or_never_committed_is_not() {
    for fixture in DIRTY {
        let mut fs = mount_fixture(fixture);
        for &(path, seed, size) in recipes::JOURNALED {
            let bytes = read(&mut *fs, path).unwrap_or_else(|error| panic!("{fixture}: {error}"));
            assert!(bytes == content(seed, size), "{fixture} {path}");
        }
        assert_eq!(fs.read_link("/new/link").expect("a link"), "deeper/initrd");
        assert_eq!(read(&mut *fs, "/new/link").expect("a file").len(), 5000);
    }
}

#[test]
fn a_journal_that_says_it_is_empty_needs_no_replay() {
    let mut image = Image::fixture("ext4-plain");
    // has_journal and needs_recovery, of a file system without checksums and a journal of zeros:
    // refused, because there is no journal where it should be.
    image.write(1024 + 0x5c, &[0x24]);
    image.write(1024 + 0x60, &[0x46]);
    assert!(matches!(error_of(mount_image(image)), ErrorKind::Corrupt(_)));

    let image = Image::fixture("ext3-dirty");
    let journal = journal_start(&image);
    let mut emptied = image.clone();
    emptied.write(journal + 0x1c, &[0; 4]);
    let mut fs = mount_image(emptied).expect("a file system");
    assert_eq!(error_of(fs.open("/new/Image")), ErrorKind::NotFound);
    assert!(read(&mut *fs, "/boot/extlinux/extlinux.conf").is_ok());
}

/// Where the journal's superblock is.
fn journal_start(image: &Image) -> u64 {
    (0..image.block_count * 512)
        .step_by(4096)
        .find(|&at| image.read(at, 8) == [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4])
        .expect("a journal")
}

#[test]
fn a_damaged_block_in_the_journal_is_reported_when_it_is_needed() {
    let mut image = Image::fixture("ext4-dirty");
    let journal = journal_start(&image);
    // The second transaction begins with a descriptor block of sequence 2.
    let descriptor = (1..100)
        .map(|block| journal + block * 4096)
        .find(|&at| image.read(at, 12) == [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 1, 0, 0, 0, 2])
        .expect("a descriptor block");
    for block in 1..9 {
        image.write(descriptor + block * 4096 + 2000, b"damage");
    }
    let error = mount_image(image)
        .and_then(|mut fs| read(&mut *fs, "/new/Image"))
        .expect_err("a damaged journal");
    assert_eq!(error.code(), Code::FileSystemCorrupt);
    assert!(error.to_string().contains("journal's copy of block"), "{error}");
}

#[test]
fn features_that_cannot_be_read_are_named_as_mke2fs_names_them() {
    for (bit, name) in [
        (0x1, "compression"),
        (0x8, "journal_dev"),
        (0x10, "meta_bg"),
        (0x100, "mmp"),
        (0x400, "ea_inode"),
        (0x1000, "dirdata"),
        (0x4000, "large_dir"),
        (0x8000, "inline_data"),
        (0x20000, "casefold"),
        (0x28000, "inline_data, casefold"),
        (0x4000_8000, "inline_data, unknown features 0x40000000"),
    ] {
        let mut image = Image::fixture("ext4-plain");
        let features = image.read(1024 + 0x60, 4);
        let features = u32::from_le_bytes(features.try_into().expect("four bytes")) | bit;
        image.write(1024 + 0x60, &features.to_le_bytes());
        let error = mount_image(image).err().expect("a feature that cannot be read");
        assert_eq!(error.kind, ErrorKind::Feature(name.into()));
        assert_eq!(error.code(), Code::FileSystemFeature);
    }
}

#[test]
fn an_image_that_was_cut_short_is_named_so() {
    let mut image = Image::fixture("ext4");
    image.block_count /= 2;
    let error = mount_image(image).err().expect("half a file system");
    assert_eq!(
        error.to_string(),
        "the file system is damaged: it has 4096 blocks, its partition only 2048; was the image \
         cut short?"
    );
}

/// The bytes of inode `number` of a file system of one group with descriptors of `descriptor` bytes.
fn inode_at(image: &Image, number: u64) -> u64 {
    let superblock = image.read(1024, 1024);
    let number_at = |at: usize| {
        u64::from(u32::from_le_bytes(superblock[at..at + 4].try_into().expect("four bytes")))
    };
    let block_size = 1024 << number_at(0x18);
    let inode_size = number_at(0x58) & 0xffff;
    let table = image.read(block_size * (1024 / block_size + 1) + 8, 4);
    let table = u64::from(u32::from_le_bytes(table.try_into().expect("four bytes")));
    table * block_size + (number - 1) * inode_size
}

#[test]
fn a_damaged_inode_of_a_file_is_found_by_its_checksum() {
    let mut found = 0;
    // The tree's files have the first inodes that are not reserved.
    for number in 12..40 {
        let mut image = Image::fixture("ext4");
        let at = inode_at(&image, number);
        let is_file = image.read(at + 1, 1)[0] & 0xf0 == 0x80;
        if !is_file {
            continue;
        }
        // One bit of where the contents are.
        let byte = image.read(at + 0x28 + 20, 1)[0];
        image.write(at + 0x28 + 20, &[byte ^ 1]);
        let mut fs = mount_image(image).expect("a file system");
        let errors: Vec<_> = recipes::EXT4_FILES
            .iter()
            .filter_map(|&(path, _, _)| read(&mut *fs, path).err())
            .collect();
        let text = format!("the file system is damaged: inode {number}: wrong checksum");
        assert!(errors.iter().all(|error| error.to_string().ends_with(&text)), "{errors:?}");
        found += errors.len();
    }
    assert_eq!(found, recipes::EXT4_FILES.len());
}

#[test]
fn a_damaged_extent_node_is_found_by_its_checksum() {
    let image = Image::fixture("ext4-1k");
    let nodes: Vec<u64> = image
        .literal_blocks()
        .into_iter()
        .map(|block| block * 512)
        .filter(|&at| image.read(at, 2) == [0x0a, 0xf3])
        .collect();
    assert!(nodes.len() > 20, "a deep tree");
    let mut damaged = image.clone();
    damaged.write(nodes[7] + 12 + 8, &[0x55]);
    let mut fs = mount_image(damaged).expect("a file system");
    let error = read(&mut *fs, recipes::PUNCHED.0).expect_err("a damaged node");
    assert!(error.to_string().ends_with("wrong checksum of an extent node"), "{error}");
}

#[test]
fn a_directory_index_with_more_entries_than_room_is_an_error() {
    let mut image = Image::fixture("ext4-1k");
    // An index begins with the entries of the directory and its parent and a fixed header.
    let root = image
        .literal_blocks()
        .into_iter()
        .map(|block| block * 512)
        .find(|&at| image.read(at + 0x18, 6)[..4] == [0; 4] && image.read(at + 0x1d, 1) == [8])
        .expect("an index");
    image.write(root + 0x22, &[0xff, 0xff]);
    let mut fs = mount_image(image).expect("a file system");
    let kind = error_of(fs.open(&recipes::one_of_many(5)));
    assert!(matches!(kind, ErrorKind::Corrupt(_)), "{kind:?}");
}

/// An extent node whose entries all point to the same block.
fn node(depth: u16, count: u16, target: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [0xf30a, count, count, depth, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    for _ in 0..count {
        // Of a leaf, this is an extent of no blocks.
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(if depth == 0 { 0 } else { target }.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
    }
    bytes
}

#[test]
fn maps_that_would_keep_a_reader_busy_for_days_are_refused_at_once() {
    let mut image = Image::fixture("ext4-plain");
    let free = 8000;
    for depth in 0..5 {
        let block = u64::from(free + depth);
        let below = if depth == 0 { 0 } else { free + depth - 1 };
        image.write(block * 1024, &node(depth as u16, 84, below));
    }
    let root = inode_at(&image, 2);
    image.write(root + 0x28, &node(5, 4, free + 4));
    let start = Instant::now();
    let result = mount_image(image).and_then(|mut fs| {
        let _ = fs.read_dir("/")?;
        fs.metadata("/boot")
    });
    assert!(matches!(error_of(result), ErrorKind::Corrupt(_)));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn sizes_that_no_link_or_directory_has_are_refused_before_memory_is_taken() {
    let original = Image::fixture("ext4-plain");
    // As large as the number of its blocks allows.
    let size = 1_u64 << 41;
    let mut refused = 0;
    for number in 2..60 {
        let at = inode_at(&original, number);
        let file_type = original.read(at + 1, 1)[0] & 0xf0;
        if !matches!(file_type, 0x40 | 0xa0) {
            continue;
        }
        let mut image = original.clone();
        image.write(at + 4, &(size as u32).to_le_bytes());
        image.write(at + 0x6c, &((size >> 32) as u32).to_le_bytes());
        let paths = recipes::EXT4_FILES.iter().map(|&(path, _, _)| path);
        let links = recipes::EXT4_LINKS.iter().map(|&(path, _)| path);
        for path in paths.chain(links) {
            let result = mount_image(image.clone()).and_then(|mut fs| read(&mut *fs, path));
            let is_refused = |kind: &ErrorKind| matches!(kind, ErrorKind::Corrupt(text) if text.ends_with(&format!("{size} bytes")));
            refused += usize::from(result.is_err_and(|error| is_refused(&error.kind)));
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_superblock_that_asks_for_too_much_is_refused() {
    for (at, value, part) in [
        (0x18, 7_u32, "2^(10+7)"),
        (0x18, u32::MAX, "blocks of"),
        (0x20, 1, "in groups of 1"),
        (0x20, 0, "in groups of 0"),
        (0x28, 0, "groups without inodes"),
        (0x58, 100, "inodes of 100 bytes"),
        (0x58, 0x8000, "inodes of 32768 bytes"),
        (0x4, u32::MAX, "4294967295 blocks"),
    ] {
        let mut image = Image::fixture("ext4-plain");
        // Large enough for the number of groups to matter.
        image.block_count = 1 << 23;
        if at == 0x20 {
            image.write(1024 + 0x4, &(1_u32 << 22).to_le_bytes());
        }
        image.write(1024 + at, &value.to_le_bytes());
        let error = mount_image(image).err().expect("a hostile superblock");
        assert_eq!(error.code(), Code::FileSystemCorrupt);
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Reads all of a large file and gives what that cost, mounting included.
fn cost_of_kernel(fixture: &str) -> Counters {
    let disk = Disk::new(Image::fixture(fixture));
    let counters = disk.counters();
    let mut fs = mount(disk.volume()).expect("a file system");
    let (path, seed, size) = recipes::LARGE;
    let bytes = read(&mut *fs, path).expect("a kernel");
    assert!(bytes == content(seed, size));
    counters.get()
}

#[test]
fn a_kernel_of_60_mb_costs_few_commands_and_few_bytes_more_than_it_has() {
    let cost = cost_of_kernel("ext4-large");
    let size = recipes::LARGE.2 as u64;
    assert!(cost.blocks * 512 <= size * 105 / 100, "{cost:?}");
    assert!(cost.commands <= size >> 20, "{cost:?}");
}

#[test]
fn a_bad_block_in_a_file_names_device_and_block_and_spares_the_rest() {
    let image = Rc::new(Image::fixture("ext4-large"));
    // A block that the file has: the last of its first megabyte.
    let (path, seed, _) = recipes::LARGE;
    let bad = image.find(&content(seed, 1 << 20)[(1 << 20) - 512..]);
    let disk = Disk::new(Rc::clone(&image)).with_bad_block(bad, BlockErrorKind::Transfer);
    let mut fs = mount(Volume::whole(disk.cached())).expect("a file system");
    let error = read(&mut *fs, path).expect_err("a bad block");
    assert_eq!(error.code(), Code::CardTransfer);
    let text = format!("/Image: test card, block {bad}: data from the card arrived damaged");
    assert_eq!(error.to_string(), text);

    let mut file = fs.open(path).expect("a file");
    let mut before = vec![0; (1 << 20) - 512];
    file.read_at(0, &mut before).expect("what is before the bad block");
    assert!(before == content(seed, before.len()));
    file.read_at(1 << 20, &mut before).expect("what is behind the bad block");
}

#[test]
fn a_bad_block_in_a_directory_is_the_cards_fault_and_not_the_file_systems() {
    let image = Rc::new(Image::fixture("ext4"));
    // The root's inode.
    let bad = inode_at(&image, 2) / 512;
    let disk = Disk::new(image).with_bad_block(bad, BlockErrorKind::Timeout);
    let listed =
        mount(Volume::whole(disk.cached())).and_then(|mut fs| fs.read_dir("/").map(|_| ()));
    let error = listed.expect_err("a bad block");
    assert_eq!(error.code(), Code::CardTimeout, "{error}");
    assert!(!error.to_string().contains("file system is damaged"), "{error}");
}
