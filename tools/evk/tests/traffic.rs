//! What a boot costs on the card's bus, with the files of a real system.

mod common;

use common::{assets, cards, guests};
use evk::{
    card::MIB,
    measure::{Boot, Sizes, Subject},
    nixos::Timeout,
};

fn reads_hardly_more_than_it_needs_in_large_commands(boot: Boot) {
    let assets = assets();
    let timeout = Timeout::Seconds(0);
    let stub_kernel = guests().stub_kernel;
    let subject =
        Subject::make(&assets, &stub_kernel, boot, Sizes::REAL, timeout, &cards()).unwrap();
    let loader = evk::assets::firmware("firn.bin").unwrap();
    let figures = subject.boot(&assets, &loader, None).unwrap();
    assert!(figures.bytes_per_byte() <= 1.05, "{}", figures.bytes_per_byte());
    let mebibytes = (Sizes::REAL.kernel + Sizes::REAL.initrd) / MIB;
    assert!(figures.file_commands as u64 <= mebibytes, "{} commands", figures.file_commands);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_boot_from_fat_reads_hardly_more_than_it_needs_in_large_commands() {
    reads_hardly_more_than_it_needs_in_large_commands(Boot::Fat);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_boot_from_ext4_reads_hardly_more_than_it_needs_in_large_commands() {
    reads_hardly_more_than_it_needs_in_large_commands(Boot::Ext4);
}
