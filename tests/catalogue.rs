//! What the menu lists of a card with several sources.

mod system;

use firn::{
    boot::{Catalogue, Volume},
    error::Code,
    nixos::{Access, Broken, Source, Timeout},
};
use serde_json::json;
use system::{Memory, PROFILES, as_partition, document, root, store, toplevel};

fn volume(name: &str, memory: Memory) -> Volume {
    Volume { name: name.into(), file_system: Box::new(memory) }
}

fn survey(memory: Memory) -> Catalogue {
    Catalogue::of_volumes(vec![volume("card", memory)])
}

fn listed(catalogue: &Catalogue) -> Vec<(Option<u32>, Source, bool)> {
    let row = |g: &firn::nixos::Generation| (g.number, g.source, g.unread);
    catalogue.generations.iter().map(row).collect()
}

fn numbers(catalogue: &Catalogue) -> Vec<Option<u32>> {
    catalogue.generations.iter().map(|generation| generation.number).collect()
}

fn link(catalogue: &Catalogue) -> Option<u32> {
    catalogue.generations[catalogue.link()?].number
}

/// Adds an extlinux.conf, as NixOS writes it into `/boot` of the root, of these generations; the
/// first is its default.
fn add_extlinux(memory: &mut Memory, numbers: &[u32]) {
    let mut text = String::from("DEFAULT nixos-default\nTIMEOUT 70\nMENU TITLE extlinux\n");
    let first = numbers.first().map(|number| ("default".to_owned(), *number));
    let all = numbers.iter().map(|number| (format!("{number}-default"), *number));
    for (label, number) in first.into_iter().chain(all) {
        text += &format!(
            "LABEL nixos-{label}\n  MENU LABEL NixOS\n  LINUX ../nixos/{number}-Image\n  \
             APPEND init={}/init\n",
            toplevel(number)
        );
        memory.file(&format!("/boot/nixos/{number}-Image"), "kernel");
    }
    memory.file("/boot/extlinux/extlinux.conf", text);
}

fn damaged() -> Broken {
    Broken { code: Code::KernelTruncated, reason: "the kernel is truncated".into() }
}

#[test]
fn a_card_with_nothing_but_profiles_lists_them() {
    for on_its_own in [false, true] {
        let root = if on_its_own { as_partition(root(3)) } else { root(3) };
        let catalogue = survey(root);
        assert_eq!(numbers(&catalogue), [Some(3), Some(2), Some(1)]);
        assert_eq!(link(&catalogue), Some(3));
        assert!(catalogue.problems.is_empty(), "{:?}", catalogue.problems);
    }
}

#[test]
fn the_system_link_is_the_default_after_a_rollback() {
    let mut root = root(9);
    root.link(&format!("{PROFILES}/system"), "system-2-link");
    let catalogue = survey(root);
    assert_eq!(link(&catalogue), Some(2));
    let default = &catalogue.generations[catalogue.default_entry().unwrap()];
    assert_eq!((default.number, default.unread), (Some(2), false));
}

#[test]
fn older_generations_are_rows_until_somebody_asks() {
    let mut catalogue = survey(root(20));
    assert_eq!(catalogue.generations.len(), 20);
    let oldest = catalogue.generations.last().unwrap().clone();
    assert_eq!((oldest.number, oldest.unread), (Some(1), true));
    let index = catalogue.read(19);
    let oldest = &catalogue.generations[index];
    assert_eq!((oldest.number, oldest.unread, &oldest.id), (Some(1), false, &toplevel(1)));
    assert!(!oldest.files.kernel.is_empty());
}

#[test]
fn a_generation_is_found_by_its_identity_though_it_is_not_read() {
    let mut catalogue = survey(root(20));
    let index = catalogue.find(&toplevel(3)).unwrap();
    assert_eq!(catalogue.generations[index].number, Some(3));
    assert!(!catalogue.generations[index].unread, "so that it can be booted");
    assert_eq!(catalogue.find(&toplevel(99)), None);
    let unread = catalogue.generations.iter().filter(|g| g.unread).count();
    assert_eq!(unread, 15, "what is not in the store is not looked for in the others");
}

