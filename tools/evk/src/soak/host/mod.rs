//! The soak on this machine: the loader's drivers, caches, file systems, boot policy and state record,
//! as they are, on modelled cards, controllers, UART and clocks, with random faults.
//!
//! A run is a few boots of one board with one to three faults in them, then one boot without any. What
//! must hold after each boot stands in [`verify`]; what was wrong in it, in [`faults`].
//!
//! There is no processor in it, hence no hang that the loader's clocks do not see; a run that does not
//! end in the host's time is for whoever starts it to notice.

mod board;
mod cards;
mod faults;
mod line;
mod log;
mod medium;
mod setup;
mod summary;
mod verify;

use std::{cell::RefCell, path::Path, time::Duration};

use anyhow::Result;
use firn::{board::BOARD, handoff::ResetCause, state::Identity};

pub use self::summary::{Summary, Verdict};
use self::{
    board::{DRAM_SIZE, End, Memory, Slot, Start},
    cards::Layout,
    faults::{Fault, Happens, What},
    line::Line,
    medium::Medium,
    setup::{Baselines, Kind, Setup, State},
    verify::Verdicts,
};
use super::{Random, Run};
use crate::models::usdhc::{self, Bench, Fault as Bus};

/// How the watchdog's reset is told (SRC_SRSR and WDOG1_WRSR).
const BY_WATCHDOG: ResetCause = ResetCause { src: 0x10, watchdog: 2, pmic: None };
/// How power-up is told.
const BY_POWER: ResetCause = ResetCause { src: 1, watchdog: 0x10, pmic: None };

/// What all runs share.
pub struct Soak {
    layouts: Vec<Layout>,
    baselines: RefCell<Baselines>,
    memory: RefCell<Memory>,
}

impl Soak {
    /// With cards in `cache`, which are made if they are not there.
    ///
    /// # Errors
    /// A tool that makes them is missing or fails.
    pub fn new(cache: &Path) -> Result<Self> {
        let layouts = cards::make(cache)?;
        Ok(Self { layouts, baselines: RefCell::default(), memory: RefCell::default() })
    }

    /// Names of all kinds of faults.
    pub fn faults() -> impl Iterator<Item = &'static str> {
        faults::names()
    }

    /// One run; `tell` gets what is on the line in each of its boots.
    pub fn run(&self, run: Run, tell: &mut dyn FnMut(&str)) -> Verdict {
        let mut random = run.random();
        let memory = &mut *self.memory.borrow_mut();
        let setup = setup::roll(&mut random, self.layouts.len());
        let faults = self.roll_faults(&mut random, &setup, memory);
        let names = faults.iter().map(|fault| fault.name.to_owned()).collect();
        let mut board = Board::new(&self.layouts, setup, random);
        let mut verdicts = Verdicts::default();
        let faulty = faults.iter().map(|fault| fault.boot + 1).max().unwrap_or(0);
        let mut outcome = Ok(());
        for boot in 0..=faulty {
            let now: Vec<&Fault> = faults.iter().filter(|fault| fault.boot == boot).collect();
            tell(&format!("--- boot {boot}: {setup:?} {now:?}\n"));
            outcome = board.boot(&now, memory, &mut verdicts, tell);
            if outcome.is_err() {
                break;
            }
        }
        Verdict {
            faults: names,
            outcome: outcome.map(|()| verdicts.worst().to_owned()),
            took: verdicts.longest(),
        }
    }

    fn roll_faults(&self, random: &mut Random, setup: &Setup, memory: &mut Memory) -> Vec<Fault> {
        let count = 1 + random.index(3);
        let mut faults = Vec::new();
        for _ in 0..count {
            let boot = if random.once_in(3) { random.index(3) } else { 0 };
            let first = usize::from(setup[0].is_none());
            let slot =
                if setup.iter().all(Option::is_some) && random.once_in(4) { 1 } else { first };
            let Some(inserted) = setup[slot] else { continue };
            let baseline = self.baselines.borrow_mut().get(slot, inserted, &self.layouts, memory);
            faults.push(faults::roll(
                random,
                boot,
                slot,
                &self.layouts[inserted.layout],
                &baseline,
            ));
        }
        faults
    }
}

/// The board of a run, over its boots.
struct Board<'a> {
    layouts: &'a [Layout],
    setup: Setup,
    media: [Option<Medium>; 2],
    slots: Vec<&'static Slot>,
    random: Random,
    /// Whether the next boot begins with power-up.
    is_off: bool,
}

impl<'a> Board<'a> {
    fn new(layouts: &'a [Layout], setup: Setup, random: Random) -> Self {
        let medium = |inserted: setup::Inserted| setup::installed(&layouts[inserted.layout]);
        let media = setup.map(|inserted| inserted.map(medium));
        Self { layouts, setup, media, slots: Vec::new(), random, is_off: true }
    }

