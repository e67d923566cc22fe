//! A kernel's file, whatever it is: loading it ends with a kernel in its place or an error, and writes
//! nothing outside of what was planned.
#![no_main]

#[path = "../../tests/loading/mod.rs"]
mod loading;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use loading::{Memory, load_kernel};

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::new(Memory::new());
}

fuzz_target!(|data: &[u8]| {
    MEMORY.with_borrow_mut(|memory| {
        memory.reach = 4096;
        match load_kernel(memory, data) {
            Ok(hand_over) => {
                let loaded = memory.at(hand_over.kernel);
                assert_eq!(loaded[56..60], *b"ARM\x64", "what is jumped to is no kernel");
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        }
    });
});
