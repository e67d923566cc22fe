//! LZ4: its frames (`lz4_Frame_format.md`) and the legacy ones of `lz4 -l`, which is what the
//! kernel's makefiles use, around blocks (`lz4_Block_format.md`) by `lz4_flex`, with the destination
//! as their window.
//!
//! `lz4_flex` wants a block as one slice, and gives either all of what it holds or nothing. So a
//! block that comes in pieces, and the one that does not fit into the destination, take memory of
//! their own: at most twice the frame's block size (64 KiB to 4 MiB, 8 MiB in legacy frames).

use alloc::vec::Vec;
use core::hash::Hasher as _;

use lz4_flex::block::{DecompressError, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::stream::{CHECKSUM, Failure, IMPOSSIBLE, Input, NO_MAGIC, Output, SIZE, reserve};

const MAGIC: u32 = 0x184d_2204;
const LEGACY_MAGIC: u32 = 0x184c_2102;
/// What a block of a legacy frame holds, the last one excepted.
const LEGACY_BLOCK: usize = 8 << 20;
/// How far back a block may refer.
const WINDOW: usize = 64 << 10;

/// All frames; whether they came to their end.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    let mut memory = Memory::default();
    let mut magic = u32::from_le_bytes(input.array()?);
    loop {
        let ended = match magic {
            MAGIC => frame(&mut memory, input, output)?,
            LEGACY_MAGIC => legacy_frame(&mut memory, input, output)?,
            magic if is_skippable(magic) => {
                let size = u32::from_le_bytes(input.array()?);
                input.skip(u64::from(size))?;
                End::Frame(None)
            }
            _ => return Err(NO_MAGIC),
        };
        magic = match ended {
            End::DestinationFull => return Ok(false),
            End::Stream => return Ok(true),
            End::Frame(Some(next)) => next,
            End::Frame(None) => {
                let is_frame = |bytes| {
                    let magic = u32::from_le_bytes(bytes);
                    [MAGIC, LEGACY_MAGIC].contains(&magic) || is_skippable(magic)
                };
                match input.another(is_frame, output.written())? {
                    Some(next) => u32::from_le_bytes(next),
                    None => return Ok(true),
                }
            }
        };
    }
}

/// How a frame ends.
enum End {
    /// There is more, but no room.
    DestinationFull,
    /// With the stream.
    Stream,
    /// Before another frame: its magic number, if that was read.
    Frame(Option<u32>),
}

fn is_skippable(magic: u32) -> bool {
    magic & !0xf == 0x184d_2a50
}

/// Buffers that blocks share.
#[derive(Default)]
struct Memory {
    compressed: Vec<u8>,
    decompressed: Vec<u8>,
}

