//! What the sectors of a card hold that no checksum covers: where damage runs as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use anyhow::{Result, ensure};

use crate::{
    card::SECTOR,
    nixos::{Generation, System},
    tree::Tree,
};

/// Bytes in a [`SECTOR`].
const BYTES: usize = 512;

type Sector = [u8; BYTES];

/// A thing on a card that may be damaged without notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unchecked {
    /// The kernel of the generation with this number: a plain `Image`.
    Kernel(u32),
    /// Its initrd.
    Initrd(u32),
    /// Its device tree.
    DeviceTree(u32),
    /// A file that says what there is to boot.
    Configuration,
    /// What a FAT file system keeps besides the contents of files.
    Fat,
}

/// The files of `tree`, which has those of `system`, and what they are.
///
/// # Errors
/// One cannot be read.
pub(super) fn contents(system: &System, tree: &Tree) -> Result<Vec<Contents>> {
    let mut roles = BTreeMap::new();
    for Generation { number, kernel, initrd, device_tree, .. } in &system.generations {
        roles.insert(kernel.read()?, Unchecked::Kernel(*number));
        roles.insert(initrd.read()?, Unchecked::Initrd(*number));
        roles.insert(device_tree.read()?, Unchecked::DeviceTree(*number));
    }
    let mut files = Vec::new();
    for content in tree.paths().filter_map(|path| tree.get(path)) {
        let bytes = content.read()?;
        let role = roles.get(&bytes).copied().unwrap_or(Unchecked::Configuration);
        files.extend(bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| (role, bytes)));
    }
    Ok(files)
}

/// A file: what it is, and its bytes.
pub(super) type Contents = (Unchecked, Arc<[u8]>);

/// Whose each sector of a card is.
pub(super) struct Owners {
    files: BTreeMap<u64, Unchecked>,
    fat: Range<u64>,
}

impl Owners {
    /// Looks for each of `files` on `card`, within `used`; `fat` are the sectors of a FAT file system.
    ///
    /// # Errors
    /// One is not there in one piece, or the card cannot be read.
    pub(super) fn find(
        files: &[Contents],
        card: &File,
        used: &[Range<u64>],
        fat: Range<u64>,
    ) -> Result<Self> {
        let sectors = read(card, used)?;
        let mut owners = BTreeMap::new();
        for (owner, bytes) in files {
            let pieces: Vec<_> = bytes.chunks(BYTES).map(padded).collect();
            let starts = places(&sectors, &pieces);
            ensure!(!starts.is_empty(), "{owner:?} is not in one piece on the card");
            for start in starts {
                owners.extend((start..).zip(&pieces).map(|(sector, _)| (sector, *owner)));
            }
        }
        Ok(Self { files: owners, fat })
    }

    /// Whose the sectors are, from `start` on, that held `before` and hold something else now.
    pub(super) fn altered(&self, start: u64, before: &[u8], now: &[u8]) -> BTreeSet<Unchecked> {
        let pieces = before.chunks(BYTES).zip(now.chunks(BYTES));
        let altered = (start..).zip(pieces).filter(|(_, (before, now))| before != now);
        altered.filter_map(|(sector, _)| self.of(sector)).collect()
    }

    fn of(&self, sector: u64) -> Option<Unchecked> {
        let file = self.files.get(&sector).copied();
        file.or_else(|| self.fat.contains(&sector).then_some(Unchecked::Fat))
    }
}

fn read(card: &File, used: &[Range<u64>]) -> Result<BTreeMap<u64, Sector>> {
    let mut sectors = BTreeMap::new();
    for number in used.iter().cloned().flatten() {
        let mut sector = [0; BYTES];
        card.read_exact_at(&mut sector, number * SECTOR)?;
        sectors.insert(number, sector);
    }
    Ok(sectors)
}

fn padded(piece: &[u8]) -> Sector {
    let mut sector = [0; BYTES];
    sector[..piece.len()].copy_from_slice(piece);
    sector
}

/// The first of consecutive sectors that hold `pieces`, wherever they do.
fn places(sectors: &BTreeMap<u64, Sector>, pieces: &[Sector]) -> Vec<u64> {
    // What is not among them is a hole in the card's file.
    let at = |number| sectors.get(&number).unwrap_or(&[0; BYTES]);
    let begins = |(_, sector): &(&u64, &Sector)| pieces.first() == Some(sector);
    let goes_on = |start: &u64| (*start..).zip(pieces).all(|(number, piece)| at(number) == piece);
    sectors.iter().filter(begins).map(|(start, _)| *start).filter(goes_on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Filling;

    const KERNEL: Unchecked = Unchecked::Kernel(42);
    const INITRD: Unchecked = Unchecked::Initrd(42);

    fn noise(seed: u64, length: u64) -> Arc<[u8]> {
        Filling::Noise(seed).bytes(length).into()
    }

    /// A kernel in the sectors 10 to 12, an initrd that begins alike in 20 to 22 and again in 30 to 32;
    /// a FAT file system up to 40.
    fn card() -> (File, Vec<Contents>) {
        let kernel = noise(1, 2 * SECTOR + 100);
        let initrd: Arc<[u8]> = [&kernel[..512], &noise(2, 2 * SECTOR)[..]].concat().into();
        let card = tempfile::tempfile().expect("a file");
        card.set_len(100 * SECTOR).expect("room");
        for (start, bytes) in [(10, &kernel), (20, &initrd), (30, &initrd)] {
            card.write_all_at(bytes, start * SECTOR).expect("room");
        }
        (card, vec![(KERNEL, kernel), (INITRD, initrd)])
    }

    fn owners() -> Owners {
        let (card, files) = card();
        Owners::find(&files, &card, &[0..50, 60..70], 5..40).expect("all files")
    }

    #[test]
    fn what_is_altered_is_known_by_the_file_that_has_the_sector() {
        let owners = owners();
        let flipped = |start, sectors: usize| {
            owners.altered(start, &vec![0; sectors * 512], &vec![1; sectors * 512])
        };
        assert_eq!(flipped(10, 3), [KERNEL].into());
        assert_eq!(flipped(20, 1), [INITRD].into(), "although it begins like the kernel");
        assert_eq!(flipped(32, 1), [INITRD].into(), "wherever it is");
        assert_eq!(flipped(12, 2), [KERNEL, Unchecked::Fat].into());
        assert_eq!(flipped(39, 2), [Unchecked::Fat].into());
        assert_eq!(flipped(40, 60), [].into());
    }

    #[test]
    fn bytes_that_hold_what_they_held_are_not_altered() {
        let mut now = vec![7; 3 * 512];
        assert_eq!(owners().altered(10, &vec![7; 3 * 512], &now), [].into());
        now[2 * 512] = 8;
        assert_eq!(owners().altered(8, &vec![7; 3 * 512], &now), [KERNEL].into());
        assert_eq!(owners().altered(7, &vec![7; 3 * 512], &now), [Unchecked::Fat].into());
    }

    #[test]
    fn a_file_that_is_not_there_in_one_piece_is_an_error() {
        let (card, files) = card();
        card.write_all_at(b"x", 11 * SECTOR).expect("room");
        let found = Owners::find(&files, &card, &[0..20, 20..50], 0..0).map(drop);
        let error = found.expect_err("a kernel in pieces");
        assert!(error.to_string().starts_with("Kernel(42)"), "{error}");
    }
}
