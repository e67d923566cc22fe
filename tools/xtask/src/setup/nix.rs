//! Nix 2.8 or later, which evaluates the flake, the module and the packages: the user's own, else
//! Debian's, unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evk::assets::find_tool;

use super::launcher::Launcher;
use super::{Step, Workshop, apt, progress};
use crate::process;

pub(super) const STEP: Step = Step { name: "Nix", present, provide };

/// What is called; the second is a link to the first, which goes by its name.
const PROGRAMS: [&str; 2] = ["nix", "nix-instantiate"];
const PACKAGE: &str = "nix-bin";
/// Where Debian's is unpacked to, and where the store is, below the cache.
const UNPACKED: &str = "nix";
const STORE: &str = "nix-store";
const DEADLINE: Duration = Duration::from_secs(60);

/// No daemon, no substituter, no registry, no configuration of the machine's.
const CONFIGURATION: &str = "\
experimental-features = nix-command flakes
substituters =
flake-registry =
build-users-group =
sandbox = false
warn-dirty = false
";

/// Where Nix keeps its things, below its own directory.
const DIRECTORIES: [(&str, &str); 6] = [
    ("NIX_STORE_DIR", "store"),
    ("NIX_STATE_DIR", "var/nix"),
    ("NIX_LOCALSTATE_DIR", "var"),
    ("NIX_LOG_DIR", "var/log"),
    ("NIX_CONF_DIR", "etc"),
    ("XDG_CACHE_HOME", "cache"),
];

/// A Nix whose store lies below the cache, so that it needs neither root nor a `/nix`, and what it
/// evaluates does not depend on the user's own store. (A store with another root, whose paths still
/// begin with `/nix/store`, would do as well if every version checked templates in it alike.)
pub(crate) struct Nix {
    cache: PathBuf,
    programs: Programs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Programs {
    /// In `PATH`.
    Own,
    /// Unpacked below the cache.
    Debian,
}

impl Nix {
    /// The Nix that set-up found or provided.
    ///
    /// # Errors
    /// There is none that evaluates.
    pub(crate) fn locate() -> Result<Self> {
        Self::find(&evk::assets::cache_dir()?)
            .with_context(|| format!("no usable Nix; {}", evk::assets::ADVICE))
    }

    fn find(cache: &Path) -> Option<Self> {
        [Programs::Own, Programs::Debian]
            .map(|programs| Self { cache: cache.to_owned(), programs })
            .into_iter()
            .find(Self::evaluates)
    }

    /// A call of one of [`PROGRAMS`].
    pub(crate) fn command(&self, program: &str) -> Command {
        let debian = self.cache.join(UNPACKED).join(program);
        let file = match self.programs {
            Programs::Own => find_tool(program).unwrap_or_else(|| program.into()),
            Programs::Debian => debian,
        };
        let mut command = Command::new(file);
        command.env("NIX_CONFIG", CONFIGURATION).env("NIX_REMOTE", "local");
        // With the machine's own settings out of the way, and a cache that may be a link.
        command.env("NIX_USER_CONF_FILES", "").env_remove("NIX_PATH");
        command.env("NIX_IGNORE_SYMLINK_STORE", "1");
        for (variable, directory) in DIRECTORIES {
            command.env(variable, self.cache.join(STORE).join(directory));
        }
        command
    }

    fn evaluates(&self) -> bool {
        let evaluate = |program: &str, arguments: &[&str]| {
            let mut command = self.command(program);
            process::output(command.args(arguments), DEADLINE).is_ok_and(|text| text.trim() == "2")
        };
        evaluate(PROGRAMS[0], &["eval", "--expr", "1 + 1"])
            && evaluate(PROGRAMS[1], &["--eval", "--expr", "1 + 1"])
    }

    fn version(&self) -> Result<String> {
        let text = process::output(self.command(PROGRAMS[0]).arg("--version"), DEADLINE)?;
        Ok(text.trim().to_owned())
    }
}

fn present(workshop: &Workshop) -> Result<Option<String>> {
    Nix::find(&workshop.cache).map(|nix| nix.version()).transpose()
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    debian_nix(workshop).context("install Nix 2.8 or later (on Debian: nix-bin)")
}

fn debian_nix(workshop: &Workshop) -> Result<()> {
    progress("no Nix here that evaluates; taking Debian's");
    let archive = workshop.archive(&apt::native_architecture()?, &[apt::RELEASE], PACKAGE)?;
    let package = archive.newest(PACKAGE)?;
    workshop.make_directory(UNPACKED, |root| archive.unpack_with_dependencies(&package, root))?;
    // Launchers name the directory, so they are written when it has its final name.
    let root = workshop.cache.join(UNPACKED);
    for name in PROGRAMS {
        Launcher { name, options: &[], variable: None }.write(&root)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_machines_own_configuration_is_read() {
        let nix = Nix { cache: "/cache".into(), programs: Programs::Debian };
        let command = nix.command("nix");
        assert_eq!(command.get_program(), "/cache/nix/nix");
        let variable = |name: &str| command.get_envs().find(|(key, _)| *key == name).unwrap().1;
        assert_eq!(variable("NIX_STORE_DIR").unwrap(), "/cache/nix-store/store");
        assert_eq!(variable("NIX_CONF_DIR").unwrap(), "/cache/nix-store/etc");
        assert_eq!(variable("NIX_PATH"), None);
    }

    #[test]
    fn a_cache_without_programs_has_no_nix_of_debians() {
        let cache = tempfile::tempdir().unwrap();
        let nix = Nix { cache: cache.path().to_owned(), programs: Programs::Debian };
        assert!(!nix.evaluates());
    }
}
