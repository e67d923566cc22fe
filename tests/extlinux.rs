//! What becomes of an `extlinux.conf`.

use firn::{
    error::{Code, Coded},
    nixos::{
        Access, DeviceTreeFile, Generation, Source, Timeout,
        extlinux::{Configuration, ErrorKind, MAX_ENTRIES, MAX_SIZE, parse},
    },
};
use proptest::prelude::*;

const PATH: &str = "/boot/extlinux/extlinux.conf";
const TOPLEVEL_42: &str =
    "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";

macro_rules! fixture {
    ($name:literal) => {
        read(include_str!(concat!("fixtures/nixos/extlinux.", $name, ".conf")))
    };
}

fn read(text: impl AsRef<[u8]>) -> Configuration {
    parse(PATH, text.as_ref()).expect("has entries")
}

fn names(configuration: &Configuration) -> Vec<&str> {
    configuration.generations.iter().map(|generation| generation.name.as_str()).collect()
}

fn default_name(configuration: &Configuration) -> &str {
    &configuration.generations.iter().find(|generation| generation.default).expect("one").name
}

/// The one entry of a file whose entry has these lines.
fn entry(lines: &str) -> Generation {
    let mut configuration = read(format!("LABEL x\n{lines}\n"));
    assert_eq!(configuration.generations.len(), 1);
    configuration.generations.remove(0)
}

fn timeout(head: &str) -> Timeout {
    read(format!("{head}\nLABEL a\nLINUX /a\n")).settings.timeout
}

fn warnings(configuration: &Configuration) -> Vec<String> {
    configuration.warnings.iter().map(ToString::to_string).collect()
}

mod nixos_files {
    use super::*;

    #[test]
    fn a_generation_carries_all_that_its_lines_tell() {
        let configuration = fixture!("fdt-name");
        assert!(configuration.warnings.is_empty());
        let newest = &configuration.generations[0];
        assert_eq!(newest.id, TOPLEVEL_42);
        assert_eq!(newest.source, Source::Extlinux);
        assert_eq!(newest.name, "nixos-42-default");
        assert_eq!(
            newest.title,
            "NixOS - Configuration 42-default (2026-11-22 16:07 - 25.11.20260214.9f8e7d6)"
        );
        assert_eq!(newest.number, Some(42));
        assert_eq!(newest.specialisation, None);
        assert_eq!(newest.date.as_deref(), Some("2026-11-22 16:07"));
        assert_eq!(newest.version.as_deref(), Some("25.11.20260214.9f8e7d6"));
        assert_eq!(newest.kernel_version.as_deref(), Some("6.12.63"));
        assert_eq!(newest.broken, None);
        assert_eq!(
            newest.files.kernel,
            "/boot/nixos/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63-Image"
        );
        assert_eq!(
            newest.files.initrds,
            ["/boot/nixos/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63-initrd"]
        );
        assert_eq!(
            newest.files.device_tree,
            DeviceTreeFile::File(
                "/boot/nixos/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered/freescale/imx8mp-evk.dtb"
                    .into()
            )
        );
        assert_eq!(
            newest.files.command_line,
            format!(
                "init={TOPLEVEL_42}/init console=ttymxc1,115200 root=fstab loglevel=4 \
                 lsm=landlock,yama,bpf"
            )
        );
    }

    #[test]
    fn the_default_is_listed_once_under_its_number() {
        let configuration = fixture!("fdtdir-timeout5");
        assert_eq!(
            names(&configuration),
            ["nixos-42-default", "nixos-42-rescue", "nixos-41-default"]
        );
        let defaults: Vec<_> = configuration.generations.iter().map(|g| g.default).collect();
        assert_eq!(defaults, [true, false, false]);
    }

    #[test]
    fn a_specialisation_has_its_name_and_its_own_toplevel() {
        let rescue = &fixture!("fdtdir-timeout5").generations[1];
        assert_eq!((rescue.number, rescue.specialisation.as_deref()), (Some(42), Some("rescue")));
        assert_ne!(rescue.id, TOPLEVEL_42);
    }

