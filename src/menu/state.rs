//! What the menu is doing: selection, page, editor, countdown, and what keys do to them.
//!
//! Knows nothing of bytes and terminals.

#![forbid(unsafe_code)]

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{iter, mem, time::Duration};

use super::{
    Choice, Outcome, Row,
    countdown::Countdown,
    keys::Key,
    line::{Edit, LineEditor},
    text,
};
use crate::{
    error::Code,
    nixos::{Generation, Settings},
};

/// Enter counts when nothing follows it for this long: on a babbling line something does.
pub(super) const QUIET: Duration = Duration::from_millis(30);

/// How long a key can cancel a reset.
pub(super) const RESET_WAIT: Duration = Duration::from_secs(1);

/// How long a key can cancel switching off: a board without anybody near it stays off.
pub(super) const POWER_OFF_WAIT: Duration = Duration::from_secs(3);

/// Digits that follow each other within this time are one number.
const DIGITS_WAIT: Duration = Duration::from_secs(2);

/// After a byte that no terminal sends, what has consequences has to be asked for twice for this
/// long: stray bytes that are too rare to be taken for babble must not boot anything either.
const DOUBT: Duration = Duration::from_secs(60);

/// How soon something has to be asked for the second time.
const AGAIN_WAIT: Duration = Duration::from_secs(5);

/// How soon the default is booted once the line is found to babble.
const BABBLE_WAIT: Duration = Duration::from_secs(10);

/// Bytes of command line that an arm64 kernel takes (`COMMAND_LINE_SIZE` without its NUL, Linux,
/// `arch/arm64/include/uapi/asm/setup.h`).
pub(super) const MAX_COMMAND_LINE: usize = 2047;

/// Width of pages; every terminal that is drawn on is as wide or cuts them off.
const PAGE_WIDTH: usize = 78;

/// The menu without its terminal.
pub(super) struct State {
    pub rows: Vec<Row>,
    pub title: String,
    pub hidden: bool,
    /// Printable ASCII.
    pub messages: Vec<String>,
    pub selected: usize,
    /// First row of the list that is on the screen.
    pub top: usize,
    /// How many rows of the list the screen has room for.
    pub shown: usize,
    pub view: View,
    pub countdown: Countdown,
    /// What the last key led to, if that is not to be seen elsewhere.
    pub notice: Option<String>,
    pub babbling: bool,
    digits: Option<Digits>,
    pending: Option<Pending>,
    /// Until when keys are doubted.
    doubted_until: Option<Duration>,
    /// What was asked for once, and when.
    asked: Option<(Action, Duration)>,
}

/// What is to be seen.
pub(super) enum View {
    List,
    Page(Page),
    Editor(LineEditor),
}

/// Text to read.
pub(super) struct Page {
    pub title: String,
    pub lines: Vec<String>,
    /// First line that is on the screen.
    pub top: usize,
}

/// A number that is being typed.
struct Digits {
    typed: String,
    until: Duration,
}

/// Something that happens unless a key comes first.
struct Pending {
    action: Action,
    due: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Boot,
    SetDefault,
    Prompt,
    Reset,
    PowerOff,
}

impl Action {
    /// Whether a person is told and given time; other actions only wait for silence.
    fn is_announced(self) -> bool {
        matches!(self, Action::Reset | Action::PowerOff)
    }
}

impl State {
    pub(super) fn new(
        rows: Vec<Row>,
        settings: &Settings,
        messages: &[String],
        now: Duration,
    ) -> Self {
        let title = settings.title.as_deref().unwrap_or("NixOS generations");
        let mut state = Self {
            rows,
            title: format!("Firn {}  {}", env!("CARGO_PKG_VERSION"), text::ascii(title)),
            hidden: settings.hidden,
            messages: messages.iter().map(|message| text::ascii(message)).collect(),
            selected: 0,
            top: 0,
            shown: 0,
            view: View::List,
            countdown: Countdown::Off,
            notice: None,
            babbling: false,
            digits: None,
            pending: None,
            doubted_until: None,
            asked: None,
        };
        if let Some(default) = state.default() {
            state.selected = default;
            state.countdown = Countdown::new(settings.timeout, now);
        }
        state
    }

    /// The generation that boots when nobody chooses.
    pub(super) fn default(&self) -> Option<usize> {
        let boots = |row: &Row| row.generation.default && row.generation.broken.is_none();
        self.rows.iter().position(boots)
    }

