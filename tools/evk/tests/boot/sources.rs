//! Where generations are found: the profiles, loader entries, extlinux.conf, all of them; what belongs to
//! one boots with it.

use evk::{
    card::{Card, FileSystem, MIB, Partition, Table},
    nixos::{
        self, DeviceTreeKey, Generation, System, Timeout, device_tree_marked,
        loader_entries::Naming,
    },
    qemu::Slot,
    session::Session,
    stub,
    tree::Tree,
    userspace::further_initrd,
};

use crate::{
    SOON, assets, board, boot_small,
    choosing::{open_screen, play},
    common::Disk,
    finish_linux, finish_small, real, small, start,
};

/// What the kernel was told that it is.
fn told<'a>(report: &'a stub::Report, property: &str) -> &'a str {
    report.text(&format!("/chosen firn,{property}")).unwrap()
}

/// Boots `card` and returns the report of `generation`'s kernel, which got all that is its own.
fn boots(card: &Card, generation: &Generation) -> stub::Report {
    let report = boot_small(card);
    assert_is(&report, generation);
    report
}

fn assert_is(report: &stub::Report, generation: &Generation) {
    let number = generation.number;
    assert_eq!(told(report, "generation"), generation.toplevel());
    assert_eq!(report.text("/chosen bootargs").unwrap(), generation.command_line());
    assert_eq!(told(report, "number"), format!("{number:08x}"));
    assert_eq!(report.text("initrd begins").unwrap(), format!("initrd of generation {number}"));
}

/// A card with nothing in /boot.
fn profiles(system: &System) -> Card {
    nixos::card_with_root(Table::Mbr, system.root())
}

