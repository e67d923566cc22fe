//! What the `firn` command of the running target is built with: rustc's libraries for a static Linux
//! program, which come with their own C library and start files. rustup has them.

use anyhow::{Context as _, Result};

use super::target::{Compiler, from_rustup};
use super::{Step, Workshop};

pub(super) const STEP: Step = Step { name: "Linux target", present, provide };

/// The target that its `firn` is built for.
pub(crate) const LINUX_TRIPLE: &str = "aarch64-unknown-linux-musl";

/// Needs the standard library.
const PROBE: &str = "pub fn probe() -> Vec<std::fs::File> { Vec::new() }\n";

fn present(_: &Workshop) -> Result<Option<String>> {
    let compiler = Compiler::own()?;
    let there = compiler.builds_for(LINUX_TRIPLE, PROBE);
    Ok(there.then(|| format!("{LINUX_TRIPLE} of rustc {}", compiler.release())))
}

fn provide(_: &mut Workshop) -> Result<()> {
    from_rustup(LINUX_TRIPLE).with_context(|| {
        format!(
            "the static `firn` command needs rustc's standard library for {LINUX_TRIPLE}; install it \
             as the compiler was installed (with rustup: `rustup target add {LINUX_TRIPLE}`)"
        )
    })
}
