//! A folder with tens of thousands of entries in an ext4 image, within seconds.
//!
//! `mke2fs -d` looks through the whole folder for each entry that it adds: 50,000 take minutes. So
//! the folder's blocks are written here, as a plain file, which debugfs then makes a folder; e2fsck puts
//! right what only it knows how to (checksums, counts, the index). The entries are hard links to one
//! file: nobody asks what is in them.
//!
//! Source of the blocks' layout: Linux documentation, filesystems/ext4/directory.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{
    card::splitmix,
    tool::{DEBUGFS, E2FSCK},
};

/// Many entries besides those that a tree puts into a folder.
#[derive(Clone, Debug, Hash)]
pub struct Crowd {
    /// The folder, which the tree has, below the root.
    pub folder: String,
    /// How many entries it is to have in all.
    pub entries: usize,
    /// Whether the folder gets an index (a hash tree), as Linux writes it.
    pub indexed: bool,
}

/// A file of the tree in the folder, to which all others are links.
pub const WITNESS: &str = "0000000000000000000000000000000-crowd";

/// What MKE2FS_CONFIGURATION says.
const BLOCK: usize = 4096;
/// Its checksum stands at a block's end, in the shape of an unused entry.
const TAIL: usize = 12;
const FILE: u8 = 1;
const FOLDER: u8 = 2;
const LINK: u8 = 7;
const CHECKSUM: u8 = 0xde;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    inode: u32,
    kind: u8,
}

impl Crowd {
    /// Fills the folder in the ext4 image at `image`.
    pub(crate) fn fill(&self, image: &Path) -> Result<()> {
        let folder = format!("/{}", self.folder);
        let mut entries = list(image, &folder)?;
        let own = entries.remove(".").context("a folder without itself")?;
        let parent = entries.remove("..").context("a folder without the one above it")?;
        let witness = *entries.get(WITNESS).context("nothing to link to")?;
        let missing = self.entries.saturating_sub(entries.len());
        // Linux allows so many links to a file.
        ensure!(missing < 65_000, "{missing} links to one file");
        let mut names = store_names();
        while entries.len() < self.entries {
            entries.insert(names.next().context("names never end")?, witness);
        }

        let draft = tempfile::NamedTempFile::new()?;
        // The number that the folder will have, once it is a file of the image.
        let inode = free_inode(image)?;
        let first = [(".", Entry { inode, ..own }), ("..", parent)];
        let rest = entries.iter().map(|(name, entry)| (name.as_str(), *entry));
        fs::write(draft.path(), blocks(first.into_iter().chain(rest)))?;
        let source = draft.path().display();
        let new = format!("{folder}.new");
        let script = format!(
            "write {source} {new}\nset_inode_field {new} mode 040755\nclri {folder}\n\
             unlink {folder}\nln {new} {folder}\nunlink {new}\n"
        );
        DEBUGFS.call().args(["-w", "-f", "-"]).arg(image).input(script).run()?;
        self.repair(image)?;
        let there = list(image, &folder)?.len();
        ensure!(there == self.entries + 2, "{folder} has {there} entries, {} wanted", self.entries);
        Ok(())
    }

    fn repair(&self, image: &Path) -> Result<()> {
        let options = if self.indexed { "-fyD" } else { "-fy" };
        // 1: errors were corrected.
        E2FSCK.call().arg(options).arg(image).run_to(&[0, 1])?;
        // Nothing is left to be corrected.
        E2FSCK.call().arg("-fn").arg(image).run().map(drop)
    }
}

/// What is in a folder.
fn list(image: &Path, folder: &str) -> Result<BTreeMap<String, Entry>> {
    let output = DEBUGFS.call().args(["-R", &format!("ls -p {folder}")]).arg(image).run()?;
    let text = String::from_utf8(output).context("names that are no text")?;
    let entries: Result<BTreeMap<_, _>> =
        text.lines().filter(|line| line.starts_with('/')).map(entry).collect();
    // The index and the checksums stand in entries that are not used.
    Ok(entries?.into_iter().filter(|(_, entry)| entry.inode != 0).collect())
}

