//! Tests of the unsafe code that can run on the host, watched: by Miri where a toolchain has it, and
//! by AddressSanitizer wherever its runtime is.
//!
//! Only `arch/`, `mmio.rs` and `dma.rs` may hold unsafe code; most of it is assembly and registers,
//! which nothing on a host can run. What remains is the heap, memory that is claimed, translation
//! tables and the buffers of bus masters.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::sanitizer::Sanitizer;

/// Modules of the library that hold unsafe code, or whose callers do.
const TESTS: [&str; 4] = ["arch::", "dma::", "memory::", "mmio::"];

const VERSION_DEADLINE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(1800);

/// Runs them; says who watched and who is not here.
///
/// # Errors
/// A test fails, or does what it must not.
pub(crate) fn test() -> Result<String> {
    let watchers = [("Miri", miri()), ("AddressSanitizer", address_sanitizer()?)];
    let notes = watchers.into_iter().map(|(name, tests)| {
        let Some(mut tests) = tests else {
            return Ok(format!("{name} skipped: no toolchain here has it"));
        };
        process::show(&mut tests, DEADLINE)?;
        Ok(name.to_owned())
    });
    Ok(notes.collect::<Result<Vec<_>>>()?.join("; "))
}

/// The tests under Miri, by the first toolchain that has it.
fn miri() -> Option<Command> {
    let toolchains = [None, Some("+nightly")];
    let toolchain = toolchains.into_iter().find(|toolchain| {
        let mut version = process::cargo();
        version.args(*toolchain).args(["miri", "--version"]);
        process::output(&mut version, VERSION_DEADLINE).is_ok()
    })?;
    let mut miri = process::cargo();
    miri.args(toolchain).arg("miri").args(tests());
    miri.args(["--target-dir", "target/firn/miri", "--"]).args(TESTS);
    // Heaps are made of memory that is never given back.
    miri.env("MIRIFLAGS", "-Zmiri-ignore-leaks");
    Some(miri)
}

/// The tests under AddressSanitizer, if the toolchain has it.
fn address_sanitizer() -> Result<Option<Command>> {
    let Some(sanitizer) = Sanitizer::find()? else { return Ok(None) };
    let mut cargo = process::cargo();
    cargo.args(tests()).args(["--target", &sanitizer.triple]);
    cargo.args(["--target-dir", "target/firn/sanitized", "--"]).args(TESTS);
    sanitizer.configure(&mut cargo, "");
    // As above.
    cargo.env("ASAN_OPTIONS", "detect_leaks=0");
    Ok(Some(cargo))
}

fn tests() -> [&'static str; 4] {
    ["test", "--quiet", "--package=firn", "--lib"]
}
