//! Zstandard: the frames of RFC 8878, their blocks by `structured-zstd`'s workspace decoder, which
//! allocates nothing and bounds what it is given.
//!
//! That decoder keeps a window of its own, as large as the frame's header says: 128 MiB for what the
//! kernel's makefiles make (`zstd --ultra -22` of a pipe). No block can refer to more than has been
//! decompressed, which is at most the destination and the block that exceeds it; so the decoder is
//! given a header that says this where it is less. Nothing else of the frame changes: blocks may
//! have [`BLOCK_MAX`] bytes under both windows, or as many as the smaller one that is kept.

use alloc::vec::Vec;

use structured_zstd::decoding::workspace::{
    DecodeLimits, LimitExceeded, MalformedInput, StepState, WorkBudget, WorkspaceDecodeError,
    WorkspaceDecoder, workspace_bytes,
};

use super::stream::{CHECKSUM, Failure, IMPOSSIBLE, Input, NO_MAGIC, Output, SIZE, reserve};

const MAGIC: u32 = 0xfd2f_b528;
/// RFC 8878, 3.1.1.2.4: what a block may hold at most.
const BLOCK_MAX: u64 = 128 << 10;

/// All frames; whether they came to their end.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    let mut workspace = Vec::new();
    let mut magic = input.array()?;
    loop {
        match u32::from_le_bytes(magic) {
            MAGIC => {
                if !frame(&mut workspace, input, output)? {
                    return Ok(false);
                }
            }
            magic if is_skippable(magic) => {
                let size = u32::from_le_bytes(input.array()?);
                input.skip(u64::from(size))?;
            }
            _ => return Err(NO_MAGIC),
        }
        let is_frame = |bytes| {
            let magic = u32::from_le_bytes(bytes);
            magic == MAGIC || is_skippable(magic)
        };
        match input.another(is_frame, output.written())? {
            Some(next) => magic = next,
            None => return Ok(true),
        }
    }
}

/// RFC 8878, 3.1.2.
fn is_skippable(magic: u32) -> bool {
    magic & !0xf == 0x184d_2a50
}

/// One frame behind its magic number; whether the destination took all of it.
fn frame(
    workspace: &mut Vec<u8>,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<bool, Failure> {
    let header = Header::read(input)?;
    let reach = (output.rest().len() as u64).saturating_add(BLOCK_MAX);
    let window = Window::at_least(header.window.min(reach));

    let size = workspace_bytes(window.size()).map_err(|_| Failure::NoMemory(window.size()))?;
    let workspace = reserve(workspace, size)?;
    let limits = DecodeLimits::new(window.size());
    let decoder =
        WorkspaceDecoder::new(workspace, limits).map_err(|_| Failure::NoMemory(size as u64))?;
    let mut blocks = Blocks { decoder, work: WorkBudget::new(u64::MAX), output };
    let (bytes, length) = header.encode(window);
    blocks.take(&bytes[..length])?;
    loop {
        let block = input.array()?;
        let (content, is_last) = block_content(block)?;
        if !blocks.take(&block)? || !blocks.take_from(input, content)? {
            return Ok(false);
        }
        if is_last {
            break;
        }
    }
    if header.checksum {
        blocks.take_from(input, 4)?;
    }
    blocks.finish()
}

/// RFC 8878, 3.1.1.2: bytes behind a block's header, and whether it is the last one.
fn block_content([low, middle, high]: [u8; 3]) -> Result<(usize, bool), Failure> {
    let header = u32::from_le_bytes([low, middle, high, 0]);
    let size = (header >> 3) as usize;
    let content = match header >> 1 & 3 {
        1 => 1,
        0 | 2 => size,
        _ => return Err(IMPOSSIBLE),
    };
    Ok((content, header & 1 != 0))
}

/// A frame's header: RFC 8878, 3.1.1.1.
struct Header {
    /// In bytes; the content's size where the frame is a single segment.
    window: u64,
    content_size: Option<u64>,
    checksum: bool,
}

impl Header {
    /// Bytes of one that is encoded: magic number, descriptor, window, content size.
    const MAX: usize = 14;
    /// Flags of the descriptor.
    const SINGLE_SEGMENT: u8 = 1 << 5;
    const RESERVED: u8 = 1 << 3;
    const CHECKSUM: u8 = 1 << 2;
    /// The content size takes 8 bytes.
    const LONG_SIZE: u8 = 3 << 6;

    fn read(input: &mut Input<'_>) -> Result<Self, Failure> {
        let descriptor = input.byte()?;
        if descriptor & Self::RESERVED != 0 {
            return Err(Failure::Unsupported("a frame of a later version"));
        }
        let single = descriptor & Self::SINGLE_SEGMENT != 0;
        let window = if single { None } else { Some(Window(input.byte()?).size()) };
        let dictionary = match descriptor & 3 {
            0 => 0,
            1 => u32::from(input.byte()?),
            2 => u32::from(u16::from_le_bytes(input.array()?)),
            _ => u32::from_le_bytes(input.array()?),
        };
        if dictionary != 0 {
            return Err(Failure::Unsupported("a dictionary"));
        }
        let content_size = match descriptor >> 6 {
            0 if single => Some(u64::from(input.byte()?)),
            0 => None,
            1 => Some(u64::from(u16::from_le_bytes(input.array()?)) + 256),
            2 => Some(u64::from(u32::from_le_bytes(input.array()?))),
            _ => Some(u64::from_le_bytes(input.array()?)),
        };
        let window = window.or(content_size).unwrap_or_default();
        Ok(Self { window, content_size, checksum: descriptor & Self::CHECKSUM != 0 })
    }

    /// The same header with another window, magic number included, and how long it is.
    fn encode(&self, window: Window) -> ([u8; Self::MAX], usize) {
        let mut bytes = [0; Self::MAX];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = if self.checksum { Self::CHECKSUM } else { 0 };
        bytes[5] = window.0;
        let Some(size) = self.content_size else { return (bytes, 6) };
        bytes[4] |= Self::LONG_SIZE;
        bytes[6..].copy_from_slice(&size.to_le_bytes());
        (bytes, Self::MAX)
    }
}

/// A window's size as a frame has it: RFC 8878, 3.1.1.1.2.
#[derive(Clone, Copy)]
struct Window(u8);

impl Window {
    const MIN: u64 = 1 << 10;

    fn size(self) -> u64 {
        let base = Self::MIN << (self.0 >> 3);
        base + base / 8 * u64::from(self.0 & 7)
    }

    /// The smallest one of `size` bytes or more, if there is one.
    fn at_least(size: u64) -> Self {
        let enough = (0..=u8::MAX).map(Window).find(|window| window.size() >= size);
        enough.unwrap_or(Self(u8::MAX))
    }
}

/// A frame in the decoder's hands.
struct Blocks<'w, 'o, 'd> {
    decoder: WorkspaceDecoder<'w>,
    work: WorkBudget,
    output: &'o mut Output<'d>,
}

