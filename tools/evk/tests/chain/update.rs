//! Cards whose firmware the real `firn firmware update` has replaced, or was replacing when the power failed.

use std::{fs, ops::Range, path::Path};

use evk::{
    assets::firmware,
    card::Table,
    gdb::Hardware,
    nixos,
    qemu::{Entry, Machine, Slot},
};
use firn::{image::container::PartKind, release};
use serde_json::Value;

use crate::{
    PRIMARY, SECONDARY, SOON, assets, common, finish, flash, image, make, rom_starts, small,
};

/// What firn.bin says of itself is what is built here.
const RELEASE: &str = env!("CARGO_PKG_VERSION");
const OLD: &str = "0.0.9";

/// The image of this tree, but for the version that its second stage tells.
fn of_release(version: &str) -> Vec<u8> {
    let mut loader = fs::read(firmware("firn.bin").unwrap()).unwrap();
    let mark = release::MARK;
    let at = loader.windows(mark.len()).position(|bytes| bytes == mark).expect("a mark");
    let field = &mut loader[at + mark.len()..][..release::SIZE.into()];
    field.fill(0);
    field[..version.len()].copy_from_slice(version.as_bytes());
    flash().part(PartKind::Loader, loader).bytes().unwrap()
}

fn versions(card: &Path) -> [Value; 2] {
    let card = card.to_str().unwrap();
    let told = common::firn(&["firmware", "status", "--json", "--device", card]);
    let told: Value = serde_json::from_str(&told).unwrap();
    [0, 1].map(|index| told["copies"][index]["version"].clone())
}

fn place(offset: u64, size: usize) -> Range<usize> {
    let offset = usize::try_from(offset).unwrap();
    offset..offset + size
}

/// Switches a board on whose card has these bytes; the firmware of this version boots from this place.
fn expect_boot(card: &Path, bytes: &[u8], version: &str, offset: u64) {
    fs::write(card, bytes).unwrap();
    let board = Machine::new(Entry::BootRom(Hardware::default())).card(Slot::Sd, card);
    let mut session = board.start(&assets()).expect("board");
    session.expect(&format!("Firn {version} on"), SOON).unwrap();
    finish(&mut session);
    let starts = rom_starts(&session);
    assert!(starts[0].contains(&format!("from {offset:#x}")), "{starts:?}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_update_that_is_cut_anywhere_leaves_a_card_that_boots_the_old_or_the_new_firmware() {
    let (old, new) = (of_release(OLD), image());
    let card = nixos::card_with_fat_boot(Table::Gpt, small().boot_folder()).flash(old);
    let before = fs::read(make(&card)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (card, flash) = (folder.path().join("card.img"), folder.path().join("flash.bin"));
    fs::write(&card, &before).unwrap();
    fs::write(&flash, &new).unwrap();
    assert_eq!(versions(&card), [OLD.into(), Value::Null]);

    let words = ["firmware", "update", flash.to_str().unwrap(), "--device", card.to_str().unwrap()];
    common::firn(&words);
    assert_eq!(versions(&card), [RELEASE, RELEASE].map(Value::from));
    let after = fs::read(&card).unwrap();

    // Half of a copy without its head, which comes last.
    let half = |bytes: &[u8], offset| {
        let (mut cut, half) = (bytes.to_vec(), place(offset, new.len() / 2));
        cut[half.clone()].copy_from_slice(&after[half.clone()]);
        cut[half.start..half.start + 512].fill(0);
        cut
    };
    expect_boot(&card, &half(&before, SECONDARY), OLD, PRIMARY);
    let mut between = before.clone();
    let secondary = place(SECONDARY, new.len());
    between[secondary.clone()].copy_from_slice(&after[secondary]);
    expect_boot(&card, &half(&between, PRIMARY), RELEASE, SECONDARY);
    expect_boot(&card, &after, RELEASE, PRIMARY);
}
