//! Text to read: details of a generation, messages, what keys and marks mean.

#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use core::num::NonZeroU8;

use super::{
    Row, columns,
    keys::Key,
    text::{ascii, name, reason, wrapped},
};
use crate::{nixos::DeviceTreeFile, state::Standing};

/// Width of pages; every terminal that is drawn on is as wide or cuts them off.
const WIDTH: usize = 78;

/// Where the values of a table begin.
const INDENT: usize = 16;

/// Columns before what is told of memory.
const PLAN_INDENT: usize = 4;

/// Text to read.
pub(super) struct Page {
    pub kind: Kind,
    pub title: String,
    pub lines: Vec<String>,
    /// First line that is on the screen.
    pub top: usize,
    /// Whether it lacks where in memory things go ([`Page::tell_plan`]).
    pub wants_plan: bool,
}

/// What a page is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The selected row.
    Details,
    Messages,
    Help,
}

/// What a key did to a page.
pub(super) enum Read {
    Handled,
    Left,
    Unbound,
}

/// What of the menu its help depends on.
pub(super) struct Facts {
    /// Whether generations have numbers.
    pub numbered: bool,
    /// Whether some keys are locked.
    pub locked: bool,
}

impl Page {
    /// All that is known of a generation.
    pub(super) fn details(row: &Row) -> Self {
        let title = format!("Details of {}", name(&row.generation));
        let wants_plan = !row.generation.unread && row.generation.broken.is_none();
        Self { kind: Kind::Details, title, lines: details(row), top: 0, wants_plan }
    }

    /// Adds where in memory things go, or why they go nowhere.
    pub(super) fn tell_plan(&mut self, text: &str) {
        self.wants_plan = false;
        self.lines.extend([String::new(), "  Memory".to_string()]);
        let lines = text.lines().flat_map(|line| {
            let (indent, line) = line.split_at(line.len() - line.trim_start().len());
            let width = WIDTH - PLAN_INDENT - indent.len().min(PLAN_INDENT);
            let indent = " ".repeat(WIDTH - width);
            wrapped(&ascii(line), width).into_iter().map(move |line| format!("{indent}{line}"))
        });
        self.lines.extend(lines);
    }

    pub(super) fn messages(messages: &[String]) -> Self {
        let lines = messages.iter().flat_map(|text| wrapped(text, WIDTH)).collect();
        let title = "Messages".to_string();
        Self { kind: Kind::Messages, title, lines, top: 0, wants_plan: false }
    }

    /// What every key does and every remark means.
    pub(super) fn help(facts: &Facts) -> Self {
        let title = "Keys".to_string();
        Self { kind: Kind::Help, title, lines: help(facts), top: 0, wants_plan: false }
    }

    pub(super) fn key(&mut self, key: Key) -> Read {
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
                return Read::Left;
            }
            Key::Character('q' | 'd' | 'm' | '?' | 'h') => return Read::Left,
            _ => return Read::Unbound,
        }
        Read::Handled
    }
}

fn details(row: &Row) -> Vec<String> {
    let generation = &row.generation;
    let files = &generation.files;
    let mut table = Table::default();
    if let Some(broken) = &generation.broken {
        table.row("Broken", &reason(broken));
    }
    table.row("State", &state(row));
    table.row("Identity", &generation.id);
    table.row("Source", &format!("{}, entry {}", generation.source, generation.name));
    table.optional("Profile", generation.profile.as_deref());
    table.optional("Volume", row.volume.as_deref());
    table.row("Title", &generation.title);
    table.optional("Built", generation.date.as_deref());
    table.optional("NixOS", generation.version.as_deref());
    table.optional("Linux", generation.kernel_version.as_deref());
    if generation.unread {
        return table.lines;
    }
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
    for overlay in &files.overlays {
        table.row("Overlay", overlay);
    }
    table.row("Command line", &files.command_line);
    table.lines
}

/// How a generation stands, in the words of the list and some more.
fn state(row: &Row) -> String {
    let generation = &row.generation;
    let standing = match (row.standing, generation.tries.map(NonZeroU8::get)) {
        _ if generation.unread => "not read yet".to_string(),
        (Some(standing), _) if standing.has_failed() => {
            "failed: it came up in none of its tries; s gives it all of them again".into()
        }
        (Some(Standing::Trying { left, done }), _) => {
            format!("on trial: {} is the next", columns::next_try(left, done))
        }
        (Some(Standing::Good), _) => "good: it has come up".into(),
        (None, Some(1)) => "new, with one try".into(),
        (None, Some(tries)) => format!("new, with {tries} tries"),
        (None, None) => "its boots are not counted".into(),
    };
    [
        (generation.default, "default; "),
        (row.last_booted, "last booted; "),
        (row.rolled_back, "rolled back; "),
    ]
    .into_iter()
    .filter_map(|(applies, word)| applies.then_some(word))
    .chain([standing.as_str()])
    .collect()
}

/// Names and values, values wrapped beside their names.
#[derive(Default)]
struct Table {
    lines: Vec<String>,
}

impl Table {
    fn row(&mut self, name: &str, value: &str) {
        for (index, line) in wrapped(&ascii(value), WIDTH - INDENT).iter().enumerate() {
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

fn help(facts: &Facts) -> Vec<String> {
    let digits = if facts.numbered {
        "select a generation by its number"
    } else {
        "select an entry by its place in the list"
    };
    let mut table = Table::default();
    for (keys, meaning) in [
        ("Enter o", "boot what is selected, this once: the default stays what it is"),
        ("s", "make it the default, for this boot and those to come"),
        ("Up Down k j", "select; PageUp, PageDown, Home and End go further"),
        ("digits", digits),
        ("Right +", "open [+2]: show the two specialisations of a generation"),
        ("Left -", "close it again"),
        ("/", "filter by number, date, version, name; Esc shows all again"),
        ("d", "details of what is selected"),
        ("m", "all messages: what was left out of the list, and why boots failed"),
        ("e", "edit the kernel's command line for this boot"),
        ("c", "command prompt"),
        ("r", "reset the board, after a second; any key cancels"),
        ("p", "switch it off, after three seconds; any key cancels"),
        ("Esc", "stop the countdown; leave a page or the editor"),
        ("Ctrl-L", "draw the screen again"),
    ] {
        table.row(keys, meaning);
    }
    if facts.locked {
        table.row("Locked", "e, c and s are: what they change outlasts this menu");
    }
    table.row("", "");
    for (word, meaning) in [
        ("default", "boots when nobody chooses"),
        ("try 2 of 3", "has not come up yet; so many tries until something else boots"),
        ("failed", "did not come up in any of its tries; s gives it all of them again"),
        ("rolled back", "has failed, and something else boots in its place"),
        ("last booted", "is what was booted last"),
        ("broken", "cannot be booted, and why; the code is in docs/error-codes.md"),
        ("not read yet", "is read when it is selected or on the screen"),
    ] {
        table.row(word, meaning);
    }
    table.row("", "");
    for (what, text) in [
        (
            "What is kept",
            "Enter writes nothing but the try that a boot on trial takes, and that \
             a boot-once is done with. s writes the default.",
        ),
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
        table.row(what, text);
    }
    table.lines
}
