//! `extlinux.conf`: the one that is there, and the one that takes its place.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use firn::nixos::extlinux;

use super::entry::{DEFAULT, Entry};
use crate::install::{
    Installation,
    writer::{self, Content, Writer},
};

const RULE: usize = 60;

/// What the present file lists.
#[derive(Clone)]
pub(super) struct Present {
    /// Identity of what it boots when nobody chooses.
    pub(super) default: Option<String>,
    pub(super) entries: Vec<Entry>,
}

impl Present {
    /// Reads it. Without one, or if it is damaged, it lists nothing.
    pub(super) fn read(writer: &Writer<'_>, boot: &str) -> Result<Self> {
        let path = path(boot);
        let text = writer::read(&mut *writer.tree(), &path)?;
        let parsed = text.and_then(|text| extlinux::parse(&path, &text).ok());
        let generations = parsed.map(|parsed| parsed.generations).unwrap_or_default();
        let default = generations.iter().find(|generation| generation.default);
        Ok(Self {
            default: default.map(|generation| generation.id.clone()),
            entries: generations
                .iter()
                .filter_map(|generation| Entry::present(generation, boot))
                .collect(),
        })
    }

    /// Whether the entry of `toplevel` has `initrd`.
    pub(super) fn names(&self, toplevel: &str, initrd: &str) -> bool {
        let mut of_toplevel = self.entries.iter().filter(|entry| entry.id == toplevel);
        of_toplevel.any(|entry| entry.initrds.iter().any(|name| name == initrd))
    }

    /// What is left of it with its default and what is wanted.
    pub(super) fn reduced(&self, is_wanted: impl Fn(&Entry) -> bool) -> Self {
        let is_kept = |entry: &&Entry| Some(&entry.id) == self.default.as_ref() || is_wanted(entry);
        let entries = self.entries.iter().filter(is_kept).cloned().collect();
        Self { default: self.default.clone(), entries }
    }

    /// Names of all that it needs in the boot directory.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &String> {
        self.entries.iter().flat_map(|entry| entry.pieces.keys())
    }

    /// It as a file, if it lists its default.
    pub(super) fn file(&self, installation: &Installation<'_>) -> Option<Content> {
        let default = self.entries.iter().find(|entry| Some(&entry.id) == self.default.as_ref())?;
        Some(Content::Bytes(text(installation, default, &self.entries).into_bytes()))
    }
}

/// The file that lists these, with the new default.
///
/// # Errors
/// The loader would not boot that by default.
pub(super) fn new(installation: &Installation<'_>, entries: &[Entry]) -> Result<Content> {
    let mut of_toplevel = entries.iter().filter(|entry| entry.id == installation.toplevel);
    let default = of_toplevel.next().context("no generation would be left to boot")?;
    let listed = if installation.populates { &[] } else { entries };
    let text = text(installation, default, listed);
    let path = path(&installation.config.boot);
    let parsed = extlinux::parse(&path, text.as_bytes())?;
    let booted = parsed.generations.iter().find(|generation| generation.default);
    ensure!(
        booted.is_some_and(|booted| booted.id == default.id),
        "the loader would not boot {} by default: {}",
        default.id,
        parsed.warnings.first().map(ToString::to_string).unwrap_or_default()
    );
    Ok(Content::Bytes(text.into_bytes()))
}

/// Writes the file, unless it is there.
pub(super) fn put(installation: &Installation<'_>, content: &Content) -> Result<()> {
    installation.writer.put(&path(&installation.config.boot), 0o644, content)?;
    Ok(())
}

/// Whether the file is there.
pub(super) fn is_there(installation: &Installation<'_>, content: &Content) -> Result<bool> {
    installation.writer.is(&path(&installation.config.boot), content)
}

fn path(boot: &str) -> String {
    format!("{boot}/extlinux/extlinux.conf")
}

fn text(installation: &Installation<'_>, default: &Entry, entries: &[Entry]) -> String {
    let config = installation.config;
    let mut text = String::from(
        "# Written by `firn install`: the next nixos-rebuild writes it anew.\n\
         # Until then, DEFAULT nixos-42 would boot generation 42.\n",
    );
    // A string takes everything.
    let _ = write!(text, "DEFAULT {DEFAULT}\n\n");
    // 0 waits for ever, and without a title there is no menu.
    let _ = match config.timeout {
        Some(0) => writeln!(text, "TIMEOUT 1"),
        Some(seconds) => writeln!(text, "TIMEOUT {}", u64::from(seconds) * 10),
        None => writeln!(text, "TIMEOUT 0"),
    };
    if config.timeout != Some(0) {
        let _ = writeln!(text, "MENU TITLE {}", "-".repeat(RULE));
    }
    if !config.editor {
        let _ = writeln!(text, "ALLOWOPTIONS 0");
    }
    if let Some(hash) = &config.password_hash {
        let _ = writeln!(text, "MENU MASTER PASSWD {hash}");
    }
    for entry in [&default.as_default()].into_iter().chain(entries) {
        let _ = writeln!(text, "\nLABEL {}", entry.label);
        entry.write_to(&mut text);
    }
    text
}