/// A card with an EFI system partition and a root.
fn esp(boot: Tree, root: Tree) -> Card {
    Card::new(Table::Gpt)
        .partition(Partition::new(FileSystem::Fat32, "BOOT", boot).size(512 * MIB))
        .partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", root))
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_with_nothing_in_boot_boots_from_its_profiles() {
    for system in [small(), System { device_tree_key: DeviceTreeKey::File, ..small() }] {
        let report = boots(&profiles(&system), system.numbered(42));
        assert_eq!(told(&report, "source"), "profile");
        assert_eq!(report.text("/firn-test generation").unwrap(), "42");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn generations_from_before_there_was_a_boot_json_boot_too() {
    let system = small().with(42, |generation| generation.has_boot_json = false);
    let report = boots(&profiles(&system), system.numbered(42));
    assert_eq!(report.text("/firn-test generation").unwrap(), "42");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_with_nothing_but_loader_entries_boots_whatever_their_files_are_called() {
    let system = small();
    for naming in [Naming::Numbered, Naming::Digest, Naming::Counted(2, Some(1))] {
        let report = boots(&esp(system.esp(naming), nixos::empty_root()), system.numbered(42));
        assert_eq!(told(&report, "source"), "loader entry");
        assert_eq!(report.text("/firn-test generation").unwrap(), "42");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn with_all_three_sources_each_generation_is_listed_once_and_the_menu_agrees_with_firn_entries() {
    let system = System { timeout: Timeout::Never, ..small() };
    let boot = system.boot_folder().merged(system.esp(Naming::Numbered));
    let disk = Disk::new(&esp(boot, system.root()));
    let listed: Vec<String> =
        disk.entries().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
    let wanted: Vec<String> = system.generations.iter().map(Generation::toplevel).collect();
    assert_eq!(listed, wanted);

    let machine = board().card(Slot::Sd, disk.path());
    let mut session = machine.start(&assets()).unwrap();
    session.expect("25.05.20251203", SOON).unwrap();
    open_screen(&mut session);
    let rows = rows(&session);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    for (row, generation) in rows.iter().zip(&system.generations) {
        assert!(row.contains(&generation.number.to_string()), "{row}");
        assert!(row.contains(&generation.version[..14]), "{row}");
    }
    play(&mut session, "enter");
    assert_is(&finish_small(&mut session), system.numbered(42));
}

/// The rows of the menu's list.
fn rows(session: &Session) -> Vec<String> {
    let screen = session.screen();
    let list = screen.iter().skip_while(|row| !row.starts_with("  Generation")).skip(1);
    list.take_while(|row| !row.is_empty()).cloned().collect()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_store_on_a_partition_of_its_own_boots() {
    let system = small();
    let card = nixos::card_with_nix_partition(Table::Gpt, nixos::empty_root(), system.store());
    let report = boots(&card, system.numbered(42));
    assert_eq!(told(&report, "source"), "profile");
}

/// Three generations, the newest with a specialisation that has a device tree of its own.
fn specialised() -> System {
    let mark = device_tree_marked(&assets(), "rescue").unwrap();
    small().with(42, |generation| {
        let mut variant = generation.specialised("rescue");
        variant.parameters += " systemd.unit=rescue.target";
        variant.device_tree = mark;
        generation.specialisations.push(variant);
    })
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_specialisation_boots_from_the_menu_with_its_own_device_tree() {
    for device_tree_key in [DeviceTreeKey::Folder, DeviceTreeKey::File] {
        let system = System { timeout: Timeout::Never, device_tree_key, ..specialised() };
        let mut session = start(&profiles(&system));
        session.expect("25.05.20251203", SOON).unwrap();
        open_screen(&mut session);
        play(&mut session, "right sleep:300 down sleep:300 enter");
        let report = finish_small(&mut session);
        assert_is(&report, &system.numbered(42).specialisations[0]);
        assert_eq!(told(&report, "specialisation"), "rescue");
        assert_eq!(report.text("/firn-test generation").unwrap(), "rescue");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_sees_the_files_of_both_initrds_and_what_it_was_booted_as() {
    let system = System { timeout: Timeout::Seconds(0), ..real() }.with(42, |generation| {
        generation.more_initrds =
            vec![evk::tree::Content::bytes(further_initrd("second").unwrap())];
    });
    let system = System { generations: system.generations[..1].to_vec(), ..system };
    let report = finish_linux(&mut start(&profiles(&system)));
    assert_eq!(report.marks, ["first", "second"]);
    let generation = system.numbered(42);
    assert_eq!(report.command_line, generation.command_line());
    for (property, value) in [
        ("generation", generation.toplevel().as_str()),
        ("source", "profile"),
        ("number", "0000002a"),
        ("state-device", "30b50000.mmc"),
    ] {
        assert_eq!(report.chosen[&format!("firn,{property}")], value);
    }
    assert!(report.chosen.contains_key("firn,times-us"), "{:?}", report.chosen);
    assert!(!report.chosen.contains_key("firn,try"), "{:?}", report.chosen);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_generation_that_was_garbage_collected_is_shown_as_broken_and_never_chosen() {
    let system = small();
    let mut root = system.root();
    let gone = system.numbered(42).toplevel();
    let files: Vec<String> = root
        .paths()
        .filter(|path| path.starts_with(gone.trim_start_matches('/')))
        .map(ToOwned::to_owned)
        .collect();
    files.iter().for_each(|path| root.remove(path).unwrap());
    let card = nixos::card_with_root(Table::Mbr, root);
    let broken = Disk::new(&card).entries()[0]["broken"].to_string();
    assert!(broken.contains("garbage-collected"), "{broken}");
    let mut session = start(&card);
    session.expect("garbage-collected", SOON).unwrap();
    assert_is(&finish_small(&mut session), system.numbered(41));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn another_profiles_generation_is_listed_with_its_profile() {
    let system = small().with(40, |generation| generation.profile = Some("tested".into()));
    let disk = Disk::new(&profiles(&system));
    let entries = disk.entries();
    let tested = entries.iter().find(|entry| entry["profile"] == "tested").expect("listed");
    assert_eq!(tested["id"], system.numbered(40).toplevel());
    disk.install(system.numbered(40));
    let mut session = board().card(Slot::Sd, disk.path()).start(&assets()).unwrap();
    let report = finish_small(&mut session);
    assert_is(&report, system.numbered(40));
    assert_eq!(told(&report, "profile"), "tested");
}
