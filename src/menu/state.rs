//! What the menu is doing: selection, page, editor, countdown, and what keys do to them.
//!
//! Knows nothing of bytes and terminals.

#![forbid(unsafe_code)]

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{mem, time::Duration};

use super::{
    Choice, Outcome, Row, columns,
    countdown::Countdown,
    keys::Key,
    line::{Edit, LineEditor, Window},
    list::{List, Selection},
    lock::{Gate, Lock},
    page::{Facts, Kind, Page, Read},
    password::MAX_PASSWORD,
    text,
};
use crate::{error::Code, nixos::Settings};

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

/// Longest filter in bytes.
const MAX_FILTER: usize = 60;

/// So many letters of a filter that match nothing are taken for noise: another system's log, which may
/// well hold a `/`, has more of them, and goes on.
const NOISE_IN_FILTER: u32 = 3;

/// Without a key for this long nobody is going to type a password.
const PASSWORD_WAIT: Duration = Duration::from_secs(60);

/// The menu without its terminal.
pub(super) struct State {
    pub list: List,
    pub title: String,
    /// Whether that is the configuration's own.
    pub is_titled: bool,
    pub hidden: bool,
    /// Printable ASCII.
    pub messages: Vec<String>,
    pub view: View,
    pub countdown: Countdown,
    /// What the last key led to, if that is not to be seen elsewhere.
    pub notice: Option<String>,
    pub babbling: bool,
    lock: Lock,
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
    /// The list, while its filter is typed.
    Filter(Filtering),
    /// The list, while a password is typed.
    Password(Asking),
}

/// A filter that is being typed.
pub(super) struct Filtering {
    typed: LineEditor,
    /// Letters that were typed although nothing matched.
    in_vain: u32,
}

/// A password that is being typed.
pub(super) struct Asking {
    typed: LineEditor,
    /// What it is for.
    wanted: Locked,
    until: Duration,
}

/// What may need a password.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locked {
    Edit,
    SetDefault,
    Prompt,
}

