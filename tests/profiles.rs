//! What becomes of the Nix profiles on a partition.

#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

mod disk;
mod system;

use std::{fmt::Write as _, rc::Rc};

use disk::{
    Disk, Image,
    recipes::{MIB, Scratch, ext4_features, mke2fs, run, text},
};
use firn::{
    block::volume::Volume,
    error::Code,
    fs::{FileSystem, mount},
    nixos::{
        DeviceTreeFile, Generation, Source, Timeout,
        profiles::{Description, Layout, Profiles},
    },
};
use proptest::prelude::*;
use serde_json::json;
use system::{Memory, Node, PROFILES, as_partition, document, root, store, toplevel};

fn find(root: &mut Memory) -> Profiles {
    Profiles::find(root).expect("readable").expect("profiles")
}

fn describe(root: &mut Memory, index: usize) -> Description {
    find(root).describe(root, index).expect("a generation")
}

fn newest(root: &mut Memory) -> Generation {
    describe(root, 0).generations.remove(0)
}

/// Why the only generation of a root, changed, cannot be booted.
fn reason(change: impl FnOnce(&mut Memory)) -> (Code, String) {
    let mut root = root(1);
    change(&mut root);
    let broken = newest(&mut root).broken.expect("broken");
    (broken.code, broken.reason)
}

mod listing {
    use super::*;

    #[test]
    fn generations_are_listed_newest_first_by_number_and_other_profiles_behind() {
        let mut root = root(11);
        for name in ["known-good-3-link", "alpha-7-link", "known-good-20-link"] {
            root.link(&format!("{PROFILES}/system-profiles/{name}"), &toplevel(1));
        }
        root.link(&format!("{PROFILES}/system-profiles/alpha"), "alpha-7-link");
        root.link(&format!("{PROFILES}/per-user-1-link"), &toplevel(1));
        let names: Vec<_> = find(&mut root).links.iter().map(|link| link.name()).collect();
        assert_eq!(names[..3], ["system-11-link", "system-10-link", "system-9-link"]);
        assert_eq!(names[11..], ["alpha-7-link", "known-good-20-link", "known-good-3-link"]);
    }

    #[test]
    fn the_generation_that_is_switched_to_need_not_be_the_newest() {
        let mut root = root(42);
        assert_eq!(find(&mut root).current, Some(0));
        root.link(&format!("{PROFILES}/system"), "system-41-link");
        assert_eq!(find(&mut root).current, Some(1));
        root.link(&format!("{PROFILES}/system"), &format!("{PROFILES}/system-40-link"));
        assert_eq!(find(&mut root).current, Some(2));
        root.remove(&format!("{PROFILES}/system"));
        assert_eq!(find(&mut root).current, None);
    }

    #[test]
    fn a_system_link_straight_into_the_store_is_a_generation_without_number() {
        let mut root = root(1);
        root.remove(&format!("{PROFILES}/system-1-link"));
        root.link(&format!("{PROFILES}/system"), &toplevel(1));
        let generation = newest(&mut root);
        assert_eq!((generation.number, generation.broken), (None, None));
        assert_eq!(generation.id, toplevel(1));
    }

    #[test]
    fn a_partition_without_profiles_has_none() {
        let mut root = Memory::default();
        root.file("/boot/extlinux/extlinux.conf", "LABEL x");
        assert_eq!(Profiles::find(&mut root), Ok(None));
        root.file("/nix", "a file");
        assert_eq!(Profiles::find(&mut root), Ok(None));
    }

    #[test]
    fn two_hundred_generations_are_listed_without_opening_one() {
        let mut root = root(200);
        let profiles = find(&mut root);
        assert_eq!(profiles.links.len(), 200);
        assert_eq!(root.opened, 0);
        // The directories on the way and `system`.
        assert!(root.links_read < 20, "{}", root.links_read);
        let before = root.links_read;
        assert_eq!(profiles.toplevel(&mut root, 0), Ok(toplevel(200)));
        assert_eq!((root.opened, root.links_read - before), (0, 1));
        profiles.describe(&mut root, 0);
        assert_eq!(root.opened, 1);
    }

