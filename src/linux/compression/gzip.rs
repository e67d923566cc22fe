//! gzip: RFC 1952 around RFC 1951, which is `miniz_oxide`'s, with the destination as its window.

use alloc::boxed::Box;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

use super::stream::{CHECKSUM, Failure, IMPOSSIBLE, Input, NO_MAGIC, Output, SIZE};
use crate::linux::checksum::crc32_digest;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const METHOD_DEFLATE: u8 = 8;

/// RFC 1952, 2.3.1: header flags.
mod flag {
    pub(super) const HEADER_CRC: u8 = 1 << 1;
    pub(super) const EXTRA: u8 = 1 << 2;
    pub(super) const NAME: u8 = 1 << 3;
    pub(super) const COMMENT: u8 = 1 << 4;
    pub(super) const RESERVED: u8 = 0b1110_0000;
}

/// All members; whether they came to their end.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    if input.array()? != MAGIC {
        return Err(NO_MAGIC);
    }
    let mut inflate = Box::new(DecompressorOxide::new());
    loop {
        skip_header(input)?;
        inflate.init();
        if !member(&mut inflate, input, output)? {
            return Ok(false);
        }
        if input.another(|magic| magic == MAGIC, output.written())?.is_none() {
            return Ok(true);
        }
    }
}

/// Passes over a member's header behind the magic number.
fn skip_header(input: &mut Input<'_>) -> Result<(), Failure> {
    // Time, compression level and system of origin follow.
    let [method, flags, ..] = input.array::<8>()?;
    if method != METHOD_DEFLATE || flags & flag::RESERVED != 0 {
        return Err(Failure::Damaged("an unknown method or flag"));
    }
    if flags & flag::EXTRA != 0 {
        let size = u16::from_le_bytes(input.array()?);
        input.skip(u64::from(size))?;
    }
    for text in [flag::NAME, flag::COMMENT] {
        while flags & text != 0 && input.byte()? != 0 {}
    }
    if flags & flag::HEADER_CRC != 0 {
        input.array::<2>()?;
    }
    Ok(())
}

/// One member from its first deflate block to its trailer; whether the destination took all of it.
fn member(
    inflate: &mut DecompressorOxide,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<bool, Failure> {
    const FLAGS: u32 = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let start = output.written();
    let mut checksum = crc32_digest();
    loop {
        let size = output.written() - start;
        let (status, consumed, produced) =
            decompress(inflate, input.peek()?, output.from(start), size, FLAGS);
        input.consume(consumed);
        checksum.update(output.advance(produced));
        match status {
            TINFLStatus::Done => break,
            // Also said of a full destination when only input lacks; the trailer is never read ahead.
            TINFLStatus::HasMoreOutput if input.peek()?.is_empty() => {
                return Err(Failure::Truncated);
            }
            TINFLStatus::HasMoreOutput if consumed == 0 => return Ok(false),
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if consumed == 0 && produced == 0 => {
                return Err(Failure::Truncated);
            }
            TINFLStatus::NeedsMoreInput => {}
            _ => return Err(IMPOSSIBLE),
        }
    }
    let size = (output.written() - start) as u64;
    if u32::from_le_bytes(input.array()?) != checksum.finalize() {
        return Err(CHECKSUM);
    }
    // RFC 1952, 2.3.1: modulo 2^32.
    if u64::from(u32::from_le_bytes(input.array()?)) != size & u64::from(u32::MAX) {
        return Err(SIZE);
    }
    Ok(true)
}
