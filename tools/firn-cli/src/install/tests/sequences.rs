//! Whatever is done in whatever order, and wherever the power fails or the disk is full: the card boots what
//! it has booted before, or what was installed.

use std::{fs, path::PathBuf};

use super::{
    card::Card,
    disk::Plan,
    world::{Outcome, Pieces, World, other},
};
use crate::install::config::Source;

const SEQUENCES: u64 = 1000;
const STEPS: usize = 4;

/// A random sequence, and the machine after it.
pub(super) fn sequence(seed: u64, pieces: Pieces) -> World {
    let source = if seed.is_multiple_of(2) { Source::Profiles } else { Source::Extlinux };
    let mut world = World::new(seed, source, pieces);
    for _ in 0..STEPS {
        step(&mut world);
    }
    world
}

fn step(world: &mut World) {
    match world.dice.below(10) {
        0..=3 => {
            let profile = if world.dice.one_in(4) { other() } else { None };
            let toplevel = world.build(profile);
            install(world, &toplevel);
        }
        4 => {
            let links = world.links.len();
            let link = world.links[world.dice.below(links)].clone();
            let (profile, number) = link.key();
            world.point(profile, number);
            install(world, &link.toplevel);
        }
        5 => {
            let all = world.links.iter().flat_map(|link| &link.specialisations);
            let all: Vec<String> = all.cloned().collect();
            if !all.is_empty() {
                let special = all[world.dice.below(all.len())].clone();
                install(world, &special);
            }
        }
        6 | 7 => {
            let keep = world.dice.below(3);
            world.collect_garbage(keep);
            let _ = world.booted();
            if world.dice.one_in(2) {
                // Kernels of what is gone stay until the next installation.
                let default = world.booted();
                install(world, &default);
            }
        }
        8 => {
            world.model.sync_all();
            world.reboot();
        }
        _ => {
            world.model.cut();
            world.reboot();
            world.repair();
        }
    }
}

/// Installs, and something may go wrong meanwhile.
fn install(world: &mut World, toplevel: &str) {
    let before = world.booted();
    let allowed = [before.clone(), toplevel.to_owned()];
    let chance = world.dice.below(4);
    let at = 1 + world.dice.below(90) as u64;
    let point = if world.source() == Source::Extlinux { "/boot" } else { "/" };
    match chance {
        0 => world.plan(Plan::Cut(at)),
        1 => world.plan(Plan::Fail(at)),
        2 => {
            let room = world.dice.below(80_000) as u64;
            let overstates = if world.dice.one_in(3) { 20_000 } else { 0 };
            let used = world.model.used(point);
            world.model.set(point, |mount| {
                (mount.capacity, mount.overstates) = (used + room, overstates);
            });
        }
        _ => {}
    }
    let Outcome { result, said, .. } = world.install(toplevel);
    let was_cut = world.model.is_off();
    world.plan(Plan::Nothing);
    world.model.set(point, |mount| (mount.capacity, mount.overstates) = (u64::MAX / 4, 0));
    if was_cut {
        world.model.cut();
    }
    let booted = world.booted();
    assert!(allowed.contains(&booted), "{booted} boots, neither of {allowed:?}");
    match result {
        Ok(()) if !was_cut => {
            assert_eq!(booted, toplevel, "it was installed");
            world.check_list();
            let again = world.install(toplevel);
            again.result.unwrap();
            // What had no room may have it now.
            if !said.iter().any(|line| line.contains("is full")) && world.dice.one_in(2) {
                let changed = (again.written, again.removed);
                assert_eq!(changed, (0, 0), "a second time nothing is written");
            }
        }
        _ => world.check_list(),
    }
    if was_cut {
        world.reboot();
        world.repair();
    }
}

#[test]
fn a_thousand_sequences_leave_a_card_that_boots_the_old_or_the_new_default() {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let run = |first: u64| {
        for seed in (first..SEQUENCES).step_by(usize::try_from(threads).unwrap()) {
            let sequence = std::panic::catch_unwind(|| {
                sequence(seed, Pieces::small()).booted();
            });
            if let Err(panic) = sequence {
                eprintln!("sequence {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|first| drop(scope.spawn(move || run(first))))
    });
}

/// For the emulated boots of a sample: `FIRN_SEQUENCES=DIR cargo test -p firn-cli --bin firn -- --ignored
/// sequences` leaves in DIR, for each of `FIRN_SEEDS` (`0,1,2`; even ones have the profiles as source, odd
/// ones extlinux), `SEED/tree`, what the loader can read; `SEED/record-a` and `record-b`, the copies of the
/// state record; `SEED/boots`, the toplevel that boots by default, and `boots-without-record`. Kernel and device tree are those in
/// `FIRN_PIECES`, `Image` and `board.dtb`, if that is set.
#[test]
#[ignore = "writes files for other tests"]
fn what_sequences_leave_is_written_for_other_tests() {
    let Some(directory) = std::env::var_os("FIRN_SEQUENCES").map(PathBuf::from) else { return };
    let pieces = std::env::var_os("FIRN_PIECES").map(PathBuf::from);
    let pieces = pieces.map_or_else(Pieces::small, |folder| Pieces {
        kernel: fs::read(folder.join("Image")).unwrap(),
        device_tree: fs::read(folder.join("board.dtb")).unwrap(),
    });
    let seeds = std::env::var("FIRN_SEEDS").unwrap_or_else(|_| "0,1".to_owned());
    for seed in seeds.split(',') {
        let world = sequence(seed.parse().unwrap(), pieces.clone());
        let place = directory.join(seed);
        world.export(&place.join("tree"));
        for (name, bytes) in ["record-a", "record-b"].into_iter().zip(world.card.borrow().copies())
        {
            fs::write(place.join(name), bytes).unwrap();
        }
        fs::write(place.join("boots"), world.booted()).unwrap();
        *world.card.borrow_mut() = Card::blank();
        fs::write(place.join("boots-without-record"), world.booted()).unwrap();
    }
}
