//! Small real file systems with damaged fields.
//!
//! Random bytes hardly ever are a file system, and a flipped bit mostly hits a file's contents. So an
//! input says which field of which structure holds what, and checksums can be made right again, so
//! that what a structure says is looked at.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use firn::{
    block::{
        BLOCK_SIZE, BlockDevice, Error, ErrorKind, SharedDevice, cache::Cache, volume::Volume,
    },
    fs::{FileSystem, FileType, mount},
};

use crate::input::Input;

#[allow(missing_docs, reason = "the tests' own, documented as far as they need it")]
#[path = "../../tests/disk/mod.rs"]
mod fixtures;

pub use fixtures::Image;

/// More than any of the images needs, even if each block is read alone.
const COMMANDS: u64 = 20_000;
/// Damage in more places finds nothing new.
const MOST_PATCHES: usize = 24;
/// Deeper than the images; a damaged directory may contain itself.
const DEPTH: usize = 6;
/// Names that are looked at for one input: more of it is slow, and another input begins elsewhere.
const VISITS: usize = 10;
/// Bytes of a file that are read.
const READ_SIZE: u64 = 20_000;

/// A kind of structure: where there are such, and what each holds.
pub struct Structure {
    /// Bytes from the start of the image.
    pub places: Vec<u64>,
    /// Offset within, and bytes.
    pub fields: &'static [(u16, u8)],
    /// As journals have it.
    pub big_endian: bool,
}

/// An image and what can be damaged in it.
pub struct Specimen {
    image: Rc<Image>,
    structures: Vec<Structure>,
}

/// Images that are unpacked when they are first asked for.
pub struct Specimens<const COUNT: usize> {
    packed: [&'static [u8]; COUNT],
    find: fn(&Image) -> Vec<Structure>,
    unpacked: [OnceCell<Specimen>; COUNT],
}

impl<const COUNT: usize> Specimens<COUNT> {
    /// Of packed images; `find` finds the structures of each.
    pub fn new(packed: [&'static [u8]; COUNT], find: fn(&Image) -> Vec<Structure>) -> Self {
        Self { packed, find, unpacked: [const { OnceCell::new() }; COUNT] }
    }

    /// The image of this number.
    pub fn get(&self, which: usize) -> &Specimen {
        self.unpacked[which].get_or_init(|| Specimen::new(self.packed[which], self.find))
    }
}

impl Specimen {
    /// Of a packed image; `find` finds its structures. What they leave out can be damaged word by
    /// word.
    fn new(packed: &[u8], find: fn(&Image) -> Vec<Structure>) -> Self {
        const WORD: &[(u16, u8)] = &[(0, 4), (0, 2), (2, 2), (0, 1), (1, 1)];
        let image = Image::unpack(packed);
        let mut structures = find(&image);
        let places: Vec<_> =
            image.literal_blocks().into_iter().flat_map(|block| words(&image, block)).collect();
        structures.push(Structure { places: places.clone(), fields: WORD, big_endian: false });
        structures.push(Structure { places, fields: WORD, big_endian: true });
        Self { image: Rc::new(image), structures }
    }

    /// The image, not damaged.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image as it was, and as it says; whether anything differs.
    pub fn damaged(&self, input: &mut Input<'_>) -> (Card, bool) {
        let mut card =
            Card { image: Rc::clone(&self.image), changed: BTreeMap::new(), commands: 0 };
        for _ in 0..MOST_PATCHES {
            if input.is_empty() {
                break;
            }
            self.patch(&mut card, input);
        }
        let is_changed = !card.changed.is_empty();
        (card, is_changed)
    }

    fn patch(&self, card: &mut Card, input: &mut Input<'_>) {
        let structure = &self.structures[usize::from(input.byte()) % self.structures.len()];
        let (place, field) = (usize::from(input.u16()), usize::from(input.byte()));
        let (operation, operand) = (input.byte(), input.u32());
        if structure.places.is_empty() {
            return;
        }
        let place = structure.places[place % structure.places.len()];
        let (offset, size) = structure.fields[field % structure.fields.len()];
        let (at, size) = (place + u64::from(offset), usize::from(size));
        let before = card.bytes(at, size);
        let number = before.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let after = match operation % 6 {
            0 => operand,
            1 => number.wrapping_add(operand % 16),
            2 => number.wrapping_sub(operand % 16),
            3 => number ^ 1 << (operand % 32),
            4 => u32::MAX << (operand % 32),
            // What another of its kind has.
            _ => {
                let other = structure.places[operand as usize % structure.places.len()];
                let bytes = card.bytes(other + u64::from(offset), size);
                return card.write(at, &bytes);
            }
        };
        let bytes = after.to_le_bytes();
        let mut bytes = bytes[..size].to_vec();
        if structure.big_endian {
            bytes.reverse();
        }
        card.write(at, &bytes);
    }
}

/// Where the words of a block are that are not zero.
fn words(image: &Image, number: u64) -> Vec<u64> {
    let block = image.block(number);
    let words = (number * 512..).step_by(4).zip(block.chunks_exact(4));
    words.filter(|(_, word)| *word != [0; 4]).map(|(at, _)| at).collect()
}

/// An image with changed blocks, which counts what is asked of it.
pub struct Card {
    image: Rc<Image>,
    changed: BTreeMap<u64, [u8; BLOCK_SIZE]>,
    commands: u64,
}

impl Card {
    /// What lies at `at`, in bytes; nothing lies behind the end.
    pub fn bytes(&self, at: u64, size: usize) -> Vec<u8> {
        let (first, within) = (at / 512, (at % 512) as usize);
        let mut bytes = Vec::with_capacity((within + size).next_multiple_of(512));
        for number in (first..).take((within + size).div_ceil(512)) {
            bytes.extend_from_slice(&self.block(number));
        }
        bytes.truncate(within + size);
        bytes.drain(..within);
        bytes
    }