    #[test]
    fn an_index_beyond_the_list_is_no_generation() {
        let mut root = root(1);
        let profiles = find(&mut root);
        assert!(profiles.toplevel(&mut root, 1).is_err());
        assert_eq!(profiles.describe(&mut root, 1), None);
    }
}

mod describing {
    use super::*;

    fn is_whole(generation: &Generation, prefix: &str) {
        assert_eq!(generation.broken, None);
        assert_eq!(generation.source, Source::Profile);
        assert_eq!(generation.id, toplevel(2));
        assert_eq!(generation.name, "system-2-link");
        assert_eq!(generation.number, Some(2));
        assert_eq!(generation.version.as_deref(), Some("25.11.20260202.9f8e7d6"));
        assert_eq!(generation.kernel_version.as_deref(), Some("6.12.63"));
        let on_volume = |path: String| path.strip_prefix(prefix).expect("below").to_string();
        let files = &generation.files;
        assert_eq!(files.kernel, on_volume(format!("{}/Image", store("linux-6.12.63"))));
        let initrd = format!("{}/initrd", store("initrd-linux-6.12.63"));
        assert_eq!(files.initrds, [on_volume(initrd)]);
        assert_eq!(files.device_tree, DeviceTreeFile::Directory(on_volume(store("dtbs"))));
        assert_eq!(files.command_line, format!("init={}/init root=fstab loglevel=4", toplevel(2)));
    }

    #[test]
    fn a_root_with_nothing_but_profiles_boots() {
        let mut root = root(2);
        assert_eq!(find(&mut root).layout, Layout::Directory);
        let generation = newest(&mut root);
        is_whole(&generation, "");
        assert_eq!(generation.title, "NixOS Xantusia 25.11 (Linux 6.12.63)");
    }

    #[test]
    fn nix_may_be_a_partition_of_its_own() {
        let mut root = as_partition(root(2));
        assert_eq!(find(&mut root).layout, Layout::Partition);
        let generation = newest(&mut root);
        is_whole(&generation, "/nix");
        assert!(root.open(&generation.files.kernel).is_ok());
    }

    #[test]
    fn an_old_generation_without_boot_json_is_read_from_its_toplevel() {
        for to_layout in [|root| root, as_partition] {
            let mut root = root(2);
            root.remove(&format!("{}/boot.json", toplevel(2)));
            let mut root = to_layout(root);
            let layout = find(&mut root).layout;
            let generation = newest(&mut root);
            is_whole(&generation, if layout == Layout::Directory { "" } else { "/nix" });
            assert_eq!(generation.title, "NixOS 20.09.git.abc");
        }
    }

    #[test]
    fn an_old_generation_has_its_specialisations() {
        let mut root = root(2);
        root.remove(&format!("{}/boot.json", toplevel(2)));
        root.link(&format!("{}/specialisation/rescue", toplevel(2)), &toplevel(1));
        root.link(&format!("{}/specialisation/gone", toplevel(2)), &store("gone"));
        let generations = describe(&mut root, 0).generations;
        let names: Vec<_> = generations.iter().map(|g| g.specialisation.as_deref()).collect();
        assert_eq!(names, [None, Some("gone"), Some("rescue")]);
        assert_eq!(generations[1].broken.as_ref().map(|broken| broken.code), Some(Code::NotFound));
        assert_eq!((generations[2].id.clone(), generations[2].broken.clone()), (toplevel(1), None));
    }

    #[test]
    fn a_system_names_overlays_in_the_store_in_their_order() {
        let mut root = root(1);
        let overlays = ["b.dtbo", "a.dtbo"].map(|name| format!("{}/{name}", store("overlays")));
        overlays.iter().for_each(|overlay| root.file(overlay, "overlay"));
        let mut parent = document(&toplevel(1));
        parent["org.firn.v1"] = json!({"deviceTreeOverlays": overlays});
        root.file(&format!("{}/boot.json", toplevel(1)), parent.to_string());
        let generation = &describe(&mut root, 0).generations[0];
        assert_eq!(generation.files.overlays, overlays);
        assert_eq!(generation.broken, None);
    }

