//! Who may change what is booted.

use super::*;
use crate::nixos::Access;

/// That of `firn`, with as few rounds as there can be.
const HASH: &str = "$5$rounds=1000$saltsalt$8DMdbCrE.YJ.nCuVgOaVdkkiYeaLoPrUyzLViPa6WP4";

fn locked(access: Access) -> Settings {
    Settings { access, ..waiting() }
}

fn with_password() -> Settings {
    locked(Access::Password(HASH.into()))
}

fn open(settings: &Settings) -> Session {
    let mut session = Session::new(&nixos(), settings, &[]);
    session.press(b" ");
    session
}

#[test]
fn where_nobody_may_change_anything_the_keys_say_so() {
    for key in [b"e", b"c", b"s"] {
        let mut session = open(&locked(Access::Nobody));
        session.press(key);
        assert_eq!(session.outcome, Outcome::Stay);
        assert!(session.screen().contains("Locked: the configuration lets nobody do this."));
    }
}

#[test]
fn booting_needs_no_password() {
    for settings in [with_password(), locked(Access::Nobody)] {
        for key in [b"\r", b"o"] {
            let mut session = open(&settings);
            session.press(b"j").press(key);
            assert_eq!(session.booted(), (2, None));
        }
    }
}

#[test]
fn the_password_is_asked_for_once_and_opens_the_editor_the_prompt_and_the_default() {
    let mut session = open(&with_password());
    session.press(b"e");
    assert_snapshot("password", &session.screen());
    session.press(b"firn").press(b"\r");
    assert!(session.screen().contains("Command line of generation 42"));
    session.press(b"\x1b").press(b"s");
    assert_eq!(session.outcome, Outcome::SetDefault(0));
    session.outcome = Outcome::Stay;
    session.press(b"c");
    assert_eq!(session.outcome, Outcome::Rescue);
}

#[test]
fn what_was_asked_for_is_done_when_the_password_is_right() {
    for (key, outcome) in [(b"c", Outcome::Rescue), (b"s", Outcome::SetDefault(2))] {
        let mut session = open(&with_password());
        session.press(b"j").press(key).press(b"firn").press(b"\r");
        assert_eq!(session.outcome, outcome);
    }
}

#[test]
fn the_password_is_never_sent() {
    for answers in [true, false] {
        let mut session = open(&with_password());
        session.answers = answers;
        session.press(b"e");
        let before = session.sent.len();
        session.press(b"f").press(b"i").press(b"r").press(b"n").press(b"x").press(b"\r");
        let text = String::from_utf8_lossy(&session.sent[before..]).into_owned();
        assert!(text.contains('*') && text.contains("Wrong password."), "{text:?}");
        assert!(!text.contains("firn") && !text.contains("fi"), "{text:?}");
    }
}

#[test]
fn a_wrong_password_is_asked_for_again_and_the_third_one_costs_time() {
    let mut session = open(&with_password());
    session.press(b"c");
    for _ in 0..2 {
        session.press(b"x").press(b"\r");
        assert!(session.screen().contains("Wrong password."));
        assert!(session.screen().contains("Password:"));
    }
    session.press(b"x").press(b"\r");
    assert!(session.screen().contains("Wrong password. After 3 wrong ones, wait 5 s."));
    assert!(!session.screen().contains("Password:"));
    session.press(b"c");
    assert!(session.screen().contains("After 3 wrong ones, wait"));
    session.wait(5000);
    session.press(b"c").press(b"firn").press(b"\r");
    assert_eq!(session.outcome, Outcome::Rescue);
}

#[test]
fn pauses_grow_to_five_minutes_and_no_further() {
    let mut session = open(&with_password());
    let mut pauses = Vec::new();
    for _ in 0..12 {
        session.press(b"c").press(b"x").press(b"\r");
        let screen = session.screen();
        let pause = screen.split("wait ").nth(1).and_then(|rest| rest.split(' ').next());
        if let Some(pause) = pause {
            let pause: u64 = pause.parse().expect("a number");
            pauses.push(pause);
            session.wait(pause * 1000);
        }
        session.press(b"\x1b");
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
}

#[test]
fn nothing_typed_or_escape_leads_back_without_a_try() {
    let mut session = open(&with_password());
    for _ in 0..9 {
        session.press(b"e").press(b"\r");
        assert!(session.screen().contains("> 42"));
        session.press(b"e").press(b"abc").press(b"\x1b");
    }
    session.press(b"e").press(b"firn").press(b"\r");
    assert!(session.screen().contains("Command line of generation 42"));
}

#[test]
fn a_password_that_nobody_types_is_given_up() {
    let mut session = open(&with_password());
    session.press(b"c").press(b"fi");
    session.wait(60_000);
    assert!(session.screen().contains("No password was given."));
    session.press(b"rn").press(b"\r");
    assert!(!matches!(session.outcome, Outcome::Rescue));
}

#[test]
fn after_five_minutes_without_a_key_it_is_asked_for_again() {
    let mut session = open(&with_password());
    session.press(b"e").press(b"firn").press(b"\r").press(b"\x1b");
    session.wait(200_000);
    session.press(b"j");
    session.wait(200_000);
    session.press(b"e");
    assert!(session.screen().contains("Command line of"));
    session.press(b"\x1b").wait(301_000);
    session.press(b"e");
    assert!(session.screen().contains("Password:"));
}

#[test]
fn a_hash_that_cannot_be_checked_locks_and_says_what_to_do() {
    for hash in ["$y$j9T$salt$hash", "nonsense", ""] {
        let mut session = open(&locked(Access::Password(hash.into())));
        session.press(b"e");
        let screen = session.screen();
        assert!(screen.contains("Locked: ") && screen.contains("mkpasswd"), "{screen}");
        assert!(!screen.contains("Password:"));
    }
}

#[test]
fn the_countdown_goes_on_whatever_is_typed_for_a_password() {
    let settings = Settings { access: Access::Password(HASH.into()), ..after(50) };
    let mut session = Session::new(&nixos(), &settings, &[]);
    session.press(b" ").press(b"e");
    while session.outcome == Outcome::Stay {
        session.press(b"x\r");
        session.press(b"e");
        session.wait(20_000);
        assert!(session.now < Duration::from_secs(2000));
    }
    assert_eq!(session.booted(), (0, None));
}

#[test]
fn the_help_page_says_what_is_locked() {
    let mut session = open(&with_password());
    session.press(b"?");
    assert!(session.screen().contains("Locked        e, c and s"));
    let mut session = open(&waiting());
    session.press(b"?");
    assert!(!session.screen().contains("Locked"));
}

#[test]
fn random_bytes_open_nothing() {
    let settings = Settings { access: Access::Password(HASH.into()), ..after(50) };
    for seed in 1..=10_u64 {
        let mut session = Session::new(&nixos(), &settings, &[]);
        session.press(b" ").press(b"e");
        babble::babble(&mut session, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1000, 3600);
        assert!(
            matches!(&session.outcome, Outcome::Boot(choice) if choice.command_line.is_none())
                || session.outcome == Outcome::Reset,
            "{:?}",
            session.outcome
        );
    }
}