    /// Takes in a new list.
    pub(super) fn update(&mut self, rows: Vec<Row>) {
        let before = mem::replace(&mut self.rows, rows);
        let Some(selected) = before.get(self.selected) else {
            self.selected = self.default().unwrap_or(0);
            return;
        };
        if let Some(index) = self.find_again(selected) {
            self.selected = index;
            return;
        }
        self.selected = self.selected.min(self.rows.len().saturating_sub(1));
        self.pending = None;
        self.view = View::List;
        self.notice = Some("What was selected is not in the list any more.".to_owned());
    }

    /// Where a generation of the list before is now.
    fn find_again(&self, row: &Row) -> Option<usize> {
        let wanted = &row.generation;
        let position = |same: &dyn Fn(&Generation) -> bool| {
            self.rows.iter().position(|row| same(&row.generation))
        };
        // The identity of one that was not read is replaced when it is.
        position(&|other| other.id == wanted.id).or_else(|| {
            position(&|other| {
                wanted.number.is_some()
                    && other.number == wanted.number
                    && other.profile == wanted.profile
                    && other.specialisation == wanted.specialisation
            })
        })
    }

    /// A row on the screen that is not read yet.
    pub(super) fn wanted(&self) -> Option<usize> {
        let unread = |&index: &usize| self.rows.get(index).is_some_and(|r| r.generation.unread);
        iter::once(self.selected).chain(self.top..self.top + self.shown).find(unread)
    }

    /// Says something until the next key.
    pub(super) fn say(&mut self, text: &str) {
        self.notice = Some(text::ascii(text));
    }

    /// Takes in a key that a person pressed.
    pub(super) fn key(&mut self, key: Key, now: Duration) -> Handled {
        if self.cancel_pending() {
            self.notice = Some("Cancelled.".to_owned());
            return Handled::Yes;
        }
        // Enter is over before a countdown that it does not stop could disturb anybody.
        if key != Key::Enter {
            self.countdown.stop(now);
        }
        self.notice = None;
        match (&mut self.view, key) {
            (View::List, Key::Alt(character)) => {
                self.key_of_list(Key::Escape, now);
                self.key_of_list(Key::Character(character), now)
            }
            (View::List, key) => self.key_of_list(key, now),
            (View::Page(page), key) => match page.key(key) {
                Some(handled) => handled,
                None => self.back(),
            },
            (View::Editor(line), key) => match line.handle(key) {
                Edit::Handled => Handled::Yes,
                Edit::Unbound => Handled::No,
                Edit::Entered => self.defer(Action::Boot, QUIET, now),
                Edit::Cancelled => self.back(),
            },
        }
    }

    /// Something arrived that is no key: nothing is done that was only waiting for silence.
    pub(super) fn disturbed(&mut self) {
        if self.cancel_pending() {
            self.notice = Some("Cancelled.".to_owned());
        }
    }

    /// Something arrived that no terminal sends.
    pub(super) fn doubt(&mut self, now: Duration) {
        self.doubted_until = Some(now.saturating_add(DOUBT));
        self.asked = None;
    }

    /// The key that opens the menu; one that could do harm only opens it.
    pub(super) fn first_key(&mut self, key: Key, now: Duration) {
        let notice = match key {
            Key::Character('p') => "Press p again to switch off.",
            Key::Character('s') => "Press s again to make the selected one the default.",
            key => {
                self.key(key, now);
                return;
            }
        };
        self.countdown.stop(now);
        self.notice = Some(notice.to_owned());
    }

    /// The line babbles: nobody can be working at it.
    pub(super) fn babble_begins(&mut self, now: Duration) {
        self.babbling = true;
        self.pending = None;
        self.view = View::List;
        self.countdown.restart(BABBLE_WAIT, now);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Duration) -> Outcome {
        if self.digits.as_ref().is_some_and(|digits| now >= digits.until) {
            self.digits = None;
        }
        match &self.pending {
            Some(pending) if now >= pending.due => {
                let action = pending.action;
                self.pending = None;
                self.act(action)
            }
            Some(_) => Outcome::Stay,
            None => self.when_nobody_chooses(now),
        }
    }

