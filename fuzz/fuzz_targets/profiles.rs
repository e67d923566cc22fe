//! Nix profiles: links, names, `boot.json` and toplevels without it. What is called bootable has all
//! its files.
#![no_main]

use firn::nixos::{
    merge::Found,
    profiles::{MAX_LINKS, Profiles},
};
use firn_fuzz::{
    check,
    tree::{self, Tree},
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// What stands in front of the first part is this toplevel's, which the fixture is of.
const TOPLEVEL: &str =
    "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-imx8mp-25.11.20260214.9f8e7d6";

/// Generations that are described; each costs the same.
const DESCRIBED: usize = 8;

fuzz_target!(|data: &[u8]| {
    let mut tree = Tree::parse(data, &format!("{TOPLEVEL}/boot.json"));
    if !data.starts_with(b"@") {
        tree.link("/nix/var/nix/profiles/system-42-link", TOPLEVEL);
        tree.link("/nix/var/nix/profiles/system", "system-42-link");
        tree.file("/nix/store/5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i-linux-6.12.63/Image", b"k");
        tree.file("/nix/store/q8d1g4j7l0n3q6s9v2x5z8b1d4f7h0k3-initrd-linux-6.12.63/initrd", b"i");
    }
    let profiles = match Profiles::find(&mut tree) {
        Ok(Some(profiles)) => profiles,
        Ok(None) => return,
        Err(error) => return drop(error.to_string()),
    };
    assert!(profiles.links.len() <= MAX_LINKS + 1);
    assert!(profiles.current.is_none_or(|current| current < profiles.links.len()));
    let mut found = Vec::new();
    for index in 0..profiles.links.len().min(DESCRIBED) {
        let toplevel = profiles.toplevel(&mut tree, index);
        let description = profiles.describe(&mut tree, index);
        let generations = description.expect("a link that is listed").generations;
        assert!(!generations.is_empty());
        for generation in &generations {
            check::generation(generation);
            assert!(!generation.default);
            let name = &generation.name;
            assert!(!name.contains(char::is_control), "control characters in {name:?}");
            if generation.broken.is_some() {
                continue;
            }
            assert!(toplevel.is_ok());
            assert!(generation.id.starts_with("/nix/store/"), "{}", generation.id);
            let files = &generation.files;
            assert!(files.command_line.starts_with("init="), "{}", files.command_line);
            for file in [&files.kernel].into_iter().chain(&files.initrds) {
                assert!(tree.has_contents(file), "{file} is not there");
            }
        }
        found.extend(generations.into_iter().map(|generation| Found {
            generation,
            volume: 0,
            position: index,
            counted_out: false,
        }));
    }
    check::merged(found);
    assert!(profiles.describe(&mut tree, profiles.links.len()).is_none());
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    tree::mutate(data, size, max_size, seed, fuzzer_mutate)
});
