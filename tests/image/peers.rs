//! U-Boot's own tools make the same headers, and read our FITs.

use std::{fs, path::Path, process::Command};

use firn::image::{
    build::padded_first_stage,
    fit::{FitBuf, NewImage},
    rom::Header,
};

use crate::{Files, content, fit, inspect, rom, target};

fn tool(name: &str, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(name);
    // The time goes into a FIT.
    command.args(arguments).current_dir(directory).env("SOURCE_DATE_EPOCH", "0");
    let output = command.output().unwrap_or_else(|error| {
        panic!("{name} cannot be run ({error}): install Debian's package u-boot-tools")
    });
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {text}");
    text
}

/// What mkimage makes of a first stage.
fn mkimage(first_stage: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let configuration = "ROM_VERSION v2\nBOOT_FROM sd\nLOADER spl.bin 0x920000\n";
    fs::write(file("spl.cfg"), configuration).unwrap();
    fs::write(file("spl.bin"), first_stage).unwrap();
    let arguments =
        ["-T", "imx8mimage", "-n", "spl.cfg", "-e", "0x920000", "-d", "spl.bin", "flash.bin"];
    tool("mkimage", directory.path(), &arguments);
    fs::read(file("flash.bin")).unwrap()
}

#[test]
#[ignore = "needs u-boot-tools; part of `cargo xtask test`"]
fn mkimage_makes_the_same_of_the_same_first_stage() {
    for files in [Files::small(), Files::full()] {
        let image = files.image();
        let length = Header::parse(&image, 0).unwrap().length as usize;
        // Header, first stage, firmware and the room for a signature, all of it.
        let end = image[..length].iter().rposition(|&byte| byte != 0).unwrap();
        assert_eq!(mkimage(&image[64..=end])[..], image[..length]);

        let drop_in = padded_first_stage(target(), &files.spl, files.training()).unwrap();
        let firmware = files.spl.len().next_multiple_of(4) + 0x1_8000;
        assert_eq!(mkimage(&drop_in[64..64 + firmware]), drop_in);
    }
}

#[test]
#[ignore = "needs u-boot-tools; part of `cargo xtask test`"]
fn the_fixtures_are_what_mkimage_makes() {
    for (size, header) in rom::MADE_BY_MKIMAGE {
        assert_eq!(mkimage(&vec![b'x'; size as usize])[..64], header[..]);
    }
    let directory = tempfile::tempdir().unwrap();
    let source = include_bytes!("../fixtures/image/fit.its");
    fs::write(directory.path().join("fit.its"), source).unwrap();
    let flags: [&[&str]; 3] = [&["-E", "-p", "0x800"], &["-E"], &[]];
    for (flags, wanted) in flags.into_iter().zip(fit::MADE_BY_MKIMAGE) {
        tool("mkimage", directory.path(), &[flags, &["-f", "fit.its", "fit.itb"]].concat());
        let made = fs::read(directory.path().join("fit.itb")).unwrap();
        // Tools of different age order properties differently; what they say is the same.
        assert_eq!(listing(directory.path(), &made), listing(directory.path(), wanted));
    }
}

fn listing(directory: &Path, fit: &[u8]) -> String {
    fs::write(directory.join("listed.itb"), fit).unwrap();
    tool("dumpimage", directory, &["-l", "listed.itb"])
}

#[test]
#[ignore = "needs u-boot-tools; part of `cargo xtask test`"]
fn dumpimage_reads_our_fits() {
    let (loader, bl31) = (content(1, 300_000), content(2, 50_000));
    let image = |name, image_type, load, entry, data| NewImage {
        name,
        description: name,
        image_type,
        load,
        entry,
        data,
    };
    let images = [
        image("firn", "standalone", 0x4020_0000, None, loader.as_slice()),
        image("atf", "firmware", 0x97_0000, Some(0x97_0000), &bl31),
    ];
    let made = FitBuf::new("Firn for a first stage", &images).unwrap().to_bytes().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let text = listing(directory.path(), &made);
    let digest = |bytes: &[u8]| {
        use sha2::{Digest, Sha256};
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let wanted = [
        "FIT description: Firn for a first stage".to_owned(),
        "Image 0 (firn)".to_owned(),
        "Data Size:    300000 Bytes".to_owned(),
        "Load Address: 0x40200000".to_owned(),
        digest(&loader),
        "Image 1 (atf)".to_owned(),
        "Data Size:    50000 Bytes".to_owned(),
        "Load Address: 0x00970000".to_owned(),
        digest(&bl31),
        "Default Configuration: 'config-1'".to_owned(),
        "Firmware:     firn".to_owned(),
        "Loadables:    atf".to_owned(),
    ];
    let mut rest = text.as_str();
    for line in wanted {
        let at = rest.find(&line).unwrap_or_else(|| panic!("no {line:?} in order in\n{text}"));
        rest = &rest[at..];
    }
    for (number, data) in [("0", &loader), ("1", &bl31)] {
        let arguments = ["-T", "flat_dt", "-p", number, "-o", "data.bin", "listed.itb"];
        tool("dumpimage", directory.path(), &arguments);
        assert_eq!(fs::read(directory.path().join("data.bin")).unwrap(), *data);
    }
}

/// Name, size, load address and, if there is one, SHA-256 of each image, as dumpimage lists them.
fn listed(text: &str) -> Vec<(String, u64, Option<u64>, Option<String>)> {
    let mut images = Vec::new();
    for line in text.lines().take_while(|line| !line.contains("Configuration 0")) {
        if let Some((_, name)) = line.split_once("Image ").filter(|_| line.ends_with(')')) {
            let name = name.split_once('(').unwrap().1.trim_end_matches(')');
            images.push((name.to_owned(), 0, None, None));
        }
        let Some((_, size, load, digest)) = images.last_mut() else { continue };
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        match key {
            "Data Size" => *size = value.split_once(' ').unwrap().0.parse().unwrap(),
            "Load Address" => {
                *load = Some(u64::from_str_radix(value.trim_start_matches("0x"), 16).unwrap());
            }
            "Hash value" if value.len() == 64 => *digest = Some(value.to_owned()),
            _ => {}
        }
    }
    images
}

#[test]
#[ignore = "needs u-boot-tools; part of `cargo xtask test`"]
fn inspect_and_dumpimage_say_the_same_of_a_fit() {
    let directory = tempfile::tempdir().unwrap();
    let first_stage = padded_first_stage(target(), &content(1, 5001), Files::small().training());
    for fit in fit::MADE_BY_MKIMAGE {
        let mut image = first_stage.clone().unwrap();
        image.resize(target().fit_at as usize, 0);
        image.extend_from_slice(fit);
        let found = inspect(&image);
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        let mut ours = Vec::new();
        for part in &found.parts {
            let Some(name) = part.id.strip_prefix("fit:") else { continue };
            let digest = part.digest.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
            ours.push((name.to_owned(), part.size, part.load, Some(digest)));
        }
        let mut theirs = listed(&listing(directory.path(), fit));
        assert_eq!(theirs.len(), 4);
        // inspect has a digest for what the FIT has none for.
        for (theirs, ours) in theirs.iter_mut().zip(&ours) {
            assert_eq!(theirs.3.is_some(), matches!(theirs.0.as_str(), "uboot-1" | "atf-1"));
            theirs.3 = theirs.3.take().or_else(|| ours.3.clone());
        }
        assert_eq!(ours, theirs);
    }
}
