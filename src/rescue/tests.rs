//! Key scripts, and what is on the terminal then.

use proptest::prelude::*;

use super::*;
use crate::{
    error::Code,
    nixos::{Broken, extlinux},
};

struct Session {
    prompt: Prompt,
    now: Duration,
    sent: Vec<u8>,
}

impl Session {
    fn new(returns_to_menu: bool) -> Self {
        let prompt = Prompt::new(returns_to_menu, Duration::ZERO);
        let mut session = Self { prompt, now: Duration::ZERO, sent: Vec::new() };
        session.draw();
        session
    }

    fn draw(&mut self) {
        let bytes = self.prompt.draw();
        self.sent.extend(bytes);
    }

    /// Types bytes; gives the commands that come of them.
    fn type_(&mut self, bytes: &[u8]) -> Vec<Command> {
        for &byte in bytes {
            self.prompt.feed(byte, self.now);
        }
        self.now += Duration::from_millis(100);
        let commands = core::iter::from_fn(|| self.prompt.tick(self.now)).collect();
        self.draw();
        commands
    }

    /// Answers a [`Command::Complete`] for `word`.
    fn complete(&mut self, word: &str, candidates: &[&str]) {
        let mut completion = Completion::new(word);
        candidates.iter().for_each(|candidate| completion.offer(candidate, candidate));
        self.prompt.complete(&completion);
        self.draw();
    }

    /// The last row that is not blank.
    fn last_row(&self) -> String {
        self.screen().lines().last().unwrap_or_default().trim_end().to_string()
    }

    /// What is on a terminal of 24 rows, without the blanks behind it.
    fn screen(&self) -> String {
        let mut terminal = vt100::Parser::new(24, 80, 0);
        terminal.process(&self.sent);
        terminal.screen().contents()
    }
}

#[test]
fn it_says_where_one_is_and_ends_in_the_prompt() {
    let session = Session::new(false);
    assert_eq!(session.sent, b"Rescue prompt. help lists the commands.\r\n> ");
}

#[test]
fn each_command_is_given_to_the_caller() {
    let boot = |files: &[&str], arguments: &str| Command::Boot {
        files: files.iter().map(ToString::to_string).collect(),
        arguments: arguments.into(),
    };
    for (line, command) in [
        ("ls", Command::List(None)),
        ("ls sd1:/nix", Command::List(Some("sd1:/nix".into()))),
        ("cat \"/a b\"", Command::Show("/a b".into())),
        ("cat /a\\ b", Command::Show("/a b".into())),
        ("boot Image", boot(&["Image"], "")),
        ("boot k i d -- init=/init  quiet", boot(&["k", "i", "d"], "init=/init  quiet")),
        ("boot k -- a=\"b c\"", boot(&["k"], "a=\"b c\"")),
        ("entries", Command::Entries),
        ("devices", Command::Devices),
        ("board", Command::Board),
        ("memory", Command::Memory),
        ("state", Command::State),
        ("menu", Command::Menu),
        ("reset", Command::Reset),
        ("  poweroff  ", Command::PowerOff),
    ] {
        let mut session = Session::new(false);
        assert_eq!(session.type_(format!("{line}\r\n").as_bytes()), [command]);
    }
}

#[test]
fn help_lists_every_command_and_the_prompt_comes_back() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"help\r"), []);
    let screen = session.screen();
    assert!(COMMANDS.iter().all(|entry| screen.contains(entry.explanation)), "{screen}");
    assert!(session.sent.ends_with(b"\r\n> "));
}

#[test]
fn an_unknown_command_says_so() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"frob x\r"), []);
    assert!(session.screen().contains("\nfrob: no such command; help lists them\n>"));
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"reset now\r"), []);
    assert!(session.screen().contains("reset takes no argument, but there is \"now\""));
}

#[test]
fn a_command_that_lacks_something_or_has_too_much_says_how_it_is_used() {
    for (line, complaint) in [
        ("cat", "usage: cat PATH"),
        ("cat a b", "usage: cat PATH"),
        ("ls a b", "usage: ls [PATH]"),
        ("ls -- a", "usage: ls [PATH]"),
        ("boot", "usage: boot KERNEL [INITRD...] [DTB [DTBO...]] [-- ARGS]"),
        ("boot -- quiet", "usage: boot KERNEL [INITRD...] [DTB [DTBO...]] [-- ARGS]"),
        ("reset --", "reset takes no argument, but there is \"--\""),
        ("cat \"a", "a quote is open at the end of the line"),
    ] {
        let mut session = Session::new(false);
        assert_eq!(session.type_(format!("{line}\r").as_bytes()), []);
        assert!(session.screen().contains(&format!("\n{complaint}\n>")), "{}", session.screen());
    }
}

