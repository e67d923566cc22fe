//! Password hashes, as a configuration writes them: what cannot be checked opens nothing, and a
//! check takes as long as it says.
#![no_main]

use firn::menu::password::{MAX_ROUNDS, check, validate};
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Rounds of hashes that are computed here; more take longer, no other way.
const ROUNDS: u32 = 5000;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let length = usize::from(input.byte());
    let password = input.take(length);
    let Ok(hash) = str::from_utf8(input.0) else { return };
    let valid = validate(hash);
    valid.as_ref().inspect_err(|error| drop(error.to_string())).ok();
    if valid.is_err() {
        assert_eq!(check(hash, password).err(), valid.err());
        return;
    }
    let rounds = hash.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
    let rounds = rounds.map_or(ROUNDS, |digits| digits.parse().expect("a number"));
    assert!(rounds <= MAX_ROUNDS);
    if rounds <= ROUNDS {
        // Whoever guesses the password of a hash that was made up has broken SHA-512.
        assert_ne!(check(hash, password), Ok(true));
    }
});
