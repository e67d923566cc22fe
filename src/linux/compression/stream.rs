//! Both ends of a decompressor: the stream and the destination, each with its position.

use crate::fs::{self, Stream};

/// Why a decompressor stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Read(fs::Error),
    Truncated,
    Damaged(&'static str),
    Unsupported(&'static str),
}

impl From<fs::Error> for Failure {
    fn from(error: fs::Error) -> Self {
        Self::Read(error)
    }
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

    /// The next byte, unless this is the end.
    pub(super) fn next(&mut self) -> Result<Option<u8>, Failure> {
        let byte = self.peek()?.first().copied();
        self.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        self.next()?.ok_or(Failure::Truncated)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// Expects nothing but what the kernel's makefiles, and whoever pads to whole blocks, leave
    /// behind a stream: zeros, or the size of `written` bytes.
    pub(super) fn expect_end(&mut self, written: usize) -> Result<(), Failure> {
        let size = u32::try_from(written).unwrap_or(u32::MAX).to_le_bytes();
        let mut seen = 0_u64;
        let mut is_size = true;
        let mut is_zero = true;
        while let Some(byte) = self.next()? {
            is_zero &= byte == 0;
            is_size &= usize::try_from(seen).is_ok_and(|at| size.get(at) == Some(&byte));
            seen += 1;
            if !is_zero && !is_size {
                return Err(Failure::Damaged("foreign bytes behind its end"));
            }
        }
        match is_zero || seen == 4 {
            true => Ok(()),
            false => Err(Failure::Damaged("foreign bytes behind its end")),
        }
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

    /// `count` more bytes are decompressed: these.
    pub(super) fn advance(&mut self, count: usize) -> &[u8] {
        let start = self.written;
        self.written = start.saturating_add(count).min(self.bytes.len());
        &self.bytes[start..self.written]
    }
}
