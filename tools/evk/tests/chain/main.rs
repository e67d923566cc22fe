//! The whole chain in the emulated EVK: boot ROM, the real first stage, the real BL31, the real second
//! stage, a kernel; judged by what reaches the serial line and by how it ends.
//!
//! Where the question is not how training firmware is loaded, it is as short as it can be: each of its
//! halfwords is written and read back, and each access stops the emulator.

#[path = "../common/mod.rs"]
mod common;

mod booting;
mod entropy;
mod failing;
mod leftovers;
mod rollback;
mod tracing;
mod update;

use std::{path::PathBuf, sync::OnceLock};

use common::{LINUX, SOON, assets, cards, guests};
use evk::{
    card::{Card, Table},
    flash::Flash,
    gdb::Hardware,
    models::ddr::blobs::Blobs,
    nixos::{self, System, Timeout},
    qemu::{Entry, Machine, Slot},
    session::Session,
};
use firn::error::Code;

/// Where the boot ROM looks on a card, and where it looks next.
const PRIMARY: u64 = firn::soc::boot_rom::CARD_OFFSET;
const SECONDARY: u64 = firn::soc::boot_rom::SECONDARY_CARD_OFFSET;
/// Where the container lies in an image.
const CONTAINER: usize = 0x4_0000;
/// And in the middle of the first part behind it.
const BL31: usize = 0x4_5000;

/// Of this tree, with short training firmware.
fn flash() -> Flash {
    let Blobs { one_d_imem, one_d_dmem, two_d_imem, two_d_dmem } = Blobs::smallest();
    let short = [one_d_imem, one_d_dmem, two_d_imem, two_d_dmem];
    Flash::of_this_tree(&assets()).expect("firmware").training(short)
}

fn image() -> Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| flash().bytes().expect("flash.bin")).clone()
}

/// The image with some bytes of it overwritten.
fn damaged(at: usize) -> Vec<u8> {
    let mut image = image();
    image[at..at + 64].fill(0xa5);
    image
}

/// A board that boots from these images on its card.
fn card_with(images: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Hardware {
    Hardware { covers: images.into_iter().collect(), ..Hardware::default() }
}

/// A board that boots from its card, as it should be.
fn sound() -> Hardware {
    card_with([(PRIMARY, image())])
}

fn start(hardware: Hardware) -> Session {
    Machine::new(Entry::BootRom(hardware)).start(&assets()).expect("board")
}

/// The same with three generations on the card, whose kernel is a stub.
fn start_with_system(hardware: Hardware) -> Session {
    let board = Machine::new(Entry::BootRom(hardware));
    board.card(Slot::Sd, card_of(&small())).start(&assets()).expect("board")
}

fn small() -> System {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    let make = || {
        let kernel = std::fs::read(guests().stub_kernel).expect("stub kernel");
        let system = System::small(&assets(), &kernel).expect("system");
        System { timeout: Timeout::Seconds(0), ..system }
    };
    SYSTEM.get_or_init(make).clone()
}

fn card_of(system: &System) -> PathBuf {
    make(&nixos::card_with_fat_boot(Table::Gpt, system.boot_folder()))
}

fn make(card: &Card) -> PathBuf {
    card.make(&cards()).expect("card").path().to_owned()
}

/// The default generation's kernel runs, and the board powers off; the firmware kept all rules.
fn finish(session: &mut Session) {
    let report = session.expect_stub(SOON).unwrap();
    let bootargs = report.text("/chosen bootargs").unwrap();
    assert_eq!(bootargs, small().generations[0].command_line());
    session.expect_power_off(SOON).unwrap();
    assert_eq!(session.witness().broken_rules(), [""; 0]);
}

/// The message of a code, as it stands on the serial line.
fn tag(code: Code) -> String {
    format!("[{code}]")
}

/// What the boot ROM did.
fn rom_starts(session: &Session) -> Vec<String> {
    let events = session.witness().events();
    events.into_iter().filter(|event| event.starts_with("boot ROM: ")).collect()
}
