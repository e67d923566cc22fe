//! The loader in the emulated EVK, judged by what reaches the serial line: what a user of the board
//! would see.
//!
//! Where the question is what the loader does, the stub kernel answers within a second; where it
//! is what userspace gets, a real kernel does. Both boot from cards made by real tools.

#[path = "../common/mod.rs"]
mod common;

mod choosing;
mod counting;
mod default;
mod emmc;
mod entropy;
mod hand_over;
mod kernels;
mod large;
mod leftovers;
mod media;
mod memory;
mod parts;
mod reading;
mod rescue;
mod rollback;
mod sources;
mod wrong_input;

use std::{path::PathBuf, sync::OnceLock};

use common::{LINUX, SOON, assets, cards, guests, kernel_entry};
use evk::{
    card::{Card, Table},
    nixos::{self, System, Timeout},
    qemu::{Machine, Slot},
    session::Session,
    stub, userspace,
};
use firn::error::Code;

/// The loader's first words.
const BANNER: &str = "Firn";
/// What the rescue prompt ends in.
const PROMPT: &str = "> ";

fn loader() -> PathBuf {
    evk::assets::firmware("firn.bin").expect("the loader")
}

/// Three generations with the stub kernel, the default one booted at once.
fn small() -> System {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    let make = || {
        let kernel = std::fs::read(guests().stub_kernel).expect("stub kernel");
        let system = System::small(&assets(), &kernel).expect("system");
        System { timeout: Timeout::Seconds(0), ..system }
    };
    SYSTEM.get_or_init(make).clone()
}

/// Three generations with Linux; the menu waits for a key.
fn real() -> System {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    let make = || {
        let system = System::real(&assets()).expect("system");
        System { timeout: Timeout::Never, ..system }
    };
    SYSTEM.get_or_init(make).clone()
}

fn fat_card(system: &System) -> Card {
    nixos::card_with_fat_boot(Table::Gpt, system.boot_folder())
}

fn path(card: &Card) -> PathBuf {
    card.make(&cards()).expect("card").path().to_owned()
}

/// A board with the loader entered at EL2, without a card; one CPU is enough for the stub kernel.
fn board() -> Machine {
    Machine::new(kernel_entry(loader())).memory("1G").cpus(1)
}

/// Starts a board with `card` in its SD slot.
fn start(card: &Card) -> Session {
    board().card(Slot::Sd, path(card)).start(&assets()).expect("board")
}

/// Boots `card` to the end of the stub kernel.
fn boot_small(card: &Card) -> stub::Report {
    finish_small(&mut start(card))
}

fn finish_small(session: &mut Session) -> stub::Report {
    let report = session.expect_stub(SOON).unwrap();
    session.expect_power_off(SOON).unwrap();
    report
}

fn finish_linux(session: &mut Session) -> userspace::Report {
    let report = session.expect_userspace(LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    report
}

/// The generation of which the stub kernel, its initrd, command line and device tree came.
fn generation_of(system: &System, report: &stub::Report) -> u32 {
    let bootargs = report.text("/chosen bootargs").unwrap();
    let generation = system
        .generations
        .iter()
        .find(|generation| bootargs.contains(&generation.toplevel()))
        .unwrap_or_else(|| panic!("no generation has {bootargs:?}"));
    assert_eq!(bootargs, generation.command_line());
    let number = generation.number;
    assert_eq!(report.text("initrd begins").unwrap(), format!("initrd of generation {number}"));
    assert_eq!(report.text("/firn-test generation").unwrap(), number.to_string());
    number
}

/// The message of a code, as it stands on the serial line.
fn tag(code: Code) -> String {
    format!("[{code}]")
}