    #[test]
    fn the_three_ways_to_a_device_tree_differ() {
        assert!(matches!(
            fixture!("fdt-name").generations[0].files.device_tree,
            DeviceTreeFile::File(_)
        ));
        assert_eq!(
            fixture!("fdtdir-timeout5").generations[0].files.device_tree,
            DeviceTreeFile::Directory(
                "/boot/nixos/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered".into()
            )
        );
        assert_eq!(
            fixture!("no-dt").generations[0].files.device_tree,
            DeviceTreeFile::FromFirmware
        );
    }

    #[test]
    fn timeouts_of_nixos_are_understood() {
        assert_eq!(fixture!("fdtdir-timeout5").settings.timeout, Timeout::After(50));
        assert_eq!(fixture!("timeout-null").settings.timeout, Timeout::Never);
        assert_eq!(fixture!("timeout-0").settings.timeout, Timeout::Immediate);
    }

    #[test]
    fn the_title_of_dashes_is_no_title() {
        assert_eq!(fixture!("fdtdir-timeout5").settings.title, None);
    }

    #[test]
    fn a_fresh_card_has_only_the_default_with_the_version_of_its_toplevel() {
        let configuration = fixture!("g0-sdimage");
        assert_eq!(names(&configuration), ["nixos-default"]);
        let only = &configuration.generations[0];
        assert!(only.default);
        assert_eq!((only.number, only.date.as_deref()), (None, None));
        assert_eq!(only.version.as_deref(), Some("25.11.20260214.9f8e7d6"));
        assert_eq!(only.id, TOPLEVEL_42);
    }

    #[test]
    fn the_hint_in_the_file_works_as_it_says() {
        let text = include_str!("fixtures/nixos/extlinux.fdtdir-timeout5.conf")
            .replace("DEFAULT nixos-default", "DEFAULT nixos-41");
        assert_eq!(default_name(&read(text)), "nixos-41-default");
    }

    #[test]
    fn after_a_rollback_an_older_generation_is_the_default() {
        let old = "init=/nix/store/k3v6x9a2c5f8h1j4l7n0p3r6x9w2y5z8-nixos-system-a-25.11/init";
        let new = "init=/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-a-25.11/init";
        let text = format!(
            "DEFAULT nixos-default\nLABEL nixos-default\nLINUX k\nAPPEND {old}\n\
             LABEL nixos-42-default\nLINUX k\nAPPEND {new}\n\
             LABEL nixos-41-default\nLINUX k\nAPPEND {old}\n"
        );
        let configuration = read(text);
        assert_eq!(names(&configuration), ["nixos-42-default", "nixos-41-default"]);
        assert_eq!(default_name(&configuration), "nixos-41-default");
    }

    #[test]
    fn generations_of_one_toplevel_are_listed_under_the_highest_number() {
        let one = "LINUX k\nAPPEND init=/nix/store/x-nixos-system-a/init\n";
        let configuration = read(format!("LABEL nixos-41\n{one}LABEL nixos-43\n{one}"));
        assert_eq!(names(&configuration), ["nixos-43"]);
        assert!(configuration.generations[0].default);
    }

    #[test]
    fn an_edited_copy_of_a_generation_stays_with_an_identity_of_its_own() {
        let init = "init=/nix/store/x-nixos-system-a/init";
        let configuration = read(format!(
            "LABEL nixos-7-default\nLINUX k\nAPPEND {init}\n\
             LABEL debug\nLINUX k\nAPPEND {init} debug\n"
        ));
        let ids: Vec<_> = configuration.generations.iter().map(|g| g.id.as_str()).collect();
        assert_eq!(names(&configuration), ["nixos-7-default", "debug"]);
        assert_eq!(ids, ["/nix/store/x-nixos-system-a", "extlinux:debug"]);
    }

    #[test]
    fn generations_in_any_order_are_listed_newest_first() {
        let configuration = read(
            "LABEL nixos-9-default\nLINUX k\nAPPEND a\nLABEL memtest\nLINUX m\n\
             LABEL nixos-10-b\nLINUX k\nAPPEND b\nLABEL nixos-10-default\nLINUX k\nAPPEND c\n\
             LABEL nixos-10-a\nLINUX k\nAPPEND d\n",
        );
        assert_eq!(
            names(&configuration),
            ["nixos-10-default", "nixos-10-b", "nixos-10-a", "nixos-9-default", "memtest"]
        );
    }
}

