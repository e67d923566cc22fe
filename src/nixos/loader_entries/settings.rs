//! `loader.conf`: how long the menu waits and what boots when nobody chooses.
//!
//! Keys as in loader.conf(5) of systemd 260.

#![forbid(unsafe_code)]

use alloc::string::String;

use super::{Warnings, pattern::MAX_PATTERN};
use crate::nixos::{
    Settings, Timeout,
    extlinux::{
        lines::{Line, lines},
        verbatim,
    },
};

/// What `loader.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderSettings {
    /// About the menu.
    pub menu: Settings,
    /// Whether a person may edit the command line.
    pub editor: bool,
    /// Whether what was chosen last is to be the default (`default @saved`).
    pub remember_choice: bool,
    /// Names the default among the entries that have tries left; goes before `default`.
    pub(super) preferred: Option<String>,
    /// Names the default.
    pub(super) default: Option<String>,
}

impl Default for LoaderSettings {
    fn default() -> Self {
        Self {
            menu: Settings::new(Timeout::Immediate),
            editor: true,
            remember_choice: false,
            preferred: None,
            default: None,
        }
    }
}

/// Reads `bytes`, the contents of a `loader.conf`. Total; the last of two lines with one key counts.
pub(super) fn parse(bytes: &[u8], warnings: &mut Warnings<'_>) -> LoaderSettings {
    let mut settings = LoaderSettings::default();
    for line in lines(bytes) {
        if line.flaw.is_some() {
            warnings.line(&line, "is not whole; ignored");
            continue;
        }
        settings.line(&line, warnings);
    }
    settings
}

impl LoaderSettings {
    fn line(&mut self, line: &Line<'_>, warnings: &mut Warnings<'_>) {
        match line.keyword {
            b"timeout" => match timeout(line.value) {
                Some(timeout) => self.menu.timeout = timeout,
                None => warnings.line(line, "is not a time in seconds; ignored"),
            },
            b"editor" => match boolean(line.value) {
                Some(editor) => self.editor = editor,
                None => warnings.line(line, "is neither yes nor no; ignored"),
            },
            b"default" if line.value == b"@saved" => self.remember_choice = true,
            b"default" => {
                if let Some(pattern) = pattern(line, warnings) {
                    self.default = Some(pattern);
                }
            }
            b"preferred" => {
                if let Some(pattern) = pattern(line, warnings) {
                    self.preferred = Some(pattern);
                }
            }
            // Of no use without EFI, or looks only.
            b"auto-entries"
            | b"auto-firmware"
            | b"auto-poweroff"
            | b"auto-reboot"
            | b"beep"
            | b"console-mode"
            | b"log-level"
            | b"random-seed-mode"
            | b"reboot-for-bitlocker"
            | b"reboot-on-error"
            | b"secure-boot-enroll"
            | b"secure-boot-enroll-action"
            | b"secure-boot-enroll-timeout-sec" => {}
            _ => warnings.unknown(line),
        }
    }
}

/// Whole seconds, or a word.
fn timeout(value: &[u8]) -> Option<Timeout> {
    match value {
        b"menu-force" => Some(Timeout::Never),
        // Both boot at once; that the menu cannot be asked for at all would shut out the only user
        // of a board with a bad default.
        b"menu-hidden" | b"menu-disabled" => Some(Timeout::Immediate),
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let seconds = digits.iter().fold(0_u32, |seconds, digit| {
                seconds.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
            });
            Some(match seconds.saturating_mul(10) {
                0 => Timeout::Immediate,
                tenths => Timeout::After(tenths),
            })
        }
        _ => None,
    }
}

fn boolean(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"yes" | b"y" | b"true" | b"t" | b"on" | b"1" => Some(true),
        b"no" | b"n" | b"false" | b"f" | b"off" | b"0" => Some(false),
        _ => None,
    }
}

fn pattern(line: &Line<'_>, warnings: &mut Warnings<'_>) -> Option<String> {
    let usable = verbatim(line.value).ok().filter(|pattern| {
        !pattern.is_empty() && !pattern.starts_with('@') && pattern.len() <= MAX_PATTERN
    });
    if usable.is_none() {
        warnings.line(line, "does not name an entry; ignored");
    }
    usable
}
