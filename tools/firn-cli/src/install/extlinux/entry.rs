//! An entry of `extlinux.conf`: what it names, and how it is written.
//!
//! Keys, names and their order are those of nixpkgs' generic-extlinux-compatible, so that U-Boot boots the
//! same file and a system can move over and back.

use std::{collections::BTreeMap, fmt::Write as _};

use firn::nixos::{DeviceTreeFile, Generation, naming};

use super::pieces;
use crate::install::writer::Content;

/// The name of the default's entry.
pub(super) const DEFAULT: &str = "nixos-default";

/// What one entry boots. Paths are those of files below the boot directory: `nixos/NAME`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The toplevel, or what else the loader knows it by.
    pub(super) id: String,
    /// The generation that it is, or that it is a specialisation of.
    pub(super) group: Group,
    /// When it was built, as the menu shows it.
    pub(super) date: Option<String>,
    pub(super) label: String,
    pub(super) title: String,
    pub(super) kernel: String,
    pub(super) initrds: Vec<String>,
    pub(super) append: String,
    pub(super) device_tree: DeviceTreeFile,
    pub(super) overlays: Vec<String>,
    /// Where the files come from that have to be there.
    pub(super) pieces: BTreeMap<String, Piece>,
}

/// Where a file or directory of the boot directory comes from.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// A file that everybody may read.
    File(Content),
    /// Secrets.
    Secret(Content),
    /// A directory of the tree.
    Directory(String),
    /// It is there already.
    There,
}

/// A generation: which profile's if not `system`'s, and its number.
pub(super) type Group = (Option<String>, Option<u32>);

impl Entry {
    /// The entry of a generation in the store. `dtbs` is the directory of its device trees, `secrets` what
    /// goes behind its initrds.
    pub(super) fn of(
        generation: &Generation,
        version: &str,
        dtbs: Option<&str>,
        secrets: Option<Content>,
    ) -> Self {
        let files = &generation.files;
        let mut pieces = BTreeMap::new();
        let mut file = |path: &str| {
            let name = pieces::name(path);
            pieces.insert(name.clone(), Piece::File(Content::File(path.to_owned())));
            name
        };
        let kernel = file(&files.kernel);
        let in_store = files.initrds.iter().filter(|path| path.starts_with(pieces::STORE));
        let mut initrds: Vec<_> = in_store.map(|path| file(path)).collect();
        let overlays = files.overlays.iter().map(|path| file(path)).collect();
        let below = |file: &str| Some(file.strip_prefix(dtbs?)?.strip_prefix('/')?.to_owned());
        let device_tree = match &files.device_tree {
            DeviceTreeFile::FromFirmware => DeviceTreeFile::FromFirmware,
            DeviceTreeFile::Directory(directory) => {
                let name = pieces::name(directory);
                pieces.insert(name.clone(), Piece::Directory(directory.clone()));
                DeviceTreeFile::Directory(name)
            }
            DeviceTreeFile::File(path) => match (dtbs, below(path)) {
                (Some(directory), Some(rest)) => {
                    let name = pieces::name(directory);
                    pieces.insert(name.clone(), Piece::Directory(directory.to_owned()));
                    DeviceTreeFile::File(format!("{name}/{rest}"))
                }
                _ => DeviceTreeFile::File(file(path)),
            },
        };
        if let Some(content) = secrets {
            let name = pieces::secrets_name(&generation.id);
            pieces.insert(name.clone(), Piece::Secret(content));
            initrds.push(name);
        }
        let tag = tag(generation);
        let date = generation.date.as_deref().unwrap_or("1970-01-01 00:00");
        Self {
            id: generation.id.clone(),
            group: (generation.profile.clone(), generation.number),
            date: generation.date.clone(),
            label: format!("nixos-{tag}"),
            title: format!("NixOS - Configuration {tag} ({date} - {version})"),
            kernel,
            initrds,
            append: append(generation),
            device_tree,
            overlays,
            pieces,
        }
    }

