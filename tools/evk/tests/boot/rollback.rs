//! Linux that fails in each of the ways in which it does, with nobody there: the last good generation
//! boots in the end, by itself.
//!
//! What is known to work here is the stub kernel: it powers off, and that ends the board's day.

use evk::{
    nixos::System,
    qemu::{Machine, Slot},
    session::Session,
    tree::Content,
    userspace::{Ending, Userspace},
};

use crate::{
    BANNER, LINUX, SOON, assets,
    common::{Disk, kernel_entry},
    finish_small, loader, real, small,
};

const PANIC: &str = "end Kernel panic";

/// The newest generation is Linux with this initrd, and has so many tries; the one before works.
fn with_newest(initrd: Vec<u8>, tries: u8) -> System {
    let linux = real().generations.swap_remove(0);
    small().with(42, |generation| {
        *generation = linux;
        generation.initrd = Content::bytes(initrd);
        generation.tries = Some(tries);
    })
}

fn start(disk: &Disk) -> Session {
    let machine = Machine::new(kernel_entry(loader())).memory("1G").skipping_waits();
    machine.writable_card(Slot::Sd, disk.path()).start(&assets()).unwrap()
}

/// Boots a board that was updated to a generation with this initrd; `each` sees every one of its tries
/// fail.
fn rolls_back(initrd: Vec<u8>, tries: u8, each: impl Fn(&mut Session)) {
    let system = with_newest(initrd, tries);
    let disk = Disk::updated(&system);
    let mut session = start(&disk);
    for _ in 0..tries {
        each(&mut session);
        // Nobody resets it: the watchdog bites.
        session.expect(BANNER, LINUX).unwrap();
    }
    let s = if tries == 1 { "try" } else { "tries" };
    let why = format!("rolled back from generation 42: {tries} {s} failed");
    session.expect(&why, SOON).unwrap();
    let report = finish_small(&mut session);
    let good = system.numbered(41).toplevel();
    assert_eq!(report.text("/chosen firn,generation").unwrap(), good);
    let record = disk.record();
    assert_eq!(record["lastFailure"]["id"], system.numbered(42).toplevel(), "{record:#}");
}

/// A kernel that has panicked spins. That its processor rests instead is all that is done for it.
fn panics(session: &mut Session) {
    session.expect(PANIC, LINUX).unwrap();
    session.rest_from_spinning().unwrap();
}

fn initrd(userspace: Userspace) -> Vec<u8> {
    userspace.initrd(&assets()).unwrap()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_that_panics_is_rolled_back() {
    rolls_back(initrd(Userspace::new(42).ending(Ending::Exit)), 3, panics);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_corrupt_initrd_is_rolled_back() {
    let mut damaged = initrd(Userspace::new(42));
    let middle = damaged.len() / 2;
    damaged[..middle].fill(0xa5);
    rolls_back(damaged, 2, panics);
}

/// The watchdog's driver has taken it over, and serves it for nobody any longer than it was told to.
#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_userspace_that_hangs_without_opening_the_watchdog_is_rolled_back() {
    let userspace = Userspace::new(42).with_watchdog_driver().ending(Ending::Hang);
    rolls_back(initrd(userspace), 2, |session| {
        session.expect_userspace(LINUX).unwrap();
    });
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_emergency_shell_that_nobody_answers_is_rolled_back() {
    let userspace = Userspace::new(42).ending(Ending::EmergencyShell);
    rolls_back(initrd(userspace), 2, |session| {
        session.expect("An error occurred in stage 1 of the boot process.", LINUX).unwrap();
    });
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_userspace_that_serves_the_watchdog_goes_on_until_it_hangs() {
    // As systemd does; the minutes are more than those of the watchdog and of its driver together.
    let userspace = Userspace::new(42)
        .with_watchdog_driver()
        .doing("watchdog -F -T 128 -t 30 /dev/watchdog &")
        .doing("sleep 900; echo served all the time; kill -9 $!")
        .ending(Ending::Hang);
    let disk = Disk::updated(&with_newest(initrd(userspace), 3));
    let mut session = start(&disk);
    session.expect_userspace(LINUX).unwrap();
    let before = session.expect("served all the time", LINUX).unwrap();
    assert!(!before.contains(BANNER), "{before}");
    session.expect(BANNER, LINUX).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_userspace_that_blesses_itself_is_not_counted_any_more() {
    let firn = evk::assets::target_command().expect("the command for the target");
    let userspace = Userspace::new(42)
        .with_card()
        .with_program("firn", &firn)
        .doing("firn state bless && firn state show && echo blessed");
    let system = with_newest(initrd(userspace), 3);
    let disk = Disk::updated(&system);
    let mut session = start(&disk);
    let report = session.expect_userspace(LINUX).unwrap();
    assert_eq!(report.chosen["firn,try"], "00000001 00000003");
    session.expect("blessed", LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    assert_eq!(disk.record()["lastGood"], system.numbered(42).toplevel().as_str());

    let before = std::fs::metadata(disk.path()).unwrap().modified().unwrap();
    let machine = Machine::new(kernel_entry(loader())).memory("1G").skipping_waits();
    let mut session = machine.card(Slot::Sd, disk.path()).start(&assets()).unwrap();
    let report = session.expect_userspace(LINUX).unwrap();
    assert!(!report.chosen.contains_key("firn,try"), "{:?}", report.chosen);
    session.expect_power_off(LINUX).unwrap();
    assert_eq!(std::fs::metadata(disk.path()).unwrap().modified().unwrap(), before);
}
