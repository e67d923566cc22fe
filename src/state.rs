//! What outlives a boot: the chosen default, boot counting, the last failure.
//!
//! One [`Record`] in two copies on the card, the only thing that firmware ever writes. Pure: bytes
//! and values in, bytes and values out. [`place`] says where the copies lie, [`copies`] which of them
//! counts and how to write so that a power cut leaves the old or the new one, [`policy`] what to boot.
//! The format is in `docs/state-record.md`; the `firn` command of the running system shares this code.

#![forbid(unsafe_code)]

mod codec;
pub mod copies;
pub mod counter;
mod identity;
pub mod place;
pub mod policy;

use alloc::{string::String, vec::Vec};
use core::num::NonZeroU8;

use crate::error::Code;

pub use codec::{Error, FAILURE_TEXT, RECORD_BLOCKS, RECORD_SIZE};
pub use identity::{Identity, MAX_IDENTITY};

/// Counted generations that a record has room for, each with an identity of full length.
pub const MAX_COUNTED: usize = 8;

/// What is known from earlier boots. [`Record::default`] is that of a card without history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What boots when nobody chooses, as the install hook or a person wrote it.
    pub default: Option<Identity>,
    /// What boots in its place the next time, and only then.
    pub boot_once: Option<Identity>,
    /// The last boot that was written down. Boots of a blessed generation are not.
    pub last_booted: Option<Booted>,
    /// The last failure that was found.
    pub last_failure: Option<Failure>,
    /// How far the search for a generation that works has come.
    searched: Option<Identity>,
    /// Last touched first.
    counted: Vec<Counted>,
    /// What a later version wrote, as it is.
    unknown: Vec<Unknown>,
    /// It is kept where one generation on trial has room: see [`counter`].
    brief: bool,
}

/// A boot that was written down before its jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// What was booted.
    pub identity: Identity,
    /// Whether it has still to prove itself: if it is not blessed by the next boot, it has failed.
    pub on_trial: bool,
}

/// A generation that did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub identity: Identity,
    /// Number of the [`Code`]; one that this version does not know is kept.
    pub code: u16,
    /// What happened: for a try that was not blessed, the reset cause. Cut at [`FAILURE_TEXT`] bytes
    /// when it is written.
    pub text: String,
}

/// A generation whose boots are counted, or were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which one.
    pub identity: Identity,
    /// How it stands.
    pub standing: Standing,
}

/// What is known of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not come up yet.
    Trying {
        /// Tries left; with none, it has failed.
        left: u8,
        /// Tries done.
        done: u8,
    },
    /// It has come up, or it was what ran when there was no record.
    Good,
}

/// An entry that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unknown {
    tag: u16,
    value: Vec<u8>,
}

impl Failure {
    /// A failure that this version knows.
    pub fn new(identity: Identity, code: Code, text: String) -> Self {
        Self { identity, code: code.number(), text }
    }
}

impl Standing {
    /// One with all its tries.
    fn new(tries: NonZeroU8) -> Self {
        Self::Trying { left: tries.get(), done: 0 }
    }

    /// After one more try.
    fn tried(self) -> Self {
        match self {
            Self::Good => Self::Good,
            Self::Trying { left, done } => {
                Self::Trying { left: left.saturating_sub(1), done: done.saturating_add(1) }
            }
        }
    }

    /// Whether all tries are used up.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Trying { left: 0, .. })
    }
}

impl Record {
    /// The counted generations, the last touched one first.
    pub fn counted(&self) -> &[Counted] {
        &self.counted
    }

    /// How `identity` stands; `None` if it is new to the record.
    pub fn standing(&self, identity: &Identity) -> Option<Standing> {
        let counted = self.counted.iter().find(|counted| counted.identity.matches(identity));
        counted.map(|counted| counted.standing)
    }

    /// What is known to work, the last blessed one first.
    pub fn good(&self) -> impl Iterator<Item = &Identity> {
        let good = self.counted.iter().filter(|counted| counted.standing == Standing::Good);
        good.map(|counted| &counted.identity)
    }

    /// The last good one: what a rollback leads to.
    pub fn last_good(&self) -> Option<&Identity> {
        self.good().next()
    }

    /// Makes `identity` the default and, as somebody asks for it now, gives it all its tries again
    /// if it is not known to work.
    ///
    /// `running`, the generation that runs while this is done on a running system, counts as good if
    /// nothing else does: there is something to return to then.
    pub fn set_default(&mut self, identity: Identity, running: Option<Identity>) {
        if let Some(running) = running
            && self.last_good().is_none()
        {
            self.bless(running);
        }
        self.recognise(core::slice::from_ref(&identity));
        self.counted
            .retain(|counted| counted.identity != identity || counted.standing == Standing::Good);
        self.searched = None;
        self.default = Some(identity);
    }

    /// Notes that `identity` came up: it is the last good one from now on. Changes nothing the
    /// second time, so that a boot that is like the one before costs no write.
    pub fn bless(&mut self, identity: Identity) {
        self.recognise(core::slice::from_ref(&identity));
        self.searched = None;
        if let Some(booted) = &mut self.last_booted
            && booted.identity == identity
        {
            booted.on_trial = false;
        }
        if self.last_good() != Some(&identity) {
            // What the list holds is not known to who blesses: no entry counts as gone.
            self.touch(Counted { identity, standing: Standing::Good }, None, &|_| true);
        }
    }

