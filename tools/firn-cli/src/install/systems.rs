//! The systems in the Nix profiles, as the loader's own code sees them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use firn::{
    fs::FileSystem,
    nixos::{Generation, bootspec, profiles::Profiles},
};

use super::writer;

/// All generations with their specialisations: those of `system`, newest first, then those of other
/// profiles.
pub(super) struct Systems {
    pub(super) generations: Vec<Generation>,
}

impl Systems {
    /// Reads the profiles of a tree.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub(super) fn read(tree: &mut dyn FileSystem) -> Result<Self> {
        let Some(profiles) = Profiles::find(tree)? else {
            bail!("there are no profiles in /nix/var/nix/profiles: nothing is installed yet")
        };
        if let Some(problem) = profiles.problem {
            return Err(problem).context("cannot list /nix/var/nix/profiles/system-profiles");
        }
        let described =
            (0..profiles.links.len()).filter_map(|index| profiles.describe(tree, index));
        Ok(Self { generations: described.flat_map(|found| found.generations).collect() })
    }

    /// The generation with this toplevel.
    ///
    /// # Errors
    /// No profile has it.
    pub(super) fn of(&self, toplevel: &str) -> Result<&Generation> {
        let found = self.generations.iter().find(|generation| generation.id == toplevel);
        found.with_context(|| {
            format!(
                "no profile in /nix/var/nix/profiles has {toplevel}, so the loader cannot list it; \
                 nixos-rebuild sets the profile first (by hand: nix-env -p \
                 /nix/var/nix/profiles/system --set {toplevel})"
            )
        })
    }

    /// All toplevels.
    pub(super) fn toplevels(&self) -> BTreeSet<&str> {
        self.generations.iter().map(|generation| &generation.id[..]).collect()
    }
}

/// The program that appends a toplevel's secrets to an initrd, if it has any.
pub(super) fn secrets_program(tree: &mut dyn FileSystem, toplevel: &str) -> Option<String> {
    let bytes = writer::read(tree, &format!("{toplevel}/boot.json")).ok()??;
    bootspec::parse(&bytes).ok()?.initrd_secrets
}
