//! Which generation boots, and with which command line: the menu by keys and by waiting.

use evk::{
    keys::Script,
    nixos::{System, Timeout},
    qemu::{Machine, Slot},
    session::Session,
};

use crate::{
    SOON, assets, common::kernel_entry, fat_card, finish_linux, finish_small, generation_of,
    loader, path, real, small, start,
};

/// What a terminal of 24 rows and 80 columns answers. Source: ECMA-48, 8.3.14 (CPR).
const TERMINAL: &[u8] = b"\x1b[24;80R";

/// Waits for the menu: the newest generation's line, which is drawn after the title.
fn menu(session: &mut Session) {
    session.expect("25.11.20260214", SOON).unwrap();
}

/// Opens the menu's screen: the first key, whichever it is, makes the menu ask for the terminal's size.
pub(crate) fn open_screen(session: &mut Session) {
    play(session, "esc sleep:300");
    session.send(TERMINAL).unwrap();
    play(session, "sleep:500");
}

pub(crate) fn play(session: &mut Session, keys: &str) {
    session.play(&Script::parse(keys).unwrap(), SOON).unwrap();
}

fn start_linux(system: &System) -> Session {
    let machine = Machine::new(kernel_entry(loader())).card(Slot::Sd, path(&fat_card(system)));
    machine.start(&assets()).unwrap()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_default_generation_boots_when_the_countdown_ends() {
    let system = System { timeout: Timeout::Seconds(2), ..small() };
    let mut session = start(&fat_card(&system));
    menu(&mut session);
    assert_eq!(generation_of(&system, &finish_small(&mut session)), 42);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_default_that_is_not_the_newest_boots_when_the_countdown_ends() {
    let system = System { timeout: Timeout::Seconds(1), default: 2, ..small() };
    assert_eq!(generation_of(&system, &finish_small(&mut start(&fat_card(&system)))), 40);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_timeout_of_zero_boots_without_a_menu() {
    let mut session = start(&fat_card(&small()));
    let report = finish_small(&mut session);
    assert_eq!(generation_of(&small(), &report), 42);
    assert!(!session.text().contains("25.11.20260110"), "{}", session.text());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_second_generation_boots_by_arrow_key_and_linux_gets_its_command_line_and_tree() {
    let system = real();
    let mut session = start_linux(&system);
    menu(&mut session);
    play(&mut session, "down enter");
    let report = finish_linux(&mut session);
    assert_eq!(report.command_line, system.generations[1].command_line());
    assert_eq!(report.initrd_generation, "41");
    assert_eq!(report.tree_generation, "41");
    assert_eq!(report.model, "NXP i.MX8MPlus EVK board");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_edited_command_line_is_what_linux_sees() {
    let system = real();
    let mut session = start_linux(&system);
    menu(&mut session);
    play(&mut session, "e end type:' firn.test=edited' enter");
    let report = finish_linux(&mut session);
    let wanted = format!("{} firn.test=edited", system.generations[0].command_line());
    assert_eq!(report.command_line, wanted);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_key_stops_the_countdown() {
    let system = System { timeout: Timeout::Seconds(3), ..small() };
    let mut session = start(&fat_card(&system));
    menu(&mut session);
    // Longer than the countdown; the choice then still is the user's.
    play(&mut session, "down sleep:5000 down enter");
    assert_eq!(generation_of(&system, &finish_small(&mut session)), 40);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_menu_shows_every_generation_on_a_screen_of_80_columns() {
    let system = System { timeout: Timeout::Never, ..small() };
    let mut session = start(&fat_card(&system));
    session.expect("25.05.20251203", SOON).unwrap();
    play(&mut session, "sleep:500");
    let screen = session.screen();
    for generation in &system.generations {
        let number = generation.number.to_string();
        let row = screen
            .iter()
            .find(|row| row.contains(&number) && row.contains(&generation.version[..14]))
            .unwrap_or_else(|| panic!("no row for {number}: {screen:#?}"));
        assert!(row.contains(&generation.date[..10]), "{row}");
        assert!(row.contains(&generation.kernel_version), "{row}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn power_off_in_the_menu_ends_the_board() {
    let system = System { timeout: Timeout::Never, ..small() };
    let mut session = start(&fat_card(&system));
    menu(&mut session);
    // The first key, whichever it is, opens the menu's screen.
    play(&mut session, "esc sleep:500 p");
    session.expect_power_off(SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn reset_in_the_menu_starts_the_board_again() {
    let system = System { timeout: Timeout::Never, ..small() };
    let mut session = start(&fat_card(&system));
    menu(&mut session);
    play(&mut session, "esc sleep:500 r");
    session.expect(crate::BANNER, SOON).unwrap();
    menu(&mut session);
}
