//! flash.bin: what the boot ROM, the first stage and the host's tools agree on.
//!
//! The boot ROM loads the front of the image, described by a [`rom::Header`], into on-chip memory:
//! the first stage and the DRAM training firmware. A [`container::Container`] behind the first
//! stage tells it where that firmware lies; a second one, at a fixed place of the image, lists BL31,
//! OP-TEE and the second stage with their digests. docs/flash-image.md has the format.
//!
//! [`rom`], [`container`] and [`target`] allocate nothing: the first stage uses them. [`build`],
//! [`fit`] and [`inspect`] are for the host.

#![forbid(unsafe_code)]

pub mod build;
pub mod container;
pub mod fit;
pub mod flexspi;
pub mod inspect;
pub mod rom;
pub mod target;
pub mod training;

use core::fmt;

use crate::error::{Code, Coded};
use container::PartKind;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// What is wrong with a boot image, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Bytes from the start of the image.
    pub offset: u64,
}

/// What can be wrong with a boot image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No header of the boot ROM here; the word found.
    NoRomHeader(u32),
    /// A field of the boot ROM's header that it would not accept.
    RomHeader {
        /// Its name.
        field: &'static str,
        /// What it holds.
        found: u32,
        /// What it should hold.
        wanted: u32,
    },
    /// No container here; the first bytes found.
    NoContainer([u8; 8]),
    /// A container of another version; the one found.
    Version(u16),
    /// A field of a container's header that cannot be.
    Container {
        /// Its name.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// The container's own digest does not match.
    Checksum,
    /// The container was made for another place, which it names.
    Misplaced(u32),
    /// The container is of the other role.
    Role(u16),
    /// The image was made for another board.
    Board,
    /// The bytes end before the image does.
    Truncated {
        /// Bytes that there should be.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A part of a kind that must be understood and is not.
    UnknownPart(u16),
    /// The same kind of part twice.
    Duplicate(PartKind),
    /// A part does not lie where parts may lie in the image.
    PartOutside(PartKind),
    /// Two parts share bytes of the image or of memory.
    Overlap(PartKind, PartKind),
    /// A part would be loaded to, or entered at, a place that is not for it.
    Placement {
        /// The part.
        part: PartKind,
        /// The address.
        address: u64,
    },
    /// A part is missing.
    Missing(PartKind),
    /// A part's bytes do not have the part's digest.
    Digest(PartKind),
    /// A part is larger than the room for it.
    TooLarge {
        /// The part; none for the whole image.
        part: Option<PartKind>,
        /// Its size in bytes.
        size: u64,
        /// The room in bytes.
        room: u64,
    },
    /// A file that cannot be this part, and why.
    Unsuitable(PartKind, &'static str),
}

impl Error {
    /// `kind` at `offset`.
    pub(crate) fn at(offset: impl Into<u64>, kind: ErrorKind) -> Self {
        Self { kind, offset: offset.into() }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.kind {
            ErrorKind::NoRomHeader(_) | ErrorKind::NoContainer(_) => Code::NotABootImage,
            ErrorKind::Truncated { .. } => Code::BootImageTruncated,
            ErrorKind::RomHeader { .. } | ErrorKind::Container { .. } | ErrorKind::Checksum => {
                Code::BootImageHeader
            }
            ErrorKind::Digest(_) => Code::BootImageDigest,
            ErrorKind::Version(_)
            | ErrorKind::Misplaced(_)
            | ErrorKind::Role(_)
            | ErrorKind::Board
            | ErrorKind::UnknownPart(_) => Code::BootImageForeign,
            ErrorKind::PartOutside(_)
            | ErrorKind::Overlap(..)
            | ErrorKind::Placement { .. }
            | ErrorKind::Duplicate(_) => Code::BootImagePlacement,
            ErrorKind::Missing(_) => Code::BootImageIncomplete,
            ErrorKind::TooLarge { .. } => Code::BootImageTooLarge,
            ErrorKind::Unsuitable(..) => Code::BootImageInput,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::NoRomHeader(found) => write!(
                f,
                "no header of the boot ROM, but {found:#010x} instead of {:#010x}",
                rom::TAG
            ),
            ErrorKind::RomHeader { field, found, wanted } => write!(
                f,
                "the boot ROM's header has {field} {found:#010x} where {wanted:#010x} belongs"
            ),
            ErrorKind::NoContainer(found) => {
                write!(f, "no container, but \"{}\"", found.escape_ascii())
            }
            ErrorKind::Version(found) => write!(
                f,
                "a container of version {found}; this program knows version {}",
                container::VERSION
            ),
            ErrorKind::Container { field, found } => {
                write!(f, "the container's header has an impossible {field}: {found:#x}")
            }
            ErrorKind::Checksum => f.write_str("the container's header does not have its digest"),
            ErrorKind::Misplaced(names) => {
                write!(f, "this container belongs to offset {names:#x}")
            }
            ErrorKind::Role(found) => write!(f, "a container of role {found}"),
            ErrorKind::Board => f.write_str("the image was made for another board"),
            ErrorKind::Truncated { needed, found } => {
                write!(f, "truncated: {found} bytes of {needed}")
            }
            ErrorKind::UnknownPart(kind) => {
                write!(f, "a part of unknown kind {kind:#x}, marked as essential")
            }
            ErrorKind::Duplicate(part) => write!(f, "{part} twice"),
            ErrorKind::PartOutside(part) => write!(f, "{part} does not lie in the image"),
            ErrorKind::Overlap(one, other) => write!(f, "{one} and {other} overlap"),
            ErrorKind::Placement { part, address } => {
                write!(f, "{part} at address {address:#x}, which is not for it")
            }
            ErrorKind::Missing(part) => write!(f, "{part} is missing"),
            ErrorKind::Digest(part) => write!(f, "{part} does not have its digest"),
            ErrorKind::TooLarge { part: Some(part), size, room } => {
                write!(f, "{part} has {size} bytes, there is room for {room}")
            }
            ErrorKind::TooLarge { part: None, size, room } => {
                write!(f, "the image has {size} bytes, there is room for {room}")
            }
            ErrorKind::Unsuitable(part, why) => return write!(f, "not {part}: {why}"),
        }?;
        write!(f, ", at offset {:#x}", self.offset)
    }
}

impl core::error::Error for Error {}

/// The little-endian number at `offset`, if there is one.
fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// The little-endian number at `offset`, if there is one.
fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// The little-endian number at `offset`, if there is one.
fn le64(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}
