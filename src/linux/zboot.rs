//! EFI zboot: a kernel as an EFI program that unpacks itself (`vmlinuz.efi`).
//!
//! The program is not run: its header says where the packed Image lies, and that is all it takes.
//!
//! Sources: Linux `drivers/firmware/efi/libstub/zboot-header.S` (header) and `Makefile.zboot` (names
//! of the compressions; the size of the Image, little-endian in four bytes behind the payload, or in
//! its last four bytes where gzip has them anyway).

#![forbid(unsafe_code)]

use core::ops::Range;

use super::{
    compression::Compression,
    foreign::Foreign,
    image::Error,
    pe::{self, array},
};

/// `MZ\0\0zimg`.
const MAGIC: [u8; 8] = *b"MZ\0\0zimg";
/// The compression's name, up to the magic number of the PE header's offset.
const NAME: Range<usize> = 24..0x38;
/// Bytes of the Image's size.
const SIZE_LENGTH: u64 = 4;

/// What the header of a zboot kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zboot {
    /// The packed Image, in bytes of the file.
    pub payload: Range<u64>,
    /// What it is packed with.
    pub compression: Compression,
    /// Where in the file its unpacked size stands, little-endian in four bytes.
    pub size_at: u64,
}

impl Zboot {
    /// Whether the file begins as a zboot kernel does, for whatever processor.
    pub(super) fn is(head: &[u8]) -> bool {
        head.starts_with(&MAGIC)
    }

    /// Reads the header of a file of `file_size` bytes.
    pub(super) fn parse(head: &[u8], file_size: u64) -> Result<Self, Error> {
        let cut_off = Error::TooShort { size: file_size };
        let machine = pe::machine(head).ok_or(cut_off)?;
        if machine != pe::ARM64 {
            return Err(Error::Foreign(Foreign::EfiZboot(pe::machine_name(machine))));
        }
        let field = |offset| array(head, offset).map(u32::from_le_bytes).ok_or(cut_off);
        let (start, length) = (u64::from(field(8)?), u64::from(field(12)?));
        let name = head.get(NAME).and_then(|name| name.split(|&byte| byte == 0).next());
        let name = core::str::from_utf8(name.unwrap_or_default()).unwrap_or_default();
        let compression = Compression::from_name(name).ok_or(Error::ZbootCompression)?;
        let end = start + length;
        let size_at = match compression {
            Compression::Gzip => end.saturating_sub(SIZE_LENGTH),
            _ => end,
        };
        let expected = size_at + SIZE_LENGTH;
        if file_size < expected {
            return Err(Error::Truncated { expected, found: file_size });
        }
        Ok(Self { payload: start..end, compression, size_at })
    }
}
