//! `firn firmware` and the end of an installation, on machines of files.

use std::{fs, os::unix::fs::symlink, path::Path};

use clap::Parser;
use firn::image::{
    build::{for_flexspi, padded_first_stage},
    container::PartKind,
    training,
};

use super::*;
use crate::write::machine::{
    MIB, Machine, PRIMARY, SECONDARY, card, card_with_a_gap, content, emmc_content, flash,
    flash_of, loader, release, with, with_emmc,
};

const TOPLEVEL: &str = "/nix/store/00000000000000000000000000000042-nixos-system";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(machine: &Machine, words: &str) -> Arguments {
    let root = machine.path("");
    let word = |word: &str| match word.starts_with("--") || !machine.path(word).exists() {
        true => word.to_owned(),
        false => machine.path(word).display().to_string(),
    };
    let root = ["--root".to_owned(), root.display().to_string()];
    let words = ["firmware".to_owned()].into_iter().chain(words.split(' ').map(word)).chain(root);
    Line::parse_from(words).arguments
}

/// Runs `firn firmware` with these words; paths are below the machine's root.
pub(super) fn run(machine: &Machine, words: &str) -> Result<String> {
    let mut output = String::new();
    answer(&parse(machine, words), &machine.system, &mut output).map(|_| output)
}

#[track_caller]
fn refuses(machine: &Machine, words: &str, texts: &[&str]) {
    let error = format!("{:#}", run(machine, words).unwrap_err());
    for text in texts {
        assert!(error.contains(text), "no {text:?} in {error:?}");
    }
}

/// A card with these copies.
fn card_of(primary: Option<&[u8]>, secondary: Option<&[u8]>) -> Vec<u8> {
    let card = with(card_with_a_gap(), PRIMARY, primary.unwrap_or_default());
    with(card, SECONDARY, secondary.unwrap_or_default())
}

/// A board that has booted from a card with these copies; its flash.bin is of 0.2.0.
fn board(primary: Option<&[u8]>, secondary: Option<&[u8]>) -> Machine {
    let machine = Machine::new();
    machine.device("mmcblk1", "179:0", &card_of(primary, secondary), &["mmcblk1p1"]);
    let way = machine.path("sys/devices/30b50000.mmc/mmcblk1");
    fs::create_dir_all(&way).unwrap();
    fs::create_dir_all(machine.path("sys/class/block")).unwrap();
    symlink(way, machine.path("sys/class/block/mmcblk1")).unwrap();
    booted(&machine, "30b50000.mmc");
    machine.put("flash.bin", &release("0.2.0"));
    machine
}

/// What the loader of the board says, and NixOS.
fn booted(machine: &Machine, controller: &str) {
    let chosen = machine.path("proc/device-tree/chosen");
    fs::create_dir_all(&chosen).unwrap();
    for (name, text) in
        [("version", "0.1.0"), ("state-device", controller), ("generation", TOPLEVEL)]
    {
        fs::write(chosen.join(format!("firn,{name}")), [text.as_bytes(), b"\0"].concat()).unwrap();
    }
    machine.put("proc/device-tree/compatible", b"fsl,imx8mp-evk\0fsl,imx8mp\0");
    fs::create_dir_all(machine.path("run")).unwrap();
    symlink(TOPLEVEL, machine.path("run/booted-system")).unwrap();
}

fn boards_card(machine: &Machine) -> Vec<u8> {
    machine.get("dev/mmcblk1")
}

// --- update ----------------------------------------------------------------------------------------------

#[test]
fn an_update_replaces_both_copies_of_the_card_that_the_system_was_booted_from() {
    let machine = board(Some(&release("0.1.0")), Some(&release("0.1.0")));
    machine.put("mountinfo", b"30 1 179:01 / / rw - ext4 /dev/mmcblk1p1 rw\n");
    let told = run(&machine, "update flash.bin --yes").unwrap();
    assert!(told.contains("the new firmware starts with the next reset"), "{told}");
    let new = release("0.2.0");
    assert!(boards_card(&machine) == card_of(Some(&new), Some(&new)));
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let new = release("0.2.0");
    let machine = board(Some(&new), Some(&new));
    // Whatever would be written would be asked about.
    let told = run(&machine, "update flash.bin").unwrap();
    assert!(told.contains("has this firmware already"), "{told}");
}

