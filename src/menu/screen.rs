//! A screen of characters, and the fewest bytes that bring a terminal from one to the next.
//!
//! Only sequences that every VT100 descendant knows: CUP, EL, ED, SGR 0, 1 and 7 (ECMA-48). The last
//! column stays empty, because terminals differ in where the cursor is after it was written.

#![forbid(unsafe_code)]

use alloc::{string::String, vec, vec::Vec};
use core::fmt::{self, Write};

/// Rows that are used at most.
pub const MAX_ROWS: usize = 24;

/// Columns that are used at most.
pub const MAX_COLUMNS: usize = 80;

/// Unchanged characters between two changes that are sent again: a jump over them costs as much.
const CHEAPER_THAN_A_JUMP: usize = 6;

/// Blanks that are erased rather than sent.
const CHEAPER_THAN_ERASING: usize = 3;

/// Rows of a tall terminal that are scrolled away.
const MAX_SCROLLED: usize = 200;

/// How a character looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As the terminal has it.
    #[default]
    Plain,
    /// Bold or bright.
    Bold,
    /// Foreground and background exchanged.
    Reverse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    character: u8,
    style: Style,
}

const BLANK: Cell = Cell { character: b' ', style: Style::Plain };

/// What is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    rows: usize,
    columns: usize,
    cells: Vec<Cell>,
    cursor: (usize, usize),
}

