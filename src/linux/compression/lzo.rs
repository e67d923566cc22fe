//! lzop's files (as lzop 1.04 and the kernel's `lib/decompress_unlzo.c` have them) around blocks of
//! LZO1X by `lzokay`. Blocks do not refer to each other; one that comes in pieces, and the one that
//! does not fit into the destination, take memory of their own: at most two blocks.

use alloc::vec::Vec;

use adler2::adler32_slice;
use lzokay::decompress::decompress;

use super::stream::{CHECKSUM, Failure, IMPOSSIBLE, Input, NO_MAGIC, Output, SIZE, reserve};
use crate::linux::checksum::crc32;

const MAGIC: [u8; 9] = *b"\x89LZO\0\r\n\x1a\n";
/// lzop's block size, and the most that the kernel takes.
const BLOCK_MAX: usize = 256 << 10;
/// The first version whose header tells which version is needed, and the level.
const VERSION_LEVEL: u16 = 0x0940;

/// The header's flags.
mod flag {
    pub(super) const ADLER32_DECOMPRESSED: u32 = 1;
    pub(super) const ADLER32_COMPRESSED: u32 = 1 << 1;
    pub(super) const EXTRA_FIELD: u32 = 1 << 6;
    pub(super) const CRC32_DECOMPRESSED: u32 = 1 << 8;
    pub(super) const CRC32_COMPRESSED: u32 = 1 << 9;
    pub(super) const MULTIPART: u32 = 1 << 10;
    pub(super) const FILTER: u32 = 1 << 11;
    pub(super) const HEADER_CRC32: u32 = 1 << 12;
}

/// All of a file; whether it came to its end.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    if input.array()? != MAGIC {
        return Err(NO_MAGIC);
    }
    let flags = header(input)?;
    let mut compressed = Vec::new();
    let mut decompressed = Vec::new();
    loop {
        let size = u32::from_be_bytes(input.array()?) as usize;
        if size == 0 {
            input.expect_end(&[], output.written())?;
            return Ok(true);
        }
        let block = Block::read(size, flags, input)?;
        let bytes = reserve(&mut compressed, block.stored)?;
        input.read_exact(bytes)?;
        block.compressed.check(bytes)?;
        let fits = output.rest().len() >= size;
        let room = match fits {
            true => &mut output.rest()[..size],
            false => reserve(&mut decompressed, size)?,
        };
        match bytes.len() == size {
            true => room.copy_from_slice(bytes),
            false if decompress(bytes, room) == Ok(size) => {}
            false => return Err(IMPOSSIBLE),
        }
        block.decompressed.check(room)?;
        if !fits {
            output.write(&decompressed[..size]);
            return Ok(false);
        }
        output.advance(size);
    }
}

/// The header behind the magic number; its flags.
fn header(input: &mut Input<'_>) -> Result<u32, Failure> {
    // The longest: 28 bytes and a name.
    let mut bytes = Checked { input, bytes: [0; 320], length: 0 };
    let version = u16::from_be_bytes(bytes.take()?);
    // The library's version.
    bytes.take::<2>()?;
    let has_level = version >= VERSION_LEVEL;
    if has_level {
        bytes.take::<2>()?;
    }
    let [method] = bytes.take()?;
    if has_level {
        bytes.take::<1>()?;
    }
    let flags = u32::from_be_bytes(bytes.take()?);
    if flags & (flag::FILTER | flag::MULTIPART) != 0 || !(1..=3).contains(&method) {
        return Err(Failure::Unsupported("a method or flag of lzop other than those of kernels"));
    }
    // Mode, and time of change in 4 or 8 bytes.
    bytes.take::<8>()?;
    if has_level {
        bytes.take::<4>()?;
    }
    let [name] = bytes.take()?;
    for _ in 0..name {
        bytes.take::<1>()?;
    }
    let checksum = match flags & flag::HEADER_CRC32 {
        0 => adler32_slice(&bytes.bytes[..bytes.length]),
        _ => crc32(&bytes.bytes[..bytes.length]),
    };
    if u32::from_be_bytes(input.array()?) != checksum {
        return Err(CHECKSUM);
    }
    if flags & flag::EXTRA_FIELD != 0 {
        let size = u32::from_be_bytes(input.array()?);
        // And its checksum.
        input.skip(u64::from(size) + 4)?;
    }
    Ok(flags)
}

/// Bytes that are read and kept for a checksum.
struct Checked<'i, 's> {
    input: &'i mut Input<'s>,
    bytes: [u8; 320],
    length: usize,
}

impl Checked<'_, '_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let bytes = self.input.array()?;
        let end = self.length + N;
        self.bytes.get_mut(self.length..end).ok_or(SIZE)?.copy_from_slice(&bytes);
        self.length = end;
        Ok(bytes)
    }
}

/// A block's header.
struct Block {
    /// Bytes in the stream; as many as it holds if it is not compressed.
    stored: usize,
    decompressed: Checksums,
    compressed: Checksums,
}

impl Block {
    /// Behind the number of bytes that it holds.
    fn read(size: usize, flags: u32, input: &mut Input<'_>) -> Result<Self, Failure> {
        let stored = u32::from_be_bytes(input.array()?) as usize;
        if size > BLOCK_MAX || stored > size || stored == 0 {
            return Err(SIZE);
        }
        let mut checksum = |flag| match flags & flag {
            0 => Ok(None),
            _ => input.array().map(u32::from_be_bytes).map(Some),
        };
        let decompressed = Checksums {
            adler32: checksum(flag::ADLER32_DECOMPRESSED)?,
            crc32: checksum(flag::CRC32_DECOMPRESSED)?,
        };
        let compressed = match stored < size {
            true => Checksums {
                adler32: checksum(flag::ADLER32_COMPRESSED)?,
                crc32: checksum(flag::CRC32_COMPRESSED)?,
            },
            false => Checksums { adler32: None, crc32: None },
        };
        Ok(Self { stored, decompressed, compressed })
    }
}

/// What the bytes of a block are to have.
struct Checksums {
    adler32: Option<u32>,
    crc32: Option<u32>,
}

impl Checksums {
    fn check(&self, bytes: &[u8]) -> Result<(), Failure> {
        let holds = self.adler32.is_none_or(|sum| sum == adler32_slice(bytes))
            && self.crc32.is_none_or(|sum| sum == crc32(bytes));
        holds.then_some(()).ok_or(CHECKSUM)
    }
}
