//! An arm64 `Image`, or what else it is.
//!
//! Decides from the first [`HEAD_SIZE`] bytes and the file's size, before anything is loaded, and
//! again from the loaded bytes. Of a packed kernel the first unpacked bytes serve, and in place of
//! the file's size what the header says of the memory that it needs.
//!
//! Source: Linux `Documentation/arch/arm64/booting.rst` (header, page sizes, kernels before 3.17).

#![forbid(unsafe_code)]

use core::fmt;

use super::{
    foreign::Foreign,
    package::Package,
    pe::{self, array},
};
use crate::{
    error::{Code, Coded},
    memory::Size,
};

/// Bytes from the start of the file that [`KernelImage::inspect`] wants; all of a smaller file.
/// The section table of every kernel seen ends within the first KiB.
pub const HEAD_SIZE: usize = 4096;

/// Bytes of the arm64 header.
const HEADER_SIZE: usize = 64;
/// `ARM\x64` at offset 56.
const MAGIC: [u8; 4] = *b"ARM\x64";
/// Where kernels before 3.17, whose header tells nothing, want to be.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;
/// Room behind the file of such a kernel for what its header does not tell: BSS and the first page
/// tables. Theirs needed less than 4 MiB.
const OLD_EXTRA: u64 = 16 << 20;
/// The kernel is linked in pages; an image at another offset could not address its own data.
const TEXT_OFFSET_UNIT: u64 = 4096;

/// An arm64 kernel that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// Bytes to load; of a packed kernel, the fewest that it must unpack to.
    pub file_size: u64,
    /// Bytes, from the start of the image on, that belong to the kernel: file, BSS and early page
    /// tables. Never less than `file_size`.
    pub memory_size: u64,
    /// Where the image starts behind a 2 MiB boundary, in bytes. May be more than 2 MiB.
    pub text_offset: u64,
    /// Whether the file's own tables prove that it is complete. Kernels built without an EFI stub
    /// have none.
    pub proven_complete: bool,
}

impl KernelImage {
    /// Judges a file by its first bytes: [`HEAD_SIZE`] of them, or all if it is smaller.
    pub fn inspect(head: &[u8], file_size: u64) -> Result<Self, Error> {
        if file_size == 0 || head.is_empty() {
            return Err(Error::Empty);
        }
        let Some(header) = Header::parse(head) else {
            return Err(not_an_image(head, file_size));
        };
        header.check()?;
        let expected = pe::sections_end(head);
        if let Some(expected) = expected
            && file_size < expected
        {
            return Err(Error::Truncated { expected, found: file_size });
        }
        let (text_offset, image_size) = match header.image_size {
            0 => (OLD_TEXT_OFFSET, file_size.saturating_add(OLD_EXTRA)),
            size => (header.text_offset, size),
        };
        Ok(Self {
            file_size,
            memory_size: image_size.max(file_size),
            text_offset,
            proven_complete: expected.is_some(),
        })
    }

    /// Judges a packed kernel by the first [`HEAD_SIZE`] bytes that it unpacks to, or all if there
    /// are no more. It may unpack to `memory_size` bytes at most: more would be written over what
    /// is not the kernel's.
    pub fn inspect_packed(head: &[u8]) -> Result<Self, Error> {
        let Some(header) = Header::parse(head) else {
            return Err(not_an_image(head, head.len() as u64));
        };
        header.check()?;
        let Header { image_size: memory_size, text_offset, .. } = header;
        if memory_size == 0 {
            return Err(Error::NoImageSize);
        }
        let sections_end = pe::sections_end(head);
        let file_size = sections_end.unwrap_or(HEADER_SIZE as u64);
        if memory_size < file_size {
            return Err(Error::ImageSize { image_size: memory_size, sections_end: file_size });
        }
        Ok(Self { file_size, memory_size, text_offset, proven_complete: sections_end.is_some() })
    }

    /// Judges a packed kernel once more by all that it has unpacked to.
    pub fn verify_packed(&self, unpacked: &[u8]) -> Result<(), Error> {
        let found = unpacked.len() as u64;
        if found < self.file_size {
            return Err(Error::Truncated { expected: self.file_size, found });
        }
        match Self::inspect_packed(&unpacked[..unpacked.len().min(HEAD_SIZE)]) {
            Ok(image) if image == *self => Ok(()),
            _ => Err(Error::Changed),
        }
    }

    /// Judges the file once more where it has been loaded: memory that is not there, or a card that
    /// gives other bytes on a second read, shows here rather than as a silent board.
    pub fn verify(&self, loaded: &[u8]) -> Result<(), Error> {
        let head = &loaded[..loaded.len().min(HEAD_SIZE)];
        match Self::inspect(head, loaded.len() as u64) {
            Ok(image) if image == *self => Ok(()),
            _ => Err(Error::Changed),
        }
    }
}

/// Whether a file with this beginning has the header of an arm64 Image.
pub fn is_image(head: &[u8]) -> bool {
    Header::parse(head).is_some()
}

/// The fields of the arm64 header that matter here.
struct Header {
    text_offset: u64,
    image_size: u64,
    flags: u64,
}

impl Header {
    /// The header, if the magic number is there.
    fn parse(head: &[u8]) -> Option<Self> {
        if head.len() < HEADER_SIZE || array(head, 56)? != MAGIC {
            return None;
        }
        Some(Self {
            text_offset: u64::from_le_bytes(array(head, 8)?),
            image_size: u64::from_le_bytes(array(head, 16)?),
            flags: u64::from_le_bytes(array(head, 24)?),
        })
    }

