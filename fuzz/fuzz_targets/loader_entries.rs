//! Loader entries: a whole $BOOT, names and contents.
#![no_main]

use firn::nixos::{
    loader_entries::{MAX_ENTRIES, PLACES, read},
    merge::Found,
};
use firn_fuzz::{
    check,
    tree::{self, Tree},
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| {
    let mut tree = Tree::parse(data, "/loader/entries/nixos-generation-1.conf");
    let mut found = Vec::new();
    for (volume, place) in PLACES.into_iter().enumerate() {
        let configuration = match read(&mut tree, place) {
            Ok(Some(configuration)) => configuration,
            Ok(None) => continue,
            Err(error) => {
                drop(error.to_string());
                continue;
            }
        };
        let entries = &configuration.entries;
        assert!((1..=MAX_ENTRIES).contains(&entries.len()));
        assert!(configuration.warnings.len() <= 17);
        entries.iter().for_each(|entry| check::generation(&entry.generation));
        check::default(entries.iter().map(|entry| &entry.generation));
        let left = entries.iter().map(|entry| entry.is_counted_out());
        assert!(left.is_sorted(), "what has no tries left is not last");
        found.extend(configuration.entries.into_iter().enumerate().map(|(position, entry)| {
            let counted_out = entry.is_counted_out();
            Found { generation: entry.generation, volume, position, counted_out }
        }));
    }
    check::merged(found);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    tree::mutate(data, size, max_size, seed, fuzzer_mutate)
});
