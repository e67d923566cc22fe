//! What runs on this machine, and whether this is the machine's own system: `nixos-install` calls from a
//! chroot.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::Result;

use crate::state::Account;

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
        let booted = fs::read_link(root.join("run/booted-system"));
        let booted = booted.ok().and_then(|path| path.into_os_string().into_string().ok());
        if is_chroot(root) {
            return Ok(Self { toplevels: Vec::new(), is_chroot: true });
        }
        let told = Account::find(root)?.and_then(|account| account.generation);
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
