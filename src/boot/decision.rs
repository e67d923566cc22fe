//! What boots when nobody chooses: the list meets the state record.
//!
//! The rules are [`policy`]'s. This gives it what it decides on, and reads on in the list as long as
//! what is not read yet could change the decision.

#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};

use super::{Catalogue, Store};
use crate::{
    handoff::ResetCause,
    menu::text,
    nixos::Generation,
    state::{
        Record,
        policy::{self, Basis, Candidate, Decision, Situation},
    },
};

/// What the decisions about one device rest on.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    record: Record,
    writable: bool,
    reset: Option<ResetCause>,
}

impl Ground {
    /// Of a device with this record, on a board that was reset for this reason.
    pub fn new(store: Option<&Store>, reset: Option<ResetCause>) -> Self {
        Self {
            record: store.map(|store| store.record().clone()).unwrap_or_default(),
            writable: store.is_some_and(Store::is_writable),
            reset,
        }
    }

    /// What boots when nobody chooses, which gets the mark of the default; `None` if nothing can be
    /// booted. Indices of the list may shift.
    pub fn decide(&self, catalogue: &mut Catalogue) -> Option<Decision> {
        self.look_for_what_the_record_names(catalogue);
        let decision = loop {
            let decision = Candidates::of(catalogue)
                .decide(self, |record, situation, _| policy::decide(record, situation));
            let last_resort = |decision: &Decision| decision.basis == Basis::LastResort;
            if decision.as_ref().is_some_and(|decision| !last_resort(decision)) {
                break decision;
            }
            match catalogue.generations.iter().position(|generation| generation.unread) {
                Some(unread) => drop(catalogue.read(unread)),
                None => break decision,
            }
        };
        catalogue.set_default(decision.as_ref().map(|decision| decision.index));
        decision
    }

    /// What is to be done when a person chooses the generation at `index`.
    pub fn decide_for_person(&self, catalogue: &Catalogue, index: usize) -> Option<Decision> {
        Candidates::of(catalogue).decide(self, |record, situation, position_of| {
            policy::decide_for_person(record, situation, position_of(index)?)
        })
    }

    /// Where the record leads to generations that are not read yet.
    fn look_for_what_the_record_names(&self, catalogue: &mut Catalogue) {
        for identity in self.record.boot_once.iter().chain(&self.record.default) {
            catalogue.find(identity.as_str());
        }
        if self.record.counted().iter().any(|counted| counted.standing.has_failed()) {
            let mut good = self.record.good();
            good.find(|identity| {
                let index = catalogue.find(identity.as_str());
                index.is_some_and(|index| catalogue.generations[index].broken.is_none())
            });
        }
    }
}

/// The list as the policy sees it: specialisations, which are made for something else than a normal
/// boot, come last.
struct Candidates<'a> {
    catalogue: &'a Catalogue,
    /// Index in the list of each candidate.
    order: Vec<usize>,
    labels: Vec<String>,
}

impl<'a> Candidates<'a> {
    fn of(catalogue: &'a Catalogue) -> Self {
        let generations = &catalogue.generations;
        let is_plain = |&index: &usize| generations[index].specialisation.is_none();
        let (mut order, specialisations): (Vec<_>, Vec<_>) =
            (0..generations.len()).partition(is_plain);
        order.extend(specialisations);
        let labels = order.iter().map(|&index| text::name(&generations[index])).collect();
        Self { catalogue, order, labels }
    }

    /// `rule` gets the record, the situation, and how an index of the list becomes a candidate's;
    /// its decision's index is the list's again.
    fn decide(
        &self,
        ground: &Ground,
        rule: impl FnOnce(&Record, &Situation<'_>, &dyn Fn(usize) -> Option<usize>) -> Option<Decision>,
    ) -> Option<Decision> {
        let generations = &self.catalogue.generations;
        let candidates: Vec<_> = self
            .order
            .iter()
            .zip(&self.labels)
            .map(|(&index, label)| candidate(&generations[index], label))
            .collect();
        let situation = Situation {
            candidates: &candidates,
            link: self.catalogue.link().map(|link| generations[link].id.as_str()),
            reset: ground.reset,
            writable: ground.writable,
        };
        let position_of = |index| self.order.iter().position(|&other| other == index);
        let mut decision = rule(&ground.record, &situation, &position_of)?;
        decision.index = self.order[decision.index];
        Some(decision)
    }
}

fn candidate<'a>(generation: &'a Generation, label: &'a str) -> Candidate<'a> {
    Candidate {
        id: &generation.id,
        label,
        // What is not read yet is not known to be bootable.
        broken: generation.broken.is_some() || generation.unread,
        tries: generation.tries,
    }
}