#[test]
fn a_specialisation_is_found_though_its_generation_is_not_read() {
    let mut root = root(20);
    let special = store("nixos-system-rescue");
    let mut document = document(&toplevel(3));
    document["org.nixos.specialisation.v1"]["rescue"] = system::document(&special);
    root.file(&format!("{}/boot.json", toplevel(3)), document.to_string());
    system::add_toplevel(&mut root, &special);
    let mut catalogue = survey(root);
    let index = catalogue.find(&special).unwrap();
    let found = &catalogue.generations[index];
    assert_eq!((found.number, found.specialisation.as_deref()), (Some(3), Some("rescue")));
}

#[test]
fn what_the_sources_have_as_their_default_is_read() {
    let mut root = root(20);
    root.nodes.remove(&format!("{PROFILES}/system"));
    add_extlinux(&mut root, &[5]);
    let catalogue = survey(root);
    let link = &catalogue.generations[catalogue.link().unwrap()];
    assert_eq!((link.number, link.unread, link.source), (Some(5), false, Source::Profile));
}

#[test]
fn a_generation_of_the_profile_and_of_extlinux_is_listed_once_with_the_profiles_files() {
    let mut root = root(9);
    add_extlinux(&mut root, &[9, 8, 2, 1]);
    let mut catalogue = survey(root);
    let before = listed(&catalogue);
    assert_eq!(numbers(&catalogue), (1..=9).rev().map(Some).collect::<Vec<_>>());
    assert!(before.iter().all(|row| row.1 == Source::Profile), "{before:?}");
    catalogue.read_all();
    assert_eq!(numbers(&catalogue), (1..=9).rev().map(Some).collect::<Vec<_>>());
    assert!(catalogue.generations.iter().all(|g| g.files.kernel.starts_with("/nix/store")));
}

#[test]
fn a_garbage_collected_generation_is_shown_as_broken_and_its_copy_in_boot_is_booted() {
    let mut root = root(3);
    for number in [3, 2] {
        root.remove(&toplevel(number));
    }
    add_extlinux(&mut root, &[3, 1]);
    let catalogue = survey(root);
    let [third, second, first] = &*catalogue.generations else {
        panic!("{:?}", catalogue.generations)
    };
    assert_eq!((third.source, &third.broken), (Source::Extlinux, &None));
    assert!(second.broken.as_ref().unwrap().reason.contains("garbage-collected"));
    assert_eq!(first.source, Source::Profile);
    assert_eq!(link(&catalogue), Some(3));
}

#[test]
fn a_broken_link_is_never_the_default_and_the_problem_says_why() {
    let mut root = root(3);
    root.remove(&toplevel(3));
    let catalogue = survey(root);
    assert_eq!(catalogue.link(), None);
    let default = catalogue.default_entry().unwrap();
    assert_eq!(catalogue.generations[default].number, Some(2));
    let problem = &catalogue.problems[0];
    assert_eq!(problem.code, Code::DefaultUnusable);
    assert!(problem.text.contains("system-3-link"), "{problem}");
}

#[test]
fn when_all_that_was_read_is_broken_the_default_is_looked_for_among_the_others() {
    let mut root = root(20);
    for number in 4..=20 {
        root.remove(&toplevel(number));
    }
    let catalogue = survey(root);
    let default = &catalogue.generations[catalogue.default_entry().unwrap()];
    assert_eq!((default.number, default.unread), (Some(3), false));
}

#[test]
fn what_cannot_be_loaded_is_loaded_from_its_copy_and_is_broken_when_all_copies_are() {
    let mut root = root(2);
    add_extlinux(&mut root, &[2]);
    let mut catalogue = survey(root);
    assert!(catalogue.give_up(0, damaged()));
    assert_eq!(catalogue.generations[0].source, Source::Extlinux);
    assert_eq!(catalogue.generations[0].broken, None);
    assert!(!catalogue.give_up(0, damaged()));
    assert!(catalogue.generations[0].broken.is_some());
    assert_eq!(catalogue.default_entry(), Some(1));
    catalogue.read_all();
    assert!(catalogue.generations[0].broken.is_some(), "forgotten");
}