#[test]
fn an_empty_line_gives_another_prompt() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"\r"), []);
    assert!(session.sent.ends_with(b"> \r\n> "));
}

#[test]
fn lines_can_be_edited_and_given_up() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"rXset\x1b[D\x1b[D\x1b[D\x7fe\r"), [Command::Reset]);
    assert_eq!(session.type_(b"res\x03menu\r"), [Command::Menu]);
}

#[test]
fn what_is_typed_ahead_is_done_in_order() {
    let mut session = Session::new(false);
    for &byte in b"entries\rreset\r" {
        session.prompt.feed(byte, session.now);
    }
    assert_eq!(session.prompt.tick(session.now), Some(Command::Entries));
    session.prompt.print("a list");
    session.draw();
    assert!(session.screen().trim_end().ends_with("> entries\na list\n>"));
    assert_eq!(session.prompt.tick(session.now), Some(Command::Reset));
}

#[test]
fn results_come_between_the_command_and_the_next_prompt() {
    let mut session = Session::new(false);
    session.type_(b"half a li");
    session.prompt.print("one\ntwo \x1b[2J");
    session.draw();
    assert!(session.screen().ends_with("> half a li\none\ntwo ?[2J\n> half a li"));
}

#[test]
fn entries_are_listed_with_identities_and_what_is_wrong() {
    let text = include_bytes!("../../tests/fixtures/nixos/extlinux.no-dt.conf");
    let mut found = extlinux::parse("/extlinux/extlinux.conf", text).expect("entries").generations;
    let reason = "an initrd is missing".to_string();
    found[1].broken = Some(Broken { code: Code::NotFound, reason });
    let listed = entries(&found);
    assert!(listed.starts_with("* generation "), "{listed}");
    assert_eq!(listed.matches("extlinux\n").count(), found.len(), "{listed}");
    assert!(listed.contains(&found[1].id));
    assert!(listed.contains("    [E304] an initrd is missing\n"));
    assert_eq!(entries(&[]), "Nothing was found to boot.\n");
}

// --- history ---------------------------------------------------------------------------------------

const UP: &[u8] = b"\x1b[A";
const DOWN: &[u8] = b"\x1b[B";

#[test]
fn up_and_down_bring_back_what_was_entered() {
    let mut session = Session::new(false);
    session.type_(b"memory\rdevices\rhal");
    session.type_(UP);
    assert_eq!(session.last_row(), "> devices");
    session.type_(UP);
    session.type_(UP);
    assert_eq!(session.last_row(), "> memory");
    session.type_(DOWN);
    session.type_(DOWN);
    session.type_(DOWN);
    assert_eq!(session.last_row(), "> hal");
    assert_eq!(session.type_(b"\x03\x1b[A\x1b[A\r"), [Command::Memory]);
}

#[test]
fn a_line_from_the_history_can_be_edited_without_changing_it() {
    let mut session = Session::new(false);
    session.type_(b"ls /a\r");
    assert_eq!(session.type_(b"\x1b[Ab\r"), [Command::List(Some("/ab".into()))]);
    session.type_(b"\x1b[A\x1b[A");
    assert_eq!(session.last_row(), "> ls /a");
}

// --- completion ------------------------------------------------------------------------------------

#[test]
fn tab_completes_the_name_of_a_command() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"mem\t\r"), [Command::Memory]);
    assert_eq!(session.type_(b"\tme\t"), []);
    let screen = session.screen();
    assert!(screen.contains("\nhelp  entries  devices  ls  cat "), "{screen}");
    assert!(screen.ends_with("\nmemory  menu\n> me"), "{screen}");
}

