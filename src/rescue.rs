//! The rescue prompt, for the day nothing boots.
//!
//! Pure, like the menu: the caller gives it bytes and time ([`Prompt::feed`], [`Prompt::tick`]),
//! does the [`Command`]s that come out, says their results with [`Prompt::print`] and sends what
//! [`Prompt::draw`] returns. It waits for ever, except where the menu has something to boot: there
//! it gives up when nobody types, so that a stray byte cannot keep a board down.

#![forbid(unsafe_code)]

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{mem, time::Duration};

use crate::{
    menu::{
        keys::{Decoder, Event, Key},
        line::{Edit, LineEditor, LineView},
        noise::{self, Noise},
        text,
    },
    nixos::Generation,
};

/// What stands before every command.
const PROMPT: &str = "> ";

/// Longest command in bytes.
const MAX_LINE: usize = 1024;

/// Columns for the command, on a terminal of 80.
const WIDTH: usize = 79 - PROMPT.len();

/// Without a key for this long the menu comes back, if it has something to boot.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// Keys that may be waiting while a command is carried out; more are dropped.
const MAX_WAITING: usize = 1024;

/// Weight of a command that does not exist: three in a row are no person's.
const UNKNOWN_COMMAND: u32 = 3;

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print [`entries`].
    Entries,
    /// Go (back) to the menu.
    Menu,
    /// Reset the board.
    Reset,
    /// Switch it off.
    PowerOff,
}

/// A command as it is typed and explained.
struct Entry {
    name: &'static str,
    explanation: &'static str,
    /// Nothing if the prompt does it itself.
    command: Option<Command>,
}

const COMMANDS: &[Entry] = &[
    Entry { name: "help", explanation: "this list", command: None },
    Entry {
        name: "entries",
        explanation: "what was found to boot, and why it cannot be",
        command: Some(Command::Entries),
    },
    Entry {
        name: "menu",
        explanation: "search again and show the menu",
        command: Some(Command::Menu),
    },
    Entry { name: "reset", explanation: "reset the board", command: Some(Command::Reset) },
    Entry {
        name: "poweroff",
        explanation: "switch the board off",
        command: Some(Command::PowerOff),
    },
];

/// The rescue prompt.
#[derive(Debug)]
pub struct Prompt {
    decoder: Decoder,
    noise: Noise,
    waiting: VecDeque<Event>,
    line: LineEditor,
    /// The line as the terminal shows it; nothing if the prompt is not shown.
    view: Option<LineView>,
    returns_to_menu: bool,
    last_key: Duration,
    out: Vec<u8>,
}

impl Prompt {
    /// Opens the prompt. `returns_to_menu`: whether the menu has something to boot, and is to come
    /// back when nobody types.
    pub fn new(returns_to_menu: bool, now: Duration) -> Self {
        let mut prompt = Self {
            decoder: Decoder::default(),
            noise: Noise::default(),
            waiting: VecDeque::new(),
            line: LineEditor::new("", MAX_LINE),
            view: None,
            returns_to_menu,
            last_key: now,
            out: Vec::new(),
        };
        prompt.print("Rescue prompt. help lists the commands.");
        prompt
    }

    /// Takes in a byte that arrived at `now`.
    pub fn feed(&mut self, byte: u8, now: Duration) {
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(self.decoder.push(byte, now).into_iter().flatten().take(room));
    }

    /// Lets time pass, up to `now`; gives the next command. Call it every 10 ms or so.
    pub fn tick(&mut self, now: Duration) -> Option<Command> {
        self.waiting.extend(self.decoder.poll(now));
        while let Some(event) = self.waiting.pop_front() {
            let command = self.event(event, now);
            if command.is_some() {
                return command;
            }
        }
        let idle = now.saturating_sub(self.last_key) >= IDLE;
        if self.returns_to_menu && idle {
            self.last_key = now;
            self.print("");
            return Some(Command::Menu);
        }
        None
    }