mod other_distributions {
    use super::*;

    #[test]
    fn a_file_as_debian_writes_it_is_read_in_its_order() {
        let configuration = read(
            "## /boot/extlinux/extlinux.conf\n\ndefault l0\nmenu title U-Boot menu\nprompt 1\n\
             timeout 50\n\n\nlabel l0\n\tmenu label Debian GNU/Linux 13 6.12.63+deb13-arm64\n\
             \tlinux /boot/vmlinuz-6.12.63+deb13-arm64\n\tinitrd /boot/initrd.img-6.12.63\n\
             \tfdtdir /usr/lib/linux-image-6.12.63+deb13-arm64/\n\t\n\
             \tappend root=UUID=1234 ro quiet\n\nlabel l0r\n\
             \tmenu label Debian GNU/Linux 13 (rescue target)\n\
             \tlinux /boot/vmlinuz-6.12.63+deb13-arm64\n\tappend root=UUID=1234 ro single\n",
        );
        assert!(configuration.warnings.is_empty());
        assert_eq!(names(&configuration), ["l0", "l0r"]);
        assert_eq!(configuration.settings.timeout, Timeout::After(50));
        assert_eq!(configuration.settings.title.as_deref(), Some("U-Boot menu"));
        let first = &configuration.generations[0];
        assert!(first.default);
        assert_eq!(first.id, "extlinux:l0");
        assert_eq!(first.title, "Debian GNU/Linux 13 6.12.63+deb13-arm64");
        assert_eq!(first.kernel_version.as_deref(), Some("6.12.63+deb13-arm64"));
        assert_eq!(first.files.kernel, "/boot/vmlinuz-6.12.63+deb13-arm64");
        assert_eq!(
            first.files.device_tree,
            DeviceTreeFile::Directory("/usr/lib/linux-image-6.12.63+deb13-arm64".into())
        );
        assert_eq!(first.files.command_line, "root=UUID=1234 ro quiet");
    }

    #[test]
    fn keywords_have_any_case_and_lines_any_end_and_indentation() {
        let configuration =
            read("DeFaUlT a\r\nMenu Title T\r\nTimeout 7\r\n\tlabel a\r\n \t Kernel\tk \r\n");
        assert_eq!(configuration.generations[0].files.kernel, "/boot/extlinux/k");
        assert_eq!(configuration.settings.timeout, Timeout::After(7));
        assert_eq!(configuration.settings.title.as_deref(), Some("T"));
    }

    #[test]
    fn initrds_add_up_over_lines_and_commas() {
        let files = entry("LINUX /k\nINITRD /a, /b\nINITRD c").files;
        assert_eq!(files.initrds, ["/a", "/b", "/boot/extlinux/c"]);
    }

    #[test]
    fn an_initrd_of_the_command_line_serves_where_no_other_is_named() {
        let files = entry("LINUX /k\nAPPEND ro initrd=/a,/b quiet").files;
        assert_eq!(files.initrds, ["/a", "/b"]);
        assert_eq!(files.command_line, "ro initrd=/a,/b quiet");
        assert_eq!(entry("LINUX /k\nAPPEND initrd=/a\nINITRD /b").files.initrds, ["/b"]);
    }

    #[test]
    fn device_trees_have_four_spellings_and_the_file_goes_before_the_directory() {
        let tree = |lines: &str| entry(&format!("LINUX /k\n{lines}")).files.device_tree;
        let file = DeviceTreeFile::File("/a.dtb".into());
        let directory = DeviceTreeFile::Directory("/d".into());
        assert_eq!(tree("FDT /a.dtb"), file);
        assert_eq!(tree("DEVICETREE /a.dtb"), file);
        assert_eq!(tree("FDTDIR /d"), directory);
        assert_eq!(tree("DEVICETREEDIR /d/"), directory);
        assert_eq!(tree("FDTDIR /d\nFDT /a.dtb"), file);
        assert_eq!(tree("FDTDIR /d\nFDT -"), DeviceTreeFile::FromFirmware);
    }

