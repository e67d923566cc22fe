//! What the sources name, as it was found.

#![forbid(unsafe_code)]

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use super::{Problem, Volume};
use crate::nixos::{
    Access, Broken, Generation, Settings, Timeout,
    bootspec::{MAX_SPECIALISATIONS, MenuSettings},
    merge::Found,
    profiles::Profiles,
};

/// How long the menu waits where nobody said anything, in tenths of a second: as NixOS's
/// `boot.loader.timeout`.
const TIMEOUT: u32 = 50;

/// Positions that a link takes: itself and its specialisations.
const STRIDE: usize = MAX_SPECIALISATIONS + 1;

/// All that was found. Each finding has a position of its own.
#[derive(Default)]
pub(super) struct Sources {
    all: Vec<Source>,
    /// Behind the last position.
    end: usize,
    /// What turned out to be broken when it was loaded, by position.
    given_up: BTreeMap<usize, Broken>,
}

struct Source {
    /// Its first position.
    first: usize,
    volume: usize,
    kind: Kind,
}

enum Kind {
    /// Files that name generations, all of them read.
    Configured {
        /// In their order, and whether the boot attempts of each are used up.
        generations: Vec<(Generation, bool)>,
        settings: Settings,
    },
    /// Profiles, and what is known of each of their links.
    Linked { profiles: Profiles, links: Vec<Known> },
}

/// What is known of a link.
enum Known {
    /// Its name.
    Name,
    /// The toplevel that it leads to.
    Toplevel(String),
    /// Everything: the generation and its specialisations, and what each says about the menu.
    Described(Vec<Generation>, Vec<MenuSettings>),
}

impl Sources {
    /// Takes in what a boot configuration on `volume` names.
    pub(super) fn add_configured(
        &mut self,
        volume: usize,
        generations: Vec<(Generation, bool)>,
        settings: Settings,
    ) {
        let first = self.end;
        self.end = first.saturating_add(generations.len());
        self.all.push(Source { first, volume, kind: Kind::Configured { generations, settings } });
    }

    /// Takes in the profiles on `volume`, of which only names are known.
    pub(super) fn add_profiles(&mut self, volume: usize, profiles: Profiles) {
        let first = self.end;
        let links: Vec<Known> = profiles.links.iter().map(|_| Known::Name).collect();
        self.end = first.saturating_add(links.len().saturating_mul(STRIDE));
        self.all.push(Source { first, volume, kind: Kind::Linked { profiles, links } });
    }

    /// Whether there is no source at all.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All findings, as far as they are known.
    pub(super) fn found(&self) -> Vec<Found> {
        let mut found: Vec<Found> = self.all.iter().flat_map(Source::found).collect();
        for found in &mut found {
            if let Some(broken) = self.given_up.get(&found.position) {
                found.generation.broken = Some(broken.clone());
            }
        }
        found
    }

    /// Notes that what is at `position` cannot be booted.
    pub(super) fn give_up(&mut self, position: usize, broken: Broken) {
        self.given_up.insert(position, broken);
    }

    /// What is said about the menu where the generation with its best finding at `best` is found.
    ///
    /// A `boot.json` may say little; what it leaves open is as the boot configuration says that
    /// lists the generation, too.
    pub(super) fn settings(&self, best: usize, copies: impl Iterator<Item = usize>) -> Settings {
        let positions: Vec<usize> = [best].into_iter().chain(copies).collect();
        let at = |position: usize| Some((self.source_of(position)?, position));
        let found = || positions.iter().copied().filter_map(at);
        let configured = found().find_map(|(source, _)| match &source.kind {
            Kind::Configured { settings, .. } => Some(settings.clone()),
            Kind::Linked { .. } => None,
        });
        let mut settings = configured.unwrap_or_else(|| Settings::new(Timeout::After(TIMEOUT)));
        if let Some(menu) = found().find_map(|(source, position)| source.menu_settings(position)) {
            lay_over(menu, &mut settings);
        }
        settings
    }

