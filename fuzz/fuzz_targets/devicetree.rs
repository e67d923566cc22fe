//! A device tree, with all that a boot does with one.
#![no_main]

#[path = "../../tests/patching/mod.rs"]
mod patching;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = patching::exercise(data, &[]) {
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
});
