//! Where the bytes of a piece are stored: a file or a part of it, packed or not.

use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::ops::Range;

use super::LoadError;
use crate::{
    fs::{self, File, FileStream, FileSystem, Stream},
    linux::{
        compression::{Compression, Unpacked, decompress},
        fit::{Digest, Hasher},
    },
    memory::Region,
};

/// The bytes of a piece.
pub(super) struct Stored {
    /// Path of the file, with what part of it is meant; for messages.
    pub(super) name: String,
    file: Box<dyn File>,
    range: Range<u64>,
    compression: Option<Compression>,
    /// What is known of the bytes in `range`.
    digests: Vec<Digest>,
}

impl Stored {
    /// All of the file at `path`, as it is.
    pub(super) fn open(file_system: &mut dyn FileSystem, path: &str) -> Result<Self, fs::Error> {
        let file = file_system.open(path)?;
        let range = 0..file.size();
        Ok(Self { name: path.into(), file, range, compression: None, digests: Vec::new() })
    }

    /// Bytes in the file.
    pub(super) fn size(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// What it is packed with.
    pub(super) fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// The file, of which it may be a part.
    pub(super) fn file(&mut self) -> &mut dyn File {
        &mut *self.file
    }

    /// A part of it, counted in bytes of the file, and how that is packed.
    pub(super) fn part(self, range: Range<u64>, compression: Option<Compression>) -> Self {
        Self { range, compression, ..self }
    }

    /// With what its stored bytes have to be.
    pub(super) fn with_digests(self, digests: Vec<Digest>) -> Self {
        Self { digests, ..self }
    }

    /// The memory that holds the piece already, in pages of its own.
    pub(super) fn in_memory(&self) -> Option<Region> {
        let is_whole = self.range == (0..self.file.size());
        self.file.in_memory().filter(|_| is_whole)
    }

    /// Whether it is loaded as it is stored, without a look at its bytes.
    pub(super) fn comes_untouched(&self) -> bool {
        self.compression.is_none() && self.digests.is_empty()
    }

    /// The first bytes of the piece, unpacked, as many as there are up to `length`. Digests are not
    /// looked at.
    pub(super) fn peek(&mut self, length: usize) -> Result<Vec<u8>, LoadError> {
        let mut bytes = vec![0; length];
        let written = match self.compression {
            Some(compression) => {
                let mut stream = FileStream::new(&mut *self.file, self.range.clone());
                let unpacked = decompress(compression, &mut stream, &mut bytes);
                unpacked.map_err(|error| LoadError::Unpack(self.name.clone(), error))?.written
            }
            None => {
                let length = usize::try_from(self.size()).map_or(length, |size| size.min(length));
                self.file.read_at(self.range.start, &mut bytes[..length])?;
                length
            }
        };
        bytes.truncate(written);
        Ok(bytes)
    }

    /// Puts the piece to the start of `memory`, as far as it goes in there, and checks its digests
    /// if all of it did.
    pub(super) fn load(&mut self, memory: &mut [u8]) -> Result<Unpacked, LoadError> {
        match self.compression {
            Some(compression) => self.unpack(compression, memory),
            None => self.copy(memory),
        }
    }

    /// All of it, unpacked, if it has no more than `limit` bytes.
    pub(super) fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, LoadError> {
        let too_large = |size| LoadError::DeviceTreeTooLarge(self.name.clone(), size);
        if self.size() > limit {
            return Err(too_large(self.size()));
        }
        let room = if self.compression.is_some() { limit } else { self.size() };
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(0)];
        let Unpacked { written, complete } = self.load(&mut bytes)?;
        if !complete {
            return Err(LoadError::DeviceTreeTooLarge(self.name.clone(), limit.saturating_add(1)));
        }
        bytes.truncate(written);
        Ok(bytes)
    }

    fn copy(&mut self, memory: &mut [u8]) -> Result<Unpacked, LoadError> {
        let size = usize::try_from(self.size()).unwrap_or(usize::MAX);
        let Some(memory) = memory.get_mut(..size) else {
            return Ok(Unpacked { written: 0, complete: false });
        };
        match &*self.digests {
            // One large read, straight to its place.
            [] => self.file.read_at(self.range.start, memory)?,
            _ => self.copy_and_check(memory)?,
        }
        Ok(Unpacked { written: size, complete: true })
    }

    /// Fills `memory` piece by piece: each is hashed while the device brings the next.
    fn copy_and_check(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        let mut stream = Hashed::new(&mut *self.file, &self.range, &self.digests);
        let mut rest = memory;
        while !rest.is_empty() {
            let bytes = stream.peek()?;
            let count = bytes.len().min(rest.len());
            let (place, behind) = rest.split_at_mut(count);
            place.copy_from_slice(&bytes[..count]);
            stream.consume(count);
            rest = behind;
        }
        let hasher = stream.hasher;
        self.check(hasher)
    }

    fn unpack(&mut self, packed: Compression, memory: &mut [u8]) -> Result<Unpacked, LoadError> {
        let mut stream = Hashed::new(&mut *self.file, &self.range, &self.digests);
        let unpacked = decompress(packed, &mut stream, memory)
            .map_err(|error| LoadError::Unpack(self.name.clone(), error))?;
        if unpacked.complete {
            stream.drain()?;
            let hasher = stream.hasher;
            self.check(hasher)?;
        }
        Ok(unpacked)
    }

    fn check(&self, hasher: Hasher<'_>) -> Result<(), LoadError> {
        hasher.finish().map_err(|problem| LoadError::FitData(self.name.clone(), problem))
    }
}

/// A stream whose bytes are hashed as they are consumed.
struct Hashed<'f, 'd> {
    stream: FileStream<'f>,
    hasher: Hasher<'d>,
}

impl<'f, 'd> Hashed<'f, 'd> {
    fn new(file: &'f mut dyn File, range: &Range<u64>, digests: &'d [Digest]) -> Self {
        Self { stream: FileStream::new(file, range.clone()), hasher: Hasher::new(digests) }
    }

    /// Consumes what a decompressor has left.
    fn drain(&mut self) -> Result<(), fs::Error> {
        loop {
            match self.peek()?.len() {
                0 => return Ok(()),
                length => self.consume(length),
            }
        }
    }
}

impl Stream for Hashed<'_, '_> {
    fn peek(&mut self) -> Result<&[u8], fs::Error> {
        self.stream.peek()
    }

    fn consume(&mut self, count: usize) {
        // What was seen is still there; an error would come back at the next look.
        if let Ok(bytes) = self.stream.peek() {
            self.hasher.update(&bytes[..count.min(bytes.len())]);
        }
        self.stream.consume(count);
    }
}