    /// Puts in for digests what they are digests of.
    fn recognise(&mut self, identities: &[Identity]) {
        let booted = self.last_booted.iter_mut().map(|booted| &mut booted.identity);
        let counted = self.counted.iter_mut().map(|counted| &mut counted.identity);
        for known in booted.chain(counted) {
            if let Some(identity) = identities.iter().find(|identity| identity.matches(known)) {
                known.clone_from(identity);
            }
        }
    }

    /// Puts `counted` in front of all others. If there is no room, it takes the place of another: of
    /// the one touched longest ago among those that are not listed any more; else among those
    /// that are not known to work; else among the others. The default, the last good one and
    /// `kept` stay.
    fn touch(
        &mut self,
        counted: Counted,
        kept: Option<&Identity>,
        listed: &dyn Fn(&Identity) -> bool,
    ) {
        self.counted.retain(|other| other.identity != counted.identity);
        if self.counted.len() >= MAX_COUNTED {
            let evicted = self.least_wanted(kept, listed);
            self.counted.remove(evicted);
        }
        self.counted.insert(0, counted);
    }

    /// Index of the entry to do without, of a full list.
    fn least_wanted(&self, kept: Option<&Identity>, listed: &dyn Fn(&Identity) -> bool) -> usize {
        let last_good = self.last_good();
        let rank = |counted: &Counted| {
            let identity = Some(&counted.identity);
            if identity == last_good || identity == kept || identity == self.default.as_ref() {
                3
            } else if !listed(&counted.identity) {
                0
            } else if counted.standing != Standing::Good {
                1
            } else {
                2
            }
        };
        let oldest_first = self.counted.iter().enumerate().rev();
        oldest_first.min_by_key(|(_, counted)| rank(counted)).map_or(0, |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn id(name: &str) -> Identity {
        Identity::new(name)
    }

    fn counted(name: &str, standing: Standing) -> Counted {
        Counted { identity: id(name), standing }
    }

    const FAILED: Standing = Standing::Trying { left: 0, done: 3 };

    fn names(record: &Record) -> Vec<&str> {
        record.counted().iter().map(|counted| counted.identity.as_str()).collect()
    }

    /// Full: `g0` is the last good one, `g7` was blessed first.
    fn full_of_good_ones() -> Record {
        let mut record = Record::default();
        (0..MAX_COUNTED).rev().for_each(|n| record.bless(id(&format!("g{n}"))));
        record
    }

    #[test]
    fn blessing_the_last_good_one_again_changes_nothing() {
        let mut record = full_of_good_ones();
        let before = record.clone();
        record.bless(id("g0"));
        assert_eq!(record, before);
    }

    #[test]
    fn the_last_good_one_is_the_last_blessed_one() {
        let mut record = full_of_good_ones();
        record.bless(id("g5"));
        assert_eq!(record.last_good(), Some(&id("g5")));
        assert_eq!(names(&record)[..2], ["g5", "g0"]);
    }

    #[test]
    fn a_full_record_forgets_the_good_one_blessed_longest_ago() {
        let mut record = full_of_good_ones();
        record.bless(id("new"));
        assert_eq!(names(&record), ["new", "g0", "g1", "g2", "g3", "g4", "g5", "g6"]);
    }

    #[test]
    fn a_full_record_forgets_what_failed_before_what_works() {
        let mut record = full_of_good_ones();
        record.counted[3] = counted("bad", FAILED);
        record.bless(id("new"));
        assert!(!names(&record).contains(&"bad"));
        assert!(names(&record).contains(&"g7"));
    }

    #[test]
    fn a_full_record_forgets_what_is_not_listed_any_more_first() {
        let mut record = full_of_good_ones();
        record.counted[3] = counted("bad", FAILED);
        record.touch(counted("new", FAILED), None, &|other| *other != id("g2"));
        assert!(!names(&record).contains(&"g2"));
        assert!(names(&record).contains(&"bad"));
    }

    #[test]
    fn a_full_record_keeps_the_default_the_last_good_one_and_what_is_being_tried() {
        let mut record = full_of_good_ones();
        record.default = Some(id("g7"));
        record.touch(counted("new", FAILED), Some(&id("g6")), &|_| false);
        for kept in ["g7", "g6", "g0"] {
            assert!(names(&record).contains(&kept), "{kept}");
        }
        assert!(!names(&record).contains(&"g5"));
    }

    #[test]
    fn asking_for_a_failed_generation_again_gives_it_all_its_tries_again() {
        let mut record = full_of_good_ones();
        record.counted[3] = counted("bad", FAILED);
        record.set_default(id("bad"), None);
        assert_eq!(record.default, Some(id("bad")));
        assert_eq!(record.standing(&id("bad")), None);
    }

    #[test]
    fn asking_for_a_good_generation_does_not_put_it_on_trial() {
        let mut record = full_of_good_ones();
        record.set_default(id("g4"), None);
        assert_eq!(record.standing(&id("g4")), Some(Standing::Good));
        assert_eq!(record.last_good(), Some(&id("g0")));
    }

    #[test]
    fn the_running_generation_counts_as_good_when_nothing_else_does() {
        let mut record = Record::default();
        record.set_default(id("new"), Some(id("running")));
        assert_eq!(record.last_good(), Some(&id("running")));

        let mut record = full_of_good_ones();
        record.set_default(id("new"), Some(id("running")));
        assert_eq!(record.standing(&id("running")), None);
    }
}
