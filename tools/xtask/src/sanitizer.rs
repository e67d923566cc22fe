//! AddressSanitizer with the toolchain at hand.
//!
//! The option is one of nightly compilers only, but the pass is in every LLVM and rustup's stable
//! toolchains bring the runtime along. `RUSTC_BOOTSTRAP` lets a stable compiler take the option.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

const DEADLINE: Duration = Duration::from_secs(60);

/// A host for which there is a runtime.
#[derive(Clone, Debug)]
pub(crate) struct Sanitizer {
    /// The host's target triple. Flags are for this target alone, so that they do not reach the
    /// programs that run during a build.
    pub(crate) triple: String,
}

impl Sanitizer {
    /// The sanitizer, if the toolchain has its runtime: a distribution's may not.
    ///
    /// # Errors
    /// There is no rustc.
    pub(crate) fn find() -> Result<Option<Self>> {
        let folder = rustc(&["--print", "target-libdir"])?;
        let files = fs::read_dir(folder.trim());
        let mut files = files.into_iter().flatten().flatten();
        let is_there = files.any(|file| is_runtime(&file.file_name().to_string_lossy()));
        Ok(if is_there { Some(Self { triple: host()? }) } else { None })
    }

    /// Makes a command of cargo build with the sanitizer, and with these other flags of rustc.
    pub(crate) fn configure(&self, cargo: &mut Command, flags: &str) {
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.env("RUSTFLAGS", format!("{flags} -Zsanitizer=address").trim_start());
    }
}

/// The host's target triple.
///
/// # Errors
/// There is no rustc.
pub(crate) fn host() -> Result<String> {
    let version = rustc(&["-vV"])?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc -vV names no host")?.to_owned())
}

/// What rustc answers.
fn rustc(question: &[&str]) -> Result<String> {
    process::output(Command::new("rustc").args(question), DEADLINE)
}

/// Whether a file of a toolchain is the runtime: `librustc-stable_rt.asan.a` on Linux.
fn is_runtime(name: &str) -> bool {
    name.starts_with("librustc-") && name.contains("_rt.asan.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_told_from_those_of_other_sanitizers() {
        assert!(is_runtime("librustc-stable_rt.asan.a"));
        assert!(is_runtime("librustc-nightly_rt.asan.dylib"));
        assert!(!is_runtime("librustc-stable_rt.tsan.a") && !is_runtime("libasan.a"));
    }
}