    #[test]
    fn a_specialisation_may_have_a_device_tree_of_its_own() {
        let mut root = root(1);
        let own = format!("{}/own.dtb", store("own-dtb"));
        root.file(&own, "tree");
        let mut child = document(&store("special"));
        child["org.nixos.systemd-boot"] = json!({"devicetree": own, "sortKey": "nixos"});
        let mut parent = document(&toplevel(1));
        parent["org.nixos.specialisation.v1"]["no-gpu"] = child;
        root.file(&format!("{}/boot.json", toplevel(1)), parent.to_string());
        let generations = describe(&mut root, 0).generations;
        let [parent, child] = &*generations else { panic!("two") };
        assert_eq!(parent.files.device_tree, DeviceTreeFile::Directory(store("dtbs")));
        assert_eq!(child.files.device_tree, DeviceTreeFile::File(own));
        assert_eq!((child.number, child.specialisation.as_deref()), (Some(1), Some("no-gpu")));
        assert_eq!(child.name, "system-1-link/no-gpu");
        assert_eq!(child.id, store("special"));
        assert_eq!(child.broken, None);
    }

    #[test]
    fn a_specialisation_that_names_no_toplevel_of_the_store_is_broken() {
        for odd in ["", "/", "/boot", "/nix/store/", "nix/store/a", "/nix/store/a/b"] {
            let mut root = root(1);
            let mut parent = document(&toplevel(1));
            parent["org.nixos.specialisation.v1"]["odd"] = document(odd);
            root.file(&format!("{}/boot.json", toplevel(1)), parent.to_string());
            let generations = describe(&mut root, 0).generations;
            let [parent, child] = &*generations else { panic!("two") };
            assert_eq!(parent.broken, None);
            assert_eq!(child.broken.as_ref().map(|broken| broken.code), Some(Code::EntryDamaged));
            assert_eq!(child.id, format!("{}/specialisation/odd", toplevel(1)));
        }
    }

    #[test]
    fn settings_come_from_the_generation() {
        let mut root = root(1);
        let mut changed = document(&toplevel(1));
        changed["org.firn.v1"] = json!({"timeout": 3, "bootTries": -1});
        root.file(&format!("{}/boot.json", toplevel(1)), changed.to_string());
        let description = describe(&mut root, 0);
        assert_eq!(description.settings[0].timeout, Some(Timeout::After(30)));
        assert_eq!(description.warnings[0].code, Code::ConfigurationLineIgnored);
        assert!(description.warnings[0].text.starts_with("system-1-link: org.firn.v1: bootTries"));
    }

    fn with_secrets() -> Memory {
        let mut root = root(1);
        let mut changed = document(&toplevel(1));
        changed["org.nixos.bootspec.v1"]["initrdSecrets"] = json!("/nix/store/x/bin/append");
        root.file(&format!("{}/boot.json", toplevel(1)), changed.to_string());
        root
    }

    fn secrets_of(toplevel: &str) -> String {
        toplevel.replace("/nix/store", "/nix/var/firn/initrd-secrets")
    }

    #[test]
    fn secrets_are_the_last_initrd() {
        for on_its_own in [false, true] {
            let mut root = with_secrets();
            let path = secrets_of(&toplevel(1));
            root.file(&path, "an archive");
            let mut root = if on_its_own { as_partition(root) } else { root };
            let description = describe(&mut root, 0);
            let path = if on_its_own { path.replacen("/nix", "", 1) } else { path };
            assert_eq!(description.generations[0].files.initrds.last(), Some(&path));
            assert_eq!(description.generations[0].files.initrds.len(), 2);
            assert!(description.warnings.is_empty());
        }
    }

    #[test]
    fn without_its_secrets_a_generation_boots_and_says_so() {
        for contents in [None, Some("")] {
            let mut root = with_secrets();
            if let Some(contents) = contents {
                root.file(&secrets_of(&toplevel(1)), contents);
            }
            let description = describe(&mut root, 0);
            assert_eq!(description.generations[0].broken, None);
            assert_eq!(description.generations[0].files.initrds.len(), 1);
            let text = &description.warnings[0].text;
            assert!(text.starts_with("system-1-link: boots without its secrets"), "{text}");
        }
    }

