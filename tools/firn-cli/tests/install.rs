//! `firn install` as a process: images that it fills, and what cards it leaves as `firn entries` lists them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

const TOPLEVEL: &str =
    "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";

/// A builder's root with a system in its store, and the folder of an image.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        const SIZE: usize = 0x1000;
        let bench = Self(tempfile::tempdir().unwrap());
        let mut kernel = vec![0x5a; SIZE];
        kernel[..64].fill(0);
        kernel[16..24].copy_from_slice(&(SIZE as u64 + 0x1_0000).to_le_bytes());
        kernel[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
        kernel[56..60].copy_from_slice(b"ARM\x64");
        let store = "host/nix/store";
        bench.file(&format!("{store}/k-linux-6.12.63/Image"), &kernel);
        bench.file(&format!("{store}/i-initrd-linux-6.12.63/initrd"), b"initrd");
        let tree = include_bytes!("../../../tests/fixtures/devicetree/board.dtb");
        bench.file(&format!("{store}/d-dtbs/freescale/imx8mp-evk.dtb"), tree);
        let document = json!({ "org.nixos.bootspec.v1": {
            "init": format!("{TOPLEVEL}/init"), "initrd": "/nix/store/i-initrd-linux-6.12.63/initrd",
            "kernel": "/nix/store/k-linux-6.12.63/Image", "kernelParams": ["root=fstab"], "label": "NixOS",
            "initrdSecrets": "/nix/store/a-append/bin/append", "system": "aarch64-linux", "toplevel": TOPLEVEL,
        }, "org.nixos.specialisation.v1": {} });
        let toplevel = format!("host{TOPLEVEL}");
        bench.file(&format!("{toplevel}/boot.json"), document.to_string().as_bytes());
        bench.file(&format!("{toplevel}/init"), b"#!");
        symlink("/nix/store/d-dtbs", bench.path(&format!("{toplevel}/dtbs"))).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Fills the image `name` from a configuration with these changes.
    fn populate(&self, name: &str, change: impl FnOnce(&mut Value)) -> Output {
        let mut config = json!({
            "board": "imx8mp-evk", "source": "extlinux", "boot": "/boot", "nixPrefix": "",
            "configurationLimit": 20, "timeout": 5, "editor": true, "passwordHash": null,
            "extraEntries": { "rescue": "title Rescue\nlinux /rescue\n" },
            "firmware": { "image": "/nix/store/f/flash.bin", "device": null, "emmcBoot": false, "autoUpdate": true },
        });
        change(&mut config);
        self.file("config.json", config.to_string().as_bytes());
        fs::create_dir_all(self.path(name)).unwrap();
        let mut firn = Command::new(env!("CARGO_BIN_EXE_firn"));
        firn.arg("install").arg("--config").arg(self.path("config.json"));
        firn.arg("--store").arg(self.path("host"));
        firn.arg("--populate").arg("--root").arg(self.path(name)).arg(TOPLEVEL).output().unwrap()
    }
}

fn firn(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firn")).args(words).output().unwrap()
}

/// All files and links below a folder.
fn all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(path) = ahead.pop() {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let place = path.strip_prefix(folder).unwrap().to_owned();
        if kind.is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            all.push((place, target.to_str().unwrap().as_bytes().to_vec()));
        } else {
            all.push((place, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

/// What `firn entries` lists below a folder, without what is no generation.
fn entries(folder: &Path) -> Vec<Value> {
    let output = firn(&["entries", folder.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = json["entries"].as_array().unwrap().clone();
    list.into_iter().filter(|entry| entry["id"].as_str().unwrap().starts_with('/')).collect()
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_image_is_filled_the_same_each_time_and_lists_its_system() {
    let bench = Bench::new();
    for source in ["extlinux", "profiles"] {
        let change = |config: &mut Value| config["source"] = source.into();
        for image in ["one", "two"] {
            let output = bench.populate(&format!("{source}-{image}"), change);
            assert!(output.status.success(), "{}", text(&output));
            assert!(!text(&output).contains("firmware"), "that is for who makes the image");
        }
        let [one, two] = ["one", "two"].map(|image| all(&bench.path(&format!("{source}-{image}"))));
        assert!(one == two);
        assert!(
            one.iter().any(|(path, _)| path.ends_with("loader/entries/firn-extra-rescue.conf"))
        );
        let link = |name: &str| {
            let path = Path::new("nix/var/nix/profiles").join(name);
            one.iter().find(|(other, _)| *other == path).map(|(_, to)| to.clone())
        };
        assert_eq!(link("system").as_deref(), Some(&b"system-1-link"[..]));
        assert_eq!(link("system-1-link").as_deref(), Some(TOPLEVEL.as_bytes()));

        let image = bench.path(&format!("{source}-one"));
        let before = all(&image);
        bench.populate(&format!("{source}-one"), change);
        assert!(all(&image) == before, "a second time nothing changes");
        // What puts the closure into the image.
        for (path, bytes) in all(&bench.path("host")) {
            let place = image.join(path.clone());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match bytes.starts_with(b"/nix/") {
                true => symlink(String::from_utf8(bytes).unwrap(), place).unwrap(),
                false => fs::write(place, bytes).unwrap(),
            }
        }
        let listed = entries(&image);
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert_eq!((&listed[0]["id"], &listed[0]["default"]), (&json!(TOPLEVEL), &json!(true)));
    }
}

#[test]
fn errors_name_the_file_and_the_key_and_exit_codes_tell_failure_from_usage() {
    let bench = Bench::new();
    let output = bench.populate("image", |config| config["tries"] = 3.into());
    assert_eq!(output.status.code(), Some(1));
    for part in ["config.json", "unknown field `tries`"] {
        assert!(text(&output).contains(part), "{part} in {}", text(&output));
    }
    let output = bench.populate("image", |config| config["board"] = "imx8mm-evk".into());
    let told = text(&output);
    assert!(told.contains("\"imx8mm-evk\" is not known; this firn knows imx8mp-evk"), "{told}");
    fs::remove_file(bench.path("host/nix/store/k-linux-6.12.63/Image")).unwrap();
    let output = bench.populate("image", |_| {});
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("/nix/store/k-linux-6.12.63/Image"), "{}", text(&output));
    assert!(!bench.path("image/boot/extlinux/extlinux.conf").exists());
    assert_eq!(firn(&["install"]).status.code(), Some(2));
}

#[test]
fn the_help_shows_how_to_use_it() {
    let told = text(&firn(&["install", "--help"]));
    for part in ["--config", "--populate", "--root", "--store", "Examples:"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

/// The installer's own tests make these, with power cuts that no directory of this machine has.
#[test]
fn what_random_sequences_leave_is_listed_with_a_default_that_can_be_booted() {
    const SEEDS: &str = "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15";
    let folder = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline", "--quiet", "--workspace", "--bin", "firn", "--"]);
    cargo.args(["--ignored", "what_sequences_leave_is_written_for_other_tests"]);
    cargo.env("FIRN_SEQUENCES", folder.path()).env("FIRN_SEEDS", SEEDS);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for seed in SEEDS.split(',') {
        let place = folder.path().join(seed);
        let boots = fs::read_to_string(place.join("boots-without-record")).unwrap();
        let listed = entries(&place.join("tree"));
        let default = listed.iter().find(|entry| entry["default"] == true);
        let default = default.unwrap_or_else(|| panic!("{seed}: no default in {listed:#?}"));
        assert_eq!((&default["id"], &default["broken"]), (&json!(boots), &Value::Null), "{seed}");
    }
}