#[test]
fn mirrored_boot_partitions_are_one_list_and_the_second_serves_when_the_first_fails() {
    let mut boot = Memory::default();
    add_extlinux(&mut boot, &[2, 1]);
    let mut catalogue = Catalogue::of_volumes(vec![volume("a", boot.clone()), volume("b", boot)]);
    assert_eq!(numbers(&catalogue), [Some(2), Some(1)]);
    assert_eq!(catalogue.volume_of(0), Some(0));
    assert!(catalogue.give_up(0, damaged()));
    assert_eq!(catalogue.volume_of(0), Some(1));
}

#[test]
fn the_mark_of_the_default_stays_on_a_generation_while_others_are_read() {
    let mut catalogue = survey(root(20));
    let index = catalogue.generations.iter().position(|g| g.number == Some(5)).unwrap();
    catalogue.set_default(Some(index));
    catalogue.read_all();
    let marked: Vec<_> = catalogue.generations.iter().filter(|g| g.default).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!((marked[0].number, &marked[0].id), (Some(5), &toplevel(5)));
}

mod settings {
    use super::*;

    fn with_extension(firn: serde_json::Value) -> Memory {
        let mut root = root(2);
        let mut document = document(&toplevel(2));
        document["org.firn.v1"] = firn;
        root.file(&format!("{}/boot.json", toplevel(2)), document.to_string());
        root
    }

    #[test]
    fn those_of_the_default_generations_bootspec_are_taken() {
        let catalogue = survey(with_extension(json!({
            "timeout": 9, "passwordHash": "$6$x$y", "configurationLimit": 7,
        })));
        let settings = catalogue.settings(catalogue.link());
        assert_eq!(settings.timeout, Timeout::After(90));
        assert_eq!(settings.access, Access::Password("$6$x$y".into()));
        assert_eq!(settings.list_limit, Some(7));
        assert_eq!(catalogue.settings(Some(1)).timeout, Timeout::After(50));
    }

    #[test]
    fn an_editor_that_is_off_is_for_nobody_whatever_the_password() {
        let root = with_extension(json!({"editor": false, "passwordHash": "$6$x$y"}));
        assert_eq!(survey(root).settings(Some(0)).access, Access::Nobody);
    }

    #[test]
    fn what_a_bootspec_leaves_open_is_as_extlinux_says_that_lists_the_same() {
        let mut root = with_extension(json!({"configurationLimit": 7}));
        add_extlinux(&mut root, &[2]);
        let settings = survey(root).settings(Some(0));
        assert_eq!(settings.timeout, Timeout::After(70));
        assert_eq!(settings.title.as_deref(), Some("extlinux"));
        assert_eq!(settings.list_limit, Some(7));
    }

    #[test]
    fn without_a_default_nothing_counts_down_and_the_password_stays() {
        let mut root = with_extension(json!({"timeout": 9, "passwordHash": "$6$x$y"}));
        root.remove(&store("linux-6.12.63"));
        let catalogue = survey(root);
        assert_eq!(catalogue.default_entry(), None);
        let settings = catalogue.settings(None);
        assert_eq!(settings.timeout, Timeout::Never);
        assert_eq!(settings.access, Access::Password("$6$x$y".into()));
    }

    #[test]
    fn a_loader_conf_without_editor_lets_nobody_edit() {
        let mut boot = Memory::default();
        boot.file("/loader/loader.conf", "timeout 3\neditor no\n");
        boot.file("/loader/entries/a.conf", "title A\nlinux /a\n");
        boot.file("/a", "kernel");
        let settings = survey(boot).settings(Some(0));
        assert_eq!((settings.timeout, settings.access), (Timeout::After(30), Access::Nobody));
    }
}