#[test]
fn a_dry_run_tells_the_steps_and_does_none() {
    let old = release("0.1.0");
    let machine = board(Some(&old), Some(&old));
    let told = run(&machine, "update flash.bin --dry-run").unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("would write Firn 0.2.0 to the secondary copy on"), "{told}");
    assert!(lines[1].starts_with("would write Firn 0.2.0 to the primary copy on"), "{told}");
    assert!(boards_card(&machine) == card_of(Some(&old), Some(&old)));
}

#[test]
fn an_older_release_has_to_be_forced() {
    let (old, newer) = (release("0.2.0"), release("0.10.0"));
    let machine = board(Some(&newer), Some(&newer));
    let older = ["primary copy", "has Firn 0.10.0, the new one is older: 0.2.0", "--force"];
    refuses(&machine, "update flash.bin --yes", &older);
    refuses(&machine, "update flash.bin --dry-run", &older);
    assert!(boards_card(&machine) == card_of(Some(&newer), Some(&newer)));
    run(&machine, "update flash.bin --yes --force").unwrap();
    assert!(boards_card(&machine) == card_of(Some(&old), Some(&old)));
}

/// A flash.bin as U-Boot's tools make it.
fn u_boot() -> Vec<u8> {
    let files = training::KINDS.map(|_| content(1, 1000));
    let target = firn::board::BOARD.image;
    let spl = padded_first_stage(target, &content(4, 2000), files.each_ref().map(Vec::as_slice));
    let mut image = spl.unwrap();
    image.resize(0x5_8000, 0);
    image.extend_from_slice(include_bytes!("../../../../tests/fixtures/image/fit-embedded.itb"));
    image
}

#[test]
fn u_boot_is_replaced_only_if_that_is_forced() {
    let machine = board(Some(&u_boot()), None);
    let told = ["the primary copy", "holds a boot image that is not Firn's", "--force"];
    refuses(&machine, "update flash.bin --yes", &told);
    assert!(boards_card(&machine) == card_of(Some(&u_boot()), None));
    run(&machine, "update flash.bin --yes --force").unwrap();
    let new = release("0.2.0");
    assert!(boards_card(&machine) == card_of(Some(&new), Some(&new)));
}

#[test]
fn what_tells_no_version_is_replaced_and_written_only_if_that_is_forced() {
    let machine = board(Some(&flash(false)), None);
    let told = ["cannot be told", "Firn of unknown version", "the new one is Firn 0.2.0"];
    refuses(&machine, "update flash.bin --yes", &told);
    run(&machine, "update flash.bin --yes --force").unwrap();
    machine.put("flash.bin", &flash(false));
    let told = ["cannot be told", "has Firn 0.2.0, the new one is Firn of unknown version"];
    refuses(&machine, "update flash.bin --yes", &told);
}

#[test]
fn a_card_without_firmware_is_no_card_to_be_updated() {
    let machine = board(None, None);
    refuses(&machine, "update flash.bin --yes", &["mmcblk1 has no intact firmware", "--force"]);
    run(&machine, "update flash.bin --yes --force").unwrap();
    let new = release("0.2.0");
    assert!(boards_card(&machine) == card_of(Some(&new), Some(&new)));
}

/// With its name for another board, all digests right.
fn for_another_board() -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let mut image = release("0.2.0");
    let at = 0x4_0000;
    image[at + 48..at + 58].copy_from_slice(b"imx8mm-evk");
    let end = at + 112 + 64 * usize::from(image[at + 16]);
    let digest = Sha256::digest(&image[at..end]);
    image[end..end + 32].copy_from_slice(&digest);
    image
}

#[test]
fn what_the_board_could_not_start_is_refused_even_if_it_is_forced() {
    let old = release("0.1.0");
    let new = release("0.2.0");
    let mut damaged = new.clone();
    damaged[0x4_1000] ^= 1;
    let kernel = (PartKind::Kernel, content(5, 9000));
    let training = training::KINDS.map(|_| content(1, 1000));
    let recovery = flash_of(&training, &[(PartKind::Loader, loader("0.2.0")), kernel]);
    let flexspi = for_flexspi(firn::board::BOARD.image, &new);
    for (image, told) in [
        (&damaged, "is damaged: [E904] BL31"),
        (&for_another_board(), "is not for this board: [E905]"),
        (&recovery, "is a recovery image"),
        (&flexspi, "NOR flash"),
        (&card(9 * MIB, &[]), "is a card image"),
        (&content(1, 5000), "[E901]"),
        (&flash(true), "[E911]"),
    ] {
        let machine = board(Some(&old), Some(&old));
        machine.put("flash.bin", image);
        refuses(&machine, "update flash.bin --yes --force", &["flash.bin", told]);
        assert!(boards_card(&machine) == card_of(Some(&old), Some(&old)), "{told}");
    }
}

