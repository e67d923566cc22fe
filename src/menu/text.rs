//! What the menu says: rows of the list, details, help, as printable ASCII.
//!
//! Text from a card is shown through [`printable`] only: a menu label must not be able to send
//! escape sequences to somebody's terminal.

#![forbid(unsafe_code)]

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::borrow::Borrow;

use crate::{
    error::Coded,
    nixos::{Broken, DeviceTreeFile, Generation},
};

/// Width of plain lines, on a terminal of 80.
pub(crate) const LINE_WIDTH: usize = 79;

/// Where the columns of the list begin, behind the selection's mark: name, date, NixOS, kernel,
/// remark.
const COLUMNS: [usize; 5] = [2, 20, 38, 62, 72];

/// Where the values of a table of details begin.
const INDENT: usize = 16;

/// The character, or a question mark if it cannot be shown everywhere.
pub(crate) fn printable(character: char) -> char {
    if matches!(character, ' '..='~') { character } else { '?' }
}

/// `text` as printable ASCII.
pub(crate) fn ascii(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// What a generation is called in a sentence.
pub(crate) fn name(generation: &Generation) -> String {
    match (generation.number, &generation.specialisation) {
        (Some(number), Some(name)) => format!("generation {number} ({})", ascii(name)),
        (Some(number), None) => format!("generation {number}"),
        (None, _) => ascii(&generation.title),
    }
}

/// A reason as it is shown everywhere: `[E405] the entry names no kernel`.
pub(crate) fn reason(broken: &Broken) -> String {
    format!("[{}] {}", broken.code(), ascii(&broken.reason))
}

/// Whether generations have numbers, or are called by their place in the list.
pub(crate) fn are_numbered(generations: &[impl Borrow<Generation>]) -> bool {
    generations.iter().any(|generation| generation.borrow().number.is_some())
}

/// The names of the columns of [`row`].
pub(crate) fn header(generations: &[impl Borrow<Generation>], width: usize) -> String {
    let names = if are_numbered(generations) {
        ["Generation", "Built", "NixOS", "Kernel", ""]
    } else {
        ["Entry", "", "", "", ""]
    };
    in_columns(&names.map(ToOwned::to_owned), width)
}

/// A generation in one row of at most `width` columns, the first two blank.
pub(crate) fn row(generations: &[impl Borrow<Generation>], index: usize, width: usize) -> String {
    let Some(generation) = generations.get(index).map(Borrow::borrow) else { return String::new() };
    let name = match (generation.number, &generation.specialisation) {
        (Some(number), Some(specialisation)) => format!("{number} {}", ascii(specialisation)),
        (Some(number), None) => number.to_string(),
        (None, _) if are_numbered(generations) => ascii(&generation.title),
        (None, _) => format!("{}  {}", index + 1, ascii(&generation.title)),
    };
    // Other systems' titles mostly name the kernel; a bare file name tells nothing.
    let kernel = match &generation.kernel_version {
        Some(kernel) if !generation.title.contains(kernel) || generation.number.is_some() => {
            ascii(kernel)
        }
        _ => String::new(),
    };
    let remark = if generation.default { "default".to_owned() } else { String::new() };
    let known = |text: &Option<String>| text.as_deref().map(ascii).unwrap_or_default();
    let cells = match &generation.broken {
        Some(broken) => {
            [name, format!("broken: {}", reason(broken)), String::new(), String::new(), remark]
        }
        None => [name, known(&generation.date), known(&generation.version), kernel, remark],
    };
    in_columns(&cells, width)
}

/// Texts at [`COLUMNS`]; an empty one leaves its room to the one before it.
fn in_columns(cells: &[String; 5], width: usize) -> String {
    let mut text = String::new();
    let used: Vec<_> =
        COLUMNS.into_iter().zip(cells).filter(|(_, cell)| !cell.is_empty()).collect();
    for (index, &(start, cell)) in used.iter().enumerate() {
        let end = used.get(index + 1).map_or(width.max(start) + 1, |&(next, _)| next);
        text.extend(core::iter::repeat_n(' ', start - text.len()));
        text.push_str(&shortened(cell, end - start - 1));
    }
    text.truncate(width);
    text
}

/// ASCII `text` in at most `width` columns.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let mut short = text[..width.saturating_sub(2)].to_owned();
    short.push_str(&".."[..width.min(2)]);
    short
}

