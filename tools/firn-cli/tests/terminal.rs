//! What a card holds is shown, and no more than that.

use std::{fs, process::Command};

#[test]
fn names_on_a_card_cannot_control_the_terminal() {
    let root = tempfile::tempdir().unwrap();
    let entries = root.path().join("loader/entries");
    fs::create_dir_all(&entries).unwrap();
    fs::write(entries.join("a\x1b[2J.conf"), "linux /Image\noptions \x1b[31m\n").unwrap();
    fs::write(root.path().join("Image"), "kernel").unwrap();
    let listed = Command::new(env!("CARGO_BIN_EXE_firn"))
        .arg("entries")
        .arg(root.path())
        .output()
        .expect("firn starts");
    let said = [listed.stdout, listed.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("a?[2J.conf"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}
