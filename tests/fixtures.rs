//! The images of `tests/fixtures`, and images made anew by the real tools.

#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

mod disk;

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use disk::{
    Disk, Image, fixture_path,
    recipes::{self, MIB, Scratch, run, text},
};
use firn::fs::{FileSystem, FileType, mount};

#[test]
fn a_packed_image_unpacks_to_the_same() {
    let mut image = Image::blank(1000);
    image.write(511, b"two blocks");
    image.write(1024, &disk::content(7, 512));
    let copy = Image::unpack(&image.pack());
    assert_eq!(copy.block_count, 1000);
    assert_eq!(copy.read(0, 2048), image.read(0, 2048));
}

/// With `FIRN_WRITE_FIXTURES` (the name of one, or `all`) the images are kept.
#[test]
#[ignore = "needs mkfs; cargo xtask test runs it"]
fn images_made_anew_pass_the_tests_that_the_fixtures_pass() {
    let write = std::env::var("FIRN_WRITE_FIXTURES").ok();
    let scratch = Scratch::new("fixtures");
    for (name, recipe) in recipes::ALL {
        let packed = recipe().pack();
        if write.as_ref().is_some_and(|only| only == name || only == "all") {
            println!("{name}: {} bytes", packed.len());
            fs::write(fixture_path(name), &packed).expect("a fixture");
        }
        scratch.write(&format!("{name}.image"), &packed);
    }
    let anew = scratch.path(".");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--package", "firn", "--test", "partitions", "--test", "fat"])
        .args(["--test", "ext4", "--test", "recognise"])
        .env(disk::FIXTURES, &anew)
        .output()
        .expect("cargo");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
}

/// Every path with the file's contents, the link's target or nothing for a directory.
fn tree(fs: &mut dyn FileSystem) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![String::new()];
    while let Some(directory) = ahead.pop() {
        let path = if directory.is_empty() { "/" } else { &directory };
        for entry in fs.read_dir(path).expect("a directory") {
            let path = format!("{directory}/{}", entry.name);
            let bytes = match entry.file_type {
                FileType::File => {
                    let mut file = fs.open(&path).expect("a file");
                    let mut bytes = vec![0; file.size() as usize];
                    file.read_at(0, &mut bytes).expect("all of it");
                    bytes
                }
                FileType::Link => fs.read_link(&path).expect("a link").into_bytes(),
                FileType::Directory => {
                    ahead.push(path.clone());
                    Vec::new()
                }
                FileType::Other => Vec::new(),
            };
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
#[ignore = "needs e2fsck; cargo xtask test runs it"]
fn a_dirty_file_system_reads_the_same_before_and_after_e2fsck_replays_its_journal() {
    for name in ["ext4-dirty", "ext4-dirty-v2", "ext4-dirty-wrapped", "ext3-dirty"] {
        let image = Image::fixture(name);
        let before = tree(&mut *mount(Disk::new(image.clone()).volume()).expect("before"));
        assert!(before.contains_key("/new/deeper/initrd"), "{name}");

        let scratch = Scratch::new(&format!("e2fsck-{name}"));
        let raw = scratch.path("image");
        image.save(&raw);
        let said = run("e2fsck", &["-fy", text(&raw)], "");
        assert!(said.contains("recovering journal"), "{name}: {said}");
        run("e2fsck", &["-fn", text(&raw)], "");
        let after = tree(&mut *mount(Disk::new(Image::load(&raw)).volume()).expect("after"));
        assert!(before == after, "{name}");
    }
}

#[test]
#[ignore = "needs fsck; cargo xtask test runs it"]
fn the_real_checkers_find_nothing_wrong_with_the_fixtures() {
    let scratch = Scratch::new("fsck");
    for (name, _) in recipes::ALL {
        let raw = scratch.path(name);
        Image::fixture(name).save(&raw);
        match *name {
            name if name.contains("dirty") => continue,
            name if name.starts_with("ext") => run("e2fsck", &["-fn", text(&raw)], ""),
            name if name.starts_with("fat") => run("fsck.vfat", &["-n", text(&raw)], ""),
            _ => run("sfdisk", &["--verify", text(&raw)], ""),
        };
        fs::remove_file(raw).expect("a raw image");
    }
}

#[test]
#[ignore = "needs dtc; cargo xtask test runs it"]
fn dtc_makes_the_device_trees_of_their_sources() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/devicetree");
    let mut compared = 0;
    for entry in fs::read_dir(directory).expect("fixtures") {
        let source = entry.expect("an entry").path();
        if source.extension().is_none_or(|extension| extension != "dts") {
            continue;
        }
        let arguments = ["-q", "-i", directory, "-O", "dtb", text(&source)];
        let made = Command::new("dtc").args(arguments).output().expect("dtc");
        assert!(made.status.success(), "{source:?}: {}", String::from_utf8_lossy(&made.stderr));
        let kept = fs::read(source.with_extension("dtb")).expect("a device tree");
        assert!(made.stdout == kept, "{source:?} was changed, not compiled");
        compared += 1;
    }
    assert!(compared >= 5);
}

#[test]
#[ignore = "needs dtc; cargo xtask test runs it"]
fn dtc_makes_the_overlays_of_their_sources() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/devicetree/overlays");
    for (source, made) in [
        ("base.dts", "base.dtb"),
        ("codec.dtso", "codec.dtbo"),
        ("card.dtso", "card.dtbo"),
        ("numbered.dtso", "numbered.dtbo"),
        ("unknown.dtso", "unknown.dtbo"),
    ] {
        let source = format!("{directory}/{source}");
        let arguments = ["-q", "-@", "-I", "dts", "-O", "dtb", &source];
        let output = Command::new("dtc").args(arguments).output().expect("dtc");
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        let kept = fs::read(format!("{directory}/{made}")).expect("a fixture");
        assert!(output.stdout == kept, "{source} was changed, not compiled");
    }
}

