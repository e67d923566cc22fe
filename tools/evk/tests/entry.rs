//! How the second stage is entered and what it does when it fails, seen on the serial line: a guest
//! with the loader's entry code and tables that misbehaves on one key each (tests/guest/faults.rs).

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Misbehaving, SOON, assets, guests, kernel_entry, target};
use evk::{
    qemu::{Entry, Machine},
    session::Session,
};

fn faults() -> PathBuf {
    evk::guest::build_faults(&target().join("guest")).expect("faults guest")
}

/// Entered at EL2 with a device tree, and ready for a key.
fn ready() -> Session {
    let mut session = Machine::new(kernel_entry(faults())).start(&assets()).unwrap();
    session.expect("entered at EL2 with a device tree\n", SOON).unwrap();
    session.expect("? ", SOON).unwrap();
    session
}

const GUEST: Misbehaving = Misbehaving { ready, end: "firn: stopped; reset the board\n" };

/// Enters the guest at EL3 with nothing beneath.
fn bare(address: u64) -> Session {
    Machine::new(Entry::Bare { image: faults(), address }).start(&assets()).unwrap()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn only_the_boot_core_runs() {
    let mut session = ready();
    session.send("\n").unwrap();
    session.expect("? ", SOON).unwrap();
    assert_eq!(session.text().matches("entered at").count(), 1, "four cores");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_real_bl31_enters_at_el2_without_a_device_tree() {
    let entry = Entry::Bl31 { first_stage: guests().el3_stub, bl31: assets().bl31, bl33: faults() };
    let mut session = Machine::new(entry).start(&assets()).unwrap();
    session.expect("entered at EL2 without a device tree\n", SOON).unwrap();
    session.expect("? ", SOON).unwrap();
    session.send("o").unwrap();
    session.expect_power_off(SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn at_el3_with_nothing_beneath_it_says_so_and_the_watchdog_resets() {
    let mut session = bare(0x4020_0000);
    for _ in 0..2 {
        session.expect("entered at EL3 without firmware beneath (no PSCI)", SOON).unwrap();
        session.expect("? ", SOON).unwrap();
        session.send("r").unwrap();
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn loaded_elsewhere_it_moves_to_its_place_or_says_why_it_cannot() {
    for address in [0x4800_0000, 0x4010_0000] {
        let mut session = bare(address);
        session.expect(&format!("loaded at {address:#x}\n"), SOON).unwrap();
    }
    bare(0x4020_8008).expect("[E705] loaded too close to 0x40200000", SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn garbage_in_x0_and_caches_left_on_do_no_harm() {
    for (key, x0) in [("a", "0x48000008"), ("g", "0x180000000")] {
        GUEST.after(key, &format!("entered at EL2; x0 = {x0} is no device tree\n"));
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn at_el1_it_says_what_to_do_and_stops() {
    let text = GUEST.after("l", "runs at EL2\n");
    assert!(text.contains("firn: [E704] "), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn code_and_constants_cannot_be_written_nor_data_executed() {
    for (key, what, place) in [
        ("c", "write failed: not permitted there", "address 0x40200000: its own code"),
        ("k", "write failed: not permitted there", "its own constants"),
        ("x", "instruction fetch failed: not permitted there", "the heap"),
        ("e", "instruction fetch failed: not permitted there", "the stack"),
        ("v", "instruction fetch failed: not permitted there", "its own variables"),
        ("i", "instruction fetch failed: not permitted there", "not its own"),
        // What is loaded to, by the processor or a device.
        ("D", "instruction fetch failed: not permitted there", "address 0x50000000: not its own"),
    ] {
        let text = GUEST.fault(key);
        assert!(text.contains(&format!("firn: [E701] the loader failed: {what}\n")), "{text}");
        assert!(text.contains(place), "{text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_null_page_and_memory_not_claimed_are_not_mapped() {
    for (key, place) in [("n", "address 0x0: a null pointer"), ("u", "not its own")] {
        let text = GUEST.fault(key);
        assert!(text.contains("read failed: nothing is mapped there"), "{text}");
        assert!(text.contains(place), "{text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_overflowing_stack_hits_the_gap_below_it() {
    let text = GUEST.fault("s");
    assert!(text.contains("stack overflow: the gap below the stack"), "{text}");
    assert!(text.contains("   sp 00000000"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_gaps_around_the_report_s_stack_and_behind_the_heap_are_not_mapped() {
    for (key, place) in [("f", "its own variables"), ("H", "heap overrun: the gap behind the heap")]
    {
        let text = GUEST.fault(key);
        assert!(text.contains("write failed: nothing is mapped there"), "{text}");
        assert!(text.contains(place), "{text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_failure_during_the_report_is_told_and_one_during_that_stops() {
    GUEST.fail_while_reporting();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_panic_and_an_exhausted_heap_name_their_place() {
    let text = GUEST.fault("p");
    assert!(text.contains("[E702]") && text.contains("tests/guest/faults.rs:"), "{text}");
    assert!(text.contains("as asked"), "{text}");
    let text = GUEST.fault("h");
    assert!(text.contains("memory allocation of 1048576 bytes failed"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_that_nobody_is_near_starts_anew_after_a_panic() {
    let mut session = ready();
    session.send("P").unwrap();
    session.expect("firn: stopped; the board starts anew in 10 s", SOON).unwrap();
    session.expect("entered at", Duration::from_secs(30)).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_look_at_what_is_not_there_is_survived() {
    // The first word of the image is its branch to the entry code.
    let text = GUEST.after("t", "None)\n");
    assert!(text.contains("tried: (Some(14"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn claimed_memory_holds_what_is_written() {
    let text = GUEST.after("d", "-0x080000000 holds what was written: true");
    assert!(text.contains("0x040000000-0x040200000 holds what was written: true"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_is_entered_with_its_device_tree_and_zeros() {
    let text = GUEST.after("j", "device tree of 40 bytes\n");
    let second = text.rsplit_once("? j").unwrap().1;
    assert!(second.contains("entered at EL2 with a device tree\n"), "{second}");
    assert!(second.contains("loaded at 0x50000000\n"), "{second}");
    assert!(second.contains("x0 to x3 [58000000, 0, 0, 0]\n"), "{second}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_running_watchdog_is_served_while_somebody_waits_and_bites_what_hangs() {
    let mut session = ready();
    session.send("w").unwrap();
    assert!(session.expect("entered at", Duration::from_secs(4)).is_err(), "it bit");
    let mut session = ready();
    session.send("W").unwrap();
    session.expect("entered at", SOON).unwrap();
}
