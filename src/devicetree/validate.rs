//! From any bytes to a [`DeviceTree`], or what is wrong and where.

use core::fmt;

use super::{
    DeviceTree, MAGIC, MAX_NAME, be32, is_name,
    tokens::{Token, Tokens, name_at},
};
use crate::error::{Code, Coded};

/// Bytes of the header; [`total_size`] needs no more.
pub const HEADER_SIZE: usize = 40;
/// The largest tree that is looked at, in bytes: what an arm64 kernel takes (Linux
/// `Documentation/arch/arm64/booting.rst`).
pub const MAX_SIZE: usize = 2 << 20;

/// The version of the format that is read and written, of 2002 and still the only one in use.
pub(super) const VERSION: u32 = 17;
/// Nodes in nodes, as Linux (`drivers/of/fdt.c`) has them.
pub(super) const MAX_DEPTH: usize = 64;
/// Bytes of an entry of the memory reservation block.
pub(super) const RESERVATION_SIZE: usize = 16;

/// The size that a tree claims in its first [`HEADER_SIZE`] bytes: for the tree of the stage
/// before, of which only the address is known. At most [`MAX_SIZE`].
pub fn total_size(header: &[u8]) -> Result<usize, Error> {
    let field = |offset| be32(header, offset).ok_or(Error::new(ErrorKind::TooShort, header.len()));
    let magic = field(0)?;
    if magic != MAGIC {
        return Err(Error::new(ErrorKind::Magic(magic), 0));
    }
    let size = field(4)? as usize;
    match size {
        ..HEADER_SIZE => Err(Error::new(ErrorKind::TooShort, 4)),
        HEADER_SIZE..=MAX_SIZE => Ok(size),
        _ => Err(Error::new(ErrorKind::TooLarge { size }, 4)),
    }
}

impl<'a> DeviceTree<'a> {
    /// Checks all that later reading and editing relies on, in one pass. Bytes behind the tree's
    /// own size are ignored.
    pub fn validate(bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(Layout::check(bytes)?.of(bytes))
    }
}

/// Where the blocks of a tree lie that was found good.
pub(super) struct Layout {
    reservations: Block,
    structure: Block,
    strings: Block,
    boot_cpu: u32,
}

impl Layout {
    /// The tree in `bytes`: those that were checked, or the same with other values of properties.
    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> DeviceTree<'a> {
        DeviceTree {
            reservations: self.reservations.of(bytes),
            structure: self.structure.of(bytes),
            strings: self.strings.of(bytes),
            boot_cpu: self.boot_cpu,
            extents: &[],
        }
    }

    /// See [`DeviceTree::validate`].
    pub(super) fn check(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < HEADER_SIZE {
            return Err(Error::new(ErrorKind::TooShort, bytes.len()));
        }
        let size = total_size(bytes)?;
        let found = bytes.len();
        let bytes = bytes.get(..size).ok_or(Error::new(ErrorKind::Truncated { size, found }, 4))?;
        let header = Header { bytes };
        header.check_version()?;
        let mut structure = header.block(8, 36, 4)?;
        let strings = header.block(12, 32, 1)?;
        let reservations = header.reservations()?;
        for (one, other) in
            [(structure, strings), (structure, reservations), (strings, reservations)]
        {
            one.check_apart_from(other)?;
        }
        let size = check_structure(structure.of(bytes), strings.of(bytes))
            .map_err(|(kind, offset)| Error::new(kind, structure.start + offset))?;
        structure.end = structure.start + size;
        let boot_cpu = be32(bytes, 28).unwrap_or(0);
        Ok(Self { reservations, structure, strings, boot_cpu })
    }
}

/// The tree's bytes as its header sees them. There are at least [`HEADER_SIZE`].
struct Header<'a> {
    bytes: &'a [u8],
}

