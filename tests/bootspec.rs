//! What becomes of a `boot.json`.

use firn::{
    error::{Code, Coded},
    ethernet::Address,
    nixos::{
        Timeout,
        bootspec::{Bootspec, Error, ErrorKind, MAX_SIZE, MAX_SPECIALISATIONS, parse},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

const PLAIN: &str = include_str!("fixtures/nixos/boot.json");
const LANZABOOTE: &str = include_str!("fixtures/nixos/boot.lanzaboote.json");

/// The sample, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Bootspec, Error> {
    let mut document: Value = serde_json::from_str(PLAIN).expect("JSON");
    change(&mut document);
    parse(document.to_string().as_bytes())
}

/// The sample with this `org.firn.v1`.
fn with_settings(settings: Value) -> Bootspec {
    changed(|document| document["org.firn.v1"] = settings).expect("a system")
}

fn without(key: &str) -> Error {
    changed(|document| {
        let spec = document["org.nixos.bootspec.v1"].as_object_mut().expect("an object");
        spec.remove(key).expect("was there");
    })
    .expect_err("something is missing")
}

#[test]
fn a_system_says_how_it_is_booted() {
    let system = parse(PLAIN.as_bytes()).expect("a system");
    let toplevel =
        "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";
    assert_eq!(system.toplevel, toplevel);
    assert_eq!(system.init, format!("{toplevel}/init"));
    assert_eq!(system.kernel, "/nix/store/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63/Image");
    assert_eq!(
        system.initrds,
        ["/nix/store/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63/initrd"]
    );
    assert_eq!(
        system.kernel_params.join(" "),
        "console=ttymxc1,115200 root=fstab loglevel=4 lsm=landlock,yama,bpf"
    );
    assert_eq!(system.label, "NixOS Xantusia 25.11.20260214.9f8e7d6 (Linux 6.12.63)");
    assert_eq!(system.system, "aarch64-linux");
    assert_eq!(system.sort_key.as_deref(), Some("nixos"));
    assert_eq!(
        system.device_tree.as_deref(),
        Some("/nix/store/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered/freescale/imx8mp-evk.dtb")
    );
    assert_eq!(system.warnings, [""; 0]);
}

#[test]
fn a_specialisation_is_a_system_of_its_own() {
    let system = parse(PLAIN.as_bytes()).expect("a system");
    let [rescue] = &*system.specialisations else { panic!("one") };
    assert_eq!(rescue.name, "rescue");
    let rescue = rescue.bootspec.as_ref().expect("whole");
    assert_ne!(rescue.toplevel, system.toplevel);
    assert_eq!(rescue.kernel_params.last().map(String::as_str), Some("systemd.unit=rescue.target"));
}

#[test]
fn specialisations_of_specialisations_are_found() {
    let system = changed(|document| {
        let inner = document["org.nixos.specialisation.v1"]["rescue"].clone();
        document["org.nixos.specialisation.v1"]["rescue"]["org.nixos.specialisation.v1"]["deeper"] =
            inner;
    });
    let rescue = system.expect("a system").specialisations.remove(0).bootspec.expect("whole");
    assert_eq!(rescue.specialisations[0].name, "deeper");
}

#[test]
fn a_damaged_specialisation_leaves_its_parent_bootable() {
    let system = changed(|document| {
        let rescue = &mut document["org.nixos.specialisation.v1"]["rescue"];
        rescue["org.nixos.bootspec.v1"]["kernel"] = json!(5);
    })
    .expect("the parent");
    let error = system.specialisations[0].bootspec.as_ref().expect_err("damaged");
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::EntryDamaged, "kernel: is not a text".into())
    );
}

#[test]
fn lanzabootes_sort_key_and_secrets_are_read() {
    let system = parse(LANZABOOTE.as_bytes()).expect("a system");
    assert_eq!(system.sort_key.as_deref(), Some("lanza"));
    assert!(system.initrd_secrets.is_some_and(|path| path.ends_with("/append-initrd-secrets")));
    assert_eq!(system.device_tree, None);
}

#[test]
fn further_initrds_follow_the_first() {
    let system = changed(|document| {
        document["org.nixos.extra-initrd.v1"] = json!({"paths": ["/nix/store/a", "/nix/store/b"]});
    });
    assert_eq!(system.expect("a system").initrds[1..], ["/nix/store/a", "/nix/store/b"]);
}

#[test]
fn a_system_without_initrd_has_none() {
    let system = changed(|document| {
        document["org.nixos.bootspec.v1"].as_object_mut().expect("an object").remove("initrd");
    });
    assert!(system.expect("a system").initrds.is_empty());
}

#[test]
fn unknown_extensions_are_ignored_whatever_they_hold() {
    for value in [json!(null), json!([1, {"a": -1.5e300}]), json!("text")] {
        let system = changed(|document| document["com.example.else"] = value);
        assert_eq!(system, parse(PLAIN.as_bytes()));
    }
}