    #[test]
    fn overlays_have_two_spellings_and_the_first_line_counts() {
        let overlays = |lines: &str| entry(&format!("LINUX /k\n{lines}")).files.overlays;
        let expected = ["/boot/a.dtbo", "/boot/extlinux/b.dtbo", "/c.dtbo"];
        assert_eq!(overlays("FDTOVERLAYS ../a.dtbo b.dtbo\t /c.dtbo"), expected);
        assert_eq!(overlays("devicetree-overlay ../a.dtbo b.dtbo /c.dtbo"), expected);
        let configuration = read("LABEL a\nLINUX /k\nFDTOVERLAYS /a.dtbo\nFDTOVERLAYS /b.dtbo\n");
        assert_eq!(configuration.generations[0].files.overlays, ["/a.dtbo"]);
        assert_eq!(configuration.warnings.len(), 1);
        assert_eq!(overlays("FDTOVERLAYS"), [""; 0]);
    }

    #[test]
    fn an_entry_with_an_overlay_too_many_or_one_that_cannot_be_named_is_damaged() {
        let broken = |line: &str| entry(&format!("LINUX /k\n{line}")).broken.unwrap().reason;
        assert_eq!(
            broken(&format!("FDTOVERLAYS {}", "/a.dtbo ".repeat(33))),
            "more than 32 overlays cannot be applied"
        );
        assert_eq!(broken("FDTOVERLAYS /a\u{1}.dtbo"), "line 3: the path holds control characters");
    }

    #[test]
    fn paths_are_relative_to_the_file_or_absolute() {
        let kernel = |path: &str| entry(&format!("LINUX {path}")).files.kernel;
        assert_eq!(kernel("Image"), "/boot/extlinux/Image");
        assert_eq!(kernel("../Image"), "/boot/Image");
        assert_eq!(kernel("../../../../Image"), "/Image");
        assert_eq!(kernel("/nix/store/a-linux-6.1/Image"), "/nix/store/a-linux-6.1/Image");
    }

    #[test]
    fn a_fit_configuration_behind_the_kernel_is_kept_apart_from_its_path() {
        let files = entry("KERNEL /kernel.itb#conf-1").files;
        assert_eq!(files.kernel, "/kernel.itb");
        assert_eq!(files.configuration.as_deref(), Some("conf-1"));
        assert!(files.is_kernel("/kernel.itb") && files.is_kernel("/kernel.itb#conf-1"));
        assert!(!files.is_kernel("/kernel.itb#conf-2") && !files.is_kernel("/kernel"));
        // The last KERNEL counts as a whole.
        let files = entry("KERNEL /kernel.itb#conf-1\nKERNEL /Image").files;
        assert_eq!((&*files.kernel, files.configuration), ("/Image", None));
    }

    #[test]
    fn the_command_line_is_verbatim() {
        let line = r#"a="b  c"	d='e' # f \n %s"#;
        assert_eq!(entry(&format!("LINUX /k\n  APPEND  {line}  ")).files.command_line, line);
    }

    #[test]
    fn an_append_before_all_entries_is_for_those_without_one() {
        let configuration = read(
            "APPEND common\nLABEL a\nLINUX /a\nLABEL b\nLINUX /b\nAPPEND own\n\
             LABEL c\nLINUX /c\nAPPEND -\n",
        );
        let lines: Vec<_> =
            configuration.generations.iter().map(|g| g.files.command_line.as_str()).collect();
        assert_eq!(lines, ["common", "own", ""]);
    }

    #[test]
    fn the_hotkey_mark_is_not_shown() {
        assert_eq!(entry("MENU LABEL ^Linux 2^3\nLINUX /k").title, "Linux 2^3");
    }

    #[test]
    fn help_texts_are_skipped_and_end_at_the_next_entry_at_the_latest() {
        let configuration = read(
            "LABEL a\nTEXT HELP\nLINUX is a kernel\nENDTEXT\nLINUX /a\nTEXT HELP\nblah\n\
             LABEL b\nLINUX /b\n",
        );
        assert!(configuration.warnings.is_empty());
        assert_eq!(names(&configuration), ["a", "b"]);
        assert_eq!(configuration.generations[0].files.kernel, "/a");
    }

