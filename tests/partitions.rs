//! What a card's partition table says, whole and damaged.

mod disk;

use std::rc::Rc;

use disk::{Disk, Image};
use firn::{
    block::{
        ErrorKind,
        partition::{GptDefect, PartitionTable, PartitionType, Problem, TableKind, scan},
        volume::Volume,
    },
    error::{Code, Coded},
};

fn scan_image(image: Image) -> PartitionTable {
    scan(&Disk::new(image).cached()).expect("a readable card")
}

/// Number, start and size of each partition.
fn extents(table: &PartitionTable) -> Vec<(u32, u64, u64)> {
    table.partitions.iter().map(|found| (found.index, found.start, found.block_count)).collect()
}

const GPT_EXTENTS: [(u32, u64, u64); 3] =
    [(1, 16384, 32768), (2, 49152, 65536), (5, 114688, 16000)];

#[test]
fn gpt_partitions_come_with_number_name_partuuid_and_boot_flag() {
    let table = scan_image(Image::fixture("gpt"));
    assert_eq!(table.kind, TableKind::Gpt);
    assert_eq!(table.problems, []);
    assert_eq!(extents(&table), GPT_EXTENTS);
    let names: Vec<_> = table.partitions.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["FIRMWARE", "Wurzel-übung", ""]);
    assert_eq!(
        table.partitions[1].partuuid.as_deref(),
        Some("01234567-89ab-cdef-0123-456789abcdef")
    );
    let flags: Vec<_> = table.partitions.iter().map(|found| found.bootable).collect();
    assert_eq!(flags, [true, false, false]);
    let PartitionType::Gpt(linux) = table.partitions[1].partition_type else {
        panic!("a GPT partition has a GPT type")
    };
    assert_eq!(linux.to_string(), "0fc63daf-8483-4772-8e79-3d69d8477de4");
}

#[test]
fn a_damaged_primary_gpt_is_reported_and_its_backup_used() {
    for (damage_at, defect) in [
        (512, GptDefect::NoSignature),
        (512 + 16, GptDefect::HeaderChecksum),
        (1024 + 40, GptDefect::EntriesChecksum),
    ] {
        let mut image = Image::fixture("gpt");
        image.write(damage_at, b"overwritten");
        let table = scan_image(image);
        assert_eq!(extents(&table), GPT_EXTENTS);
        assert_eq!(table.problems, [Problem::PrimaryDamaged(defect)]);
        assert_eq!(table.problems[0].code(), Code::PartitionTableCorrupt);
    }
}

#[test]
fn what_is_wrong_with_a_table_is_told_with_what_to_do_about_it() {
    let mut image = Image::fixture("gpt");
    image.write(512 + 16, b"overwritten");
    let problems = scan_image(image).problems;
    assert_eq!(
        problems[0].to_string(),
        "the primary GPT is damaged (wrong checksum of the header); its backup at the end of the \
         card is used. `fdisk` on the card, then `w`, repairs it"
    );
    let problems = scan_image(Image::blank(100)).problems;
    assert_eq!(problems[0].to_string(), "no partition table");
}

#[test]
fn an_unreadable_primary_gpt_is_replaced_by_its_backup_too() {
    for kind in [ErrorKind::Transfer, ErrorKind::Timeout, ErrorKind::Controller] {
        for block in [1, 2] {
            let disk = Disk::new(Image::fixture("gpt")).with_bad_block(block, kind);
            let table = scan(&disk.cached()).expect("a card that can be read elsewhere");
            assert_eq!(extents(&table), GPT_EXTENTS);
            let [Problem::PrimaryDamaged(GptDefect::Unreadable(error))] = &table.problems[..]
            else {
                panic!("{:?}", table.problems)
            };
            assert_eq!((error.kind, error.block), (kind, block));
        }
    }
}

