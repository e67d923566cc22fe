//! The lock: who may look into files. The commands themselves are tried in `tests/boot_policy`.

use alloc::{boxed::Box, collections::VecDeque, format, string::String, vec, vec::Vec};
use core::cell::{Cell, RefCell};

use super::*;
use crate::{
    block::{self, SharedDevice},
    board::BOARD,
    boot::{LoadMemory, Unavailable},
    linux,
    memory::Region,
    soc::Part,
    state::counter::Counter,
};

/// `mkpasswd -m sha-512 -R 1000` of "right".
const HASH: &str = "$6$rounds=1000$abcdefgh$I84hbD0J7Jmo4sU9lTz8m9rfHdqr2VWqu9ekV6OoZIYKOQE5DVzhYkbyGHOzzK51UO2h54cIPrULnl5mNQFZP0";

/// A board without cards, at which somebody types.
struct Board {
    keys: VecDeque<u8>,
    now: Cell<Duration>,
    line: Vec<u8>,
}

impl LoadMemory for Board {
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        Err(Unavailable(region))
    }

    fn release(&mut self) {}
}

impl Machine for Board {
    fn open_device(&mut self, _: usize) -> Option<Result<SharedDevice, block::Error>> {
        None
    }

    fn linux_name(&self, _: usize) -> Option<String> {
        None
    }

    fn counter(&mut self) -> Option<Box<dyn Counter>> {
        None
    }

    fn is_unattended(&mut self) {}

    fn now(&self) -> Duration {
        self.now.set(self.now.get() + Duration::from_millis(10));
        self.now.get()
    }

    fn read_byte(&mut self) -> Option<u8> {
        self.keys.pop_front()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.line.extend(bytes);
    }
}

/// What the line says when `keys` are typed and `reset` after them.
fn typed(access: Access, keys: &str) -> String {
    let facts = Facts {
        board: &BOARD,
        dram: linux::Dram { banks: vec![], source: linux::dram::Source::Board },
        taken: vec![],
        firmware_tree: None,
        part: Part::default(),
        tee: None,
        board_addresses: vec![],
        entry: "EL2".into(),
        entropy: RefCell::default(),
        recovery: None,
        reset: None,
        times: vec![],
    };
    let keys = format!("{keys}\rreset\r").into_bytes().into();
    let mut board = Board { keys, now: Cell::default(), line: Vec::new() };
    let outcome = Shell::new(&mut board, &facts, &[], false, Lock::new(access)).run();
    let line = String::from_utf8(board.line).unwrap();
    assert_eq!(outcome, Some(Outcome::Reset), "{line}");
    line
}

fn password() -> Access {
    Access::Password(HASH.into())
}

/// What a command that looks into files says here.
const DONE: &str = "nothing that can be read was found";

#[test]
fn where_nobody_may_files_are_neither_listed_shown_completed_nor_booted() {
    for command in ["ls", "cat /x", "boot /x", "cat /\t"] {
        let line = typed(Access::Nobody, command);
        assert!(line.contains("Locked: the configuration lets nobody do this.\r\n> "), "{line}");
        assert!(!line.contains(DONE), "{line}");
    }
}

#[test]
fn what_tells_nothing_of_files_is_for_everybody() {
    for command in ["help", "entries", "devices", "board", "memory", "state"] {
        assert!(!typed(Access::Nobody, command).contains("Locked"), "{command}");
    }
}

#[test]
fn a_password_is_asked_for_once_and_the_command_goes_on() {
    let line = typed(password(), "ls\rright\rboot /x");
    assert_eq!(line.matches("Password: ").count(), 1, "{line}");
    assert_eq!(line.matches(DONE).count(), 2, "{line}");
    assert!(!line.contains("right"), "{line}");
}

#[test]
fn a_wrong_password_lets_nobody_in() {
    let line = typed(password(), "ls\rleft\rls\r\x03");
    assert!(line.contains("Wrong password. \r\n> "), "{line}");
    assert_eq!(line.matches("Password: ").count(), 2, "{line}");
    assert!(!line.contains(DONE), "{line}");
}

#[test]
fn after_some_wrong_passwords_there_is_a_pause() {
    let line = typed(password(), "ls\ra\rls\rb\rls\rc\rls");
    assert!(line.contains("After 3 wrong ones, wait 5 s."), "{line}");
    assert_eq!(line.matches("Password: ").count(), 3, "{line}");
}

#[test]
fn a_hash_that_is_none_lets_nobody_in() {
    let line = typed(Access::Password("secret".into()), "ls\rsecret");
    assert!(line.contains("Locked: ") && !line.contains(DONE), "{line}");
}