    #[test]
    fn what_changes_the_boot_and_is_not_done_is_warned_of() {
        let configuration = read(
            "INCLUDE more.conf\nSAY hello\nF1 help.txt\nFROB x\nLINUX /stray\n\
             LABEL a\nLINUX /a\nIPAPPEND 2\n",
        );
        assert_eq!(
            warnings(&configuration),
            [
                "line 1: \"INCLUDE more.conf\" is not followed; put its lines here",
                "line 4: \"FROB x\" is not known; ignored",
                "line 5: \"LINUX /stray\" belongs behind a LABEL; ignored",
                "line 8: \"IPAPPEND 2\" is not supported; ignored",
            ]
        );
        assert_eq!(configuration.generations[0].broken, None);
    }
}

mod menu_rules {
    use super::*;

    #[test]
    fn without_a_sign_of_a_menu_the_default_boots_at_once() {
        assert_eq!(timeout(""), Timeout::Immediate);
        assert_eq!(timeout("TIMEOUT 50"), Timeout::Immediate);
        assert_eq!(timeout("TIMEOUT 0"), Timeout::Immediate);
        assert_eq!(timeout("TIMEOUT 50\nPROMPT 0"), Timeout::Immediate);
    }

    #[test]
    fn each_sign_of_a_menu_makes_the_timeout_count() {
        for sign in
            ["MENU TITLE x", "PROMPT 1", "UI menu.c32", "DEFAULT vesamenu.c32", "MENU HIDDEN"]
        {
            assert_eq!(timeout(&format!("{sign}\nTIMEOUT 50")), Timeout::After(50), "{sign}");
        }
        assert_eq!(timeout("MENU TITLE x\nPROMPT 0\nTIMEOUT 50"), Timeout::After(50));
    }

    #[test]
    fn a_menu_label_of_an_entry_is_no_sign_of_a_menu() {
        let configuration = read("TIMEOUT 50\nLABEL a\nMENU LABEL A\nMENU DEFAULT\nLINUX /a\n");
        assert_eq!(configuration.settings.timeout, Timeout::Immediate);
    }

    #[test]
    fn zero_negative_and_missing_timeouts_wait_for_ever() {
        assert_eq!(timeout("MENU TITLE x\nTIMEOUT 0"), Timeout::Never);
        assert_eq!(timeout("MENU TITLE x\nTIMEOUT -1"), Timeout::Never);
        assert_eq!(timeout("PROMPT 1"), Timeout::Never);
    }

    #[test]
    fn numbers_that_are_none_are_ignored_and_huge_ones_saturate() {
        assert_eq!(timeout("PROMPT 1\nTIMEOUT 30\nTIMEOUT soon"), Timeout::After(30));
        assert_eq!(timeout("PROMPT 1\nTIMEOUT 99999999999999999999"), Timeout::After(u32::MAX));
        assert_eq!(timeout("PROMPT 1\nTIMEOUT -99999999999999999999"), Timeout::Never);
    }

    #[test]
    fn a_hidden_menu_is_marked() {
        assert!(read("MENU HIDDEN\nLABEL a\nLINUX /a\n").settings.hidden);
        assert!(!read("MENU TITLE a\nLABEL a\nLINUX /a\n").settings.hidden);
    }

    fn default_of(head: &str) -> String {
        let entries = "LABEL a\nLINUX /a\nLABEL b\nMENU DEFAULT\nLINUX /b\nLABEL c\nLINUX /c\n";
        default_name(&read(format!("{head}\n{entries}"))).to_owned()
    }

    #[test]
    fn the_default_is_named_by_ontimeout_then_default_then_menu_default() {
        assert_eq!(default_of("DEFAULT a\nONTIMEOUT c"), "c");
        assert_eq!(default_of("DEFAULT a\nDEFAULT c"), "c");
        assert_eq!(default_of(""), "b");
        assert_eq!(default_of("DEFAULT menu.c32"), "b");
        assert_eq!(default_of("DEFAULT c quiet"), "c");
    }

