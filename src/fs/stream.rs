//! A part of a file from front to back, in pieces: for whoever needs its bytes in order and only
//! once, a decompressor above all.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use super::{Error, File};

/// Bytes that come in order.
pub trait Stream {
    /// The next bytes, as many as are at hand; none only at the end. They stay until they are
    /// consumed.
    ///
    /// # Errors
    /// They cannot be read. Nothing that comes later can be relied on then.
    fn peek(&mut self) -> Result<&[u8], Error>;
    /// Passes over `count` of the bytes last seen.
    fn consume(&mut self, count: usize);
}

/// A range of a file as a [`Stream`].
pub struct FileStream<'f> {
    file: &'f mut dyn File,
    /// What is not in the buffer yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// What of the buffer is not consumed.
    ready: Range<usize>,
}

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

impl<'f> FileStream<'f> {
    /// The bytes of `file` in `range`; reading those beyond its end is an error.
    pub fn new(file: &'f mut dyn File, range: Range<u64>) -> Self {
        let size = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        Self { file, rest: range, buffer: vec![0; size.min(PIECE)], ready: 0..0 }
    }
}

impl Stream for FileStream<'_> {
    fn peek(&mut self) -> Result<&[u8], Error> {
        if self.ready.is_empty() && !self.rest.is_empty() {
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let size = self.buffer.len().min(left);
            self.file.read_at(self.rest.start, &mut self.buffer[..size])?;
            self.rest.start += size as u64;
            self.ready = 0..size;
        }
        Ok(&self.buffer[self.ready.clone()])
    }

    fn consume(&mut self, count: usize) {
        self.ready.start = self.ready.start.saturating_add(count).min(self.ready.end);
    }
}