#[test]
fn dummies_update_images_of_cards_and_on_request_devices() {
    let dummies = training::KINDS.map(|kind| training::dummy(kind, "_202006"));
    let image = |version| flash_of(&dummies, &[(PartKind::Loader, loader(version))]);
    let machine = board(Some(&image("0.1.0")), None);
    machine.put("flash.bin", &image("0.2.0"));
    refuses(&machine, "update flash.bin --yes", &["--dummy-ddr-firmware"]);
    machine.put("card.img", &card_of(Some(&image("0.1.0")), None));
    run(&machine, "update flash.bin --device card.img").unwrap();
    assert!(machine.get("card.img") == card_of(Some(&image("0.2.0")), Some(&image("0.2.0"))));
    run(&machine, "update flash.bin --yes --dummy-ddr-firmware").unwrap();
}

#[test]
fn a_card_without_room_for_a_second_copy_keeps_its_only_one() {
    let machine = board(None, None);
    let before = with(card(16 * MIB, &[(0x83, 4, 12)]), PRIMARY, &release("0.1.0"));
    machine.put("dev/mmcblk1", &before);
    let told = ["no room for a secondary copy", "partition 1", "firn write --in-use"];
    refuses(&machine, "update flash.bin --yes --force", &told);
    assert!(boards_card(&machine) == before);
    machine.put("dev/mmcblk1", &before[..3 * MIB]);
    refuses(&machine, "update flash.bin --yes", &["no room for a secondary copy", "ends before"]);
}

#[test]
fn an_emmc_that_starts_a_boot_partition_is_not_updated_in_its_user_area() {
    let machine = with_emmc(0x48);
    machine.put("dev/mmcblk2", &card_of(Some(&release("0.1.0")), None));
    machine.put("flash.bin", &release("0.2.0"));
    let words = "update flash.bin --yes --device dev/mmcblk2";
    refuses(&machine, words, &["the board starts", "mmcblk2boot0, not", "--emmc-boot"]);
    machine.put("config", b"38");
    run(&machine, words).unwrap();
    let new = release("0.2.0");
    assert!(machine.get("dev/mmcblk2") == card_of(Some(&new), Some(&new)));
}

#[test]
fn the_boot_partitions_of_an_emmc_take_turns() {
    let machine = with_emmc(0x48);
    let area = |image: &[u8]| with(emmc_content(), 0, image);
    machine.put("dev/mmcblk2boot0", &area(&release("0.1.0")));
    let words = "update flash.bin --yes --device dev/mmcblk2 --emmc-boot";
    for (version, [one, two], config) in [
        ("0.2.0", ["0.1.0", "0.2.0"], "50"),
        ("0.3.0", ["0.3.0", "0.2.0"], "48"),
        ("0.3.0", ["0.3.0", "0.2.0"], "48"),
        ("0.4.0", ["0.3.0", "0.4.0"], "50"),
    ] {
        machine.put("flash.bin", &release(version));
        run(&machine, words).unwrap();
        assert!(machine.get("dev/mmcblk2boot0") == area(&release(one)), "{version}");
        assert!(machine.get("dev/mmcblk2boot1") == area(&release(two)), "{version}");
        assert_eq!(machine.get("config"), config.as_bytes());
    }
    // What would not be started any more is as much in the way as what would be overwritten.
    machine.put("flash.bin", &release("0.3.5"));
    refuses(&machine, words, &["mmcblk2boot1 has Firn 0.4.0, the new one is older: 0.3.5"]);
}

#[test]
fn which_device_is_meant_has_to_be_known() {
    let machine = Machine::new();
    refuses(&machine, "update flash.bin", &["not booted by Firn", "--device"]);
    let machine = board(Some(&release("0.1.0")), None);
    machine.put("proc/device-tree/compatible", b"fsl,imx8mm-evk\0");
    refuses(&machine, "update flash.bin", &["not the board", "--device"]);
    fs::remove_file(machine.path("proc/device-tree/chosen/firn,state-device")).unwrap();
    booted_without_a_place(&machine);
    refuses(&machine, "update flash.bin", &["does not say which card", "--device"]);
}

fn booted_without_a_place(machine: &Machine) {
    machine.put("proc/device-tree/compatible", b"fsl,imx8mp-evk\0");
}

// --- status ------------------------------------------------------------------------------------------------

