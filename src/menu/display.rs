//! The menu on a terminal of which nothing is known at first.
//!
//! Until a key is pressed only plain lines are sent, so that a captured boot reads like any other
//! log. The first key shows that somebody is there; the terminal is then asked for its size. One
//! that answers gets a screen, drawn over and over in its changes only; one that does not (a
//! script, a line printer, a terminal beyond a slow gateway) gets lines.

#![forbid(unsafe_code)]

use alloc::{format, string::String, vec::Vec};
use core::{mem, time::Duration};

use super::{
    Choice, Outcome,
    countdown::is_announced,
    line::LineView,
    screen::{Renderer, Screen, Style},
    state::{MAX_COMMAND_LINE, State, View},
    text,
};

/// How long a terminal has to answer before it gets lines. A later answer still counts.
const ANSWER_WAIT: Duration = Duration::from_millis(150);

/// Generations that are listed in a log: at 115,200 baud a row takes 7 ms.
const ROWS_OF_LOG: usize = 8;

/// Smallest terminal that gets a screen: rows and columns.
const SMALLEST_SCREEN: (u16, u16) = (12, 60);

/// Rows of the screen that are not the list's: title, header, blank, messages, status, keys.
const OTHER_ROWS: usize = 5 + MESSAGE_ROWS;

const MESSAGE_ROWS: usize = 3;

/// Row of the list's first entry, and of the first line of a page.
const FIRST_ROW: usize = 2;

/// To the last corner, and ask where that is (ECMA-48 CUP, DSR 6).
const ASK_SIZE: &[u8] = b"\x1b[999;999H\x1b[6n";

/// A terminal and what was sent to it.
pub(super) struct Display {
    mode: Mode,
    lines: Lines,
    /// Whether the question for the size is open.
    asked: bool,
    out: Vec<u8>,
}

enum Mode {
    /// Nobody has pressed a key.
    Log,
    /// A key was pressed and the terminal has to be asked; since when, if it was.
    Asking(Option<Duration>),
    /// Somebody is there, but the terminal did not answer.
    Lines,
    /// The terminal answered.
    Screen(Renderer),
}

impl Display {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Log, lines: Lines::default(), asked: false, out: Vec::new() }
    }

    /// Whether nobody has been seen yet.
    pub(super) fn is_log(&self) -> bool {
        matches!(self.mode, Mode::Log)
    }

    /// Somebody pressed a key that is about the menu.
    pub(super) fn open(&mut self) {
        if self.is_log() {
            self.mode = Mode::Asking(None);
        }
    }

    /// Draws everything again, at the terminal's present size if it tells.
    pub(super) fn redraw(&mut self) {
        match &mut self.mode {
            Mode::Log | Mode::Asking(_) => {}
            Mode::Lines => {
                self.lines.listed = false;
                self.mode = Mode::Asking(None);
            }
            Mode::Screen(renderer) => {
                self.out.extend_from_slice(ASK_SIZE);
                self.asked = true;
                let (rows, columns) = renderer.size();
                renderer.restart(rows, columns, &mut self.out);
            }
        }
    }

    /// The terminal told its size.
    pub(super) fn answered(&mut self, rows: u16, columns: u16) {
        if !mem::take(&mut self.asked) {
            return;
        }
        if rows < SMALLEST_SCREEN.0 || columns < SMALLEST_SCREEN.1 {
            self.mode = Mode::Lines;
            return;
        }
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        match &mut self.mode {
            Mode::Screen(renderer) => {
                let drawn = Screen::new(rows, columns);
                if renderer.size() != (drawn.rows(), drawn.width() + 1) {
                    renderer.restart(rows, columns, &mut self.out);
                }
            }
            _ => self.mode = Mode::Screen(Renderer::new(rows, columns, &mut self.out)),
        }
    }

    /// Bytes that bring the terminal up to date.
    pub(super) fn draw(&mut self, state: &mut State, now: Duration) -> Vec<u8> {
        match &mut self.mode {
            Mode::Log => self.lines.log(state, now, &mut self.out),
            Mode::Asking(since @ None) => {
                self.lines.end_line(&mut self.out);
                self.out.extend_from_slice(ASK_SIZE);
                self.asked = true;
                *since = Some(now);
            }
            Mode::Asking(Some(since)) => {
                if now.saturating_sub(*since) >= ANSWER_WAIT {
                    self.mode = Mode::Lines;
                    self.lines.begin(state, &mut self.out);
                }
            }
            Mode::Lines => self.lines.follow(state, now, &mut self.out),
            Mode::Screen(renderer) => {
                let (rows, columns) = renderer.size();
                renderer.draw(&compose(state, rows, columns, now), &mut self.out);
            }
        }
        mem::take(&mut self.out)
    }

    /// Bytes that are left to send.
    pub(super) fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }

    /// Leaves the terminal in order, with a line that says what happens.
    pub(super) fn leave(&mut self, state: &State, outcome: &Outcome) {
        if let Mode::Screen(renderer) = &mut self.mode {
            renderer.leave(&mut self.out);
        }
        let was_announced = self.is_log();
        self.lines.end_line(&mut self.out);
        let text = match outcome {
            Outcome::Boot(Choice { by_person: false, .. }) if was_announced => return,
            Outcome::Boot(choice) => {
                let name = state
                    .rows
                    .get(choice.index)
                    .map(|row| text::name(&row.generation))
                    .unwrap_or_default();
                let edited = if choice.command_line.is_some() { ", edited" } else { "" };
                format!("Booting {name}{edited}")
            }
            Outcome::Reset => "Resetting".into(),
            Outcome::PowerOff => "Switching off".into(),
            Outcome::Rescue | Outcome::SetDefault(_) | Outcome::Stay => return,
        };
        self.lines.line(&text, &mut self.out);
    }

    #[cfg(test)]
    pub(super) fn screen(&self, state: &mut State, now: Duration) -> Option<Screen> {
        let Mode::Screen(renderer) = &self.mode else { return None };
        let (rows, columns) = renderer.size();
        Some(compose(state, rows, columns, now))
    }
}

