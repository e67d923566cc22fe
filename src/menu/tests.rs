//! Key scripts against the menu, and what a terminal then shows.

use super::{Choice, Menu, Outcome, Row};
use crate::{
    error::Code,
    nixos::{Broken, Generation, Settings, Timeout, extlinux},
    state::Standing,
};
use core::time::Duration;
use proptest::prelude::*;
use std::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

mod default;
mod filter;
mod fold;
mod lock;
mod remarks;
mod update;

const STEP: Duration = Duration::from_millis(10);

/// Somebody's terminal program, and the time that passes before it.
struct Session {
    menu: Menu,
    now: Duration,
    terminal: vt100::Parser,
    answers: bool,
    sent: Vec<u8>,
    outcome: Outcome,
}

impl Session {
    fn new(generations: &[Generation], settings: &Settings, messages: &[&str]) -> Self {
        Self::of_rows(rows(generations), settings, messages)
    }

    fn of_rows(rows: Vec<Row>, settings: &Settings, messages: &[&str]) -> Self {
        let now = Duration::from_secs(1);
        let messages: Vec<_> = messages.iter().map(ToString::to_string).collect();
        let mut session = Self {
            menu: Menu::new(rows, settings, &messages, now),
            now,
            terminal: vt100::Parser::new(24, 80, 200),
            answers: true,
            sent: Vec::new(),
            outcome: Outcome::Stay,
        };
        session.step();
        session
    }

    fn without_answers(mut self) -> Self {
        self.answers = false;
        self
    }

    /// One round of the caller's loop.
    fn step(&mut self) {
        self.outcome = self.menu.tick(self.now);
        let bytes = self.menu.draw(self.now);
        self.terminal.process(&bytes);
        self.sent.extend_from_slice(&bytes);
        if self.answers && bytes.windows(4).any(|window| window == b"\x1b[6n") {
            let (rows, columns) = self.terminal.screen().size();
            for byte in format!("\x1b[{rows};{columns}R").bytes() {
                self.menu.feed(byte, self.now);
            }
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.wait_in_steps(milliseconds, 100);
    }

    /// Waits in at most so many rounds.
    fn wait_in_steps(&mut self, milliseconds: u64, steps: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        let step = STEP.max(Duration::from_millis(milliseconds / steps));
        while self.now < end && self.outcome == Outcome::Stay {
            self.now = end.min(self.now + step);
            self.step();
        }
    }

    /// Bytes in one go, and the time in which they have their effect.
    fn press(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            self.menu.feed(byte, self.now);
        }
        self.wait(200);
        self
    }

    /// What the bytes of this key cost on the line.
    fn cost(&mut self, bytes: &[u8]) -> usize {
        let before = self.sent.len();
        self.press(bytes);
        self.sent.len() - before
    }

    fn text(&self) -> String {
        String::from_utf8(self.sent.clone()).expect("text")
    }

    /// What is on the terminal; it must be what the menu wanted to show.
    fn screen(&mut self) -> String {
        let shown = self.terminal.screen();
        let (rows, columns) = shown.size();
        let rows = shown.rows(0, columns).take(usize::from(rows));
        let text: String = rows.map(|row| format!("{}\n", row.trim_end())).collect();
        let (row, column) = shown.cursor_position();
        let wanted = self.menu.display.screen(&mut self.menu.state, self.now).expect("a screen");
        assert_eq!(text, wanted.to_string());
        assert_eq!((usize::from(row), usize::from(column)), wanted.cursor());
        text
    }

    fn booted(&self) -> (usize, Option<&str>) {
        match &self.outcome {
            Outcome::Boot(Choice { index, command_line, .. }) => (*index, command_line.as_deref()),
            other => panic!("{other:?}"),
        }
    }
}

fn rows(generations: &[Generation]) -> Vec<Row> {
    generations.iter().cloned().map(Row::new).collect()
}

