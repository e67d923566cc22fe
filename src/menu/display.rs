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
    columns::Columns,
    countdown::is_announced,
    line::LineView,
    screen::{Renderer, Screen, Style},
    state::{Input, MAX_COMMAND_LINE, State, View},
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

/// Columns for a line that is typed, behind its prompt.
const INPUT_WIDTH: usize = 66;

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
                let row = state.list.rows().get(choice.index);
                let name = row.map(|row| text::name(&row.generation)).unwrap_or_default();
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
    /// Seconds of the countdown that were sent last, and to which row.
    counted: Option<(u32, usize)>,
    /// Identity of the selected row that was sent last, and its text.
    selected: Option<String>,
    notice: Option<String>,
    input: Option<(Input, LineView)>,
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

    /// The first rows that are to be seen, and the default.
    fn list(&mut self, state: &State, out: &mut Vec<u8>) {
        self.listed = true;
        let columns = columns_of_lines(state);
        let visible = state.list.visible();
        let (shown, rest) = visible.split_at(visible.len().min(ROWS_OF_LOG));
        // Else it says what the log has begun with.
        if state.is_titled {
            self.line(&state.title, out);
        }
        self.line(&columns.header(), out);
        for &index in shown {
            self.line(&row(state, &columns, index), out);
        }
        let default = state.list.default().filter(|default| rest.contains(default));
        if let Some(default) = default {
            self.line("  ..", out);
            self.line(&row(state, &columns, default), out);
        }
        let left = rest.len() - usize::from(default.is_some());
        if left > 0 {
            self.line(&format!("  and {left} more"), out);
        }
        if visible.is_empty() {
            self.line(&nothing_matches(state), out);
        }
    }

    fn hint(&mut self, state: &State, out: &mut Vec<u8>) {
        let text = match state.default_row() {
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
        let counted = state.countdown.remaining(now).zip(state.list.default());
        let (Some((seconds, index)), Some(default)) = (counted, state.default_row()) else {
            if self.counted.take().is_some() {
                self.end_line(out);
            }
            return;
        };
        match self.counted {
            Some((before, of)) if of == index => {
                if seconds >= before || !is_announced(seconds) {
                    return;
                }
                out.extend_from_slice(format!(" {seconds}").as_bytes());
            }
            _ => {
                self.end_line(out);
                let name = text::shortened(&text::name(&default.generation), 36);
                out.extend_from_slice(format!("Booting {name} in {seconds}").as_bytes());
                self.open = true;
            }
        }
        self.counted = Some((seconds, index));
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
        self.line(keys_of_list(state, text::LINE_WIDTH), out);
    }

    /// What a key changed.
    fn follow(&mut self, state: &mut State, now: Duration, out: &mut Vec<u8>) {
        self.page(state, out);
        self.end_input(state, out);
        self.selection(state, out);
        if self.notice != state.notice {
            self.notice.clone_from(&state.notice);
            if let Some(notice) = &state.notice {
                self.line(notice, out);
                self.input = None;
            }
        }
        if !self.input(state, out) {
            self.count(state, now, out);
        }
    }

    /// The selected row, whenever it is another one or says something else; not while a filter is
    /// typed, when each letter may change it.
    fn selection(&mut self, state: &State, out: &mut Vec<u8>) {
        if matches!(state.view, View::Filter(_)) {
            return;
        }
        let columns = columns_of_lines(state);
        let text = state.list.selected().map(|index| row(state, &columns, index));
        if self.selected != text {
            if let Some(text) = &text {
                self.line(&format!("> {}", text.get(2..).unwrap_or_default()), out);
            }
            self.selected = text;
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

    /// Shows what a line was typed for, if it is typed no more.
    fn end_input(&mut self, state: &mut State, out: &mut Vec<u8>) {
        let Some((before, _)) = self.input else { return };
        let now = state.input(INPUT_WIDTH).map(|(input, _)| input);
        if now == Some(before) {
            return;
        }
        self.input = None;
        match before {
            Input::CommandLine => self.selected = None,
            Input::Filter => {
                self.list(state, out);
                self.selected = None;
            }
            Input::Password => {}
        }
    }

    /// Keeps the line that is typed up to date; gives whether there is one.
    fn input(&mut self, state: &mut State, out: &mut Vec<u8>) -> bool {
        let Some((input, window)) = state.input(INPUT_WIDTH) else { return false };
        if self.input.is_none() {
            self.end_line(out);
            match input {
                Input::CommandLine => self.line(keys_of_input(input), out),
                _ => out.extend_from_slice(prompt(input).as_bytes()),
            }
            self.open = true;
        }
        let (_, view) = self.input.get_or_insert_with(|| (input, LineView::default()));
        view.update(&window, out);
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

/// The columns of a list that does not change its place.
fn columns_of_lines(state: &State) -> Columns {
    let rows = state.list.rows();
    let visible = state.list.visible().iter();
    let visible = visible.map(|&index| (index, &rows[index], state.list.folded(index)));
    Columns::new(rows, text::LINE_WIDTH).narrowed(visible)
}

/// The screen of a state.
fn compose(state: &mut State, rows: usize, columns: usize, now: Duration) -> Screen {
    let mut screen = Screen::new(rows, columns);
    let last = screen.rows() - 1;
    let width = screen.width();
    screen.write(last - 1, 0, &state.status(now), Style::Plain);
    screen.set_cursor(last, 0);
    let mut keys = keys_of_list(state, width);
    let title = match &mut state.view {
        View::List | View::Filter(_) | View::Password(_) => {
            compose_list(state, &mut screen);
            state.title.clone()
        }
        View::Page(page) => {
            keys = "Up, Down, PageUp, PageDown: scroll   Esc: back";
            let room = screen.rows() - FIRST_ROW - 3;
            page.top = page.top.min(page.lines.len().saturating_sub(room));
            for (row, line) in page.lines.iter().skip(page.top).take(room).enumerate() {
                screen.write(FIRST_ROW + row, 0, line, Style::Plain);
            }
            page.title.clone()
        }
        View::Editor(line) => {
            let length = format!("{} of {MAX_COMMAND_LINE} bytes", line.text().len());
            screen.write(FIRST_ROW + 2, 0, &length, Style::Plain);
            let name = state.list.selected_row().map(|row| text::name(&row.generation));
            format!("Command line of {}, for this boot", name.unwrap_or_default())
        }
    };
    if let Some(input) = compose_input(state, &mut screen) {
        keys = keys_of_input(input);
    }
    screen.write(0, 0, &title, Style::Bold);
    screen.write(last, 0, keys, Style::Plain);
    screen
}

/// The line that is typed: a command line on top, others in the place of the status.
fn compose_input(state: &mut State, screen: &mut Screen) -> Option<Input> {
    let width = match &state.view {
        View::Editor(_) => screen.width(),
        _ => screen.width().min(INPUT_WIDTH),
    };
    let (input, window) = state.input(width)?;
    let prompt = prompt(input);
    let row = if input == Input::CommandLine { FIRST_ROW } else { screen.rows() - 2 };
    screen.write(row, 0, &" ".repeat(screen.width()), Style::Plain);
    screen.write(row, 0, prompt, Style::Plain);
    screen.write(row, prompt.len(), &window.text, Style::Plain);
    screen.set_cursor(row, prompt.len() + window.cursor);
    Some(input)
}

fn compose_list(state: &mut State, screen: &mut Screen) {
    let room = screen.rows() - OTHER_ROWS;
    let width = screen.width();
    let (top, shown) = state.list.scroll(room);
    let shown = shown.to_vec();
    let columns = Columns::new(state.list.rows(), width);
    screen.write(1, 0, &columns.header(), Style::Plain);
    if let Some(place) = place(state, top, shown.len()) {
        screen.write(0, width - place.len(), &place, Style::Plain);
    }
    let selected = state.list.selected();
    for (row_of_list, &index) in shown.iter().enumerate() {
        let place = FIRST_ROW + row_of_list;
        screen.write(place, 0, &row(state, &columns, index), Style::Plain);
        if Some(index) == selected {
            screen.write(place, 0, ">", Style::Plain);
            screen.highlight(place, Style::Reverse);
            screen.set_cursor(place, 0);
        }
    }
    if shown.is_empty() {
        screen.write(FIRST_ROW, 2, &nothing_matches(state), Style::Plain);
    }
    compose_messages(state, screen);
}

/// What of the list is on the screen, unless that is all of it.
fn place(state: &State, top: usize, shown: usize) -> Option<String> {
    let (visible, all) = (state.list.visible().len(), state.list.rows().len());
    if state.list.is_filtered() {
        Some(format!("{visible} of {all} match"))
    } else if shown < visible {
        Some(format!("{}-{} of {visible}", top + 1, top + shown))
    } else {
        None
    }
}

fn nothing_matches(state: &State) -> String {
    if !state.list.is_filtered() {
        return "Nothing was found to boot.".into();
    }
    match state.list.unread() {
        0 => "Nothing matches. Esc shows the whole list.".into(),
        unread => format!("Nothing matches yet; {unread} are still to be read."),
    }
}

fn row(state: &State, columns: &Columns, index: usize) -> String {
    let row = state.list.rows().get(index);
    row.map(|row| columns.row(index, row, state.list.folded(index))).unwrap_or_default()
}

/// The keys of the list, in one row: the most needed ones.
fn keys_of_list(state: &State, width: usize) -> &'static str {
    match (width, state.list.has_folds()) {
        (..70, _) => "Enter boot  s default  / filter  d details  ? help",
        (_, false) => "Enter boot  s default  / filter  e edit  d details  c prompt  ? help",
        (_, true) => "Enter boot  Right open [+]  s default  / filter  e edit  d details  ? help",
    }
}

fn keys_of_input(input: Input) -> &'static str {
    match input {
        Input::CommandLine => "Enter: boot with this command line   Esc: back without it",
        Input::Filter => "Up, Down: select   Enter: back to the list   Esc: the whole list",
        Input::Password => "Enter: try it   Esc: back without it",
    }
}

fn prompt(input: Input) -> &'static str {
    match input {
        Input::CommandLine => "",
        Input::Filter => "Filter: ",
        Input::Password => "Password: ",
    }
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