    /// The entry that a generation is in an `extlinux.conf` in the directory `boot`; `None` if it names
    /// files elsewhere.
    pub(super) fn present(generation: &Generation, boot: &str) -> Option<Self> {
        let below = |path: &String| {
            let rest = path.strip_prefix(boot)?.strip_prefix('/')?;
            (rest.starts_with(pieces::FOLDER)).then(|| rest.to_owned())
        };
        let files = &generation.files;
        let all = |paths: &[String]| paths.iter().map(below).collect::<Option<Vec<_>>>();
        let (kernel, initrds, overlays) =
            (below(&files.kernel)?, all(&files.initrds)?, all(&files.overlays)?);
        let device_tree = match &files.device_tree {
            DeviceTreeFile::FromFirmware => DeviceTreeFile::FromFirmware,
            DeviceTreeFile::File(path) => DeviceTreeFile::File(below(path)?),
            DeviceTreeFile::Directory(path) => DeviceTreeFile::Directory(below(path)?),
        };
        let tree = match &device_tree {
            DeviceTreeFile::FromFirmware => None,
            DeviceTreeFile::File(path) | DeviceTreeFile::Directory(path) => Some(path),
        };
        let named = [&kernel].into_iter().chain(&initrds).chain(&overlays).chain(tree);
        let pieces = named.map(|path| (pieces::top(path).to_owned(), Piece::There)).collect();
        Some(Self {
            id: generation.id.clone(),
            group: (generation.profile.clone(), generation.number),
            date: generation.date.clone(),
            label: generation.name.clone(),
            title: generation.title.clone(),
            append: files.command_line.clone(),
            kernel,
            initrds,
            device_tree,
            overlays,
            pieces,
        })
    }

    /// The same as the entry that boots when nobody chooses.
    pub(super) fn as_default(&self) -> Self {
        let (label, title) = (DEFAULT.to_owned(), "NixOS - Default".to_owned());
        Self { label, title, ..self.clone() }
    }

    /// Its lines.
    pub(super) fn write_to(&self, text: &mut String) {
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "  {key} {value}");
        };
        let from_here = |paths: &[String], separator: &str| {
            let paths: Vec<_> = paths.iter().map(|path| format!("../{path}")).collect();
            paths.join(separator)
        };
        line("MENU LABEL", &self.title);
        line("LINUX", &format!("../{}", self.kernel));
        if !self.initrds.is_empty() {
            line("INITRD", &from_here(&self.initrds, ","));
        }
        line("APPEND", &self.append);
        match &self.device_tree {
            DeviceTreeFile::FromFirmware => {}
            DeviceTreeFile::File(path) => line("FDT", &format!("../{path}")),
            DeviceTreeFile::Directory(path) => line("FDTDIR", &format!("../{path}")),
        }
        if !self.overlays.is_empty() {
            line("FDTOVERLAYS", &from_here(&self.overlays, " "));
        }
    }
}

/// `42-default`, `42-rescue`, `known-good-3-default`.
fn tag(generation: &Generation) -> String {
    let number = generation.number.map_or_else(|| "0".to_owned(), |number| number.to_string());
    // One of a specialisation is `OUTER/INNER`.
    let specialisation =
        generation.specialisation.as_deref().unwrap_or("default").replace('/', "-");
    match &generation.profile {
        Some(profile) => format!("{profile}-{number}-{specialisation}"),
        None => format!("{number}-{specialisation}"),
    }
}

/// The command line, with the tries that `boot.json` gives the generation: here is no `boot.json`.
fn append(generation: &Generation) -> String {
    let line = &generation.files.command_line;
    if naming::tries(line) == generation.tries {
        return line.clone();
    }
    let tries = generation.tries.map_or(0, |tries| tries.get());
    format!("{line} firn.tries={tries}")
}
