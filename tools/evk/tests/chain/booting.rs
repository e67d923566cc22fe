//! What boots, and from where.

use std::fs;

use evk::{
    card::Table,
    emmc::Emmc,
    flash::Flash,
    gdb::{BootSwitches, Hardware},
    models::usdhc::Rules,
    nixos::{self, DEVICE_TREE, System},
    qemu::{Entry, Machine, Slot},
};
use firn::{
    board::BOARD,
    error::Code,
    image::{build::for_flexspi, container::PartKind},
};

use crate::{
    BL31, CONTAINER, LINUX, PRIMARY, SECONDARY, SOON, assets, card_of, card_with, damaged, finish,
    flash, guests, image, make, rom_starts, small, sound, start_with_system, tag,
};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_from_a_card_and_nothing_else() {
    let system = System { timeout: nixos::Timeout::Seconds(0), ..System::real(&assets()).unwrap() };
    // Training firmware of its real size.
    let flash = Flash::of_this_tree(&assets()).unwrap().bytes().unwrap();
    let card = nixos::card_with_fat_boot(Table::Gpt, system.boot_folder()).flash(flash);
    let board = Machine::new(Entry::BootRom(Hardware::default())).card(Slot::Sd, make(&card));
    let mut session = board.start(&assets()).unwrap();
    let report = session.expect_userspace(LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    assert!(report.command_line.contains(&system.generations[0].toplevel()));
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    let text = session.text();
    for stage in ["first stage", "BL31:", "told by the first stage"] {
        assert!(text.contains(stage), "{text}");
    }
    assert!(!text.contains("[E"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_damaged_header_makes_the_boot_rom_start_the_secondary_image() {
    let mut session = start_with_system(card_with([(PRIMARY, damaged(0)), (SECONDARY, image())]));
    session.expect("secondary image at 0x408000", SOON).unwrap();
    finish(&mut session);
    assert!(rom_starts(&session)[0].contains("from 0x408000"), "{:?}", rom_starts(&session));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_damaged_container_or_part_makes_the_first_stage_load_the_secondary_image() {
    for (damage, code) in [(CONTAINER, Code::NotABootImage), (BL31, Code::BootImageDigest)] {
        let images = [(PRIMARY, damaged(damage)), (SECONDARY, image())];
        let mut session = start_with_system(card_with(images));
        session.expect(&format!("{} image at 0x8000: ", tag(code)), SOON).unwrap();
        session.expect("BL31:", SOON).unwrap();
        // The second stage is told.
        session.expect("secondary image at 0x408000", SOON).unwrap();
        session.expect(&tag(code), SOON).unwrap();
        finish(&mut session);
        assert!(rom_starts(&session)[0].contains("from 0x8000"), "{:?}", rom_starts(&session));
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_emmc_boots_from_its_user_area_and_from_its_boot_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let partition = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Some(path)
    };
    let user = card_of(&small());
    let good = || partition("good", image());
    let bad = || partition("bad", damaged(0));
    for (boot, partition_config, covers, from) in [
        ([None, None], 0, vec![(PRIMARY, image())], "from 0x8000"),
        ([good(), None], 0b1000, vec![], "from 0x0"),
        ([good(), bad()], 0b1_0000, vec![], "from 0x0 "),
    ] {
        let emmc = Emmc { user: user.clone(), boot, partition_config, writable: false };
        let hardware = Hardware { switches: BootSwitches::Emmc, covers, ..Hardware::default() };
        let rules = Rules::default();
        let board = Machine::new(Entry::BootRom(hardware)).emmc(emmc, &rules);
        let mut session = board.start(&assets()).unwrap();
        session.expect("eMMC (uSDHC3)", SOON).unwrap();
        finish(&mut session);
        assert!(rom_starts(&session)[0].contains(from), "{:?}", rom_starts(&session));
        assert_eq!(rules.list(), [""; 0]);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_nor_flash_boots_what_is_on_the_card() {
    let flash = for_flexspi(BOARD.image, &image());
    let hardware = Hardware { switches: BootSwitches::FlexSpi(flash), ..Hardware::default() };
    let mut session = start_with_system(hardware);
    session.expect("FlexSPI", SOON).unwrap();
    finish(&mut session);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_download_over_usb_boots_what_is_on_the_card() {
    let hardware = Hardware { switches: BootSwitches::Usb(image()), ..Hardware::default() };
    let mut session = start_with_system(hardware);
    session.expect("USB serial download", SOON).unwrap();
    finish(&mut session);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_recovery_image_over_usb_starts_its_own_kernel_on_a_board_without_media() {
    let recovery = flash()
        .part(PartKind::Kernel, fs::read(guests().stub_kernel).unwrap())
        .part(PartKind::Initrd, b"initrd from the download".to_vec())
        .part(PartKind::DeviceTree, fs::read(assets().dtbs.join(DEVICE_TREE)).unwrap())
        .part(PartKind::CommandLine, b"console=ttymxc1,115200 installer".to_vec());
    let stream = BootSwitches::Usb(recovery.bytes().unwrap());
    let hardware = Hardware { switches: stream, ..Hardware::default() };
    let mut session = crate::start(hardware);
    let report = session.expect_stub(SOON).unwrap();
    session.expect_power_off(SOON).unwrap();
    assert_eq!(report.text("initrd begins").unwrap(), "initrd from the download");
    assert!(report.text("/chosen bootargs").unwrap().contains("installer"));
    assert_eq!(session.witness().broken_rules(), [""; 0]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_that_is_as_it_should_be_says_nothing_of_errors() {
    let mut session = start_with_system(sound());
    finish(&mut session);
    assert!(!session.text().contains("[E"), "{}", session.text());
}