    #[test]
    fn without_any_name_the_first_entry_is_the_default() {
        assert_eq!(default_name(&read("LABEL x\nLINUX /x\nLABEL y\nLINUX /y\n")), "x");
    }

    #[test]
    fn a_default_that_is_not_there_is_warned_of() {
        let configuration = read("DEFAULT z\nLABEL a\nLINUX /a\n");
        assert_eq!(default_name(&configuration), "a");
        assert_eq!(configuration.warnings[0].code(), Code::DefaultUnusable);
        assert_eq!(warnings(&configuration), ["no entry has the name of the default, \"z\""]);
    }

    #[test]
    fn a_broken_default_gives_way_to_the_next_older_that_can_be_booted() {
        let configuration = read(
            "DEFAULT nixos-9-default\nLABEL nixos-9-default\nAPPEND a\n\
             LABEL nixos-7-default\nLINUX k\nAPPEND b\nLABEL nixos-8-default\nLINUX k\nAPPEND c\n",
        );
        assert_eq!(default_name(&configuration), "nixos-8-default");
        assert_eq!(
            warnings(&configuration),
            [
                "the default, \"nixos-9-default\", cannot be booted; \"nixos-8-default\" takes its place"
            ]
        );
    }
}

mod locks {
    use super::*;

    fn access(lines: &str) -> Access {
        read(format!("{lines}\nLABEL a\nLINUX /a\n")).settings.access
    }

    const HASH: &str = "$6$salt$hash";

    #[test]
    fn without_a_word_about_it_everybody_may_edit() {
        assert_eq!(access("TIMEOUT 50"), Access::Free);
        assert_eq!(access("ALLOWOPTIONS 1"), Access::Free);
        assert_eq!(access("MENU PASSWD x"), Access::Free, "that is about an entry");
    }

    #[test]
    fn allowoptions_0_locks_for_everybody_and_so_does_what_is_no_number() {
        for value in ["0", "no", ""] {
            assert_eq!(access(&format!("allowoptions {value}")), Access::Nobody, "{value:?}");
        }
        let with_password = format!("MENU MASTER PASSWD {HASH}\nALLOWOPTIONS 0");
        assert_eq!(access(&with_password), Access::Nobody);
    }

    #[test]
    fn a_master_password_locks_for_who_does_not_know_it() {
        let locked = Access::Password(HASH.into());
        assert_eq!(access(&format!("MENU MASTER PASSWD {HASH}")), locked);
        assert_eq!(access(&format!("menu master passwd   {HASH}  ")), locked);
        // An empty one is no hash: no password is right.
        assert_eq!(access("MENU MASTER PASSWD"), Access::Password(String::new()));
    }

    #[test]
    fn locks_behind_a_label_are_about_the_whole_file_too() {
        let configuration = read("LABEL a\nLINUX /a\nALLOWOPTIONS 0\n");
        assert_eq!(configuration.settings.access, Access::Nobody);
        assert!(configuration.warnings.is_empty());
        assert_eq!(configuration.generations[0].broken, None);
    }

    #[test]
    fn a_master_password_alone_makes_no_menu() {
        assert_eq!(timeout(&format!("TIMEOUT 1\nMENU MASTER PASSWD {HASH}")), Timeout::Immediate);
    }

    #[test]
    fn a_lock_in_a_line_that_is_cut_short_locks() {
        let text = b"LABEL a\nLINUX /a\nALLOWOPTIONS \0";
        assert_eq!(read(text).settings.access, Access::Nobody);
    }
}

mod hostile_files {
    use super::*;

    fn error(bytes: &[u8]) -> (ErrorKind, Code, String) {
        let error = parse(PATH, bytes).expect_err("nothing to boot");
        (error.kind, error.code(), error.to_string())
    }

    #[test]
    fn an_empty_file_has_its_own_error() {
        for bytes in ["", "\n\n  \n", "# only a comment\n", "TIMEOUT 5\n", "hello world"] {
            assert_eq!(
                error(bytes.as_bytes()),
                (
                    ErrorKind::NoEntry,
                    Code::ConfigurationEmpty,
                    format!("{PATH}: the boot configuration has no entry")
                )
            );
        }
    }

