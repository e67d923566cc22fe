//! The one list that several sources make.

#[allow(dead_code, reason = "each test file uses a part")]
mod tree;

use firn::{
    error::Code,
    nixos::{
        BootFiles, Broken, DeviceTreeFile, Generation, Source, extlinux, loader_entries,
        merge::{Found, Listed, merge},
    },
};
use proptest::prelude::*;

use self::tree::Tree;

fn generation(source: Source, id: &str, number: Option<u32>) -> Generation {
    Generation {
        id: id.into(),
        source,
        name: format!("{source} {id}"),
        title: "NixOS".into(),
        number,
        profile: None,
        specialisation: None,
        date: None,
        version: None,
        kernel_version: None,
        default: false,
        files: BootFiles {
            kernel: format!("/{source}/Image"),
            configuration: None,
            initrds: vec![format!("/{source}/initrd")],
            device_tree: DeviceTreeFile::FromFirmware,
            overlays: vec![],
            command_line: format!("init={id}/init"),
            ethernet_addresses: vec![],
        },
        tries: None,
        unread: false,
        broken: None,
    }
}

fn found(source: Source, volume: usize, id: &str, number: Option<u32>) -> Found {
    Found { generation: generation(source, id, number), volume, position: 0, counted_out: false }
}

fn damaged() -> Broken {
    Broken { code: Code::KernelTruncated, reason: "the kernel is truncated".into() }
}

fn sources(listed: &Listed) -> Vec<(Source, usize)> {
    [&listed.best]
        .into_iter()
        .chain(&listed.copies)
        .map(|found| (found.generation.source, found.volume))
        .collect()
}

fn extlinux_of(volume: usize, fixture: &[u8]) -> Vec<Found> {
    let read = extlinux::parse("/extlinux/extlinux.conf", fixture).expect("has entries");
    let numbered = read.generations.into_iter().enumerate();
    numbered
        .map(|(position, generation)| Found { generation, volume, position, counted_out: false })
        .collect()
}

fn entries_of(volume: usize, tree: &mut Tree) -> Vec<Found> {
    let read = loader_entries::read(tree, "/").expect("listed").expect("has entries");
    let numbered = read.entries.into_iter().enumerate();
    numbered
        .map(|(position, entry)| Found {
            counted_out: entry.is_counted_out(),
            generation: entry.generation,
            volume,
            position,
        })
        .collect()
}

/// As a person would read the list.
fn shown(listed: &[Listed]) -> Vec<String> {
    listed
        .iter()
        .map(|entry| {
            let generation = &entry.best.generation;
            let number = generation.number.map_or("-".into(), |number| number.to_string());
            let places: Vec<_> = sources(entry)
                .iter()
                .map(|(source, volume)| format!("{source}@{volume}"))
                .collect();
            format!(
                "{}{number} {} [{}]{}",
                if generation.default { "*" } else { " " },
                generation.specialisation.as_ref().unwrap_or(&generation.title),
                places.join(", "),
                if entry.best.counted_out { " no tries left" } else { "" },
            )
        })
        .collect()
}

#[test]
fn a_mixed_card_has_one_list_without_doubles() {
    let mut boot = Tree::default()
        .with_fixture("/loader/loader.conf", "loader/loader.conf.old")
        .with("/loader/entries/debian.conf", "title Debian\nversion 12\nlinux /vmlinuz\n")
        .with(
            "/loader/entries/nixos-generation-43+0-3.conf",
            "title NixOS\nlinux /Image\noptions init=/nix/store/bad/init\n",
        );
    for name in [
        "nixos-generation-42.conf",
        "nixos-generation-42-specialisation-rescue.conf",
        "nixos-known-good-generation-3.conf",
    ] {
        let entries = "loader/entries";
        boot = boot.with_fixture(&format!("/{entries}/{name}"), &format!("{entries}/{name}"));
    }
    let extlinux = include_bytes!("fixtures/nixos/extlinux.fdt-name.conf");
    let mut all = entries_of(0, &mut boot);
    all.extend(extlinux_of(1, extlinux));
    let newest = "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-\
                  25.11.20260214.9f8e7d6";
    all.push(found(Source::Profile, 2, newest, Some(42)));
    all.push(found(Source::Profile, 2, "/nix/store/only-here", Some(40)));
    assert_eq!(
        shown(&merge(all)),
        [
            "*42 NixOS [profile@2, extlinux@1, loader entry@0]",
            " 42 rescue [extlinux@1, loader entry@0]",
            " 41 NixOS - Configuration 41-default (2026-11-22 16:07 - 25.11.20260110.d1c2e3f) \
             [extlinux@1, loader entry@0]",
            " 40 NixOS [profile@2]",
            " - Debian (12) [loader entry@0]",
            " 43 NixOS [loader entry@0] no tries left",
        ]
    );
}

#[test]
fn on_mirrored_boot_partitions_the_second_copy_boots_when_the_first_is_damaged() {
    let text = include_bytes!("fixtures/nixos/extlinux.fdt-name.conf");
    let mut listed = merge([extlinux_of(0, text), extlinux_of(1, text)].concat());
    let newest = &mut listed[0];
    let before = newest.best.generation.clone();
    assert_eq!(newest.best.volume, 0);
    assert!(newest.try_next_copy(damaged()));
    assert_eq!((newest.best.volume, &newest.best.generation), (1, &before));
    assert_eq!(newest.copies[0].generation.broken, Some(damaged()));
    assert!(!newest.try_next_copy(damaged()));
    assert_eq!(newest.best.generation.broken, Some(damaged()));
}