/// Compares with a file in `tests/snapshots`, or writes it if FIRN_BLESS is set.
fn assert_snapshot(name: &str, text: &str) {
    let path = format!("{}/tests/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("FIRN_BLESS").is_some() {
        std::fs::write(&path, text).expect("can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    std::assert_eq!(text, wanted, "\n{name} is now:\n{text}");
}

fn nixos() -> Vec<Generation> {
    let text = include_bytes!("../../tests/fixtures/nixos/extlinux.fdtdir-timeout5.conf");
    extlinux::parse("/boot/extlinux/extlinux.conf", text).expect("has entries").generations
}

fn many(count: u32) -> Vec<Generation> {
    let mut generations = nixos();
    let template = generations.remove(0);
    (1..=count)
        .rev()
        .map(|number| Generation {
            number: Some(number),
            default: number == count,
            id: format!("/nix/store/{number:032}-nixos-system-imx8mp"),
            ..template.clone()
        })
        .collect()
}

fn foreign() -> Vec<Generation> {
    let text = "LABEL a\nMENU LABEL Debian GNU/Linux 13, with Linux 6.12.63+deb13-arm64\n\
        LINUX /vmlinuz-6.12.63+deb13-arm64\nLABEL b\nMENU LABEL caf\u{e9}\nLINUX /Image\n\
        LABEL c\nMENU LABEL Chain\n";
    extlinux::parse("/extlinux.conf", text.as_bytes()).expect("has entries").generations
}

fn after(tenths: u32) -> Settings {
    Settings::new(Timeout::After(tenths))
}

fn waiting() -> Settings {
    Settings::new(Timeout::Never)
}

const DOWN: &[u8] = b"\x1b[B";
const UP: &[u8] = b"\x1bOA";

mod log {
    use super::*;

    #[test]
    fn a_boot_that_nobody_watches_reads_like_a_log() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &["[E304] a: no such file"]);
        session.wait(4990);
        assert_eq!(session.outcome, Outcome::Stay);
        session.wait(10);
        assert_eq!(
            session.outcome,
            Outcome::Boot(Choice { index: 0, command_line: None, by_person: false })
        );
        assert!(!session.text().contains('\x1b'));
        assert_snapshot("log", &session.text().replace("\r\n", "\n"));
    }

    #[test]
    fn a_long_countdown_says_little() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(900), &[]);
        session.wait(90_000);
        assert!(
            session.text().ends_with("Booting generation 42 in 90 60 30 20 10 5 4 3 2 1\r\n"),
            "{}",
            session.text()
        );
    }

    #[test]
    fn a_second_of_countdown_costs_two_bytes() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]);
        let before = session.sent.len();
        session.wait(1000);
        assert_eq!(session.sent.len() - before, 2);
    }

    #[test]
    fn of_many_generations_the_first_few_are_listed_and_the_default() {
        let mut generations = many(200);
        generations[0].default = false;
        generations[100].default = true;
        let session = Session::new(&generations, &after(50), &[]);
        assert_snapshot("log-many", &session.text().replace("\r\n", "\n"));
    }

    #[test]
    fn an_immediate_timeout_sends_nothing_and_boots() {
        let generations = nixos();
        let settings = Settings { timeout: Timeout::Immediate, ..waiting() };
        let session = Session::new(&generations, &settings, &["a message"]);
        assert_eq!(session.booted(), (0, None));
        assert_eq!(session.text(), "");
    }

    #[test]
    fn an_immediate_timeout_gives_way_to_a_key_that_is_held() {
        let generations = nixos();
        let settings = Settings { timeout: Timeout::Immediate, ..waiting() };
        let mut menu = Menu::new(rows(&generations), &settings, &[], Duration::ZERO);
        menu.feed(b' ', Duration::ZERO);
        assert_eq!(menu.tick(Duration::ZERO), Outcome::Stay);
        assert!(!menu.draw(Duration::ZERO).is_empty());
    }

    #[test]
    fn an_immediate_timeout_does_not_give_way_to_noise() {
        let generations = nixos();
        let settings = Settings { timeout: Timeout::Immediate, ..waiting() };
        let mut menu = Menu::new(rows(&generations), &settings, &[], Duration::ZERO);
        menu.feed(0xff, Duration::ZERO);
        menu.feed(0, Duration::ZERO);
        assert!(matches!(menu.tick(Duration::ZERO), Outcome::Boot(_)));
    }

    #[test]
    fn a_hidden_menu_shows_only_the_countdown() {
        let generations = nixos();
        let settings = Settings { hidden: true, ..after(50) };
        let session = Session::new(&generations, &settings, &[]);
        assert_eq!(
            session.text(),
            "Enter boots generation 42, any other key opens the menu.\r\n\
             Booting generation 42 in 5"
        );
    }

    #[test]
    fn waiting_for_ever_is_for_ever() {
        let generations = nixos();
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.wait(3_600_000);
        assert_eq!(session.outcome, Outcome::Stay);
        session.press(b"\r");
        assert_eq!(session.booted(), (0, None));
    }

    #[test]
    fn nothing_boots_by_itself_if_everything_is_broken() {
        let mut generations = nixos();
        for generation in &mut generations {
            generation.broken =
                Some(Broken { code: Code::KernelTruncated, reason: "the kernel is short".into() });
        }
        let mut session = Session::new(&generations, &after(1), &[]);
        session.wait(10_000);
        assert_eq!(session.outcome, Outcome::Stay);
        assert_snapshot("log-broken", &session.text().replace("\r\n", "\n"));
    }

    #[test]
    fn enter_boots_the_default_without_opening_the_menu() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]);
        session.press(b"\r\n");
        assert_eq!(session.booted(), (0, None));
        assert!(!session.text().contains('\x1b'));
    }
}

