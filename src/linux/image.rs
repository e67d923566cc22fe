//! The kernel file: an arm64 `Image`, or what else it is.
//!
//! Decides from the first [`HEAD_SIZE`] bytes and the file's size, before anything is loaded, and
//! again from the loaded bytes.
//!
//! Sources: Linux `Documentation/arch/arm64/booting.rst` (header, page sizes, kernels before 3.17),
//! the PE/COFF specification (section table), Linux `Documentation/arch/x86/boot.rst`,
//! `drivers/firmware/efi/libstub/zboot-header.S` and each container's own magic number.

#![forbid(unsafe_code)]

use core::fmt;

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
    /// Bytes to load.
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
        let expected = sections_end(head);
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

/// Where the last byte ends that the PE section table of a kernel with EFI stub speaks of.
fn sections_end(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let coff = pe_header(head)?;
    let sections = u16::from_le_bytes(array(head, coff + 6)?);
    let optional_header_size = u16::from_le_bytes(array(head, coff + 20)?);
    let table = coff + 24 + usize::from(optional_header_size);
    let mut end = 0;
    for section in 0..usize::from(sections) {
        let entry = table + 40 * section;
        let raw_size = u32::from_le_bytes(array(head, entry + 16)?);
        let raw_offset = u32::from_le_bytes(array(head, entry + 20)?);
        end = end.max(u64::from(raw_offset) + u64::from(raw_size));
    }
    (end > 0).then_some(end)
}

/// Offset of `PE\0\0`.
fn pe_header(head: &[u8]) -> Option<usize> {
    let offset = u32::from_le_bytes(array(head, 0x3c)?) as usize;
    (array(head, offset)? == *b"PE\0\0").then_some(offset)
}

/// `N` bytes at `offset`, if there are so many.
fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn not_an_image(head: &[u8], file_size: u64) -> Error {
    match Format::recognise(head) {
        Some(format) => Error::Foreign(format),
        None if head.len() < HEADER_SIZE => Error::TooShort { size: file_size },
        None if head.iter().all(|&byte| byte == 0) => Error::Zeros,
        None => Error::Unknown,
    }
}

/// What a file in the kernel's place is, if not an arm64 `Image`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A compressed file; the name of the format.
    Compressed(&'static str),
    /// A self-decompressing EFI kernel (`vmlinuz.efi`) for the named processor.
    EfiZboot(&'static str),
    /// An EFI program that is no kernel, for the named processor.
    EfiApplication(&'static str),
    /// A kernel of an x86 machine.
    X86BzImage,
    /// A 32-bit Arm kernel.
    Arm32ZImage,
    /// A RISC-V kernel.
    RiscvImage,
    /// A device tree or a FIT image, which have the same beginning.
    DeviceTreeOrFit,
    /// U-Boot's legacy image.
    LegacyUImage,
    /// An ELF file for the named processor.
    Elf(&'static str),
    /// An Android boot image.
    AndroidBoot,
    /// A cpio archive: an initrd.
    Cpio,
    /// A script or other text.
    Text,
}

impl Format {
    /// What the first bytes are a sign of.
    fn recognise(head: &[u8]) -> Option<Self> {
        const BY_BEGINNING: &[(&[u8], Format)] = &[
            (b"\x1f\x8b", Format::Compressed("gzip")),
            (b"\x28\xb5\x2f\xfd", Format::Compressed("zstd")),
            (b"\x04\x22\x4d\x18", Format::Compressed("lz4")),
            (b"\x02\x21\x4c\x18", Format::Compressed("lz4 (legacy frame)")),
            (b"\xfd7zXZ\0", Format::Compressed("xz")),
            (b"BZh", Format::Compressed("bzip2")),
            (b"\x5d\0\0", Format::Compressed("lzma")),
            (b"\x89LZO\0\r\n\x1a\n", Format::Compressed("lzo")),
            (b"\xd0\x0d\xfe\xed", Format::DeviceTreeOrFit),
            (b"\x27\x05\x19\x56", Format::LegacyUImage),
            (b"ANDROID!", Format::AndroidBoot),
            (b"070701", Format::Cpio),
            (b"070702", Format::Cpio),
        ];
        let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|b| b.starts_with(magic));
        if let Some((_, format)) = BY_BEGINNING.iter().find(|(magic, _)| starts(0, magic)) {
            return Some(*format);
        }
        if starts(0, b"\x7fELF") {
            return Some(Self::Elf(elf_machine(u16::from_le_bytes(array(head, 18)?))));
        }
        if starts(0x202, b"HdrS") {
            return Some(Self::X86BzImage);
        }
        if starts(0x24, b"\x18\x28\x6f\x01") || starts(0x24, b"\x01\x6f\x28\x18") {
            return Some(Self::Arm32ZImage);
        }
        if starts(0x38, b"RSC\x05") {
            return Some(Self::RiscvImage);
        }
        if starts(0, b"MZ")
            && let Some(coff) = pe_header(head)
        {
            let machine = pe_machine(u16::from_le_bytes(array(head, coff + 4)?));
            return Some(match starts(4, b"zimg") {
                true => Self::EfiZboot(machine),
                false => Self::EfiApplication(machine),
            });
        }
        let sample = &head[..head.len().min(HEADER_SIZE)];
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        sample.iter().all(is_text).then_some(Self::Text)
    }
}

/// The processor of an ELF file.
fn elf_machine(number: u16) -> &'static str {
    match number {
        3 => "x86",
        40 => "32-bit Arm",
        62 => "x86-64",
        183 => "arm64",
        243 => "RISC-V",
        _ => "another processor",
    }
}

/// The processor of a PE file.
fn pe_machine(number: u16) -> &'static str {
    match number {
        0x014c => "x86",
        0x01c0 | 0x01c2 | 0x01c4 => "32-bit Arm",
        0x8664 => "x86-64",
        0xaa64 => "arm64",
        0x5032 | 0x5064 => "RISC-V",
        0x6232 | 0x6264 => "LoongArch",
        _ => "another processor",
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed(name) => {
                write!(f, "{name}-compressed; this release boots plain Images, decompress it")
            }
            Self::EfiZboot(machine) => write!(
                f,
                "an EFI zboot kernel (vmlinuz.efi) for {machine}; this release boots plain Images"
            ),
            Self::EfiApplication(machine) => {
                write!(f, "an EFI program for {machine} without an arm64 Image in it")
            }
            Self::X86BzImage => f.write_str("an x86 bzImage; build the system for aarch64-linux"),
            Self::Arm32ZImage => {
                f.write_str("a 32-bit Arm zImage; build the system for aarch64-linux")
            }
            Self::RiscvImage => f.write_str("a RISC-V kernel; build the system for aarch64-linux"),
            Self::DeviceTreeOrFit => {
                f.write_str("a device tree or FIT image; this release boots plain Images")
            }
            Self::LegacyUImage => {
                f.write_str("a legacy U-Boot uImage; this release boots plain Images")
            }
            Self::Elf(machine) => {
                write!(f, "an ELF file for {machine}; use arch/arm64/boot/Image, not vmlinux")
            }
            Self::AndroidBoot => {
                f.write_str("an Android boot image; this release boots plain Images")
            }
            Self::Cpio => f.write_str("a cpio archive; are kernel and initrd exchanged?"),
            Self::Text => f.write_str("text"),
        }
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
    Foreign(Format),
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
            Self::Foreign(format) => format.fmt(f),
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
            Self::Changed => f.write_str(
                "in memory it differs from what was read first; is the card or the memory bad?",
            ),
        }
    }
}

impl core::error::Error for Error {}
