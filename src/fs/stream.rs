//! A part of a file from front to back, in pieces: for whoever needs its bytes in order and only
//! once, a decompressor above all.

use core::{mem, ops::Range};

use super::{Error, File, Reading};
use crate::dma::Buffer;

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

/// A range of a file as a [`Stream`]. While one piece of it is worked on, the device reads the next.
pub struct FileStream<'f> {
    file: &'f mut dyn File,
    /// What was not read yet, or is on its way.
    rest: Range<u64>,
    /// What was read last.
    piece: Option<Buffer>,
    /// What of it is not consumed.
    ready: Range<usize>,
    next: Next,
}

/// The piece behind the one that was read last.
enum Next {
    /// It is not on its way; this is where it may go.
    Idle(Option<Buffer>),
    Underway(Reading),
}

/// Bytes that are read at once, each in one of two buffers. Commands cost more with less, and what
/// has to be done when the last piece is there with more: docs/performance.md.
const PIECE: usize = 512 * 1024;
/// The first piece is shorter, because nothing can be done before it is there.
const FIRST_PIECE: usize = 128 * 1024;
/// Without memory for two buffers of that size, one of this has to do.
const SMALL_PIECE: usize = 4096;
/// Pieces end at multiples of it, so that the next begins with a block.
const PIECE_END: u64 = 4096;

impl<'f> FileStream<'f> {
    /// The bytes of `file` in `range`; reading those beyond its end is an error.
    pub fn new(file: &'f mut dyn File, range: Range<u64>) -> Self {
        Self { file, rest: range, piece: None, ready: 0..0, next: Next::Idle(None) }
    }

    /// Puts the next piece in the place of the one that was consumed, and sends for the one behind
    /// it.
    fn turn(&mut self) -> Result<(), Error> {
        let (piece, length) = match mem::replace(&mut self.next, Next::Idle(None)) {
            Next::Underway(reading) => {
                let read = reading.finish()?;
                self.next = Next::Idle(self.piece.take());
                read
            }
            Next::Idle(spare) => {
                self.next = Next::Idle(spare);
                self.read()?
            }
        };
        self.piece = Some(piece);
        self.ready = 0..length;
        self.rest.start = self.rest.start.saturating_add(length as u64);
        self.send_for_next();
        Ok(())
    }

    /// Reads a piece that is not on its way.
    fn read(&mut self) -> Result<(Buffer, usize), Error> {
        let (mut piece, most) = match self.piece.take() {
            Some(piece) => (piece, PIECE),
            None => (self.buffer().unwrap_or_else(|| Buffer::new(SMALL_PIECE)), FIRST_PIECE),
        };
        let most = most.min(piece.capacity());
        let end = self.rest.start.saturating_add(most as u64);
        let end = (end - end % PIECE_END).min(self.rest.end);
        let length = usize::try_from(end.saturating_sub(self.rest.start)).unwrap_or(most);
        piece.set_length(length);
        self.file.read_at(self.rest.start, &mut piece)?;
        Ok((piece, length))
    }

    /// Sends for the piece at the start of the rest, if there is one and the device does that.
    fn send_for_next(&mut self) {
        let Next::Idle(spare) = &mut self.next else { return };
        let spare = spare.take();
        if self.rest.is_empty() {
            return;
        }
        let Some(buffer) = spare.or_else(|| self.buffer()) else { return };
        let length = self.piece_size();
        self.next = match self.file.start(self.rest.start, length, buffer) {
            Ok(reading) => Next::Underway(reading),
            Err(buffer) => Next::Idle(Some(buffer)),
        };
    }

    /// A buffer for one of the pieces that are left, if there is memory.
    fn buffer(&self) -> Option<Buffer> {
        Buffer::try_new(self.piece_size().next_multiple_of(SMALL_PIECE))
    }

    fn piece_size(&self) -> usize {
        let left = self.rest.end.saturating_sub(self.rest.start);
        usize::try_from(left).unwrap_or(PIECE).min(PIECE)
    }
}

impl Stream for FileStream<'_> {
    fn peek(&mut self) -> Result<&[u8], Error> {
        if self.ready.is_empty() && !self.rest.is_empty() {
            self.turn()?;
        }
        Ok(self.piece.as_deref().map_or(&[], |piece| &piece[self.ready.clone()]))
    }

    fn consume(&mut self, count: usize) {
        self.ready.start = self.ready.start.saturating_add(count).min(self.ready.end);
    }
}