#[test]
fn a_first_block_that_cannot_be_read_does_not_hide_the_gpt() {
    for kind in [ErrorKind::Transfer, ErrorKind::Timeout] {
        let disk = Disk::new(Image::fixture("gpt")).with_bad_block(0, kind);
        let table = scan(&disk.cached()).expect("a card that can be read elsewhere");
        assert_eq!((table.kind, extents(&table)), (TableKind::Gpt, GPT_EXTENTS.to_vec()));
        let [problem @ Problem::FirstBlock(error)] = &table.problems[..] else {
            panic!("{:?}", table.problems)
        };
        assert_eq!((error.kind, error.block), (kind, 0));
        assert_eq!(problem.code(), error.code());
        assert!(problem.to_string().ends_with("the GPT behind it is used; replace the card"));
    }
}

#[test]
fn a_card_whose_front_cannot_be_read_is_found_by_its_backup_gpt() {
    let front = (0..34).fold(Disk::new(Image::fixture("gpt")), |disk, block| {
        disk.with_bad_block(block, ErrorKind::Timeout)
    });
    let table = scan(&front.cached()).expect("a card that can be read elsewhere");
    assert_eq!(extents(&table), GPT_EXTENTS);
    assert!(matches!(
        table.problems[..],
        [Problem::FirstBlock(_), Problem::PrimaryDamaged(GptDefect::Unreadable(_))]
    ));
}

#[test]
fn without_its_first_block_a_card_that_need_not_have_a_gpt_cannot_be_used() {
    let mut formatted = Image::fixture("gpt");
    // An ext4 superblock in front of a backup that was left over.
    formatted.write(0, &[0; 34 * 512]);
    formatted.write(0x438, &[0x53, 0xef]);
    for image in [Image::fixture("mbr"), Image::fixture("ext4"), formatted] {
        let disk = Disk::new(image).with_bad_block(0, ErrorKind::Transfer);
        let error = scan(&disk.cached()).expect_err("nobody knows what is on it");
        assert_eq!((error.kind, error.block), (ErrorKind::Transfer, 0));
    }
}

#[test]
fn a_card_that_has_gone_silent_is_an_error_after_few_attempts() {
    let image = Image::fixture("gpt");
    let blocks = image.block_count;
    let silent = (0..blocks)
        .fold(Disk::new(image), |disk, block| disk.with_bad_block(block, ErrorKind::Timeout));
    let counters = silent.counters();
    let error = scan(&silent.cached()).expect_err("a silent card");
    assert_eq!((error.kind, error.block), (ErrorKind::Timeout, 0));
    // The first block and both headers, each ahead and by itself.
    assert_eq!(counters.get().commands, 6);
}

#[test]
fn a_card_that_is_pulled_is_an_error_and_not_a_damaged_table() {
    let disk = Disk::new(Image::fixture("gpt")).with_bad_block(1, ErrorKind::Removed);
    let error = scan(&disk.cached()).expect_err("no card");
    assert_eq!(error.kind, ErrorKind::Removed);
}

#[test]
fn a_gpt_with_both_copies_damaged_is_named_so_and_the_whole_card_is_offered() {
    let mut image = Image::fixture("gpt");
    let last = (image.block_count - 1) * 512;
    image.write(512, b"overwritten");
    image.write(last + 24, b"overwritten");
    let table = scan_image(image);
    assert_eq!(table.kind, TableKind::Whole);
    assert_eq!(
        table.problems,
        [Problem::BothDamaged {
            primary: GptDefect::NoSignature,
            backup: GptDefect::HeaderChecksum
        }]
    );
}

#[test]
fn a_card_with_a_wiped_front_is_found_by_its_backup_gpt() {
    let mut image = Image::fixture("gpt");
    image.write(0, &[0; 34 * 512]);
    let table = scan_image(image);
    assert_eq!(extents(&table), GPT_EXTENTS);
    assert_eq!(
        table.problems,
        [Problem::NoProtectiveMbr, Problem::PrimaryDamaged(GptDefect::NoSignature)]
    );
}

#[test]
fn a_backup_gpt_left_over_from_before_formatting_is_not_believed() {
    let mut image = Image::fixture("gpt");
    image.write(0, &[0; 34 * 512]);
    // An ext4 superblock, as on a card that was formatted without partitions.
    image.write(0x438, &[0x53, 0xef]);
    let table = scan_image(image);
    assert_eq!(table.kind, TableKind::Whole);
    assert_eq!(table.problems, [Problem::NoTable]);
}