fn status(machine: &Machine, words: &str) -> (String, ExitCode) {
    let mut output = String::new();
    let code = answer(&parse(machine, words), &machine.system, &mut output).unwrap();
    (output, code)
}

#[test]
fn the_status_names_each_copy_and_the_one_that_is_started() {
    let machine = board(Some(&release("0.2.0")), Some(&release("0.1.0")));
    let (text, code) = status(&machine, "status");
    assert_eq!(code, ExitCode::SUCCESS);
    for line in [
        "running       Firn 0.1.0\n",
        "primary       Firn 0.2.0; the boot ROM starts it\n",
        "secondary     Firn 0.1.0\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let machine = board(Some(&u_boot()), None);
    let (text, code) = status(&machine, "status");
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(text.contains("U-Boot or NXP, version unknown; the boot ROM starts it"), "{text}");
    assert!(text.contains("secondary     nothing\n"), "{text}");
}

#[test]
fn what_the_boot_rom_starts_and_is_damaged_is_told_with_the_exit_code() {
    let mut damaged = release("0.2.0");
    damaged[0x4_1000] ^= 1;
    for (copies, code) in [
        ([Some(&damaged[..]), Some(&release("0.1.0")[..])], ExitCode::FAILURE),
        ([None, Some(&damaged)], ExitCode::FAILURE),
        ([None, None], ExitCode::FAILURE),
        ([Some(&release("0.1.0")), Some(&damaged)], ExitCode::SUCCESS),
        ([None, Some(&release("0.1.0"))], ExitCode::SUCCESS),
    ] {
        let machine = board(copies[0], copies[1]);
        let (text, found) = status(&machine, "status");
        assert_eq!(found, code, "{text}");
        assert_eq!(text.contains("[E904] BL31"), copies.contains(&Some(&damaged)), "{text}");
    }
}

#[test]
fn the_json_of_the_status_is_this() {
    let machine = board(Some(&release("0.2.0")), None);
    let (text, _) = status(&machine, "status --json");
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "device": machine.path("dev/mmcblk1").display().to_string(),
        "running": "0.1.0",
        "copies": [
            {
                "name": "primary", "offset": PRIMARY, "format": "firn", "version": "0.2.0",
                "board": "imx8mp-evk", "intact": true, "started": true, "problems": [],
            },
            {
                "name": "secondary", "offset": SECONDARY, "format": null, "version": null,
                "board": null, "intact": null, "started": false, "problems": null,
            },
        ],
        "doubt": null,
    });
    assert_eq!(shown, expected);
}

#[test]
fn the_status_of_an_emmc_says_which_of_its_areas_is_started() {
    for (config, started) in [("48", 2), ("50", 3), ("38", 0)] {
        let machine = with_emmc(0x48);
        machine.put("config", config.as_bytes());
        machine.put("dev/mmcblk2", &card_of(Some(&release("0.1.0")), None));
        for name in ["dev/mmcblk2boot0", "dev/mmcblk2boot1"] {
            machine.put(name, &with(emmc_content(), 0, &release("0.2.0")));
        }
        let (text, _) = status(&machine, "status --json --device dev/mmcblk2");
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        let copies = shown["copies"].as_array().unwrap();
        let found = copies.iter().map(|copy| copy["started"] == true).collect::<Vec<_>>();
        assert_eq!(found, [0, 1, 2, 3].map(|index| index == started), "{text}");
    }
}

#[test]
fn an_emmc_whose_register_cannot_be_read_is_shown_with_that_doubt() {
    let machine = with_emmc(0x48);
    let mut machine = machine;
    machine.system.hardware =
        std::rc::Rc::new(crate::write::hardware::Real { mmc: machine.path("no-mmc") });
    let (text, code) = status(&machine, "status --device dev/mmcblk2");
    assert_eq!(code, ExitCode::FAILURE);
    assert!(text.contains("is not known") && text.contains("install mmc-utils"), "{text}");
    assert!(!text.contains("the boot ROM starts it"), "{text}");
}

// --- the end of an installation ------------------------------------------------------------------------------

fn settings(machine: &Machine, auto_update: bool) -> Settings {
    let text = format!(
        r#"{{ "image": "{}", "device": null, "emmcBoot": false, "autoUpdate": {auto_update} }}"#,
        machine.path("flash.bin").display()
    );
    serde_json::from_str(&text).unwrap()
}

fn installed(machine: &Machine, auto_update: bool) -> Result<String> {
    let mut output = String::new();
    let settings = settings(machine, auto_update);
    conclude(&settings, &machine.path(""), &machine.system, &mut output).map(|()| output)
}