    fn boot(
        &mut self,
        faults: &[&Fault],
        memory: &mut Memory,
        verdicts: &mut Verdicts,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let reset = if self.is_off { BY_POWER } else { BY_WATCHDOG };
        self.prepare_slots(faults);
        let line = Line::default();
        let mut size = DRAM_SIZE;
        for fault in faults {
            match fault.what {
                What::Stuck { from, to } => line.stuck.set(Some((from, to))),
                What::Babble { from, to, seed } => {
                    line.babble.replace(Some((from, to, Run { seed, index: 0 }.random())));
                }
                What::Memory(bytes) => size = bytes,
                _ => {}
            }
        }
        let start = Start { slots: &self.slots, line, memory: size, reset: Some(reset) };
        let ended = board::boot(start, memory);
        tell(&ended.line);
        tell(&format!("\n--- {:?} after {:?}\n", ended.end, ended.took));
        let situation = verify::Situation {
            layouts: self.layouts,
            setup: &self.setup,
            media: &self.media,
            slots: &self.slots,
            faults,
        };
        let booted = verdicts.judge(&situation, &ended, memory)?;
        let died_of_power = || faults.iter().any(|fault| is_power_cut(&fault.what));
        // Whoever sees to a card switches the board off.
        self.is_off = faults.iter().any(|fault| !leaves_card(&fault.what))
            || if ended.end == End::Died { died_of_power() } else { self.random.once_in(2) };
        if let Some(toplevel) = booted
            && self.random.once_in(3)
        {
            self.bless(&toplevel);
            verdicts.blessed(&toplevel);
        }
        Ok(())
    }

    /// Puts the cards in, as they are in this boot.
    fn prepare_slots(&mut self, faults: &[&Fault]) {
        let mut slots = Vec::new();
        for index in 0..self.setup.len() {
            let of_slot = || faults.iter().filter(|fault| fault.slot == index);
            let mut state = State::default();
            let mut is_absent = self.setup[index].is_none();
            for fault in of_slot() {
                match &fault.what {
                    What::Weak(weakness) => state.weakness = *weakness,
                    What::Protected => state.is_protected = true,
                    What::Absent => is_absent = true,
                    What::Flipped(places) => {
                        for &(block, at, bits) in places {
                            self.medium(index).damage(block, at, bits);
                        }
                    }
                    What::Overwritten { block, count, byte } => {
                        (*block..block + count)
                            .for_each(|block| self.medium(index).overwrite(block, *byte));
                    }
                    _ => {}
                }
            }
            let slot = match self.slots.get(index) {
                // A card that the reset has not touched, and that is as it was.
                Some(slot) if !self.is_off && of_slot().all(|fault| is_in_boot(&fault.what)) => {
                    slot.reset();
                    slot
                }
                _ => {
                    let card = self.setup[index].filter(|_| !is_absent);
                    let card = card.map(|card| card.kind.card(self.medium(index), state));
                    let slot = &BOARD.cards[index];
                    Slot::new(slot, Bench::new(slot, card))
                }
            };
            let before = slot.commands();
            of_slot().for_each(|fault| self.arm(slot, before, &fault.what));
            slots.push(slot);
        }
        self.slots = slots;
    }

    fn medium(&self, index: usize) -> &Medium {
        self.media[index].as_ref().expect("faults are where a card is")
    }

    /// Sets a fault up that comes at a command, counted from `before` on.
    fn arm(&self, slot: &'static Slot, before: usize, what: &What) {
        match what {
            What::Wires { command, count, fault } => {
                for command in (before + command..).take(*count) {
                    slot.bench.inject(command, *fault);
                }
                if let Bus::PowerCut(_) = fault {
                    slot.at(before + command, Box::new(|_| slot.die()));
                }
            }
            What::At(command, happens) => {
                let event = self.event(slot, happens);
                slot.at(before + command, event);
            }
            _ => {}
        }
    }

    fn event(&self, slot: &'static Slot, happens: &Happens) -> board::Event {
        match *happens {
            Happens::PowerCut | Happens::Reset => Box::new(|_| slot.die()),
            Happens::Jump(time) => Box::new(move |_| slot.jump(time)),
            Happens::Break => {
                Box::new(|bench| bench.with_controller(usdhc::Controller::break_down))
            }
            Happens::Jam => Box::new(|bench| bench.with_controller(usdhc::Controller::jam)),
            Happens::Swap(kind) => {
                let card = self.other_card(kind);
                Box::new(move |bench| {
                    bench.with_controller(|controller| controller.insert(Some(card)));
                })
            }
        }
    }

    /// A card with something else on it.
    fn other_card(&self, kind: Kind) -> Box<dyn usdhc::Card> {
        let own = self.setup.iter().flatten().map(|inserted| inserted.layout);
        let layout = own.max().map_or(0, |last| (last + 1) % self.layouts.len());
        let medium = Medium::new(self.layouts[layout].image.clone());
        kind.card(&medium, State { is_other: true, ..State::default() })
    }

    /// What a running system does that is content with itself.
    fn bless(&self, toplevel: &str) {
        let holds = |inserted: &setup::Inserted| {
            let known = &self.layouts[inserted.layout].generations;
            known.iter().any(|known| known.toplevel == toplevel)
        };
        let slot = self.setup.iter().position(|slot| slot.as_ref().is_some_and(holds));
        let Some(medium) = slot.and_then(|slot| self.media[slot].clone()) else { return };
        setup::change_record(&medium, |record| record.bless(Identity::new(toplevel)));
    }
}

fn is_power_cut(what: &What) -> bool {
    matches!(what, What::At(_, Happens::PowerCut) | What::Wires { fault: Bus::PowerCut(_), .. })
}

/// Whether the card stays in the slot, as good as it was.
fn leaves_card(what: &What) -> bool {
    !matches!(
        what,
        What::Weak(_)
            | What::Protected
            | What::Absent
            | What::At(_, Happens::Swap(_))
            | What::Wires { fault: Bus::Removal | Bus::Death | Bus::PowerCut(_), .. }
    )
}

/// Whether it comes in the middle of a boot, and not with the card.
fn is_in_boot(what: &What) -> bool {
    !matches!(what, What::Weak(_) | What::Protected | What::Absent)
}

/// No boot may take longer until a kernel is entered, or a person can see why not.
pub const LONGEST: Duration = Duration::from_secs(120);
