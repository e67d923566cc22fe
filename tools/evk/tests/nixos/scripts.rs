//! The scripts of `nix/image` on files: what they refuse, that they can be repeated, and what a first boot does
//! with the rest of a card.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use evk::{
    card::{MIB, Table},
    tree::Tree,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    common::{cards, firn, firn_program, run},
    host::{Host, Source, flash_bin, is_sound, path_with_system_folders, small},
};

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(evk::assets::tree().join("nix/image").join(name));
    command.env("PATH", path_with_system_folders());
    command
}

/// A folder with a root and a flash.bin.
fn folder() -> TempDir {
    fs::create_dir_all(cards()).unwrap();
    let folder = tempfile::Builder::new().prefix("script-").tempdir_in(cards()).unwrap();
    fs::create_dir_all(folder.path().join("root/etc")).unwrap();
    fs::write(folder.path().join("root/etc/name"), "board\n").unwrap();
    fs::write(folder.path().join("flash.bin"), flash_bin()).unwrap();
    folder
}

/// card-image.sh in `folder` with these words.
fn card_image(folder: &Path, words: &[&str]) -> Output {
    let mut command = script("card-image.sh");
    command.current_dir(folder).arg("--firn").arg(firn_program()).args(words).output().unwrap()
}

/// The partitions of an image, as sfdisk has them.
fn partitions(image: &Path) -> Vec<Value> {
    let mut sfdisk = Command::new("sfdisk");
    let told = run(sfdisk.env("PATH", path_with_system_folders()).arg("--json").arg(image));
    let told: Value = serde_json::from_str(&told).unwrap();
    told["partitiontable"]["partitions"].as_array().unwrap().clone()
}

fn number(partition: &Value, key: &str) -> u64 {
    partition[key].as_u64().unwrap()
}

const MINIMUM: [&str; 7] =
    ["--root", "root", "--flash", "flash.bin", "--dummy-ddr-firmware", "--slack", "16"];

#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn the_same_arguments_give_the_same_bytes() {
    let first = folder();
    let second = folder();
    // What a build leaves to chance: times, the order of names, what a folder was made with.
    fs::create_dir(first.path().join("root/srv")).unwrap();
    fs::write(second.path().join("root/a"), "later").unwrap();
    fs::write(first.path().join("root/a"), "later").unwrap();
    fs::create_dir(second.path().join("root/srv")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(second.path().join("root"), mode).unwrap();
    for table in ["gpt", "mbr"] {
        let words = [&MINIMUM[..], &["--table", table, "card.img"]].concat();
        let images = [&first, &second].map(|folder| {
            let output = card_image(folder.path(), &words);
            assert!(output.status.success(), "{output:?}");
            fs::read(folder.path().join("card.img")).unwrap()
        });
        assert!(images[0] == images[1], "{table}");
    }
}

#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn what_cannot_be_made_into_a_card_is_refused_and_nothing_is_left() {
    let folder = folder();
    fs::create_dir(folder.path().join("closure")).unwrap();
    fs::write(folder.path().join("closure/store-paths"), "/nix/store/0-gone\n").unwrap();
    fs::write(folder.path().join("no-flash"), "no boot image").unwrap();
    let with = |words: &[&'static str]| [&MINIMUM[..], words, &["card.img"]].concat();
    for (words, code, what) in [
        (vec!["--flash", "flash.bin", "card.img"], 2, "--root '' is no directory"),
        (with(&["--table", "apm"]), 2, "--table is gpt or mbr, not 'apm'"),
        (with(&["--slack", "much"]), 2, "--slack takes MiB, not 'much'"),
        (with(&["--uuid", "1234"]), 2, "--uuid '1234' is no UUID"),
        (with(&["--slcak", "5"]), 2, "--slcak is unknown"),
        (with(&["other.img"]), 2, "two images are named"),
        (with(&["--closure", "closure"]), 1, "names /nix/store/0-gone, which is not at"),
        (with(&["--flash", "no-flash"]), 1, "neither a flash.bin nor a card image"),
    ] {
        let output = card_image(folder.path(), &words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(told.contains(what), "{words:?}: {told}");
    }
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("card")), "{left:?}");
}

#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn a_boot_partition_has_what_is_in_its_folder_and_a_compressed_image_unpacks_to_the_same() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("boot/extlinux")).unwrap();
    fs::write(folder.path().join("boot/extlinux/extlinux.conf"), "DEFAULT a\nLABEL a\n").unwrap();
    let boot = ["--boot-dir", "boot", "--boot-size", "64", "--boot-format"];
    for format in ["vfat", "ext4"] {
        let words = [&MINIMUM[..], &boot, &[format, "card.img"]].concat();
        let output = card_image(folder.path(), &words);
        assert!(output.status.success(), "{output:?}");
        let image = folder.path().join("card.img");
        assert!(is_sound(&image, 72 * MIB));
        let told = firn(&["entries", "--json", image.to_str().unwrap()]);
        assert!(told.contains("extlinux"), "{format}: {told}");
        let packed = [&MINIMUM[..], &boot, &[format, "--compress", "card.img"]].concat();
        assert!(card_image(folder.path(), &packed).status.success());
        let zstd =
            Command::new("zstd").args(["-dqc"]).arg(folder.path().join("card.img.zst")).output();
        assert!(zstd.unwrap().stdout == fs::read(&image).unwrap());
    }
}

/// An image on a card that is larger, and its partitions after the first boot.
fn grown(table: Table) -> (Host, PathBuf, [Vec<Value>; 2]) {
    let host = Host::new(small(), Tree::new());
    host.populate(&host.system().generations[0], Source::Profiles);
    let image = host.image(table, &["--slack", "16"]);
    let before = partitions(&image);
    let card = fs::OpenOptions::new().write(true).open(&image).unwrap();
    card.set_len(2048 * MIB).unwrap();
    let number = before.len().to_string();
    // The second time there is nothing to do, as after a power cut.
    for _ in 0..2 {
        run(script("grow-root.sh").arg(&image).arg(&number));
    }
    let after = partitions(&image);
    (host, image, [before, after])
}

