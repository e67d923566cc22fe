//! What the tests of the emulated board share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use evk::{
    assets::Assets,
    card::{Card, Table},
    guest::Guests,
    nixos::{self, Generation, System},
    qemu::Entry,
    session::Session,
};
use serde_json::Value;
use tempfile::TempPath;

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

/// A card of its own: what firmware and the `firn` command of the host write to it stays.
pub(crate) struct Disk(TempPath);

impl Disk {
    pub(crate) fn new(card: &Card) -> Self {
        Self(card.make(&cards()).expect("card").copy().expect("copy"))
    }

    /// Of a board that ran generation 41 of `system`, from the profiles, when 42 was installed.
    pub(crate) fn updated(system: &System) -> Self {
        let disk = Self::new(&nixos::card_with_root(Table::Mbr, system.root()));
        disk.bless(system.numbered(41));
        disk.install(system.numbered(42));
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// `firn state` on this card.
    pub(crate) fn state(&self, arguments: &[&str]) -> String {
        let card = self.path().to_str().expect("UTF-8");
        firn(&[&["state", "--card", card], arguments].concat())
    }

    /// The record, as `firn state show --json` tells it.
    pub(crate) fn record(&self) -> Value {
        serde_json::from_str(&self.state(&["show", "--json"])).expect("JSON")
    }

    /// Makes `generation` the default, as an install hook would.
    pub(crate) fn install(&self, generation: &Generation) {
        self.state(&["set-default", &generation.toplevel()]);
    }

    /// Notes that `generation` works.
    pub(crate) fn bless(&self, generation: &Generation) {
        self.state(&["bless", &generation.toplevel()]);
    }

    /// `firn entries` of this card.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let card = self.path().to_str().expect("UTF-8");
        let told: Value = serde_json::from_str(&firn(&["entries", "--json", card])).expect("JSON");
        told["entries"].as_array().expect("entries").clone()
    }
}

/// What the `firn` command of this tree prints; it must be content.
pub(crate) fn firn(arguments: &[&str]) -> String {
    run(Command::new(firn_program()).args(arguments))
}

/// The `firn` command of this tree. `cargo test --workspace` builds it.
pub(crate) fn firn_program() -> PathBuf {
    let test = std::env::current_exe().expect("a test");
    let firn = test.ancestors().nth(2).expect("target/debug").join("firn");
    assert!(firn.is_file(), "{}: run `cargo build --package firn-cli`", firn.display());
    firn
}

/// What a program prints; it must be content.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (told, complaints) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(told).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{told}{complaints}", output.status);
    told
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