mod screen {
    use super::*;

    fn open(generations: &[Generation], settings: &Settings) -> Session {
        let mut session = Session::new(generations, settings, &[]);
        session.press(b" ");
        session
    }

    #[test]
    fn the_first_key_draws_the_list_and_stops_the_countdown() {
        let generations = nixos();
        let mut session = open(&generations, &after(50));
        assert_snapshot("list", &session.screen());
        session.wait(60_000);
        assert_eq!(session.outcome, Outcome::Stay);
    }

    #[test]
    fn the_first_key_is_not_lost() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]);
        session.press(DOWN).press(b"\r");
        assert_eq!(session.booted(), (2, None));
    }

    #[test]
    fn keys_in_one_burst_are_all_obeyed() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]);
        session.press(b"\x1b[B\x1b[B\r");
        assert_eq!(session.booted(), (2, None));
    }

    #[test]
    fn arrows_and_letters_move_the_selection_and_stop_at_the_ends() {
        let generations = many(3);
        for (keys, index) in [
            (&b"j"[..], 1),
            (b"jjjjj", 2),
            (b"jjk", 1),
            (b"kk", 0),
            (b"\x1b[F", 2),
            (b"\x1b[F\x1b[H", 0),
            (b"\x1b[6~", 2),
            (b"\x1b[6~\x1b[5~", 0),
            (UP, 0),
        ] {
            let mut session = open(&generations, &waiting());
            session.press(keys).press(b"\r");
            assert_eq!(session.booted().0, index, "{keys:?}");
        }
    }

    #[test]
    fn digits_select_by_generation_number() {
        let generations = many(120);
        for (keys, number) in [(&b"7"[..], 7), (b"42", 42), (b"120", 120), (b"12", 12)] {
            let mut session = open(&generations, &waiting());
            session.press(keys).press(b"\r");
            assert_eq!(generations[session.booted().0].number, Some(number));
        }
    }

    #[test]
    fn digits_with_a_pause_between_them_are_two_numbers() {
        let generations = many(120);
        let mut session = open(&generations, &waiting());
        session.press(b"4");
        session.wait(2000);
        session.press(b"2").press(b"\r");
        assert_eq!(generations[session.booted().0].number, Some(2));
    }

    #[test]
    fn digits_of_no_generation_say_so_and_select_nothing() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"7");
        assert!(session.screen().contains("There is no 7."));
        session.press(b"\r");
        assert_eq!(session.booted().0, 0);
    }

    #[test]
    fn digits_select_by_place_where_entries_have_no_numbers() {
        let generations = foreign();
        let mut session = open(&generations, &waiting());
        session.press(b"2").press(b"\r");
        assert_eq!(session.booted().0, 1);
    }

    #[test]
    fn entries_of_other_systems_show_their_titles() {
        let generations = foreign();
        let mut session = open(&generations, &waiting());
        assert_snapshot("foreign", &session.screen());
    }

    #[test]
    fn an_incomplete_entry_says_why_it_does_not_boot() {
        let generations = foreign();
        let mut session = open(&generations, &waiting());
        session.press(b"3").press(b"\r");
        assert_eq!(session.outcome, Outcome::Stay);
        assert!(session.screen().contains("Cannot be booted: [E405] the entry names no kernel"));
        session.press(b"e");
        assert!(session.screen().contains("Cannot be booted: [E405] the entry names no kernel"));
    }

    #[test]
    fn what_failed_while_it_was_loaded_can_be_tried_again() {
        let mut generations = nixos();
        generations[1].broken =
            Some(Broken { code: Code::CardTransfer, reason: "a read failed".into() });
        let mut session = open(&generations, &waiting());
        session.press(b"+j");
        assert!(session.screen().contains("42 rescue       broken: [E103] a read failed"));
        session.press(b"\r");
        assert_eq!(session.booted().0, 1);
    }

    #[test]
    fn a_long_list_scrolls_with_the_selection() {
        let generations = many(200);
        let mut session = open(&generations, &waiting());
        session.press(&b"j".repeat(20));
        assert_snapshot("list-scrolled", &session.screen());
        session.press(b"\x1b[F");
        assert!(session.screen().contains("185-200 of 200"));
    }

    #[test]
    fn messages_are_shown_with_the_list_and_whole_on_their_page() {
        let generations = nixos();
        let long = "[E502] generation 43: /boot/nixos/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux: \
                    the kernel is truncated";
        let mut session = Session::new(&generations, &waiting(), &["one", "two", "three", long]);
        session.press(b" ");
        assert_snapshot("messages", &session.screen());
        session.press(b"m");
        assert_snapshot("messages-page", &session.screen());
        session.press(b"\x1b");
        assert!(session.screen().contains("Generation      Built"));
    }

    #[test]
    fn details_tell_all_that_is_known() {
        let mut generations = nixos();
        generations[0].files.overlays = vec!["/boot/nixos/codec.dtbo".into()];
        let mut session = open(&generations, &waiting());
        session.press(b"d");
        assert_snapshot("details", &session.screen());
        session.press(b"\x1b").press(b"\r");
        assert_eq!(session.booted(), (0, None));
    }

    #[test]
    fn help_names_every_key() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"?");
        assert_snapshot("help", &session.screen());
    }

    #[test]
    fn a_page_longer_than_the_screen_scrolls() {
        let mut generations = nixos();
        generations[0].files.command_line = "word ".repeat(400);
        let mut session = open(&generations, &waiting());
        session.press(b"d").press(b"\x1b[F");
        assert!(!session.screen().contains("Identity"));
        session.press(b"\x1b[H");
        assert!(session.screen().contains("Identity"));
    }

    #[test]
    fn the_edited_command_line_is_booted_for_this_time() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"+je").press(b"\x17").press(b"debug");
        assert_snapshot("editor", &session.screen());
        session.press(b"\r");
        let wanted =
            generations[1].files.command_line.replace("systemd.unit=rescue.target", "debug");
        assert_eq!(session.booted(), (1, Some(wanted.as_str())));
        assert!(session.text().ends_with("Booting generation 42 (rescue), edited\r\n"));
    }

    #[test]
    fn escape_leaves_the_editor_without_the_changes() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"e").press(b"xyz").press(b"\x1b").press(b"\r");
        assert_eq!(session.booted(), (0, None));
    }

    #[test]
    fn keys_of_the_list_are_letters_in_the_editor() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"e\x15\x0b").press(b"repj?").press(b"\r");
        assert_eq!(session.booted(), (0, Some("repj?")));
    }

    #[test]
    fn reset_comes_after_a_second_unless_a_key_does() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"r");
        assert!(session.screen().contains("Resets in a second; any key cancels."));
        session.press(b"r");
        assert!(session.screen().contains("Cancelled."));
        session.wait(5000);
        assert_eq!(session.outcome, Outcome::Stay);
        session.press(b"r").wait(1000);
        assert_eq!(session.outcome, Outcome::Reset);
    }

    #[test]
    fn switching_off_comes_after_three_seconds_unless_anything_does() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"p").press(b"\0").wait(5000);
        assert_eq!(session.outcome, Outcome::Stay);
        session.wait(60_000);
        session.press(b"p").wait(2500);
        assert_eq!(session.outcome, Outcome::Stay);
        session.wait(500);
        assert_eq!(session.outcome, Outcome::PowerOff);
    }

    #[test]
    fn switching_off_needs_an_open_menu() {
        let generations = nixos();
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.press(b"p").wait(5000);
        assert!(session.screen().contains("Press p again to switch off."));
        session.press(b"p").wait(3000);
        assert_eq!(session.outcome, Outcome::PowerOff);
    }

    #[test]
    fn c_opens_the_prompt() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"c");
        assert_eq!(session.outcome, Outcome::Rescue);
    }

    #[test]
    fn an_empty_list_has_nothing_to_boot() {
        let mut session = open(&[], &waiting());
        session.press(b"\rjde5").press(b"\r");
        assert_eq!(session.outcome, Outcome::Stay);
        assert!(session.screen().contains("There is nothing to boot."));
    }

    #[test]
    fn text_from_the_card_cannot_command_the_terminal() {
        let mut generations = nixos();
        generations[0].number = None;
        generations[0].title = "\x1b[2Jevil\x07".into();
        generations[0].files.command_line = "a\x1b]0;b".into();
        let settings = Settings { title: Some("\x1bc".into()), ..after(50) };
        let mut session = Session::new(&generations, &settings, &["\x1b[31m"]);
        session.press(b" ");
        session.screen();
        session.press(b"d");
        assert!(session.screen().contains("a?]0;b"));
        session.press(b"\x1b").press(b"e");
        session.screen();
    }

    #[test]
    fn a_selection_costs_the_two_rows_that_change() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        let cost = session.cost(b"j");
        assert!(cost <= 2 * 79 + 30, "{cost} bytes");
    }

    #[test]
    fn a_second_of_countdown_costs_a_handful_of_bytes() {
        let generations = nixos();
        let mut session = open(&generations, &after(50));
        session.wait(5 * 60_000);
        session.wait(1000);
        let before = session.sent.len();
        session.wait(10_000);
        assert!(session.screen().contains("boots in 49 s."), "{}", session.screen());
        let cost = session.sent.len() - before;
        assert!(cost <= 10 * 15, "{cost} bytes in ten seconds");
    }

    #[test]
    fn the_first_screen_costs_an_eighth_of_a_second_at_most() {
        let generations = many(200);
        let mut session = Session::new(&generations, &waiting(), &[]);
        let cost = session.cost(b" ");
        assert!(cost <= 115_200 / 10 / 8, "{cost} bytes");
    }

    #[test]
    fn a_typed_character_costs_a_few_bytes() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.press(b"e");
        let cost = session.cost(b"x");
        assert!(cost <= 25, "{cost} bytes");
    }

    #[test]
    fn control_l_draws_everything_again() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.terminal.process(b"\x1b[2J\x1b[Hgarbage");
        session.press(b"\x0c");
        session.screen();
    }

    #[test]
    fn a_key_after_a_while_finds_another_terminal() {
        let generations = nixos();
        let mut session = open(&generations, &waiting());
        session.terminal = vt100::Parser::new(50, 132, 0);
        session.wait(31_000);
        session.press(b"j");
        assert!(session.terminal.screen().contents().contains("Enter boot"));
    }

    #[test]
    fn a_smaller_terminal_gets_a_smaller_screen() {
        let generations = many(30);
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.terminal = vt100::Parser::new(16, 70, 0);
        session.press(b" ");
        let text: String =
            session.terminal.screen().rows(0, 70).map(|r| format!("{}\n", r.trim_end())).collect();
        assert_snapshot("list-small", &text);
    }

    #[test]
    fn what_was_on_the_terminal_before_can_be_scrolled_back_to() {
        let generations = nixos();
        let mut session = open(&generations, &after(50));
        session.terminal.screen_mut().set_scrollback(24);
        assert!(session.terminal.screen().contents().contains("Booting generation 42 in 5"));
    }
}

