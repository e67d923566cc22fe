//! From the first device to a kernel that is ready, or to the rescue prompt.

#![forbid(unsafe_code)]

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use super::{
    Catalogue, Store, attempt,
    found::Found,
    listing::Listing,
    load::{Facts, HandOver, LoadMemory},
    prompt,
};
use crate::{
    block::{self, SharedDevice},
    entropy::Pool,
    error::Coded,
    menu::{self, Choice, Menu},
    nixos::{Settings, Timeout},
    state::counter::Counter,
};

/// The world as the boot policy sees it.
pub trait Machine: LoadMemory {
    /// Brings up the device that is searched as number `index`, anew if it was up already; `None`
    /// beyond the last.
    fn open_device(&mut self, index: usize) -> Option<Result<SharedDevice, block::Error>>;
    /// What Linux calls the controller of the device number `index`: `30b50000.mmc`.
    fn linux_name(&self, index: usize) -> Option<String>;
    /// What keeps the boot counting where no card can.
    fn counter(&mut self) -> Option<Box<dyn Counter>>;
    /// Adds to `pool` what random numbers the hardware has. Asked before each load: a generator may take
    /// its time, of which the menu needs none.
    fn gather_entropy(&mut self, pool: &mut Pool) {
        let _ = pool;
    }
    /// Boot counting is on: nobody is near who could reset the board if the loader itself fails, so
    /// it has to start anew by itself then.
    fn is_unattended(&mut self);
    /// Time since a fixed moment.
    fn now(&self) -> Duration;
    /// The next byte that was typed, if there is one. Called in every wait: a place to service a
    /// watchdog.
    fn read_byte(&mut self) -> Option<u8>;
    /// Sends `bytes` to the terminal.
    fn write(&mut self, bytes: &[u8]);
    /// Bytes of the loader's own memory in use and free, where there is such a limit.
    fn heap(&self) -> Option<(usize, usize)> {
        None
    }
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
        if let Some(outcome) = prompt::run(machine, facts, &seen, matches!(turn, Turn::Prompt)) {
            return outcome;
        }
    }
}

/// What came along with the boot image, then device after device, until one's turn ends with more
/// than "nothing boots".
fn try_all(machine: &mut impl Machine, facts: &Facts<'_>, seen: &mut Vec<Found>) -> Turn {
    if let Some(recovery) = &facts.recovery {
        let found = Found { catalogue: recovery.catalogue(), store: None, linux_name: None };
        match try_found(machine, facts, found, seen) {
            Turn::NextDevice => {}
            turn => return turn,
        }
    }
    let mut index = 0;
    while let Some(device) = machine.open_device(index) {
        match device {
            Ok(device) => {
                let found = survey(machine, index, &device);
                match try_found(machine, facts, found, seen) {
                    Turn::NextDevice => {}
                    turn => return turn,
                }
            }
            Err(error) => log::warn!("[{}] {error}", error.code()),
        }
        index += 1;
    }
    Turn::NextDevice
}

/// Looks at what `device`, number `index`, holds.
fn survey(machine: &mut impl Machine, index: usize, device: &SharedDevice) -> Found {
    let store = Store::open(device, machine.counter());
    Found {
        catalogue: Catalogue::survey(device),
        store: Some(store),
        linux_name: machine.linux_name(index),
    }
}

/// Boots what was found, which is added to `seen`.
fn try_found(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    mut found: Found,
    seen: &mut Vec<Found>,
) -> Turn {
    let turn = boot_from(machine, facts, &mut found);
    seen.push(found);
    turn
}

fn boot_from(machine: &mut impl Machine, facts: &Facts<'_>, found: &mut Found) -> Turn {
    let mut told = Told::default();
    if found.is_counting() {
        machine.is_unattended();
    }
    loop {
        let decision = found.decide(facts);
        let settings = found.catalogue.settings(decision.as_ref().map(|decision| decision.index));
        let nobody_looks = decision.is_none() || settings.timeout == Timeout::Immediate;
        told.add(found.messages(decision.as_ref()), nobody_looks);
        if decision.is_none() {
            return Turn::NextDevice;
        }
        let choice = match choose(machine, facts, found, &settings, &told.messages) {
            menu::Outcome::Boot(choice) => choice,
            menu::Outcome::Reset => return Turn::Done(Outcome::Reset),
            menu::Outcome::PowerOff => return Turn::Done(Outcome::PowerOff),
            menu::Outcome::Rescue | menu::Outcome::SetDefault(_) | menu::Outcome::Stay => {
                return Turn::Prompt;
            }
        };
        match attempt::boot(machine, facts, found, &choice) {
            Ok(hand_over) => return Turn::Done(Outcome::Kernel(hand_over)),
            Err(failures) => told.messages.extend(failures),
        }
    }
}

/// What the menu says besides its list.
#[derive(Default)]
struct Told {
    messages: Vec<String>,
}

impl Told {
    /// Adds what is new. If nobody looks at a menu, the log says it.
    fn add(&mut self, messages: Vec<String>, nobody_looks: bool) {
        for message in messages {
            if self.messages.contains(&message) {
                continue;
            }
            if nobody_looks {
                log::warn!("{message}");
            }
            self.messages.push(message);
        }
    }
}

/// Runs the menu until it has an outcome; a choice's index is the list's.
fn choose(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    found: &mut Found,
    settings: &Settings,
    messages: &[String],
) -> menu::Outcome {
    let Listing { rows, mut indices } = found.listing(settings);
    let mut menu = Menu::new(rows, settings, messages, machine.now());
    loop {
        let mut is_quiet = true;
        while let Some(byte) = machine.read_byte() {
            let now = machine.now();
            menu.feed(byte, now);
            is_quiet = false;
        }
        if let Some(row) = menu.wanted_plan() {
            menu.tell_plan(&attempt::plan(machine, facts, found, indices[row]));
        }
        let now = machine.now();
        let outcome = menu.tick(now);
        let bytes = menu.draw(now);
        machine.write(&bytes);
        match outcome {
            menu::Outcome::Stay => match menu.wanted().filter(|_| is_quiet) {
                Some(unread) => drop(found.catalogue.read(indices[unread])),
                None => continue,
            },
            menu::Outcome::SetDefault(row) => {
                let notice = found.set_default(facts, indices[row]);
                menu.say(&notice);
            }
            menu::Outcome::Boot(choice) => {
                let index = indices[choice.index];
                return menu::Outcome::Boot(Choice { index, ..choice });
            }
            outcome => return outcome,
        }
        let listing = found.listing(settings);
        indices = listing.indices;
        menu.update(listing.rows);
    }
}
