//! .xz (its blocks, filters and checks) and .lzma, by `lzma-rust2`.
//!
//! Its window is its own, but grows with what is decompressed and never beyond it, and memory that
//! is not to be had is an error. Of .lzma the header is read here: its dictionary is cut to what the
//! destination can need, and its properties are held to what all tools hold them to, because they
//! size a table that is not allocated fallibly.

use lzma_rust2::{Error, LzmaReader, Read, XzReader};

use super::stream::{CHECKSUM, Failure, IMPOSSIBLE, Input, Output};

/// All streams of an .xz file; whether they came to their end.
pub(super) fn unpack_xz(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    /// A stream's first byte; padding is zeros.
    const FIRST: u8 = 0xfd;
    loop {
        // What the window can grow to.
        let window = output.rest().len() as u64;
        let mut source = Source::new(input);
        let read = read_all(&mut XzReader::new(&mut source, false), output);
        let complete = read.map_err(|error| source.failure(error, window))?;
        if !complete {
            return Ok(false);
        }
        if input.peek()?.first() != Some(&FIRST) {
            input.expect_end(&[], output.written())?;
            return Ok(true);
        }
    }
}

/// A .lzma file; whether it came to its end.
pub(super) fn unpack_lzma(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<bool, Failure> {
    let [properties, d0, d1, d2, d3, size @ ..] = input.array::<13>()?;
    let size = u64::from_le_bytes(size);
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    // lzma-file-format.txt, 1.1.1: (pb * 5 + lp) * 9 + lc.
    let (lc, lp, pb) = (properties % 9, properties / 9 % 5, properties / 45);
    if lc + lp > 4 || pb > 4 {
        return Err(IMPOSSIBLE);
    }
    // Nothing is further back than what is decompressed: the destination, and a byte to see that
    // there is more.
    let reach = u32::try_from(output.rest().len()).unwrap_or(u32::MAX).saturating_add(1);
    let dictionary = dictionary.min(reach).min(lzma_rust2::DICT_SIZE_MAX);

    let mut source = Source::new(input);
    let reader = LzmaReader::new_with_props(&mut source, size, properties, dictionary, None);
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return Err(source.failure(error, u64::from(dictionary))),
    };
    reader.set_relaxed_end_condition(false);
    let read = read_all(&mut reader, output);
    // It reads ahead.
    let (_, ahead) = reader.into_parts();
    let complete = read.map_err(|error| source.failure(error, u64::from(dictionary)))?;
    if complete {
        input.expect_end(&ahead, output.written())?;
    }
    Ok(complete)
}

/// Reads to the end, or until the destination is full; whether that was the end.
fn read_all(reader: &mut impl Read, output: &mut Output<'_>) -> Result<bool, Error> {
    while !output.is_full() {
        let count = reader.read(output.rest())?;
        if count == 0 {
            return Ok(true);
        }
        output.advance(count);
    }
    // The end has checksums; that there is none shows by one more byte.
    Ok(reader.read(&mut [0])? == 0)
}

/// The stream as `lzma-rust2` reads it.
struct Source<'i, 's> {
    input: &'i mut Input<'s>,
    /// Its errors cannot hold those of a stream.
    failure: Option<Failure>,
}

impl<'i, 's> Source<'i, 's> {
    fn new(input: &'i mut Input<'s>) -> Self {
        Self { input, failure: None }
    }

    /// What `error` means; `window` is what would have been allocated.
    fn failure(&mut self, error: Error, window: u64) -> Failure {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        match error {
            Error::Eof => Failure::Truncated,
            Error::OutOfMemory(_) => Failure::NoMemory(window),
            Error::Unsupported(_) => Failure::Unsupported("a filter or check"),
            Error::InvalidData("invalid block checksum") => CHECKSUM,
            _ => IMPOSSIBLE,
        }
    }
}

impl Read for Source<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Error> {
        self.input.read(bytes).map_err(|failure| {
            self.failure = Some(failure);
            Error::Other("the stream cannot be read")
        })
    }
}
