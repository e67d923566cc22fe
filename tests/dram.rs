//! Who is believed about the size of memory.

use firn::{
    board::BOARD,
    devicetree::{DeviceTree, DeviceTreeBuf, memory},
    linux::{Dram, Witnesses, dram::Source},
    memory::Region,
};

const GIB: u64 = 1 << 30;
const LOADER: Region = Region::new(0x4020_0000, 0x20_0000);
static BOARD_DTB: &[u8] = include_bytes!("fixtures/devicetree/board.dtb");
static SMALLEST_DTB: &[u8] = include_bytes!("fixtures/devicetree/smallest.dtb");

fn tree_with(banks: &[Region]) -> DeviceTreeBuf {
    let mut tree = DeviceTreeBuf::from(DeviceTree::validate(BOARD_DTB).unwrap());
    memory::set_banks(&mut tree, banks).unwrap();
    tree
}

/// A tree, and nobody else.
fn tells(firmware_tree: DeviceTree<'_>) -> Witnesses<'_> {
    Witnesses { firmware_tree: Some(firmware_tree), ..Witnesses::default() }
}

#[test]
fn the_first_stage_is_believed_before_the_controller_and_both_before_a_tree() {
    let tree = tree_with(&[Region::new(GIB, GIB)]);
    let asked = |first_stage: &[Region], controller: &[Region]| {
        let witnesses = Witnesses {
            first_stage: first_stage.to_vec(),
            controller: controller.to_vec(),
            ..tells(tree.view())
        };
        let dram = Dram::find(witnesses, &BOARD, LOADER);
        assert_eq!(dram.for_tree(), Some(&*dram.banks), "the kernel is told");
        (dram.source, dram.banks[0].size() / GIB)
    };
    let (three, two) = ([Region::new(GIB, 3 * GIB)], [Region::new(GIB, 2 * GIB)]);
    assert_eq!(asked(&three, &two), (Source::FirstStage, 3));
    assert_eq!(asked(&[], &two), (Source::Controller, 2));
    // In an emulator neither is there.
    assert_eq!(asked(&[], &[]), (Source::FirmwareTree, 1));
    let elsewhere = [Region::new(4 * GIB, GIB)];
    assert_eq!(asked(&elsewhere, &elsewhere), (Source::FirmwareTree, 1));
}

#[test]
fn the_tree_of_the_stage_before_is_believed_and_handed_on() {
    let tree = tree_with(&[Region::new(GIB, GIB)]);
    let dram = Dram::find(tells(tree.view()), &BOARD, LOADER);
    assert_eq!(dram, Dram { banks: vec![Region::new(GIB, GIB)], source: Source::FirmwareTree });
    assert_eq!(dram.for_tree(), Some(&[Region::new(GIB, GIB)][..]));
}

#[test]
fn a_tree_whose_memory_does_not_hold_the_loader_is_not_believed() {
    for elsewhere in [Region::new(0, GIB), Region::new(GIB, 0x20_0000), Region::new(4 * GIB, GIB)] {
        let dram = Dram::find(tells(tree_with(&[elsewhere]).view()), &BOARD, LOADER);
        assert_eq!(dram.source, Source::Board);
    }
    let without_memory = DeviceTree::validate(SMALLEST_DTB).unwrap();
    assert_eq!(Dram::find(tells(without_memory), &BOARD, LOADER).source, Source::Board);
}

#[test]
fn a_tree_with_memory_where_none_can_be_is_not_believed() {
    let good = Region::new(GIB, GIB);
    let specks = (0..16).map(|n| Region::new(3 * GIB + n * 0x2000, 0x1000));
    for banks in [
        vec![Region::new(0, 4 * GIB)],
        vec![good, Region::new(0x3000_0000, 0x1000)],
        vec![Region::between(GIB, u64::MAX)],
        vec![good, Region::new(1 << 40, GIB)],
        std::iter::once(good).chain(specks).collect(),
    ] {
        let dram = Dram::find(tells(tree_with(&banks).view()), &BOARD, LOADER);
        assert_eq!(dram.source, Source::Board, "{banks:x?}");
    }
}

#[test]
fn without_a_tree_the_boards_table_serves_and_the_kernels_tree_is_left_alone() {
    let dram = Dram::find(Witnesses::default(), &BOARD, LOADER);
    assert_eq!(dram.banks, [Region::new(GIB, 3 * GIB), Region::new(4 * GIB, 3 * GIB)]);
    assert_eq!(dram.for_tree(), None);
}

#[test]
fn memory_that_the_kernel_will_not_know_of_is_not_loaded_to() {
    let kernel_tree = tree_with(&[Region::new(GIB, 2 * GIB)]);
    let guessed = Dram::find(Witnesses::default(), &BOARD, LOADER);
    assert_eq!(guessed.usable(kernel_tree.view()), [Region::new(GIB, 2 * GIB)]);
    assert_eq!(guessed.usable(DeviceTree::validate(SMALLEST_DTB).unwrap()), guessed.banks);

    let told = Dram::find(tells(tree_with(&[Region::new(GIB, 3 * GIB)]).view()), &BOARD, LOADER);
    assert_eq!(told.usable(kernel_tree.view()), told.banks, "that tree gets patched");
}
