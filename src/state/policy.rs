//! What to boot, why, and what to write down before the jump. Pure.
//!
//! [`decide`] is asked once everything that can be booted is listed, and again with a generation
//! marked as broken if it could not be loaded; its record is written only when kernel and initrd
//! are in place, just before the jump, so that a failed load costs no try. If that write fails,
//! it is asked again with [`Situation::writable`] false.
//!
//! A generation goes from new over trying to good, or to failed. Three things make sure that an
//! unattended board does not try bad generations for ever: each try is written before its jump; what
//! has failed is not booted unattended while there is something else; and the search for another one,
//! where no good one is left, goes through the list once.

use alloc::{string::String, string::ToString, vec::Vec};
use core::{fmt, num::NonZeroU8};

use super::{Booted, Counted, Failure, Identity, Record, Standing};
use crate::{
    error::{Code, Coded},
    handoff::ResetCause,
};

/// A generation of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// [`Generation::id`](crate::nixos::Generation::id).
    pub id: &'a str,
    /// How the menu calls it in a sentence: "42".
    pub label: &'a str,
    /// Whether it is known that it cannot be loaded.
    pub broken: bool,
    /// How many times it is tried until it is blessed; `None`: its boots are not counted. One
    /// that never blesses itself must not be counted, however well it runs.
    pub tries: Option<NonZeroU8>,
}

/// What there is to decide on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What can be booted, in the order of the menu: the newest first.
    pub candidates: &'a [Candidate<'a>],
    /// The id of what the `system` link, or another source's own default, points to.
    pub link: Option<&'a str>,
    /// Why the board was reset.
    pub reset: Option<ResetCause>,
    /// Whether the record can be written.
    pub writable: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index of the candidate to boot.
    pub index: usize,
    /// Which rule chose it.
    pub basis: Basis,
    /// Why it is not another one, for the menu.
    pub reasons: Vec<Reason>,
    /// The try that this is, if it is one: the watchdog is to be started.
    pub attempt: Option<Attempt>,
    /// What is to be written before the jump.
    pub write: Option<Record>,
}

/// A boot that has to prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1 on.
    pub number: u8,
    /// How many there are in all.
    pub of: u8,
}

/// Which rule chose what is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A person at the menu.
    Person,
    /// It was to be booted once.
    BootOnce,
    /// The record's default.
    Default,
    /// The target of the `system` link.
    Link,
    /// It is the newest that can be booted.
    Newest,
    /// It worked before: what was to be booted has failed.
    LastGood,
    /// It has tries left: what was to be booted has failed, and nothing is known to work.
    Search,
    /// There is nothing left but what has failed or is not counted. Nothing is counted any more.
    LastResort,
}

/// Why something else is booted than what was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The boot-once generation is not in the list.
    OnceGone(Identity),
    /// The boot-once generation cannot be loaded.
    OnceBroken(String),
    /// What is to be booted once would be booted for ever, as nothing can be written.
    OnceNotWritable(Identity),
    /// The default is not in the list: garbage-collected.
    DefaultGone(Identity),
    /// The default cannot be loaded.
    DefaultBroken(String),
    /// The link's target is not in the list or cannot be loaded.
    LinkUnusable(String),
    /// All tries of this one have failed.
    RolledBack {
        /// The label of what has failed.
        from: String,
        /// How many tries it had.
        tries: u8,
        /// How the last of them ended, if that is known.
        last: Option<String>,
    },
    /// Everything that is counted has failed.
    NothingWorks,
}

impl Coded for Reason {
    fn code(&self) -> Code {
        match self {
            Self::RolledBack { .. } | Self::NothingWorks => Code::TryUnconfirmed,
            Self::OnceNotWritable(_) => Code::StatePlace,
            _ => Code::DefaultUnusable,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnceGone(identity) => {
                write!(f, "{identity} was to be booted once, but is not there any more")
            }
            Self::OnceBroken(label) => write!(f, "{label} was to be booted once, but is broken"),
            Self::OnceNotWritable(identity) => write!(
                f,
                "{identity} is to be booted once, but that cannot be noted as done; choose it by hand"
            ),
            Self::DefaultGone(identity) => {
                write!(f, "the default {identity} is not there any more")
            }
            Self::DefaultBroken(label) => write!(f, "the default {label} is broken"),
            Self::LinkUnusable(label) => {
                write!(f, "the system link's target {label} is missing or broken")
            }
            Self::RolledBack { from, tries, last } => {
                let s = if *tries == 1 { "try" } else { "tries" };
                write!(f, "rolled back from {from}: {tries} {s} failed")?;
                last.as_ref().map_or(Ok(()), |last| write!(f, ", last: {last}"))
            }
            Self::NothingWorks => f.write_str(
                "every generation has failed; no boot is counted until another one is chosen",
            ),
        }
    }
}

