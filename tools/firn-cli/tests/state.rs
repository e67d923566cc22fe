//! `firn state` as processes: those that run at the same time, what they print, how they exit.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A card with an MBR whose only partition begins at 8 MiB.
fn card(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut mbr = [0; 512];
    mbr[446 + 4] = 0x83;
    mbr[446 + 8..][..4].copy_from_slice(&16384_u32.to_le_bytes());
    mbr[446 + 12..][..4].copy_from_slice(&2048_u32.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all(&mbr).unwrap();
    file.set_len(9 << 20).unwrap();
}

fn firn(card: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firn"));
    command.arg("state").args(words.split(' ')).arg("--card").arg(card);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn shown(card: &Path) -> Value {
    let Output { stdout, status, .. } = firn(card, "show --json").output().unwrap();
    assert_eq!(status.code(), Some(0));
    serde_json::from_slice(&stdout).unwrap()
}

#[test]
fn no_write_is_lost_when_several_change_the_record_at_once() {
    // As many as a record has room for.
    const WRITERS: u32 = 8;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("card.img");
    card(&path);
    let toplevel = |number: u32| format!("/nix/store/{number:032}-nixos-system");
    for _ in 0..4 {
        assert!(firn(&path, "clear").status().unwrap().success());
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                firn(&path, &format!("bless {} --force", toplevel(number))).spawn().unwrap()
            })
            .collect();
        for writer in writers {
            let output = writer.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let shown = shown(&path);
        let mut counted: Vec<_> = shown["counted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, (0..WRITERS).map(toplevel).collect::<Vec<_>>());
    }
}

#[test]
fn exit_codes_tell_failure_from_usage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("card.img");
    let code = |words: &str| firn(&path, words).status().unwrap().code();
    assert_eq!(code("show"), Some(1), "there is no file");
    card(&path);
    assert_eq!(code("show"), Some(0));
    assert_eq!(code("boot-once 42"), Some(1), "there is no generation 42");
    assert_eq!(code("boot-once"), Some(2));
    // The partition grows over the places of the record.
    File::options().write(true).open(&path).unwrap().write_all_at(&[0, 8], 446 + 8).unwrap();
    assert_eq!(code("show"), Some(1), "there is no place for the record");
}

#[test]
fn the_help_shows_how_to_use_it() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_firn")).args(["state", "--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["show", "set-default", "boot-once", "bless", "clear", "--card", "Examples:"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("--root"), "that is for tests");
}