/// Which line is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    CommandLine,
    Filter,
    Password,
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
    CheckPassword,
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
        let list = List::new(rows);
        let countdown = match list.default() {
            Some(_) => Countdown::new(settings.timeout, now),
            None => Countdown::Off,
        };
        Self {
            list,
            is_titled: settings.title.is_some(),
            title: format!("Firn {}  {}", env!("CARGO_PKG_VERSION"), text::ascii(title)),
            hidden: settings.hidden,
            messages: messages.iter().map(|message| text::ascii(message)).collect(),
            view: View::List,
            countdown,
            notice: None,
            babbling: false,
            lock: Lock::new(settings.access.clone()),
            digits: None,
            pending: None,
            doubted_until: None,
            asked: None,
        }
    }

    /// The row that boots when nobody chooses.
    pub(super) fn default_row(&self) -> Option<&Row> {
        self.list.rows().get(self.list.default()?)
    }

    /// Takes in a new list.
    pub(super) fn update(&mut self, rows: Vec<Row>) {
        if self.list.update(rows) == Selection::Lost {
            self.give_up_selection();
        } else if let (View::Page(page), Some(row)) = (&mut self.view, self.list.selected_row())
            && page.kind == Kind::Details
        {
            *page = Page { top: page.top, ..Page::details(row) };
        }
    }

    /// The row whose place in memory somebody is waiting to see.
    pub(super) fn wanted_plan(&self) -> Option<usize> {
        match &self.view {
            View::Page(page) if page.wants_plan => self.list.selected(),
            _ => None,
        }
    }

    /// Takes in the place in memory of what [`State::wanted_plan`] gave.
    pub(super) fn tell_plan(&mut self, text: &str) {
        if let View::Page(page) = &mut self.view {
            page.tell_plan(text);
        }
    }

    /// What was selected is gone: nothing is done to what has taken its place.
    fn give_up_selection(&mut self) {
        self.pending = self.pending.take().filter(|pending| pending.action.is_announced());
        let is_about_it = match &self.view {
            View::Editor(_) | View::Password(_) => true,
            View::Page(page) => page.kind == Kind::Details,
            View::List | View::Filter(_) => false,
        };
        if is_about_it {
            self.view = View::List;
        }
        self.say("What was selected is not in the list any more.");
    }

    /// Says something until the next key.
    pub(super) fn say(&mut self, text: &str) {
        self.notice = Some(text::ascii(text));
    }

    /// The line that is being typed, if there is one, in `width` columns.
    pub(super) fn input(&mut self, width: usize) -> Option<(Input, Window)> {
        Some(match &mut self.view {
            View::List | View::Page(_) => return None,
            View::Editor(line) => (Input::CommandLine, line.window(width)),
            View::Filter(filtering) => (Input::Filter, filtering.typed.window(width)),
            View::Password(asking) => {
                let Window { text, cursor } = asking.typed.window(width);
                (Input::Password, Window { text: "*".repeat(text.len()), cursor })
            }
        })
    }

    /// Takes in a key that a person pressed.
    pub(super) fn key(&mut self, key: Key, now: Duration) -> Handled {
        if self.cancel_pending() {
            self.say("Cancelled.");
            return Handled::Yes;
        }
        // A boot is over before a countdown that it does not stop could disturb anybody.
        if key != Key::Enter || !matches!(self.view, View::List | View::Editor(_)) {
            self.countdown.stop(now);
        }
        self.lock.key(now);
        self.notice = None;
        match (&mut self.view, key) {
            (View::List, Key::Alt(character)) => {
                self.key_of_list(Key::Escape, now);
                self.key_of_list(Key::Character(character), now)
            }
            (View::List, key) => self.key_of_list(key, now),
            (View::Page(page), key) => match page.key(key) {
                Read::Handled => Handled::Yes,
                Read::Unbound => Handled::No,
                Read::Left => self.back(),
            },
            (View::Editor(line), key) => match line.handle(key) {
                Edit::Handled => Handled::Yes,
                Edit::Unbound => Handled::No,
                Edit::Entered => self.defer(Action::Boot, QUIET, now),
                Edit::Cancelled => self.back(),
            },
            (View::Filter(_), key) => self.key_of_filter(key),
            (View::Password(_), key) => self.key_of_password(key, now),
        }
    }

    /// Something arrived that is no key: nothing is done that was only waiting for silence.
    pub(super) fn disturbed(&mut self) {
        if self.cancel_pending() {
            self.say("Cancelled.");
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
        self.say(notice);
    }

    /// The line babbles: nobody can be working at it.
    pub(super) fn babble_begins(&mut self, now: Duration) {
        self.babbling = true;
        self.pending = None;
        self.view = View::List;
        self.list.set_filter("");
        self.countdown.restart(BABBLE_WAIT, now);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Duration) -> Outcome {
        if self.digits.as_ref().is_some_and(|digits| now >= digits.until) {
            self.digits = None;
        }
        if matches!(&self.view, View::Password(asking) if now >= asking.until) {
            self.view = View::List;
            self.say("No password was given.");
        }
        match &self.pending {
            Some(pending) if now >= pending.due => {
                let action = pending.action;
                self.pending = None;
                self.act(action, now)
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
        match (&self.countdown, self.list.default()) {
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
        let name = text::name(&self.default_row()?.generation);
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
        match key {
            Key::Up | Key::Character('k') => self.list.step(false),
            Key::Down | Key::Character('j') => self.list.step(true),
            Key::PageUp => self.list.page(false),
            Key::PageDown => self.list.page(true),
            Key::Home => self.list.end(false),
            Key::End => self.list.end(true),
            Key::Right | Key::Character('+') => self.open_fold(),
            Key::Left | Key::Character('-') => self.list.close_fold(),
            Key::Character(digit @ '0'..='9') => self.digit(digit, now),
            Key::Character('/') => {
                let typed = LineEditor::new("", MAX_FILTER);
                self.view = View::Filter(Filtering { typed, in_vain: 0 });
            }
            Key::Enter | Key::Character('o') => return self.boot(now),
            Key::Character('s') => return self.if_allowed(Locked::SetDefault, now),
            Key::Character('e') => return self.if_allowed(Locked::Edit, now),
            Key::Character('c') => return self.if_allowed(Locked::Prompt, now),
            Key::Character('d') => self.show_details(),
            Key::Character('m') => self.show_messages(),
            Key::Character('?' | 'h') => self.show_help(),
            Key::Character('r') => return self.defer(Action::Reset, RESET_WAIT, now),
            Key::Character('p') => return self.defer(Action::PowerOff, POWER_OFF_WAIT, now),
            Key::Escape | Key::Control('c') => self.show_all(),
            // A key for "any key".
            Key::Character(' ' | 'q') | Key::Control('l') => {}
            _ => return Handled::No,
        }
        Handled::Yes
    }

    fn key_of_filter(&mut self, key: Key) -> Handled {
        let View::Filter(filtering) = &mut self.view else { return Handled::No };
        match key {
            Key::Up => self.list.step(false),
            Key::Down => self.list.step(true),
            Key::PageUp => self.list.page(false),
            Key::PageDown => self.list.page(true),
            key => match filtering.typed.handle(key) {
                Edit::Handled => {
                    self.list.set_filter(filtering.typed.text());
                    if self.list.selected().is_none() && matches!(key, Key::Character(_)) {
                        filtering.in_vain = filtering.in_vain.saturating_add(1);
                        if filtering.in_vain <= NOISE_IN_FILTER {
                            return Handled::No;
                        }
                    }
                }
                Edit::Unbound => return Handled::No,
                Edit::Entered => return self.back(),
                Edit::Cancelled => {
                    self.show_all();
                    return self.back();
                }
            },
        }
        Handled::Yes
    }

    fn key_of_password(&mut self, key: Key, now: Duration) -> Handled {
        let View::Password(asking) = &mut self.view else { return Handled::No };
        asking.until = now.saturating_add(PASSWORD_WAIT);
        match asking.typed.handle(key) {
            Edit::Handled => Handled::Yes,
            Edit::Unbound => Handled::No,
            Edit::Entered if !asking.typed.text().is_empty() => {
                self.say("Checking the password ..");
                self.defer(Action::CheckPassword, QUIET, now)
            }
            Edit::Entered | Edit::Cancelled => self.back(),
        }
    }

    fn back(&mut self) -> Handled {
        self.view = View::List;
        Handled::Yes
    }

    fn show_all(&mut self) {
        if self.list.is_filtered() {
            self.list.set_filter("");
            self.say("The whole list is shown again.");
        }
    }

    fn open_fold(&mut self) {
        let names = self.list.open_fold();
        let notice = match names.len() {
            0 => "There are no specialisations to show.".to_owned(),
            1 => format!("One specialisation: {}", names.join(", ")),
            count => format!("{count} specialisations: {}", names.join(", ")),
        };
        self.say(&notice);
    }

    fn digit(&mut self, digit: char, now: Duration) {
        let mut typed = self.digits.take().map(|digits| digits.typed).unwrap_or_default();
        typed.push(digit);
        if self.list.select_number(&typed) {
            self.digits = Some(Digits { typed, until: now.saturating_add(DIGITS_WAIT) });
        } else {
            self.say(&format!("There is no {typed}."));
        }
    }

    fn boot(&mut self, now: Duration) -> Handled {
        if self.is_bootable() { self.defer(Action::Boot, QUIET, now) } else { Handled::Yes }
    }

    /// Does what may need a password, or asks for it.
    fn if_allowed(&mut self, wanted: Locked, now: Duration) -> Handled {
        if wanted != Locked::Prompt && !self.is_bootable() {
            return Handled::Yes;
        }
        match (self.lock.gate(now), wanted) {
            (Gate::Open, Locked::Edit) => self.edit(),
            (Gate::Open, Locked::SetDefault) => return self.defer(Action::SetDefault, QUIET, now),
            (Gate::Open, Locked::Prompt) => return self.defer(Action::Prompt, QUIET, now),
            (Gate::Ask, wanted) => self.ask(wanted, now),
            (Gate::Closed(reason), _) => self.say(&reason),
        }
        Handled::Yes
    }

    fn ask(&mut self, wanted: Locked, now: Duration) {
        self.view = View::Password(Asking {
            typed: LineEditor::new("", MAX_PASSWORD),
            wanted,
            until: now.saturating_add(PASSWORD_WAIT),
        });
    }

    fn check_password(&mut self, now: Duration) -> Outcome {
        let View::Password(asking) = mem::replace(&mut self.view, View::List) else {
            return Outcome::Stay;
        };
        self.notice = None;
        match (self.lock.open(asking.typed.text().as_bytes(), now), asking.wanted) {
            (Ok(()), Locked::Edit) => self.edit(),
            (Ok(()), Locked::SetDefault) => return self.act(Action::SetDefault, now),
            (Ok(()), Locked::Prompt) => return Outcome::Rescue,
            (Err(reason), wanted) => {
                if self.lock.gate(now) == Gate::Ask {
                    self.ask(wanted, now);
                }
                self.say(&reason);
            }
        }
        Outcome::Stay
    }

    /// Whether the selection can be tried; says why if not. What failed while it was loaded may
    /// work the next time; what its source left incomplete will not.
    fn is_bootable(&mut self) -> bool {
        let Some(row) = self.list.selected_row() else {
            self.say("There is nothing to boot.");
            return false;
        };
        match &row.generation.broken {
            Some(broken) if matches!(broken.code, Code::EntryIncomplete | Code::EntryDamaged) => {
                let notice = format!("Cannot be booted: {}", text::reason(broken));
                self.say(&notice);
                false
            }
            _ => true,
        }
    }

    fn edit(&mut self) {
        match self.list.selected_row() {
            Some(row) if row.generation.unread => {
                self.say("It is not read yet: press e again in a moment.");
            }
            Some(row) => {
                let command_line = &row.generation.files.command_line;
                self.view = View::Editor(LineEditor::new(command_line, MAX_COMMAND_LINE));
            }
            None => {}
        }
    }

    fn show_details(&mut self) {
        if let Some(row) = self.list.selected_row() {
            self.view = View::Page(Page::details(row));
        }
    }

    fn show_messages(&mut self) {
        if self.messages.is_empty() {
            self.say("There are no messages.");
        } else {
            self.view = View::Page(Page::messages(&self.messages));
        }
    }

    fn show_help(&mut self) {
        let facts = Facts {
            numbered: columns::are_numbered(self.list.rows()),
            locked: self.lock.is_there(),
        };
        self.view = View::Page(Page::help(&facts));
    }

    fn defer(&mut self, action: Action, wait: Duration, now: Duration) -> Handled {
        if self.is_doubtful(action, now) {
            self.asked = Some((action, now));
            self.say("There is noise on the line: press it again to be sure.");
            return Handled::Yes;
        }
        match action {
            Action::Reset => self.say("Resets in a second; any key cancels."),
            Action::PowerOff => self.say("Switches off in three seconds; any key cancels."),
            Action::Boot | Action::SetDefault | Action::CheckPassword | Action::Prompt => {}
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
        let harmless = match action {
            Action::Boot => {
                matches!(self.view, View::List) && self.list.default() == self.list.selected()
            }
            // What a right password leads to is meant.
            Action::CheckPassword => true,
            _ => false,
        };
        noisy && !again && !harmless
    }

    /// Drops what was pending; gives whether a person was told of it.
    fn cancel_pending(&mut self) -> bool {
        self.pending.take().is_some_and(|pending| pending.action.is_announced())
    }

    fn act(&mut self, action: Action, now: Duration) -> Outcome {
        // What was bootable when the key was pressed may have turned out broken.
        if matches!(action, Action::Boot | Action::SetDefault) && !self.is_bootable() {
            return Outcome::Stay;
        }
        match (action, self.list.selected()) {
            (Action::Prompt, _) => Outcome::Rescue,
            (Action::Reset, _) => Outcome::Reset,
            (Action::PowerOff, _) => Outcome::PowerOff,
            (Action::CheckPassword, _) => self.check_password(now),
            (Action::SetDefault, Some(index)) => Outcome::SetDefault(index),
            (Action::Boot, Some(index)) => {
                let command_line = match &mut self.view {
                    View::Editor(line) => Some(line.take()),
                    _ => None,
                };
                Outcome::Boot(Choice { index, command_line, by_person: true })
            }
            (Action::SetDefault | Action::Boot, None) => Outcome::Stay,
        }
    }

    fn when_nobody_chooses(&mut self, now: Duration) -> Outcome {
        match self.list.default() {
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
