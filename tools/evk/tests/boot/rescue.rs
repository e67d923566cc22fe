//! The day nothing boots: what a person finds out, and boots, at the rescue prompt.

use std::time::Instant;

use evk::{
    card::{Card, FileSystem, MIB, Partition, Table},
    nixos::{self, Generation, System, Timeout},
    qemu::Slot,
    session::Session,
    stub,
    tree::Tree,
};
use firn::error::Code;

use crate::{PROMPT, SOON, assets, board, finish_small, path, small, start, tag};

/// A card with one generation's files under names that a person may have given them, and nothing
/// that lists them.
fn unlisted(generation: &Generation) -> Card {
    let files = Tree::new()
        .with("my kernel/Image", generation.kernel.clone())
        .with("initrd", generation.initrd.clone())
        .with("board.dtb", generation.device_tree.clone());
    Card::new(Table::Gpt)
        .partition(Partition::new(FileSystem::Fat32, "FILES", files).size(512 * MIB))
        .partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", nixos::empty_root()))
}

/// Types `line`; gives what is printed until the next prompt.
fn answer(session: &mut Session, line: &str) -> String {
    session.send(line).unwrap();
    session.send("\r").unwrap();
    // The first is the end of the typed line.
    session.expect("\n", SOON).unwrap();
    session.expect(&format!("\n{PROMPT}"), SOON).unwrap()
}

fn prompt(session: &mut Session) {
    session.expect(&format!("\n{PROMPT}"), SOON).unwrap();
}

fn report(session: &mut Session, boot: &str) -> stub::Report {
    session.send(boot).unwrap();
    session.send("\r").unwrap();
    finish_small(session)
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_that_nothing_lists_is_looked_into_and_booted_by_hand() {
    let generation = &small().generations[0];
    let mut session = start(&unlisted(generation));
    prompt(&mut session);
    assert!(session.text().contains(&tag(Code::NothingToBoot)), "{}", session.text());

    let devices = answer(&mut session, "devices");
    assert!(devices.contains("SD card") && devices.contains(", GPT"), "{devices}");
    assert!(devices.contains("FAT32, label \"FILES\""), "{devices}");
    assert!(devices.contains("ext4, label \"NIXOS_SD\""), "{devices}");
    assert!(devices.contains(&tag(Code::NoCard)), "the eMMC's place is empty: {devices}");

    let listed = answer(&mut session, "ls sd1:");
    for name in ["board.dtb", "initrd", "my kernel", "3 in sd1:/"] {
        assert!(listed.contains(name), "{name} in {listed}");
    }
    let shown = answer(&mut session, "cat ini\t");
    assert!(shown.contains(&format!("initrd of generation {}", generation.number)), "{shown}");
    let root = answer(&mut session, "ls sd2:/etc");
    assert!(root.contains("NIXOS"), "{root}");

    let report =
        report(&mut session, "boot sd1:my\t\t board.dtb initrd -- init=/bin/sh a=\"b  c\"");
    assert_eq!(report.text("/chosen bootargs").unwrap(), "init=/bin/sh a=\"b  c\"");
    assert_eq!(report.text("/chosen firn,source").unwrap(), "prompt");
    let number = generation.number.to_string();
    assert_eq!(report.text("/firn-test generation").unwrap(), number);
    assert_eq!(report.text("initrd begins").unwrap(), format!("initrd of generation {number}"));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_cannot_be_booted_by_hand_is_told_and_the_next_try_works() {
    let mut session = start(&unlisted(&small().generations[0]));
    prompt(&mut session);
    let not_there = answer(&mut session, "boot sd1:/Image");
    assert!(not_there.contains(&tag(Code::NotFound)), "{not_there}");
    let no_kernel = answer(&mut session, "boot initrd");
    assert!(no_kernel.contains(&tag(Code::KernelNotArm64)), "{no_kernel}");
    report(&mut session, "boot \"/my kernel/Image\"");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_prompt_tells_of_the_board_of_memory_and_of_earlier_boots() {
    let mut session = start(&unlisted(&small().generations[0]));
    prompt(&mut session);
    let devices = answer(&mut session, "devices");
    assert!(devices.contains("SD card (uSDHC2), 4.0 GiB, high speed, 4 bit, GPT"), "{devices}");
    let board = answer(&mut session, "board");
    for text in ["on NXP i.MX8MPlus EVK", "entered at EL2 with a device tree", "part: "] {
        assert!(board.contains(text), "{text} in {board}");
    }
    let memory = answer(&mut session, "memory");
    for text in ["1.0 GiB", "firn", "heap: ", " free"] {
        assert!(memory.contains(text), "{text} in {memory}");
    }
    let state = answer(&mut session, "state");
    assert!(state.contains("SD card (uSDHC2): "), "{state}");
    session.send("poweroff\r").unwrap();
    session.expect_power_off(SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_store_of_fifty_thousand_entries_is_listed_until_a_key_is_pressed() {
    let card = System { timeout: Timeout::Never, ..small() }
        .crowded_card(nixos::store::STORE_ENTRIES, true);
    let mut session = board().card(Slot::Sd, path(&card)).start(&assets()).unwrap();
    session.expect("25.11.20260214", SOON).unwrap();
    session.send("c").unwrap();
    prompt(&mut session);
    answer(&mut session, "devices");
    let began = Instant::now();
    session.send("ls sd2:/nix/store\r").unwrap();
    session.expect("file  ", SOON).unwrap();
    eprintln!("the first line came after {:?}", began.elapsed());
    // A key counts behind the first screen of an answer.
    std::thread::sleep(std::time::Duration::from_secs(1));
    session.send("x").unwrap();
    session.expect("(stopped)", SOON).unwrap();
    prompt(&mut session);
    // All of it fits into the loader's memory besides a completion.
    session.send("ls sd2:/nix/store/0000\t").unwrap();
    session.expect("sd2:/nix/store/0000", SOON).unwrap();
    session.send("\x15").unwrap();
    let memory = answer(&mut session, "memory");
    eprintln!("{}", memory.lines().find(|line| line.contains("heap")).unwrap_or_default());
}