#[test]
fn a_hybrid_mbr_does_not_hide_the_gpt() {
    let mut image = Image::fixture("gpt");
    // A second record: FAT32 at the first partition, as hybrid tools write.
    let record = [0x80, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 0];
    image.write(446 + 16, &record);
    let table = scan_image(image);
    assert_eq!((table.kind, extents(&table)), (TableKind::Gpt, GPT_EXTENTS.to_vec()));
}

#[test]
fn a_gpt_without_its_protective_mbr_is_used_and_reported() {
    let mut image = Image::fixture("gpt");
    image.write(446, &[0; 66]);
    let table = scan_image(image);
    assert_eq!(extents(&table), GPT_EXTENTS);
    assert_eq!(table.problems, [Problem::NoProtectiveMbr]);
}

/// A primary GPT header with other values and the checksums that go with them; no backup.
fn gpt_with(change: impl FnOnce(&mut Vec<u8>), entries: &[u8]) -> Image {
    let mut image = Image::fixture("gpt");
    let last = (image.block_count - 1) * 512;
    image.write(last, &[0; 512]);
    image.write(1024, entries);
    let mut header = image.read(512, 92);
    let entries = image.read(1024, 128 * 128);
    header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
    change(&mut header);
    header[16..20].fill(0);
    let checksum = crc32(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    image.write(512, &header);
    image
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc: u32, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[test]
fn hostile_gpt_headers_with_valid_checksums_are_refused_by_name() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(Change, GptDefect); 7] = [
        (|header| header[80..84].copy_from_slice(&u32::MAX.to_le_bytes()), {
            GptDefect::EntryCount(u32::MAX)
        }),
        (|header| header[84..88].copy_from_slice(&0_u32.to_le_bytes()), GptDefect::EntrySize(0)),
        (|header| header[84..88].copy_from_slice(&100_u32.to_le_bytes()), {
            GptDefect::EntrySize(100)
        }),
        (|header| header[84..88].copy_from_slice(&(1_u32 << 31).to_le_bytes()), {
            GptDefect::EntrySize(1 << 31)
        }),
        (|header| header[72..80].copy_from_slice(&u64::MAX.to_le_bytes()), {
            GptDefect::EntriesOutside
        }),
        (|header| header[24..32].copy_from_slice(&7_u64.to_le_bytes()), {
            GptDefect::Misplaced { names: 7 }
        }),
        (|header| header[12..16].copy_from_slice(&4096_u32.to_le_bytes()), {
            GptDefect::HeaderSize(4096)
        }),
    ];
    for (change, defect) in cases {
        let table = scan_image(gpt_with(change, &[]));
        assert_eq!(
            table.problems,
            [Problem::BothDamaged { primary: defect, backup: GptDefect::NoSignature }]
        );
    }
}

#[test]
fn gpt_entries_beyond_the_card_are_cut_or_dropped_and_reported() {
    let mut entry = Image::fixture("gpt").read(1024, 128);
    let mut entries = Vec::new();
    for (start, end) in [
        (131_000, 200_000), // reaches beyond
        (131_072, 131_073), // lies beyond
        (9_000, 8_999),     // ends before it starts
        (0, u64::MAX),      // everything
        (u64::MAX, u64::MAX),
        (2_048, 4_095),
    ] {
        entry[32..40].copy_from_slice(&u64::to_le_bytes(start));
        entry[40..48].copy_from_slice(&end.to_le_bytes());
        entries.extend(&entry);
    }
    let table = scan_image(gpt_with(|_| {}, &entries));
    assert_eq!(extents(&table), [(1, 131_000, 72), (4, 0, 131_072), (6, 2_048, 2_048)]);
    let expected: Vec<_> = (1..=5).map(|index| Problem::OutOfRange { index }).collect();
    assert_eq!(table.problems, expected);
}

#[test]
fn mbr_partitions_are_listed_with_the_logical_ones_from_five_on() {
    let table = scan_image(Image::fixture("mbr"));
    assert_eq!(table.kind, TableKind::Mbr);
    assert_eq!(table.problems, []);
    assert_eq!(
        extents(&table),
        [
            (1, 16384, 16384),
            (2, 32768, 16384),
            (5, 51200, 8192),
            (6, 61440, 8192),
            (7, 71680, 8192)
        ]
    );
    assert!(table.partitions[0].bootable && !table.partitions[1].bootable);
    assert_eq!(table.partitions[0].partition_type, PartitionType::Mbr(0x0c));
    assert_eq!(table.partitions[3].partuuid.as_deref(), Some("cafe1234-06"));
}

