//! A boot with faults, from power on to its end.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use firn::board::BOARD;

use super::{bench::Medium, fault::Fault, files::Unchecked};
use crate::{
    assets::Assets,
    modelled::ModelledCard,
    models::{
        serial::StuckLine,
        usdhc::{Rules, Weakness},
    },
    qemu::{Entry, Machine},
    session::Session,
    stub,
};

/// For all that a loader does; a busy machine needs more than the board's own seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// A babbling line has to calm down first.
const BABBLE_DEADLINE: Duration = Duration::from_secs(240);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// For a person who wonders whether the board is alive.
const BETWEEN_KEYS: Duration = Duration::from_secs(6);

const PROMPT: &str = "\n> ";

/// How a boot ended.
#[derive(Debug)]
pub enum End {
    /// The kernel has run and powered off.
    Kernel(Box<stub::Report>),
    /// The prompt stands and answers.
    Prompt,
    /// A stage gave up: what it said.
    Gave(String),
    /// The board was reset, and nobody did it.
    Reset,
    /// Nothing of that happened in time.
    Hang,
    /// The emulator ended.
    Emulator(String),
}

/// How it ended, and what there was to see.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// What came over the serial line, or would have.
    pub text: String,
    /// What the faults had altered on the card where no checksum tells, before it was booted.
    pub altered: BTreeSet<Unchecked>,
    /// Something on the card has changed that is not the state record.
    pub card_changed: bool,
    /// What the firmware did that no card stands.
    pub broken_rules: Vec<String>,
    /// How many commands a modelled card got.
    pub commands: usize,
    /// How long it took.
    pub took: Duration,
}

/// What is booted.
pub(super) struct Board<'a> {
    pub(super) assets: &'a Assets,
    pub(super) entry: Entry,
    pub(super) medium: Medium,
    pub(super) card: &'a Path,
    /// What [`Fault::Unreadable`] means.
    pub(super) bad_sector: Option<u64>,
    /// What [`Fault::Swapped`] puts in.
    pub(super) other: Option<&'a Path>,
    /// How many a sound boot prints.
    pub(super) characters: usize,
}

/// Switches it on, and once more where the power goes.
pub(super) fn boot(board: &Board<'_>, faults: &[Fault]) -> Result<Ended> {
    let mut ended = match once(board, faults)? {
        Power::Stays(ended) => ended,
        Power::Goes(text) => {
            let lasting: Vec<_> = faults.iter().filter(|fault| lasts(fault)).cloned().collect();
            match once(board, &lasting)? {
                Power::Stays(mut ended) => {
                    ended.text = format!("{text}\n--- the power comes back\n{}", ended.text);
                    ended
                }
                Power::Goes(_) => unreachable!("it goes once"),
            }
        }
    };
    ended.broken_rules.sort();
    ended.broken_rules.dedup();
    Ok(ended)
}

/// Whether a fault is there when the power comes back.
fn lasts(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Unreadable(_)
            | Fault::SlowLines(_)
            | Fault::ModesRefused(_)
            | Fault::DeadCard
            | Fault::WornOut
            | Fault::SlowReads(_)
            | Fault::Memory(_)
    )
}

enum Power {
    Stays(Ended),
    Goes(String),
}

fn once(board: &Board<'_>, faults: &[Fault]) -> Result<Power> {
    let mut machine = Machine::new(board.entry.clone()).memory("1G").cpus(1);
    let rules = Rules::default();
    let model = board.medium.is_modelled().then(|| modelled(board, faults));
    let slot = board.medium.slot();
    machine = match &model {
        Some(card) => machine.modelled_card(card.clone(), &rules),
        None if faults.contains(&Fault::WornOut) => machine.worn_out_card(slot, board.card),
        None => machine.writable_card(slot, board.card),
    };
    for fault in faults {
        machine = match fault {
            Fault::Memory(size) => machine.memory(size),
            Fault::SlowReads(sectors) => machine.slow_cards(*sectors),
            _ => machine,
        };
    }
    let stuck = faults.contains(&Fault::StuckSerial).then(StuckLine::default);
    if let Some(line) = &stuck {
        machine = machine.stuck_line(line.clone());
    }
    let mut watch = Watch {
        session: machine.start(board.assets)?,
        model,
        stuck,
        to_come: moments(faults, board.characters),
        boots: 1,
        babbles: false,
        started: Instant::now(),
    };
    let Some(end) = watch.until_its_end(board)? else {
        return Ok(Power::Goes(watch.text()));
    };
    Ok(Power::Stays(Ended {
        end,
        text: watch.text(),
        altered: BTreeSet::new(),
        card_changed: false,
        broken_rules: rules.list(),
        commands: watch.model.map_or(0, |model| model.commands.load(Ordering::Relaxed)),
        took: watch.started.elapsed(),
    }))
}