    /// Whether the block that holds `at` differs from the image's.
    pub fn is_changed(&self, at: u64) -> bool {
        self.changed.contains_key(&(at / 512))
    }

    /// Overwrites bytes; what would lie behind the end is dropped.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            let number = at / 512;
            if number < self.image.block_count {
                let mut block = self.block(number);
                block[(at % 512) as usize] = *byte;
                self.changed.insert(number, block);
            }
        }
    }

    fn block(&self, number: u64) -> [u8; BLOCK_SIZE] {
        let changed = self.changed.get(&number).copied();
        changed.unwrap_or_else(|| self.image.block(number))
    }

    /// Behind a cache, as the loader has it.
    pub fn cached(self) -> SharedDevice {
        Rc::new(RefCell::new(Cache::new(self)))
    }
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        "card"
    }

    fn block_count(&self) -> u64 {
        self.image.block_count
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.commands += 1;
        assert!(self.commands < COMMANDS, "endless reading");
        let blocks = (destination.len() / BLOCK_SIZE) as u64;
        if first_block.checked_add(blocks).is_none_or(|end| end > self.image.block_count) {
            let kind = ErrorKind::OutOfRange;
            return Err(Error { kind, device: "card".into(), block: first_block });
        }
        for (number, part) in (first_block..).zip(destination.chunks_exact_mut(BLOCK_SIZE)) {
            part.copy_from_slice(&self.block(number));
        }
        Ok(())
    }
}

/// Does what a loader does, with what it finds on `card`, beginning with this name of a directory; how
/// many names there are.
pub fn explore(card: Card, first: u8) -> usize {
    match mount(Volume::whole(card.cached())) {
        Ok(mut fs) => {
            assert!(!fs.kind().is_empty());
            let _ = fs.label();
            let mut walk = Walk { fs: &mut *fs, first: first.into(), visits: 0 };
            walk.directory("", DEPTH);
            walk.visits
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            0
        }
    }
}

struct Walk<'a> {
    fs: &'a mut dyn FileSystem,
    first: usize,
    visits: usize,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &str, depth: usize) {
        let root = if directory.is_empty() { "/" } else { directory };
        let Ok(entries) = self.fs.read_dir(root) else { return };
        for index in 0..entries.len() {
            let entry = &entries[(index + self.first) % entries.len()];
            assert!(is_name(&entry.name), "{:?} in {root:?}", entry.name);
            self.visits += 1;
            if self.visits > VISITS {
                return;
            }
            let path = format!("{directory}/{}", entry.name);
            match entry.file_type {
                FileType::Link => {
                    let _ = self.fs.link_modified(&path);
                    if let Ok(target) = self.fs.read_link(&path) {
                        assert!(target.len() <= 4096, "a link to {} bytes", target.len());
                    }
                }
                FileType::Directory if depth > 0 => self.directory(&path, depth - 1),
                _ => {}
            }
            read_file(self.fs, &path);
        }
    }
}

/// One name, which leads nowhere else.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Reads the front of a file. What is read does not depend on how.
fn read_file(fs: &mut dyn FileSystem, path: &str) {
    let metadata = fs.metadata(path);
    let Ok(mut file) = fs.open(path) else { return };
    let size = file.size();
    if let Ok(metadata) = metadata {
        assert_eq!((metadata.file_type, metadata.size), (FileType::File, size), "{path}");
    }
    assert!(file.read_at(size, &mut [0]).is_err(), "{path}: a byte behind its end");
    let length = size.min(READ_SIZE) as usize;
    let mut whole = vec![0; length];
    let is_read = file.read_at(0, &mut whole).is_ok();
    let middle = length / 2;
    let mut rest = vec![0xa5; length - middle];
    if is_read && file.read_at(middle as u64, &mut rest).is_ok() {
        assert!(whole[middle..] == rest, "{path}: read in pieces, it is another file");
    }
    let _ = file.read_at(size - rest.len() as u64, &mut rest);
}
