//! What becomes of loader entries and `loader.conf`.

mod tree;

use firn::{
    error::Code,
    nixos::{
        DeviceTreeFile, Source, Timeout,
        loader_entries::{
            Configuration, Entry, LoaderSettings, MAX_ENTRIES, MAX_SIZE, Tries, read,
        },
    },
};
use proptest::prelude::*;

use self::tree::Tree;

const TOPLEVEL_42: &str =
    "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";
const COUNTED: &str =
    "nixos-949a2c86394c9da3888a2832b35f14c8fbc8c67ab52fe96ca2331e336125f0ac+3.conf";
const COUNTED_RESCUE: &str =
    "nixos-1252c6a5e343f80792c517c2c212cbdd4a92f2eb72961e05417a8d12aaae728a+2-1.conf";
const OLD: [&str; 3] = [
    "nixos-generation-42.conf",
    "nixos-generation-42-specialisation-rescue.conf",
    "nixos-known-good-generation-3.conf",
];

fn nixos(names: &[&str], settings: &str) -> Tree {
    names.iter().fold(
        Tree::default().with_fixture("/loader/loader.conf", &format!("loader/{settings}")),
        |tree, name| {
            tree.with_fixture(&format!("/loader/entries/{name}"), &format!("loader/entries/{name}"))
        },
    )
}

fn configuration(mut tree: Tree) -> Configuration {
    read(&mut tree, "/").expect("can be listed").expect("has entries")
}

fn names(configuration: &Configuration) -> Vec<&str> {
    configuration.entries.iter().map(|entry| entry.generation.name.as_str()).collect()
}

fn default_name(configuration: &Configuration) -> Option<&str> {
    let mut defaults = configuration.entries.iter().filter(|entry| entry.generation.default);
    let only = defaults.next()?;
    assert_eq!(defaults.next(), None);
    Some(&only.generation.name)
}

fn warnings(configuration: &Configuration) -> Vec<String> {
    configuration.warnings.iter().map(ToString::to_string).collect()
}

/// Entries that boot, by file names.
fn plain(files: &[&str]) -> Tree {
    files.iter().fold(Tree::default(), |tree, file| {
        tree.with(&format!("/loader/entries/{file}"), "linux /Image\n")
    })
}

/// The one entry with these lines.
fn entry(lines: &str) -> Entry {
    configuration(Tree::default().with("/loader/entries/a.conf", lines)).entries.remove(0)
}

fn settings(text: &str) -> LoaderSettings {
    configuration(plain(&["a.conf"]).with("/loader/loader.conf", text)).settings.expect("a file")
}

fn reason(entry: &Entry) -> &str {
    &entry.generation.broken.as_ref().expect("is broken").reason
}

mod nixos_files {
    use super::*;

    #[test]
    fn a_generation_carries_all_that_its_file_tells() {
        let configuration = configuration(nixos(&OLD, "loader.conf.old"));
        assert_eq!(warnings(&configuration), [""; 0]);
        let entry =
            configuration.entries.iter().find(|e| e.generation.name == OLD[0]).expect("listed");
        let generation = &entry.generation;
        assert_eq!(generation.id, TOPLEVEL_42);
        assert_eq!(generation.source, Source::LoaderEntry);
        assert_eq!(generation.title, "NixOS");
        assert_eq!((generation.number, generation.specialisation.as_deref()), (Some(42), None));
        assert_eq!(generation.date.as_deref(), Some("2026-02-14"));
        assert_eq!(generation.version.as_deref(), Some("25.11.20260214.9f8e7d6"));
        assert_eq!(generation.kernel_version.as_deref(), Some("6.12.63"));
        assert_eq!(generation.broken, None);
        assert_eq!(entry.tries, None);
        let files = &generation.files;
        assert_eq!(
            files.kernel,
            "/EFI/nixos/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63-Image.efi"
        );
        assert_eq!(
            files.initrds,
            ["/EFI/nixos/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63-initrd.efi"]
        );
        assert_eq!(
            files.device_tree,
            DeviceTreeFile::File(
                "/EFI/nixos/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered-imx8mp-evk.dtb.efi"
                    .into()
            )
        );
        assert_eq!(
            files.command_line,
            format!(
                "init={TOPLEVEL_42}/init console=ttymxc1,115200 root=fstab loglevel=4 \
                 lsm=landlock,yama,bpf"
            )
        );
    }