#[test]
fn settings_travel_with_the_system() {
    let settings = with_settings(json!({
        "timeout": 7, "editor": false, "passwordHash": "$y$x", "configurationLimit": 20,
        "bootTries": 3, "deviceTree": "/nix/store/d/own.dtb",
        "deviceTreeOverlays": ["/nix/store/o/a.dtbo", "/nix/store/o/b.dtbo"], "later": {}
    }));
    assert_eq!(settings.device_tree.as_deref(), Some("/nix/store/d/own.dtb"));
    assert_eq!(settings.overlays, ["/nix/store/o/a.dtbo", "/nix/store/o/b.dtbo"]);
    let settings = settings.settings;
    assert_eq!(settings.timeout, Some(Timeout::After(70)));
    assert_eq!(settings.editor, Some(false));
    assert_eq!(settings.password_hash.as_deref(), Some("$y$x"));
    assert_eq!((settings.configuration_limit, settings.boot_tries), (Some(20), Some(3)));
}

#[test]
fn a_null_timeout_waits_for_ever_and_zero_boots_at_once() {
    assert_eq!(with_settings(json!({"timeout": null})).settings.timeout, Some(Timeout::Never));
    assert_eq!(with_settings(json!({"timeout": 0})).settings.timeout, Some(Timeout::Immediate));
    assert_eq!(with_settings(json!({})).settings.timeout, None);
    let longest = with_settings(json!({"timeout": u32::MAX})).settings.timeout;
    assert_eq!(longest, Some(Timeout::After(u32::MAX)));
}

#[test]
fn a_setting_that_makes_no_sense_is_dropped_with_a_warning() {
    for value in [json!(-1), json!(1.5), json!(1e9), json!("5"), json!(4294967296_u64)] {
        let system = with_settings(json!({"timeout": value, "bootTries": 2}));
        assert_eq!((system.settings.timeout, system.settings.boot_tries), (None, Some(2)));
        assert_eq!(
            system.warnings,
            ["org.firn.v1: timeout is not a whole number in range; ignored"]
        );
    }
}

#[test]
fn configured_ethernet_addresses_are_read_and_those_that_are_none_left_out() {
    let system = with_settings(json!({
        "ethernetAddresses": ["00:11:22:33:44:55", "", "01:00:5e:00:00:01", "eth0"],
    }));
    let address = Address::parse("00:11:22:33:44:55").ok();
    assert_eq!(system.ethernet_addresses, [address, None, None, None]);
    assert_eq!(
        system.warnings,
        [
            "org.firn.v1: ethernetAddresses: 01:00:5e:00:00:01: it is a multicast address; ignored",
            "org.firn.v1: ethernetAddresses: eth0: it is not written as 00:11:22:33:44:55; ignored",
        ]
    );
    for value in [json!("00:11:22:33:44:55"), json!([7]), json!(["00:11:22:33:44:\u{1b}"])] {
        let system = with_settings(json!({"ethernetAddresses": value}));
        assert_eq!(system.ethernet_addresses, []);
        let warning = "org.firn.v1: ethernetAddresses is not a list of texts; ignored";
        assert_eq!(system.warnings, [warning]);
    }
}

#[test]
fn a_password_that_cannot_be_read_locks_the_editor() {
    let system = with_settings(json!({"editor": true, "passwordHash": ["x"]}));
    assert_eq!(system.settings.editor, Some(false));
    assert_eq!(system.warnings.len(), 1);
    let system = with_settings(json!({"editor": true, "passwordHash": null}));
    assert_eq!((system.settings.editor, system.warnings.len()), (Some(true), 0));
}

#[test]
fn what_a_boot_needs_is_never_guessed() {
    for key in ["init", "kernelParams", "system", "toplevel"] {
        let error = without(key);
        assert_eq!((error.code(), error.key), (Code::EntryDamaged, key));
    }
    assert_eq!(without("kernel").code(), Code::EntryIncomplete);
    let error = changed(|document| document["org.nixos.systemd-boot"]["devicetree"] = json!(1));
    assert_eq!(error.expect_err("another tree than wanted").key, "devicetree");
}

#[test]
fn a_newline_in_a_parameter_is_not_passed_on() {
    let error = changed(|document| {
        document["org.nixos.bootspec.v1"]["kernelParams"] = json!(["quiet\ninit=/bin/sh"]);
    });
    assert_eq!(error.expect_err("two lines").kind, ErrorKind::ControlCharacters);
}

#[test]
fn control_characters_of_a_label_are_not_shown() {
    let system = changed(|document| {
        document["org.nixos.bootspec.v1"]["label"] = json!("\u{1b}[2J\u{7}NixOS\u{9b}");
    });
    assert_eq!(system.expect("a system").label, " [2J NixOS ");
}