/// The place of the extended partition's first link, second record.
const SECOND_RECORD_OF_FIRST_LINK: u64 = 49152 * 512 + 446 + 16;

#[test]
fn a_loop_in_the_chain_of_logical_partitions_ends_and_is_reported() {
    let mut image = Image::fixture("mbr");
    // The first link names itself as the next.
    image.write(SECOND_RECORD_OF_FIRST_LINK + 8, &0_u32.to_le_bytes());
    let table = scan(&Disk::new(image).with_budget(1000).cached()).expect("a readable card");
    assert_eq!(extents(&table)[2..], [(5, 51200, 8192)]);
    assert_eq!(table.problems, [Problem::LogicalChain { block: 49152 }]);
}

#[test]
fn a_link_of_the_chain_that_cannot_be_read_ends_it_and_is_reported() {
    let image = Image::fixture("mbr");
    let primary = extents(&scan_image(image.clone()))[..2].to_vec();
    for kind in [ErrorKind::Transfer, ErrorKind::Timeout] {
        let disk = Disk::new(image.clone()).with_bad_block(49152, kind);
        let table = scan(&disk.cached()).expect("a card that can be read elsewhere");
        assert_eq!(extents(&table), primary);
        assert_eq!(table.problems, [Problem::LogicalChain { block: 49152 }]);
    }
}

#[test]
fn a_chain_of_logical_partitions_that_leaves_the_card_ends_and_is_reported() {
    let mut image = Image::fixture("mbr");
    image.write(SECOND_RECORD_OF_FIRST_LINK + 8, &u32::MAX.to_le_bytes());
    let table = scan_image(image);
    assert_eq!(extents(&table).len(), 3);
    assert_eq!(table.problems, [Problem::LogicalChain { block: 49152 + u64::from(u32::MAX) }]);
}

#[test]
fn a_card_without_a_table_is_offered_as_a_whole() {
    for name in ["fat12", "fat16", "fat32", "ext4"] {
        let image = Image::fixture(name);
        let blocks = image.block_count;
        let table = scan_image(image);
        assert_eq!(table.kind, TableKind::Whole, "{name}");
        assert_eq!(extents(&table), [(0, 0, blocks)], "{name}");
        assert_eq!(table.problems, [Problem::NoTable]);
        assert_eq!(table.problems[0].code(), Code::NoPartitions);
    }
}

#[test]
fn cards_of_a_few_blocks_are_survived() {
    for blocks in 1..6 {
        let mut image = Image::blank(blocks);
        image.write(510, &[0x55, 0xaa]);
        image.write(446 + 4, &[0xee]);
        assert_eq!(scan_image(image).kind, TableKind::Whole);
    }
    assert!(scan(&Disk::new(Image::blank(0)).cached()).is_err());
}

#[test]
fn a_volume_reads_bytes_of_its_partition_and_no_others() {
    let image = Rc::new({
        let mut image = Image::fixture("gpt");
        image.write(16384 * 512, &disk::content(1, 8192));
        image
    });
    let device = Disk::new(Rc::clone(&image)).cached();
    let table = scan(&device).expect("a readable card");
    let volume = Volume::new(device, &table.partitions[0]);
    let expected = disk::content(1, 8192);
    for (offset, size) in [(0, 8192), (1, 510), (511, 2), (100, 5000), (512, 1024), (512, 700)] {
        let mut bytes = vec![0; size];
        volume.read_at(offset as u64, &mut bytes).expect("inside of the partition");
        assert_eq!(bytes, expected[offset..offset + size]);
    }
    let end = volume.size();
    assert_eq!(end, 32768 * 512);
    for (offset, size) in [(end, 1), (end - 1, 2), (end - 512, 1024), (u64::MAX, 1)] {
        let error = volume.read_at(offset, &mut vec![0; size]).expect_err("outside");
        assert_eq!(error.kind, ErrorKind::OutOfRange);
    }
}