/// ASCII `text` in lines of at most `width` columns, broken at blanks where there are some.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        // A blank that falls behind the line does not count into it.
        let blank = rest[..=width].rfind(' ').filter(|&blank| blank > 0);
        let (line, behind) = match blank {
            Some(blank) => (&rest[..blank], &rest[blank + 1..]),
            None => rest.split_at(width),
        };
        lines.push(line.to_owned());
        rest = behind;
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// All that is known of a generation, in lines of at most `width` columns.
pub(crate) fn details(generation: &Generation, width: usize) -> Vec<String> {
    let files = &generation.files;
    let mut table = Table { width, lines: Vec::new() };
    if let Some(broken) = &generation.broken {
        table.row("Broken", &reason(broken));
    }
    table.row("Identity", &generation.id);
    table.row("Source", &format!("{}, entry {}", generation.source, generation.name));
    table.row("Title", &generation.title);
    table.optional("Built", generation.date.as_deref());
    table.optional("NixOS", generation.version.as_deref());
    table.optional("Linux", generation.kernel_version.as_deref());
    table.row("Kernel", &files.kernel);
    for initrd in &files.initrds {
        table.row("Initrd", initrd);
    }
    match &files.device_tree {
        DeviceTreeFile::FromFirmware => table.row("Device tree", "the one handed to the loader"),
        DeviceTreeFile::File(file) => table.row("Device tree", file),
        DeviceTreeFile::Directory(directory) => {
            table.row("Device tree", &format!("this board's in {directory}"));
        }
    }
    table.row("Command line", &files.command_line);
    table.lines
}

/// Names and values, values wrapped beside their names.
struct Table {
    width: usize,
    lines: Vec<String>,
}

impl Table {
    fn row(&mut self, name: &str, value: &str) {
        let width = self.width.saturating_sub(INDENT);
        for (index, line) in wrapped(&ascii(value), width).iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.lines.push(format!("  {name:0$}{line}", INDENT - 2));
        }
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.row(name, value);
        }
    }
}

/// The keys of the list, in one row.
pub(crate) const KEYS: &str =
    "Enter boot  e edit  d details  r reset  p power off  c prompt  ? help";

/// The keys of a page.
pub(crate) const PAGE_KEYS: &str = "Up, Down, PageUp, PageDown: scroll   Esc: back";

/// The keys of the command line's editor.
pub(crate) const EDITOR_KEYS: &str = "Enter: boot with this command line   Esc: back without it";

/// What every key does.
pub(crate) fn help(numbered: bool, width: usize) -> Vec<String> {
    let digits = if numbered {
        "select a generation by its number"
    } else {
        "select an entry by its place in the list"
    };
    let mut table = Table { width, lines: Vec::new() };
    for (keys, meaning) in [
        ("Enter", "boot what is selected"),
        ("Up Down k j", "select; PageUp, PageDown, Home and End go further"),
        ("digits", digits),
        ("e", "edit the kernel's command line for this boot"),
        ("d", "details of what is selected"),
        ("m", "all messages: what was left out of the list, and why boots failed"),
        ("c", "command prompt"),
        ("r", "reset the board, after a second; any key cancels"),
        ("p", "switch it off, after three seconds; any key cancels"),
        ("Esc", "stop the countdown; leave a page or the editor"),
        ("Ctrl-L", "draw the screen again"),
        ("", ""),
        (
            "Countdown",
            "Any key stops it. After five minutes without a key it starts again, so \
          that a stray byte on the line cannot keep the board down.",
        ),
        (
            "Editor",
            "Left, Right, Home, End, Backspace, Delete; Ctrl-A, -E, -B, -F, -D, -K, -U, \
          -W and Alt-B, -F, -D as in a shell.",
        ),
    ] {
        table.row(keys, meaning);
    }
    table.lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: [&str; 5]) -> [String; 5] {
        texts.map(ToOwned::to_owned)
    }

    #[test]
    fn columns_are_where_they_are() {
        assert_eq!(
            in_columns(&cells(["42", "2026-11-22 16:07", "25.11", "6.12.63", "default"]), 79),
            "  42                2026-11-22 16:07  25.11                   6.12.63   default"
        );
    }

    #[test]
    fn an_empty_cell_leaves_its_room_to_the_one_before_it() {
        let long = "a".repeat(100);
        let row = in_columns(&cells([&long, "", "", "6.12.63", ""]), 79);
        assert_eq!(row.find(".. 6.12.63"), Some(59));
    }

    #[test]
    fn no_row_is_wider_than_the_screen() {
        let long = "a".repeat(100);
        for width in 1..100 {
            assert!(in_columns(&cells([&long; 5]), width).len() <= width);
            assert!(shortened(&long, width).len() <= width);
        }
    }

    #[test]
    fn lines_break_at_blanks_and_within_long_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped(" abcd", 3), [" ab", "cd"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn what_cannot_be_shown_is_a_question_mark() {
        assert_eq!(ascii("caf\u{e9}\x1b[2J"), "caf??[2J");
    }
}