/// What a frame's header says.
struct Header {
    independent: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

impl Header {
    /// Behind the magic number.
    fn read(input: &mut Input<'_>) -> Result<Self, Failure> {
        let mut bytes = [0; 10];
        input.read_exact(&mut bytes[..2])?;
        let [flags, sizes, ..] = bytes;
        if flags >> 6 != 1 || flags & 1 << 1 != 0 || sizes & 0x8f != 0 {
            return Err(Failure::Unsupported("a frame of a later version"));
        }
        if flags & 1 != 0 {
            return Err(Failure::Unsupported("a dictionary"));
        }
        let has_size = flags & 1 << 3 != 0;
        let length = if has_size { 10 } else { 2 };
        input.read_exact(&mut bytes[2..length])?;
        let check = XxHash32::oneshot(0, &bytes[..length]).to_le_bytes();
        if input.byte()? != check[1] {
            return Err(CHECKSUM);
        }
        let [_, _, size @ ..] = bytes;
        Ok(Self {
            independent: flags & 1 << 5 != 0,
            block_checksums: flags & 1 << 4 != 0,
            content_checksum: flags & 1 << 2 != 0,
            content_size: has_size.then(|| u64::from_le_bytes(size)),
            block_max: match sizes >> 4 {
                4 => 64 << 10,
                5 => 256 << 10,
                6 => 1 << 20,
                7 => 4 << 20,
                _ => return Err(IMPOSSIBLE),
            },
        })
    }
}

fn frame(
    memory: &mut Memory,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<End, Failure> {
    const STORED: u32 = 1 << 31;
    let header = Header::read(input)?;
    let start = output.written();
    let mut content = XxHash32::with_seed(0);
    loop {
        let word = u32::from_le_bytes(input.array()?);
        if word == 0 {
            break;
        }
        let block_start = output.written();
        let block = Block {
            size: (word & !STORED) as usize,
            stored: word & STORED != 0,
            max: header.block_max,
            window: if header.independent { block_start } else { start },
            checksum: header.block_checksums,
        };
        if block.size > header.block_max {
            return Err(SIZE);
        }
        let fits = block.unpack(memory, input, output)?;
        if !fits {
            return Ok(End::DestinationFull);
        }
        if header.content_checksum {
            content.write(output.since(block_start));
        }
    }
    let size = (output.written() - start) as u64;
    if header.content_checksum && u32::from_le_bytes(input.array()?) != content.finish_32() {
        return Err(CHECKSUM);
    }
    if header.content_size.is_some_and(|expected| expected != size) {
        return Err(SIZE);
    }
    Ok(End::Frame(None))
}

/// A legacy frame has no end of its own: the stream ends, or another frame begins, or the kernel's
/// makefiles have appended the size.
fn legacy_frame(
    memory: &mut Memory,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<End, Failure> {
    // The block format's own bound for what cannot be compressed.
    const COMPRESSED_MAX: usize = LEGACY_BLOCK + LEGACY_BLOCK / 255 + 16;
    loop {
        let mut word = [0; 4];
        let count = input.read(&mut word)?;
        let number = u32::from_le_bytes(word);
        let size = number as usize;
        let at_end = count < word.len() || input.peek()?.is_empty();
        if at_end || size == 0 {
            input.expect_end(&word[..count], output.written())?;
            return Ok(End::Stream);
        }
        if [MAGIC, LEGACY_MAGIC].contains(&number) || is_skippable(number) {
            return Ok(End::Frame(Some(number)));
        }
        if size > COMPRESSED_MAX {
            return Err(SIZE);
        }
        let window = output.written();
        let block = Block { size, stored: false, max: LEGACY_BLOCK, window, checksum: false };
        if !block.unpack(memory, input, output)? {
            return Ok(End::DestinationFull);
        }
    }
}

/// A block behind its size.
struct Block {
    /// Bytes that it takes in the stream.
    size: usize,
    /// They are what it holds.
    stored: bool,
    /// Bytes that it may hold.
    max: usize,
    /// Where in the output the bytes begin that it may refer to.
    window: usize,
    /// A checksum of its bytes follows them.
    checksum: bool,
}

impl Block {
    /// Whether the destination took all of it.
    fn unpack(
        &self,
        memory: &mut Memory,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<bool, Failure> {
        let at_hand = input.peek()?.len() >= self.size;
        if !at_hand {
            let bytes = reserve(&mut memory.compressed, self.size)?;
            input.read_exact(bytes)?;
        }
        let bytes = match at_hand {
            true => input.peek()?,
            false => &memory.compressed,
        };
        let bytes = &bytes[..self.size];
        let checksum = self.checksum.then(|| XxHash32::oneshot(0, bytes));
        let fits = match self.stored {
            true => output.write(bytes),
            false => self.decompress(bytes, &mut memory.decompressed, output)?,
        };
        if at_hand {
            input.consume(self.size);
        }
        if let Some(checksum) = checksum
            && u32::from_le_bytes(input.array()?) != checksum
        {
            return Err(CHECKSUM);
        }
        Ok(fits)
    }

    fn decompress(
        &self,
        bytes: &[u8],
        memory: &mut Vec<u8>,
        output: &mut Output<'_>,
    ) -> Result<bool, Failure> {
        let window = self.window.max(output.written().saturating_sub(WINDOW));
        let (window, rest) = output.split(window);
        let room = rest.len().min(self.max);
        match decompress_into_with_dict(bytes, &mut rest[..room], window) {
            Ok(count) => {
                output.advance(count);
                Ok(true)
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < self.max => {
                let block = reserve(memory, self.max)?;
                let count = decompress_into_with_dict(bytes, block, window).map_err(failure)?;
                Ok(output.write(&block[..count]))
            }
            Err(error) => Err(failure(error)),
        }
    }
}

fn failure(error: DecompressError) -> Failure {
    match error {
        DecompressError::OutputTooSmall { .. } => SIZE,
        _ => IMPOSSIBLE,
    }
}
