//! Who is believed about the size of memory.

use firn::{
    board::BOARD,
    devicetree::{DeviceTree, DeviceTreeBuf, memory},
    linux::{Dram, dram::Source},
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

#[test]
fn the_tree_of_the_stage_before_is_believed_and_handed_on() {
    let tree = tree_with(&[Region::new(GIB, GIB)]);
    let dram = Dram::find(Some(tree.view()), &BOARD, LOADER);
    assert_eq!(dram, Dram { banks: vec![Region::new(GIB, GIB)], source: Source::FirmwareTree });
    assert_eq!(dram.for_tree(), Some(&[Region::new(GIB, GIB)][..]));
}

#[test]
fn a_tree_whose_memory_does_not_hold_the_loader_is_not_believed() {
    for elsewhere in [Region::new(0, GIB), Region::new(GIB, 0x20_0000), Region::new(4 * GIB, GIB)] {
        let dram = Dram::find(Some(tree_with(&[elsewhere]).view()), &BOARD, LOADER);
        assert_eq!(dram.source, Source::Board);
    }
    let without_memory = DeviceTree::validate(SMALLEST_DTB).unwrap();
    assert_eq!(Dram::find(Some(without_memory), &BOARD, LOADER).source, Source::Board);
}

#[test]
fn without_a_tree_the_boards_table_serves_and_the_kernels_tree_is_left_alone() {
    let dram = Dram::find(None, &BOARD, LOADER);
    assert_eq!(dram.banks, [Region::new(GIB, 3 * GIB), Region::new(4 * GIB, 3 * GIB)]);
    assert_eq!(dram.for_tree(), None);
}

#[test]
fn memory_that_the_kernel_will_not_know_of_is_not_loaded_to() {
    let kernel_tree = tree_with(&[Region::new(GIB, 2 * GIB)]);
    let guessed = Dram::find(None, &BOARD, LOADER);
    assert_eq!(guessed.usable(kernel_tree.view()), [Region::new(GIB, 2 * GIB)]);
    assert_eq!(guessed.usable(DeviceTree::validate(SMALLEST_DTB).unwrap()), guessed.banks);

    let told = Dram::find(Some(tree_with(&[Region::new(GIB, 3 * GIB)]).view()), &BOARD, LOADER);
    assert_eq!(told.usable(kernel_tree.view()), told.banks, "that tree gets patched");
}
