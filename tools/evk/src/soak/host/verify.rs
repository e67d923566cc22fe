//! What must hold after each boot, whatever went wrong in it.
//!
//! * The loader has not panicked, and no clock of it ran for an hour.
//! * A kernel that is entered is one of a generation that lies on a card of this boot, byte for byte;
//!   so are its initrd, its command line, and the tree. Where a file has no checksum and the card
//!   itself holds other bytes than were written, nobody can know: that is an outcome of its own.
//! * Where no kernel is entered, the rescue prompt stands, within [`LONGEST`], under an error's code.
//! * Cards hold what they held, but for the state record.
//! * Nothing of controllers and cards was used against their rules, and nothing is left to a controller.
//! * No generation is tried more often than it may be.
//! * A boot without faults, from cards that hold what was written to them, enters a kernel; the
//!   newest one, where no boots are counted.

use std::{collections::BTreeMap, time::Duration};

use firn::{
    boot::HandOver,
    devicetree::DeviceTree,
    state::{RECORD_SIZE, place::GAP_OFFSETS},
};

use super::{
    LONGEST,
    board::{self, End, Ended, Memory, Slot},
    cards::{Known, Layout, Owner, TRIES},
    faults::{Fault, Happens, What},
    medium::Medium,
    setup::Setup,
};

use crate::models::usdhc::Fault as Bus;

/// What a trial's command line begins with.
const TRIAL: &str = "watchdog.open_timeout=300 ";

/// What a boot was like.
pub(super) struct Situation<'a> {
    pub(super) layouts: &'a [Layout],
    pub(super) setup: &'a Setup,
    pub(super) media: &'a [Option<Medium>; 2],
    pub(super) slots: &'a [&'static Slot],
    pub(super) faults: &'a [&'a Fault],
}

/// Outcomes of boots, the best first.
const OUTCOMES: [&str; 8] = [
    "newest boots",
    "other generation boots",
    "other card boots",
    "cut short, then boots",
    "as typed",
    "waits, line broken",
    "rescue prompt",
    "damage that nothing could notice",
];

const NEWEST: usize = 0;
const OTHER_GENERATION: usize = 1;
const OTHER_CARD: usize = 2;
const CUT: usize = 3;
const AS_TYPED: usize = 4;
const WAITS: usize = 5;
const PROMPT: usize = 6;
const UNNOTICED: usize = 7;

/// What came of a run's boots so far.
#[derive(Default)]
pub(super) struct Verdicts {
    worst: usize,
    longest: Duration,
    /// How often each generation was tried, of those that were not blessed.
    tries: BTreeMap<String, u8>,
}

impl Verdicts {
    /// The worst outcome.
    pub(super) fn worst(&self) -> &'static str {
        OUTCOMES[self.worst]
    }

    /// How long the longest boot took.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// The running system is content with itself.
    pub(super) fn blessed(&mut self, toplevel: &str) {
        self.tries.remove(toplevel);
    }

    /// Judges a boot: the toplevel that is entered, if one is, or which promise is not kept.
    pub(super) fn judge(
        &mut self,
        situation: &Situation<'_>,
        ended: &Ended,
        memory: &mut Memory,
    ) -> Result<Option<String>, String> {
        if !situation.is_line_broken() {
            self.longest = self.longest.max(ended.took);
        }
        situation.check_cards()?;
        situation.check_rules(&ended.end)?;
        if ended.took > LONGEST && !situation.is_line_broken() {
            return Err(format!("it took {:?}", ended.took));
        }
        let mut booted = None;
        let outcome = match &ended.end {
            End::Panic(text) => return Err(format!("panic: {text}")),
            End::Kernel(hand_over) => {
                let (outcome, known) = situation.check_kernel(hand_over, memory)?;
                if let Some(known) = known {
                    self.count(known, hand_over, situation)?;
                    booted = Some(known.toplevel.clone());
                }
                outcome
            }
            End::Prompt => {
                situation.check_told(&ended.line)?;
                PROMPT
            }
            End::Waits if situation.is_line_broken() => WAITS,
            End::Asked if situation.babbles() => AS_TYPED,
            End::Died => CUT,
            End::Waits | End::Asked => return Err(format!("{:?}", ended.end)),
        };
        let must_boot = situation.faults.is_empty() && !situation.is_damaged();
        if must_boot && booted.is_none() {
            return Err(format!("without a fault, {:?} instead of a kernel", ended.end));
        }
        if must_boot && outcome != NEWEST && !situation.is_counted() {
            return Err(format!("without a fault, {}", OUTCOMES[outcome]));
        }
        if !situation.faults.is_empty() || !must_boot {
            self.worst = self.worst.max(outcome);
        }
        Ok(booted)
    }

    fn count(
        &mut self,
        known: &Known,
        hand_over: &HandOver,
        situation: &Situation<'_>,
    ) -> Result<(), String> {
        if hand_over.watchdog.is_none() {
            return Ok(());
        }
        let tries = self.tries.entry(known.toplevel.clone()).or_default();
        *tries += 1;
        if *tries > TRIES && !situation.is_damaged() {
            return Err(format!("{} was tried {tries} times", known.number));
        }
        Ok(())
    }
}

