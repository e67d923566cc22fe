//! The state record is never written over anything: where its copies lie on all kinds of cards.

#![forbid(unsafe_code)]

use firn::{
    block::partition::{GptDefect, Partition, PartitionTable, PartitionType, Problem, TableKind},
    state::{
        RECORD_BLOCKS,
        copies::Ground,
        place::{Front, GAP_OFFSETS, NoPlace, PARTITION_TYPE, Place, find},
    },
};
use gpt_disk_types::guid;
use proptest::{collection, prelude::*};

const CARD: u64 = 1 << 22;
const GAP: Place = Place { first_blocks: [0x1f00, 0x3f00], ground: Ground::Gap };
const LINUX: PartitionType = PartitionType::Gpt(guid!("0fc63daf-8483-4772-8e79-3d69d8477de4"));
const OWN: PartitionType = PartitionType::Gpt(PARTITION_TYPE);

fn partition(partition_type: PartitionType, start: u64, block_count: u64) -> Partition {
    Partition {
        index: 1,
        start,
        block_count,
        name: String::new(),
        partition_type,
        partuuid: None,
        bootable: false,
    }
}

fn table(kind: TableKind, partitions: Vec<Partition>) -> PartitionTable {
    PartitionTable { kind, partitions, problems: Vec::new() }
}

/// A protective MBR and the header of a GPT whose 128 entries begin at block `entries`.
fn gpt_front(entries: u64) -> Front {
    let mut front = mbr_front(&[(0xee, 1)]);
    front[512..520].copy_from_slice(b"EFI PART");
    front[552..560].copy_from_slice(&34u64.to_le_bytes());
    front[560..568].copy_from_slice(&(CARD - 34).to_le_bytes());
    front[584..592].copy_from_slice(&entries.to_le_bytes());
    front[592..596].copy_from_slice(&128u32.to_le_bytes());
    front[596..600].copy_from_slice(&128u32.to_le_bytes());
    front
}

fn mbr_front(records: &[(u8, u32)]) -> Front {
    let mut front = [0; 1024];
    for (n, (system, start)) in records.iter().enumerate() {
        let record = &mut front[446 + 16 * n..][..16];
        record[4] = *system;
        record[8..12].copy_from_slice(&start.to_le_bytes());
        record[12..16].copy_from_slice(&1000u32.to_le_bytes());
    }
    front
}

fn on_gpt(partitions: Vec<Partition>) -> Result<Place, NoPlace> {
    find(&table(TableKind::Gpt, partitions), &gpt_front(2), CARD)
}

#[test]
fn an_sd_image_with_8_mib_in_front_of_its_first_partition_has_both_places_in_the_gap() {
    let partitions = vec![partition(PartitionType::Mbr(0x0c), 16384, 100_000)];
    let found = find(&table(TableKind::Mbr, partitions), &mbr_front(&[(0x0c, 16384)]), CARD);
    assert_eq!(found, Ok(GAP));
    assert_eq!(GAP.first_blocks.map(|block| block * 512), GAP_OFFSETS);
}

#[test]
fn a_first_partition_before_8_mib_leaves_no_place() {
    for first in [2048, 0x1f00, 0x3f07] {
        let partitions = vec![partition(PartitionType::Mbr(0x0c), first, 100)];
        let front = mbr_front(&[(0x0c, u32::try_from(first).unwrap())]);
        let found = find(&table(TableKind::Mbr, partitions), &front, CARD);
        assert_eq!(found, Err(NoPlace::NoGap { first }));
    }
    let partitions = vec![partition(LINUX, 0x3f08, 100)];
    assert_eq!(on_gpt(partitions), Ok(GAP));
}

#[test]
fn the_room_in_an_extended_partition_before_its_first_logical_one_is_not_free() {
    let logical = vec![partition(PartitionType::Mbr(0x83), 32768, 100)];
    let found = find(&table(TableKind::Mbr, logical), &mbr_front(&[(0x0f, 4096)]), CARD);
    assert_eq!(found, Err(NoPlace::NoGap { first: 4096 }));
}

#[test]
fn a_hybrid_mbrs_partitions_count() {
    let mut front = gpt_front(2);
    front[446 + 16..][..512 - 446 - 16].copy_from_slice(&mbr_front(&[(0x0c, 4096)])[446..496]);
    let found = find(&table(TableKind::Gpt, Vec::new()), &front, CARD);
    assert_eq!(found, Err(NoPlace::NoGap { first: 4096 }));
}

#[test]
fn a_partition_table_that_was_moved_into_the_gap_is_spared() {
    let linux = || table(TableKind::Gpt, vec![partition(LINUX, 32768, 100)]);
    for (entries, expected) in [
        (2, Ok(GAP)),
        (0x1f00 - 32, Ok(GAP)),
        (0x1f00 - 31, Err(NoPlace::TableInPlace)),
        (0x3f00, Err(NoPlace::TableInPlace)),
        (u64::MAX, Err(NoPlace::DamagedTable)),
    ] {
        assert_eq!(find(&linux(), &gpt_front(entries), CARD), expected, "{entries:#x}");
    }
}