#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn a_first_boot_gives_the_root_all_of_the_card_and_moves_nothing() {
    for table in [Table::Gpt, Table::Mbr] {
        let (host, image, [mut before, mut after]) = grown(table);
        let (old, new) = (before.pop().unwrap(), after.pop().unwrap());
        assert_eq!(before, after);
        assert_eq!(
            (&old["start"], &old["uuid"], &old["name"]),
            (&new["start"], &new["uuid"], &new["name"])
        );
        let end = (number(&new, "start") + number(&new, "size")) * 512;
        assert!((2047 * MIB..=2048 * MIB).contains(&end), "{table:?}: {end}");
        let told = firn(&["entries", "--json", image.to_str().unwrap()]);
        assert!(told.contains(&host.system().generations[0].toplevel()), "{told}");
        assert!(is_sound(&image, 8 * MIB));
    }
}

/// An image as systemd-repart makes it: everything lies behind 1 MiB.
#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn a_gap_that_systemd_repart_has_kept_becomes_the_places_of_flash_bin_and_the_record() {
    let folder = folder();
    let image = folder.path().join("repart.img");
    let file = fs::File::create(&image).unwrap();
    file.set_len(64 * MIB).unwrap();
    let table = "label: gpt\nlabel-id: 0F1A2B3C-4D5E-4F60-8172-8394A5B6C7D8\n\
        size=7M, type=8da63339-0007-60c0-c436-083ac8230908, name=firn-gap\n\
        type=B921B045-1DF0-41C3-AF44-4C6F280D3FAE, name=\"a root\", uuid=0F1A2B3C-4D5E-4F60-8172-8394A5B6C7D9, attrs=\"GUID:59\"\n";
    fs::write(folder.path().join("table"), table).unwrap();
    run(Command::new("sh")
        .current_dir(folder.path())
        .env("PATH", path_with_system_folders())
        .args(["-c", "sfdisk --quiet repart.img <table"]));
    std::os::unix::fs::FileExt::write_all_at(&file, b"the root's first bytes", 8 * MIB).unwrap();
    let [_, root]: [Value; 2] = partitions(&image).try_into().unwrap();

    fs::write(folder.path().join("lines"), lines_of_layout()).unwrap();
    run(script("own-gap.sh").arg(&image).arg(folder.path().join("lines")));
    let mut after = partitions(&image);
    let kept = after.pop().unwrap();
    for key in ["start", "size", "type", "uuid", "name", "attrs"] {
        assert_eq!(kept[key], root[key], "{key}");
    }
    let names: Vec<_> = after.iter().map(|partition| partition["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["firn-flash-a", "firn-state-a", "firn-flash-b", "firn-state-b"]);
    let bytes = fs::read(&image).unwrap();
    assert!(bytes[8 << 20..].starts_with(b"the root's first bytes"));
    // It takes flash.bin, and has room for the record.
    let (image, flash) = (image.to_str().unwrap(), folder.path().join("flash.bin"));
    firn(&["write", flash.to_str().unwrap(), image, "--copy", "both"]);
    let told = firn(&["state", "--card", image, "show", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["place"]["source"], "blank", "{told:#}");
    // There is none left.
    let again = script("own-gap.sh").arg(image).arg(folder.path().join("lines")).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

/// As repart.nix writes them: the lines of an image that card-image.sh makes.
fn lines_of_layout() -> String {
    let folder = folder();
    let output = card_image(folder.path(), &[&MINIMUM[..], &["card.img"]].concat());
    assert!(output.status.success(), "{output:?}");
    let partitions = partitions(&folder.path().join("card.img"));
    let line = |partition: &Value| {
        let text = |key: &str| partition[key].as_str().unwrap().to_owned();
        let (start, size) = (number(partition, "start"), number(partition, "size"));
        format!("start={start}, size={size}, type={}, name={}\n", text("type"), text("name"))
    };
    partitions[..4].iter().map(line).collect()
}

#[test]
#[ignore = "needs the firmware; cargo xtask test runs it"]
fn the_store_belongs_to_root_whoever_has_it_on_the_build_host() {
    const PATH: &str = "nix/store/0-hello";
    let folder = folder();
    fs::create_dir_all(folder.path().join("host").join(PATH)).unwrap();
    fs::create_dir(folder.path().join("closure")).unwrap();
    fs::write(folder.path().join("closure/store-paths"), format!("/{PATH}\n")).unwrap();
    // In a build's sandbox, it belongs to nobody. Who is not root cannot make it so, and owns it all the same.
    let _ =
        std::os::unix::fs::chown(folder.path().join("host").join(PATH), Some(65534), Some(65534));
    let store = ["--closure", "closure", "--store", "host", "card.img"];
    let output = card_image(folder.path(), &[&MINIMUM[..], &store].concat());
    assert!(output.status.success(), "{output:?}");
    let image = format!("{}?offset={}", folder.path().join("card.img").display(), 8 * MIB);
    let mut debugfs = Command::new("debugfs");
    debugfs.env("PATH", path_with_system_folders()).args(["-R", &format!("stat /{PATH}"), &image]);
    let told = run(&mut debugfs);
    let owner = told.lines().find(|line| line.starts_with("User:")).unwrap_or_default();
    assert_eq!(
        owner.split_whitespace().collect::<Vec<_>>()[..4],
        ["User:", "0", "Group:", "0"],
        "{told}"
    );
}
