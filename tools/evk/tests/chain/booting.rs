//! What boots, and from where.

use std::{fs, path::PathBuf};

use evk::{
    card::Table,
    emmc::Emmc,
    flash::Flash,
    gdb::{BootSwitches, Hardware},
    models::usdhc::Rules,
    nixos::{self, DEVICE_TREE, System},
    qemu::{Entry, Machine, Slot},
    session::Session,
};
use firn::{
    board::BOARD,
    error::Code,
    image::{build::for_flexspi, container::PartKind},
};
use tempfile::TempDir;

use crate::{
    BL31, CONTAINER, LINUX, PRIMARY, SECONDARY, SOON, assets, card_of, card_with, damaged, finish,
    flash, guests, image, make, rom_starts, small, sound, start_with_system, tag,
};

fn real() -> System {
    let system = System::real(&assets()).unwrap().on_one_cpu();
    System { timeout: nixos::Timeout::Seconds(0), ..system }
}

/// Linux of the default generation reaches userspace, and powers off; each stage before it ran, and
/// none of them found anything wrong.
fn expect_linux(session: &mut Session) {
    let report = session.expect_userspace(LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    assert!(report.command_line.contains(&real().generations[0].toplevel()));
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    let text = session.text();
    for stage in ["first stage", "BL31:", "firn: booted from"] {
        assert!(text.contains(stage), "{text}");
    }
    assert!(!text.contains("[E"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_from_a_card_and_nothing_else() {
    // Training firmware of its real size.
    let flash = Flash::of_this_tree(&assets()).unwrap().bytes().unwrap();
    let card = nixos::card_with_fat_boot(Table::Gpt, real().boot_folder()).flash(flash);
    let board = Machine::new(Entry::BootRom(Hardware::default())).card(Slot::Sd, make(&card));
    expect_linux(&mut board.start(&assets()).unwrap());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_from_an_emmcs_user_area() {
    let boot = [None, None];
    let (mut session, rules) = start_emmc(&real(), boot, 0, vec![(PRIMARY, image())]);
    expect_linux(&mut session);
    assert!(rom_starts(&session)[0].contains("from 0x8000"), "{:?}", rom_starts(&session));
    assert_eq!(rules.list(), [""; 0]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_from_an_emmcs_boot_partition() {
    let folder = tempfile::tempdir().unwrap();
    let boot = [partition(&folder, "boot0", image()), None];
    let (mut session, rules) = start_emmc(&real(), boot, 0b1000, vec![]);
    expect_linux(&mut session);
    assert!(rom_starts(&session)[0].contains("from 0x0 "), "{:?}", rom_starts(&session));
    assert_eq!(rules.list(), [""; 0]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_emmc_boots_from_its_other_boot_partition_if_the_chosen_one_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let boot = [partition(&folder, "boot0", image()), partition(&folder, "boot1", damaged(0))];
    let (mut session, rules) = start_emmc(&small(), boot, 0b1_0000, vec![]);
    session.expect("eMMC (uSDHC3)", SOON).unwrap();
    finish(&mut session);
    assert!(rom_starts(&session)[0].contains("from 0x0 "), "{:?}", rom_starts(&session));
    assert_eq!(rules.list(), [""; 0]);
}

/// A file that holds a boot partition.
fn partition(folder: &TempDir, name: &str, bytes: Vec<u8>) -> Option<PathBuf> {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    Some(path)
}

/// A board whose switches choose the eMMC, with `system` in its user area.
fn start_emmc(
    system: &System,
    boot: [Option<PathBuf>; 2],
    partition_config: u8,
    covers: Vec<(u64, Vec<u8>)>,
) -> (Session, Rules) {
    let emmc = Emmc { user: card_of(system), boot, partition_config, writable: false };
    let hardware = Hardware { switches: BootSwitches::Emmc, covers, ..Hardware::default() };
    let rules = Rules::default();
    let board = Machine::new(Entry::BootRom(hardware)).emmc(emmc, &rules);
    (board.start(&assets()).unwrap(), rules)
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