fn modelled(board: &Board<'_>, faults: &[Fault]) -> ModelledCard {
    let mut card = ModelledCard::new(board.medium.slot(), board.card);
    let weak = &mut card.weakness;
    *weak = Weakness { bad_block: board.bad_sector, ..Weakness::default() };
    for fault in faults {
        match fault {
            Fault::Bus { command, fault } => card.faults.push((*command, *fault)),
            Fault::SlowLines(hertz) => weak.max_hertz = Some(*hertz),
            Fault::ModesRefused(from) => weak.refused_from = Some(*from),
            Fault::DeadCard => weak.never_ready = true,
            Fault::Swapped(command) => {
                card.swap = Some((*command, board.other.map(Path::to_owned)));
            }
            Fault::Pulled(command) => card.swap = Some((*command, None)),
            Fault::PowerCut(blocks) => card.power_cut = Some(*blocks),
            _ => {}
        }
    }
    card
}

/// What happens while the board runs, by the character at which it does, the last one first.
fn moments(faults: &[Fault], characters: usize) -> Vec<(usize, Fault)> {
    let mut all: Vec<_> = faults
        .iter()
        .filter_map(|fault| match fault {
            Fault::PowerLoss(moment)
            | Fault::Bite(moment)
            | Fault::TimeJump(moment, _)
            | Fault::PulledAt(moment)
            | Fault::Babble(moment, _) => {
                Some((characters * usize::from(*moment) / 1000, fault.clone()))
            }
            _ => None,
        })
        .collect();
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    all
}

/// Somebody who looks at the board.
struct Watch {
    session: Session,
    model: Option<ModelledCard>,
    stuck: Option<StuckLine>,
    to_come: Vec<(usize, Fault)>,
    /// How often it was switched on or reset.
    boots: usize,
    babbles: bool,
    started: Instant,
}

impl Watch {
    fn text(&self) -> String {
        let lost = self.stuck.as_ref().map(StuckLine::lost).unwrap_or_default();
        self.session.text() + &lost.replace('\r', "")
    }

