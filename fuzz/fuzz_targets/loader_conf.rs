//! `loader.conf` beside a handful of entries: any of them may become the default, one always does.
#![no_main]

use firn::nixos::{Timeout, loader_entries::read};
use firn_fuzz::{check, tree::Tree};
use libfuzzer_sys::fuzz_target;

const ENTRIES: [&str; 6] = [
    "nixos-generation-42.conf",
    "nixos-generation-42-specialisation-rescue.conf",
    "nixos-generation-41+2-1.conf",
    "nixos-generation-40+0-3.conf",
    "Ä [x]*?.conf",
    "debian.conf",
];

fuzz_target!(|data: &[u8]| {
    let mut tree = Tree::default();
    for (index, name) in ENTRIES.iter().enumerate() {
        // One cannot be booted.
        let key = if index == 0 { "efi" } else { "linux" };
        let text = format!("title {name}\n{key} /kernel-{index}\noptions quiet\n");
        tree.file(&format!("/loader/entries/{name}"), text.as_bytes());
    }
    tree.file("/loader/loader.conf", data);
    let configuration = read(&mut tree, "/").expect("it can be read").expect("there are entries");
    assert_eq!(configuration.entries.len(), ENTRIES.len());
    check::default(configuration.entries.iter().map(|entry| &entry.generation));
    assert!(configuration.warnings.len() <= 17);
    for warning in &configuration.warnings {
        assert!(!warning.text.contains(char::is_control), "{warning}");
    }
    // One that is too large is left out.
    if let Some(settings) = configuration.settings {
        assert_ne!(settings.menu.timeout, Timeout::After(0));
    }
});