/// What boots when nobody chooses; `None` if nothing can be booted.
///
/// The order: boot-once, the record's default, the link's target, the newest that is not broken.
/// If that has failed: what was blessed last and still is there, else what has tries left, newest
/// first, else what is not counted.
pub fn decide(record: &Record, situation: &Situation<'_>) -> Option<Decision> {
    let mut deciding = Deciding::new(record, situation);
    let (index, basis) = match deciding.boot_once() {
        Some(index) => (index, Basis::BootOnce),
        None => {
            let (index, basis) = deciding.pick()?;
            deciding.picked = Some(index);
            match deciding.has_failed(index) {
                true => deciding.instead_of(index),
                false => (index, basis),
            }
        }
    };
    Some(deciding.finish(index, basis))
}

/// What is to be done when a person chooses the candidate at `index`, once and without making it
/// the default. It is booted even if it has failed before. `None` if there is none.
pub fn decide_for_person(
    record: &Record,
    situation: &Situation<'_>,
    index: usize,
) -> Option<Decision> {
    situation.candidates.get(index)?;
    let mut deciding = Deciding::new(record, situation);
    // It was for this boot, for which a person knows better.
    if situation.writable {
        deciding.next.boot_once = None;
    }
    Some(deciding.finish(index, Basis::Person))
}

/// A decision under way.
struct Deciding<'a> {
    before: Record,
    /// The record as it is to be.
    next: Record,
    situation: &'a Situation<'a>,
    /// Identities of the candidates.
    identities: Vec<Identity>,
    /// What would be booted had it not failed.
    picked: Option<usize>,
    reasons: Vec<Reason>,
}

impl<'a> Deciding<'a> {
    fn new(before: &Record, situation: &'a Situation<'a>) -> Self {
        let candidates = situation.candidates.iter();
        let identities: Vec<_> = candidates.map(|candidate| Identity::new(candidate.id)).collect();
        let mut before = before.clone();
        before.recognise(&identities);
        let mut deciding = Self {
            next: before.clone(),
            before,
            situation,
            identities,
            picked: None,
            reasons: Vec::new(),
        };
        deciding.judge_last_boot();
        deciding
    }

    /// A try that was not blessed has failed, whatever the reset cause.
    fn judge_last_boot(&mut self) {
        let counting = self.situation.candidates.iter().any(|candidate| candidate.tries.is_some());
        if !counting || !self.situation.writable {
            return;
        }
        let Some(booted) = self.next.last_booted.as_mut().filter(|booted| booted.on_trial) else {
            return;
        };
        booted.on_trial = false;
        let identity = booted.identity.clone();
        if self.next.standing(&identity) != Some(Standing::Good) {
            let cause = self.situation.reset.map_or("unknown".into(), |cause| cause.to_string());
            self.next.last_failure = Some(Failure::new(identity, Code::TryUnconfirmed, cause));
        }
    }

    /// Takes the boot-once choice out of the record.
    fn boot_once(&mut self) -> Option<usize> {
        let identity = self.next.boot_once.clone()?;
        if !self.situation.writable {
            self.reasons.push(Reason::OnceNotWritable(identity));
            return None;
        }
        self.next.boot_once = None;
        match self.listed(&identity) {
            Some(index) if self.is_bootable(index) => return Some(index),
            Some(index) => self.reasons.push(Reason::OnceBroken(self.label(index))),
            None => self.reasons.push(Reason::OnceGone(identity)),
        }
        None
    }

    /// What boots if it has not failed.
    fn pick(&mut self) -> Option<(usize, Basis)> {
        if let Some(default) = self.next.default.clone() {
            match self.listed(&default) {
                Some(index) if self.is_bootable(index) => return Some((index, Basis::Default)),
                Some(index) => self.reasons.push(Reason::DefaultBroken(self.label(index))),
                None => self.reasons.push(Reason::DefaultGone(default)),
            }
        }
        if let Some(link) = self.situation.link {
            match self.listed(&Identity::new(link)) {
                Some(index) if self.is_bootable(index) => return Some((index, Basis::Link)),
                Some(index) => self.reasons.push(Reason::LinkUnusable(self.label(index))),
                None => self.reasons.push(Reason::LinkUnusable(link.into())),
            }
        }
        let newest = (0..self.identities.len()).find(|&index| self.is_bootable(index));
        newest.map(|index| (index, Basis::Newest))
    }

