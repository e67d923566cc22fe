//! Journals of ext4 that were not checkpointed, and damaged ones.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::tool::DEBUGFS;

/// What a power cut has left of the journal of the file system to boot from, and what became of it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// It is whole, and has the only copy of the root directory.
    Whole,
    /// Its last transaction, which changes nothing, was not committed.
    Uncommitted,
    /// It has no superblock.
    Headless,
    /// Its copy of the root directory is not what was written.
    Rotten,
}

/// The size that the cards' file systems have.
const BLOCK: u64 = 4096;
const ZEROS: [u8; 4096] = [0; 4096];
/// Inodes. Source: the kernel's Documentation/filesystems/ext4/special_inodes.rst.
const ROOT: u32 = 2;
const JOURNAL: u32 = 8;
/// The number of the first block of the log. Source: journal.rst there.
const LOG_BEGINS_AT: u64 = 0x1c;

impl Journal {
    /// Lets the file system that begins at `offset` on `card` have it.
    pub(super) fn put(self, card: &Path, offset: u64) -> Result<()> {
        let volume = format!("{}?offset={offset}", card.display());
        let root = *blocks(&volume, ROOT)?.first().context("a root directory without blocks")?;
        let file = OpenOptions::new().read(true).write(true).open(card)?;
        let at = |block: u64| offset + block * BLOCK;
        let mut directory = ZEROS;
        file.read_exact_at(&mut directory, at(root))?;
        write_transaction(&volume, root, &directory)?;
        let [head, copy, commit] = log(&file, offset, &blocks(&volume, JOURNAL)?)?;
        match self {
            Self::Whole => file.write_all_at(&ZEROS, at(root))?,
            Self::Uncommitted => file.write_all_at(&ZEROS, at(commit))?,
            Self::Headless => file.write_all_at(&ZEROS, at(head))?,
            Self::Rotten => file.write_all_at(b"rotten", at(copy) + 100)?,
        }
        Ok(())
    }
}

/// The blocks of an inode, by number.
fn blocks(volume: &str, inode: u32) -> Result<Vec<u64>> {
    let said = DEBUGFS.call().args(["-R", &format!("blocks <{inode}>"), volume]).run()?;
    let numbers = String::from_utf8(said)?;
    let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    Ok(numbers)
}

/// Says in the journal, and marks it to be replayed, that `block` holds `bytes`.
fn write_transaction(volume: &str, block: u64, bytes: &[u8]) -> Result<()> {
    let contents = tempfile::NamedTempFile::new()?;
    contents.as_file().write_all_at(bytes, 0)?;
    let script = format!("jo -c -v 3\njw -b {block} {}\njc\n", contents.path().display());
    DEBUGFS.call().args(["-w", "-f", "-", volume]).input(script).run().map(drop)
}

/// Where the journal's superblock, its copy of the one block and the commit are.
fn log(file: &File, offset: u64, journal: &[u64]) -> Result<[u64; 3]> {
    let head = *journal.first().context("a journal without blocks")?;
    let mut begins = [0; 4];
    file.read_exact_at(&mut begins, offset + head * BLOCK + LOG_BEGINS_AT)?;
    let begins = usize::try_from(u32::from_be_bytes(begins))?;
    ensure!(begins > 0, "the journal has nothing to replay");
    let place = |index: usize| journal.get(index).copied().context("the log leaves the journal");
    // Behind a descriptor.
    Ok([head, place(begins + 1)?, place(begins + 2)?])
}
