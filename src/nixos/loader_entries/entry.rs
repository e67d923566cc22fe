//! One loader entry: its file's name and its lines.

#![forbid(unsafe_code)]

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::cmp::Ordering;

use super::{Warnings, version};
use crate::{
    error::Code,
    nixos::{
        BootFiles, Broken, DeviceTreeFile, Generation, MAX_OVERLAYS, Source,
        extlinux::{
            MAX_INITRDS,
            lines::{Flaw, Line, lines},
            shown, verbatim,
        },
        list, naming, path,
    },
};

/// What the specification calls the architecture of this processor.
const ARCHITECTURE: &[u8] = b"aa64";

/// A loader entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it boots; its name is that of the file without counters.
    pub generation: Generation,
    /// Its boot attempts, if they are counted.
    pub tries: Option<Tries>,
    sort_key: Option<String>,
    machine_id: Option<String>,
    version: Option<String>,
    /// The file's name without `.conf`.
    stem: String,
}

/// Boot attempts, as a file's name counts them: `+left` or `+left-done`. Read, never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tries {
    /// How often it may still be tried.
    pub left: u32,
    /// How often it has been tried in vain.
    pub done: u32,
}

impl Entry {
    /// Reads `bytes`, the contents of the file `name`. None if it is for another processor.
    ///
    /// Total: any bytes give an entry, which is broken if it cannot be booted as it was meant.
    pub(super) fn parse(name: &str, bytes: &[u8], warnings: &mut Warnings<'_>) -> Option<Self> {
        let mut keys = Keys::default();
        for line in lines(bytes) {
            keys.line(&line, warnings);
        }
        (!keys.for_other_processor).then(|| keys.entry(name))
    }

    /// An entry whose file cannot be read.
    pub(super) fn unreadable(name: &str, broken: Broken) -> Self {
        Keys { broken: Some(broken), ..Keys::default() }.entry(name)
    }

    /// Whether its tries are used up.
    pub fn is_counted_out(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// Has all its paths begin with `directory`.
    pub(super) fn move_below(&mut self, directory: &str) {
        let files = &mut self.generation.files;
        let tree = match &mut files.device_tree {
            DeviceTreeFile::File(file) => Some(file),
            DeviceTreeFile::Directory(_) | DeviceTreeFile::FromFirmware => None,
        };
        let paths = [&mut files.kernel].into_iter().chain(&mut files.initrds).chain(tree);
        for file in paths.chain(&mut files.overlays).filter(|file| !file.is_empty()) {
            *file = path::resolve("/", &format!("{directory}{file}"));
        }
    }

    /// The order of the specification, section Sorting: newest first, used-up tries last.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.is_counted_out()
            .cmp(&other.is_counted_out())
            .then_with(|| self.order_of_keys(other))
            .then_with(|| version::compare(&other.stem, &self.stem))
            .then_with(|| self.stem.cmp(&other.stem))
    }

    fn order_of_keys(&self, other: &Self) -> Ordering {
        let versions = [&other.version, &self.version].map(|v| v.as_deref().unwrap_or_default());
        match (&self.sort_key, &other.sort_key) {
            (Some(key), Some(other_key)) => key
                .cmp(other_key)
                .then_with(|| self.machine_id.cmp(&other.machine_id))
                .then_with(|| version::compare(versions[0], versions[1])),
            (key, other_key) => other_key.is_some().cmp(&key.is_some()),
        }
    }
}

/// What the lines so far said.
#[derive(Default)]
struct Keys {
    title: Option<String>,
    version: Option<String>,
    sort_key: Option<String>,
    machine_id: Option<String>,
    kernel: Option<String>,
    initrds: Vec<String>,
    device_tree: Option<String>,
    overlays: Vec<String>,
    options: Vec<String>,
    for_other_processor: bool,
    broken: Option<Broken>,
}