    /// What boots instead of the candidate at `failed`.
    fn instead_of(&mut self, failed: usize) -> (usize, Basis) {
        self.reasons.push(self.rolled_back(failed));
        if let Some(index) = self.last_good() {
            return (index, Basis::LastGood);
        }
        if let Some(index) = self.search() {
            self.next.searched = Some(self.identities[index].clone());
            return (index, Basis::Search);
        }
        self.reasons.push(Reason::NothingWorks);
        let not_counted = (0..self.identities.len())
            .find(|&index| self.is_bootable(index) && self.tries(index).is_none());
        (not_counted.unwrap_or(failed), Basis::LastResort)
    }

    fn last_good(&self) -> Option<usize> {
        let good = self.next.good().filter_map(|identity| self.listed(identity));
        good.into_iter().find(|&index| self.is_bootable(index))
    }

    /// The next one that may work. Those before the one that the search has come to had their tries,
    /// even if the record had no room to remember.
    fn search(&self) -> Option<usize> {
        // Two that take turns in one place would be new to the record again and again.
        if self.next.brief {
            return None;
        }
        let start = self.next.searched.as_ref().and_then(|searched| self.listed(searched));
        (start.unwrap_or(0)..self.identities.len()).find(|&index| {
            self.is_bootable(index) && self.tries(index).is_some() && !self.has_failed(index)
        })
    }

    /// Writes down what has to be, and no more: a boot of a blessed generation costs no write.
    fn finish(mut self, index: usize, basis: Basis) -> Decision {
        let attempt = match self.tries(index) {
            Some(tries) if self.situation.writable && basis != Basis::LastResort => {
                self.count(index, tries, basis)
            }
            _ => None,
        };
        if attempt.is_some() || self.next != self.before {
            let identity = self.identities[index].clone();
            self.next.last_booted = Some(Booted { identity, on_trial: attempt.is_some() });
        }
        let write = self.situation.writable && self.next != self.before;
        Decision { index, basis, reasons: self.reasons, attempt, write: write.then_some(self.next) }
    }

    /// Counts this boot, unless the candidate is known to work.
    fn count(&mut self, index: usize, tries: NonZeroU8, basis: Basis) -> Option<Attempt> {
        let identity = &self.identities[index];
        let standing = match self.next.standing(identity) {
            Some(Standing::Good) => return None,
            Some(standing) => standing.tried(),
            // No history, or none that leads anywhere: this is what there is to return to.
            None if self.next.last_good().is_none() && is_unattended_default(basis) => {
                Standing::Good
            }
            None => Standing::new(tries).tried(),
        };
        let counted = Counted { identity: identity.clone(), standing };
        // What the search stands in for must not be taken for new again.
        let kept = self.picked.map(|index| &self.identities[index]);
        self.next.touch(counted, kept, &|identity| self.identities.contains(identity));
        match standing {
            Standing::Good => None,
            Standing::Trying { left, done } => {
                Some(Attempt { number: done, of: done.saturating_add(left) })
            }
        }
    }

    fn rolled_back(&self, index: usize) -> Reason {
        let identity = &self.identities[index];
        let tries = match self.next.standing(identity) {
            Some(Standing::Trying { done, .. }) => done,
            _ => 0,
        };
        let failure = self.next.last_failure.as_ref();
        let last = failure.filter(|failure| failure.identity == *identity);
        Reason::RolledBack {
            from: self.label(index),
            tries,
            last: last.map(|failure| failure.text.clone()),
        }
    }

    fn listed(&self, identity: &Identity) -> Option<usize> {
        self.identities.iter().position(|other| other == identity)
    }

    fn is_bootable(&self, index: usize) -> bool {
        !self.situation.candidates[index].broken
    }

    fn tries(&self, index: usize) -> Option<NonZeroU8> {
        self.situation.candidates[index].tries
    }

    /// Whether it is counted and has used up its tries.
    fn has_failed(&self, index: usize) -> bool {
        let standing = self.next.standing(&self.identities[index]);
        self.tries(index).is_some() && standing.is_some_and(Standing::has_failed)
    }

    fn label(&self, index: usize) -> String {
        self.situation.candidates[index].label.into()
    }
}

/// Whether a boot by this rule is the normal one. One that was asked for once proves nothing.
fn is_unattended_default(basis: Basis) -> bool {
    matches!(basis, Basis::Default | Basis::Link | Basis::Newest)
}