#[test]
fn escapes_are_undone() {
    let text = PLAIN.replacen("root=fstab", r"dyndbg=\u0022file x +p\u0022\\\/\ud83d\ude00", 1);
    let system = parse(text.as_bytes()).expect("a system");
    assert_eq!(system.kernel_params[1], "dyndbg=\"file x +p\"\\/\u{1f600}");
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts() {
    let text = PLAIN.replacen("\"init\":", "\"system\": \"x86_64-linux\", \"init\":", 1);
    assert_eq!(parse(text.as_bytes()).expect("a system").system, "aarch64-linux");
}

#[test]
fn a_document_that_was_cut_off_says_where() {
    let error = parse(&PLAIN.as_bytes()[..700]).expect_err("half of it");
    assert_eq!(error.code(), Code::EntryDamaged);
    assert!(matches!(error.kind, ErrorKind::Syntax { offset: 600..=700, .. }), "{error:?}");
    assert!(error.to_string().starts_with("not JSON at byte "));
    assert!(parse(b"").is_err() && parse(&[0; 4096]).is_err());
}

#[test]
fn nesting_has_an_end() {
    let deep = "[".repeat(MAX_SIZE);
    let error = parse(deep.as_bytes()).expect_err("too deep");
    assert!(matches!(error.kind, ErrorKind::Syntax { .. }));
    let text = format!("{{\"a\": {}", "{\"a\": ".repeat(1000));
    assert!(parse(text.as_bytes()).is_err());
}

#[test]
fn a_document_beyond_the_limit_is_not_looked_at() {
    let mut text = PLAIN.to_owned();
    text.push_str(&" ".repeat(MAX_SIZE - text.len()));
    assert!(parse(text.as_bytes()).is_ok());
    text.push(' ');
    let error = parse(text.as_bytes()).expect_err("one byte too many");
    assert_eq!(error.code(), Code::ConfigurationTooLarge);
    assert!(Error::if_too_large(MAX_SIZE as u64).is_ok());
}

#[test]
fn specialisations_beyond_the_limit_are_left_out_with_a_warning() {
    let system = changed(|document| {
        let many = (0..=MAX_SPECIALISATIONS).map(|number| (format!("s{number}"), json!({})));
        document["org.nixos.specialisation.v1"] = Value::Object(many.collect());
    })
    .expect("a system");
    assert_eq!(system.specialisations.len(), MAX_SPECIALISATIONS);
    assert_eq!(system.warnings.len(), 1);
}

/// A sample with some bytes changed, taken away or put in again elsewhere.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 1..8);
    (prop::bool::ANY, edits).prop_map(|(plain, edits)| {
        let mut bytes = if plain { PLAIN } else { LANZABOOTE }.as_bytes().to_vec();
        for (index, how, byte) in edits {
            let at = index.index(bytes.len());
            let token = b"\"{}[]:,\\-0e\0\xff"[usize::from(byte) % 13];
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] = token,
                2 => bytes.insert(at, token),
                _ => {
                    let end = bytes.len().min(at + 1 + usize::from(byte));
                    bytes.drain(at..end);
                }
            }
            bytes.push(b' ');
        }
        bytes
    })
}

proptest! {
    #[test]
    fn damage_gives_an_error_or_a_system_that_is_whole(bytes in damaged()) {
        match parse(&bytes) {
            Ok(system) => {
                prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
                for text in [&system.kernel, &system.init, &system.toplevel, &system.label] {
                    prop_assert!(!text.contains(char::is_control));
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_prefix_is_never_a_system(end in 0..PLAIN.trim_end().len()) {
        prop_assert!(parse(&PLAIN.as_bytes()[..end]).is_err());
    }

    #[test]
    fn any_text_arrives_as_it_was_written(text in "[^\\p{Cc}]{0,40}") {
        let system = changed(|document| {
            document["org.nixos.bootspec.v1"]["kernelParams"] = json!([text]);
        });
        prop_assert_eq!(system.expect("a system").kernel_params, [text]);
    }
}

/// What the NixOS module writes with everything set; nix/tests compares it with the module.
#[test]
fn what_the_nixos_module_says_is_understood() {
    let system = parse(include_bytes!("../nix/tests/expected/boot.json")).expect("a system");
    assert_eq!(system.warnings, Vec::<String>::new());
    assert_eq!(
        system.device_tree.as_deref(),
        Some("/nix/store/device-trees/freescale/imx8mp-evk.dtb")
    );
    assert_eq!(system.overlays, ["/nix/store/touch.dtbo", "/nix/store/can.dtbo"]);
    let address = Address::parse("00:04:9f:01:02:03").expect("an address");
    assert_eq!(system.ethernet_addresses, [None, Some(address)]);
    let settings = system.settings;
    assert_eq!(settings.timeout, Some(Timeout::After(70)));
    assert_eq!(settings.editor, Some(false));
    assert_eq!(settings.configuration_limit, Some(9));
    assert_eq!(settings.boot_tries, Some(4));
    let hash = settings.password_hash.expect("a hash");
    assert_eq!(firn::menu::password::check(&hash, b"correct horse"), Ok(true));
}
