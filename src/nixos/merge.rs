//! One list out of several sources, on several volumes: each generation once, with its copies.
//!
//! A generation is what its toplevel is; two sources that name one toplevel name one generation. An
//! entry that is not NixOS's has no toplevel: it is the same as another if its source, name, title
//! and files are, as on mirrored boot partitions.
//!
//! The copy to boot is the best of those that are not broken: a profile's before `extlinux.conf`'s
//! before a loader entry's, then in the order of the volumes. The others are kept for the case that
//! it turns out damaged. The result does not depend on the order in which sources were read.

#![forbid(unsafe_code)]

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::{
    cmp::{Ordering, Reverse},
    mem,
};

use super::{Broken, DeviceTreeFile, Generation, Source};
use crate::sorting::sort_by;

/// A generation as one source names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is booted.
    pub generation: Generation,
    /// Index of the volume that holds its files, in the order in which volumes are searched.
    pub volume: usize,
    /// Its place in the order of its source.
    pub position: usize,
    /// Whether its source says that its boot attempts are used up.
    pub counted_out: bool,
}

/// A generation of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What is shown and booted. What is said of the generation as such, whether it is the default
    /// and whether its attempts are used up, is said here only.
    pub best: Found,
    /// The same elsewhere, in the order in which they are to be tried.
    pub copies: Vec<Found>,
    /// The best source that has it as its own default, if one has.
    pub wish: Option<Wish>,
}

/// A source that has a default, by which default goes before which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    preference: u8,
    volume: usize,
}

impl Listed {
    /// Puts the next copy that is not broken in the place of the one that cannot be booted. False if
    /// there is none: then the best one stays, and says why it is `broken`.
    pub fn try_next_copy(&mut self, broken: Broken) -> bool {
        self.best.generation.broken = Some(broken);
        let next = self.copies.iter().position(|copy| copy.generation.broken.is_none());
        let Some(next) = next else { return false };
        self.swap_in(next);
        true
    }

    /// Loads from the copy at `next` from now on. The row in the menu stays what a person has seen.
    fn swap_in(&mut self, next: usize) {
        let Some(copy) = self.copies.get_mut(next) else { return };
        let (shown, other) = (&mut self.best.generation, &mut copy.generation);
        mem::swap(&mut shown.files, &mut other.files);
        mem::swap(&mut shown.source, &mut other.source);
        mem::swap(&mut shown.name, &mut other.name);
        mem::swap(&mut shown.broken, &mut other.broken);
        mem::swap(&mut shown.tries, &mut other.tries);
        mem::swap(&mut self.best.volume, &mut copy.volume);
        mem::swap(&mut self.best.position, &mut copy.position);
    }

    /// Loads from the first copy that is not broken, if the best one is.
    fn pass_over_broken(&mut self) {
        if self.best.generation.broken.is_none() {
            return;
        }
        let next = self.copies.iter().position(|copy| copy.generation.broken.is_none());
        let Some(next) = next else { return };
        // It has not been seen yet, and little is known of what is broken.
        self.best.generation.title.clone_from(&self.copies[next].generation.title);
        self.swap_in(next);
    }

    /// Takes in another finding of the same generation, which is not better.
    fn add(&mut self, mut found: Found) {
        self.best.generation.complete_from(&found.generation);
        self.best.counted_out |= found.counted_out;
        found.counted_out = false;
        found.generation.default = false;
        if found.generation.unread {
            // There is nothing to load yet.
            return;
        }
        let is_there = |other: &Found| {
            other.volume == found.volume && other.generation.files == found.generation.files
        };
        if !is_there(&self.best) && !self.copies.iter().any(is_there) {
            self.copies.push(found);
        }
    }
}

impl Generation {
    /// Fills in what only another source tells.
    fn complete_from(&mut self, other: &Self) {
        // A specialisation belongs to its number.
        if self.number.is_none() && other.number.is_some() {
            self.number = other.number;
            self.profile.clone_from(&other.profile);
            self.specialisation.clone_from(&other.specialisation);
        }
        if self.unread && !other.unread {
            self.title.clone_from(&other.title);
        }
        for (own, others) in [
            (&mut self.date, &other.date),
            (&mut self.version, &other.version),
            (&mut self.kernel_version, &other.kernel_version),
        ] {
            if own.is_none() {
                own.clone_from(others);
            }
        }
    }
}

/// Brings what all sources name into one list: newest first, specialisations after their generation,
/// entries that are not NixOS's behind them, and last what its boot attempts are used up of.
///
/// At most one is the default, and that one is not broken: the default of the best source that has
/// one, else the newest. There is one if anything is not broken. Identities are unique.
pub fn merge(mut found: Vec<Found>) -> Vec<Listed> {
    sort_by(&mut found, worth);
    let mut listed = gather(found);
    listed.iter_mut().for_each(Listed::pass_over_broken);
    let default = default_entry(&listed);
    for (index, entry) in listed.iter_mut().enumerate() {
        entry.best.generation.default = default == Some(index);
    }
    make_identities_unique(&mut listed);
    sort_by(&mut listed, newest_first);
    listed
}