impl Header<'_> {
    fn field(&self, offset: usize) -> Result<usize, Error> {
        match be32(self.bytes, offset) {
            Some(value) => Ok(value as usize),
            None => Err(Error::new(ErrorKind::TooShort, offset)),
        }
    }

    fn check_version(&self) -> Result<(), Error> {
        let (version, compatible) = (self.field(20)?, self.field(24)?);
        if version < VERSION as usize || compatible > VERSION as usize {
            return Err(Error::new(ErrorKind::Version { version, compatible }, 20));
        }
        Ok(())
    }

    /// The block whose offset and size stand in the given fields.
    fn block(&self, offset_at: usize, size_at: usize, alignment: usize) -> Result<Block, Error> {
        let (start, size) = (self.field(offset_at)?, self.field(size_at)?);
        if !start.is_multiple_of(alignment) || !size.is_multiple_of(alignment) {
            return Err(Error::new(ErrorKind::BlockUnaligned, offset_at));
        }
        match start.checked_add(size) {
            Some(end) if start >= HEADER_SIZE && end <= self.bytes.len() => {
                Ok(Block { start, end, field: offset_at })
            }
            _ => Err(Error::new(ErrorKind::BlockOutside, offset_at)),
        }
    }

    /// The entries of the memory reservation block without the one that ends it.
    fn reservations(&self) -> Result<Block, Error> {
        const FIELD: usize = 16;
        let start = self.field(FIELD)?;
        if start < HEADER_SIZE {
            return Err(Error::new(ErrorKind::BlockOutside, FIELD));
        }
        if !start.is_multiple_of(8) {
            return Err(Error::new(ErrorKind::BlockUnaligned, FIELD));
        }
        let mut end = start;
        loop {
            match self.bytes.get(end..end + RESERVATION_SIZE) {
                Some(entry) if entry.iter().all(|&byte| byte == 0) => break,
                Some(_) => end += RESERVATION_SIZE,
                None => return Err(Error::new(ErrorKind::ReservationsUnterminated, end)),
            }
        }
        Ok(Block { start, end, field: FIELD })
    }
}

/// Where a block lies, and which field of the header says so.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    end: usize,
    field: usize,
}

impl Block {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.end]
    }

    fn check_apart_from(&self, other: Self) -> Result<(), Error> {
        if self.start < other.end && other.start < self.end {
            return Err(Error::new(ErrorKind::BlocksOverlap, other.field));
        }
        Ok(())
    }
}

/// Follows all tokens and names; returns where the structure ends. Offsets are the structure
/// block's.
fn check_structure(structure: &[u8], strings: &[u8]) -> Result<usize, (ErrorKind, usize)> {
    let mut tokens = Tokens::new(structure, 0);
    let all_names = are_names(strings);
    let mut depth = 0;
    let mut root_seen = false;
    let mut properties_may_follow = false;
    loop {
        let located = tokens.next()?;
        let fail = |kind| Err((kind, located.start));
        match located.token {
            Token::BeginNode { name } => {
                if depth == 0 && root_seen {
                    return fail(ErrorKind::SecondRoot);
                }
                let nameless_root = depth == 0 && name.is_empty();
                if !nameless_root && (!is_name(name) || name.contains(&b'/')) {
                    return fail(ErrorKind::Name);
                }
                if depth == MAX_DEPTH {
                    return fail(ErrorKind::TooDeep);
                }
                depth += 1;
                root_seen = true;
                properties_may_follow = true;
            }
            Token::EndNode if depth == 0 => return fail(ErrorKind::EndOutsideNode),
            Token::EndNode => {
                depth -= 1;
                properties_may_follow = false;
            }
            Token::Property { .. } if !properties_may_follow => {
                return fail(ErrorKind::PropertyOutside);
            }
            // The end of a name is one, too, unless it is empty.
            Token::Property { name_offset, .. }
                if all_names
                    && strings.get(name_offset as usize).is_some_and(|&byte| byte != 0) => {}
            Token::Property { name_offset, .. } => match name_at(strings, name_offset as usize) {
                Ok(name) if is_name(name) => {}
                Ok(_) => return fail(ErrorKind::Name),
                Err(kind) => return fail(kind),
            },
            Token::End if depth > 0 || !root_seen => return fail(ErrorKind::NodeUnterminated),
            Token::End => return Ok(located.end),
        }
    }
}