impl Keys {
    fn line(&mut self, line: &Line<'_>, warnings: &mut Warnings<'_>) {
        if let Some(flaw) = line.flaw {
            self.flawed(line, flaw, warnings);
            return;
        }
        if line.value.is_empty() {
            return;
        }
        match line.keyword {
            b"title" => self.title = Some(shown(line.value)),
            b"version" => self.version = Some(shown(line.value)),
            b"sort-key" => self.sort_key = Some(shown(line.value)),
            b"machine-id" => self.machine_id = Some(shown(line.value)),
            b"architecture" => {
                self.for_other_processor = !line.value.eq_ignore_ascii_case(ARCHITECTURE);
            }
            b"linux" => self.kernel = self.file(line, line.value),
            b"devicetree" => self.device_tree = self.file(line, line.value),
            b"initrd" => self.initrd(line),
            b"devicetree-overlay" => self.overlays(line),
            b"options" => match verbatim(line.value) {
                Ok(options) => self.options.push(options),
                Err(flaw) => {
                    self.damage(format!("line {}: the command line {flaw}", line.number));
                }
            },
            b"efi" | b"uki" | b"uki-url" => {
                let key = shown(line.keyword);
                self.damage_as(
                    Code::EntryIncomplete,
                    format!("{key} does not start a Linux kernel"),
                );
            }
            _ => warnings.unknown(line),
        }
    }

    fn initrd(&mut self, line: &Line<'_>) {
        if self.initrds.len() == MAX_INITRDS {
            self.damage(format!("more than {MAX_INITRDS} initrds cannot be loaded"));
            return;
        }
        let file = self.file(line, line.value);
        self.initrds.extend(file);
    }

    fn overlays(&mut self, line: &Line<'_>) {
        let words = line.value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        self.overlays = words.filter_map(|word| self.file(line, word)).collect();
        if self.overlays.len() > MAX_OVERLAYS {
            self.damage(format!("more than {MAX_OVERLAYS} overlays cannot be applied"));
        }
    }

    /// A path in a value, absolute on the partition. Notes if it cannot be used.
    fn file(&mut self, line: &Line<'_>, value: &[u8]) -> Option<String> {
        let flaw = match verbatim(value) {
            Ok(file) if file.split('/').any(|name| name == "..") => "leads out of its directory",
            Ok(file) => return Some(path::resolve("/", &file)),
            Err(flaw) => flaw,
        };
        self.damage(format!("line {}: the path {flaw}", line.number));
        None
    }

    /// A line of which only the key can be trusted.
    fn flawed(&mut self, line: &Line<'_>, flaw: Flaw, warnings: &mut Warnings<'_>) {
        let what = match flaw {
            Flaw::TooLong => "the line is too long",
            Flaw::CutShort => "the file ends within the line",
        };
        let decides_boot = matches!(
            line.keyword,
            b"linux" | b"initrd" | b"options" | b"devicetree" | b"devicetree-overlay"
        );
        // Behind the end of the file there may have been more of the entry.
        if decides_boot || flaw == Flaw::CutShort {
            self.damage(format!("line {}: {what}", line.number));
        } else {
            warnings.line(line, "is too long; ignored");
        }
    }

    fn damage(&mut self, reason: String) {
        self.damage_as(Code::EntryDamaged, reason);
    }

    /// Notes why the entry cannot be booted; the first reason stays.
    fn damage_as(&mut self, code: Code, reason: String) {
        self.broken.get_or_insert(Broken { code, reason });
    }

    fn entry(mut self, file_name: &str) -> Entry {
        if self.kernel.is_none() {
            self.damage_as(Code::EntryIncomplete, Code::EntryIncomplete.summary().to_owned());
        }
        let stem = without_suffix(file_name);
        let (id, tries) = counters(stem);
        Entry {
            tries,
            sort_key: self.sort_key.take(),
            machine_id: self.machine_id.take(),
            version: self.version.clone(),
            stem: stem.to_owned(),
            generation: self.generation(id),
        }
    }

