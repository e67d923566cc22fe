//! A board's life on the card that the image made: an update that works and is blessed, one that does not and
//! is rolled back. `nixos-rebuild switch` is what its shell would do: the profile's links, and `firn install`
//! in the running system, on the mounted card.

use std::path::Path;

use evk::{
    card::Table,
    qemu::{Machine, Slot},
    session::Session,
};
use serde_json::Value;

use crate::{
    common::{LINUX, SOON, assets, firn, kernel_entry},
    host::{Host, Source, real},
};

/// The units that the module makes, as its tests expect them.
const BLESS: &str = include_str!("../../../../nix/tests/expected/firn-bless.service");
const DEADLINE: &str = include_str!("../../../../nix/tests/expected/firn-deadline.service");

const PANIC: &str = "end Kernel panic";

/// The command line of a unit, with the command where it is on this card.
fn command(unit: &str, key: &str) -> String {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let line = line.unwrap_or_else(|| panic!("no {key} in {unit}"));
    let words = line.split(' ').map(|word| match word.rsplit_once("/bin/") {
        Some((_, program)) => format!("/bin/{program}"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Makes `toplevel` generation `number` of the profile, and the default.
fn switch(number: u32, toplevel: &str) -> String {
    let profiles = "/nix/var/nix/profiles";
    format!(
        "ln -s {toplevel} {profiles}/system-{number}-link\n\
         ln -sfn system-{number}-link {profiles}/system\n\
         firn install --config /etc/firn-install.json {toplevel} && echo switched to {number}\n"
    )
}

/// Started at EL2: how a board comes so far is seen elsewhere.
fn start(image: &Path) -> Session {
    let loader = evk::assets::firmware("firn.bin").unwrap();
    let machine = Machine::new(kernel_entry(loader)).memory("1G").skipping_waits();
    machine.writable_card(Slot::Sd, image).start(&assets()).unwrap()
}

/// The next boot, up to userspace: which generation it is, and which of how many tries.
fn next_boot(session: &mut Session) -> (String, Option<String>) {
    let report = session.expect_userspace(LINUX).unwrap();
    let toplevel = report.toplevel().unwrap().to_owned();
    session.expect("second stage of generation", LINUX).unwrap();
    (toplevel, report.chosen.get("firn,try").cloned())
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_update_that_works_is_blessed_and_one_that_does_not_is_rolled_back() {
    let (plain, _) = real(|_| String::new());
    let [newest, middle, oldest] = [42, 41, 40].map(|number| plain.numbered(number).toplevel());
    let (mut system, scripts) = real(|number| match number {
        // Updates itself; without a word to the disks, the board starts again.
        40 => switch(2, &middle) + "reboot -f\n",
        // Proves itself, and updates itself again; the second time, it is what is known to work.
        41 => format!(
            "[ -e /proc/device-tree/chosen/firn,try ] || {{ echo at home; poweroff -f; }}\n\
             {} && echo blessed\n{}reboot -f\n",
            command(BLESS, "ExecStart"),
            switch(3, &newest)
        ),
        // Does not come to a blessing: the first time the deadline ends it, then it panics.
        _ => format!(
            "case $(hexdump -v -e '1/1 \"%02x\"' /proc/device-tree/chosen/firn,try) in\n\
             00000001*) {} && echo deadline && reboot -f ;;\nesac\nexit 1\n",
            command(DEADLINE, "ExecCondition")
        ),
    });
    for generation in &mut system.generations {
        generation.tries = Some(3);
    }
    let host = Host::new(system, scripts);
    host.populate(host.system().numbered(40), Source::Profiles);
    let image = host.image(Table::Gpt, &[]);
    let mut session = start(&image);

    assert_eq!(next_boot(&mut session), (oldest, None), "a card without history");
    session.expect("switched to 2", SOON).unwrap();

    assert_eq!(next_boot(&mut session), (middle.clone(), Some("00000001 00000003".into())));
    session.expect("blessed", SOON).unwrap();
    session.expect("switched to 3", SOON).unwrap();

    for attempt in 1..=3 {
        let told = Some(format!("0000000{attempt} 00000003"));
        assert_eq!(next_boot(&mut session), (newest.clone(), told));
        if attempt == 1 {
            session.expect("deadline", SOON).unwrap();
        } else {
            session.expect(PANIC, LINUX).unwrap();
            session.rest_from_spinning().unwrap();
        }
    }

    session.expect("rolled back from generation 3: 3 tries failed", LINUX).unwrap();
    assert_eq!(next_boot(&mut session), (middle.clone(), None));
    session.expect("at home", SOON).unwrap();
    session.expect_power_off(LINUX).unwrap();

    let told = firn(&["state", "--card", image.to_str().unwrap(), "show", "--json"]);
    let record: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(record["lastGood"], middle.as_str(), "{record:#}");
    assert_eq!(record["lastFailure"]["id"], newest.as_str(), "{record:#}");
}
