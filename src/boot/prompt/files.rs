//! `ls`, `cat`, and what a path can become.

use alloc::{format, string::String, vec};
use core::ops::ControlFlow;

use super::{Stopped, volumes::Volumes};
use crate::{
    error::Coded,
    fs::{DirEntry, File, FileSystem, FileType},
    memory::Size,
    rescue::Completion,
    sorting::sort_by,
};

/// A directory with more names than this is listed as it lies on the card, by name alone: each size
/// is another search of it.
const SMALL: usize = 500;

/// Bytes of a file that are shown: 23 seconds of a line of 115200 baud.
const MAX_SHOWN: u64 = 256 << 10;

/// Bytes that are read and sent at once: as long as somebody waits for a key to have an effect.
const CHUNK: usize = 512;

/// Takes a piece of a long answer.
pub(super) type Say<'a> = &'a mut dyn FnMut(&str) -> ControlFlow<Stopped>;

/// An error as it is said.
pub(super) fn coded(error: &impl Coded) -> String {
    format!("[{}] {error}", error.code())
}

/// Lists what is at `path`.
pub(super) fn list(volumes: &mut Volumes, path: &str, say: Say<'_>) -> Result<(), String> {
    let metadata = volumes.metadata(path).map_err(|error| coded(&error))?;
    if metadata.file_type != FileType::Directory {
        let _ = say(&line(metadata.file_type, Some(metadata.size), path));
        return Ok(());
    }
    let mut entries = volumes.read_dir(path).map_err(|error| coded(&error))?;
    let small = entries.len() <= SMALL;
    if small {
        sort_by(&mut entries, |one, other| one.name.cmp(&other.name));
    }
    for entry in &entries {
        let text = if small {
            described(volumes, path, entry)
        } else {
            line(entry.file_type, None, &entry.name)
        };
        if say(&text).is_break() {
            return Ok(());
        }
    }
    let _ = say(&format!("{} in {path}\n", entries.len()));
    Ok(())
}

fn described(volumes: &mut Volumes, directory: &str, entry: &DirEntry) -> String {
    let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
    match entry.file_type {
        FileType::File => {
            let size = volumes.metadata(&path).ok().map(|metadata| metadata.size);
            line(entry.file_type, size, &entry.name)
        }
        FileType::Link => {
            let target = volumes.read_link(&path).unwrap_or_else(|error| coded(&error));
            line(entry.file_type, None, &format!("{} -> {target}", entry.name))
        }
        _ => line(entry.file_type, None, &entry.name),
    }
}

fn line(file_type: FileType, size: Option<u64>, name: &str) -> String {
    let what = match (file_type, size) {
        (FileType::File, Some(size)) => format!("{}", Size(size)),
        (FileType::File, None) => "file".into(),
        (FileType::Directory, _) => "directory".into(),
        (FileType::Link, _) => "link".into(),
        (FileType::Other, _) => "special".into(),
    };
    // A name may hold anything, but it is one line.
    format!("{what:>12}  {}\n", name.replace('\n', "?"))
}

/// Shows the text at `path`.
pub(super) fn show(volumes: &mut Volumes, path: &str, say: Say<'_>) -> Result<(), String> {
    let mut file = volumes.open(path).map_err(|error| coded(&error))?;
    let size = file.size();
    let mut last = '\n';
    let mut offset = 0;
    while offset < size.min(MAX_SHOWN) {
        let bytes = chunk(&mut *file, offset).map_err(|error| coded(&error))?;
        if offset == 0 && bytes.contains(&0) {
            return Err(format!("{path} is not text; it has {}", Size(size)));
        }
        let text = shown(&bytes);
        last = text.chars().last().unwrap_or(last);
        if say(&text).is_break() {
            return Ok(());
        }
        offset += bytes.len() as u64;
    }
    let end = if last == '\n' { "" } else { "\n" };
    let _ = match size.checked_sub(offset) {
        None | Some(0) => say(end),
        Some(rest) => say(&format!("{end}(cut here: {} more)\n", Size(rest))),
    };
    Ok(())
}

fn chunk(file: &mut dyn File, offset: u64) -> Result<vec::Vec<u8>, crate::fs::Error> {
    let rest = usize::try_from(file.size().saturating_sub(offset)).unwrap_or(CHUNK);
    let mut bytes = vec![0; rest.min(CHUNK)];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// `bytes` of a text, one character for each letter: what is not ASCII is not shown anyway.
fn shown(bytes: &[u8]) -> String {
    let letters = bytes.iter().filter(|byte| !matches!(byte, b'\r' | 0x80..=0xbf));
    letters
        .map(|&byte| match byte {
            b'\t' => ' ',
            byte if byte.is_ascii() => char::from(byte),
            _ => '?',
        })
        .collect()
}

/// Offers what `word` can become: names of volumes, and what is in the directory that it names.
pub(super) fn complete(volumes: &mut Volumes, word: &str) -> Completion {
    let mut completion = Completion::new(word);
    if !word.contains(['/', ':']) {
        for name in volumes.names() {
            let candidate = format!("{name}:");
            completion.offer(&candidate, &candidate);
        }
    }
    // Everything up to the name that is being typed.
    let directory = &word[..word.rfind(['/', ':']).map_or(0, |index| index + 1)];
    let listed = volumes.locate(directory).ok().and_then(|path| volumes.read_dir(&path).ok());
    for entry in listed.unwrap_or_default() {
        let end = match entry.file_type {
            FileType::Directory => "/",
            // A link may lead to either; what is behind it is looked at when it is followed.
            FileType::File | FileType::Link | FileType::Other => "",
        };
        let start = if word.ends_with(':') { "/" } else { "" };
        let name = format!("{}{end}", entry.name);
        completion.offer(&format!("{directory}{start}{name}"), &name);
    }
    completion
}
