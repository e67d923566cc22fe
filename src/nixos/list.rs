//! One list out of what sources name: each generation once, newest first.

#![forbid(unsafe_code)]

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::{cmp::Reverse, mem};

use super::{Broken, Generation, Source};
use crate::sorting::sort_by_key;

/// Brings generations into the order of the menu: newest first, specialisations after their
/// generation, entries that are not NixOS's last and in the order of their source.
///
/// What is found twice (same toplevel, same files) is listed once, under its highest number. An
/// entry that has a listed generation's toplevel but other files (somebody's edited copy) stays,
/// with an identity of its own.
pub fn arrange(found: Vec<Generation>) -> Vec<Generation> {
    let mut listed = without_doubles(found);
    let numbered: BTreeSet<String> =
        listed.iter().filter(|g| g.number.is_some()).map(|g| g.id.clone()).collect();
    sort_by_key(&mut listed, |generation| {
        (
            rank(generation, &numbered),
            Reverse(generation.number),
            generation.specialisation.is_some(),
        )
    });
    make_identities_unique(&mut listed);
    listed
}

/// Notes that a generation cannot be booted. If it was the default, another one becomes it; gives
/// the default's index, if there is still one.
///
/// The next older generation is asked first, then the newer ones, specialisations last: they are
/// made for something else than a normal boot.
pub fn give_up(generations: &mut [Generation], index: usize, broken: Broken) -> Option<usize> {
    let given_up = generations.get_mut(index)?;
    given_up.broken = Some(broken);
    if given_up.default {
        given_up.default = false;
        if let Some(next) = next_to(generations, index) {
            generations[next].default = true;
        }
    }
    generations.iter().position(|generation| generation.default)
}

fn next_to(generations: &[Generation], index: usize) -> Option<usize> {
    let older_first = || (index..generations.len()).chain(0..index);
    let bootable = |&other: &usize| generations[other].broken.is_none();
    let plain = |&other: &usize| generations[other].specialisation.is_none();
    older_first().filter(bootable).find(plain).or_else(|| older_first().find(bootable))
}

/// Indices of what the menu lists, of `limit` generations of
/// each profile, the newest, with their specialisations; and whatever else `is_wanted`, by index,
/// with the generation that it belongs to. What no profile holds is always listed.
pub fn within_limit(
    generations: &[Generation],
    limit: Option<u32>,
    is_wanted: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let number = |generation: &Generation| (generation.profile.clone(), generation.number);
    let wanted: BTreeSet<_> = (0..generations.len())
        .filter(|&index| is_wanted(index))
        .map(|index| number(&generations[index]))
        .collect();
    let mut newest: BTreeMap<Option<String>, BTreeSet<Option<u32>>> = BTreeMap::new();
    let mut is_listed = |generation: &Generation| {
        let Some(limit) = limit.filter(|_| generation.source == Source::Profile) else {
            return true;
        };
        let newest = newest.entry(generation.profile.clone()).or_default();
        let room = newest.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        if room {
            newest.insert(generation.number);
        }
        newest.contains(&generation.number) || wanted.contains(&number(generation))
    };
    (0..generations.len()).filter(|&index| is_listed(&generations[index])).collect()
}

/// The identity of an entry that has no toplevel of its own: its source and its name there.
pub fn foreign_id(source: Source, name: &str) -> String {
    format!("{source}:{name}")
}

fn without_doubles(found: Vec<Generation>) -> Vec<Generation> {
    let mut listed: Vec<Generation> = Vec::with_capacity(found.len());
    for mut generation in found {
        let double =
            listed.iter_mut().find(|l| l.id == generation.id && l.files == generation.files);
        let Some(double) = double else {
            listed.push(generation);
            continue;
        };
        let default = double.default || generation.default;
        if generation.number > double.number {
            mem::swap(double, &mut generation);
        }
        double.default = default;
    }
    listed
}

/// A toplevel that has no number anywhere is what was installed last: a fresh card has nothing else.
fn rank(generation: &Generation, numbered: &BTreeSet<String>) -> u8 {
    match generation.number {
        None if generation.id.starts_with('/') && !numbered.contains(&generation.id) => 0,
        Some(_) => 1,
        None => 2,
    }
}

fn make_identities_unique(listed: &mut [Generation]) {
    for index in 1..listed.len() {
        let (before, rest) = listed.split_at_mut(index);
        if before.iter().any(|earlier| earlier.id == rest[0].id) {
            rest[0].id = foreign_id(rest[0].source, &rest[0].name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Code, nixos::extlinux};

    /// 42 (the default), 42 rescue, 41.
    fn generations() -> Vec<Generation> {
        let text = include_bytes!("../../tests/fixtures/nixos/extlinux.fdt-name.conf");
        extlinux::parse("/extlinux/extlinux.conf", text).expect("has entries").generations
    }

    fn broken() -> Broken {
        Broken { code: Code::KernelTruncated, reason: "the kernel is truncated".into() }
    }

    #[test]
    fn after_the_default_the_next_older_generation_is_tried_and_specialisations_last() {
        let mut generations = generations();
        assert_eq!(give_up(&mut generations, 0, broken()), Some(2));
        assert_eq!(give_up(&mut generations, 2, broken()), Some(1));
        assert_eq!(give_up(&mut generations, 1, broken()), None);
    }

    #[test]
    fn after_an_older_default_the_newer_generations_are_tried() {
        let mut generations = generations();
        generations[0].default = false;
        generations[2].default = true;
        assert_eq!(give_up(&mut generations, 2, broken()), Some(0));
    }

    #[test]
    fn a_choice_that_fails_leaves_the_default_alone() {
        let mut generations = generations();
        assert_eq!(give_up(&mut generations, 2, broken()), Some(0));
        assert!(generations[2].broken.is_some());
    }

    #[test]
    fn of_a_profile_the_newest_are_listed_and_what_is_wanted_beyond() {
        let mut all = generations();
        for generation in &mut all {
            generation.source = Source::Profile;
        }
        let listed =
            |limit, wanted: Option<usize>| within_limit(&all, limit, |index| Some(index) == wanted);
        assert_eq!(listed(Some(1), None), [0, 1], "with its specialisation");
        assert_eq!(listed(Some(1), Some(2)), [0, 1, 2]);
        assert_eq!(listed(Some(0), Some(1)), [0, 1], "a specialisation with its generation");
        assert_eq!(listed(Some(7), None), [0, 1, 2]);
        assert_eq!(listed(None, None), [0, 1, 2]);
        assert_eq!(within_limit(&generations(), Some(0), |_| false), [0, 1, 2], "of extlinux");
    }

    #[test]
    fn an_index_beyond_the_list_changes_nothing() {
        let mut generations = generations();
        let before = generations.clone();
        assert_eq!(give_up(&mut generations, 9, broken()), None);
        assert_eq!(generations, before);
    }
}