#[test]
fn a_path_is_completed_by_what_the_caller_offers() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"cat /n\t"), [Command::Complete("/n".into())]);
    session.complete("/n", &["/nixos/"]);
    assert_eq!(session.last_row(), "> cat /nixos/");
    assert_eq!(session.type_(b"\t"), [Command::Complete("/nixos/".into())]);
    session.complete("/nixos/", &["/nixos/k41", "/nixos/k42"]);
    assert_eq!(session.last_row(), "> cat /nixos/k4");
    session.type_(b"\t");
    session.complete("/nixos/k4", &["/nixos/k41", "/nixos/k42"]);
    assert!(session.screen().ends_with("\n/nixos/k41  /nixos/k42\n> cat /nixos/k4"));
    session.type_(b"2\t");
    session.complete("/nixos/k42", &["/nixos/k42"]);
    assert_eq!(session.type_(b"\r"), [Command::Show("/nixos/k42".into())]);
}

#[test]
fn a_name_with_blanks_is_completed_so_that_it_is_one_word() {
    for (typed, word) in [("cat /m", "/m"), ("cat \"/m", "/m"), ("cat \"/my", "/my")] {
        let mut session = Session::new(false);
        assert_eq!(
            session.type_(format!("{typed}\t").as_bytes()),
            [Command::Complete(word.into())]
        );
        session.complete(word, &["/my \"file\""]);
        assert_eq!(session.type_(b"\r"), [Command::Show("/my \"file\"".into())]);
    }
}

#[test]
fn what_is_completed_stands_in_front_of_the_cursor() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"boot /I /d\x1b[D\x1b[D\x1b[D\t"), [Command::Complete("/I".into())]);
    session.complete("/I", &["/Image"]);
    assert_eq!(session.last_row(), "> boot /Image  /d");
}

#[test]
fn names_beyond_ascii_are_listed_with_question_marks() {
    let mut session = Session::new(false);
    session.type_(b"ls /");
    // However they fall on the ends of lines.
    let names: Vec<String> = (1..40).map(|n| format!("/{}", "\u{e4}".repeat(n))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["/a"]).collect();
    session.complete("/", &names);
    assert!(session.screen().contains("/???"), "{}", session.screen());
    assert_eq!(session.last_row(), "> ls /");
}

#[test]
fn a_completion_without_candidates_changes_nothing() {
    let mut session = Session::new(false);
    session.type_(b"cat /x\t");
    session.complete("/x", &[]);
    assert_eq!(session.last_row(), "> cat /x");
}

#[test]
fn nothing_is_completed_where_no_path_belongs() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"reset \t"), []);
    assert_eq!(session.type_(b"\x15boot k -- /i\t"), []);
    assert_eq!(session.type_(b"\x15frob /i\t"), []);
}

// --- long answers ----------------------------------------------------------------------------------

/// Says lines until that is stopped; how many were said.
fn say_lines(
    session: &mut Session,
    lines: usize,
    mut type_at: impl FnMut(usize, &mut Prompt),
) -> usize {
    for line in 0..lines {
        session.prompt.write(&format!("line {line} {}\n", "x".repeat(60)));
        let said = session.prompt.take();
        session.sent.extend(said);
        type_at(line, &mut session.prompt);
        session.now += Duration::from_millis(7);
        if session.prompt.is_stopped(session.now) {
            return line;
        }
    }
    lines
}

#[test]
fn any_key_stops_a_long_answer_and_is_not_the_next_command() {
    let mut session = Session::new(false);
    assert_eq!(session.type_(b"ls\r"), [Command::List(None)]);
    let said = say_lines(&mut session, 50_000, |line, prompt| {
        if line == 100 {
            prompt.feed(b'r', Duration::ZERO);
        }
    });
    assert_eq!(said, 100);
    session.draw();
    assert!(session.screen().ends_with("\n(stopped)\n> "), "{}", session.screen());
    assert_eq!(session.type_(b"menu\r"), [Command::Menu]);
}

#[test]
fn what_is_typed_ahead_of_a_short_answer_is_the_next_command() {
    let mut session = Session::new(false);
    session.type_(b"");
    b"ls\rmemory\r".iter().for_each(|&byte| session.prompt.feed(byte, session.now));
    assert_eq!(session.prompt.tick(session.now), Some(Command::List(None)));
    let said = say_lines(&mut session, 200, |line, prompt| {
        if line == 3 {
            b"reset\r".iter().for_each(|&byte| prompt.feed(byte, Duration::ZERO));
        }
    });
    assert_eq!(said, 200);
    assert_eq!(session.type_(b""), [Command::Memory, Command::Reset]);
}