    #[test]
    fn secrets_that_no_boot_json_asks_for_are_left_alone() {
        let mut root = root(1);
        root.file(&secrets_of(&toplevel(1)), "an archive");
        assert_eq!(describe(&mut root, 0).generations[0].files.initrds.len(), 1);
    }

    #[test]
    fn the_date_is_that_of_the_link() {
        let mut root = Memory { modified: Some(1_700_000_000), ..root(1) };
        let description = describe(&mut root, 0);
        assert_eq!(description.generations[0].date.as_deref(), Some("2023-11-14 22:13"));
    }

    #[test]
    fn another_profile_is_named_in_the_title() {
        let mut root = root(1);
        root.link(&format!("{PROFILES}/system-profiles/known-good-3-link"), &toplevel(1));
        let generation = describe(&mut root, 1).generations.remove(0);
        assert_eq!(generation.title, "known-good: NixOS Xantusia 25.11 (Linux 6.12.63)");
        assert_eq!((generation.number, generation.id), (Some(3), toplevel(1)));
    }
}

mod broken {
    use super::*;

    #[test]
    fn a_garbage_collected_generation_says_so() {
        let (code, reason) = reason(|root| root.remove(&toplevel(1)));
        assert_eq!(code, Code::NotFound);
        assert_eq!(reason, format!("{} is gone: it was garbage-collected", toplevel(1)));
    }

    #[test]
    fn a_broken_generation_keeps_number_and_identity() {
        let mut root = root(1);
        root.remove(&toplevel(1));
        let generation = newest(&mut root);
        assert_eq!((generation.id, generation.number), (toplevel(1), Some(1)));
        assert_eq!(generation.version.as_deref(), Some("25.11.20260201.9f8e7d6"));
    }

    #[test]
    fn a_half_written_boot_json_says_where_it_ends() {
        let whole = document(&toplevel(1)).to_string();
        for end in [0, whole.len() / 2] {
            let (code, reason) = reason(|root| {
                root.file(&format!("{}/boot.json", toplevel(1)), &whole.as_bytes()[..end]);
            });
            assert_eq!(code, Code::EntryDamaged);
            assert!(reason.starts_with("boot.json: not JSON at byte "), "{reason}");
        }
    }

    #[test]
    fn a_boot_json_too_large_to_be_one_is_not_read() {
        let path = format!("{}/boot.json", toplevel(1));
        let (code, _) = reason(|root| root.file(&path, vec![b' '; 1 << 20]));
        assert_eq!(code, Code::ConfigurationTooLarge);
    }

    #[test]
    fn a_piece_that_is_missing_or_empty_is_named() {
        let kernel = format!("{}/Image", store("linux-6.12.63"));
        let (code, text) = reason(|root| root.remove(&kernel));
        assert_eq!(code, Code::NotFound);
        assert!(text.contains(&kernel), "{text}");
        let (code, text) = reason(|root| root.file(&kernel, ""));
        assert_eq!((code, text), (Code::FileRead, format!("{kernel} is empty")));
        let initrd = format!("{}/initrd", store("initrd-linux-6.12.63"));
        assert_eq!(reason(|root| root.file(&initrd, "")).1, format!("{initrd} is empty"));
    }

    #[test]
    fn an_old_generation_without_kernel_is_incomplete() {
        let (code, _) = reason(|root| {
            root.remove(&format!("{}/boot.json", toplevel(1)));
            root.remove(&format!("{}/kernel", toplevel(1)));
        });
        assert_eq!(code, Code::EntryIncomplete);
    }

    #[test]
    fn a_device_tree_that_is_wanted_but_not_there_is_not_replaced() {
        let (code, text) = reason(|root| {
            let mut changed = document(&toplevel(1));
            changed["org.firn.v1"] = json!({"deviceTree": "/nix/store/gone/a.dtb"});
            root.file(&format!("{}/boot.json", toplevel(1)), changed.to_string());
        });
        assert_eq!(code, Code::NotFound);
        assert!(text.contains("/nix/store/gone"), "{text}");
    }

