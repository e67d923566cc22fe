//! Files and directories of the boot directory: their names, their sizes, and how they get there.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use firn::fs::{FileSystem, FileType};
use sha2::{Digest as _, Sha256};

use super::entry::Piece;
use crate::install::writer::{Content, Writer, names, size};

/// The store, as a prefix of paths.
pub(super) const STORE: &str = "/nix/store/";
/// What the boot directory has of them, as a prefix.
pub(super) const FOLDER: &str = "nixos/";

/// Bytes of a FAT name are at most 255 (long file names), of which a name that is being written takes more.
const MAX_NAME: usize = 240;
/// Characters of a digest that stand for the end of a name that is longer.
const DIGITS: usize = 16;

/// What a file or directory of the store is called in the boot directory: as NixOS calls it, with
/// characters and a length that FAT takes.
pub(super) fn name(path: &str) -> String {
    let name = path.strip_prefix(STORE).unwrap_or(path).trim_start_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._=".contains(c);
    let mut name: String = name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    if name.len() > MAX_NAME {
        let digest = Sha256::digest(path);
        name.truncate(MAX_NAME - DIGITS);
        name.extend(digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")));
    }
    // FAT drops dots at the end.
    format!("{FOLDER}{}", name.trim_end_matches('.'))
}

/// What a toplevel's secrets are called.
pub(super) fn secrets_name(toplevel: &str) -> String {
    name(&format!("{toplevel}/initrd-secrets"))
}

/// The file or directory `nixos/NAME` that holds `path`.
pub(super) fn top(path: &str) -> &str {
    let end = path.get(FOLDER.len()..).and_then(|rest| rest.find('/'));
    end.map_or(path, |end| &path[..FOLDER.len() + end])
}

/// Bytes that the files of something take on the disk, each rounded up to `unit`, and `more` for each.
pub(super) fn room_of(
    tree: &mut dyn FileSystem,
    piece: &Piece,
    unit: u64,
    more: u64,
) -> Result<u64> {
    let files = match piece {
        Piece::File(content) | Piece::Secret(content) => vec![(String::new(), content.clone())],
        Piece::Directory(directory) => files_below(tree, directory)?,
        Piece::There => Vec::new(),
    };
    let mut sum = 0;
    for (_, content) in &files {
        sum += size(tree, content)?.div_ceil(unit) * unit + more;
    }
    Ok(sum)
}

/// What there is in the boot directory's `nixos/`, with the bytes that each takes.
pub(super) fn there(writer: &Writer<'_>, boot: &str, unit: u64) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for name in writer.names(&format!("{boot}/nixos"))? {
        let path = format!("{boot}/{FOLDER}{name}");
        let mut tree = writer.tree();
        let is_directory =
            tree.metadata(&path).is_ok_and(|found| found.file_type == FileType::Directory);
        let piece = match is_directory {
            true => Piece::Directory(path),
            false => Piece::File(Content::File(path)),
        };
        // What cannot be read gives nothing back that one could rely on.
        let room = room_of(&mut *tree, &piece, unit, 0).unwrap_or(0);
        found.insert(format!("{FOLDER}{name}"), room);
    }
    Ok(found)
}

/// Whether a piece is in the boot directory, whole: names are those of the store, so that a file of the
/// right size is the right one unless somebody damaged it. With `thorough` its contents are compared.
pub(super) fn is_there(
    writer: &Writer<'_>,
    boot: &str,
    name: &str,
    piece: &Piece,
    thorough: bool,
) -> Result<bool> {
    let path = format!("{boot}/{name}");
    let same = |path: &str, content: &Content| {
        if thorough {
            return writer.is(path, content);
        }
        let mut tree = writer.tree();
        let there = size(&mut *tree, &Content::File(path.to_owned())).ok();
        Ok(there == Some(size(&mut *tree, content)?))
    };
    match piece {
        Piece::File(content) => same(&path, content),
        Piece::Secret(content) => writer.is(&path, content),
        Piece::There => Ok(true),
        Piece::Directory(directory) => {
            for (name, content) in files_below(&mut *writer.tree(), directory)? {
                if !same(&format!("{path}/{name}"), &content)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// Puts a piece into the boot directory.
pub(super) fn put(writer: &Writer<'_>, boot: &str, name: &str, piece: &Piece) -> Result<()> {
    let path = format!("{boot}/{name}");
    match piece {
        Piece::File(content) => writer.put_anew(&path, 0o644, content),
        Piece::Secret(content) => writer.put_anew(&path, 0o600, content),
        Piece::There => Ok(()),
        Piece::Directory(directory) => {
            let files = files_below(&mut *writer.tree(), directory)?;
            if writer.tree().metadata(&path).is_err() {
                return writer.put_directory(&path, &files);
            }
            // Somebody boots with it: file by file.
            for (name, content) in &files {
                writer.put(&format!("{path}/{name}"), 0o644, content)?;
            }
            Ok(())
        }
    }
}

/// All files below a directory, by their paths from there.
fn files_below(tree: &mut dyn FileSystem, directory: &str) -> Result<Vec<(String, Content)>> {
    let mut files = Vec::new();
    let mut ahead = vec![String::new()];
    while let Some(below) = ahead.pop() {
        for name in names(tree, &format!("{directory}{below}"))? {
            let below = format!("{below}/{name}");
            let path = format!("{directory}{below}");
            let found = tree.metadata(&path).with_context(|| format!("cannot look at {path}"))?;
            match found.file_type {
                FileType::Directory => ahead.push(below),
                FileType::File => {
                    files.push((below.trim_start_matches('/').to_owned(), Content::File(path)));
                }
                FileType::Link | FileType::Other => {}
            }
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i";

    #[test]
    fn names_are_those_of_nixos() {
        let path = format!("/nix/store/{HASH}-linux-6.12.63/Image");
        assert_eq!(name(&path), format!("nixos/{HASH}-linux-6.12.63-Image"));
    }

    #[test]
    fn what_fat_does_not_take_is_not_in_a_name() {
        let path = format!("/nix/store/{HASH}-a?b=c+d/x:y*z...");
        assert_eq!(name(&path), format!("nixos/{HASH}-a-b=c+d-x-y-z"));
        let long = |end: &str| name(&format!("/nix/store/{HASH}-{}{end}", "x".repeat(260)));
        assert_eq!(long("a").len(), FOLDER.len() + MAX_NAME);
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn the_file_in_a_directory_belongs_to_the_directory() {
        assert_eq!(top("nixos/a-dtbs/freescale/x.dtb"), "nixos/a-dtbs");
        assert_eq!(top("nixos/a-Image"), "nixos/a-Image");
    }
}
