//! The formatter and the linter of Nix files: nixfmt's rewrite in Rust and deadnix, through cargo, in
//! the versions that the tree is checked with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Step, Workshop, progress};
use crate::process;

pub(super) const STEP: Step = Step { name: "Nix formatter, linter", present, provide };

/// A program out of a crate.
struct Tool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
}

/// Formats as nixpkgs' `nixfmt` does, which is written in Haskell.
const FORMATTER: Tool = Tool { package: "nixfmt_rs", version: "0.5.3", program: "nixfmt" };
const LINTER: Tool = Tool { package: "deadnix", version: "1.3.1", program: "deadnix" };

/// Unoptimized they are compiled in half a minute each, and fast enough for a hundred files.
const DEADLINE: Duration = Duration::from_secs(600);

impl Tool {
    /// Below the cache; a new version gets a new place.
    fn directory(&self) -> String {
        format!("{}-{}", self.package, self.version)
    }

    fn file(&self, cache: &Path) -> PathBuf {
        cache.join(self.directory()).join("bin").join(self.program)
    }

    fn install(&self, workshop: &Workshop) -> Result<()> {
        if self.file(&workshop.cache).is_file() {
            return Ok(());
        }
        progress(&format!("compiling {} {} (half a minute)", self.package, self.version));
        let advice = "is the registry of crates reachable (try `cargo fetch`)?";
        workshop
            .make_directory(&self.directory(), |root| {
                let mut cargo = process::cargo();
                cargo.args(["install", "--quiet", "--locked", "--debug", "--no-track"]);
                cargo.args([self.package, "--version", self.version, "--root"]).arg(root);
                cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("CARGO_BUILD_TARGET");
                process::output(&mut cargo, DEADLINE).map(drop).context(advice)
            })
            .map(drop)
    }
}

/// The formatter, which set-up has provided.
pub(crate) fn formatter() -> Result<Command> {
    Ok(Command::new(FORMATTER.file(&evk::assets::cache_dir()?)))
}

/// The linter, likewise.
pub(crate) fn linter() -> Result<Command> {
    Ok(Command::new(LINTER.file(&evk::assets::cache_dir()?)))
}

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let there = [FORMATTER, LINTER].map(|tool| (tool.file(&workshop.cache).is_file(), tool));
    let names = there.iter().map(|(_, tool)| format!("{} {}", tool.program, tool.version));
    Ok(there.iter().all(|(there, _)| *there).then(|| names.collect::<Vec<_>>().join(", ")))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    FORMATTER.install(workshop)?;
    LINTER.install(workshop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_installed_to_another_place() {
        let newer = Tool { version: "9.0.0", ..LINTER };
        let cache = Path::new("/cache");
        assert_eq!(LINTER.file(cache), Path::new("/cache/deadnix-1.3.1/bin/deadnix"));
        assert_ne!(newer.file(cache), LINTER.file(cache));
    }
}
