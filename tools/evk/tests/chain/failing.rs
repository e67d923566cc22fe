//! What goes wrong: its code on the serial line, and how it ends.

use std::time::{Duration, Instant};

use evk::{
    gdb::{BootSwitches, DeadLine, Hardware},
    models::{boot_rom, ddr::Fault, i2c},
    session::Session,
};
use firn::{error::Code, soc::boot_rom::Question};

use crate::{
    BL31, CONTAINER, LINUX, PRIMARY, SECONDARY, SOON, card_with, damaged, finish, flash, image,
    rom_starts, sound, start, start_with_system, tag,
};

/// What a first stage says when it has given up.
const STOPPED: &str = "the board starts anew in 10 s";

/// Waits until the first stage has told this code and given up, and returns all that it said.
fn stopped_with(session: &mut Session, code: Code) -> String {
    session.expect(&tag(code), SOON).unwrap();
    session.expect(STOPPED, SOON).unwrap();
    session.text()
}

/// A board that is sound but for what `broken` does to it.
fn without(broken: impl FnOnce(&mut Hardware)) -> Hardware {
    let mut hardware = sound();
    broken(&mut hardware);
    hardware
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn memory_that_cannot_be_trained_is_tried_three_times_and_the_watchdog_starts_the_boot_rom_again() {
    let mut session = start(without(|board| board.training = vec![Fault::Fails(0)]));
    let text = stopped_with(&mut session, Code::DramTrainingFailed);
    assert_eq!(text.matches(&tag(Code::DramTrainingFailed)).count(), 3, "{text}");
    session.expect("reset: power-on, by the watchdog's pin", SOON).unwrap();
    assert_eq!(rom_starts(&session).len(), 2);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn training_firmware_that_falls_silent_is_given_five_seconds_three_times() {
    let mut session = start(without(|board| board.training = vec![Fault::Silent(0)]));
    session.expect("reset: ", SOON).unwrap();
    let begin = Instant::now();
    // The board's time stands still at each of its looks into the mailbox.
    session.expect(STOPPED, LINUX).unwrap();
    let text = session.text();
    assert_eq!(text.matches(&tag(Code::DramTrainingSilent)).count(), 3, "{text}");
    // No sooner; how much later depends on how busy this machine is.
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(15), "{took:?}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn training_firmware_that_reads_back_differently_is_never_started() {
    let mut session = start(without(|board| board.training = vec![Fault::StuckBit(1)]));
    stopped_with(&mut session, Code::DramFirmwareDamaged);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_dead_line_to_the_memory_is_found_before_anything_is_loaded() {
    for (line, code) in
        [(DeadLine::Data(5), Code::DramData), (DeadLine::Address(20), Code::DramAddress)]
    {
        let mut session = start(without(|board| board.dead_line = Some(line)));
        let text = stopped_with(&mut session, code);
        assert!(!text.contains("loading from"), "{text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_its_pmic_the_board_boots_and_both_stages_say_so() {
    let mut session = start_with_system(without(|board| board.without_pmic = true));
    session.expect(&tag(Code::PmicSilent), SOON).unwrap();
    session.expect("BL31:", SOON).unwrap();
    session.expect(&tag(Code::PmicSilent), SOON).unwrap();
    finish(&mut session);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_stuck_line_of_the_i2c_bus_is_told_and_does_not_end_the_boot() {
    let mut session = start(without(|board| board.i2c = vec![i2c::Fault::ClockDown(0)]));
    session.expect(&tag(Code::I2cBus), SOON).unwrap();
    session.expect("firn: booted from", SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_image_that_is_damaged_in_both_copies_is_told_and_not_entered() {
    for (damage, code) in [
        // The container itself, and BL31 behind it.
        (CONTAINER, Code::NotABootImage),
        (BL31, Code::BootImageDigest),
    ] {
        let images = [(PRIMARY, damaged(damage)), (SECONDARY, damaged(damage))];
        let mut session = start(card_with(images));
        let text = stopped_with(&mut session, code);
        assert!(text.contains("secondary image at 0x408000: "), "{text}");
        assert!(!text.contains("BL31:"), "{text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_an_answer_or_a_record_of_the_boot_rom_there_is_no_boot_device() {
    let mut session = start(without(|board| {
        board.rom = vec![boot_rom::Fault::Silent(Question::BootDevice)];
        board.no_rom_records = true;
    }));
    stopped_with(&mut session, Code::NoBootDevice);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_boot_device_that_can_no_longer_be_read_is_told() {
    let dead = boot_rom::Fault::CallsFrom(0);
    let mut session = start(without(|board| board.rom = vec![dead]));
    stopped_with(&mut session, Code::BootDeviceRead);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_download_that_ends_early_is_told() {
    let mut stream = image();
    stream.truncate(CONTAINER + 0x2000);
    let switches = BootSwitches::Usb(stream);
    let mut session = start(Hardware { switches, ..Hardware::default() });
    stopped_with(&mut session, Code::StreamEnded);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_without_an_image_ends_the_emulation_with_what_the_boot_rom_saw() {
    let mut session = start(card_with([(PRIMARY, damaged(0))]));
    let error = session.expect("Firn", Duration::from_secs(30)).unwrap_err().to_string();
    assert!(
        error.contains("0x8000: no header") && error.contains("0x408000: no header"),
        "{error}"
    );
}

/// What ends the emulation when a first stage of these instructions runs.
fn end_of(instructions: &[u32]) -> String {
    let code = instructions.iter().flat_map(|word| word.to_le_bytes()).collect();
    let image = flash().spl(code).bytes().unwrap();
    let mut session = start(card_with([(PRIMARY, image)]));
    session.expect("Firn", SOON).unwrap_err().to_string()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_emulator_lets_no_firmware_pass_that_a_board_would_not() {
    // mov x0, #0x40000000; ldr w1, [x0]
    let untrained = end_of(&[0xd2a8_0000, 0xb940_0001]);
    assert!(
        untrained.contains("0x920004: DRAM at 0x40000000 is read: it is not trained"),
        "{untrained}"
    );
    // mov x0, #0; str x0, [x0]
    let null = end_of(&[0xd280_0000, 0xf900_0000]);
    assert!(null.contains("the boot ROM at 0x0 is written"), "{null}");
    // mrs x0, sctlr_el3; orr x0, x0, #4; msr sctlr_el3, x0; isb; mov x1, #0x988; ldr x1, [x1]; blr x1
    let cached = end_of(&[
        0xd53e_1000,
        0xb27e_0000,
        0xd51e_1000,
        0xd503_3fdf,
        0xd281_3101,
        0xf940_0021,
        0xd63f_0020,
    ]);
    assert!(cached.contains("data caches are on"), "{cached}");
}