#[test]
fn an_installation_tells_the_cards_version_and_the_configurations() {
    let old = release("0.1.0");
    let machine = board(Some(&old), Some(&old));
    let told = installed(&machine, false).unwrap();
    assert!(told.starts_with("firn: firmware: ") && told.lines().count() == 1, "{told}");
    assert!(told.contains("mmcblk1 has Firn 0.1.0, this configuration Firn 0.2.0"), "{told}");
    assert!(
        told.contains("`firn firmware update ") && told.contains("flash.bin --device"),
        "{told}"
    );
    assert!(boards_card(&machine) == card_of(Some(&old), Some(&old)));
}

#[test]
fn an_installation_updates_the_firmware_if_that_is_wanted_and_only_once() {
    let (old, new) = (release("0.1.0"), release("0.2.0"));
    let machine = board(Some(&old), Some(&old));
    let told = installed(&machine, true).unwrap();
    assert!(told.contains("mmcblk1 now has Firn 0.2.0 instead of Firn 0.1.0"), "{told}");
    assert!(boards_card(&machine) == card_of(Some(&new), Some(&new)));
    let told = installed(&machine, true).unwrap();
    assert!(told.contains("mmcblk1 has this configuration's, Firn 0.2.0"), "{told}");
}

/// So that a system can be rolled back whose next generation has brought newer firmware.
#[test]
fn an_installation_of_an_older_configuration_keeps_newer_firmware_and_succeeds() {
    let newer = release("0.3.0");
    let machine = board(Some(&newer), Some(&newer));
    let told = installed(&machine, true).unwrap();
    assert!(told.contains("keeps Firn 0.3.0") && told.contains("older: 0.2.0"), "{told}");
    assert!(told.contains("--force` writes it all the same"), "{told}");
    let machine = board(Some(&u_boot()), None);
    let told = installed(&machine, true).unwrap();
    assert!(told.contains("keeps") && told.contains("not Firn's"), "{told}");
    assert!(boards_card(&machine) == card_of(Some(&u_boot()), None));
}

#[test]
fn what_is_in_the_way_of_an_update_is_told_and_does_not_fail_an_installation() {
    let machine = board(Some(&release("0.1.0")), None);
    machine.put("flash.bin", &for_another_board());
    let told = installed(&machine, true).unwrap();
    assert!(told.contains("left alone") && told.contains("[E905]"), "{told}");
    fs::remove_file(machine.path("flash.bin")).unwrap();
    assert!(installed(&machine, true).unwrap().contains("cannot open"));
}

#[test]
fn only_the_system_that_the_board_has_booted_touches_its_firmware() {
    let old = release("0.1.0");
    let chosen = |name: &str| format!("proc/device-tree/chosen/firn,{name}");
    type Change<'a> = &'a dyn Fn(&Machine, &Path);
    let cases: [(&str, Change<'_>); 5] = [
        ("not booted by Firn", &|machine, _| {
            fs::remove_file(machine.path(&chosen("version"))).unwrap();
        }),
        ("is not the board", &|machine, _| {
            machine.put("proc/device-tree/compatible", b"fsl,imx8mp-phg\0");
        }),
        // As nixos-install sees it from its chroot: the machine's /proc, and a /run of its own.
        ("not the system that the machine has booted", &|_, booted| {
            fs::remove_file(booted).unwrap();
        }),
        ("not the system that the machine has booted", &|_, booted| {
            fs::remove_file(booted).unwrap();
            symlink("/nix/store/00000000000000000000000000000001-nixos-system", booted).unwrap();
        }),
        ("not the system that the machine has booted", &|machine, booted| {
            fs::remove_file(machine.path(&chosen("generation"))).unwrap();
            fs::remove_file(booted).unwrap();
        }),
    ];
    for (why, change) in cases {
        let machine = board(Some(&old), Some(&old));
        change(&machine, &machine.path("run/booted-system"));
        let told = installed(&machine, true).unwrap();
        assert!(told.contains("left alone") && told.contains(why), "{told}");
        assert_eq!(told.lines().count(), 1);
        assert!(boards_card(&machine) == card_of(Some(&old), Some(&old)));
    }
}

#[test]
fn settings_that_nobody_knows_are_refused() {
    let text = r#"{ "image": "/x", "emmcBoot": false, "autoUpdate": true, "force": true }"#;
    let error = serde_json::from_str::<Settings>(text).unwrap_err().to_string();
    assert!(error.contains("unknown field `force`"), "{error}");
}