    fn generation(self, id: &str) -> Generation {
        let name = format!("{id}.conf");
        let version_text = self.version.unwrap_or_default();
        let described = described(&version_text);
        let title = self.title.unwrap_or_else(|| shown(name.as_bytes()));
        let (number, profile, specialisation) = match (named(id), described) {
            (Some(Named { number, profile, specialisation }), _) => {
                (Some(number), profile, specialisation)
            }
            (None, Some((number, _))) => {
                (Some(number), in_brackets(&title), in_parentheses(&title))
            }
            (None, None) => (None, None, None),
        };
        let command_line = self.options.join(" ");
        let toplevel = naming::toplevel(&command_line);
        let kernel = self.kernel.unwrap_or_default();
        // NixOS's module calls every file it copies an EFI program.
        let kernel_name = kernel.strip_suffix(".efi").unwrap_or(&kernel);
        Generation {
            id: toplevel.map_or_else(|| list::foreign_id(Source::LoaderEntry, &name), Into::into),
            source: Source::LoaderEntry,
            number,
            profile: profile.map(ToOwned::to_owned),
            specialisation: specialisation.map(ToOwned::to_owned),
            date: described.and_then(|(_, text)| built_on(text)).map(ToOwned::to_owned),
            version: toplevel.and_then(naming::toplevel_version).map(ToOwned::to_owned),
            kernel_version: naming::kernel_version(kernel_name).map(ToOwned::to_owned),
            // Others tell their versions apart by this line only, as their titles are alike.
            title: match (number, version_text.as_str()) {
                (None, version) if !version.is_empty() && !title.contains(version) => {
                    format!("{title} ({version})")
                }
                _ => title,
            },
            default: false,
            tries: naming::tries(&command_line),
            files: BootFiles {
                kernel,
                configuration: None,
                initrds: self.initrds,
                device_tree: self
                    .device_tree
                    .map_or(DeviceTreeFile::FromFirmware, DeviceTreeFile::File),
                overlays: self.overlays,
                command_line,
                ethernet_addresses: Vec::new(),
            },
            unread: false,
            broken: self.broken,
            name,
        }
    }
}

/// Whether a file in the directory of entries is one.
pub(super) fn is_entry(file_name: &str) -> bool {
    !file_name.starts_with('.') && without_suffix(file_name).len() < file_name.len()
}

fn without_suffix(file_name: &str) -> &str {
    const SUFFIX: &str = ".conf";
    file_name
        .len()
        .checked_sub(SUFFIX.len())
        .and_then(|length| file_name.split_at_checked(length))
        .filter(|(_, suffix)| suffix.eq_ignore_ascii_case(SUFFIX))
        .map_or(file_name, |(stem, _)| stem)
}

/// What identifies an entry, and its counters.
fn counters(stem: &str) -> (&str, Option<Tries>) {
    let counted = || {
        let (id, tries) = stem.rsplit_once('+')?;
        let (left, done) = tries.split_once('-').unwrap_or((tries, "0"));
        Some((id, Tries { left: number(left)?, done: number(done)? }))
    };
    counted().map_or((stem, None), |(id, tries)| (id, Some(tries)))
}

/// A number of digits only; too large ones saturate.
fn number(digits: &str) -> Option<u32> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// What a file's name tells.
struct Named<'a> {
    number: u32,
    profile: Option<&'a str>,
    specialisation: Option<&'a str>,
}

/// Reads a name of NixOS up to 25.11: `nixos[-<profile>]-generation-42[-specialisation-<name>]`.
fn named(id: &str) -> Option<Named<'_>> {
    let (profile, rest) = id.strip_prefix("nixos")?.split_once("-generation-")?;
    let (number, specialisation) = match rest.split_once("-specialisation-") {
        Some((number, specialisation)) => (number, Some(specialisation)),
        None => (rest, None),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let profile = profile.strip_prefix('-').filter(|name| !name.is_empty());
    Some(Named { number: number.parse().ok()?, profile, specialisation })
}

/// Generation and the rest of NixOS's `version`, `Generation 42 NixOS ..., built on 2026-02-14`.
fn described(version: &str) -> Option<(u32, &str)> {
    let (number, rest) = version.strip_prefix("Generation ")?.split_once(' ')?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

fn built_on(text: &str) -> Option<&str> {
    text.rsplit_once("built on ").map(|(_, date)| date).filter(|date| !date.is_empty())
}

/// The profile in NixOS's title, `NixOS [tested] (rescue)`.
fn in_brackets(title: &str) -> Option<&str> {
    let (name, _) = title.strip_prefix("NixOS [")?.split_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// The specialisation in NixOS's title, `NixOS (rescue)`.
fn in_parentheses(title: &str) -> Option<&str> {
    let (_, name) = title.strip_suffix(')')?.rsplit_once(" (")?;
    (!name.is_empty()).then_some(name)
}
