//! A FIT image without its files: one pass over the structure block, which skips what they take.

use alloc::{vec, vec::Vec};

use super::{Error, Fit};
use crate::{
    devicetree::{self, DeviceTree, ErrorKind, HEADER_SIZE},
    fs::File,
};

/// Bytes that an outline may have: some hundred device trees take 100 KiB.
pub const MAX_OUTLINE: usize = 256 * 1024;
/// Bytes that are read at once.
const PIECE: u64 = 4096;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// Bytes of the entry that ends the memory reservations.
const NO_RESERVATIONS: usize = 16;
/// Bytes of what stands in place of a file: where it is and how long, in eight bytes each.
const REFERENCE: u32 = 16;

/// The tree of a FIT image, in which each `data` is a reference to the bytes in the file.
///
/// So each `data` that is read later was written here: nothing in the file can pass for one.
pub struct Outline {
    tree: Vec<u8>,
    external: u64,
    file_size: u64,
}

impl Outline {
    /// Reads the tree of `file`, in time linear in its size and with no more than [`MAX_OUTLINE`]
    /// bytes to keep.
    pub fn read(file: &mut dyn File) -> Result<Self, Error> {
        let file_size = file.size();
        let header = Header::read(file)?;
        if file_size < header.total_size {
            return Err(Error::Truncated { expected: header.total_size, found: file_size });
        }
        let strings = header.strings(file)?;
        let structure = header.structure(file, &strings)?;
        Ok(Self {
            tree: header.tree(&structure, &strings),
            external: header.total_size.next_multiple_of(4),
            file_size,
        })
    }

    /// What it says.
    pub fn fit(&self) -> Result<Fit<'_>, Error> {
        Fit::new(DeviceTree::validate(&self.tree)?, self.external, self.file_size)
    }
}

/// Takes apart what stands in place of a file: where it is and how long, in bytes.
pub(super) fn reference(value: &[u8]) -> Option<(u64, u64)> {
    let (position, size) = value.split_first_chunk()?;
    Some((u64::from_be_bytes(*position), u64::from_be_bytes(size.try_into().ok()?)))
}

/// The fields of the header (Devicetree Specification v0.4, 5.2) that matter here.
struct Header {
    total_size: u64,
    structure: u64,
    structure_size: u64,
    strings: u64,
    strings_size: u64,
    /// `version`, `last_comp_version`.
    versions: [u32; 2],
}

impl Header {
    fn read(file: &mut dyn File) -> Result<Self, Error> {
        let mut bytes = [0; HEADER_SIZE];
        if file.size() < HEADER_SIZE as u64 {
            return Err(broken(ErrorKind::TooShort, file.size()));
        }
        file.read_at(0, &mut bytes)?;
        let field = |index: usize| {
            let [b0, b1, b2, b3] = [0, 1, 2, 3].map(|byte| bytes[4 * index + byte]);
            u32::from_be_bytes([b0, b1, b2, b3])
        };
        if field(0) != MAGIC {
            return Err(broken(ErrorKind::Magic(field(0)), 0));
        }
        let size = |index| u64::from(field(index));
        let header = Self {
            total_size: size(1),
            structure: size(2),
            strings: size(3),
            versions: [field(5), field(6)],
            strings_size: size(8),
            structure_size: size(9),
        };
        let inside = |start: u64, size| start + size <= header.total_size;
        if !inside(header.structure, header.structure_size) {
            return Err(broken(ErrorKind::BlockOutside, 8));
        }
        if !inside(header.strings, header.strings_size) {
            return Err(broken(ErrorKind::BlockOutside, 12));
        }
        Ok(header)
    }

