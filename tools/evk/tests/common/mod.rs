//! What the tests of the emulated board share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{path::PathBuf, time::Duration};

use evk::{assets::Assets, guest::Guests, qemu::Entry, session::Session};

/// For what a loader does: seconds alone, more when several boards share two cores.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// For Linux from its first instruction to userspace.
pub(crate) const LINUX: Duration = Duration::from_secs(180);

pub(crate) fn assets() -> Assets {
    Assets::locate().expect("set-up")
}

/// The workspace's folder for what this project builds.
pub(crate) fn target() -> PathBuf {
    evk::assets::tree().join("target/firn")
}

pub(crate) fn cards() -> PathBuf {
    target().join("cards")
}

pub(crate) fn guests() -> Guests {
    evk::guest::build(&target().join("guest")).expect("guests")
}

/// The board's device tree as the kernel brings it.
pub(crate) fn device_tree() -> PathBuf {
    assets().dtbs.join(evk::nixos::DEVICE_TREE)
}

/// Entered as QEMU enters a kernel, with nothing but a device tree.
pub(crate) fn kernel_entry(image: PathBuf) -> Entry {
    Entry::Kernel { image, device_tree: device_tree(), initrd: None, command_line: None }
}

/// A guest that misbehaves on one typed key each.
pub(crate) struct Misbehaving {
    /// Starts it, until it is ready for a key.
    pub(crate) ready: fn() -> Session,
    /// What a stage in its place says last.
    pub(crate) end: &'static str,
}

impl Misbehaving {
    /// What is printed after `key`, up to `end`.
    pub(crate) fn after(&self, key: &str, end: &str) -> String {
        let mut session = (self.ready)();
        session.send(key).unwrap();
        session.expect(end, SOON).unwrap();
        session.text()
    }

    /// The report of the failure that `key` provokes.
    pub(crate) fn fault(&self, key: &str) -> String {
        self.after(key, self.end)
    }

    /// Provokes a failure during a report, and one during the report of that.
    pub(crate) fn fail_while_reporting(&self) {
        assert!(self.fault("1").contains("while reporting another"));
        let mut session = (self.ready)();
        session.send("2").unwrap();
        assert!(session.expect("firn:", Duration::from_secs(1)).is_err());
    }
}
