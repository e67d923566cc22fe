//! Both ends of a decompressor: the stream and the destination, each with its position.

use alloc::vec::Vec;

use crate::{
    fs::{self, Stream},
    zeroed::zeroed,
};

/// Why a decompressor stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Read(fs::Error),
    Truncated,
    Damaged(&'static str),
    Unsupported(&'static str),
    /// So many bytes of memory are not to be had.
    NoMemory(u64),
}

impl From<fs::Error> for Failure {
    fn from(error: fs::Error) -> Self {
        Self::Read(error)
    }
}

/// Damage that several formats have.
pub(super) const NO_MAGIC: Failure = Failure::Damaged("no magic number");
pub(super) const FOREIGN: Failure = Failure::Damaged("foreign bytes behind its end");
pub(super) const IMPOSSIBLE: Failure = Failure::Damaged("an impossible code");
pub(super) const CHECKSUM: Failure = Failure::Damaged("a wrong checksum");
pub(super) const SIZE: Failure = Failure::Damaged("a wrong size");

/// Makes `buffer` hold `size` bytes, if there is memory for them.
pub(super) fn reserve(buffer: &mut Vec<u8>, size: usize) -> Result<&mut [u8], Failure> {
    if buffer.len() < size {
        // Not both at once.
        *buffer = Vec::new();
        *buffer = zeroed(size).map_err(|_| Failure::NoMemory(size as u64))?;
    }
    Ok(&mut buffer[..size])
}

/// The compressed stream.
pub(super) struct Input<'s> {
    stream: &'s mut dyn Stream,
    consumed: u64,
}

impl<'s> Input<'s> {
    pub(super) fn new(stream: &'s mut dyn Stream) -> Self {
        Self { stream, consumed: 0 }
    }

    /// Bytes passed over.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next bytes that are at hand; none only at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], Failure> {
        Ok(self.stream.peek()?)
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.consumed = self.consumed.saturating_add(count as u64);
    }

    /// Fills `bytes`; how many there were before the end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < bytes.len() {
            let ready = self.peek()?;
            let count = ready.len().min(bytes.len() - filled);
            if count == 0 {
                break;
            }
            bytes[filled..filled + count].copy_from_slice(&ready[..count]);
            self.consume(count);
            filled += count;
        }
        Ok(filled)
    }

    /// Fills `bytes`.
    pub(super) fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        match self.read(bytes)? == bytes.len() {
            true => Ok(()),
            false => Err(Failure::Truncated),
        }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `N` bytes, if they are `N` that begin another part; otherwise `None`, and this was
    /// the end of a stream of `written` bytes.
    pub(super) fn another<const N: usize>(
        &mut self,
        is_part: impl Fn([u8; N]) -> bool,
        written: usize,
    ) -> Result<Option<[u8; N]>, Failure> {
        let mut bytes = [0; N];
        let count = self.read(&mut bytes)?;
        if count == N && is_part(bytes) {
            return Ok(Some(bytes));
        }
        self.expect_end(&bytes[..count], written)?;
        Ok(None)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        self.array().map(|[byte]| byte)
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), Failure> {
        while count > 0 {
            let ready = self.peek()?.len();
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(ready);
            if step == 0 {
                return Err(Failure::Truncated);
            }
            self.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    /// Expects nothing but what the kernel's makefiles, and whoever pads to whole blocks, leave
    /// behind a stream: zeros, or the size of `written` bytes. `seen` was read already.
    pub(super) fn expect_end(&mut self, seen: &[u8], written: usize) -> Result<(), Failure> {
        let mut tail = [0; 5];
        let known = seen.len().min(tail.len());
        tail[..known].copy_from_slice(&seen[..known]);
        let count = known + self.read(&mut tail[known..])?;
        let size = u32::try_from(written).ok().map(u32::to_le_bytes);
        if count == 4 && size.is_some_and(|size| tail.starts_with(&size)) {
            return Ok(());
        }
        let mut is_zero = tail.iter().chain(seen).all(|&byte| byte == 0);
        while is_zero {
            let rest = self.peek()?;
            if rest.is_empty() {
                return Ok(());
            }
            is_zero = rest.iter().all(|&byte| byte == 0);
            let count = rest.len();
            self.consume(count);
        }
        Err(FOREIGN)
    }
}

/// The destination.
pub(super) struct Output<'d> {
    bytes: &'d mut [u8],
    written: usize,
}

impl<'d> Output<'d> {
    pub(super) fn new(bytes: &'d mut [u8]) -> Self {
        Self { bytes, written: 0 }
    }

    /// Bytes that are decompressed.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// All of the destination from `start` on, for a decompressor that counts from there.
    pub(super) fn from(&mut self, start: usize) -> &mut [u8] {
        self.bytes.get_mut(start..).unwrap_or_default()
    }

    /// Where the next byte goes.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        self.from(self.written)
    }

    pub(super) fn is_full(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// What is decompressed from `start` on, and where the next byte goes.
    pub(super) fn split(&mut self, start: usize) -> (&[u8], &mut [u8]) {
        let (done, rest) = self.bytes.split_at_mut(self.written);
        (done.get(start..).unwrap_or_default(), rest)
    }

    /// Takes as many of `bytes` as there is room for; whether those were all.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest();
        let count = rest.len().min(bytes.len());
        rest[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count == bytes.len()
    }

    /// `count` more bytes are decompressed: these.
    pub(super) fn advance(&mut self, count: usize) -> &[u8] {
        let start = self.written;
        self.written = start.saturating_add(count).min(self.bytes.len());
        &self.bytes[start..self.written]
    }

    /// What is decompressed from `start` on.
    pub(super) fn since(&self, start: usize) -> &[u8] {
        self.bytes.get(start..self.written).unwrap_or_default()
    }
}
