//! Hundreds of generations in a store of fifty thousand entries: how soon the menu stands, and what is
//! read for it.

use std::time::Instant;

use evk::{
    nixos::{System, store::STORE_ENTRIES},
    qemu::Slot,
    session::Session,
    trace::{CARD_EVENTS, CardTraffic},
};

use crate::{
    SOON, assets, board,
    choosing::{open_screen, play},
    guests, path,
};

fn large() -> System {
    let stub = std::fs::read(guests().stub_kernel).unwrap();
    System::large(&assets(), &stub).unwrap()
}

/// Lets the menu stand on a board with the large system, and plays `keys` on its screen if there are any;
/// returns what is seen then, and what was read from the card.
fn menu(indexed: bool, keys: Option<&str>) -> (Vec<String>, CardTraffic) {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let card = path(&large().crowded_card(STORE_ENTRIES, indexed));
    let machine = board().card(Slot::Sd, card).trace(&CARD_EVENTS, &trace);
    let begin = Instant::now();
    let mut session = machine.start(&assets()).unwrap();
    session.expect("any other key opens the menu", SOON).unwrap();
    let stands = begin.elapsed();
    if let Some(keys) = keys {
        open_screen(&mut session);
        wait_until_quiet(&mut session);
        play(&mut session, keys);
        wait_until_quiet(&mut session);
    }
    let screen = session.screen();
    session.quit().unwrap();
    let traffic = CardTraffic::read(&trace).unwrap();
    println!(
        "indexed: {indexed}, keys {keys:?}: {stands:.1?} to the menu, {} KiB by {} commands in all",
        traffic.bytes() >> 10,
        traffic.read_commands()
    );
    (screen, traffic)
}

/// Until nothing has come for a second.
fn wait_until_quiet(session: &mut Session) {
    let mut length = 0;
    loop {
        play(session, "sleep:1000");
        let now = session.bytes().len();
        if now == length {
            return;
        }
        length = now;
    }
}

fn assert_shows(screen: &[String], number: u32) {
    let generation = large();
    let generation = generation.numbered(number);
    let row = screen.iter().find(|row| row.contains(&generation.version[..14]));
    let row = row.unwrap_or_else(|| panic!("no row for {number}: {screen:#?}"));
    assert!(row.contains(&number.to_string()), "{row}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_menu_of_two_hundred_generations_stands_before_four_mib_are_read() {
    let (screen, traffic) = menu(true, None);
    for number in [200, 199, 197] {
        assert_shows(&screen, number);
    }
    assert!(traffic.bytes() <= 4 << 20, "{} bytes", traffic.bytes());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn older_generations_are_read_when_they_are_scrolled_to() {
    let (first_page, first) = menu(true, Some(""));
    assert_shows(&first_page, 185);
    let (screen, more) = menu(true, Some("page-down page-down"));
    assert!(more.bytes() > first.bytes(), "{} {}", more.bytes(), first.bytes());
    assert_shows(&screen, 165);
    let (screen, _) = menu(true, Some("end"));
    assert_shows(&screen, 1);
}

/// The store of a card that an image builder filled.
#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_store_without_an_index_is_read_through_and_not_once_for_each_generation() {
    let (screen, traffic) = menu(false, None);
    assert_shows(&screen, 200);
    assert!(traffic.bytes() <= 128 << 20, "{} bytes", traffic.bytes());
}