impl Blocks<'_, '_, '_> {
    /// Decompresses the next `bytes`; whether the destination took all.
    fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        loop {
            let step = self.decoder.step(bytes, false, self.output.rest(), &mut self.work);
            let step = step.map_err(failure)?;
            self.output.advance(step.produced);
            bytes = bytes.get(step.consumed..).unwrap_or_default();
            match step.state {
                StepState::NeedInput if bytes.is_empty() => return Ok(true),
                StepState::NeedOutput if self.output.is_full() => return Ok(false),
                _ if step.consumed == 0 && step.produced == 0 => return Err(IMPOSSIBLE),
                _ => {}
            }
        }
    }

    /// Likewise the next `count` bytes of `input`.
    fn take_from(&mut self, input: &mut Input<'_>, mut count: usize) -> Result<bool, Failure> {
        while count > 0 {
            let ready = input.peek()?;
            let piece = &ready[..ready.len().min(count)];
            let size = piece.len();
            if size == 0 {
                return Err(Failure::Truncated);
            }
            if !self.take(piece)? {
                return Ok(false);
            }
            input.consume(size);
            count -= size;
        }
        Ok(true)
    }

    /// Whether the destination took all of a frame that has ended.
    fn finish(mut self) -> Result<bool, Failure> {
        let step = self.decoder.step(&[], true, self.output.rest(), &mut self.work);
        let step = step.map_err(failure)?;
        self.output.advance(step.produced);
        Ok(step.state == StepState::Done)
    }
}

fn failure(error: WorkspaceDecodeError) -> Failure {
    match error {
        WorkspaceDecodeError::Malformed(MalformedInput::Checksum { .. }) => CHECKSUM,
        WorkspaceDecodeError::Malformed(MalformedInput::ContentSize { .. }) => SIZE,
        WorkspaceDecodeError::Limit(LimitExceeded::Window { requested, .. }) => {
            Failure::NoMemory(requested)
        }
        WorkspaceDecodeError::Unsupported(_) => Failure::Unsupported("a dictionary"),
        WorkspaceDecodeError::Truncated => Failure::Truncated,
        _ => IMPOSSIBLE,
    }
}