    /// Says something: lines of text, of which only printable ASCII is shown.
    pub fn print(&mut self, text: &str) {
        if self.view.take().is_some() {
            self.out.extend_from_slice(b"\r\n");
        }
        for line in text.lines() {
            self.out.extend_from_slice(text::ascii(line).as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// The bytes that bring the terminal up to date, in the order in which they must be sent.
    pub fn draw(&mut self) -> Vec<u8> {
        let view = self.view.get_or_insert_with(|| {
            self.out.extend_from_slice(PROMPT.as_bytes());
            LineView::default()
        });
        view.update(&self.line.window(WIDTH), &mut self.out);
        mem::take(&mut self.out)
    }

    /// The bytes that leave the line in order for whoever writes next.
    pub fn leave(mut self) -> Vec<u8> {
        self.print("");
        self.out
    }

    fn event(&mut self, event: Event, now: Duration) -> Option<Command> {
        match event {
            Event::Garbage => self.noise.add(noise::GARBAGE, now),
            Event::Unbound => self.noise.add(noise::UNBOUND, now),
            Event::Key(_) if self.noise.is_babbling(now) => self.noise.add(0, now),
            Event::Key(key) => {
                self.last_key = now;
                return self.key(key, now);
            }
            Event::CursorAt { .. } => {}
        }
        None
    }

    fn key(&mut self, key: Key, now: Duration) -> Option<Command> {
        match self.line.handle(key) {
            Edit::Handled => None,
            Edit::Unbound => {
                self.noise.add(noise::UNBOUND, now);
                None
            }
            Edit::Cancelled => {
                self.end_line();
                None
            }
            Edit::Entered => {
                let line = self.end_line();
                self.command(&line, now)
            }
        }
    }

    /// Leaves the line on the terminal as it was typed.
    fn end_line(&mut self) -> String {
        self.line.handle(Key::End);
        let bytes = self.draw();
        self.out = bytes;
        self.view = None;
        self.out.extend_from_slice(b"\r\n");
        self.line.take()
    }

    fn command(&mut self, line: &str, now: Duration) -> Option<Command> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) else {
            self.noise.add(UNKNOWN_COMMAND, now);
            self.print(&format!("{}: no such command; help lists them", text::shortened(name, 40)));
            return None;
        };
        if let Some(argument) = words.next() {
            let argument = text::shortened(argument, 40);
            self.print(&format!("{name} takes no argument, but there is \"{argument}\""));
            return None;
        }
        if entry.command.is_none() {
            self.print(&help());
        }
        entry.command
    }
}

fn help() -> String {
    let lines: Vec<_> = COMMANDS
        .iter()
        .map(|entry| format!("  {:10}{}", entry.name, entry.explanation))
        .chain(["  Left, Right, Home, End, Backspace and Ctrl-U edit the line.".to_string()])
        .collect();
    lines.join("\n")
}

/// What [`Command::Entries`] prints: the menu's list, with the identities.
pub fn entries(generations: &[Generation]) -> String {
    if generations.is_empty() {
        return "Nothing was found to boot.".into();
    }
    let rows = generations.iter().flat_map(|generation| {
        let broken =
            generation.broken.as_ref().map(|broken| format!("  broken: {}", text::reason(broken)));
        let name = text::name(generation) + &broken.unwrap_or_default();
        [text::shortened(&name, text::LINE_WIDTH), format!("    {}", text::ascii(&generation.id))]
    });
    let lines: Vec<_> = core::iter::once("What was found to boot:".into()).chain(rows).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nixos::extlinux;
    use proptest::prelude::*;

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
        for (line, command) in [
            ("entries", Command::Entries),
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
    fn entries_are_listed_with_their_identities() {
        let text = include_bytes!("../tests/fixtures/nixos/extlinux.no-dt.conf");
        let found = extlinux::parse("/extlinux/extlinux.conf", text).expect("entries").generations;
        let listed = entries(&found);
        assert_eq!(listed.lines().count(), 1 + 2 * found.len());
        assert!(listed.lines().all(|line| line.len() <= 110));
        assert!(listed.contains(&found[1].id));
        assert_eq!(entries(&[]), "Nothing was found to boot.");
    }

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
}