mod lines {
    use super::*;

    #[test]
    fn a_terminal_that_does_not_answer_gets_lines() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]).without_answers();
        for keys in [&b"+"[..], b"j", b"d", b"e", b"\x15quiet", b"\x1b", b"7", b"41", b"\r"] {
            session.press(keys);
        }
        assert_eq!(session.booted(), (2, None));
        assert_snapshot("lines", &session.text().replace("\r\n", "\n").replace('\x1b', "^["));
    }

    #[test]
    fn an_answer_that_comes_late_still_brings_the_screen() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]).without_answers();
        session.press(b"j");
        session.wait(3000);
        session.press(b"\x1b[24;80R");
        assert!(session.screen().contains("> 41 "));
    }

    #[test]
    fn the_edited_line_is_what_is_booted() {
        let generations = nixos();
        let mut session = Session::new(&generations, &after(50), &[]).without_answers();
        session.press(b"e").press(b"\x15").press(b"ab").press(b"\x1b[Dx").press(b"\r");
        assert_eq!(session.booted(), (0, Some("axb")));
    }

    #[test]
    fn a_hidden_list_is_shown_once_somebody_is_there() {
        let generations = nixos();
        let settings = Settings { hidden: true, ..after(50) };
        let mut session = Session::new(&generations, &settings, &[]).without_answers();
        session.press(b" ");
        assert!(session.text().contains("  41 "));
    }
}

