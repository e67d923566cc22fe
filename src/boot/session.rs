//! From the first device to a kernel that is ready, or to the rescue prompt.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{
    catalogue::{Catalogue, Problem},
    load::{Facts, HandOver, Job, LoadMemory, load},
};
use crate::{
    block::{self, SharedDevice},
    error::Coded,
    menu::{self, Choice, Menu},
    nixos::{Broken, Generation},
};

/// The world as the boot policy sees it.
pub trait Machine: LoadMemory {
    /// The next device of the board that may hold something to boot, brought up; `None` after the
    /// last.
    fn next_device(&mut self) -> Option<Result<SharedDevice, block::Error>>;
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

/// How a device's turn ended.
enum Turn {
    Done(Outcome),
    /// Nothing on it boots.
    NextDevice,
    /// Somebody wants the rescue prompt.
    Rescue,
}

/// Boots: device after device, and on each one generation after the other. Ends in the rescue
/// prompt if nothing can be loaded, never in a reset that nobody asked for.
pub fn run(machine: &mut impl Machine, facts: &Facts<'_>) -> Outcome {
    let mut seen = Vec::new();
    while let Some(device) = machine.next_device() {
        let device = match device {
            Ok(device) => device,
            Err(error) => {
                log::warn!("[{}] {error}", error.code());
                continue;
            }
        };
        let mut catalogue = Catalogue::survey(&device);
        let turn = boot_from(machine, facts, &mut catalogue);
        seen.append(&mut catalogue.generations);
        match turn {
            Turn::Done(outcome) => return outcome,
            Turn::NextDevice => {}
            Turn::Rescue => break,
        }
    }
    rescue(machine, &seen)
}

fn boot_from(machine: &mut impl Machine, facts: &Facts<'_>, catalogue: &mut Catalogue) -> Turn {
    for problem in &catalogue.problems {
        log::warn!("{problem}");
    }
    if catalogue.default_entry().is_none() {
        return Turn::NextDevice;
    }
    let choice = match choose(machine, catalogue) {
        menu::Outcome::Boot(choice) => choice,
        menu::Outcome::Reset => return Turn::Done(Outcome::Reset),
        menu::Outcome::PowerOff => return Turn::Done(Outcome::PowerOff),
        menu::Outcome::Rescue | menu::Outcome::Stay => return Turn::Rescue,
    };
    match load_first(machine, facts, catalogue, &choice) {
        Some(hand_over) => Turn::Done(Outcome::Kernel(hand_over)),
        None => Turn::NextDevice,
    }
}

/// Runs the menu until it has an outcome.
fn choose(machine: &mut impl Machine, catalogue: &Catalogue) -> menu::Outcome {
    let messages: Vec<String> = catalogue.problems.iter().map(Problem::to_string).collect();
    let mut menu = Menu::new(&catalogue.generations, &catalogue.settings, &messages, machine.now());
    loop {
        while let Some(byte) = machine.read_byte() {
            let now = machine.now();
            menu.feed(byte, now);
        }
        let now = machine.now();
        let outcome = menu.tick(now);
        let bytes = menu.draw(now);
        machine.write(&bytes);
        if outcome != menu::Outcome::Stay {
            return outcome;
        }
    }
}

/// Loads the chosen generation or, if that fails, the first of the others that can be loaded. An
/// edited command line is for the chosen one only.
fn load_first(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    catalogue: &mut Catalogue,
    choice: &Choice,
) -> Option<HandOver> {
    for index in catalogue.attempts(choice.index) {
        let generation = &catalogue.generations[index];
        log::info!("booting {}", generation.title);
        let job = Job {
            generation,
            file_system: &mut *catalogue.volumes[catalogue.volume_of[index]].file_system,
            command_line: choice.command_line.as_deref().filter(|_| index == choice.index),
        };
        let error = match load(job, facts, machine) {
            Ok(hand_over) => return Some(hand_over),
            Err(error) => error,
        };
        log::error!("[{}] {}: {error}", error.code(), generation.title);
        let broken = Broken { code: error.code(), reason: error.to_string() };
        catalogue.generations[index].broken = Some(broken);
    }
    None
}

fn rescue(machine: &mut impl Machine, seen: &[Generation]) -> Outcome {
    machine.write(b"> ");
    loop {
        if machine.read_byte() == Some(b'r') {
            return Outcome::Reset;
        }
        let _ = seen;
    }
}
