//! What one device holds: what can be booted, and the record of earlier boots.

#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{Catalogue, Problem, Store, decision::Ground, listing::Listing, load::Facts};
use crate::{
    error::Coded,
    menu::text,
    nixos::Settings,
    state::{
        Identity, Record,
        policy::{Decision, Reason},
    },
};

/// What one device holds.
pub struct Found {
    /// What can be booted from it.
    pub catalogue: Catalogue,
    /// Its state record; none if what boots does not come from a card.
    pub store: Option<Store>,
    /// What Linux calls its controller.
    pub linux_name: Option<String>,
}

impl Found {
    /// What boots when nobody chooses. Indices of the list may shift.
    pub(super) fn decide(&mut self, facts: &Facts<'_>) -> Option<Decision> {
        self.ground(facts).decide(&mut self.catalogue)
    }

    /// What is to be done when a person chooses the generation at `index`.
    pub(super) fn decide_for_person(&self, facts: &Facts<'_>, index: usize) -> Option<Decision> {
        self.ground(facts).decide_for_person(&self.catalogue, index)
    }

    /// The list as the menu shows it.
    pub(super) fn listing(&self, settings: &Settings) -> Listing {
        let nothing = Record::default();
        let record = self.store.as_ref().map_or(&nothing, Store::record);
        Listing::new(&self.catalogue, record, settings.list_limit)
    }

    /// What a person should know: what is wrong on the device, and why something else boots than was
    /// meant to.
    pub(super) fn messages(&self, decision: Option<&Decision>) -> Vec<String> {
        let problems = self.catalogue.problems.iter().chain(self.problems_of_store());
        let reasons = decision.iter().flat_map(|decision| &decision.reasons);
        let reasons = reasons.map(|reason: &Reason| {
            Problem { code: reason.code(), text: reason.to_string() }.to_string()
        });
        problems.map(Problem::to_string).chain(reasons).collect()
    }

    /// Makes the generation at `index` the default; gives what came of it.
    pub(super) fn set_default(&mut self, facts: &Facts<'_>, index: usize) -> String {
        let index = self.catalogue.read(index);
        let Some(generation) = self.catalogue.generations.get(index) else { return String::new() };
        let name = text::name(generation);
        if let Some(broken) = &generation.broken {
            return format!("Not done: {name} is broken: {broken}");
        }
        let Some(store) = &mut self.store else {
            return "There is no card to keep it on.".into();
        };
        let mut record = store.record().clone();
        record.set_default(Identity::new(&generation.id), None);
        if let Err(problem) = store.write(&record) {
            return problem.to_string();
        }
        self.decide(facts);
        format!("The default from now on: {name}.")
    }

    fn ground(&self, facts: &Facts<'_>) -> Ground {
        Ground::new(self.store.as_ref(), facts.reset)
    }

    /// Whether the boots of any generation are counted.
    pub(super) fn is_counting(&self) -> bool {
        self.catalogue.generations.iter().any(|generation| generation.tries.is_some())
    }

    /// Without boot counting, and with nothing chosen, nobody misses the record.
    fn problems_of_store(&self) -> &[Problem] {
        let Some(store) = &self.store else { return &[] };
        let has_history = *store.record() != Record::default();
        if self.is_counting() || has_history { store.problems() } else { &[] }
    }
}