    /// Waits until it is known how the boot ends; `None` if the power goes before.
    fn until_its_end(&mut self, board: &Board<'_>) -> Result<Option<End>> {
        let mut keys_at = Instant::now() + BETWEEN_KEYS;
        let mut prompt_at = None;
        loop {
            let text = self.text();
            if self.happens(&text, board)? {
                return Ok(None);
            }
            if let Some(end) = self.end(&text) {
                return Ok(Some(end));
            }
            match prompt_at {
                None if text.ends_with(PROMPT) && self.due(&text).is_none() => {
                    self.session.send("help\r")?;
                    prompt_at = Some(text.len());
                }
                Some(at) => {
                    let answer = text.get(at..).unwrap_or_default();
                    if answer.contains("reset") && answer.ends_with(PROMPT) {
                        return Ok(Some(End::Prompt));
                    }
                }
                None => {}
            }
            if self.babbles && Instant::now() > keys_at {
                keys_at = Instant::now() + BETWEEN_KEYS;
                self.session.send("\r")?;
                prompt_at = None;
            }
            let deadline = if self.babbles { BABBLE_DEADLINE } else { DEADLINE };
            if self.started.elapsed() > deadline {
                return Ok(Some(End::Hang));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// How it has ended, if it has and no prompt stands.
    fn end(&mut self, text: &str) -> Option<End> {
        match seen(text, self.boots) {
            Some(kernel @ End::Kernel(_)) => {
                return Some(match self.session.expect_power_off(DEADLINE) {
                    Ok(()) => kernel,
                    Err(error) => End::Emulator(error.to_string()),
                });
            }
            Some(end) => return Some(end),
            None => {}
        }
        match self.session.ended() {
            // What it said last may still be on its way.
            Ok(Some(status)) => {
                thread::sleep(20 * BETWEEN_LOOKS);
                if self.text().len() > text.len() {
                    return None;
                }
                Some(End::Emulator(status.to_string()))
            }
            Ok(None) => None,
            Err(error) => Some(End::Emulator(error.to_string())),
        }
    }

    fn due(&self, text: &str) -> Option<Fault> {
        let (at, fault) = self.to_come.last()?;
        (text.len() >= *at).then(|| fault.clone())
    }

    /// Does what is to happen by now; true if the power goes.
    fn happens(&mut self, text: &str, board: &Board<'_>) -> Result<bool> {
        if self.model.as_ref().is_some_and(|card| card.power_is_cut.load(Ordering::Acquire)) {
            return Ok(true);
        }
        let Some(fault) = self.due(text) else { return Ok(false) };
        self.to_come.pop();
        if self.session.ended()?.is_some() {
            return Ok(false);
        }
        match fault {
            Fault::PowerLoss(_) => return Ok(true),
            Fault::Bite(_) => {
                self.boots += 1;
                self.session.reset()?;
            }
            Fault::TimeJump(_, time) => self.session.freeze(time)?,
            // It may be gone, with the board.
            Fault::PulledAt(_) => drop(self.session.remove_card(board.medium.slot())),
            Fault::Babble(_, babble) => {
                self.babbles = true;
                drop(self.session.send(babble.bytes()));
            }
            _ => {}
        }
        Ok(false)
    }
}

/// What `text` tells of the end of a board that was switched on or reset `boots` times.
fn seen(text: &str, boots: usize) -> Option<End> {
    let (loader, kernel) = text.split_once(stub::BEGIN).unwrap_or((text, ""));
    // The menu's head has Firn's name, too, but not the board's.
    if loader.matches(&format!(" on {}", BOARD.name)).count() > boots {
        return Some(End::Reset);
    }
    if let Some((report, _)) = kernel.split_once(stub::END) {
        return Some(End::Kernel(Box::new(stub::Report::parse(report))));
    }
    let gave = |line: &&str| {
        line.contains("[E701]") || line.contains("[E702]") || line.contains("firn: stopped")
    };
    text.lines().find(gave).map(|line| End::Gave(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> String {
        format!("firn 0.1.0 on {}\n[    0.010] DRAM: 1.0 GiB\n", BOARD.name)
    }

    fn report() -> String {
        format!("{}\nkernel sum: 0x7\n{}\n", stub::BEGIN, stub::END)
    }

    #[test]
    fn a_boot_that_goes_on_has_no_end() {
        for text in [String::new(), head(), head() + stub::BEGIN + "\nkernel sum: 0x"] {
            assert!(seen(&text, 1).is_none(), "{text}");
        }
    }

    #[test]
    fn a_kernel_that_has_told_all_is_an_end() {
        let Some(End::Kernel(told)) = seen(&(head() + &report()), 1) else { panic!("no kernel") };
        assert_eq!(told.number("kernel sum").unwrap(), 7);
    }

    #[test]
    fn a_reset_that_nobody_made_is_an_end_even_if_a_kernel_runs_in_the_end() {
        for text in [head() + &head(), head() + &head() + &head(), head() + &head() + &report()] {
            assert!(matches!(seen(&text, 1), Some(End::Reset)), "{text}");
        }
        assert!(seen(&(head() + &head()), 2).is_none(), "the one that was asked for");
    }

    #[test]
    fn a_stage_that_gives_up_is_an_end_with_what_it_said() {
        for line in ["[E701] exception: data abort", "[E702] panic at x.rs:1", "firn: stopped"] {
            let text = format!("{}{line}\nmore\n", head());
            let Some(End::Gave(said)) = seen(&text, 1) else { panic!("{line}") };
            assert_eq!(said, line);
        }
    }
}
