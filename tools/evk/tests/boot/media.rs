//! Cards of every kind that NixOS makes, in both slots.

use evk::{
    card::{Card, GIB, Table},
    nixos::{self, DeviceTreeKey, System},
    qemu::Slot,
};

use crate::{assets, board, boot_small, fat_card, finish_small, generation_of, path, small};

fn boots_the_default(card: &Card) {
    assert_eq!(generation_of(&small(), &boot_small(card)), 42);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_gpt_card_with_a_fat_boot_partition_boots() {
    boots_the_default(&nixos::card_with_fat_boot(Table::Gpt, small().boot_folder()));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_mbr_card_with_a_fat_boot_partition_boots() {
    boots_the_default(&nixos::card_with_fat_boot(Table::Mbr, small().boot_folder()));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_gpt_card_with_boot_inside_ext4_boots() {
    boots_the_default(&nixos::card_with_ext4_boot(Table::Gpt, small().boot_folder()));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_mbr_card_with_boot_inside_ext4_boots_as_sd_images_are() {
    boots_the_default(&nixos::card_with_ext4_boot(Table::Mbr, small().boot_folder()));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_that_counts_in_bytes_and_one_that_counts_in_blocks_boot() {
    for size in [GIB, 2 * GIB, 4 * GIB, 64 * GIB] {
        boots_the_default(&fat_card(&small()).size(size));
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_behind_the_other_controller_boots() {
    let machine = board().card(Slot::Emmc, path(&fat_card(&small())));
    let mut session = machine.start(&assets()).unwrap();
    assert_eq!(generation_of(&small(), &finish_small(&mut session)), 42);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn fdt_names_the_device_tree_file() {
    let system = System { device_tree_key: DeviceTreeKey::File, ..small() };
    boots_the_default(&fat_card(&system));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn fdtdir_names_the_folder_in_which_the_boards_tree_is_found() {
    let system = System { device_tree_key: DeviceTreeKey::Folder, ..small() };
    boots_the_default(&fat_card(&system));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_fdt_and_fdtdir_the_tree_handed_to_the_loader_serves() {
    let system = System { device_tree_key: DeviceTreeKey::None, ..small() };
    let report = boot_small(&fat_card(&system));
    assert_eq!(report.text("/ model").unwrap(), "NXP i.MX8MPlus EVK board");
    assert!(report.text("/firn-test generation").is_err());
    let bootargs = report.text("/chosen bootargs").unwrap();
    assert_eq!(bootargs, system.generations[0].command_line());
}
