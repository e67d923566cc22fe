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

/// A range of a file as a [`Stream`]. While one piece of it is worked on, the device brings the next.
pub struct FileStream<'f> {
    file: &'f mut dyn File,
    /// What was not read yet, or is on its way.
    rest: Range<u64>,
    /// What was read last.
    piece: Option<Buffer>,
    /// What of it is not consumed.
    ready: Range<usize>,
    next: Next,
    /// Bytes that the next piece may have.
    size: usize,
    /// Where a piece may go that is not on its way.
    spare: Option<Buffer>,
}

/// The piece behind the one that was read last.
enum Next {
    /// Not sent for yet.
    Waiting,
    Underway(Reading),
    /// It does not come by itself.
    Refused,
}

/// Bytes of the first piece. Nothing can be done before it is there, and many only look at it.
const FIRST_PIECE: usize = 32 * 1024;
/// Pieces grow by this factor,
const GROWTH: usize = 4;
/// until they have so many bytes: shorter ones cost more commands.
const PIECE: usize = 512 * 1024;
/// The last piece has about so many: work on it begins when nothing is left to be read.
const LAST_PIECE: usize = 64 * 1024;
/// Without memory, one of this has to do.
const SMALL_PIECE: usize = 4096;
/// Pieces end at multiples of it, so that the next begins with a block.
const PIECE_END: u64 = 4096;

impl<'f> FileStream<'f> {
    /// The bytes of `file` in `range`; reading those beyond its end is an error.
    pub fn new(file: &'f mut dyn File, range: Range<u64>) -> Self {
        let (piece, ready, spare) = (None, 0..0, None);
        Self { file, rest: range, piece, ready, next: Next::Waiting, size: FIRST_PIECE, spare }
    }

    /// Puts the next piece in the place of the one that was consumed.
    fn turn(&mut self) -> Result<(), Error> {
        self.spare = self.piece.take().or(self.spare.take());
        let (piece, length) = match mem::replace(&mut self.next, Next::Waiting) {
            Next::Underway(reading) => self.finish(reading)?,
            Next::Waiting | Next::Refused => self.read()?,
        };
        self.piece = Some(piece);
        self.ready = 0..length;
        self.rest.start = self.rest.start.saturating_add(length as u64);
        self.size = self.size.saturating_mul(GROWTH).min(PIECE);
        Ok(())
    }

    /// Waits for a piece. Whoever has come to the large ones goes on: the one behind it is sent for
    /// at once.
    fn finish(&mut self, reading: Reading) -> Result<(Buffer, usize), Error> {
        let behind = self.rest.start.saturating_add(reading.length() as u64);
        let length = self.size_at(behind);
        if self.size < PIECE || length == 0 {
            return reading.finish();
        }
        let Some(buffer) = self.buffer(length) else { return reading.finish() };
        let (finished, started) = self.file.start_after(reading, behind, length, buffer);
        self.note(started);
        finished
    }

    /// Reads a piece that is not on its way.
    fn read(&mut self) -> Result<(Buffer, usize), Error> {
        let length = self.size_at(self.rest.start);
        let mut piece = self.buffer(length).unwrap_or_else(|| Buffer::new(SMALL_PIECE));
        let most = piece.capacity().min(length.next_multiple_of(SMALL_PIECE));
        let end = self.rest.start.saturating_add(most as u64);
        let end = (end - end % PIECE_END).min(self.rest.end);
        let length = usize::try_from(end.saturating_sub(self.rest.start)).unwrap_or(most);
        piece.set_length(length);
        self.file.read_at(self.rest.start, &mut piece)?;
        Ok((piece, length))
    }

    /// Sends for the piece at the start of the rest, if there is one and the device does that.
    fn send_for_next(&mut self) {
        self.next = Next::Refused;
        let length = self.size_at(self.rest.start);
        if length == 0 {
            return;
        }
        let Some(buffer) = self.buffer(length) else { return };
        let started = self.file.start(self.rest.start, length, buffer);
        self.note(started);
    }

    fn note(&mut self, started: Result<Reading, Buffer>) {
        self.next = match started {
            Ok(reading) => Next::Underway(reading),
            Err(buffer) => {
                self.spare = Some(buffer);
                Next::Refused
            }
        };
    }

    /// A buffer for `length` bytes; a shorter one, or none, if there is no memory.
    fn buffer(&mut self, length: usize) -> Option<Buffer> {
        let size = length.next_multiple_of(SMALL_PIECE);
        match self.spare.take() {
            Some(spare) if spare.capacity() >= size => Some(spare),
            spare => Buffer::try_new(size).or(spare),
        }
    }

    /// Bytes of the piece at `start`. To the end pieces get shorter again, so that little work is
    /// left when the last one is there.
    fn size_at(&self, start: u64) -> usize {
        let left = self.rest.end.saturating_sub(start);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let half = (left / 2).next_multiple_of(SMALL_PIECE);
        let length = if half < LAST_PIECE { left } else { half };
        length.min(self.size)
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
        // Who consumes half of a piece wants another.
        if matches!(self.next, Next::Waiting) && self.ready.start >= self.ready.len() {
            self.send_for_next();
        }
    }
}