/// Reads `/INODE/MODE/USER/GROUP/NAME/SIZE/`.
fn entry(line: &str) -> Result<(String, Entry)> {
    let fields: Vec<_> = line.split('/').collect();
    let [_, inode, mode, _, _, name, ..] = fields.as_slice() else {
        anyhow::bail!("debugfs lists {line:?}");
    };
    let kind = match mode.get(..2) {
        Some("04") => FOLDER,
        Some("12") => LINK,
        _ => FILE,
    };
    Ok(((*name).to_owned(), Entry { inode: inode.parse()?, kind }))
}

fn free_inode(image: &Path) -> Result<u32> {
    let output = DEBUGFS.call().args(["-R", "ffi"]).arg(image).run()?;
    let text = String::from_utf8(output).context("a number that is no text")?;
    let number = text.trim().rsplit(' ').next().unwrap_or_default();
    number.parse().with_context(|| format!("debugfs says {text:?}"))
}

/// A folder's blocks, without an index and with empty checksums.
fn blocks<'a>(entries: impl Iterator<Item = (&'a str, Entry)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for (name, entry) in entries {
        let length = (8 + name.len()).next_multiple_of(4);
        if bytes.len() % BLOCK + length > BLOCK - TAIL {
            close_block(&mut bytes, last);
        }
        last = bytes.len();
        push(&mut bytes, entry, length, name);
    }
    close_block(&mut bytes, last);
    bytes
}

fn push(bytes: &mut Vec<u8>, Entry { inode, kind }: Entry, length: usize, name: &str) {
    let end = bytes.len() + length;
    bytes.extend(inode.to_le_bytes());
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend([u8::try_from(name.len()).unwrap_or(u8::MAX), kind]);
    bytes.extend(name.as_bytes());
    bytes.resize(end, 0);
}

/// Makes the entry at `last` reach to the block's tail, and adds that.
fn close_block(bytes: &mut Vec<u8>, last: usize) {
    let end = last / BLOCK * BLOCK + BLOCK;
    bytes.resize(end - TAIL, 0);
    let length = u16::try_from(end - TAIL - last).unwrap_or(u16::MAX);
    bytes[last + 4..last + 6].copy_from_slice(&length.to_le_bytes());
    push(bytes, Entry { inode: 0, kind: CHECKSUM }, TAIL, "");
}

/// Names as Nix's store has them, always the same ones, about 60 characters long.
fn store_names() -> impl Iterator<Item = String> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    const WORDS: [&str; 8] =
        ["python3.12", "perl5", "systemd", "source", "unit", "linux-firmware", "gcc", "hook"];
    let mut state = 0x6e69_7873;
    std::iter::repeat_with(move || {
        let hash: String =
            (0..32).map(|_| char::from(ALPHABET[(splitmix(&mut state) % 32) as usize])).collect();
        let draw = splitmix(&mut state);
        let [first, second] = [draw, draw >> 8].map(|draw| WORDS[(draw & 7) as usize]);
        format!(
            "{hash}-{first}-{second}-{}.{}.{}",
            draw >> 16 & 7,
            draw >> 24 & 63,
            draw >> 32 & 31
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u32) -> Entry {
        Entry { inode, kind: FILE }
    }

    #[test]
    fn blocks_are_full_to_their_tails_and_lose_no_entry() {
        let names: Vec<String> = store_names().take(500).collect();
        let bytes = blocks(names.iter().map(|name| (name.as_str(), file(12))));
        assert!(bytes.len().is_multiple_of(BLOCK));
        let mut found = Vec::new();
        for block in bytes.chunks(BLOCK) {
            let mut at = 0;
            while at < BLOCK {
                let length = usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
                let name = usize::from(block[at + 6]);
                if name != 0 {
                    found.push(String::from_utf8(block[at + 8..at + 8 + name].to_vec()).unwrap());
                }
                at += length;
            }
            assert_eq!((at, block[BLOCK - 5]), (BLOCK, CHECKSUM));
        }
        assert_eq!(found, names);
    }

    #[test]
    fn a_line_of_debugfs_is_an_entry() {
        let read = entry("/12/040755/0/0/lost+found//").unwrap();
        assert_eq!(read, ("lost+found".into(), Entry { inode: 12, kind: FOLDER }));
        assert!(entry("/12").is_err());
    }
}
