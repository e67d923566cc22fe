//! What is written is what NixOS writes: its own files, from the same systems.

use serde_json::json;

use super::{
    disk::{Model, Plan},
    world::Pieces,
};
use crate::install::{
    Installation, config::Config, judge, place::NoBook, secrets::Elsewhere, writer::Writer,
};

const PROFILES: &str = "/nix/var/nix/profiles";
const NEW: &str =
    "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";
const RESCUE: &str =
    "/nix/store/y4z7b0d3f6h9k2m5p8r1x4v7x0a3c6a9-nixos-system-imx8mp-25.11.20260214.9f8e7d6";
const OLD: &str =
    "/nix/store/k3v6x9a2c5f8h1j4l7n0p3r6x9w2y5z8-nixos-system-imx8mp-25.11.20260110.d1c2e3f";

macro_rules! of_nixos {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/fixtures/nixos/extlinux.", $name, ".conf"))
    };
}

/// The systems of the samples. `tree`: whether boot.json names the device tree, or there is none at all.
fn systems(tree: Option<bool>) -> Model {
    let model = Model::new(&[("/", true, 4096)], super::dice::Dice(0));
    // 2026-11-22 16:07 in UTC.
    model.set_clock(1_795_363_620);
    let kernel = "/nix/store/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63";
    let initrd = "/nix/store/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63";
    let dtbs = "/nix/store/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered";
    let old_kernel = "/nix/store/w1xk9n0m3q7q2pmyr9hnqkxv0g7lfz3a-linux-6.12.60";
    let old_initrd = "/nix/store/0rqj2v5x8y1z4c7f9h3k6m0n2p5s8w1a-initrd-linux-6.12.60";
    let old_dtbs = "/nix/store/w1xk9n0m3q7q2pmyr9hnqkxv0g7lfz3a-linux-6.12.60-dtbs";
    let Pieces { kernel: image, device_tree } = Pieces::small();
    for (kernel, initrd, dtbs) in [(kernel, initrd, dtbs), (old_kernel, old_initrd, old_dtbs)] {
        model.file(&format!("{kernel}/Image"), &image);
        model.file(&format!("{initrd}/initrd"), b"initrd");
        model.file(&format!("{dtbs}/freescale/imx8mp-evk.dtb"), &device_tree);
    }
    let document = |toplevel: &str, [kernel, initrd, dtbs]: [&str; 3], more: &[&str], special| {
        let mut parameters = vec!["console=ttymxc1,115200", "root=fstab", "loglevel=4"];
        parameters.push("lsm=landlock,yama,bpf");
        parameters.extend(more);
        let mut document = json!({
            "org.nixos.bootspec.v1": {
                "init": format!("{toplevel}/init"), "initrd": format!("{initrd}/initrd"),
                "kernel": format!("{kernel}/Image"), "kernelParams": parameters,
                "label": "NixOS", "system": "aarch64-linux", "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": special,
        });
        if tree == Some(true) {
            let file = format!("{dtbs}/freescale/imx8mp-evk.dtb");
            document["org.firn.v1"] = json!({ "deviceTree": file });
        }
        document
    };
    let new = [kernel, initrd, dtbs];
    let old = [old_kernel, old_initrd, old_dtbs];
    let rescue = document(RESCUE, new, &["systemd.unit=rescue.target"], json!({}));
    let put = |toplevel: &str, version: &str, [kernel, _, dtbs]: [&str; 3], document| {
        let document: serde_json::Value = document;
        model.file(&format!("{toplevel}/boot.json"), document.to_string().as_bytes());
        model.file(&format!("{toplevel}/nixos-version"), version.as_bytes());
        model.link(&format!("{toplevel}/kernel"), &format!("{kernel}/Image"));
        if tree.is_some() {
            model.link(&format!("{toplevel}/dtbs"), dtbs);
        }
    };
    put(RESCUE, "25.11.20260214.9f8e7d6", new, rescue.clone());
    put(NEW, "25.11.20260214.9f8e7d6", new, document(NEW, new, &[], json!({ "rescue": rescue })));
    put(OLD, "25.11.20260110.d1c2e3f", old, document(OLD, old, &[], json!({})));
    model.set_clock(1_795_363_620);
    model.link(&format!("{PROFILES}/system-41-link"), OLD);
    model.set_clock(1_795_363_620);
    model.link(&format!("{PROFILES}/system-42-link"), NEW);
    model.link(&format!("{PROFILES}/system"), "system-42-link");
    model.plan(Plan::Nothing);
    model
}

/// What is installed of them.
fn installed(
    model: &Model,
    change: impl FnOnce(&mut serde_json::Value),
    populates: bool,
) -> String {
    let mut config =
        json!({ "board": "imx8mp-evk", "source": "extlinux", "boot": "/boot", "timeout": 5 });
    change(&mut config);
    let config = Config::parse(&config.to_string()).unwrap();
    let book = NoBook::default();
    let installation = Installation {
        config: &config,
        board: judge::board("imx8mp-evk").unwrap(),
        toplevel: NEW.to_owned(),
        writer: Writer::new(model),
        secrets: &Elsewhere,
        book: &book,
        running: Vec::new(),
        root_of_nix: Some("/".to_owned()),
        populates,
        said: std::cell::RefCell::default(),
    };
    installation.install().unwrap();
    let all = model.all_below("/boot/extlinux/extlinux.conf");
    let [(_, Ok(bytes))] = &all[..] else { panic!("{all:?}") };
    String::from_utf8(bytes.clone()).unwrap()
}

/// Without comments, and without empty lines, in which nothing is said.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn names(model: &Model) -> Vec<String> {
    let mut names: Vec<_> = model
        .all_below("/boot/nixos")
        .into_iter()
        .map(|(path, _)| path["/boot/".len()..].into())
        .collect();
    names.sort();
    names
}