    /// Whether a kernel that says this of itself runs on this processor.
    fn check(&self) -> Result<(), Error> {
        if self.flags & 1 != 0 {
            return Err(Error::BigEndian);
        }
        // The Cortex-A53 of all i.MX 8M translates in granules of 4 and 64 KiB (its TRM,
        // ID_AA64MMFR0_EL1); a kernel built for 16 KiB stops before it can print anything.
        if self.flags >> 1 & 3 == 2 {
            return Err(Error::PageSize);
        }
        if self.image_size != 0 && !self.text_offset.is_multiple_of(TEXT_OFFSET_UNIT) {
            return Err(Error::TextOffset(self.text_offset));
        }
        Ok(())
    }
}

fn not_an_image(head: &[u8], file_size: u64) -> Error {
    if let Some(name) = Package::name(head) {
        return Error::Packed(name);
    }
    match Foreign::recognise(head) {
        Some(foreign) => Error::Foreign(foreign),
        None if head.len() < HEADER_SIZE => Error::TooShort { size: file_size },
        None if head.iter().all(|&byte| byte == 0) => Error::Zeros,
        None => Error::Unknown,
    }
}

/// Why a file is no kernel that can be booted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No bytes.
    Empty,
    /// Too short for a header.
    TooShort {
        /// Bytes in the file.
        size: u64,
    },
    /// All zeros where the header should be.
    Zeros,
    /// Something else, by name.
    Foreign(Foreign),
    /// Something else that is not known either.
    Unknown,
    /// Shorter than its section table says.
    Truncated {
        /// Bytes that the sections need.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// For the other byte order.
    BigEndian,
    /// For 16 KiB pages.
    PageSize,
    /// The header's text_offset cannot be.
    TextOffset(u64),
    /// Something packed, by name, where an Image should be: in another package, above all.
    Packed(&'static str),
    /// An EFI zboot kernel that is compressed with something unknown.
    ZbootCompression,
    /// A packed kernel that does not say how much memory it needs.
    NoImageSize,
    /// A packed kernel that contradicts itself.
    ImageSize {
        /// Bytes of memory that it asks for.
        image_size: u64,
        /// Bytes that its sections need.
        sections_end: u64,
    },
    /// A packed kernel that unpacks to more bytes than it asks for.
    TooLarge {
        /// Bytes that it asks for.
        image_size: u64,
    },
    /// A packed kernel that unpacks to another size than its package says.
    UnpackedSize {
        /// Bytes by the package.
        expected: u64,
        /// Bytes that came out.
        found: u64,
    },
    /// In memory the image is not what its file was.
    Changed,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Foreign(_) | Self::Unknown => Code::KernelNotArm64,
            Self::Empty
            | Self::TooShort { .. }
            | Self::Zeros
            | Self::Truncated { .. }
            | Self::Changed => Code::KernelTruncated,
            Self::BigEndian | Self::PageSize | Self::TextOffset(_) => Code::KernelUnsupported,
            Self::Packed(_) | Self::ZbootCompression | Self::NoImageSize => Code::KernelPackage,
            Self::ImageSize { .. } | Self::TooLarge { .. } | Self::UnpackedSize { .. } => {
                Code::CompressedDamaged
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code().summary())?;
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::TooShort { size } => {
                write!(f, "{size} bytes are less than the {HEADER_SIZE} of a header")
            }
            Self::Zeros => {
                f.write_str("the file begins with zeros; was the power cut before sync?")
            }
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::Unknown => f.write_str("no known format; there is no ARM\\x64 at offset 0x38"),
            Self::Truncated { expected, found } => write!(
                f,
                "it has {found} bytes of {expected} ({} missing); copy it again",
                Size(expected - found)
            ),
            Self::BigEndian => f.write_str("it is big-endian"),
            Self::PageSize => f.write_str(
                "it is built for 16 KiB pages, which a Cortex-A53 does not have; \
                 set CONFIG_ARM64_4K_PAGES",
            ),
            Self::TextOffset(offset) => {
                write!(f, "text_offset {offset:#x} in its header is not a multiple of 4 KiB")
            }
            Self::Packed(name) => write!(
                f,
                "{name} where the arm64 Image should be; one layer is unpacked, so unpack the \
                 others"
            ),
            Self::ZbootCompression => f.write_str(
                "an EFI zboot kernel (vmlinuz.efi) that is compressed with something unknown; use \
                 gzip, zstd, lz4, xz, lzma or lzo",
            ),
            Self::NoImageSize => f.write_str(
                "its header does not say how much memory it needs, as before Linux 3.17; unpack \
                 it and boot the Image",
            ),
            Self::ImageSize { image_size, sections_end } => write!(
                f,
                "its header asks for {image_size} bytes of memory, its sections need \
                 {sections_end}"
            ),
            Self::TooLarge { image_size } => write!(
                f,
                "it unpacks to more than the {image_size} bytes of memory that its header asks for"
            ),
            Self::UnpackedSize { expected, found } => {
                write!(f, "it unpacks to {found} bytes of {expected}; copy it again")
            }
            Self::Changed => f.write_str(
                "in memory it differs from what was read first; is the card or the memory bad?",
            ),
        }
    }
}

impl core::error::Error for Error {}
