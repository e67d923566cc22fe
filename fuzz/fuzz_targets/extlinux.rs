//! `extlinux.conf`: any bytes give a list that can be shown and booted, or an error.
#![no_main]

use firn::nixos::{
    extlinux::{MAX_ENTRIES, parse},
    list,
    merge::Found,
};
use firn_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let configuration = match parse("/boot/extlinux/extlinux.conf", data) {
        Ok(configuration) => configuration,
        Err(error) => return drop(error.to_string()),
    };
    let generations = &configuration.generations;
    assert!((1..=MAX_ENTRIES).contains(&generations.len()));
    generations.iter().for_each(check::generation);
    check::unique(generations.iter());
    check::default(generations.iter());
    // Of the default there may be two words besides.
    assert!(configuration.warnings.len() <= 19);
    for warning in &configuration.warnings {
        assert!(!warning.to_string().contains(char::is_control), "{warning}");
    }
    let arranged = list::arrange(generations.clone());
    check::unique(arranged.iter());
    check::default(arranged.iter());
    let found = |(position, generation)| Found {
        generation,
        volume: position % 2,
        position,
        counted_out: false,
    };
    if generations.len() <= 16 {
        check::merged(configuration.generations.into_iter().enumerate().map(found).collect());
    }
});
