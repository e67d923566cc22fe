//! The way back to the last good generation on the whole board: each try begins in the boot ROM, and what
//! ends it is told by the reset controller, the watchdog and the PMIC.

use evk::qemu::{Entry, Machine, Slot};

use crate::{SOON, assets, common::Disk, rom_starts, small, sound};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_generation_that_hangs_is_rolled_back_and_the_record_holds_what_the_pmic_said() {
    let system = small().with(42, |generation| {
        generation.tries = Some(2);
        generation.parameters += " stub=hang";
    });
    let disk = Disk::updated(&system);
    let board = Machine::new(Entry::BootRom(sound())).skipping_waits();
    let mut session = board.writable_card(Slot::Sd, disk.path()).start(&assets()).unwrap();
    for attempt in 1..=2 {
        let report = session.expect_stub(SOON).unwrap();
        assert_eq!(report.text("/chosen firn,try").unwrap(), format!("{attempt:08x}00000002"));
        // 128 s, enabled; that it asserts its pin shows in what the PMIC says then.
        assert_eq!(report.number("watchdog control").unwrap() & 0xff04, 0xff04);
        session.expect("reset: power-on, by the watchdog's pin", SOON).unwrap();
    }
    let why =
        "rolled back from generation 42: 2 tries failed, last: power-on, by the watchdog's pin";
    session.expect(why, SOON).unwrap();
    let report = session.expect_stub(SOON).unwrap();
    let good = system.numbered(41).toplevel();
    assert_eq!(report.text("/chosen firn,generation").unwrap(), good);
    let cause = report.text("/chosen firn,reset-cause").unwrap();
    assert_eq!(cause, "power-on, by the watchdog's pin");
    session.expect_power_off(SOON).unwrap();
    assert_eq!(rom_starts(&session).len(), 3);
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    let failure = disk.record()["lastFailure"].clone();
    assert_eq!(failure["id"], system.numbered(42).toplevel(), "{failure:#}");
    assert_eq!(failure["text"], "power-on, by the watchdog's pin", "{failure:#}");
}