    /// Reads all of the link at `position`; gives its generation's identity. `None` if no link is
    /// there.
    pub(super) fn describe(
        &mut self,
        position: usize,
        volumes: &mut [Volume],
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        let source = self.all.iter_mut().rev().find(|source| source.first <= position)?;
        source.describe((position - source.first) / STRIDE, volumes, problems)
    }

    /// Reads all links.
    pub(super) fn describe_all(&mut self, volumes: &mut [Volume], problems: &mut Vec<Problem>) {
        for source in &mut self.all {
            for link in 0..source.link_count() {
                source.describe(link, volumes, problems);
            }
        }
    }

    /// Reads what the `system` links name and the newest `count` of each volume's links.
    pub(super) fn describe_newest(
        &mut self,
        count: usize,
        volumes: &mut [Volume],
        problems: &mut Vec<Problem>,
    ) {
        for source in &mut self.all {
            let Kind::Linked { profiles, .. } = &source.kind else { continue };
            for link in profiles.current.into_iter().chain(0..count) {
                source.describe(link, volumes, problems);
            }
        }
    }

    /// Reads where those links lead whose generations a boot configuration lists, too: else they
    /// would be listed twice until somebody reads them.
    pub(super) fn look_at_doubles(&mut self, volumes: &mut [Volume]) {
        let key = |generation: &Generation| (generation.profile.clone(), generation.number);
        let listed: Vec<_> = self
            .all
            .iter()
            .filter_map(|source| match &source.kind {
                Kind::Configured { generations, .. } => Some(generations),
                Kind::Linked { .. } => None,
            })
            .flatten()
            .map(|(generation, _)| key(generation))
            .collect();
        for source in &mut self.all {
            let doubles: Vec<usize> = match &source.kind {
                Kind::Configured { .. } => continue,
                Kind::Linked { profiles, .. } => (0..profiles.links.len())
                    .filter(|&link| {
                        let link = &profiles.links[link];
                        listed.contains(&(link.profile.clone(), link.number))
                    })
                    .collect(),
            };
            for link in doubles {
                source.look_at(link, volumes);
            }
        }
    }

    /// Looks for the toplevel `id` and reads the generation that it is. True if anything is known now
    /// that was not before.
    pub(super) fn look_for(
        &mut self,
        id: &str,
        volumes: &mut [Volume],
        problems: &mut Vec<Problem>,
    ) -> bool {
        let mut anything = false;
        for source in &mut self.all {
            for link in 0..source.link_count() {
                anything |= source.look_at(link, volumes);
                if source.leads_to(link, id) {
                    source.describe(link, volumes, problems);
                    return true;
                }
            }
        }
        for source in &mut self.all {
            if !source.holds(id, volumes) {
                continue;
            }
            for link in 0..source.link_count() {
                if !source.is_described(link) {
                    source.describe(link, volumes, problems);
                    anything = true;
                }
                if source.has_described(link, id) {
                    return true;
                }
            }
        }
        anything
    }

    fn source_of(&self, position: usize) -> Option<&Source> {
        self.all.iter().rev().find(|source| source.first <= position)
    }
}

impl Source {
    fn found(&self) -> Vec<Found> {
        match &self.kind {
            Kind::Configured { generations, .. } => (self.first..)
                .zip(generations)
                .map(|(position, (generation, counted_out))| Found {
                    generation: generation.clone(),
                    volume: self.volume,
                    position,
                    counted_out: *counted_out,
                })
                .collect(),
            Kind::Linked { profiles, links } => {
                let mut all = Vec::new();
                for (link, known) in links.iter().enumerate() {
                    let mut generations = match known {
                        Known::Name => profiles.unread(link, None).into_iter().collect(),
                        Known::Toplevel(toplevel) => {
                            profiles.unread(link, Some(toplevel)).into_iter().collect()
                        }
                        Known::Described(generations, _) => generations.clone(),
                    };
                    if let Some(generation) = generations.first_mut() {
                        generation.default = profiles.current == Some(link);
                    }
                    let first = self.first + link * STRIDE;
                    let found = |(position, generation)| Found {
                        generation,
                        volume: self.volume,
                        position,
                        counted_out: false,
                    };
                    all.extend((first..).zip(generations).map(found));
                }
                all
            }
        }
    }

