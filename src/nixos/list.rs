//! One list out of what sources name: each generation once, newest first.

#![forbid(unsafe_code)]

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::{cmp::Reverse, mem};

use super::{Generation, Source};

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
    listed.sort_by_key(|generation| {
        (
            rank(generation, &numbered),
            Reverse(generation.number),
            generation.specialisation.is_some(),
        )
    });
    make_identities_unique(&mut listed);
    listed
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