/// Output of which every line stays where it is.
#[derive(Default)]
struct Lines {
    /// Whether messages and what else comes before the countdown were sent.
    introduced: bool,
    /// Whether the list was sent.
    listed: bool,
    /// Whether the last line has no end yet.
    open: bool,
    /// Seconds of the countdown that were sent last.
    counted: Option<u32>,
    selected: Option<usize>,
    notice: Option<String>,
    editor: Option<LineView>,
}

impl Lines {
    /// The list, once, and the countdown.
    fn log(&mut self, state: &State, now: Duration, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.introduced, true) {
            for message in &state.messages {
                self.line(message, out);
            }
            if !state.hidden {
                self.list(state, out);
            }
            self.hint(state, out);
        }
        self.count(state, now, out);
    }

    fn list(&mut self, state: &State, out: &mut Vec<u8>) {
        self.listed = true;
        let generations = &state.rows;
        self.line(&state.title, out);
        self.line(&text::header(generations, text::LINE_WIDTH), out);
        let shown = generations.len().min(ROWS_OF_LOG);
        for index in 0..shown {
            self.line(&text::row(generations, index, text::LINE_WIDTH), out);
        }
        let default = state.default().filter(|&default| default >= shown);
        if let Some(default) = default {
            self.line("  ..", out);
            self.line(&text::row(generations, default, text::LINE_WIDTH), out);
        }
        let rest = generations.len() - shown - usize::from(default.is_some());
        if rest > 0 {
            self.line(&format!("  and {rest} more"), out);
        }
    }

    fn hint(&mut self, state: &State, out: &mut Vec<u8>) {
        let text = match state.default().and_then(|default| state.rows.get(default)) {
            Some(default) => format!(
                "Enter boots {}, any other key opens the menu.",
                text::shortened(&text::name(&default.generation), 36)
            ),
            None => "Nothing boots by itself; any key opens the menu.".into(),
        };
        self.line(&text, out);
    }

    /// `Booting generation 42 in 5 4 3 2 1`: a word a second stays readable wherever it ends up.
    fn count(&mut self, state: &State, now: Duration, out: &mut Vec<u8>) {
        let Some(seconds) = state.countdown.remaining(now) else {
            if self.counted.take().is_some() {
                self.end_line(out);
            }
            return;
        };
        let Some(default) = state.default().and_then(|default| state.rows.get(default)) else {
            return;
        };
        match self.counted {
            None => {
                self.end_line(out);
                let name = text::shortened(&text::name(&default.generation), 36);
                out.extend_from_slice(format!("Booting {name} in {seconds}").as_bytes());
                self.open = true;
            }
            Some(before) if seconds < before && is_announced(seconds) => {
                out.extend_from_slice(format!(" {seconds}").as_bytes());
            }
            Some(_) => return,
        }
        self.counted = Some(seconds);
    }

    /// Somebody is there who has to get along with lines.
    fn begin(&mut self, state: &State, out: &mut Vec<u8>) {
        let listed = self.listed;
        *self = Self::default();
        self.line("", out);
        if !listed {
            self.list(state, out);
        }
        self.listed = true;
        self.line(text::KEYS, out);
    }

    /// What a key changed.
    fn follow(&mut self, state: &mut State, now: Duration, out: &mut Vec<u8>) {
        self.page(state, out);
        if self.editor.is_some() && !matches!(state.view, View::Editor(_)) {
            self.editor = None;
            self.selected = None;
        }
        if self.selected != Some(state.selected) {
            self.selected = Some(state.selected);
            let row = text::row(&state.rows, state.selected, text::LINE_WIDTH);
            self.line(&format!("> {}", row.get(2..).unwrap_or_default()), out);
        }
        if self.notice != state.notice {
            self.notice.clone_from(&state.notice);
            if let Some(notice) = &state.notice {
                self.line(notice, out);
            }
        }
        if !self.edit(state, out) {
            self.count(state, now, out);
        }
    }

    fn page(&mut self, state: &mut State, out: &mut Vec<u8>) {
        let View::Page(page) = &state.view else { return };
        self.line(&page.title, out);
        for line in &page.lines {
            self.line(line, out);
        }
        state.view = View::List;
    }

    /// Keeps the edited line up to date; gives whether there is one.
    fn edit(&mut self, state: &mut State, out: &mut Vec<u8>) -> bool {
        let View::Editor(line) = &mut state.view else { return false };
        if self.editor.is_none() {
            self.line(text::EDITOR_KEYS, out);
            self.open = true;
        }
        let view = self.editor.get_or_insert_default();
        view.update(&line.window(text::LINE_WIDTH), out);
        true
    }

    fn line(&mut self, text: &str, out: &mut Vec<u8>) {
        self.end_line(out);
        for line in text::wrapped(text, text::LINE_WIDTH) {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.counted = None;
        if mem::take(&mut self.open) {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The screen of a state.
fn compose(state: &mut State, rows: usize, columns: usize, now: Duration) -> Screen {
    let mut screen = Screen::new(rows, columns);
    let last = screen.rows() - 1;
    screen.write(last - 1, 0, &state.status(now), Style::Plain);
    screen.set_cursor(last, 0);
    let (title, keys) = match &mut state.view {
        View::List => {
            compose_list(state, &mut screen);
            (state.title.clone(), text::KEYS)
        }
        View::Page(page) => {
            let room = screen.rows() - FIRST_ROW - 3;
            page.top = page.top.min(page.lines.len().saturating_sub(room));
            for (row, line) in page.lines.iter().skip(page.top).take(room).enumerate() {
                screen.write(FIRST_ROW + row, 0, line, Style::Plain);
            }
            (page.title.clone(), text::PAGE_KEYS)
        }
        View::Editor(line) => {
            let window = line.window(screen.width());
            screen.write(FIRST_ROW, 0, &window.text, Style::Plain);
            screen.set_cursor(FIRST_ROW, window.cursor);
            let length = format!("{} of {MAX_COMMAND_LINE} bytes", line.text().len());
            screen.write(FIRST_ROW + 2, 0, &length, Style::Plain);
            let name = state
                .rows
                .get(state.selected)
                .map(|row| text::name(&row.generation))
                .unwrap_or_default();
            (format!("Command line of {name}, for this boot"), text::EDITOR_KEYS)
        }
    };
    screen.write(0, 0, &title, Style::Bold);
    screen.write(last, 0, keys, Style::Plain);
    screen
}

fn compose_list(state: &mut State, screen: &mut Screen) {
    let room = screen.rows() - OTHER_ROWS;
    scroll(state, room);
    let generations = &state.rows;
    let end = generations.len().min(state.top + room);
    let width = screen.width();
    screen.write(1, 0, &text::header(generations, width), Style::Plain);
    if end - state.top < generations.len() {
        let place = format!("{}-{end} of {}", state.top + 1, generations.len());
        screen.write(0, width - place.len(), &place, Style::Plain);
    }
    for index in state.top..end {
        let row = FIRST_ROW + index - state.top;
        screen.write(row, 0, &text::row(generations, index, width), Style::Plain);
        if index == state.selected {
            screen.write(row, 0, ">", Style::Plain);
            screen.highlight(row, Style::Reverse);
            screen.set_cursor(row, 0);
        }
    }
    compose_messages(state, screen);
}

/// The notice, or the last messages: why the boot before failed is what was said last.
fn compose_messages(state: &State, screen: &mut Screen) {
    let first_row = screen.rows() - 2 - MESSAGE_ROWS;
    let width = screen.width();
    let mut texts: Vec<String> = match &state.notice {
        Some(notice) => text::wrapped(notice, width),
        None => state.messages.iter().rev().take(MESSAGE_ROWS).rev().cloned().collect(),
    };
    if state.notice.is_none() && state.messages.len() > MESSAGE_ROWS {
        texts[0] = format!("m shows all {} messages; the last are:", state.messages.len());
    }
    for (row, text) in texts.iter().take(MESSAGE_ROWS).enumerate() {
        screen.write(first_row + row, 0, &text::shortened(text, width), Style::Plain);
    }
}

/// Brings the selection onto the screen, by half a screen at a time: each scroll sends all rows.
fn scroll(state: &mut State, room: usize) {
    state.shown = room;
    let visible = state.top..state.top + room;
    if !visible.contains(&state.selected) {
        state.top = state.selected.saturating_sub(room / 2);
    }
    state.top = state.top.min(state.rows.len().saturating_sub(room));
}
