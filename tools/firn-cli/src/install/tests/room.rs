//! A boot directory that is full.

use super::{
    card,
    disk::Plan,
    world::{Outcome, Pieces, World},
};
use crate::install::config::Source;

const BOOT: &str = "/boot";

/// A machine with five generations whose kernels all differ, all of them copied; it runs the first.
fn machine(seed: u64) -> World {
    let mut world = World::new(seed, Source::Extlinux, Pieces::small());
    world.config.configuration_limit = None;
    world.only_new_kernels = true;
    for _ in 0..4 {
        let toplevel = world.build(None);
        world.install(&toplevel).result.unwrap();
    }
    world
}

fn toplevels(world: &World) -> Vec<String> {
    world.links.iter().map(|link| link.toplevel.clone()).collect()
}

fn leave(world: &World, free: u64, overstates: u64) {
    let used = world.model.used(BOOT);
    world.model.set(BOOT, |mount| (mount.capacity, mount.overstates) = (used + free, overstates));
}

#[test]
fn the_oldest_generation_goes_first_and_what_runs_stays() {
    for seed in 0..12 {
        // Also where the disk believes that it has room.
        for overstates in [0, 1 << 20] {
            let mut world = machine(seed);
            let before = toplevels(&world);
            let new = world.build(None);
            leave(&world, 0, overstates);
            let Outcome { result, said, .. } = world.install(&new);
            result.unwrap();
            assert_eq!(world.booted(), new);
            world.check_list();
            let listed = world.listed();
            assert!(!listed.contains(&before[1]), "the oldest that does not run: {listed:?}");
            assert!(listed.contains(&before[0]), "what runs: {listed:?}");
            assert!(listed.contains(&before[4]), "the newest: {listed:?}");
            let told = said.iter().filter(|line| line.contains("/boot is full: nixos-2-")).count();
            assert!(told >= 1, "{said:?}");
        }
    }
}

#[test]
fn wherever_the_power_fails_while_room_is_made_something_old_or_the_new_default_boots() {
    for seed in 0..4 {
        for at in 1..60 {
            let mut world = machine(seed);
            let old = world.booted();
            let new = world.build(None);
            leave(&world, 0, 0);
            world.plan(Plan::Cut(at));
            if world.install(&new).result.is_ok() {
                break;
            }
            world.model.cut();
            let booted = world.booted();
            assert!([&old, &new].contains(&&booted), "{seed} {at}: {booted}");
        }
    }
}

#[test]
fn what_the_state_record_names_stays() {
    for seed in 0..12 {
        let mut world = machine(seed);
        let before = toplevels(&world);
        let good = firn::state::Identity::new(&before[1]);
        card::change(&world.card, |record| record.bless(good));
        let new = world.build(None);
        leave(&world, 0, 0);
        world.install(&new).result.unwrap();
        let listed = world.listed();
        assert!(listed.contains(&before[1]), "the last good one: {listed:?}");
        assert!(!listed.contains(&before[2]), "{listed:?}");
    }
}

#[test]
fn without_room_for_what_must_stay_it_is_told_how_much_is_missing_and_nothing_has_changed() {
    for seed in 0..12 {
        let mut world = World::new(seed, Source::Extlinux, Pieces::small());
        world.only_new_kernels = true;
        let old = world.booted();
        let new = world.build(None);
        leave(&world, 0, 0);
        let before = world.model.all_below(BOOT);
        let error = format!("{:#}", world.install(&new).result.unwrap_err());
        for part in ["/boot has no room for", "are missing", "needed, 0 bytes free"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(world.booted(), old);
        assert!(world.model.all_below(BOOT) == before);
    }
}

#[test]
fn a_disk_that_says_it_has_room_and_has_none_leaves_the_old_state() {
    for seed in 0..12 {
        let mut world = World::new(seed, Source::Extlinux, Pieces::small());
        world.only_new_kernels = true;
        let old = world.booted();
        let new = world.build(None);
        leave(&world, 0, 1 << 30);
        let error = format!("{:#}", world.install(&new).result.unwrap_err());
        assert!(error.contains("/boot has no room for"), "{error}");
        assert_eq!(world.booted(), old);
        world.check_list();
        let left = world.model.all_below(BOOT);
        assert!(left.iter().all(|(path, _)| !path.ends_with(".tmp")), "{left:?}");
    }
}

#[test]
fn what_a_cut_installation_has_left_goes_before_any_generation() {
    for seed in 0..12 {
        let mut world = machine(seed);
        let before = toplevels(&world);
        world.model.file("/boot/nixos/left-Image.tmp", &vec![0; 400_000]);
        let new = world.build(None);
        leave(&world, 0, 0);
        world.install(&new).result.unwrap();
        let listed = world.listed();
        assert!(before.iter().all(|toplevel| listed.contains(toplevel)), "{listed:?}");
    }
}