    /// The countdown, or why there is none, in a row.
    pub(super) fn status(&self, now: Duration) -> String {
        if let Some(digits) = &self.digits {
            return format!("Number {}_", digits.typed);
        }
        if self.babbling {
            return match self.countdown_text(now) {
                Some(countdown) => format!("{countdown} The line babbles: no keys."),
                None => "The serial line babbles: keys are ignored until it is calm.".to_owned(),
            };
        }
        match (&self.countdown, self.default()) {
            (Countdown::Running { .. }, _) => {
                format!("{} Any key stops this.", self.countdown_text(now).unwrap_or_default())
            }
            (Countdown::Stopped { .. }, _) => {
                "The countdown is stopped; five minutes without a key start it again.".to_owned()
            }
            (Countdown::Off, Some(_)) => "Waits for your choice.".to_owned(),
            (Countdown::Off, None) => {
                "Nothing boots by itself. c opens the command prompt.".to_owned()
            }
        }
    }

    fn countdown_text(&self, now: Duration) -> Option<String> {
        let name = text::name(&self.rows.get(self.default()?)?.generation);
        let mut name = text::shortened(&name, 40);
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Some(format!("{name} boots in {:2} s.", self.countdown.remaining(now)?))
    }

    fn key_of_list(&mut self, key: Key, now: Duration) -> Handled {
        if !matches!(key, Key::Character('0'..='9')) {
            self.digits = None;
        }
        let last = self.rows.len().saturating_sub(1);
        match key {
            Key::Up | Key::Character('k') => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Character('j') => self.selected = last.min(self.selected + 1),
            Key::PageUp => self.selected = self.selected.saturating_sub(10),
            Key::PageDown => self.selected = last.min(self.selected + 10),
            Key::Home => self.selected = 0,
            Key::End => self.selected = last,
            Key::Character(digit @ '0'..='9') => self.digit(digit, now),
            Key::Enter | Key::Character('o') => return self.if_bootable(Action::Boot, now),
            Key::Character('s') => return self.if_bootable(Action::SetDefault, now),
            Key::Character('e') => self.edit(),
            Key::Character('d') => self.show_details(),
            Key::Character('m') => self.show_messages(),
            Key::Character('?' | 'h') => self.show_help(),
            Key::Character('c') => return self.defer(Action::Prompt, QUIET, now),
            Key::Character('r') => return self.defer(Action::Reset, RESET_WAIT, now),
            Key::Character('p') => return self.defer(Action::PowerOff, POWER_OFF_WAIT, now),
            // Leaving the list has nowhere to lead; a blank is the key for "any key".
            Key::Escape | Key::Character(' ' | 'q') | Key::Control('l' | 'c') => {}
            _ => return Handled::No,
        }
        Handled::Yes
    }

    fn back(&mut self) -> Handled {
        self.view = View::List;
        Handled::Yes
    }

    fn digit(&mut self, digit: char, now: Duration) {
        let mut typed = self.digits.take().map(|digits| digits.typed).unwrap_or_default();
        typed.push(digit);
        match self.find(&typed) {
            Some(index) => {
                self.selected = index;
                self.digits = Some(Digits { typed, until: now.saturating_add(DIGITS_WAIT) });
            }
            None => self.notice = Some(format!("There is no {typed}.")),
        }
    }

    /// The entry of a number, or the first whose number begins like that.
    fn find(&self, typed: &str) -> Option<usize> {
        if !text::are_numbered(&self.rows) {
            let place = typed.parse::<usize>().ok()?.checked_sub(1)?;
            return (place < self.rows.len()).then_some(place);
        }
        let position = |matches: &dyn Fn(&str) -> bool| {
            let number = |row: &Row| row.generation.number.map(|number| number.to_string());
            self.rows.iter().position(|row| number(row).is_some_and(|number| matches(&number)))
        };
        position(&|number| number == typed)
            .or_else(|| position(&|number| number.starts_with(typed)))
    }

    fn if_bootable(&mut self, action: Action, now: Duration) -> Handled {
        if self.is_bootable() { self.defer(action, QUIET, now) } else { Handled::Yes }
    }

    /// Whether the selection can be tried; says why if not. What failed while it was loaded may
    /// work the next time; what its source left incomplete will not.
    fn is_bootable(&mut self) -> bool {
        let Some(Row { generation, .. }) = self.rows.get(self.selected) else {
            self.notice = Some("There is nothing to boot.".to_owned());
            return false;
        };
        match &generation.broken {
            Some(broken) if matches!(broken.code, Code::EntryIncomplete | Code::EntryDamaged) => {
                self.notice = Some(format!("Cannot be booted: {}", text::reason(broken)));
                false
            }
            _ => true,
        }
    }