#[test]
fn control_c_stops_a_short_answer_too_and_drops_what_was_typed_ahead() {
    let mut session = Session::new(false);
    session.type_(b"ls\r");
    let said = say_lines(&mut session, 200, |line, prompt| {
        if line == 3 {
            b"reset\r\x03".iter().for_each(|&byte| prompt.feed(byte, Duration::ZERO));
        }
    });
    assert_eq!(said, 3);
    assert_eq!(session.type_(b""), []);
}

#[test]
fn stray_bytes_do_not_stop_an_answer() {
    let mut session = Session::new(false);
    session.type_(b"ls\r");
    let said = say_lines(&mut session, 200, |_, prompt| prompt.feed(0xff, Duration::ZERO));
    assert_eq!(said, 200);
}

#[test]
fn who_reads_a_long_answer_is_not_taken_for_nobody() {
    let mut session = Session::new(true);
    session.type_(b"ls\r");
    say_lines(&mut session, 100_000, |_, _| {});
    assert_eq!(session.type_(b""), []);
    session.now += IDLE;
    assert_eq!(session.type_(b""), [Command::Menu]);
}

#[test]
fn what_is_said_cannot_steer_the_terminal() {
    let mut session = Session::new(false);
    session.prompt.write("\x1b[2J\x07\u{9b}\u{e4}\n");
    session.draw();
    assert_eq!(session.screen(), "Rescue prompt. help lists the commands.\n> \n?[2J???\n> ");
}

// --- passwords -------------------------------------------------------------------------------------

fn asked() -> Session {
    let mut session = Session::new(false);
    session.type_(b"ls /\r");
    session.prompt.ask_password(Command::List(Some("/".into())));
    session.draw();
    session
}

#[test]
fn a_password_is_asked_for_without_showing_it() {
    let mut session = asked();
    assert_eq!(session.last_row(), "Password:");
    let then = Box::new(Command::List(Some("/".into())));
    let typed = session.type_(b"hunter2\t\x1b[A\r");
    assert_eq!(typed, [Command::Unlock { password: "hunter2".into(), then }]);
    assert!(!session.screen().contains("hunter"));
    session.type_(UP);
    assert_eq!(session.last_row(), "> ls /", "it is no line of the history");
}

#[test]
fn a_password_that_is_not_given_leads_back_to_the_prompt() {
    for key in [b"\x03", b"\x1b"] {
        let mut session = asked();
        session.type_(b"hun");
        session.type_(key);
        session.now += Duration::from_secs(1);
        assert_eq!(session.type_(b"reset\r"), [Command::Reset]);
    }
}

// --- nobody there, noise ---------------------------------------------------------------------------

#[test]
fn it_waits_for_ever_if_there_is_nothing_else() {
    let mut session = Session::new(false);
    session.now = Duration::from_secs(1_000_000);
    assert_eq!(session.type_(b""), []);
}

#[test]
fn it_gives_way_to_a_menu_with_something_to_boot_when_nobody_types() {
    let mut session = Session::new(true);
    session.now = Duration::from_secs(200);
    session.type_(b"x");
    session.now = Duration::from_secs(499);
    assert_eq!(session.prompt.tick(session.now), None);
    session.now = Duration::from_secs(501);
    assert_eq!(session.prompt.tick(session.now), Some(Command::Menu));
}

#[test]
fn what_it_sends_coming_back_does_not_go_round_for_ever() {
    let mut session = Session::new(true);
    let mut echoed = 0;
    for _ in 0..1000 {
        let echo = session.sent[echoed..].to_vec();
        echoed = session.sent.len();
        if session.type_(&echo).contains(&Command::Menu) {
            break;
        }
        session.now += Duration::from_secs(1);
    }
    assert!(session.sent.len() < 4000, "{} bytes", session.sent.len());
}

proptest! {
    #[test]
    fn any_bytes_leave_a_prompt_that_works(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let mut session = Session::new(false);
        session.type_(&bytes);
        session.now += Duration::from_secs(100);
        session.type_(b"\x03\x15");
        session.now += Duration::from_secs(100);
        prop_assert_eq!(session.type_(b"\x03reset\r"), [Command::Reset]);
    }
}