    #[test]
    fn an_overlay_that_is_not_there_is_not_left_out() {
        let (code, text) = reason(|root| {
            let mut changed = document(&toplevel(1));
            changed["org.firn.v1"] = json!({"deviceTreeOverlays": ["/nix/store/gone/a.dtbo"]});
            root.file(&format!("{}/boot.json", toplevel(1)), changed.to_string());
        });
        assert_eq!(code, Code::NotFound);
        assert!(text.contains("/nix/store/gone"), "{text}");
    }

    #[test]
    fn links_of_a_toplevel_that_lead_nowhere_are_not_taken_for_absent() {
        let (code, text) = reason(|root| root.remove(&store("dtbs")));
        assert_eq!(code, Code::NotFound);
        assert!(text.contains("dtbs"), "{text}");
        let (code, text) = reason(|root| {
            root.remove(&format!("{}/boot.json", toplevel(1)));
            root.remove(&store("initrd-linux-6.12.63"));
        });
        assert_eq!(code, Code::NotFound);
        assert!(text.contains("initrd"), "{text}");
    }

    #[test]
    fn a_toplevel_without_initrd_and_device_trees_boots_without() {
        let mut root = root(1);
        for name in ["boot.json", "initrd", "dtbs"] {
            root.remove(&format!("{}/{name}", toplevel(1)));
        }
        let generation = newest(&mut root);
        assert_eq!((generation.broken, generation.files.initrds.len()), (None, 0));
        assert_eq!(generation.files.device_tree, DeviceTreeFile::FromFirmware);
    }

    #[test]
    fn a_system_for_another_processor_is_refused() {
        let (code, text) = reason(|root| {
            let mut changed = document(&toplevel(1));
            changed["org.nixos.bootspec.v1"]["system"] = json!("x86_64-linux");
            root.file(&format!("{}/boot.json", toplevel(1)), changed.to_string());
        });
        assert_eq!((code, &*text), (Code::KernelNotArm64, "it is made for x86_64-linux"));
    }

