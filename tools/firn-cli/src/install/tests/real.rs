//! Installations in directories of this machine.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use serde_json::json;

use super::world::{Pieces, World};
use crate::install::{
    Installation,
    config::{Config, Source},
    disk::Mounted,
    judge,
    place::NoBook,
    prefix,
    secrets::{Elsewhere, Here, SecretsMaker},
    writer::Writer,
};

/// A root with two generations of NixOS without secrets, of which the last is its profile's.
fn root() -> (tempfile::TempDir, World, String) {
    let mut machines = (0..).map(|seed| {
        let mut world = World::new(seed, Source::Profiles, Pieces::small());
        let toplevel = world.build(None);
        (world, toplevel)
    });
    let has_no_secrets = |(world, _): &(World, String)| {
        let all = world.model.all_below("/nix/store");
        let mut documents = all.iter().filter(|(path, _)| path.ends_with("boot.json"));
        documents.all(|(_, text)| {
            !String::from_utf8_lossy(text.as_ref().unwrap()).contains("initrdSecrets")
        })
    };
    let (world, toplevel) = machines.find(has_no_secrets).unwrap();
    let folder = tempfile::tempdir().unwrap();
    world.export(folder.path());
    (folder, world, toplevel)
}

/// Installs in `root`; whether anything was written or removed.
fn install(
    root: &Path,
    toplevel: &str,
    source: &str,
    secrets: &dyn SecretsMaker,
    prefix: &str,
) -> anyhow::Result<bool> {
    let config =
        json!({ "board": "imx8mp-evk", "source": source, "boot": "/boot", "nixPrefix": prefix });
    let config = Config::parse(&config.to_string())?;
    let disk = Mounted::new(root, root);
    let book = NoBook::default();
    let installation = Installation {
        config: &config,
        board: judge::board("imx8mp-evk")?,
        toplevel: toplevel.to_owned(),
        writer: Writer::new(&disk),
        secrets,
        book: &book,
        running: Vec::new(),
        root_of_nix: Some("/".to_owned()),
        populates: false,
        said: std::cell::RefCell::default(),
    };
    installation.install()?;
    Ok(installation.writer.written.get() + installation.writer.removed.get() > 0)
}

/// Has a toplevel's boot.json name a program that appends `what`, and gives that.
fn with_secrets(root: &Path, toplevel: &str, what: &str) -> String {
    let path = root.join(&toplevel[1..]).join("boot.json");
    let mut document: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let program = root.join("append");
    fs::write(&program, format!("#!/bin/sh\n[ ! -s \"$1\" ] || exit 1\n{what}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    document["org.nixos.bootspec.v1"]["initrdSecrets"] = json!(program);
    fs::write(&path, document.to_string()).unwrap();
    toplevel.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn secrets_are_for_root_alone_and_go_with_their_system() {
    let (folder, mut world, toplevel) = root();
    let root = folder.path();
    let name = with_secrets(root, &toplevel, "printf secret >> \"$1\"");
    fs::create_dir(root.join("run")).unwrap();
    let here = Here { directories: vec![root.join("run")] };
    install(root, &toplevel, "profiles", &here, "").unwrap();
    let directory = root.join("nix/var/firn/initrd-secrets");
    let file = directory.join(&name);
    assert_eq!(fs::read(&file).unwrap(), b"secret");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(root.join("run")).unwrap().count(), 0, "nothing is left behind");
    assert!(!install(root, &toplevel, "profiles", &here, "").unwrap(), "a second time");

    let first = world.links.remove(0).toplevel;
    let profiles = root.join("nix/var/nix/profiles");
    fs::remove_file(profiles.join("system-2-link")).unwrap();
    fs::remove_file(profiles.join("system")).unwrap();
    std::os::unix::fs::symlink("system-1-link", profiles.join("system")).unwrap();
    install(root, &first, "profiles", &Elsewhere, "").unwrap();
    assert!(!file.exists());
}

#[test]
fn secrets_that_cannot_be_made_end_the_installation_of_their_own_system() {
    let (folder, _, toplevel) = root();
    let root = folder.path();
    with_secrets(root, &toplevel, "exit 7");
    fs::create_dir(root.join("run")).unwrap();
    let here = Here { directories: vec![root.join("run")] };
    for source in ["profiles", "extlinux"] {
        let error = install(root, &toplevel, source, &here, "").unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("append failed") && error.contains(&toplevel), "{error}");
        assert!(!root.join("boot/extlinux/extlinux.conf").exists());
        assert_eq!(fs::read_dir(root.join("run")).unwrap().count(), 0, "nothing is left behind");
    }
}

#[test]
fn with_extlinux_the_secrets_are_the_last_initrd() {
    let (folder, _, toplevel) = root();
    let root = folder.path();
    let name = with_secrets(root, &toplevel, "printf secret >> \"$1\"");
    fs::create_dir(root.join("run")).unwrap();
    let here = Here { directories: vec![root.join("run")] };
    install(root, &toplevel, "extlinux", &here, "").unwrap();
    let file = root.join(format!("boot/nixos/{name}-initrd-secrets"));
    assert_eq!(fs::read(&file).unwrap(), b"secret");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(root.join("boot/extlinux/extlinux.conf")).unwrap();
    let initrd = text.lines().find(|line| line.contains("INITRD") && line.contains(&name)).unwrap();
    assert!(initrd.ends_with(&format!("-initrd,../nixos/{name}-initrd-secrets")), "{initrd}");
    assert!(!install(root, &toplevel, "extlinux", &here, "").unwrap(), "a second time");
}

#[test]
fn a_nix_directory_elsewhere_is_linked_where_the_loader_looks() {
    let (folder, _, toplevel) = root();
    let root = folder.path();
    fs::create_dir(root.join("system")).unwrap();
    fs::rename(root.join("nix"), root.join("system/nix")).unwrap();
    install(root, &toplevel, "profiles", &Elsewhere, "/system").unwrap();
    assert_eq!(fs::read_link(root.join("nix")).unwrap(), Path::new("system/nix"));
    let error = install(root, &toplevel, "profiles", &Elsewhere, "/other").unwrap_err();
    assert!(error.to_string().contains("leads to system/nix, not to other/nix"), "{error}");
    assert!(prefix::root_of_nix().is_ok());
}

#[test]
fn files_that_others_may_not_write_are_left_behind_whole() {
    let (folder, _, toplevel) = root();
    let root = folder.path();
    assert!(install(root, &toplevel, "extlinux", &Elsewhere, "").unwrap());
    assert!(!install(root, &toplevel, "extlinux", &Elsewhere, "").unwrap(), "a second time");
    // A kernel of the right size that somebody has damaged is found out.
    let kernels: Vec<_> = fs::read_dir(root.join("boot/nixos"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with("-Image"))
        .collect();
    for kernel in &kernels {
        let mut bytes = fs::read(kernel).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(kernel, bytes).unwrap();
    }
    assert!(install(root, &toplevel, "extlinux", &Elsewhere, "").unwrap());
    assert!(!install(root, &toplevel, "extlinux", &Elsewhere, "").unwrap(), "it is repaired");
}