    #[test]
    fn the_old_names_give_generation_profile_and_specialisation() {
        let configuration = configuration(nixos(&OLD, "loader.conf.old"));
        let told: Vec<_> = configuration
            .entries
            .iter()
            .map(|Entry { generation, .. }| {
                (generation.number, generation.specialisation.as_deref(), generation.title.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [
                (Some(42), Some("rescue"), "NixOS (rescue)"),
                (Some(42), None, "NixOS"),
                (Some(3), None, "NixOS [known-good]"),
            ]
        );
    }

    #[test]
    fn the_new_names_give_the_same_generations_and_their_tries() {
        let names = [COUNTED, COUNTED_RESCUE];
        let configuration = configuration(nixos(&names, "loader.conf.new-bootcounting"));
        let told: Vec<_> = configuration
            .entries
            .iter()
            .map(|Entry { generation, tries, .. }| {
                (generation.number, generation.specialisation.as_deref(), *tries)
            })
            .collect();
        assert_eq!(
            told,
            [
                (Some(42), Some("rescue"), Some(Tries { left: 2, done: 1 })),
                (Some(42), None, Some(Tries { left: 3, done: 0 })),
            ]
        );
        assert_eq!(
            default_name(&configuration),
            Some("nixos-949a2c86394c9da3888a2832b35f14c8fbc8c67ab52fe96ca2331e336125f0ac.conf")
        );
        assert_eq!(warnings(&configuration), [""; 0]);
    }

    #[test]
    fn the_settings_of_nixos_are_understood() {
        let old = configuration(nixos(&OLD, "loader.conf.old"));
        assert_eq!(default_name(&old), Some("nixos-generation-42.conf"));
        assert_eq!(old.settings.expect("a file").menu.timeout, Timeout::After(50));
        let null = configuration(nixos(&OLD, "loader.conf.timeout-null"));
        assert_eq!(null.settings.expect("a file").menu.timeout, Timeout::Never);
    }

    #[test]
    fn a_boot_directory_is_the_root_of_the_paths_of_nixos() {
        let mut tree = Tree::default()
            .with(
                "/boot/loader/entries/a.conf",
                "linux /EFI/Image\ninitrd /i\ninitrd /\ndevicetree /d\n",
            )
            .with("/boot/EFI/Image", "");
        let found = read(&mut tree, "/boot").expect("listed").expect("one").entries.remove(0);
        assert_eq!(found.generation.files.kernel, "/boot/EFI/Image");
        assert_eq!(found.generation.files.initrds, ["/boot/i", "/boot"]);
        assert_eq!(found.generation.files.device_tree, DeviceTreeFile::File("/boot/d".into()));
    }

    #[test]
    fn in_a_boot_directory_paths_of_the_partition_are_found_too() {
        let mut tree = Tree::default()
            .with("/boot/loader/entries/a.conf", "linux /boot/vmlinuz\ninitrd /boot/initrd\n")
            .with("/boot/vmlinuz", "");
        let found = read(&mut tree, "/boot").expect("listed").expect("one").entries.remove(0);
        assert_eq!(found.generation.files.kernel, "/boot/vmlinuz");
        assert_eq!(found.generation.files.initrds, ["/boot/initrd"]);
    }
}

#[test]
fn a_files_name_that_stands_for_a_title_cannot_move_the_cursor() {
    let configuration = configuration(plain(&["a\x1b[2J.conf"]));
    assert_eq!(configuration.entries[0].generation.title, "a [2J.conf");
}

mod entries {
    use super::*;

    #[test]
    fn initrds_and_options_gather_all_their_lines_in_order() {
        let entry =
            entry("linux Image\ninitrd /a\ninitrd b\noptions quiet  x=1\noptions root=/dev/r");
        assert_eq!(entry.generation.files.kernel, "/Image");
        assert_eq!(entry.generation.files.initrds, ["/a", "/b"]);
        assert_eq!(entry.generation.files.command_line, "quiet  x=1 root=/dev/r");
    }

    #[test]
    fn overlays_are_applied_in_the_order_of_the_line() {
        let tree = Tree::default().with(
            "/loader/entries/a.conf",
            "linux /Image\ndevicetree-overlay /o/a.dtbo /o/b.dtbo\n",
        );
        let configuration = configuration(tree);
        let files = &configuration.entries[0].generation.files;
        assert_eq!(files.overlays, ["/o/a.dtbo", "/o/b.dtbo"]);
        assert_eq!(warnings(&configuration), [""; 0]);
        let many = format!("linux /Image\ndevicetree-overlay {}\n", "/a ".repeat(33));
        assert_eq!(reason(&entry(&many)), "more than 32 overlays cannot be applied");
    }

    #[test]
    fn entries_for_other_processors_are_left_out() {
        let tree = plain(&["a.conf"])
            .with("/loader/entries/b.conf", "architecture x64\nlinux /b\n")
            .with("/loader/entries/c.conf", "architecture AA64\nlinux /c\n");
        assert_eq!(names(&configuration(tree)), ["c.conf", "a.conf"]);
        let mut only = Tree::default().with("/loader/entries/b.conf", "architecture x64\n");
        assert_eq!(read(&mut only, "/"), Ok(None));
    }

    #[test]
    fn a_path_that_leads_out_of_its_directory_is_refused() {
        for line in ["initrd /../x", "devicetree a/../../b", "devicetree-overlay /a /.."] {
            let entry = entry(&format!("linux /Image\n{line}\n"));
            assert_eq!(reason(&entry), "line 2: the path leads out of its directory");
        }
        assert!(entry("linux ../Image").generation.broken.is_some());
    }

    #[test]
    fn an_entry_without_a_linux_kernel_is_shown_as_broken() {
        assert_eq!(reason(&entry("")), "the entry names no kernel");
        assert_eq!(
            reason(&entry("title Memory test\nefi /memtest.efi")),
            "efi does not start a Linux kernel"
        );
    }

    #[test]
    fn a_file_that_ends_within_a_line_is_broken() {
        assert_eq!(
            reason(&entry("linux /Image\noptions init=/nix\0")),
            "line 2: the file ends within the line"
        );
    }

    #[test]
    fn an_unknown_key_is_told_of_once() {
        let tree = Tree::default()
            .with("/loader/entries/2.conf", "linux /Image\ngrub_class x\ngrub_class y\n")
            .with("/loader/entries/1.conf", "linux /Image\ngrub_class x\n");
        assert_eq!(
            warnings(&configuration(tree)),
            ["/loader/entries/2.conf line 2: \"grub_class\" is not known; ignored"]
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_hide_the_others() {
        let tree = plain(&["a.conf"]).with_unreadable("/loader/entries/b.conf");
        let configuration = configuration(tree);
        assert_eq!(names(&configuration), ["b.conf", "a.conf"]);
        assert_eq!(configuration.warnings[0].code, Code::FileSystemCorrupt);
        assert!(configuration.entries[0].generation.broken.is_some());
        assert_eq!(default_name(&configuration), Some("a.conf"));
    }

    #[test]
    fn a_file_of_absurd_size_is_not_read() {
        let tree = plain(&["a.conf"]).with("/loader/entries/b.conf", vec![b'#'; MAX_SIZE + 1]);
        let read = tree.read.clone();
        let configuration = configuration(tree);
        assert_eq!(configuration.warnings[0].code, Code::ConfigurationTooLarge);
        assert!(read.get() < MAX_SIZE);
    }

    #[test]
    fn of_too_many_entries_the_newest_are_listed() {
        let files: Vec<_> = (0..MAX_ENTRIES + 3).map(|n| format!("g-{n}.conf")).collect();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let configuration = configuration(plain(&files));
        assert_eq!(configuration.entries.len(), MAX_ENTRIES);
        assert_eq!(names(&configuration)[0], "g-514.conf");
        assert_eq!(
            warnings(&configuration),
            ["/loader/entries: only 512 of 515 entries are listed"]
        );
    }

    #[test]
    fn files_that_are_no_entries_are_left_alone() {
        let tree = plain(&["a.CONF", ".b.conf", "c.conf.tmp", "conf", ".conf"]);
        assert_eq!(names(&configuration(tree)), ["a.conf"]);
        assert_eq!(read(&mut plain(&["README"]), "/"), Ok(None));
        assert_eq!(read(&mut Tree::default(), "/"), Ok(None));
    }

    #[test]
    fn an_edited_copy_of_an_entry_can_be_told_from_it() {
        let tree = Tree::default()
            .with("/loader/entries/b.conf", "linux /Image\noptions init=/nix/store/x/init\n")
            .with("/loader/entries/a.conf", "linux /Image\noptions init=/nix/store/x/init debug\n");
        let ids: Vec<_> =
            configuration(tree).entries.into_iter().map(|entry| entry.generation.id).collect();
        assert_eq!(ids, ["/nix/store/x", "loader entry:a.conf"]);
    }

    #[test]
    fn counters_are_read_only_where_they_are_counters() {
        for (file, name, tries) in [
            ("a+3.conf", "a.conf", Some((3, 0))),
            ("a+0-4.conf", "a.conf", Some((0, 4))),
            ("a+99999999999.conf", "a.conf", Some((u32::MAX, 0))),
            ("6.12.63+deb13.conf", "6.12.63+deb13.conf", None),
            ("a+.conf", "a+.conf", None),
            ("a+1-.conf", "a+1-.conf", None),
            ("a+-1.conf", "a+-1.conf", None),
        ] {
            let entry = configuration(plain(&[file])).entries.remove(0);
            assert_eq!(entry.generation.name, name, "{file}");
            assert_eq!(entry.tries.map(|t| (t.left, t.done)), tries, "{file}");
        }
    }
}

mod order {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_the_specification() {
        let file = |tree: Tree, name: &str, lines: &str| {
            tree.with(&format!("/loader/entries/{name}"), format!("linux /Image\n{lines}"))
        };
        let tree = [
            ("a-9.conf", "sort-key b\nmachine-id 1\nversion 9\n"),
            ("a-10.conf", "sort-key b\nmachine-id 1\nversion 10\n"),
            ("other.conf", "sort-key b\nmachine-id 2\nversion 11\n"),
            ("first.conf", "sort-key a\nversion 1\n"),
            ("z-9.conf", "version 99\n"),
            ("z-10.conf", "version 1\n"),
            ("bad+0-3.conf", "sort-key a\nversion 100\n"),
            ("new+3.conf", "sort-key a\nversion 2\n"),
        ]
        .iter()
        .fold(Tree::default(), |tree, (name, lines)| file(tree, name, lines));
        assert_eq!(
            names(&configuration(tree)),
            [
                "new.conf",
                "first.conf",
                "a-10.conf",
                "a-9.conf",
                "other.conf",
                "z-10.conf",
                "z-9.conf",
                "bad.conf",
            ]
        );
    }
}

mod default {
    use super::*;

    fn chosen(files: &[&str], conf: &str) -> (Option<String>, Vec<String>) {
        let configuration = configuration(plain(files).with("/loader/loader.conf", conf));
        (default_name(&configuration).map(Into::into), warnings(&configuration))
    }

    #[test]
    fn a_pattern_means_the_newest_entry_that_fits() {
        let files = ["debian-9.conf", "nixos-1.conf", "nixos-2.conf", "zebra.conf"];
        assert_eq!(chosen(&files, "default nixos-*").0.as_deref(), Some("nixos-2.conf"));
        assert_eq!(chosen(&files, "default NIXOS-[01].conf").0.as_deref(), Some("nixos-1.conf"));
    }

    #[test]
    fn without_a_default_the_first_entry_boots() {
        assert_eq!(chosen(&["a.conf", "b.conf"], "").0.as_deref(), Some("b.conf"));
        assert_eq!(default_name(&configuration(plain(&["a.conf"]))), Some("a.conf"));
    }

    #[test]
    fn a_preferred_entry_gives_way_once_its_tries_are_used_up() {
        let conf = "preferred b.conf\ndefault a*";
        assert_eq!(chosen(&["a.conf", "b+1-2.conf"], conf).0.as_deref(), Some("b.conf"));
        assert_eq!(chosen(&["a.conf", "b+0-3.conf"], conf).0.as_deref(), Some("a.conf"));
    }

    #[test]
    fn what_is_counted_out_boots_by_itself_only_if_nothing_else_is_left() {
        assert_eq!(chosen(&["a.conf", "b+0-3.conf"], "").0.as_deref(), Some("a.conf"));
        assert_eq!(chosen(&["b+0-3.conf"], "").0.as_deref(), Some("b.conf"));
    }

    #[test]
    fn a_default_that_is_missing_is_told_of() {
        let (name, warnings) = chosen(&["a.conf"], "default nixos-generation-7.conf");
        assert_eq!(name.as_deref(), Some("a.conf"));
        assert_eq!(warnings, ["no entry has the name of the default, \"nixos-generation-7.conf\""]);
    }

    #[test]
    fn what_is_told_of_a_default_cannot_move_the_cursor() {
        let (_, warnings) = chosen(&["a.conf"], "default b\rc\td");
        assert_eq!(warnings, ["no entry has the name of the default, \"b c d\""]);
    }

    #[test]
    fn a_default_that_is_broken_gives_way_to_the_next_older() {
        let tree = plain(&["n-1.conf", "n-3.conf"])
            .with("/loader/entries/n-2.conf", "")
            .with("/loader/loader.conf", "default n-2.conf");
        let configuration = configuration(tree);
        assert_eq!(default_name(&configuration), Some("n-1.conf"));
        assert_eq!(
            warnings(&configuration),
            ["the default, \"n-2.conf\", cannot be booted; \"n-1.conf\" takes its place"]
        );
    }

    #[test]
    fn a_remembered_choice_is_asked_for_by_saved() {
        let files = ["a.conf", "b.conf"];
        assert!(settings("default @saved").remember_choice);
        assert_eq!(chosen(&files, "default @saved"), (Some("b.conf".into()), vec![]));
        assert_eq!(
            chosen(&files, "default @oneshot").1,
            ["/loader/loader.conf line 1: \"default\" does not name an entry; ignored"]
        );
    }
}

mod menu {
    use super::*;

    #[test]
    fn timeouts_are_seconds_or_words() {
        for (value, timeout) in [
            ("timeout 5", Timeout::After(50)),
            ("timeout 0", Timeout::Immediate),
            ("timeout menu-force", Timeout::Never),
            ("timeout menu-hidden", Timeout::Immediate),
            ("timeout menu-disabled", Timeout::Immediate),
            ("timeout 99999999999999", Timeout::After(u32::MAX)),
            ("timeout 3\ntimeout -1", Timeout::After(30)),
            ("timeout 3\ntimeout soon", Timeout::After(30)),
            ("", Timeout::Immediate),
        ] {
            assert_eq!(settings(value).menu.timeout, timeout, "{value}");
        }
    }

    #[test]
    fn the_editor_is_open_unless_it_is_closed() {
        assert!(settings("").editor);
        assert!(!settings("editor no").editor);
        assert!(!settings("editor 0").editor);
        assert!(settings("editor no\neditor YES").editor);
    }

    #[test]
    fn what_has_no_meaning_here_is_passed_over_and_what_is_unknown_told_of() {
        let tree = plain(&["a.conf"])
            .with("/loader/loader.conf", "console-mode keep\nbeep on\ncolour red\n");
        assert_eq!(
            warnings(&configuration(tree)),
            ["/loader/loader.conf line 3: \"colour\" is not known; ignored"]
        );
    }

    #[test]
    fn without_loader_conf_nothing_is_said_about_the_menu() {
        assert_eq!(configuration(plain(&["a.conf"])).settings, None);
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("linux /Image".as_bytes().to_vec()),
        "(title|version|linux|initrd|options|devicetree|efi|sort-key|timeout|default|preferred|x) [ -~/*\\[]{0,30}"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #[test]
    fn any_bytes_give_at_most_one_default_and_it_is_not_broken(
        files in proptest::collection::btree_map("[a-c0-9+.-]{0,8}\\.conf", hostile(), 0..6),
        conf in hostile(), place in prop_oneof![Just("/"), Just("/boot")],
    ) {
        let root = place.trim_end_matches('/');
        let mut tree = Tree::default().with(&format!("{root}/loader/loader.conf"), conf);
        for (name, bytes) in &files {
            tree = tree.with(&format!("{root}/loader/entries/{name}"), bytes);
        }
        let Some(configuration) = read(&mut tree, place).expect("can be listed") else {
            return Ok(());
        };
        let generations = || configuration.entries.iter().map(|entry| &entry.generation);
        prop_assert!(generations().filter(|generation| generation.default).count() <= 1);
        prop_assert_eq!(
            generations().any(|generation| generation.default),
            generations().any(|generation| generation.broken.is_none())
        );
        for generation in generations() {
            prop_assert!(!(generation.default && generation.broken.is_some()));
            let files = &generation.files;
            if generation.broken.is_none() {
                prop_assert!(files.kernel.starts_with('/'));
            }
            for path in files.initrds.iter().chain([&files.kernel]) {
                prop_assert!(!path.split('/').any(|name| name == ".."));
            }
        }
    }
}

#[test]
fn the_profile_is_read_from_the_files_name_and_from_the_title() {
    let tree = Tree::default()
        .with("/loader/entries/nixos-tested-generation-7.conf", "title NixOS\nlinux /a\n")
        .with(
            "/loader/entries/nixos-0123.conf",
            "title NixOS [tested] (rescue)\nversion Generation 8 NixOS, built on 2026-02-14\nlinux /a\n",
        )
        .with("/loader/entries/nixos-generation-9.conf", "title NixOS\nlinux /a\n");
    let configuration = configuration(tree);
    let mut found: Vec<_> = configuration
        .entries
        .iter()
        .map(|entry| (entry.generation.number, entry.generation.profile.as_deref()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(Some(7), Some("tested")), (Some(8), Some("tested")), (Some(9), None)]);
}
