//! One installation, and one thing that goes wrong: at each operation in turn.

use super::{
    card,
    disk::Plan,
    world::{Pieces, World},
};
use crate::install::config::Source;

/// More operations than any installation has.
const ENOUGH: u64 = 400;

/// A machine with two generations, the newer of which runs, and a third that is built and not installed.
fn machine(seed: u64, source: Source) -> (World, String) {
    let mut world = World::new(seed, source, Pieces::small());
    let second = world.build(None);
    world.install(&second).result.unwrap();
    world.model.sync_all();
    world.reboot();
    let third = world.build(None);
    (world, third)
}

fn both(each: impl Fn(u64, Source)) {
    for seed in 0..6 {
        each(seed, Source::Profiles);
        each(seed, Source::Extlinux);
    }
}

/// Operations of an installation in which nothing goes wrong.
fn operations(seed: u64, source: Source) -> u64 {
    let (world, third) = machine(seed, source);
    world.plan(Plan::Nothing);
    world.install(&third).result.unwrap();
    assert_eq!(world.booted(), third);
    world.model.operations()
}

#[test]
fn wherever_the_power_fails_the_old_or_the_new_generation_boots() {
    both(|seed, source| {
        let mut seen = [0, 0];
        let all = operations(seed, source);
        assert!((3..ENOUGH).contains(&all), "{all}");
        for at in 1..=all {
            let (mut world, third) = machine(seed, source);
            let old = world.booted();
            world.plan(Plan::Cut(at));
            world.install(&third).result.unwrap_err();
            world.model.cut();
            let booted = world.booted();
            assert!([&old, &third].contains(&&booted), "{source:?} {seed} {at}: {booted}");
            world.check_list();
            seen[usize::from(booted == third)] += 1;

            world.reboot();
            world.repair();
            world.install(&booted).result.unwrap();
            assert_eq!(world.booted(), booted, "it can be installed again");
        }
        assert!(seen[0] > 0, "{seen:?}");
    });
}

#[test]
fn whatever_fails_is_told_and_the_next_installation_repairs_it() {
    both(|seed, source| {
        for at in 1..=operations(seed, source) {
            let (world, third) = machine(seed, source);
            let old = world.booted();
            world.plan(Plan::Fail(at));
            let outcome = world.install(&third).result;
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.contains("the card failed"), "{error}");
            world.plan(Plan::Nothing);
            let booted = world.booted();
            assert!([&old, &third].contains(&&booted), "{source:?} {seed} {at}: {booted}");
            world.check_list();
            world.install(&third).result.unwrap();
            assert_eq!(world.booted(), third);
            world.check_list();
        }
    });
}

#[test]
fn the_store_is_on_the_disk_before_the_record_names_it() {
    both(|seed, source| {
        let (mut world, third) = machine(seed, source);
        world.install(&third).result.unwrap();
        // Nix has synced nothing.
        world.model.cut();
        assert_eq!(world.booted(), third);
        world.reboot();
    });
}

#[test]
fn a_second_time_nothing_is_written() {
    both(|seed, source| {
        let (world, third) = machine(seed, source);
        world.install(&third).result.unwrap();
        let before = world.model.all_below("/");
        let again = world.install(&third);
        assert_eq!((again.written, again.removed), (0, 0), "{:?}", again.said);
        assert!(again.said.iter().any(|line| line == "already"), "{:?}", again.said);
        assert!(world.model.all_below("/") == before);
    });
}

#[test]
fn what_the_loader_could_not_boot_is_not_made_the_default() {
    both(|seed, source| {
        let (world, third) = machine(seed, source);
        let old = world.booted();
        let kernel = world.kernel_path(&third);
        let damages: [(&str, &dyn Fn()); 4] = [
            ("is not an arm64", &|| world.model.file(&kernel, &[0x7f; 4096])),
            ("", &|| world.model.file(&kernel, b"")),
            ("no such file", &|| world.model.forget(&kernel)),
            ("garbage-collected", &|| world.model.forget(&third)),
        ];
        for (what, damage) in damages {
            damage();
            let error = format!("{:#}", world.install(&third).result.unwrap_err());
            assert!(error.contains("cannot be booted") && error.contains("[E"), "{what}: {error}");
            assert_eq!(world.booted(), old);
            world.check_list();
        }
    });
}

#[test]
fn what_no_profile_has_is_refused() {
    both(|seed, source| {
        let (world, third) = machine(seed, source);
        let old = world.booted();
        let link = world.links.iter().find(|link| link.toplevel == third).unwrap();
        world.model.forget(&link.path());
        world.model.forget("/nix/var/nix/profiles/system");
        let error = format!("{:#}", world.install(&third).result.unwrap_err());
        assert!(error.contains("no profile in /nix/var/nix/profiles has"), "{error}");
        assert_eq!(world.booted(), old);
    });
}

#[test]
fn a_default_chosen_at_the_menu_gives_way_to_what_is_installed() {
    both(|seed, source| {
        let (world, third) = machine(seed, source);
        let first = firn::state::Identity::new(&world.links[0].toplevel);
        card::change(&world.card, |record| record.set_default(first, None));
        world.install(&third).result.unwrap();
        assert_eq!(world.booted(), third);
    });
}
