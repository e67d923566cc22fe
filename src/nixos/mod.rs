//! NixOS generations: what can be booted, whichever file says so.
//!
//! A source ([`profiles`], [`extlinux`], [`loader_entries`]) gives [`Generation`]s, [`list`] brings
//! one source's into the order of the menu, [`merge`] those of several. Pure: parsers know bytes only,
//! and where there are many files, any file system.

#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};
use core::{fmt, num::NonZeroU8};

use crate::{
    error::{Code, Coded},
    ethernet::Address,
};

pub mod bootspec;
pub mod extlinux;
pub mod list;
pub mod loader_entries;
pub mod merge;
pub mod naming;
pub mod path;
pub mod profiles;

/// Something that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Identity: the toplevel store path (from `init=`), or, for entries that are not NixOS's, the
    /// source and label.
    pub id: String,
    /// Where it was found.
    pub source: Source,
    /// The name under which its source knows it (an extlinux `LABEL`).
    pub name: String,
    /// What the source's author wants to be shown.
    pub title: String,
    /// Generation number, where the source tells.
    pub number: Option<u32>,
    /// The profile that numbers it, if it is not `system`.
    pub profile: Option<String>,
    /// Specialisation, if it is one.
    pub specialisation: Option<String>,
    /// Date and time of the build as the source writes it.
    pub date: Option<String>,
    /// NixOS version.
    pub version: Option<String>,
    /// Kernel version, where the kernel's store path tells.
    pub kernel_version: Option<String>,
    /// Whether it is what boots when nobody chooses.
    pub default: bool,
    /// What to load.
    pub files: BootFiles,
    /// How many times it is tried until it is blessed; `None`: its boots are not counted.
    pub tries: Option<NonZeroU8>,
    /// Whether no more is known yet than that it exists: its link's name. What it is, and whether it
    /// can be booted, is read on demand; until then its identity is the link's path.
    pub unread: bool,
    /// Why it cannot be booted, as far as is known without loading it.
    pub broken: Option<Broken>,
}

/// Why a generation cannot be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The code to look up.
    pub code: Code,
    /// One clause that names the piece.
    pub reason: String,
}

impl Coded for Broken {
    fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Something that a source says and that is not as its author meant it; the boot goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The code to look up.
    pub code: Code,
    /// Where, what, and what was done about it.
    pub text: String,
}

impl Coded for Warning {
    fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which of the sources names a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `extlinux.conf`.
    Extlinux,
    /// A Nix profile: links to systems in the store.
    Profile,
    /// A loader entry of the Boot Loader Specification.
    LoaderEntry,
    /// The boot image itself: a recovery system.
    BootImage,
    /// A person at the rescue prompt.
    Prompt,
}

impl Source {
    /// As a person, and the running system, is told.
    pub fn name(self) -> &'static str {
        match self {
            Source::Extlinux => "extlinux",
            Source::Profile => "profile",
            Source::LoaderEntry => "loader entry",
            Source::BootImage => "boot image",
            Source::Prompt => "prompt",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The pieces of a boot, as normalised absolute paths on the volume that was searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: String,
    /// The configuration that is meant, if the kernel is a FIT image; none: what suits the board.
    pub configuration: Option<String>,
    /// Initrds, concatenated in this order.
    pub initrds: Vec<String>,
    /// The device tree.
    pub device_tree: DeviceTreeFile,
    /// Device tree overlays, applied in this order.
    pub overlays: Vec<String>,
    /// The kernel command line.
    pub command_line: String,
    /// Addresses of Ethernet interfaces that have none of their own, by their numbers.
    pub ethernet_addresses: Vec<Option<Address>>,
}

impl BootFiles {
    /// Whether `path` names the kernel's file, with or without the configuration.
    pub fn is_kernel(&self, path: &str) -> bool {
        match (path.strip_prefix(&*self.kernel), &self.configuration) {
            (Some(""), _) => true,
            (Some(rest), Some(configuration)) => rest.strip_prefix('#') == Some(configuration),
            _ => false,
        }
    }
}

/// Overlays of one generation.
const MAX_OVERLAYS: usize = 32;

/// How a source names the device tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceTreeFile {
    /// Not at all: the one handed to the loader serves.
    #[default]
    FromFirmware,
    /// One file.
    File(String),
    /// A directory in which the board's own name is looked up.
    Directory(String),
}

/// What a source says about the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the menu waits.
    pub timeout: Timeout,
    /// The title over the menu.
    pub title: Option<String>,
    /// Whether only the countdown is shown until a key is pressed.
    pub hidden: bool,
    /// Who may change what is booted.
    pub access: Access,
    /// How many generations of a profile the menu lists; those beyond are there all the same.
    pub list_limit: Option<u32>,
}

impl Settings {
    /// Those of a source that says nothing else.
    pub fn new(timeout: Timeout) -> Self {
        Self { timeout, title: None, hidden: false, access: Access::Free, list_limit: None }
    }
}

/// Who may change a command line, or look at files and boot them by hand at the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whoever is at the line.
    #[default]
    Free,
    /// Who knows the password that has this hash, as `mkpasswd` writes it (crypt(5)).
    Password(String),
    /// Nobody.
    Nobody,
}

/// How long the menu waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Boots the default at once; no menu unless a key is held.
    Immediate,
    /// Tenths of a second.
    After(u32),
    /// Waits for ever.
    Never,
}