mod babble {
    use super::*;

    /// Bytes of a generator, one every `gap` milliseconds, for `seconds`.
    pub(super) fn babble(session: &mut Session, seed: u64, gap: u64, seconds: u64) {
        let mut state = seed | 1;
        for _ in 0..seconds * 1000 / gap {
            // Xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            session.menu.feed(state.to_le_bytes()[3], session.now);
            session.wait_in_steps(gap, 5);
            if session.outcome != Outcome::Stay {
                return;
            }
        }
    }

    #[test]
    fn random_bytes_at_any_rate_do_no_harm_and_do_not_keep_the_board_down() {
        let generations = nixos();
        for seed in 1..=20_u64 {
            for gap in [10, 100, 1000, 7000] {
                let mut session = Session::new(&generations, &after(50), &[]);
                babble(&mut session, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), gap, 3600);
                let harmless = match &session.outcome {
                    Outcome::Boot(choice) => choice.index == 0 && choice.command_line.is_none(),
                    Outcome::Reset | Outcome::Rescue => true,
                    Outcome::SetDefault(index) => *index == 0,
                    Outcome::Stay | Outcome::PowerOff => false,
                };
                assert!(harmless, "seed {seed}, gap {gap} ms: {:?}", session.outcome);
            }
        }
    }

    #[test]
    fn what_the_menu_sends_coming_back_ends_in_the_default() {
        // The first letter that means something is another one each time.
        for title in [None, Some("edge"), Some("/"), Some("p"), Some("c0"), Some("d 41")] {
            let generations = nixos();
            let settings = Settings { title: title.map(Into::into), ..after(50) };
            let mut session = Session::new(&generations, &settings, &[]).without_answers();
            let mut echoed = 0;
            while session.outcome == Outcome::Stay {
                let echo = session.sent[echoed..].to_vec();
                echoed = session.sent.len();
                for byte in echo {
                    session.menu.feed(byte, session.now);
                }
                session.wait(10);
                assert!(session.now < Duration::from_secs(60), "{title:?}");
            }
            assert_eq!(session.booted(), (0, None), "{title:?}");
        }
    }

    #[test]
    fn another_systems_log_on_the_line_ends_in_the_default() {
        for text in [
            "[    0.000000] Booting Linux on physical CPU 0x0000000000\r\nlogin: ",
            "Mounting /nix/store\r\n[  OK  ] Mounted /nix/store 41\r\n\r\nStarting jobs",
            "/dev/mmcblk1p2: clean, 41/1000 files\r\n/sbin/init: 41\r\ndisks\r\n",
            "root@imx8mp:/proc/41# ls\r\n",
        ] {
            for line_gap in [40, 100, 1000, 4000] {
                let mut session = Session::new(&nixos(), &after(50), &[]);
                log_text(&mut session, text, line_gap);
                assert_eq!(session.booted(), (0, None), "{text:?} every {line_gap} ms");
            }
        }
    }

    /// Lines of `text` again and again, each in one go, until something is booted.
    fn log_text(session: &mut Session, text: &str, gap: u64) {
        while session.outcome == Outcome::Stay {
            for line in text.split_inclusive('\n') {
                for &byte in line.as_bytes() {
                    session.menu.feed(byte, session.now);
                }
                session.wait(gap);
            }
            assert!(session.now < Duration::from_secs(7200), "{text:?} every {gap} ms");
        }
    }

    #[test]
    fn a_person_is_heard_again_when_the_line_is_calm() {
        let generations = nixos();
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.press(b" ").press(&[0xff; 40]).press(b"j");
        assert!(session.screen().contains("babbles"));
        session.wait(60_000);
        session.press(b"j").press(b"\r");
        assert_eq!(session.booted(), (2, None));
    }

    #[test]
    fn a_key_that_nobody_follows_up_does_not_keep_the_board_down() {
        let generations = nixos();
        for key in [&b" "[..], b"\x1b", b"e", b"d", b"j"] {
            let mut session = Session::new(&generations, &after(50), &[]);
            session.press(key);
            session.wait(5 * 60_000);
            session.wait(61_000);
            assert_eq!(session.booted(), (0, None), "{key:?}");
        }
    }

    #[test]
    fn after_a_stray_byte_enter_has_to_be_pressed_twice() {
        let generations = nixos();
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.press(b"\xff").press(b"j").press(b"\r");
        assert_eq!(session.outcome, Outcome::Stay);
        assert!(session.screen().contains("noise on the line: press it again"));
        session.press(b"\r");
        assert_eq!(session.booted(), (2, None));
    }

    #[test]
    fn enter_within_other_bytes_is_not_obeyed() {
        let generations = nixos();
        let mut session = Session::new(&generations, &waiting(), &[]);
        session.press(b"j\rx");
        assert_eq!(session.outcome, Outcome::Stay);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_leave_the_terminal_as_the_menu_wants_it(
        bytes in proptest::collection::vec((any::<u8>(), 0..4_u64), 0..80),
        keys in proptest::collection::vec(
            (proptest::sample::select(b"jkedm?hGc4 /+-so3\r\x1b[AB~56\x15x\x0c".to_vec()), 0..8_u64),
            0..80
        ),
    ) {
        let mut generations = many(30);
        generations[3].specialisation = Some("x".into());
        generations[3].number = generations[2].number;
        let mut session = Session::new(&generations, &after(50), &["a message"]);
        session.press(b" ");
        for (byte, gap) in keys.into_iter().chain(bytes) {
            session.menu.feed(byte, session.now);
            session.outcome = Outcome::Stay;
            session.wait_in_steps(10 + gap * 20, 1);
            if !matches!(session.outcome, Outcome::Stay | Outcome::SetDefault(_)) {
                return Ok(());
            }
            // Answers to what was sent.
            session.step();
            session.screen();
        }
    }

    #[test]
    fn any_generation_and_any_size_of_terminal_can_be_drawn(
        title in ".{0,100}", name in proptest::option::of(".{0,30}"),
        number in proptest::option::of(any::<u32>()), date in proptest::option::of(".{0,30}"),
        version in proptest::option::of(".{0,90}"), broken in any::<bool>(), unread in any::<bool>(),
        standing in proptest::option::of((any::<u8>(), any::<u8>())), others in any::<[bool; 3]>(),
        rows in 0..60_u16, columns in 0..200_u16, message in ".{0,200}",
    ) {
        let mut given = super::tests::rows(&nixos());
        let [last_booted, rolled_back, default] = others;
        given[0] = Row {
            generation: Generation {
                title, specialisation: name.clone(), number, date, version: version.clone(), unread,
                profile: name, kernel_version: version, default,
                broken: broken
                    .then(|| Broken { code: Code::KernelTruncated, reason: message.clone() }),
                ..given[0].generation.clone()
            },
            volume: Some(message.clone()),
            standing: standing.map(|(left, done)| Standing::Trying { left, done }),
            last_booted,
            rolled_back,
        };
        let mut session =
            Session::of_rows(given, &after(50), &[&message]).without_answers();
        session.press(b" ").press(format!("\x1b[{rows};{columns}R").as_bytes());
        for keys in [&b"1"[..], b"d", b"\x1b", b"?", b"\x1b", b"+", b"/", b"n", b"\x1b", b"e"] {
            session.press(keys);
        }
    }
}
