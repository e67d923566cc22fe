//! What runs on this machine, and whether this is the machine's own system: `nixos-install` calls from a
//! chroot.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::Result;

use crate::state::{Account, booted_system};

/// What is known of the system that runs.
#[derive(Default)]
pub(super) struct Running {
    /// What was booted, by NixOS's account and by the loader's.
    pub(super) toplevels: Vec<String>,
    /// Whether this is a chroot: what runs is none of its generations.
    pub(super) is_chroot: bool,
}

impl Running {
    /// Of the system at `root`.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let booted = booted_system(root);
        let told = Account::find(root)?.and_then(|account| account.generation);
        // nixos-install's is the root of the first process, too, in a PID namespace of its own. But NixOS has
        // noted in /run what it has booted, which is not seen from there.
        if is_chroot(root) || (told.is_some() && booted.is_none()) {
            return Ok(Self { toplevels: Vec::new(), is_chroot: true });
        }
        let mut toplevels: Vec<_> = booted.into_iter().chain(told).collect();
        toplevels.dedup();
        Ok(Self { toplevels, is_chroot: false })
    }
}

/// Whether the first process has another root. What cannot be told is no chroot.
fn is_chroot(root: &Path) -> bool {
    let place = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    match (place(root), place(&root.join("proc/1/root"))) {
        (Some(own), Some(first)) => own != first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BOOTED: &str = "/nix/store/00000000000000000000000000000042-nixos-system";

    #[test]
    fn the_chroot_of_an_installation_on_a_board_that_firn_has_booted_is_none_of_its_systems() {
        let root = tempfile::tempdir().unwrap();
        let chosen = root.path().join("proc/device-tree/chosen");
        fs::create_dir_all(&chosen).unwrap();
        fs::write(chosen.join("firn,version"), b"0.1.0\0").unwrap();
        fs::write(chosen.join("firn,generation"), format!("{BOOTED}\0")).unwrap();
        let running = Running::find(root.path()).unwrap();
        assert!(running.is_chroot && running.toplevels.is_empty());

        fs::create_dir(root.path().join("run")).unwrap();
        symlink(BOOTED, root.path().join("run/booted-system")).unwrap();
        let running = Running::find(root.path()).unwrap();
        assert!(!running.is_chroot);
        assert_eq!(running.toplevels, [BOOTED]);
    }
}