#[test]
fn a_damaged_table_or_none_leaves_no_place() {
    let mut damaged = table(TableKind::Gpt, vec![partition(LINUX, 32768, 100)]);
    damaged.problems.push(Problem::PrimaryDamaged(GptDefect::HeaderChecksum));
    assert_eq!(find(&damaged, &gpt_front(2), CARD), Err(NoPlace::DamagedTable));

    let mut whole = table(TableKind::Whole, vec![partition(PartitionType::Whole, 0, CARD)]);
    assert_eq!(find(&whole, &mbr_front(&[]), CARD), Err(NoPlace::NoTable));
    whole.problems.push(Problem::BothDamaged {
        primary: GptDefect::HeaderChecksum,
        backup: GptDefect::NoSignature,
    });
    assert_eq!(find(&whole, &mbr_front(&[]), CARD), Err(NoPlace::DamagedTable));
}

#[test]
fn a_card_that_ends_before_8_mib_has_no_place() {
    let empty = table(TableKind::Gpt, Vec::new());
    assert_eq!(find(&empty, &gpt_front(2), 0x3f07), Err(NoPlace::CardTooSmall));
    assert_eq!(find(&empty, &gpt_front(2), 0x3f08), Ok(GAP));
}

#[test]
fn two_partitions_of_the_type_hold_a_copy_each() {
    let found = on_gpt(vec![
        partition(OWN, 0x1f00, 8),
        partition(OWN, 0x3f00, 256),
        partition(LINUX, 2048, 100),
    ]);
    assert_eq!(found, Ok(Place { first_blocks: [0x1f00, 0x3f00], ground: Ground::Own }));
}

#[test]
fn one_partition_of_the_type_holds_a_copy_at_each_end() {
    let found = on_gpt(vec![partition(LINUX, 2048, 100), partition(OWN, 4096, 8192)]);
    assert_eq!(found, Ok(Place { first_blocks: [4096, 12280], ground: Ground::Own }));
}

#[test]
fn partitions_that_are_too_small_or_overlap_are_not_used() {
    for partitions in [
        vec![partition(OWN, 4096, 15)],
        vec![partition(OWN, 4096, 7)],
        vec![partition(OWN, 4096, 8), partition(OWN, 8192, 7)],
        vec![partition(OWN, 4096, 8), partition(OWN, 4100, 8)],
        vec![partition(OWN, 4096, 16), partition(LINUX, 4111, 100)],
        vec![partition(OWN, 4096, 16), partition(LINUX, 4000, u64::MAX)],
    ] {
        assert_eq!(on_gpt(partitions.clone()), Err(NoPlace::UnusablePartition), "{partitions:?}");
    }
}

#[test]
fn a_partition_of_the_type_that_lies_on_a_table_is_not_used() {
    for start in [0, 1, 2, 33, CARD - 48, CARD - 16] {
        let found = on_gpt(vec![partition(OWN, start, 16)]);
        assert_eq!(found, Err(NoPlace::TableInPlace), "{start}");
    }
    assert!(on_gpt(vec![partition(OWN, 34, 16)]).is_ok());
    assert!(on_gpt(vec![partition(OWN, CARD - 49, 16)]).is_ok());
}

#[test]
fn every_refusal_says_why() {
    for (refusal, text) in [
        (NoPlace::NoGap { first: 2048 }, "begins at block 2048"),
        (NoPlace::UnusablePartition, "249297d9-abe6-4cc2-b2db-30dfedd28f6b"),
    ] {
        assert!(refusal.to_string().contains(text), "{refusal}");
    }
}

proptest! {
    #[test]
    fn no_copy_ever_touches_a_foreign_partition_a_table_or_the_other_copy(
        partitions in collection::vec(
            (any::<bool>(), prop_oneof![0..70_000u64, any::<u64>()],
             prop_oneof![1..70_000u64, any::<u64>()]), 0..5),
        entries in prop_oneof![2..70_000u64, any::<u64>()],
        device_blocks in 0..100_000u64,
        gpt: bool,
    ) {
        let partitions: Vec<_> = partitions
            .into_iter()
            .map(|(own, start, count)| partition(if own { OWN } else { LINUX }, start, count))
            .collect();
        let kind = if gpt { TableKind::Gpt } else { TableKind::Mbr };
        let front = if gpt { gpt_front(entries) } else { mbr_front(&[]) };
        let table = table(kind, partitions);
        if let Ok(Place { first_blocks: [a, b], .. }) = find(&table, &front, device_blocks) {
            prop_assert!(a.abs_diff(b) >= RECORD_BLOCKS);
            for copy in [a, b] {
                let end = copy + RECORD_BLOCKS;
                prop_assert!(end <= device_blocks);
                for other in &table.partitions {
                    let apart = end <= other.start
                        || u128::from(other.start) + u128::from(other.block_count)
                            <= u128::from(copy);
                    prop_assert!(apart || other.partition_type == OWN);
                }
                let table_end = u128::from(entries) + 32;
                prop_assert!(copy > 1 && (!gpt || table_end <= u128::from(copy)));
            }
        }
    }
}