impl<'a> Situation<'a> {
    fn has(&self, is_it: impl Fn(&What) -> bool) -> bool {
        self.faults.iter().any(|fault| is_it(&fault.what))
    }

    fn babbles(&self) -> bool {
        self.has(|what| matches!(what, What::Babble { .. }))
    }

    fn is_line_broken(&self) -> bool {
        self.babbles() || self.has(|what| matches!(what, What::Stuck { .. }))
    }

    fn is_counted(&self) -> bool {
        self.setup.iter().flatten().any(|inserted| self.layouts[inserted.layout].is_counted)
    }

    /// Whether a card holds something else than was written to it.
    fn is_damaged(&self) -> bool {
        self.media.iter().flatten().any(|medium| !medium.damaged().is_empty())
    }

    /// Whether a card holds something else than was written to it in a place where nobody can know.
    fn is_unnoticeable(&self) -> bool {
        let cards = self.setup.iter().zip(self.media);
        cards.filter_map(|(card, medium)| Some((card.as_ref()?, medium.as_ref()?))).any(
            |(inserted, medium)| {
                let owner = |block| self.layouts[inserted.layout].owner(block);
                medium.damaged().into_iter().any(|block| owner(block) == Owner::Unprotected)
            },
        )
    }

    /// Whether a card did not get a CMD0, which the driver cannot know: nothing answers to it.
    fn has_lost_reset(&self) -> bool {
        self.faults.iter().any(|fault| match fault.what {
            What::Wires { command, count, fault: Bus::CommandLost } => {
                let lost = command..command + count;
                self.slots[fault.slot].issued().get(lost.start..).is_some_and(|issued| {
                    issued.iter().take(lost.len()).any(|command| command.index == 0)
                })
            }
            _ => false,
        })
    }

    fn check_cards(&self) -> Result<(), String> {
        let is_record = |block: u64| {
            GAP_OFFSETS.iter().any(|at| (*at..at + RECORD_SIZE as u64).contains(&(block * 512)))
        };
        let mut written = self.media.iter().flatten().flat_map(Medium::written);
        match written.find(|&block| !is_record(block)) {
            Some(block) => Err(format!("block {block} was written to")),
            None => Ok(()),
        }
    }

    fn check_rules(&self, end: &End) -> Result<(), String> {
        // Of a controller that does not react, nothing can be asked.
        let stops = self.has(|what| matches!(what, What::At(_, Happens::Jam | Happens::Break)));
        // Nobody has told a card that was just put in what clock and voltage there are.
        let is_swapped = self.has(|what| matches!(what, What::At(_, Happens::Swap(_))));
        let of_new_card =
            |rule: &String| is_swapped && (rule.contains("CMD") || rule.starts_with("lines at"));
        let rules = self.slots.iter().flat_map(|slot| slot.broken_rules());
        let is_lost = self.has_lost_reset();
        let of_no_reset = |rule: &String| is_lost && rule.starts_with("CMD8 in state");
        let broken: Vec<String> =
            rules.filter(|rule| !of_new_card(rule) && !of_no_reset(rule)).collect();
        if !stops && !broken.is_empty() {
            return Err(format!("rules of the hardware: {}", broken.join("; ")));
        }
        let left: usize = self.slots.iter().map(|slot| slot.bench.handed_over()).sum();
        match (end, left) {
            (_, 0) | (End::Died, _) => Ok(()),
            _ if stops => Ok(()),
            _ => Err(format!("{left} buffers are left to a controller")),
        }
    }

