//! From the first device to a kernel that is ready, or to the rescue prompt.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{
    catalogue::{Catalogue, Problem},
    load::{Facts, HandOver, Job, LoadMemory, load},
    prompt,
};
use crate::{
    block::{self, SharedDevice},
    devicetree::chosen::Boot,
    error::Coded,
    menu::{self, Choice, Menu, Row},
    nixos::{Broken, Timeout},
};

/// The world as the boot policy sees it.
pub trait Machine: LoadMemory {
    /// Brings up the device that is searched as number `index`, anew if it was up already; `None`
    /// beyond the last.
    fn open_device(&mut self, index: usize) -> Option<Result<SharedDevice, block::Error>>;
    /// Time since a fixed moment.
    fn now(&self) -> Duration;
    /// The next byte that was typed, if there is one. Called in every wait: a place to service a
    /// watchdog.
    fn read_byte(&mut self) -> Option<u8>;
    /// Sends `bytes` to the terminal.
    fn write(&mut self, bytes: &[u8]);
}

/// What is to be done in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Enter this kernel.
    Kernel(HandOver),
    /// Reset the board.
    Reset,
    /// Switch it off.
    PowerOff,
}

/// What one device holds.
pub struct Found {
    /// What can be booted from it.
    pub catalogue: Catalogue,
}

/// How a device's turn ended.
enum Turn {
    /// With what is to be done.
    Done(Outcome),
    /// Nothing on it boots.
    NextDevice,
    /// Somebody wants the rescue prompt.
    Prompt,
}

/// Boots: device after device, and on each one generation after the other. Ends in the rescue
/// prompt if nothing can be loaded, never in a reset that nobody asked for.
pub fn run(machine: &mut impl Machine, facts: &Facts<'_>) -> Outcome {
    loop {
        let mut seen = Vec::new();
        let turn = try_all(machine, facts, &mut seen);
        if let Turn::Done(outcome) = turn {
            return outcome;
        }
        if let Some(outcome) = prompt::run(machine, &seen, matches!(turn, Turn::Prompt)) {
            return outcome;
        }
    }
}

/// What came along with the boot image, then device after device, until one's turn ends with more
/// than "nothing boots".
fn try_all(machine: &mut impl Machine, facts: &Facts<'_>, seen: &mut Vec<Found>) -> Turn {
    if let Some(recovery) = &facts.recovery {
        match try_catalogue(machine, facts, recovery.catalogue(), seen) {
            Turn::NextDevice => {}
            turn => return turn,
        }
    }
    let mut index = 0;
    while let Some(device) = machine.open_device(index) {
        match try_device(machine, facts, device, seen) {
            Turn::NextDevice => index += 1,
            turn => return turn,
        }
    }
    Turn::NextDevice
}

/// Boots from one device; what was found on it is added to `seen`.
fn try_device(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    device: Result<SharedDevice, block::Error>,
    seen: &mut Vec<Found>,
) -> Turn {
    let device = match device {
        Ok(device) => device,
        Err(error) => {
            log::warn!("[{}] {error}", error.code());
            return Turn::NextDevice;
        }
    };
    try_catalogue(machine, facts, Catalogue::survey(&device), seen)
}

/// Boots what `catalogue` lists, which is added to `seen`.
fn try_catalogue(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    mut catalogue: Catalogue,
    seen: &mut Vec<Found>,
) -> Turn {
    let turn = boot_from(machine, facts, &mut catalogue);
    seen.push(Found { catalogue });
    turn
}

fn boot_from(machine: &mut impl Machine, facts: &Facts<'_>, catalogue: &mut Catalogue) -> Turn {
    let settings = catalogue.settings(catalogue.default_entry());
    let nobody_looks = settings.timeout == Timeout::Immediate;
    if nobody_looks || catalogue.default_entry().is_none() {
        catalogue.problems.iter().for_each(|problem| log::warn!("{problem}"));
    }
    let mut messages: Vec<String> = catalogue.problems.iter().map(Problem::to_string).collect();
    while catalogue.default_entry().is_some() {
        let choice = match choose(machine, catalogue, &messages) {
            menu::Outcome::Boot(choice) => choice,
            menu::Outcome::Reset => return Turn::Done(Outcome::Reset),
            menu::Outcome::PowerOff => return Turn::Done(Outcome::PowerOff),
            menu::Outcome::Rescue | menu::Outcome::SetDefault(_) | menu::Outcome::Stay => {
                return Turn::Prompt;
            }
        };
        match load_chosen(machine, facts, catalogue, &choice) {
            Ok(hand_over) => return Turn::Done(Outcome::Kernel(hand_over)),
            Err(failures) => messages.extend(failures),
        }
    }
    Turn::NextDevice
}

/// Runs the menu until it has an outcome.
fn choose(
    machine: &mut impl Machine,
    catalogue: &mut Catalogue,
    messages: &[String],
) -> menu::Outcome {
    let settings = catalogue.settings(catalogue.default_entry());
    let mut menu = Menu::new(rows(catalogue), &settings, messages, machine.now());
    loop {
        while let Some(byte) = machine.read_byte() {
            let now = machine.now();
            menu.feed(byte, now);
        }
        let now = machine.now();
        let outcome = menu.tick(now);
        let bytes = menu.draw(now);
        machine.write(&bytes);
        match outcome {
            menu::Outcome::Stay => {}
            menu::Outcome::SetDefault(_) => menu.say("There is no state record to keep it in."),
            outcome => return outcome,
        }
        if let Some(wanted) = menu.wanted() {
            catalogue.read(wanted);
            menu.update(rows(catalogue));
        }
    }
}

fn rows(catalogue: &Catalogue) -> Vec<Row> {
    catalogue.generations.iter().cloned().map(Row::new).collect()
}

/// Loads what was chosen. If that fails, a person gets the menu back, with what went wrong; without
/// one, generation after generation is tried. An edited command line is for the chosen one only.
fn load_chosen(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    catalogue: &mut Catalogue,
    choice: &Choice,
) -> Result<HandOver, Vec<String>> {
    let mut failures = Vec::new();
    let mut index = choice.index;
    let mut command_line = choice.command_line.as_deref();
    loop {
        index = catalogue.read(index);
        let generation = &catalogue.generations[index];
        let Some(volume) = catalogue.volume_of(index) else { return Err(failures) };
        let file_system = &mut *catalogue.volumes[volume].file_system;
        let boot = Boot::default();
        let error = match load(Job { generation, file_system, command_line, boot }, facts, machine)
        {
            Ok(hand_over) => return Ok(hand_over),
            Err(error) => error,
        };
        let failure = format!("[{}] {}: {error}", error.code(), generation.title);
        let broken = Broken { code: error.code(), reason: error.to_string() };
        if catalogue.give_up(index, broken) {
            log::warn!("{failure}; there is a copy of it");
            failures.push(failure);
            continue;
        }
        let next = catalogue.default_entry();
        if next.is_none() || !choice.by_person {
            log::error!("{failure}");
        }
        failures.push(failure);
        match next {
            Some(next) if !choice.by_person => index = next,
            _ => return Err(failures),
        }
        log::info!("trying {} instead", catalogue.generations[index].title);
        command_line = None;
    }
}
