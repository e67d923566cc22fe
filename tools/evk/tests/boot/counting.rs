//! Generations that have to prove themselves, and the way back to the last good one. The kernel is a stub
//! that hangs; what ends its boots is the emulated watchdog, after 128 s of the board's time.

use evk::{
    card::Table,
    nixos::{self, System, Timeout},
    qemu::{Machine, Slot},
    session::Session,
    stub,
    trace::{CARD_EVENTS, CardTraffic},
};
use serde_json::Value;

use crate::{
    BANNER, SOON, assets, board,
    choosing::{open_screen, play},
    common::Disk,
    finish_small, small,
};

/// WCR: 128 s, enabled. Not its pin (WDT): QEMU's watchdog takes that before the first reset only.
const RUNNING: u64 = 0xff04;

/// The newest generation hangs, and has so many tries; the others work.
fn with_a_newest_that_hangs(tries: u8) -> System {
    small().with(42, |generation| {
        generation.tries = Some(tries);
        generation.parameters += " stub=hang";
    })
}

fn machine(disk: &Disk) -> Machine {
    board().skipping_waits().writable_card(Slot::Sd, disk.path())
}

fn start(disk: &Disk) -> Session {
    machine(disk).start(&assets()).unwrap()
}

fn identity(report: &stub::Report) -> &str {
    report.text("/chosen firn,generation").unwrap()
}

/// What the record says of the boots of `identity`.
fn counted<'a>(record: &'a Value, identity: &str) -> &'a Value {
    let counted = record["counted"].as_array().unwrap();
    counted.iter().find(|counted| counted["id"] == identity).expect("it is counted")
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_generation_that_hangs_has_its_tries_and_then_the_last_good_one_boots_and_the_reason_is_told() {
    let system = with_a_newest_that_hangs(3);
    let disk = Disk::updated(&system);
    let (bad, good) = (system.numbered(42).toplevel(), system.numbered(41).toplevel());
    let mut session = start(&disk);
    for attempt in 1..=3 {
        let report = session.expect_stub(SOON).unwrap();
        assert_eq!(identity(&report), bad);
        let told = report.text("/chosen firn,try").unwrap();
        assert_eq!(told, format!("{attempt:08x}{:08x}", 3));
        assert_eq!(report.number("watchdog control").unwrap() & RUNNING, RUNNING);
        let bootargs = report.text("/chosen bootargs").unwrap();
        assert!(bootargs.contains("watchdog.open_timeout="), "{bootargs}");
        session.expect(BANNER, SOON).unwrap();
    }
    session.expect("rolled back from generation 42: 3 tries failed", SOON).unwrap();
    let report = finish_small(&mut session);
    assert_eq!(identity(&report), good);
    // What is known to work is not watched.
    assert_eq!(report.number("watchdog control").unwrap() & 4, 0);
    assert!(report.text("/chosen firn,try").is_err());
    assert!(report.text("/chosen firn,last-failure").unwrap().contains(&bad), "{report:?}");

    let record = disk.record();
    assert_eq!(counted(&record, &bad)["standing"], "failed", "{record:#}");
    assert_eq!(record["lastFailure"]["id"], bad.as_str(), "{record:#}");
    assert_eq!(record["lastGood"], good.as_str(), "{record:#}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_menu_says_why_another_generation_boots_and_the_failed_one_can_be_chosen_all_the_same() {
    let system = System { timeout: Timeout::Seconds(1), ..with_a_newest_that_hangs(1) };
    let disk = Disk::updated(&system);
    let mut session = start(&disk);
    assert_eq!(identity(&session.expect_stub(SOON).unwrap()), system.numbered(42).toplevel());
    session.expect("rolled back from generation 42: 1 try failed", SOON).unwrap();
    open_screen(&mut session);
    let screen = session.screen();
    let row = screen.iter().find(|row| row.contains("25.11.20260214")).expect("its row");
    assert!(row.contains("rolled back"), "{screen:#?}");
    play(&mut session, "up up sleep:300 enter");
    assert_eq!(identity(&session.expect_stub(SOON).unwrap()), system.numbered(42).toplevel());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_is_blessed_is_never_counted_again_and_costs_no_write() {
    let system = small().with(42, |generation| {
        generation.tries = Some(3);
        generation.parameters += " stub=reset";
    });
    let disk = Disk::updated(&system);
    let boots = |count: usize| {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let mut session = machine(&disk).trace(&CARD_EVENTS, &trace).start(&assets()).unwrap();
        let reports: Vec<_> = (0..count).map(|_| session.expect_stub(SOON).unwrap()).collect();
        for report in &reports {
            assert_eq!(identity(report), system.numbered(42).toplevel());
        }
        session.quit().unwrap();
        (reports, CardTraffic::read(&trace).unwrap().writes.len())
    };
    let (reports, writes) = boots(1);
    assert_eq!(reports[0].text("/chosen firn,try").unwrap(), "0000000100000003");
    // One copy of the record.
    assert_eq!(writes, 8);
    disk.bless(system.numbered(42));
    let (reports, writes) = boots(3);
    assert_eq!(writes, 0);
    for report in &reports {
        assert!(report.text("/chosen firn,try").is_err(), "{report:?}");
        assert_eq!(report.number("watchdog control").unwrap() & 4, 0);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn on_a_card_without_history_what_boots_first_counts_as_good() {
    let system = small().with(42, |generation| generation.tries = Some(3));
    let disk = Disk::new(&nixos::card_with_root(Table::Mbr, system.root()));
    let report = finish_small(&mut start(&disk));
    assert_eq!(report.number("watchdog control").unwrap() & 4, 0);
    assert_eq!(disk.record()["lastGood"], system.numbered(42).toplevel().as_str());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn with_counting_off_nothing_is_written_and_nothing_watched() {
    let disk = Disk::new(&nixos::card_with_root(Table::Mbr, small().root()));
    let report = finish_small(&mut start(&disk));
    assert_eq!(report.number("watchdog control").unwrap() & 4, 0);
    assert_eq!(disk.record()["place"]["source"], "blank");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_that_keeps_no_writes_boots_uncounted_and_boot_once_is_not_honoured_for_ever() {
    let system = small().with(42, |generation| generation.tries = Some(3));
    let disk = Disk::updated(&system);
    disk.state(&["boot-once", &system.numbered(40).toplevel()]);
    let machine = board().skipping_waits().worn_out_card(Slot::Sd, disk.path());
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_small(&mut session);
    assert_eq!(identity(&report), system.numbered(42).toplevel());
    assert_eq!(report.number("watchdog control").unwrap() & 4, 0);
    assert!(report.text("/chosen firn,try").is_err(), "{report:?}");
    let text = session.text();
    assert!(text.contains("[E11"), "{text}");
}
