//! The serial menu: a pure state machine and what it sends to the terminal.
//!
//! The caller owns line and clock. In a loop it gives every received byte to [`Menu::feed`], lets
//! time pass with [`Menu::tick`] and sends what [`Menu::draw`] returns; it should read all that has
//! arrived before it draws, and go on reading while it sends.
//!
//! * [`keys`] turns bytes into keys, [`state`] does what keys say to the [`list`], [`display`] shows
//!   it: as a log until somebody is there, as a screen where the terminal answers, as lines where
//!   not. `docs/menu.md` is what a user reads.
//! * The list may change at any time ([`Menu::update`]); generations are read while they are looked
//!   at ([`Menu::wanted`]).
//! * A line that babbles must neither boot another entry nor keep the board down. Enter counts only
//!   if silence follows it, and only the second time if there were stray bytes; [`noise`] recognises
//!   what no person types; a stopped [`countdown`] starts again when the keys end, and boots the
//!   default, never the selection.
//! * What outlasts the menu may need a password ([`lock`], [`password`]).
//! * The line editor ([`mod@line`]) and [`password`] are the rescue prompt's, too.

#![forbid(unsafe_code)]

mod columns;
mod countdown;
mod display;
mod echo;
pub mod keys;
pub mod line;
mod list;
pub(crate) mod lock;
pub(crate) mod noise;
mod page;
pub mod password;
pub mod screen;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use self::{
    display::Display,
    echo::{Arrived, Echo},
    keys::{Decoder, Event, Key},
    noise::Noise,
    state::{Handled, State},
};
use crate::{
    nixos::{Generation, Settings, Timeout},
    state::Standing,
};

/// After this long without a key the next one draws the screen again: it may be another terminal.
const NEW_TERMINAL: Duration = Duration::from_secs(30);

/// A generation in the list, and what the state record says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What can be booted. The one with `default` set is what boots when nobody chooses.
    pub generation: Generation,
    /// What a user calls the volume that holds it: "SD card (uSDHC2) partition 1".
    pub volume: Option<String>,
    /// How it stands, if its boots are or were counted.
    pub standing: Option<Standing>,
    /// Whether it is what was booted last.
    pub last_booted: bool,
    /// Whether something else boots because its tries have failed.
    pub rolled_back: bool,
}

impl Row {
    /// One of which the state record says nothing.
    pub fn new(generation: Generation) -> Self {
        Self { generation, volume: None, standing: None, last_booted: false, rolled_back: false }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Stay,
    /// Boot.
    Boot(Choice),
    /// Make this row, an index into the rows as last given, the default. The menu goes on: give it
    /// the new rows ([`Menu::update`]) and what came of it ([`Menu::say`]).
    SetDefault(usize),
    /// Reset the board.
    Reset,
    /// Switch it off.
    PowerOff,
    /// Open the rescue prompt.
    Rescue,
}

/// What to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index into the rows as last given. It may be of a row that is not read yet.
    pub index: usize,
    /// The command line, if it was edited.
    pub command_line: Option<String>,
    /// Whether a person chose it; else the countdown did.
    pub by_person: bool,
}

/// The menu.
pub struct Menu {
    state: State,
    display: Display,
    decoder: Decoder,
    noise: Noise,
    echo: Echo,
    /// No menu unless a key is held.
    silent: bool,
    last_key: Duration,
    /// What ended the menu.
    outcome: Outcome,
}

impl Menu {
    /// A menu of `rows`, in their order. `messages` are shown with it: warnings, and why the
    /// candidate before was not booted. The countdown begins at `now`, a time since any fixed
    /// moment; it does not if no generation is both default and unbroken.
    ///
    /// A generation that turned out broken while it was loaded can still be tried by a person; one
    /// that its source calls incomplete or damaged cannot.
    pub fn new(rows: Vec<Row>, settings: &Settings, messages: &[String], now: Duration) -> Self {
        let state = State::new(rows, settings, messages, now);
        Self {
            silent: settings.timeout == Timeout::Immediate && state.list.default().is_some(),
            state,
            display: Display::new(),
            decoder: Decoder::default(),
            noise: Noise::default(),
            echo: Echo::default(),
            last_key: now,
            outcome: Outcome::Stay,
        }
    }

