//! The names of a directory, as far as there is memory for them.

use alloc::{format, vec::Vec};

use super::{DirEntry, ErrorKind};

/// Bytes that the names of one directory may take: half of the loader's heap. A Nix store of sixty
/// thousand entries fits.
const ROOM: usize = 8 << 20;
/// What a name takes besides its own bytes, the list's growing included.
const OVERHEAD: usize = 64;

/// A list that is being read.
#[derive(Default)]
pub(super) struct Names {
    entries: Vec<DirEntry>,
    taken: usize,
}

impl Names {
    /// Adds one, unless no path can lead to it: `.`, `..` and what damage has made of a name. Fails if
    /// there are too many, which the card alone decides.
    pub(super) fn push(&mut self, entry: DirEntry) -> Result<(), ErrorKind> {
        if !is_name(&entry.name) {
            return Ok(());
        }
        self.taken += entry.name.len() + OVERHEAD;
        if self.taken > ROOM {
            let count = self.entries.len();
            return Err(ErrorKind::Feature(format!("a directory of more than {count} names")));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// All of them, in the order in which they came.
    pub(super) fn finish(self) -> Vec<DirEntry> {
        self.entries
    }
}

/// One name, which leads to something below its directory.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileType;

    fn names_that_fit(length: usize) -> usize {
        let mut names = Names::default();
        let entry = || DirEntry { name: "x".repeat(length), file_type: FileType::File };
        (0..).take_while(|_| names.push(entry()).is_ok()).count()
    }

    #[test]
    fn a_nix_store_of_sixty_thousand_entries_can_be_listed() {
        assert!(names_that_fit(64) > 60_000);
    }

    #[test]
    fn no_directory_takes_more_than_half_of_the_heap() {
        for length in [1, 64, 255] {
            assert!(names_that_fit(length) * (length + OVERHEAD) <= 8 << 20);
        }
    }
}
