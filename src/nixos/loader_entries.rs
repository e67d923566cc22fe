//! Loader entries: UAPI.1, the Boot Loader Specification, type 1, as NixOS's systemd-boot module
//! writes them.
//!
//! One file an entry, in `loader/entries` of $BOOT, which is a partition or a directory `/boot`.
//!
//! * **Keys.** The last line of a key counts; `initrd` and `options` gather all their lines.
//!   Entries with another `architecture` are left out. `efi` and `uki` start no kernel.
//! * **Files.** Relative to $BOOT's root, with or without `/`; `..` is refused. In a directory
//!   `/boot`, NixOS means paths below it, others mean the partition's: where the kernel is, counts.
//! * **Counters** in a file's name are read, and never changed: this loader counts in its own record.
//! * **Order.** Section Sorting of the specification.
//! * **Which one.** `preferred`, unless its tries are used up, else `default`, else the first. What
//!   cannot be booted gives way to the next in the order.
//!
//! Every limit that is hit and every line that is dropped gives a [`Warning`], an unknown key only
//! one; an entry that lost something it needs is kept as broken, never booted half.

#![forbid(unsafe_code)]

mod entry;
mod pattern;
mod settings;
mod version;

use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

pub use self::{
    entry::{Entry, Tries},
    settings::LoaderSettings,
};
use super::{
    Broken, Generation, Warning,
    extlinux::{MAX_WARNINGS, lines::Line, quote, shown},
    list,
};
use crate::{
    error::{Code, Coded},
    fs::{self, ErrorKind, FileSystem, FileType},
    sorting::sort_by,
};

/// What may be $BOOT on a volume, in this order.
pub const PLACES: [&str; 2] = ["/", "/boot"];

/// Entries that are listed; of more, those whose names are the highest versions.
pub const MAX_ENTRIES: usize = 512;

/// Largest file in bytes. A command line of arm64 has at most 2047.
pub const MAX_SIZE: usize = 16 * 1024;

/// What the files of one $BOOT say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// In the order of the specification, at least one; at most one is the default, and that one
    /// is not broken.
    pub entries: Vec<Entry>,
    /// What its `loader.conf` says, if there is one.
    pub settings: Option<LoaderSettings>,
    /// What was left out; at most a handful.
    pub warnings: Vec<Warning>,
}

/// Reads all entries of the $BOOT that is `place` (one of [`PLACES`]) on `file_system`; `None` if it
/// has none. Fails only if it cannot tell what entries there are.
///
/// Reads at most [`MAX_ENTRIES`] + 1 files of [`MAX_SIZE`].
pub fn read(
    file_system: &mut dyn FileSystem,
    place: &str,
) -> Result<Option<Configuration>, fs::Error> {
    let root = place.trim_end_matches('/');
    let directory = format!("{root}/loader/entries");
    let Some(mut names) = entry_names(file_system, &directory)? else { return Ok(None) };

    let mut told = Told::default();
    if names.len() > MAX_ENTRIES {
        let text = format!("{directory}: only {MAX_ENTRIES} of {} entries are listed", names.len());
        told.add(Code::ConfigurationLineIgnored, text);
        names.truncate(MAX_ENTRIES);
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(names.len());
    for name in &names {
        entries.extend(read_entry(file_system, root, &directory, name, &mut told));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    sort_by(&mut entries, Entry::order);
    make_identities_unique(&mut entries);

    let settings = read_settings(file_system, &format!("{root}/loader/loader.conf"), &mut told);
    choose_default(&mut entries, settings.as_ref(), &mut told);
    Ok(Some(Configuration { entries, settings, warnings: told.finish() }))
}

/// Names of files that are entries, highest version first; `None` without any.
fn entry_names(
    file_system: &mut dyn FileSystem,
    directory: &str,
) -> Result<Option<Vec<String>>, fs::Error> {
    let listed = match file_system.read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongType) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let files = listed.into_iter().filter(|file| file.file_type != FileType::Directory);
    let mut names: Vec<String> =
        files.map(|file| file.name).filter(|name| entry::is_entry(name)).collect();
    sort_by(&mut names, |one, other| version::compare(other, one).then_with(|| one.cmp(other)));
    Ok(Some(names).filter(|names| !names.is_empty()))
}

fn read_entry(
    file_system: &mut dyn FileSystem,
    root: &str,
    directory: &str,
    name: &str,
    told: &mut Told,
) -> Option<Entry> {
    let path = format!("{directory}/{name}");
    match read_file(file_system, &path) {
        Ok(bytes) => {
            let mut entry = Entry::parse(name, &bytes, &mut told.about(&path))?;
            if !root.is_empty() && !is_below_the_partition(file_system, root, &entry) {
                entry.move_below(root);
            }
            Some(entry)
        }
        Err(problem) => {
            told.add(problem.code, problem.text.clone());
            Some(Entry::unreadable(name, Broken { code: problem.code, reason: problem.text }))
        }
    }
}

/// Whether an entry in a directory `/boot` has its files where the partition's root is $BOOT's.
fn is_below_the_partition(file_system: &mut dyn FileSystem, root: &str, entry: &Entry) -> bool {
    let kernel = &entry.generation.files.kernel;
    let is_file = |metadata: fs::Metadata| metadata.file_type == FileType::File;
    !kernel.is_empty()
        && !file_system.metadata(&format!("{root}{kernel}")).is_ok_and(is_file)
        && file_system.metadata(kernel).is_ok_and(is_file)
}

fn read_settings(
    file_system: &mut dyn FileSystem,
    path: &str,
    told: &mut Told,
) -> Option<LoaderSettings> {
    match read_file(file_system, path) {
        Ok(bytes) => Some(settings::parse(&bytes, &mut told.about(path))),
        Err(problem) => {
            if problem.code != Code::NotFound {
                told.add(problem.code, problem.text);
            }
            None
        }
    }
}

fn read_file(file_system: &mut dyn FileSystem, path: &str) -> Result<Vec<u8>, Warning> {
    let problem = |error: fs::Error| Warning { code: error.code(), text: error.to_string() };
    let mut file = file_system.open(path).map_err(problem)?;
    let size = usize::try_from(file.size()).ok().filter(|&size| size <= MAX_SIZE);
    let Some(size) = size else {
        let code = Code::ConfigurationTooLarge;
        let text =
            format!("{path}: {} ({} bytes, at most {MAX_SIZE})", code.summary(), file.size());
        return Err(Warning { code, text });
    };
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes).map_err(problem)?;
    Ok(bytes)
}