    fn link_count(&self) -> usize {
        match &self.kind {
            Kind::Configured { .. } => 0,
            Kind::Linked { links, .. } => links.len(),
        }
    }

    /// What the generation at `position` says about the menu, if it is a link's and read.
    fn menu_settings(&self, position: usize) -> Option<&MenuSettings> {
        let Kind::Linked { links, .. } = &self.kind else { return None };
        let position = position - self.first;
        match links.get(position / STRIDE)? {
            Known::Described(_, settings) => settings.get(position % STRIDE),
            _ => None,
        }
    }

    /// Reads where a link leads, if nothing is known of it but its name; true if it is known now.
    fn look_at(&mut self, link: usize, volumes: &mut [Volume]) -> bool {
        let Kind::Linked { profiles, links } = &mut self.kind else { return false };
        let known = links.get_mut(link).filter(|known| matches!(known, Known::Name));
        let (Some(known), Some(volume)) = (known, volumes.get_mut(self.volume)) else {
            return false;
        };
        // What is wrong with a link is told by who describes it.
        match profiles.toplevel(&mut *volume.file_system, link) {
            Ok(toplevel) => *known = Known::Toplevel(toplevel),
            Err(_) => return false,
        }
        true
    }

    /// Whether a link that is not read yet is known to lead to the toplevel `id`.
    fn leads_to(&self, link: usize, id: &str) -> bool {
        let Kind::Linked { links, .. } = &self.kind else { return false };
        matches!(links.get(link), Some(Known::Toplevel(toplevel)) if toplevel == id)
    }

    fn is_described(&self, link: usize) -> bool {
        let Kind::Linked { links, .. } = &self.kind else { return false };
        matches!(links.get(link), Some(Known::Described(..)))
    }

    fn has_described(&self, link: usize, id: &str) -> bool {
        let Kind::Linked { links, .. } = &self.kind else { return false };
        match links.get(link) {
            Some(Known::Described(generations, _)) => generations.iter().any(|g| g.id == id),
            _ => false,
        }
    }

    /// Whether the toplevel `id` is in the store at all.
    fn holds(&self, id: &str, volumes: &mut [Volume]) -> bool {
        let Kind::Linked { profiles, .. } = &self.kind else { return false };
        let Some(volume) = volumes.get_mut(self.volume) else { return false };
        profiles.holds(&mut *volume.file_system, id)
    }

    /// Reads all of a link, if that was not done before; gives its generation's identity.
    fn describe(
        &mut self,
        link: usize,
        volumes: &mut [Volume],
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        let Kind::Linked { profiles, links } = &mut self.kind else { return None };
        let known = links.get_mut(link)?;
        if !matches!(known, Known::Described(..)) {
            let volume = volumes.get_mut(self.volume)?;
            let description = profiles.describe(&mut *volume.file_system, link)?;
            let warnings = description.warnings.iter();
            problems.extend(warnings.map(|warning| Problem::at(&volume.name, warning)));
            *known = Known::Described(description.generations, description.settings);
        }
        match known {
            Known::Described(generations, _) => generations.first().map(|g| g.id.to_string()),
            _ => None,
        }
    }
}

fn lay_over(menu: &MenuSettings, settings: &mut Settings) {
    settings.timeout = menu.timeout.unwrap_or(settings.timeout);
    settings.list_limit = menu.configuration_limit.or(settings.list_limit);
    match (menu.editor, &menu.password_hash) {
        (Some(false), _) => settings.access = Access::Nobody,
        (_, Some(hash)) => settings.access = Access::Password(hash.clone()),
        (Some(true), None) => settings.access = Access::Free,
        (None, None) => {}
    }
}