#[test]
#[ignore = "needs mkfs; cargo xtask test runs it"]
fn of_two_file_systems_made_on_a_volume_the_newer_is_mounted() {
    let scratch = Scratch::new("twice");
    let image = scratch.blank_image("image", 64 * MIB);
    let tree = recipes::ext4_tree(&scratch);
    let kind = |image: &PathBuf| {
        mount(Disk::new(Image::load(image)).volume()).expect("a file system").kind()
    };
    for _ in 0..2 {
        recipes::mke2fs(&image, &tree, &["-t", "ext4"]);
        assert_eq!(kind(&image), "ext4");
        run("mkfs.vfat", &["-F", "32", text(&image)], "");
        assert_eq!(kind(&image), "FAT32");
    }
}

#[test]
#[ignore = "needs mkfs; cargo xtask test runs it"]
fn a_generation_is_found_in_a_store_of_5000_paths_with_few_reads() {
    let scratch = Scratch::new("store");
    let image = scratch.blank_image("image", 256 * MIB);
    let name = |number: usize| {
        let hash = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("/nix/store/{hash:016x}{hash:016x}-package-{number}")
    };
    for number in 0..5000 {
        scratch.write(&format!("tree{}/file", name(number)), b"small");
    }
    let (_, seed, size) = recipes::LARGE;
    let kernel = format!("{}/Image", name(4321));
    scratch.write(&format!("tree{kernel}"), &disk::content(seed, size));
    let link = scratch.path("tree/nix/var/nix/profiles/system-1-link");
    std::os::unix::fs::symlink(name(4321), link).expect("a link");
    let tree = scratch.path("tree");
    recipes::mke2fs(&image, &tree, &["-t", "ext4", "-O", &recipes::ext4_features()]);
    run("e2fsck", &["-fyD", text(&image)], "");

    let disk = Disk::new(Image::load(&image));
    let counters = disk.counters();
    let mut fs = mount(disk.volume()).expect("a file system");
    let mut file = fs.open("/nix/var/nix/profiles/system-1-link/Image").expect("a kernel");
    let mut bytes = vec![0; file.size() as usize];
    let found = counters.get();
    file.read_at(0, &mut bytes).expect("all of it");
    assert!(bytes == disk::content(seed, size));
    println!("to find it: {found:?}; with its contents: {:?}", counters.get());
    assert!(found.commands <= 32, "{found:?}");
    assert!(counters.get().blocks * 512 <= size as u64 * 105 / 100);
    assert!(counters.get().commands <= size as u64 >> 20);
}
