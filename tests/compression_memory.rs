//! What decompressing takes of memory: never more than the destination can need, whatever a stream
//! asks for, and an error where it is not to be had.

mod through;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use firn::{
    error::{Code, Coded},
    fs::{self, Stream},
    linux::compression::{Compression, Error, Unpacked, decompress},
};
use through::through;

/// Counts the bytes that a thread has, and refuses it more than its limit.
struct Counting;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
}

// SAFETY: every block is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.get() + isize::try_from(layout.size()).unwrap();
        if used > LIMIT.get() {
            return std::ptr::null_mut();
        }
        USED.set(used);
        PEAK.set(PEAK.get().max(used));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.set(USED.get() - isize::try_from(layout.size()).unwrap());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Whole<'b>(&'b [u8]);

impl Stream for Whole<'_> {
    fn peek(&mut self) -> Result<&[u8], fs::Error> {
        Ok(&self.0[..self.0.len().min(256 << 10)])
    }

    fn consume(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }
}

/// Decompresses with at most `limit` bytes of memory; what it took at most.
fn unpack(packed: &[u8], room: &mut [u8], limit: isize) -> (Result<Unpacked, Error>, isize) {
    let format = Compression::from_magic(packed).unwrap();
    let before = USED.get();
    PEAK.set(before);
    LIMIT.set(before.saturating_add(limit));
    let unpacked = decompress(format, &mut Whole(packed), room);
    LIMIT.set(isize::MAX);
    (unpacked, PEAK.get() - before)
}

fn sample(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n ^ n >> 7 ^ n >> 13).to_le_bytes()[0]).collect()
}

/// Each with the most that it may take for `SIZE` bytes.
const COMMANDS: [(&str, isize); 7] = [
    ("gzip -c", 1 << 20),
    // These say that they need 128 MiB.
    ("zstd -c --ultra -22 --long=27 --no-check", 4 << 20),
    ("zstd -c --ultra -22 --long=27", 4 << 20),
    ("lz4 -c -l", 9 << 20),
    // These windows grow, which takes the old and the new one.
    ("xz -c --lzma2=dict=128MiB", 7 << 20),
    ("xz -c --format=lzma --lzma1=dict=128MiB", 7 << 20),
    ("lzop -c", 1 << 20),
];

const SIZE: usize = 3 << 20;

#[test]
fn a_window_is_no_larger_than_the_destination_can_need() {
    let bytes = sample(SIZE);
    let mut room = vec![0; SIZE];
    for (command, most) in COMMANDS {
        let packed = through(command, &bytes);
        let (unpacked, took) = unpack(&packed, &mut room, isize::MAX);
        assert!(unpacked.unwrap().complete && room == bytes, "{command}");
        assert!(took <= most, "{command} took {took} bytes");
    }
}

#[test]
fn a_window_that_is_not_to_be_had_is_an_error_that_says_how_large_it_is() {
    let bytes = sample(SIZE);
    let mut room = vec![0; SIZE];
    for command in ["zstd -c --ultra -22 --long=27", "xz -c", "xz -c --format=lzma"] {
        let packed = through(command, &bytes);
        let error = unpack(&packed, &mut room, 1 << 20).0.unwrap_err();
        assert_eq!(error.code(), Code::DoesNotFit, "{command}");
        let text = error.to_string();
        assert!(text.contains(" MiB while it is decompressed"), "{command}: {text}");
    }
}