    #[test]
    fn a_binary_file_has_its_own_error() {
        for bytes in [&b"\0\0\0\0"[..], b"\x7fELF\x02\x01", b"\xd0\x0d\xfe\xed", b"\n\xff\xff"] {
            let (kind, code, text) = error(bytes);
            assert_eq!((kind, code), (ErrorKind::NotText, Code::ConfigurationNotText));
            assert_eq!(text, format!("{PATH}: the boot configuration is not text"));
        }
    }

    #[test]
    fn a_megabyte_has_its_own_error_even_if_it_has_entries() {
        let mut bytes = b"LABEL a\nLINUX /a\n".to_vec();
        bytes.resize(1_000_000, b'\n');
        let (_, code, text) = error(&bytes);
        assert_eq!(code, Code::ConfigurationTooLarge);
        assert_eq!(
            text,
            format!(
                "{PATH}: the boot configuration is too large (1000000 bytes, at most {MAX_SIZE})"
            )
        );
    }

    #[test]
    fn a_file_of_the_largest_size_is_read() {
        let mut bytes = b"LABEL a\nLINUX /a\n".to_vec();
        bytes.resize(MAX_SIZE, b'\n');
        assert_eq!(names(&read(bytes)), ["a"]);
    }

    #[test]
    fn an_entry_without_a_kernel_is_listed_with_its_reason() {
        let broken = entry("INITRD /i").broken.expect("broken");
        assert_eq!(broken.code, Code::EntryIncomplete);
        assert_eq!(broken.reason, "the entry names no kernel");
    }

    #[test]
    fn an_entry_for_another_program_is_listed_with_its_reason() {
        let reason = |lines: &str| entry(lines).broken.expect("broken").reason;
        assert_eq!(reason("LOCALBOOT 0"), "LOCALBOOT does not start a Linux kernel");
        assert_eq!(reason("COM32 chain.c32"), "COM32 does not start a Linux kernel");
    }

    #[test]
    fn an_entry_whose_values_are_not_text_is_broken_but_its_title_is_shown() {
        let configuration = read(
            b"LABEL a\nMENU LABEL caf\xe9 \x1b[2J\nLINUX /a\xff\nLABEL b\nLINUX /b\nAPPEND \x1b\n",
        );
        let [a, b] = &configuration.generations[..] else { panic!("two entries") };
        assert_eq!(a.title, "caf\u{fffd}  [2J");
        let reason = |generation: &Generation| generation.broken.clone().expect("broken").reason;
        assert_eq!(reason(a), "line 3: the path is not UTF-8");
        assert_eq!(reason(b), "the command line holds control characters");
    }

    #[test]
    fn an_entry_that_a_nul_cuts_short_is_broken_and_the_ones_before_it_are_not() {
        let configuration =
            read(b"LABEL a\nLINUX /a\nLABEL b\nLINUX /b\nAPPEND roo\0\0\0\nLABEL c\nLINUX /c\n");
        assert_eq!(names(&configuration), ["a", "b"]);
        assert_eq!(configuration.generations[0].broken, None);
        assert_eq!(
            configuration.generations[1].broken.as_ref().expect("broken").reason,
            "line 5: the file ends within the line"
        );
    }

    #[test]
    fn a_line_too_long_breaks_its_entry_only_where_it_decides_the_boot() {
        let long = "x".repeat(5000);
        let reason = entry(&format!("LINUX /k\nAPPEND {long}")).broken.expect("broken").reason;
        assert_eq!(reason, "line 3: the line is too long");
        assert_eq!(entry(&format!("LINUX /k\nMENU LABEL {long}")).broken, None);
        let inherited = read(format!("APPEND {long}\nLABEL a\nLINUX /a\n"));
        assert_eq!(
            inherited.generations[0].broken.as_ref().expect("broken").reason,
            "the command line is too long"
        );
    }

