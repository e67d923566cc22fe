//! FAT file systems made by mkfs.vfat and mtools.

#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

mod disk;

use disk::{Disk, Image, content, recipes};
use firn::{
    block::ErrorKind as BlockErrorKind,
    error::{Code, Coded},
    fs::{Error, ErrorKind, FileSystem, FileType, mount},
};

fn mount_fixture(name: &str) -> Box<dyn FileSystem> {
    mount(Disk::new(Image::fixture(name)).volume()).expect("a file system")
}

fn read(fs: &mut dyn FileSystem, path: &str) -> Result<Vec<u8>, Error> {
    let mut file = fs.open(path)?;
    let mut bytes = vec![0xee; usize::try_from(file.size()).expect("a small file")];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn names(fs: &mut dyn FileSystem, path: &str) -> Vec<String> {
    fs.read_dir(path).expect("a directory").into_iter().map(|entry| entry.name).collect()
}

const WIDTHS: [(&str, &str); 3] = [("fat12", "FAT12"), ("fat16", "FAT16"), ("fat32", "FAT32")];

#[test]
fn every_width_gives_kind_label_and_the_contents_of_all_files() {
    for (fixture, kind) in WIDTHS {
        let mut fs = mount_fixture(fixture);
        assert_eq!((fs.kind(), fs.label().as_deref()), (kind, Some("BOOT")));
        for &(path, seed, size) in recipes::FAT_FILES.iter().chain([&recipes::FAT_FRAGMENTED]) {
            let bytes = read(&mut *fs, path).expect("a file");
            assert!(bytes == content(seed, size), "{kind} {path}");
            let metadata = fs.metadata(path).expect("metadata");
            assert_eq!((metadata.file_type, metadata.size), (FileType::File, size as u64));
        }
    }
}

#[test]
fn names_are_found_in_any_case_and_listed_as_they_were_given() {
    for (fixture, _) in WIDTHS {
        let mut fs = mount_fixture(fixture);
        assert_eq!(names(&mut *fs, "/")[..3], ["EXTLINUX", "nixos", "a"]);
        assert_eq!(names(&mut *fs, "/extlinux"), ["extlinux.conf"]);
        assert_eq!(
            names(&mut *fs, "/nixos"),
            [
                "k8d3vx1zr1bcd2qhw9y7h5lwv3zs0a4n-linux-6.12.30-Image",
                "Ein Name mit Leerzeichen, Ümläuten und 日本.txt"
            ]
        );
        let path = "/NIXOS/K8D3VX1ZR1BCD2QHW9Y7H5LWV3ZS0A4N-LINUX-6.12.30-IMAGE";
        assert_eq!(read(&mut *fs, path).expect("a file").len(), 70_000);
        assert_eq!(read(&mut *fs, "/extlinux/../Extlinux/./EXTLINUX.CONF").unwrap().len(), 700);
    }
}

#[test]
fn a_part_of_a_file_is_read_from_any_offset() {
    let mut fs = mount_fixture("fat32");
    let (path, seed, size) = recipes::FAT_FRAGMENTED;
    let expected = content(seed, size);
    let mut file = fs.open(path).expect("a file");
    for (offset, length) in [(0, 1), (511, 2), (1535, 3000), (size - 1, 1), (7, 100_000), (size, 0)]
    {
        let mut bytes = vec![0; length];
        file.read_at(offset as u64, &mut bytes).expect("inside of the file");
        assert!(bytes == expected[offset..offset + length], "{offset} {length}");
    }
    for (offset, length) in [(size as u64, 1), (0, size + 1), (u64::MAX, 2)] {
        let error = file.read_at(offset, &mut vec![0; length]).expect_err("beyond the end");
        assert_eq!((&error.kind, error.code()), (&ErrorKind::BeyondEnd, Code::FileRead));
    }
}

#[test]
fn what_is_not_there_or_of_another_kind_is_told_apart() {
    let mut fs = mount_fixture("fat16");
    let kind = |result: Result<Vec<u8>, Error>| result.expect_err("not a file").kind;
    assert_eq!(kind(read(&mut *fs, "/nothing")), ErrorKind::NotFound);
    assert_eq!(kind(read(&mut *fs, "/nothing/below")), ErrorKind::NotFound);
    assert_eq!(kind(read(&mut *fs, "/nixos")), ErrorKind::WrongType);
    assert_eq!(kind(read(&mut *fs, "/")), ErrorKind::WrongType);
    assert_eq!(kind(read(&mut *fs, "/empty/below")), ErrorKind::WrongType);
    assert_eq!(fs.read_dir("/empty").expect_err("a file").kind, ErrorKind::WrongType);
    assert_eq!(fs.read_link("/empty").expect_err("no link").kind, ErrorKind::WrongType);
    assert_eq!(fs.metadata("/").expect("the root").file_type, FileType::Directory);
    let error = fs.open("/extlinux/nothing.conf").err().expect("no such file");
    assert_eq!(error.to_string(), "/extlinux/nothing.conf: no such file");
}

#[test]
fn a_cluster_chain_that_loops_or_ends_early_is_an_error_and_not_a_hang_or_zeros() {
    for (link, reason) in [
        (None, "its cluster chain is a loop"),
        (Some(0xffff), "its cluster chain is shorter than its size"),
        (Some(0), "chain links to a free"),
    ] {
        let mut image = Image::fixture("fat16");
        // The directory entry has the number of the first cluster at byte 26.
        let entry = (0..64 * 512 * 8)
            .step_by(32)
            .find(|&at| image.read(at, 11) == *b"FRAGME~1BIN")
            .expect("the short name of the file");
        let first = image.read(entry + 26, 2);
        let cluster = u64::from(u16::from_le_bytes([first[0], first[1]]));
        let reserved = image.read(14, 2);
        let table = u64::from(u16::from_le_bytes([reserved[0], reserved[1]])) * 512;
        let link = link.unwrap_or(cluster as u16);
        image.write(table + 2 * cluster, &link.to_le_bytes());

        let mut fs = mount(Disk::new(image).volume()).expect("a file system");
        let error = read(&mut *fs, recipes::FAT_FRAGMENTED.0).expect_err("a damaged chain");
        assert_eq!(error.code(), Code::FileSystemCorrupt);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(read(&mut *fs, recipes::FAT_FILES[0].0).is_ok(), "other files are spared");
    }
}

#[test]
fn a_chain_that_comes_back_to_its_middle_or_leaves_the_medium_is_an_error() {
    for (link, reason) in [(90, "its cluster chain is a loop"), (1 << 27, "out-of-range cluster")] {
        let mut image = Image::fixture("fat32-large");
        let table = u64::from(u16::from_le_bytes(image.read(14, 2).try_into().unwrap())) * 512;
        // The file's clusters follow one another: its first links are the first run in the table.
        let links = image.read(table, 4096);
        let links = links.as_chunks().0.iter().map(|link| u32::from_le_bytes(*link));
        let links: Vec<u32> = links.collect();
        let first = (2..).find(|&at| (0..200).all(|k| links[at + k] == (at + k + 1) as u32));
        let first = first.expect("a file of 200 clusters");
        let link = (first + link) as u32;
        image.write(table + 4 * (first as u64 + 100), &link.to_le_bytes());

        let mut fs = mount(Disk::new(image).volume()).expect("a file system");
        let error = read(&mut *fs, recipes::LARGE.0).expect_err("a damaged chain");
        assert_eq!(error.code(), Code::FileSystemCorrupt);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_boot_sector_in_front_of_garbage_is_damage_and_not_an_empty_file_system() {
    for (fixture, _) in WIDTHS {
        let mut image = Image::fixture(fixture);
        let reserved = image.read(14, 2);
        let table = u64::from(u16::from_le_bytes([reserved[0], reserved[1]])) * 512;
        image.write(table, &[0xa5; 512]);
        let error = mount(Disk::new(image).volume()).err().expect("a damaged file system");
        assert_eq!(error.code(), Code::FileSystemCorrupt);
        assert!(error.to_string().contains("allocation table"), "{error}");
    }
}

#[test]
fn an_entry_with_a_damaged_name_is_not_listed_and_the_others_are() {
    let image = Image::fixture("fat16");
    let short = (0..64 * 512 * 8).step_by(32).find(|&at| image.read(at, 11) == *b"FRAGME~1BIN");
    let short = short.expect("the short name of the file");
    let whole = names(&mut *mount(Disk::new(image.clone()).volume()).unwrap(), "/");
    let others: Vec<_> = whole.iter().filter(|name| *name != "fragmented.bin").cloned().collect();
    assert_eq!(others.len() + 1, whole.len());
    // The front of the long name lies before the short one, in UTF-16.
    for (at, bytes) in [(short - 31, &b".\0.\0/\0"[..]), (short, b"A\0\0"), (short, b"A/B")] {
        let mut damaged = image.clone();
        damaged.write(at, bytes);
        let listed = names(&mut *mount(Disk::new(damaged).volume()).unwrap(), "/");
        assert_eq!(listed, others, "{}", bytes.escape_ascii());
    }
}

#[test]
fn short_names_find_files_too() {
    let mut fs = mount_fixture("fat32");
    assert_eq!(read(&mut *fs, "/fragme~1.bin").expect("a file").len(), 150_001);
}

#[test]
fn a_kernel_of_60_mb_costs_few_commands_and_few_bytes_more_than_it_has() {
    let disk = Disk::new(Image::fixture("fat32-large"));
    let counters = disk.counters();
    let mut fs = mount(disk.volume()).expect("a file system");
    let (path, seed, size) = recipes::LARGE;
    let bytes = read(&mut *fs, path).expect("a kernel");
    let cost = counters.get();
    assert!(bytes == content(seed, size));
    assert!(cost.blocks * 512 <= size as u64 * 105 / 100, "{cost:?}");
    assert!(cost.commands <= size as u64 >> 20, "{cost:?}");
}

#[test]
fn a_bad_block_in_a_file_names_device_and_block() {
    let image = Image::fixture("fat32-large");
    let disk = Disk::new(image).with_bad_block(60_000, BlockErrorKind::Transfer);
    let mut fs = mount(disk.volume()).expect("a file system");
    let error = read(&mut *fs, recipes::LARGE.0).expect_err("a bad block");
    assert_eq!(error.code(), Code::CardTransfer);
    assert_eq!(
        error.to_string(),
        "/Image: test card, block 60000: data from the card arrived damaged"
    );
}