    #[test]
    fn a_boot_json_of_another_system_is_refused() {
        let (code, _) = reason(|root| {
            root.file(&format!("{}/boot.json", toplevel(1)), document(&toplevel(2)).to_string());
        });
        assert_eq!(code, Code::EntryDamaged);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_refused() {
        let link = format!("{PROFILES}/system-1-link");
        let (code, text) = reason(|root| {
            root.file("/home/user/result/init", "");
            root.link(&link, "/home/user/result");
        });
        assert_eq!(code, Code::EntryDamaged);
        assert_eq!(text, "system-1-link leads to /home/user/result, not into the store");
        for target in ["/nix/store", "/nix/store/..", "/nix/store/../..", "", "/"] {
            let (code, _) = reason(|root| root.link(&link, target));
            assert_eq!(code, Code::EntryDamaged, "{target:?}");
        }
    }

    #[test]
    fn a_link_that_leads_off_the_partition_is_refused() {
        let mut root = root(1);
        root.link(&format!("{PROFILES}/system-1-link"), "/home/user/result");
        let broken = newest(&mut as_partition(root)).broken.expect("broken");
        assert!(broken.reason.contains("not on the partition that holds /nix"), "{broken}");
    }

    #[test]
    fn a_link_by_way_of_another_still_gives_the_store_path() {
        let mut root = root(1);
        root.link(&format!("{PROFILES}/system-2-link"), "../profiles/system-1-link");
        let generation = newest(&mut as_partition(root));
        assert_eq!((generation.id, generation.broken), (toplevel(1), None));
    }

    #[test]
    fn links_in_a_circle_end() {
        let (code, _) = reason(|root| {
            root.link(&format!("{PROFILES}/system-1-link"), "system-1-link");
        });
        assert_eq!(code, Code::TooManyLinks);
    }

    #[test]
    fn a_file_in_place_of_a_link_is_refused() {
        let path = format!("{PROFILES}/system-1-link");
        assert_eq!(reason(|root| root.file(&path, "text")).0, Code::WrongFileType);
    }
}

proptest! {
    #[test]
    fn names_of_profiles_send_nothing_to_the_terminal(
        profile in "[^/\0]{1,20}", digits in "[0-9+-]{0,11}",
    ) {
        let mut root = root(1);
        let name = format!("{profile}-{digits}-link");
        root.link(&format!("{PROFILES}/system-profiles/{name}"), &toplevel(1));
        let profiles = find(&mut root);
        let index = profiles.links.iter().position(|link| link.profile.is_some());
        let is_number = digits.parse::<u32>().is_ok_and(|number| number.to_string() == digits);
        if is_number && !profile.contains('\u{fffd}') {
            prop_assert!(index.is_some());
        }
        for index in 0..profiles.links.len() {
            let description = profiles.describe(&mut root, index).expect("one");
            for generation in description.generations {
                prop_assert_eq!(&generation.broken, &None);
                prop_assert!(!generation.name.contains(char::is_control));
                prop_assert!(!generation.title.contains(char::is_control));
            }
        }
    }

    #[test]
    fn any_target_of_a_link_has_an_answer(target in "(/|nix|store|\\.\\.|\\.|system|-1-link|[a-z]){0,8}") {
        for to_layout in [|root| root, as_partition] {
            let mut root = root(2);
            root.link(&format!("{PROFILES}/system-2-link"), &target);
            root.link(&format!("{PROFILES}/system"), &target);
            root.link(&format!("{}/kernel", toplevel(1)), &target);
            root.remove(&format!("{}/boot.json", toplevel(1)));
            let mut root = to_layout(root);
            let profiles = find(&mut root);
            for index in 0..profiles.links.len() {
                prop_assert!(profiles.describe(&mut root, index).is_some());
            }
        }
    }
}

/// Made by the real tools; `cargo test --test profiles -- --ignored --nocapture` prints what is read.
#[test]
#[ignore = "needs e2fsprogs"]
fn on_ext4_with_a_large_store_a_menu_stands_before_4_mib_are_read() {
    const GENERATIONS: u32 = 200;
    const OTHERS: usize = 5000;
    let mut root = root(GENERATIONS);
    for number in 0..OTHERS {
        root.file(&store(&format!("some-package-{number}-1.2.3.drv")), "");
    }
    let scratch = Scratch::new("profiles");
    for (path, node) in &root.nodes {
        let path = scratch.path(&format!("tree{path}"));
        match node {
            Node::File(bytes) => std::fs::write(path, bytes).expect("a file"),
            Node::Link(target) => std::os::unix::fs::symlink(target, path).expect("a link"),
        }
    }
    let image = scratch.blank_image("image", 256 * MIB);
    let features = ext4_features();
    mke2fs(&image, &scratch.path("tree"), &["-t", "ext4", "-b", "4096", "-O", &features]);
    let mut report = String::new();
    for (store, limit) in [("unindexed", u64::MAX), ("indexed", 4 << 20)] {
        if store == "indexed" {
            run("e2fsck", &["-fyD", text(&image)], "");
        }
        let disk = Disk::new(Rc::new(Image::load(&image)));
        let counters = disk.counters();
        let device = disk.cached();
        let mut root = mount(Volume::whole(device)).expect("ext4");
        let mut note = |step: &str| {
            let now = counters.get();
            let read = now.blocks * 512;
            writeln!(report, "{store}: {step}: {} commands, {read} bytes", now.commands)
                .expect("room");
            read
        };
        note("mounted");
        let profiles = Profiles::find(&mut *root).expect("readable").expect("profiles");
        assert_eq!(profiles.links.len(), GENERATIONS as usize);
        note("200 numbers");
        let mut describe = |range: std::ops::Range<usize>| {
            for index in range {
                let found = profiles.describe(&mut *root, index).expect("one").generations;
                assert_eq!(found[0].broken, None);
            }
        };
        describe(0..1);
        note("the newest");
        describe(1..20);
        let read = note("the 20 newest");
        assert!(read <= limit, "{report}");
        for index in 0..GENERATIONS as usize {
            assert!(profiles.toplevel(&mut *root, index).is_ok());
        }
        note("and 200 targets");
        for index in 20..GENERATIONS as usize {
            profiles.describe(&mut *root, index);
        }
        note("and 200 generations");
    }
    println!("{report}");
}