/// Gathers what is the same, from findings that are sorted by their worth.
fn gather(found: Vec<Found>) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut of_identity: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for found in found {
        let wish = Wish { preference: preference(&found), volume: found.volume };
        let wish = Some(wish).filter(|_| found.generation.default);
        let candidates = of_identity.entry(found.generation.id.clone()).or_default();
        let same = candidates.iter().find(|&&index| is_same(&listed[index].best, &found));
        if let Some(&index) = same {
            let entry = &mut listed[index];
            entry.add(found);
            entry.wish = [entry.wish, wish].into_iter().flatten().min();
        } else {
            candidates.push(listed.len());
            listed.push(Listed { best: found, copies: Vec::new(), wish });
        }
    }
    listed
}

/// Whether two findings with one identity are the same.
fn is_same(one: &Found, other: &Found) -> bool {
    let (one, other) = (&one.generation, &other.generation);
    // Of what is not read nothing else is known that could be compared.
    let is_known = !one.unread && !other.unread;
    has_toplevel(one) || (is_known && one.files == other.files && one.title == other.title)
}

fn has_toplevel(generation: &Generation) -> bool {
    generation.id.starts_with("/nix/store/")
}

/// Index of what boots when nobody chooses.
fn default_entry(listed: &[Listed]) -> Option<usize> {
    let bootable = || (0..listed.len()).filter(|&i| listed[i].best.generation.broken.is_none());
    let wanted = bootable()
        .filter_map(|index| Some((listed[index].wish?, index)))
        .min_by(|(one, i), (other, j)| {
            one.cmp(other).then_with(|| newest_first(&listed[*i], &listed[*j]))
        })
        .map(|(_, index)| index);
    let is_special = |index: usize| listed[index].best.generation.specialisation.is_some();
    wanted.or_else(|| {
        bootable().min_by(|&one, &other| {
            let (first, second) = (&listed[one], &listed[other]);
            first
                .best
                .counted_out
                .cmp(&second.best.counted_out)
                .then(is_special(one).cmp(&is_special(other)))
                .then_with(|| newest_first(first, second))
        })
    })
}

/// The best first; equal only what is the same in all that is kept.
fn worth(one: &Found, other: &Found) -> Ordering {
    fn key(found: &Found) -> impl Ord {
        let generation = &found.generation;
        (
            preference(found),
            found.volume,
            // A generation that two links hold is the system's own, of the higher number.
            &generation.profile,
            Reverse(generation.number),
            generation.specialisation.is_some(),
            found.position,
        )
    }
    fn rest(found: &Found) -> impl Ord {
        let Generation { id, name, title, specialisation, .. } = &found.generation;
        let files = &found.generation.files;
        let tree = match &files.device_tree {
            DeviceTreeFile::FromFirmware => (0, ""),
            DeviceTreeFile::File(file) => (1, file.as_str()),
            DeviceTreeFile::Directory(directory) => (2, directory.as_str()),
        };
        let broken = found.generation.broken.as_ref();
        (
            (id, name, title, specialisation),
            (&files.kernel, &files.initrds, tree, &files.command_line),
            broken.map(|broken| (broken.code.number(), &broken.reason)),
            // Last, because the best one has these completed.
            (&found.generation.date, &found.generation.version, &found.generation.kernel_version),
        )
    }
    key(one).cmp(&key(other)).then_with(|| rest(one).cmp(&rest(other)))
}

fn preference(found: &Found) -> u8 {
    match found.generation.source {
        Source::Profile => 0,
        Source::Extlinux => 1,
        Source::LoaderEntry => 2,
        Source::BootImage | Source::Prompt => 3,
    }
}

fn newest_first(one: &Listed, other: &Listed) -> Ordering {
    fn key(listed: &Listed) -> impl Ord {
        let generation = &listed.best.generation;
        (
            listed.best.counted_out,
            // Without a number anywhere it is what was installed last: a fresh card has nothing else.
            match generation.number {
                None if has_toplevel(generation) => 0,
                Some(_) => 1,
                None => 2,
            },
            // Those of one profile together, the system's own first.
            &generation.profile,
            Reverse(generation.number),
            &generation.specialisation,
            (preference(&listed.best), listed.best.volume, listed.best.position),
        )
    }
    key(one).cmp(&key(other)).then_with(|| worth(&one.best, &other.best))
}

/// Entries that are not NixOS's can have one name and be different.
fn make_identities_unique(listed: &mut [Listed]) {
    let all: BTreeSet<String> = listed.iter().map(|l| l.best.generation.id.clone()).collect();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for entry in listed {
        let id = &entry.best.generation.id;
        if used.contains(id) {
            let unused = (2_u32..)
                .map(|count| format!("{id}#{count}"))
                .find(|id| !all.contains(id) && !used.contains(id))
                .unwrap_or_default();
            for found in [&mut entry.best].into_iter().chain(&mut entry.copies) {
                found.generation.id.clone_from(&unused);
            }
        }
        used.insert(entry.best.generation.id.clone());
    }
}