    /// Takes in a new list: more is known now, or another generation is the default. What is
    /// selected, opened or edited stays on its generation; only if that is gone, it is given up.
    pub fn update(&mut self, rows: Vec<Row>) {
        self.state.update(rows);
        if self.display.is_log() {
            // Enter boots what the log says that it boots.
            self.state.list.select_default();
        }
    }

    /// Index of a row that is not read yet and that somebody is waiting to see. Read it when no key
    /// waits, and give the menu the new rows; where it cannot be read, mark it as broken.
    pub fn wanted(&self) -> Option<usize> {
        if self.silent || self.display.is_log() {
            return None;
        }
        self.state.list.wanted()
    }

    /// Index of a row whose details are open and that lacks where in memory it would go. Ask before
    /// each [`Menu::draw`], and answer with [`Menu::tell_plan`].
    pub fn wanted_plan(&self) -> Option<usize> {
        self.state.wanted_plan()
    }

    /// Answers [`Menu::wanted_plan`]: a map, or why there is none, in lines.
    pub fn tell_plan(&mut self, text: &str) {
        self.state.tell_plan(text);
    }

    /// Says `text` until the next key.
    pub fn say(&mut self, text: &str) {
        self.state.say(text);
    }

    /// Takes in a byte that arrived at `now`.
    pub fn feed(&mut self, byte: u8, now: Duration) {
        match self.echo.arrived(byte) {
            Arrived::Key => {}
            Arrived::Proof => return self.disturbed(noise::PROOF, now),
            Arrived::Echo => return,
        }
        for event in self.decoder.push(byte, now).into_iter().flatten() {
            self.event(event, now);
        }
    }

    /// Lets time pass, up to `now`. Call it every 10 ms or so: even Enter waits for silence.
    pub fn tick(&mut self, now: Duration) -> Outcome {
        if let Some(event) = self.decoder.poll(now) {
            self.event(event, now);
        }
        self.state.babbling = self.noise.is_babbling(now);
        if self.outcome == Outcome::Stay {
            let outcome = self.state.tick(now);
            if matches!(outcome, Outcome::SetDefault(_)) {
                return outcome;
            }
            self.outcome = outcome;
            if self.outcome != Outcome::Stay && !self.silent {
                self.display.leave(&self.state, &self.outcome);
            }
        }
        self.outcome.clone()
    }

    /// The bytes that bring the terminal up to date, in the order in which they must be sent. When
    /// [`Menu::tick`] has given an outcome, once more: they leave the terminal in order.
    pub fn draw(&mut self, now: Duration) -> Vec<u8> {
        if self.silent {
            return Vec::new();
        }
        if self.outcome != Outcome::Stay {
            return self.display.take();
        }
        let bytes = self.display.draw(&mut self.state, now);
        self.echo.sent(&bytes);
        bytes
    }

    fn event(&mut self, event: Event, now: Duration) {
        match event {
            Event::CursorAt { row, column } => self.display.answered(row, column),
            Event::Garbage => {
                self.state.doubt(now);
                self.disturbed(noise::GARBAGE, now);
            }
            Event::Unbound => self.disturbed(noise::UNBOUND, now),
            Event::Key(_) if self.noise.is_babbling(now) => self.disturbed(0, now),
            Event::Key(key) => self.key(key, now),
        }
    }

    fn key(&mut self, key: Key, now: Duration) {
        if self.silent {
            // The key that is held says no more than that somebody wants the menu.
            self.silent = false;
            self.state.countdown.stop(now);
            self.display.open();
            return;
        }
        if key == Key::Enter && self.display.is_log() {
            self.state.key(key, now);
            return;
        }
        let first = self.display.is_log();
        self.display.open();
        if key == Key::Control('l') || now.saturating_sub(self.last_key) >= NEW_TERMINAL {
            self.display.redraw();
        }
        self.last_key = now;
        if first {
            self.state.first_key(key, now);
        } else if self.state.key(key, now) == Handled::No {
            self.disturbed(noise::UNBOUND, now);
        }
    }

    fn disturbed(&mut self, weight: u32, now: Duration) {
        self.state.disturbed();
        let was_babbling = self.noise.is_babbling(now);
        self.noise.add(weight, now);
        if !was_babbling && self.noise.is_babbling(now) {
            self.state.babble_begins(now);
        }
    }
}
