//! How much is read from a card for what is booted.

use evk::{
    card::{Card, MIB, Table},
    nixos::{self, System, Timeout},
    qemu::Slot,
    trace::{CARD_EVENTS, CardTraffic},
    tree::Content,
};

use crate::{assets, board, common::LINUX, fat_card, path, real, small};

fn size(content: &Content) -> u64 {
    content.read().unwrap().unwrap().len() as u64
}

/// How many holes mke2fs makes in a file: one for each row of blocks without anything in them, which
/// the card is not asked for. They depend on the kernel, and with them how many pieces there are.
fn holes(content: &Content) -> usize {
    let bytes = content.read().unwrap().unwrap();
    let blocks = bytes.chunks(4096).map(|block| block.iter().all(|&byte| byte == 0));
    let blocks: Vec<bool> = blocks.collect();
    blocks.chunk_by(|one, other| one == other).filter(|row| row[0]).count()
}

/// Boots Linux from `card`, which holds `system`, and judges what was read from it, in pieces that
/// `holes` part.
fn little_more_is_read_than_needed(system: &System, card: &Card, holes: usize) {
    let default = &system.generations[0];
    let needed = size(&default.kernel) + size(&default.initrd) + size(&default.device_tree);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let machine = board().card(Slot::Sd, path(card)).trace(&CARD_EVENTS, &file);
    let mut session = machine.start(&assets()).unwrap();
    // The reporting initrd has no driver for the card: all traffic is the loader's.
    session.expect_userspace(LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    let traffic = CardTraffic::read(&file).unwrap();
    let (bytes, commands) = (traffic.bytes(), traffic.read_commands());
    println!("{needed} bytes needed, {bytes} read by {commands} commands, {holes} holes");
    assert!(bytes * 100 <= needed * 105, "{bytes} bytes read, {needed} needed");
    let mib = usize::try_from(needed >> 20).unwrap();
    assert!(commands <= mib + holes, "{commands} commands for {mib} MiB and {holes} holes");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn little_more_is_read_from_fat_than_needed_and_in_large_pieces() {
    let system = System { timeout: Timeout::Seconds(0), ..real() };
    little_more_is_read_than_needed(&system, &fat_card(&system), 0);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn little_more_is_read_from_ext4_than_needed_and_in_large_pieces() {
    let system = System { timeout: Timeout::Seconds(0), ..real() };
    let card = nixos::card_with_ext4_boot(Table::Gpt, system.boot_folder());
    let default = &system.generations[0];
    let holes = holes(&default.kernel) + holes(&default.initrd);
    little_more_is_read_than_needed(&system, &card, holes);
}

/// The stub kernel's counter in place of Linux's first instruction, in a file as large as Linux's.
#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn loading_linux_sized_files_takes_few_instructions() {
    let mut system = small();
    let default = &mut system.generations[0];
    let mut kernel = default.kernel.read().unwrap().unwrap().to_vec();
    kernel.resize(36 << 20, 0xa5);
    // image_size of the header. Source: Linux documentation, arch/arm64/booting.
    kernel[16..24].copy_from_slice(&(40 * MIB).to_le_bytes());
    default.kernel = Content::bytes(kernel);
    default.initrd = Content::bytes(vec![0x5a; 8 << 20]);
    let machine = board().card(Slot::Sd, path(&fat_card(&system))).counted_time();
    let mut session = machine.start(&assets()).unwrap();
    // One tick of the 8 MHz counter is 125 instructions.
    let instructions = session.expect_stub(LINUX).unwrap().number("counter").unwrap() * 125;
    println!("instructions from reset to the kernel's first: {instructions}");
    assert!(instructions < 25_000_000, "{instructions}");
}
