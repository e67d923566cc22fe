//! What boots when nobody chooses, as the state record, the profiles' links and people at the menu have
//! it; the record is the same for the firmware and for the `firn` command.

use std::time::Duration;

use evk::{
    card::Table,
    nixos::{self, Generation, System, Timeout},
    qemu::Slot,
    session::Session,
    stub,
};

use crate::{SOON, assets, board, choosing::play, common::Disk, finish_small, small};

fn disk(system: &System) -> Disk {
    Disk::new(&nixos::card_with_root(Table::Mbr, system.root()))
}

fn start(disk: &Disk) -> Session {
    board().writable_card(Slot::Sd, disk.path()).start(&assets()).unwrap()
}

fn boot(disk: &Disk) -> stub::Report {
    finish_small(&mut start(disk))
}

fn identity(report: &stub::Report) -> &str {
    report.text("/chosen firn,generation").unwrap()
}

/// Boots `disk`, and it is `generation` that boots.
fn boots(disk: &Disk, generation: &Generation) {
    assert_eq!(identity(&boot(disk)), generation.toplevel());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_a_record_the_system_link_is_the_default_also_after_a_rollback() {
    // `nixos-rebuild --rollback`: the link leads back to 41, 42 is still the newest.
    let system = System { default: 1, ..small() };
    let disk = disk(&system);
    boots(&disk, system.numbered(41));
    // Nothing is counted, so nothing was written.
    assert_eq!(disk.record()["place"]["source"], "blank");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_was_installed_last_is_the_default_whatever_the_link_says() {
    let system = small();
    let disk = disk(&system);
    for number in [41, 42, 40] {
        disk.install(system.numbered(number));
        boots(&disk, system.numbered(number));
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_specialisation_may_be_the_default() {
    let system = small().with(41, |generation| {
        generation.specialisations.push(generation.specialised("headless"));
    });
    let disk = disk(&system);
    disk.install(&system.numbered(41).specialisations[0]);
    let report = boot(&disk);
    assert_eq!(identity(&report), system.numbered(41).specialisations[0].toplevel());
    assert_eq!(report.text("/chosen firn,specialisation").unwrap(), "headless");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_a_person_makes_the_default_stays_it_until_something_is_installed() {
    let system = System { timeout: Timeout::Never, ..small() };
    let disk = disk(&system);
    let mut session = start(&disk);
    session.expect("25.05.20251203", SOON).unwrap();
    play(&mut session, "esc sleep:500 down sleep:300 s sleep:1000 p");
    session.expect_power_off(SOON).unwrap();
    let chosen = system.numbered(41).toplevel();
    assert_eq!(disk.record()["default"], chosen.as_str());

    let mut session = start(&disk);
    session.expect("25.05.20251203", SOON).unwrap();
    // The selection begins at the default.
    play(&mut session, "sleep:500 enter");
    assert_eq!(identity(&finish_small(&mut session)), chosen);

    disk.install(system.numbered(42));
    let mut session = start(&disk);
    session.expect("25.05.20251203", SOON).unwrap();
    play(&mut session, "sleep:500 enter");
    assert_eq!(identity(&finish_small(&mut session)), system.numbered(42).toplevel());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_default_that_was_garbage_collected_gives_way_to_the_link_and_the_menu_says_so() {
    let system = System { default: 1, ..small() };
    let disk = disk(&system);
    let gone = "/nix/store/00000000000000000000000000000000-nixos-system-imx8mp-25.11.gone";
    disk.state(&["set-default", "--force", gone]);
    let mut session = start(&disk);
    session.expect(&format!("the default {gone} is not there any more"), SOON).unwrap();
    let report = finish_small(&mut session);
    assert_eq!(identity(&report), system.numbered(41).toplevel());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_erased_record_leaves_the_link() {
    let system = small();
    let disk = disk(&system);
    disk.install(system.numbered(40));
    disk.state(&["clear", "--yes"]);
    boots(&disk, system.numbered(42));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn boot_once_boots_once() {
    let system = small();
    let disk = disk(&system);
    disk.state(&["boot-once", &system.numbered(40).toplevel()]);
    boots(&disk, system.numbered(40));
    assert!(disk.record()["bootOnce"].is_null(), "{}", disk.record());
    boots(&disk, system.numbered(42));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_timeout_is_that_of_the_default_generations_bootspec() {
    let system = System { timeout: Timeout::Never, ..small() }
        .with(41, |generation| generation.timeout = Some(Timeout::Seconds(9)));
    let disk = disk(&system);
    let mut session = start(&disk);
    session.expect("any other key opens the menu", SOON).unwrap();
    assert!(session.expect("Booting", Duration::from_secs(2)).is_err(), "it counts down");
    drop(session);
    // Nothing but the record changes.
    disk.install(system.numbered(41));
    let mut session = start(&disk);
    session.expect("Booting generation 41 in 9", SOON).unwrap();
}
