//! Compressed kernels: any bytes give no more than the destination takes, or an error, and what comes
//! in pieces is what comes at once.
#![no_main]

use firn::{
    fs::{Error, Stream},
    linux::compression::{Compression, Unpacked, decompress},
};
use libfuzzer_sys::fuzz_target;

struct Pieces<'b> {
    bytes: &'b [u8],
    size: usize,
}

impl Stream for Pieces<'_> {
    fn peek(&mut self) -> Result<&[u8], Error> {
        Ok(&self.bytes[..self.size.min(self.bytes.len())])
    }

    fn consume(&mut self, count: usize) {
        assert!(count <= self.size.min(self.bytes.len()), "consumes what was not seen");
        self.bytes = &self.bytes[count..];
    }
}

/// What comes of `bytes`, in pieces of `piece`, in a destination of `room`.
fn unpack(bytes: &[u8], format: Compression, piece: usize, room: usize) -> Option<Vec<u8>> {
    let mut destination = vec![0; room];
    let mut source = Pieces { bytes, size: piece };
    match decompress(format, &mut source, &mut destination) {
        Ok(Unpacked { written, complete }) => {
            assert!(complete || written == room, "stopped early");
            destination.truncate(written);
            Some(destination)
        }
        Err(error) => {
            assert!(error.written <= room as u64 && error.consumed <= bytes.len() as u64);
            drop(error.to_string());
            None
        }
    }
}

// Room in two bytes, the format in one, the stream.
fuzz_target!(|data: &[u8]| {
    let Some((&[low, high, format], bytes)) = data.split_first_chunk() else { return };
    let room = usize::from(u16::from_le_bytes([low, high]));
    let format = Compression::ALL[usize::from(format) % Compression::ALL.len()];
    let whole = unpack(bytes, format, usize::MAX, room);
    assert_eq!(whole, unpack(bytes, format, 7, room));
});