/// Whether all strings may name a property: then none need be looked at again. The strings of real
/// trees are, and each is used many times.
fn are_names(strings: &[u8]) -> bool {
    let mut length = 0;
    for byte in strings {
        match byte {
            0 if (1..=MAX_NAME).contains(&length) => length = 0,
            byte if byte.is_ascii_graphic() => length += 1,
            _ => return false,
        }
    }
    length == 0
}

/// A broken tree: what and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Bytes from the start of the tree.
    pub offset: usize,
}

impl Error {
    fn new(kind: ErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

/// What can be wrong with a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No room for a header.
    TooShort,
    /// Another magic number; the one found.
    Magic(u32),
    /// Larger than [`MAX_SIZE`].
    TooLarge {
        /// Bytes by its header.
        size: usize,
    },
    /// The bytes end before the tree does.
    Truncated {
        /// Bytes by its header.
        size: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// Not of version 17 nor compatible with it.
    Version {
        /// The tree's version.
        version: usize,
        /// The oldest version that it is compatible with.
        compatible: usize,
    },
    /// A block does not lie in the tree.
    BlockOutside,
    /// A block starts or ends in the middle of a word.
    BlockUnaligned,
    /// Two blocks share bytes.
    BlocksOverlap,
    /// The memory reservations have no end.
    ReservationsUnterminated,
    /// A word that is no token.
    Token(u32),
    /// The structure ends in the middle of a token.
    CutOff,
    /// A property's value does not lie in the structure.
    ValueOutside,
    /// A name does not lie in its block.
    NameOutside,
    /// A name has no end.
    NameUnterminated,
    /// A name has more than [`super::MAX_NAME`] bytes.
    NameTooLong,
    /// A name is empty or has characters that names do not have.
    Name,
    /// A property that follows a node rather than its node's beginning.
    PropertyOutside,
    /// A node ends that has not begun.
    EndOutsideNode,
    /// The tree ends in the middle of a node.
    NodeUnterminated,
    /// Nodes in nodes beyond what Linux takes.
    TooDeep,
    /// A second root.
    SecondRoot,
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::DeviceTreeCorrupt
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code().summary())?;
        match self.kind {
            ErrorKind::TooShort => f.write_str("too short for a header"),
            ErrorKind::Magic(found) => {
                write!(f, "it begins with {found:#010x} instead of {MAGIC:#010x}")
            }
            ErrorKind::TooLarge { size } => {
                write!(f, "{size} bytes by its header, the kernel takes at most {MAX_SIZE}")
            }
            ErrorKind::Truncated { size, found } => {
                write!(f, "truncated, {found} bytes of {size}")
            }
            ErrorKind::Version { version, compatible } => {
                write!(f, "version {version} (compatible with {compatible}) instead of {VERSION}")
            }
            ErrorKind::BlockOutside => f.write_str("a block lies outside of the tree"),
            ErrorKind::BlockUnaligned => f.write_str("a block is unaligned"),
            ErrorKind::BlocksOverlap => f.write_str("two blocks overlap"),
            ErrorKind::ReservationsUnterminated => f.write_str("memory reservations without end"),
            ErrorKind::Token(found) => write!(f, "{found:#010x} is no token"),
            ErrorKind::CutOff => f.write_str("the structure ends within a token"),
            ErrorKind::ValueOutside => f.write_str("a property's value exceeds the structure"),
            ErrorKind::NameOutside => f.write_str("a property's name lies outside of the strings"),
            ErrorKind::NameUnterminated => f.write_str("a name without end"),
            ErrorKind::NameTooLong => f.write_str("a name is too long"),
            ErrorKind::Name => f.write_str("a name with impossible characters"),
            ErrorKind::PropertyOutside => f.write_str("a property outside of its node's beginning"),
            ErrorKind::EndOutsideNode => f.write_str("a node ends that has not begun"),
            ErrorKind::NodeUnterminated => f.write_str("the structure ends within a node"),
            ErrorKind::TooDeep => write!(f, "more than {MAX_DEPTH} nodes in each other"),
            ErrorKind::SecondRoot => f.write_str("a second root"),
        }?;
        write!(f, ", at offset {:#x}", self.offset)
    }
}

impl core::error::Error for Error {}