#[test]
fn a_copy_of_another_source_brings_its_own_files_and_keeps_its_row() {
    let mut profile = found(Source::Profile, 1, "/nix/store/a", Some(7));
    profile.generation.default = true;
    let mut listed = merge(vec![found(Source::LoaderEntry, 0, "/nix/store/a", None), profile]);
    assert_eq!(sources(&listed[0]), [(Source::Profile, 1), (Source::LoaderEntry, 0)]);
    assert!(listed[0].try_next_copy(damaged()));
    let best = &listed[0].best;
    assert_eq!((best.volume, best.generation.files.kernel.as_str()), (0, "/loader entry/Image"));
    assert_eq!((best.generation.number, best.generation.default), (Some(7), true));
}

#[test]
fn a_copy_that_is_known_to_be_broken_is_not_the_best() {
    let mut profile = found(Source::Profile, 0, "/nix/store/a", Some(7));
    profile.generation.broken = Some(damaged());
    profile.generation.default = true;
    let listed = merge(vec![profile, found(Source::Extlinux, 1, "/nix/store/a", Some(7))]);
    assert_eq!(sources(&listed[0]), [(Source::Extlinux, 1), (Source::Profile, 0)]);
    assert!(listed[0].best.generation.default && listed[0].best.generation.broken.is_none());
}

#[test]
fn what_one_source_does_not_tell_is_taken_from_another() {
    let mut entry = found(Source::LoaderEntry, 0, "/nix/store/a", Some(7));
    entry.generation.date = Some("2026-02-14".into());
    let listed = merge(vec![entry, found(Source::Extlinux, 0, "/nix/store/a", None)]);
    let best = &listed[0].best.generation;
    assert_eq!((best.source, best.number), (Source::Extlinux, Some(7)));
    assert_eq!(best.date.as_deref(), Some("2026-02-14"));
}

#[test]
fn the_default_is_that_of_the_best_source_that_has_one() {
    let with_default = |mut found: Found| {
        found.generation.default = true;
        found
    };
    let listed = merge(vec![
        with_default(found(Source::Extlinux, 0, "/nix/store/b", Some(2))),
        with_default(found(Source::Profile, 1, "/nix/store/a", Some(1))),
    ]);
    let defaults: Vec<_> = listed.iter().map(|l| l.best.generation.default).collect();
    assert_eq!(defaults, [false, true]);
}

#[test]
fn without_a_usable_default_the_newest_generation_with_tries_left_boots() {
    let mut broken = found(Source::Profile, 0, "/nix/store/d", Some(4));
    broken.generation.broken = Some(damaged());
    broken.generation.default = true;
    let mut special = found(Source::Profile, 0, "/nix/store/c", Some(3));
    special.generation.specialisation = Some("rescue".into());
    let mut counted_out = found(Source::Profile, 0, "/nix/store/b", Some(2));
    counted_out.counted_out = true;
    let plain = found(Source::Profile, 0, "/nix/store/a", Some(1));
    let listed = merge(vec![counted_out, plain, special, broken]);
    let default = listed.iter().find(|l| l.best.generation.default).expect("one");
    assert_eq!(default.best.generation.id, "/nix/store/a");
}

#[test]
fn different_systems_with_one_name_stay_apart() {
    let debian = |volume, kernel: &str| {
        let mut found = found(Source::Extlinux, volume, "extlinux:linux", None);
        found.generation.files.kernel = kernel.into();
        found
    };
    let listed = merge(vec![debian(0, "/a"), debian(1, "/b"), debian(2, "/a")]);
    let ids: Vec<_> = listed.iter().map(|l| l.best.generation.id.as_str()).collect();
    assert_eq!(ids, ["extlinux:linux", "extlinux:linux#2"]);
    assert_eq!(sources(&listed[0]), [(Source::Extlinux, 0), (Source::Extlinux, 2)]);
}

fn any_found() -> impl Strategy<Value = Found> {
    let source =
        prop_oneof![Just(Source::Profile), Just(Source::Extlinux), Just(Source::LoaderEntry)];
    let id = prop_oneof!["/nix/store/[a-c]", "extlinux:[a-b]", Just("extlinux:a#2".to_owned())];
    let text = proptest::option::of("[x-y]");
    (
        (source, id, 0..3_usize, 0..2_usize, any::<bool>(), any::<bool>()),
        (proptest::option::of(1..4_u32), text.clone(), text.clone(), text.clone()),
        ("[m-n]", "[k-l]", proptest::bool::weighted(0.3), text),
    )
        .prop_map(
            |(
                (source, id, volume, position, default, counted_out),
                (number, specialisation, date, version),
                (title, kernel, is_broken, kernel_version),
            )| {
                let mut found = found(source, volume, &id, number);
                let generation = &mut found.generation;
                generation.specialisation = specialisation;
                generation.date = date;
                generation.version = version;
                generation.kernel_version = kernel_version;
                generation.title = title;
                generation.files.kernel = kernel;
                generation.default = default;
                generation.broken = is_broken.then(damaged);
                Found { position, counted_out, ..found }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_order_in_which_sources_are_read_does_not_matter(
        (one, other) in proptest::collection::vec(any_found(), 0..9)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(merge(one), merge(other));
    }

    #[test]
    fn every_toplevel_is_listed_once_and_one_that_boots_is_the_default(
        all in proptest::collection::vec(any_found(), 0..9)
    ) {
        let listed = merge(all.clone());
        let mut ids: Vec<_> = listed.iter().map(|l| l.best.generation.id.clone()).collect();
        for found in all {
            prop_assert!(ids.contains(&found.generation.id));
        }
        ids.sort();
        let count = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
        let bootable = |l: &&Listed| l.best.generation.broken.is_none();
        let defaults: Vec<_> = listed.iter().filter(|l| l.best.generation.default).collect();
        prop_assert_eq!(defaults.len(), usize::from(listed.iter().any(|l| bootable(&l))));
        prop_assert!(defaults.iter().all(bootable));
    }
}