impl Screen {
    /// An empty one of at most [`MAX_ROWS`] and [`MAX_COLUMNS`].
    pub fn new(rows: usize, columns: usize) -> Self {
        let rows = rows.clamp(1, MAX_ROWS);
        let columns = columns.clamp(2, MAX_COLUMNS);
        Self { rows, columns, cells: vec![BLANK; rows * columns], cursor: (0, 0) }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns that can be written.
    pub fn width(&self) -> usize {
        self.columns - 1
    }

    /// Writes printable ASCII into a row; what is beyond the screen is cut off.
    pub fn write(&mut self, row: usize, column: usize, text: &str, style: Style) {
        if row >= self.rows {
            return;
        }
        let places = (row * self.columns + column)..(row * self.columns + self.width());
        for (place, character) in places.zip(text.bytes()) {
            debug_assert!((b' '..=b'~').contains(&character), "only printable ASCII is shown");
            self.cells[place] = Cell { character, style };
        }
    }

    /// Gives a whole row a style.
    pub fn highlight(&mut self, row: usize, style: Style) {
        let (start, width) = (row * self.columns, self.width());
        for cell in self.cells.iter_mut().skip(start).take(width) {
            cell.style = style;
        }
    }

    /// Puts the cursor somewhere on the screen.
    pub fn set_cursor(&mut self, row: usize, column: usize) {
        self.cursor = (row.min(self.rows - 1), column.min(self.columns - 1));
    }

    /// Row and column of the cursor, counted from 0.
    pub fn cursor(&self) -> (usize, usize) {
        self.cursor
    }

    fn row(&self, row: usize) -> &[Cell] {
        &self.cells[row * self.columns..][..self.columns]
    }
}

/// The characters, rows separated by line feeds, without the blanks at their ends.
impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..self.rows {
            let text: String =
                self.row(row).iter().map(|cell| char::from(cell.character)).collect();
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// What a terminal shows, as far as it was told.
#[derive(Debug)]
pub struct Renderer {
    shown: Screen,
    cursor: Option<(usize, usize)>,
    style: Style,
}

impl Renderer {
    /// Takes over a terminal of `rows` and `columns`, of which it uses the first. Whatever is on it
    /// is scrolled away, not overwritten: it may be the only copy of why the boot failed.
    pub fn new(rows: usize, columns: usize, out: &mut Vec<u8>) -> Self {
        let mut renderer = Self::unknown(rows, columns);
        let rows = rows.clamp(1, MAX_SCROLLED);
        renderer.jump(rows - 1, 0, out);
        out.extend(core::iter::repeat_n(b'\n', rows));
        renderer.clear(out);
        renderer
    }

    /// Rows and columns in use.
    pub fn size(&self) -> (usize, usize) {
        (self.shown.rows, self.shown.columns)
    }

    /// Forgets what the terminal shows and starts again with an empty one.
    pub fn restart(&mut self, rows: usize, columns: usize, out: &mut Vec<u8>) {
        *self = Self::unknown(rows, columns);
        self.clear(out);
    }

    /// Sends what makes the terminal show `want`, which has the renderer's size.
    pub fn draw(&mut self, want: &Screen, out: &mut Vec<u8>) {
        debug_assert_eq!((want.rows, want.columns), self.size());
        for row in 0..want.rows.min(self.shown.rows) {
            if want.row(row) != self.shown.row(row) {
                self.draw_row(row, want.row(row), out);
            }
        }
        // Whoever writes next, a crash included, finds the terminal's own style.
        self.set_style(Style::Plain, out);
        self.move_to(want.cursor.0, want.cursor.1, out);
        self.shown.clone_from(want);
    }

    /// Leaves the terminal in order, the cursor on an empty line below the screen.
    pub fn leave(&mut self, out: &mut Vec<u8>) {
        self.set_style(Style::Plain, out);
        self.move_to(self.shown.rows - 1, 0, out);
        out.extend_from_slice(b"\r\n");
        self.cursor = None;
    }

    fn unknown(rows: usize, columns: usize) -> Self {
        Self { shown: Screen::new(rows, columns), cursor: None, style: Style::Plain }
    }

    fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[m\x1b[H\x1b[2J");
        self.cursor = Some((0, 0));
    }

    fn draw_row(&mut self, row: usize, want: &[Cell], out: &mut Vec<u8>) {
        let used = want.iter().rposition(|&cell| cell != BLANK).map_or(0, |last| last + 1);
        let was_used =
            self.shown.row(row).iter().rposition(|&cell| cell != BLANK).map_or(0, |last| last + 1);
        let erases = was_used > used + CHEAPER_THAN_ERASING;
        let end = if erases { used } else { used.max(was_used) };
        let mut column = 0;
        while let Some((start, stop)) = self.next_change(row, want, column, end) {
            self.move_to(row, start, out);
            for &cell in &want[start..stop] {
                self.set_style(cell.style, out);
                out.push(cell.character);
            }
            self.cursor = Some((row, stop));
            column = stop;
        }
        if erases {
            self.move_to(row, used, out);
            self.set_style(Style::Plain, out);
            out.extend_from_slice(b"\x1b[K");
        }
    }

    /// The next columns from `from` to `end` that are worth sending in one go.
    fn next_change(
        &self,
        row: usize,
        want: &[Cell],
        from: usize,
        end: usize,
    ) -> Option<(usize, usize)> {
        let shown = self.shown.row(row);
        let differs = |&column: &usize| want[column] != shown[column];
        let start = (from..end).find(differs)?;
        let mut stop = start + 1;
        while let Some(next) = (stop..end.min(stop + CHEAPER_THAN_A_JUMP)).find(differs) {
            stop = next + 1;
        }
        Some((start, stop))
    }

    fn move_to(&mut self, row: usize, column: usize, out: &mut Vec<u8>) {
        match self.cursor {
            Some(at) if at == (row, column) => return,
            Some((at_row, at)) if at_row == row && column == 0 && at > 0 => out.push(b'\r'),
            Some((at_row, at)) if at_row == row && column < at && at - column <= 4 => {
                out.extend(core::iter::repeat_n(0x08, at - column));
            }
            Some((at_row, _)) if at_row + 1 == row && column == 0 => out.extend_from_slice(b"\r\n"),
            _ => self.jump(row, column, out),
        }
        self.cursor = Some((row, column));
    }

    fn jump(&mut self, row: usize, column: usize, out: &mut Vec<u8>) {
        let mut sequence = String::new();
        let written = match column {
            0 => write!(sequence, "\x1b[{}H", row + 1),
            _ => write!(sequence, "\x1b[{};{}H", row + 1, column + 1),
        };
        debug_assert!(written.is_ok(), "a string takes any text");
        out.extend_from_slice(sequence.as_bytes());
    }

    fn set_style(&mut self, style: Style, out: &mut Vec<u8>) {
        if style == self.style {
            return;
        }
        out.extend_from_slice(match (self.style, style) {
            (_, Style::Plain) => b"\x1b[m",
            (Style::Plain, Style::Bold) => b"\x1b[1m",
            (Style::Plain, Style::Reverse) => b"\x1b[7m",
            (_, Style::Bold) => b"\x1b[;1m",
            (_, Style::Reverse) => b"\x1b[;7m",
        });
        self.style = style;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn drawn(renderer: &mut Renderer, screen: &Screen) -> Vec<u8> {
        let mut out = Vec::new();
        renderer.draw(screen, &mut out);
        out
    }

    fn new_renderer(rows: usize, columns: usize) -> (Renderer, Vec<u8>) {
        let mut out = Vec::new();
        (Renderer::new(rows, columns, &mut out), out)
    }

    #[test]
    fn a_changed_digit_costs_a_digit_and_the_way_to_it() {
        let (mut renderer, _) = new_renderer(24, 80);
        let mut screen = Screen::new(24, 80);
        screen.write(22, 30, "5", Style::Plain);
        screen.set_cursor(4, 0);
        drawn(&mut renderer, &screen);
        screen.write(22, 30, "4", Style::Plain);
        assert_eq!(drawn(&mut renderer, &screen), b"\x1b[23;31H4\x1b[5H");
    }

    #[test]
    fn nothing_new_costs_nothing() {
        let (mut renderer, _) = new_renderer(24, 80);
        let mut screen = Screen::new(24, 80);
        screen.write(3, 3, "text", Style::Reverse);
        drawn(&mut renderer, &screen);
        assert_eq!(drawn(&mut renderer, &screen), b"");
    }

    #[test]
    fn the_end_of_a_row_is_erased_not_overwritten() {
        let (mut renderer, _) = new_renderer(24, 80);
        let mut screen = Screen::new(24, 80);
        screen.write(0, 0, "a long line of text", Style::Plain);
        drawn(&mut renderer, &screen);
        let mut shorter = Screen::new(24, 80);
        shorter.write(0, 0, "a", Style::Plain);
        assert_eq!(drawn(&mut renderer, &shorter), b"\x1b[1;2H\x1b[K\r");
    }

    #[test]
    fn what_was_on_the_terminal_is_scrolled_away_not_lost() {
        let mut terminal = vt100::Parser::new(24, 80, 100);
        terminal.process(b"why it failed\r\n");
        let (_, out) = new_renderer(24, 80);
        terminal.process(&out);
        assert_eq!(terminal.screen().contents(), "");
        terminal.screen_mut().set_scrollback(24);
        assert!(terminal.screen().contents().contains("why it failed"));
    }

    #[test]
    fn text_beyond_the_screen_is_cut_off() {
        let mut screen = Screen::new(2, 5);
        screen.write(1, 2, "abcdef", Style::Plain);
        screen.write(7, 0, "x", Style::Plain);
        assert_eq!(screen.to_string(), "\n  ab\n");
    }

    type Write = (usize, usize, std::string::String, u8);

    fn writes() -> impl Strategy<Value = Vec<Write>> {
        proptest::collection::vec((0..10_usize, 0..40_usize, "[a-c ]{0,40}", 0..3_u8), 0..6)
    }

    proptest! {
        #[test]
        fn a_terminal_shows_each_screen_that_was_drawn(
            screens in proptest::collection::vec((writes(), 0..10_usize, 0..39_usize), 1..8)
        ) {
            let mut terminal = vt100::Parser::new(10, 40, 0);
            let (mut renderer, out) = new_renderer(10, 40);
            terminal.process(&out);
            for (texts, row, column) in screens {
                let mut screen = Screen::new(10, 40);
                for (row, column, text, style) in texts {
                    let style = [Style::Plain, Style::Bold, Style::Reverse][usize::from(style)];
                    screen.write(row, column, &text, style);
                }
                screen.set_cursor(row, column);
                terminal.process(&drawn(&mut renderer, &screen));
                same(&terminal, &screen)?;
            }
        }
    }

    fn same(terminal: &vt100::Parser, screen: &Screen) -> Result<(), TestCaseError> {
        for row in 0..screen.rows {
            for column in 0..screen.columns {
                let place = (u16::try_from(row).unwrap(), u16::try_from(column).unwrap());
                let shown = terminal.screen().cell(place.0, place.1).expect("on the screen");
                let wanted = screen.row(row)[column];
                let character = shown.contents().bytes().next().unwrap_or(b' ');
                prop_assert_eq!(character, wanted.character, "at {:?}", place);
                prop_assert_eq!(shown.inverse(), wanted.style == Style::Reverse, "at {:?}", place);
                prop_assert_eq!(shown.bold(), wanted.style == Style::Bold, "at {:?}", place);
            }
        }
        let (row, column) = terminal.screen().cursor_position();
        prop_assert_eq!((usize::from(row), usize::from(column)), screen.cursor);
        Ok(())
    }
}
