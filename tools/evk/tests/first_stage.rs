//! How the first stage is entered and what it does when it fails, seen on the serial line: the real
//! one where there is no memory to train, and a guest with its entry code and tables that misbehaves
//! on one key each (tests/guest/first_stage_faults.rs). QEMU alone; what it lacks is absent here.

mod common;

use std::path::PathBuf;

use common::{Misbehaving, SOON, assets, target};
use evk::{
    qemu::{Entry, Machine},
    session::Session,
};

/// Where the boot ROM enters the first stage.
const ENTRY: u64 = 0x92_0000;

fn bare(image: PathBuf) -> Session {
    Machine::new(Entry::Bare { image, address: ENTRY }).start(&assets()).unwrap()
}

/// The guest, ready for a key.
fn ready() -> Session {
    let faults = evk::guest::build_first_stage_faults(&target().join("guest")).expect("guest");
    let mut session = bare(faults);
    session.expect("? ", SOON).unwrap();
    session
}

const GUEST: Misbehaving =
    Misbehaving { ready, end: "firn: stopped; the board starts anew in 10 s\n" };

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn it_runs_at_el3_with_nothing_cached_but_instructions() {
    let text = ready().text();
    // Bits 0, 2 and 12: translation, data cache, instruction cache.
    assert!(text.contains("entered at EL3, SCTLR 0x30c51838\n"), "{text}");
    assert!(text.contains("time runs: true\n"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn caches_go_on_for_some_work_and_off_again() {
    let mut session = ready();
    for _ in 0..2 {
        session.send("t").unwrap();
        session.expect("inside 0x30cd183d, outside 0x30c51838\n", SOON).unwrap();
        session.expect("took less than 1 s: true\n", SOON).unwrap();
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_overflow_of_the_stack_is_noticed_where_nothing_stops_it() {
    let mut session = ready();
    session.send("l").unwrap();
    session.expect("some stack is left: true\n", SOON).unwrap();
    session.send("o").unwrap();
    session.expect("stack left None\n", SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn entered_with_translation_and_caches_on_it_turns_them_off() {
    let text = GUEST.after("a", "entered at EL3, SCTLR 0x30c51838\n");
    assert_eq!(text.matches("entered at").count(), 2, "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_exception_is_reported_and_then_the_watchdog_starts_the_board_anew() {
    let mut session = ready();
    session.send("b").unwrap();
    session.expect("firn: [E701] the first stage failed: ", SOON).unwrap();
    session.expect("firn: stopped; the board starts anew in 10 s\n", SOON).unwrap();
    session.expect("entered at EL3", SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_panic_names_its_place() {
    let text = GUEST.fault("p");
    assert!(text.contains("[E702]"), "{text}");
    assert!(text.contains("tests/guest/first_stage_faults.rs:"), "{text}");
    assert!(text.contains("as asked"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_failure_during_the_report_is_told_and_one_during_that_stops() {
    GUEST.fail_while_reporting();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_caches_all_memory_is_device_memory() {
    let text = GUEST.fault("u");
    assert!(text.contains("read failed: misaligned"), "{text}");
    assert!(text.contains("the stack\n"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn with_caches_code_cannot_be_written_nor_data_executed() {
    for (key, what, place) in [
        ("c", "write failed: not permitted there", "address 0x920000: its own code"),
        ("k", "write failed: not permitted there", "its own constants"),
        ("x", "instruction fetch failed: not permitted there", "its own variables"),
        ("e", "instruction fetch failed: not permitted there", "the stack"),
        ("v", "instruction fetch failed: not permitted there", "its own constants"),
        ("i", "instruction fetch failed: not permitted there", "not its own"),
        ("f", "write failed: nothing is mapped there", "its own variables"),
        ("n", "read failed: nothing is mapped there", "a null pointer"),
        ("d", "read failed: nothing is mapped there", "address 0x40000000: not its own"),
        ("s", "write failed: nothing is mapped there", "stack overflow: the gap below the stack"),
    ] {
        let text = GUEST.fault(key);
        assert!(text.contains(&format!("the first stage failed: {what}\n")), "{key}: {text}");
        assert!(text.contains(place), "{key}: {text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_boot_rom_is_not_called_where_there_is_none_nor_with_caches_on() {
    // QEMU has none.
    GUEST.after("q", "Err(Absent)\n");
    let text = GUEST.fault("m");
    assert!(text.contains("read failed: nothing is mapped there"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_training_firmware_behind_it_it_says_so_and_tries_again() {
    let mut session = bare(evk::assets::firmware("firn-spl.bin").unwrap());
    for _ in 0..2 {
        session.expect(", first stage, on NXP i.MX8MPlus EVK board\n", SOON).unwrap();
        session.expect("firn: [E901] training firmware: ", SOON).unwrap();
        session.expect("firn: stopped; the board starts anew in 10 s\n", SOON).unwrap();
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_that_does_not_answer_is_named_by_its_codes() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("first-stage.bin");
    let flash = evk::flash::Flash::of_this_tree(&assets()).unwrap().bytes().unwrap();
    // From the first stage itself on: what the boot ROM loads behind it comes along.
    std::fs::write(&image, &flash[64..0x4_0000]).unwrap();
    let mut session = bare(image);
    session.expect("firn: stopped; the board starts anew in 10 s\n", SOON).unwrap();
    let text = session.text();
    assert!(text.contains("firn: [E1004] PMIC at 0x25"), "{text}");
    assert_eq!(text.matches("firn: [E804] DRAM: ").count(), 3, "{text}");
    assert_eq!(text.matches("firn: trying again\n").count(), 2, "{text}");
}
