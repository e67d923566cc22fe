//! What the installer's random sequences of switches, rollbacks, garbage collections, full disks and power cuts
//! leave behind, as cards: the loader boots what the installer's tests say that it will.

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command};

use evk::{
    card::Table,
    qemu::{Machine, Slot},
};
use firn::state::place::GAP_OFFSETS;

use crate::{
    common::{SOON, assets, device_tree, guests, kernel_entry, run},
    host::{Host, small},
};

/// Even ones have the profiles as source, odd ones extlinux.
const SEEDS: [&str; 6] = ["2", "11", "34", "105", "468", "823"];

/// Has the installer's tests write what sequences leave.
fn write_sequences(folder: &Path) {
    let pieces = folder.join("pieces");
    fs::create_dir(&pieces).unwrap();
    fs::copy(guests().stub_kernel, pieces.join("Image")).unwrap();
    fs::copy(device_tree(), pieces.join("board.dtb")).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(evk::assets::tree()).args([
        "test",
        "--quiet",
        "--workspace",
        "--bin",
        "firn",
    ]);
    cargo.args(["--", "--ignored", "what_sequences_leave_is_written"]);
    cargo
        .env("FIRN_SEQUENCES", folder)
        .env("FIRN_PIECES", pieces)
        .env("FIRN_SEEDS", SEEDS.join(","));
    run(&mut cargo);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_random_sequences_of_installations_leave_boots() {
    let host = Host::new(small(), evk::tree::Tree::new());
    let folder = host.path("sequences");
    fs::create_dir(&folder).unwrap();
    write_sequences(&folder);
    for seed in SEEDS {
        let left = folder.join(seed);
        let image = host.image_of(&left.join("tree"), Table::Mbr);
        let card = fs::OpenOptions::new().write(true).open(&image).unwrap();
        for (name, offset) in ["record-a", "record-b"].into_iter().zip(GAP_OFFSETS) {
            card.write_all_at(&fs::read(left.join(name)).unwrap(), offset).unwrap();
        }
        let expected = fs::read_to_string(left.join("boots")).unwrap();
        let loader = evk::assets::firmware("firn.bin").unwrap();
        let board = Machine::new(kernel_entry(loader)).memory("1G").skipping_waits();
        let mut session = board.card(Slot::Sd, &image).start(&assets()).unwrap();
        // Some sequences end with a menu that waits.
        if session.expect_any(&["any other key", "starting the kernel"], SOON).unwrap().0 == 0 {
            session.send("\r").unwrap();
        }
        let report = session.expect_stub(SOON).unwrap();
        let booted = report.text("/chosen firn,generation").unwrap();
        assert_eq!(booted, expected, "sequence {seed}: {}", session.text());
        session.expect_power_off(SOON).unwrap();
    }
}