    /// What of the generations on this boot's cards was loaded.
    fn check_kernel(
        &self,
        hand_over: &HandOver,
        memory: &mut Memory,
    ) -> Result<(usize, Option<&'a Known>), String> {
        let unnoticed = |what: String| match self.is_unnoticeable() {
            true => Ok((UNNOTICED, None)),
            false => Err(what),
        };
        let tree = board::loaded(memory, hand_over.device_tree).to_vec();
        let tree = DeviceTree::validate(&tree).map_err(|error| format!("the tree: {error}"))?;
        let line = tree.find("/chosen").and_then(|chosen| chosen.property("bootargs")?.as_str());
        let line = line.ok_or("a tree without a command line")?;
        let line = line.strip_prefix(TRIAL).unwrap_or(line);
        let Some((place, known)) = self.known(line) else {
            return unnoticed(format!("a command line of no generation: {line}"));
        };
        if line != known.command_line && !self.babbles() {
            return unnoticed(format!("the command line {line}"));
        }
        let mut differs = |region: firn::memory::Region, bytes: &[u8]| {
            board::loaded(memory, region).get(..bytes.len()) != Some(bytes)
        };
        if differs(hand_over.kernel, &known.kernel) {
            return unnoticed(format!("the kernel of {} is another one", known.number));
        }
        if hand_over.initrd.is_none_or(|region| differs(region, &known.initrd)) {
            return unnoticed(format!("the initrd of {} is another one", known.number));
        }
        if tree.model() != Some(known.model.as_str()) {
            return unnoticed(format!("the tree of {}: {:?}", known.number, tree.model()));
        }
        let outcome = match place {
            Place::Own { first: true } if known.number == 42 => NEWEST,
            Place::Own { first: true } => OTHER_GENERATION,
            Place::Own { first: false } | Place::Swapped => OTHER_CARD,
        };
        Ok((outcome, Some(known)))
    }

    /// The generation that a command line is of, and where it lies.
    fn known(&self, line: &str) -> Option<(Place, &'a Known)> {
        let find = |layout: &'a Layout| {
            let starts =
                |known: &&Known| line.starts_with(&format!("init={}/init", known.toplevel));
            layout.generations.iter().find(starts)
        };
        let mut cards = self.setup.iter().flatten();
        let own = cards.enumerate_find(|inserted| find(&self.layouts[inserted.layout]));
        if let Some((index, known)) = own {
            return Some((Place::Own { first: index == 0 }, known));
        }
        let is_swapped = self.has(|what| matches!(what, What::At(_, Happens::Swap(_))));
        let known = self.layouts.iter().filter(|_| is_swapped).find_map(find)?;
        Some((Place::Swapped, known))
    }

    /// Whether a person at the prompt can know why it stands there.
    fn check_told(&self, line: &str) -> Result<(), String> {
        if line.contains("[E") || self.is_line_broken() {
            return Ok(());
        }
        Err("the rescue prompt stands without an error's code".into())
    }
}

/// Where a generation lies.
enum Place {
    /// On a card of the setup.
    Own { first: bool },
    /// On what was put in instead.
    Swapped,
}

/// The first one for which something is found, with its place.
trait EnumerateFind: Iterator + Sized {
    fn enumerate_find<T>(
        &mut self,
        mut find: impl FnMut(Self::Item) -> Option<T>,
    ) -> Option<(usize, T)> {
        self.enumerate().find_map(|(index, item)| Some((index, find(item)?)))
    }
}

impl<I: Iterator> EnumerateFind for I {}