    fn strings(&self, file: &mut dyn File) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(self.strings_size).ok().filter(|&size| size <= MAX_OUTLINE);
        let mut strings = vec![0; size.ok_or(Error::TooLarge)?];
        file.read_at(self.strings, &mut strings)?;
        Ok(strings)
    }

    /// The structure block with references.
    fn structure(&self, file: &mut dyn File, strings: &[u8]) -> Result<Vec<u8>, Error> {
        let mut words = Words {
            position: self.structure,
            end: self.structure + self.structure_size,
            file,
            buffer: Vec::new(),
            buffer_start: 0,
        };
        let mut outline = Vec::new();
        loop {
            if outline.len() + strings.len() > MAX_OUTLINE {
                return Err(Error::TooLarge);
            }
            let start = words.position;
            let tag = words.next()?;
            put(&mut outline, tag);
            match tag {
                // A name ends in the word that holds a zero.
                BEGIN_NODE => {
                    while outline.len() <= MAX_OUTLINE {
                        let word = words.next()?;
                        put(&mut outline, word);
                        if word.to_be_bytes().contains(&0) {
                            break;
                        }
                    }
                }
                PROPERTY => {
                    let (size, name) = (words.next()?, words.next()?);
                    if is_data(strings, name) {
                        put(&mut outline, REFERENCE);
                        put(&mut outline, name);
                        outline.extend(words.position.to_be_bytes());
                        outline.extend(u64::from(size).to_be_bytes());
                        words.skip(size)?;
                    } else {
                        if size as usize > MAX_OUTLINE {
                            return Err(Error::TooLarge);
                        }
                        put(&mut outline, size);
                        put(&mut outline, name);
                        for _ in 0..size.div_ceil(4) {
                            put(&mut outline, words.next()?);
                        }
                    }
                }
                END_NODE | NOP => {}
                END => return Ok(outline),
                other => return Err(broken(ErrorKind::Token(other), start)),
            }
        }
    }

    /// A tree of these blocks. Whether it is one, is for [`DeviceTree::validate`] to say.
    fn tree(&self, structure: &[u8], strings: &[u8]) -> Vec<u8> {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let structure_start = HEADER_SIZE + NO_RESERVATIONS;
        let strings_start = structure_start + structure.len();
        let size = strings_start + strings.len();
        let mut tree = Vec::with_capacity(size);
        for field in [
            MAGIC,
            number(size),
            number(structure_start),
            number(strings_start),
            number(HEADER_SIZE),
            self.versions[0],
            self.versions[1],
            0,
            number(strings.len()),
            number(structure.len()),
        ] {
            put(&mut tree, field);
        }
        tree.resize(structure_start, 0);
        tree.extend(structure);
        tree.extend(strings);
        tree
    }
}

fn put(outline: &mut Vec<u8>, word: u32) {
    outline.extend(word.to_be_bytes());
}

/// Whether the name at this offset is `data`.
fn is_data(strings: &[u8], name: u32) -> bool {
    strings.get(name as usize..).is_some_and(|name| name.starts_with(b"data\0"))
}

fn broken(kind: ErrorKind, offset: u64) -> Error {
    Error::Tree(devicetree::Error { kind, offset: usize::try_from(offset).unwrap_or(usize::MAX) })
}

/// The structure block as words.
struct Words<'f> {
    file: &'f mut dyn File,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where the buffer's bytes are in the file.
    buffer_start: u64,
}

impl Words<'_> {
    fn next(&mut self) -> Result<u32, Error> {
        if let Some(word) = self.buffered() {
            self.position += 4;
            return Ok(word);
        }
        let left = self.end.saturating_sub(self.position);
        if left < 4 {
            return Err(broken(ErrorKind::CutOff, self.position));
        }
        self.buffer.resize(usize::try_from(left.min(PIECE)).unwrap_or(0), 0);
        self.file.read_at(self.position, &mut self.buffer)?;
        self.buffer_start = self.position;
        let word = self.buffered().ok_or(broken(ErrorKind::CutOff, self.position))?;
        self.position += 4;
        Ok(word)
    }

    fn buffered(&self) -> Option<u32> {
        let offset = usize::try_from(self.position.checked_sub(self.buffer_start)?).ok()?;
        self.buffer.get(offset..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// Passes over a value.
    fn skip(&mut self, size: u32) -> Result<(), Error> {
        let next = self.position + u64::from(size).next_multiple_of(4);
        if next > self.end {
            return Err(broken(ErrorKind::ValueOutside, self.position));
        }
        self.position = next;
        Ok(())
    }
}