    #[test]
    fn of_two_entries_with_one_name_the_first_counts() {
        let configuration = read("LABEL a\nLINUX /1\nLABEL a\nLINUX /2\nAPPEND x\n");
        assert_eq!(names(&configuration), ["a"]);
        assert_eq!(configuration.generations[0].files.kernel, "/1");
        assert_eq!(
            warnings(&configuration),
            ["line 3: \"LABEL a\" is there already; the first one counts"]
        );
    }

    #[test]
    fn entries_beyond_the_limit_are_dropped_with_few_warnings() {
        let text: String = (0..5000).map(|n| format!("LABEL l{n}\nLINUX /k{n}\n")).collect();
        let configuration = read(text);
        assert_eq!(configuration.generations.len(), MAX_ENTRIES);
        assert_eq!(configuration.warnings.len(), 17);
        assert_eq!(configuration.warnings[0].code(), Code::ConfigurationTooLarge);
        assert_eq!(configuration.warnings[16].to_string(), "and 4472 more");
    }

    #[test]
    fn too_many_initrds_break_the_entry() {
        let list = "/i,".repeat(17);
        let reason = entry(&format!("LINUX /k\nINITRD {list}")).broken.expect("broken").reason;
        assert_eq!(reason, "more than 16 initrds cannot be loaded");
    }
}

/// What a configuration is made of.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"LABEL", b"label", b"MENU", b"TITLE", b"DEFAULT", b"LINUX", b"INITRD", b"APPEND", b"FDT",
    b"FDTDIR", b"TIMEOUT", b"TEXT", b"ENDTEXT", b"LOCALBOOT", b"nixos-42-default", b"nixos-default",
    b"init=/nix/store/a/init", b"(2026-11-22 16:07 - ", b"-1", b"\n", b"\n", b"\n", b"\r\n", b"\t",
    b" ", b" ", b" ", b",", b"#", b"../", b"^", b")", "\u{e9}".as_bytes(), b"\0", b"\xff", b"\x1b",
];

/// Bytes that look enough like a configuration to get deep into the parser.
fn nearly_a_file() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..PIECES.len(), 0..200)
        .prop_map(|pieces| pieces.into_iter().flat_map(|piece| PIECES[piece]).copied().collect())
}

fn kept_bytes(configuration: &Configuration) -> usize {
    let of_entry = |generation: &Generation| {
        let files = &generation.files;
        generation.id.len()
            + generation.title.len()
            + generation.name.len()
            + files.kernel.len()
            + files.command_line.len()
            + files.initrds.iter().map(String::len).sum::<usize>()
    };
    configuration.generations.iter().map(of_entry).sum()
}

fn check_promises(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(configuration) = parse(PATH, bytes) else { return Ok(()) };
    let generations = &configuration.generations;
    prop_assert!((1..=MAX_ENTRIES).contains(&generations.len()));
    prop_assert!(configuration.warnings.len() <= 16 + 3);
    let defaults = generations.iter().filter(|g| g.default).count();
    let bootable = generations.iter().filter(|g| g.broken.is_none()).count();
    prop_assert_eq!(defaults, usize::from(bootable > 0));
    prop_assert!(generations.iter().all(|g| !(g.default && g.broken.is_some())));
    let numbers: Vec<_> = generations.iter().filter_map(|g| g.number).collect();
    prop_assert!(numbers.is_sorted_by(|newer, older| newer >= older));
    // Lossy text may take three bytes for one, ids and titles repeat names, paths gain the directory.
    prop_assert!(kept_bytes(&configuration) <= 12 * bytes.len() + generations.len() * 4096 + 4096);
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_keep_the_promises_of_a_configuration(
        bytes in proptest::collection::vec(any::<u8>(), 0..512)
    ) {
        check_promises(&bytes)?;
    }

    #[test]
    fn anything_like_a_file_keeps_the_promises_of_a_configuration(bytes in nearly_a_file()) {
        check_promises(&bytes)?;
    }

    #[test]
    fn a_file_of_nixos_with_flipped_bytes_keeps_the_promises_of_a_configuration(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut bytes = include_bytes!("fixtures/nixos/extlinux.fdt-name.conf").to_vec();
        for (place, value) in flips {
            let index = place.index(bytes.len());
            bytes[index] = value;
        }
        check_promises(&bytes)?;
    }
}