    fn edit(&mut self) {
        if self.is_bootable() {
            let command_line = &self.rows[self.selected].generation.files.command_line;
            self.view = View::Editor(LineEditor::new(command_line, MAX_COMMAND_LINE));
        }
    }

    fn show_details(&mut self) {
        if let Some(Row { generation, .. }) = self.rows.get(self.selected) {
            let title = format!("Details of {}", text::name(generation));
            self.show(title, text::details(generation, PAGE_WIDTH));
        }
    }

    fn show_messages(&mut self) {
        if self.messages.is_empty() {
            self.notice = Some("There are no messages.".to_owned());
            return;
        }
        let lines = self.messages.iter().flat_map(|text| text::wrapped(text, PAGE_WIDTH)).collect();
        self.show("Messages".to_owned(), lines);
    }

    fn show_help(&mut self) {
        let numbered = text::are_numbered(&self.rows);
        self.show("Keys".to_owned(), text::help(numbered, PAGE_WIDTH));
    }

    fn show(&mut self, title: String, lines: Vec<String>) {
        self.view = View::Page(Page { title, lines, top: 0 });
    }

    fn defer(&mut self, action: Action, wait: Duration, now: Duration) -> Handled {
        if self.is_doubtful(action, now) {
            self.asked = Some((action, now));
            self.notice = Some("There is noise on the line: press it again to be sure.".to_owned());
            return Handled::Yes;
        }
        match action {
            Action::Reset => self.notice = Some("Resets in a second; any key cancels.".to_owned()),
            Action::PowerOff => {
                self.notice = Some("Switches off in three seconds; any key cancels.".to_owned());
            }
            Action::Boot | Action::SetDefault | Action::Prompt => {}
        }
        self.pending = Some(Pending { action, due: now.saturating_add(wait) });
        Handled::Yes
    }

    /// Whether stray bytes may be asking, and for more than what happens anyway.
    fn is_doubtful(&self, action: Action, now: Duration) -> bool {
        let noisy = self.doubted_until.is_some_and(|until| now < until);
        let again = self
            .asked
            .is_some_and(|(before, at)| before == action && now.saturating_sub(at) < AGAIN_WAIT);
        let harmless = action == Action::Boot
            && matches!(self.view, View::List)
            && self.default() == Some(self.selected);
        noisy && !again && !harmless
    }

    /// Drops what was pending; gives whether a person was told of it.
    fn cancel_pending(&mut self) -> bool {
        self.pending.take().is_some_and(|pending| pending.action.is_announced())
    }

    fn act(&mut self, action: Action) -> Outcome {
        match action {
            Action::SetDefault => Outcome::SetDefault(self.selected),
            Action::Prompt => Outcome::Rescue,
            Action::Reset => Outcome::Reset,
            Action::PowerOff => Outcome::PowerOff,
            Action::Boot => {
                let command_line = match &mut self.view {
                    View::Editor(line) => Some(line.take()),
                    View::List | View::Page(_) => None,
                };
                Outcome::Boot(Choice { index: self.selected, command_line, by_person: true })
            }
        }
    }

    fn when_nobody_chooses(&mut self, now: Duration) -> Outcome {
        match self.default() {
            Some(index) if self.countdown.poll(now) => {
                Outcome::Boot(Choice { index, command_line: None, by_person: false })
            }
            _ => Outcome::Stay,
        }
    }
}

/// Whether a key meant something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    Yes,
    No,
}

impl Page {
    /// Gives nothing if the key leaves the page.
    fn key(&mut self, key: Key) -> Option<Handled> {
        let last = self.lines.len().saturating_sub(1);
        match key {
            Key::Up | Key::Character('k') => self.top = self.top.saturating_sub(1),
            Key::Down | Key::Character('j') => self.top = last.min(self.top + 1),
            Key::PageUp => self.top = self.top.saturating_sub(10),
            Key::PageDown | Key::Character(' ') => self.top = last.min(self.top + 10),
            Key::Home => self.top = 0,
            Key::End => self.top = last,
            Key::Control('l') => {}
            Key::Escape | Key::Enter | Key::Left | Key::Backspace | Key::Control('c') => {
                return None;
            }
            Key::Character('q' | 'd' | 'm' | '?' | 'h') => return None,
            _ => return Some(Handled::No),
        }
        Some(Handled::Yes)
    }
}