/// An edited copy of an entry has its toplevel, but must be told from it.
fn make_identities_unique(entries: &mut [Entry]) {
    let mut first: Vec<(String, super::BootFiles)> = Vec::with_capacity(entries.len());
    for Entry { generation, .. } in entries {
        match first.iter().find(|(id, _)| *id == generation.id) {
            // The same under two names, e.g. in two profiles: `merge` lists it once.
            Some((_, files)) if *files == generation.files => {}
            Some(_) => generation.id = list::foreign_id(generation.source, &generation.name),
            None => first.push((generation.id.clone(), generation.files.clone())),
        }
    }
}

/// Marks what boots when nobody chooses.
fn choose_default(entries: &mut [Entry], settings: Option<&LoaderSettings>, told: &mut Told) {
    let named = settings.and_then(|settings| named_default(entries, settings, told));
    let is_bootable = |index: &usize| entries[*index].generation.broken.is_none();
    let is_normal = |index: &usize| {
        let entry = &entries[*index];
        !entry.is_counted_out() && entry.generation.specialisation.is_none()
    };
    let from = named.unwrap_or(0);
    let others = || (from..entries.len()).chain(0..from).filter(is_bootable);
    let chosen = named
        .filter(is_bootable)
        .or_else(|| others().find(is_normal))
        .or_else(|| others().find(|&index| !entries[index].is_counted_out()))
        .or_else(|| others().next());

    if let Some(named) = named.filter(|&named| chosen != Some(named)) {
        let mut text =
            format!("the default, {}, cannot be booted", quote(&entries[named].generation.name));
        if let Some(chosen) = chosen {
            let name = quote(&entries[chosen].generation.name);
            text = format!("{text}; {name} takes its place");
        }
        told.add(Code::DefaultUnusable, text);
    }
    if let Some(chosen) = chosen {
        entries[chosen].generation.default = true;
    }
}

/// Index of the entry that `loader.conf` names.
fn named_default(entries: &[Entry], settings: &LoaderSettings, told: &mut Told) -> Option<usize> {
    let matches =
        |pattern: &str, generation: &Generation| pattern::matches(pattern, &generation.name);
    let preferred = settings.preferred.as_ref().and_then(|pattern| {
        entries
            .iter()
            .position(|entry| !entry.is_counted_out() && matches(pattern, &entry.generation))
    });
    if preferred.is_some() {
        return preferred;
    }
    let pattern = settings.default.as_ref()?;
    let named = entries.iter().position(|entry| matches(pattern, &entry.generation));
    if named.is_none() {
        let text = format!("no entry has the name of the default, {}", quote(pattern));
        told.add(Code::DefaultUnusable, text);
    }
    named
}

/// The warnings so far: the first few, and how many more there were.
#[derive(Default)]
struct Told {
    list: Vec<Warning>,
    dropped: usize,
    unknown_keys: BTreeSet<Vec<u8>>,
}

impl Told {
    fn about<'a>(&'a mut self, path: &'a str) -> Warnings<'a> {
        Warnings { told: self, path }
    }

    fn add(&mut self, code: Code, text: String) {
        if self.list.len() >= MAX_WARNINGS {
            self.dropped += 1;
            return;
        }
        self.list.push(Warning { code, text });
    }

    fn finish(mut self) -> Vec<Warning> {
        if self.dropped > 0 {
            let text = format!("and {} more", self.dropped);
            self.list.push(Warning { code: Code::ConfigurationLineIgnored, text });
        }
        self.list
    }
}

/// Takes what is to be said about one file.
struct Warnings<'a> {
    told: &'a mut Told,
    path: &'a str,
}

impl Warnings<'_> {
    fn line(&mut self, line: &Line<'_>, what: &str) {
        let key = quote(&shown(line.keyword));
        let text = format!("{} line {}: {key} {what}", self.path, line.number);
        self.told.add(Code::ConfigurationLineIgnored, text);
    }

    /// Whoever writes a key that is not known writes it into every entry: once is enough.
    fn unknown(&mut self, line: &Line<'_>) {
        if self.told.unknown_keys.contains(line.keyword) {
            return;
        }
        if self.told.unknown_keys.len() < MAX_WARNINGS {
            self.told.unknown_keys.insert(line.keyword.to_owned());
        }
        self.line(line, "is not known; ignored");
    }
}