#[test]
fn extlinux_conf_is_what_nixos_writes() {
    let by_folder = systems(Some(false));
    let told = installed(&by_folder, |_| {}, false);
    assert_eq!(lines(&told), lines(of_nixos!("fdtdir-timeout5")));
    let by_name = installed(&systems(Some(true)), |_| {}, false);
    assert_eq!(lines(&by_name), lines(of_nixos!("fdt-name")));
    let of_one = |timeout: serde_json::Value| {
        let change = |config: &mut serde_json::Value| {
            config["timeout"] = timeout;
            config["configurationLimit"] = 1.into();
        };
        installed(&systems(Some(false)), change, false)
    };
    assert_eq!(lines(&of_one(json!(null))), lines(of_nixos!("timeout-null")));
    assert_eq!(lines(&of_one(json!(0))), lines(of_nixos!("timeout-0")));
}

#[test]
fn what_is_copied_has_the_names_that_nixos_gives() {
    let model = systems(Some(true));
    installed(&model, |_| {}, false);
    assert_eq!(
        names(&model),
        [
            "nixos/0rqj2v5x8y1z4c7f9h3k6m0n2p5s8w1a-initrd-linux-6.12.60-initrd",
            "nixos/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63-Image",
            "nixos/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63-initrd",
            "nixos/w1xk9n0m3q7q2pmyr9hnqkxv0g7lfz3a-linux-6.12.60-Image",
            "nixos/w1xk9n0m3q7q2pmyr9hnqkxv0g7lfz3a-linux-6.12.60-dtbs/freescale/imx8mp-evk.dtb",
            "nixos/zp3ayc0f1hj5w6r8d2k9x4m7vqlbnsi1-dtbs-filtered/freescale/imx8mp-evk.dtb",
        ]
    );
}

#[test]
fn an_image_lists_its_one_system_by_no_number() {
    let model = systems(Some(false));
    let told = installed(&model, |_| {}, true);
    assert_eq!(lines(&told), lines(of_nixos!("g0-sdimage")));
    assert_eq!(names(&model).len(), 3, "and has only its files");
}

#[test]
fn editor_and_password_are_written_so_that_the_loader_heeds_them() {
    use firn::nixos::{Access, extlinux};
    const HASH: &str = "$6$salt$Yij3nXJzTkmmiOnLxwbNGuD3Jy3r6G0nVvKVhb9KnBCAv8S/rYtT6lhVnEBDzqMUMrgjQhPRVvMtiL8gYAh2i0";
    let access = |key: &str, value: serde_json::Value| {
        let told = installed(&systems(Some(false)), |config| config[key] = value, false);
        extlinux::parse("/boot/extlinux/extlinux.conf", told.as_bytes()).unwrap().settings.access
    };
    assert_eq!(access("editor", json!(true)), Access::Free);
    assert_eq!(access("editor", json!(false)), Access::Nobody);
    assert_eq!(access("passwordHash", json!(HASH)), Access::Password(HASH.to_owned()));
}

#[test]
fn moving_over_from_nixos_own_builder_copies_nothing_again() {
    let model = systems(Some(false));
    installed(&model, |_| {}, false);
    // As it is written there: other comments, the same names.
    model.file("/boot/extlinux/extlinux.conf", of_nixos!("fdtdir-timeout5").as_bytes());
    model.file("/boot/nixos/left-over", b"of a generation that is gone");
    let before = names(&model).len();
    model.plan(Plan::Nothing);
    installed(&model, |_| {}, false);
    assert_eq!(names(&model).len(), before - 1);
    assert!(model.operations() < 12, "{} operations", model.operations());
}
