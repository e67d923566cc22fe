//! What a compressed kernel becomes, whatever made it, and what becomes of a damaged one.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use firn::{
    error::{Code, Coded},
    fs::{self, Stream},
    linux::compression::{Compression, Error, ErrorKind, Unpacked, decompress},
};

/// Bytes that come in pieces of a given size.
struct Pieces<'b> {
    bytes: &'b [u8],
    piece: usize,
}

impl Stream for Pieces<'_> {
    fn peek(&mut self) -> Result<&[u8], fs::Error> {
        Ok(&self.bytes[..self.piece.min(self.bytes.len())])
    }

    fn consume(&mut self, count: usize) {
        self.piece -= count;
        self.bytes = &self.bytes[count..];
        if self.piece == 0 {
            self.piece = 4096;
        }
    }
}

/// What stands behind a destination, and must go on standing there.
const FENCE: u8 = 0xc3;

/// Decompresses to `size` bytes.
fn unpack(format: Compression, bytes: &[u8], size: usize) -> Result<(Unpacked, Vec<u8>), Error> {
    let mut memory = vec![FENCE; size + 64];
    let mut source = Pieces { bytes, piece: 1 };
    let unpacked = decompress(format, &mut source, &mut memory[..size]);
    assert!(memory[size..].iter().all(|&byte| byte == FENCE), "wrote behind the destination");
    let unpacked = unpacked?;
    memory.truncate(unpacked.written);
    Ok((unpacked, memory))
}

/// `bytes` as `command` compresses them.
fn compressed(command: &str, bytes: &[u8]) -> Vec<u8> {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command}: {error}; `cargo xtask setup` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}");
        output.stdout
    })
}

/// Bytes with repetitions near and far, and stretches that cannot be compressed.
fn sample(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let random = (state >> 33) as usize;
        let length = 1 + random % 61;
        match random >> 8 & 3 {
            0 => bytes.extend((0..length).map(|n| (state >> (n % 57)).to_le_bytes()[n % 3])),
            1 if !bytes.is_empty() => {
                let start = (state >> 40) as usize % bytes.len();
                let end = (start + 4 * length).min(bytes.len());
                bytes.extend_from_within(start..end);
            }
            _ => bytes.extend(std::iter::repeat_n(random.to_le_bytes()[0], length)),
        }
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn what_the_real_tools_compress_comes_out_as_it_was() {
    for size in [0, 1, 2, 100, 65_535, 65_536, 65_537, 1_000_000] {
        let bytes = sample(size);
        for command in ["gzip -c -1", "gzip -c -6", "gzip -c -9"] {
            let packed = compressed(command, &bytes);
            let format = Compression::from_magic(&packed).unwrap();
            let (unpacked, out) = unpack(format, &packed, size).unwrap();
            assert_eq!(unpacked, Unpacked { written: size, complete: true }, "{command} {size}");
            assert!(out == bytes, "{command} {size}");
        }
    }
}

#[test]
fn all_members_of_a_gzip_file_count() {
    let packed = [compressed("gzip -c", b"one, "), compressed("gzip -c", b"two")].concat();
    let (unpacked, out) = unpack(Compression::Gzip, &packed, 100).unwrap();
    assert!(unpacked.complete);
    assert_eq!(out, b"one, two");
}

#[test]
fn a_destination_that_is_too_small_gets_the_beginning() {
    let bytes = sample(10_000);
    let packed = compressed("gzip -c", &bytes);
    for size in [0, 1, 4096, 9_999] {
        let (unpacked, out) = unpack(Compression::Gzip, &packed, size).unwrap();
        assert_eq!(unpacked, Unpacked { written: size, complete: false });
        assert!(out == bytes[..size]);
    }
}

#[test]
fn a_stream_that_was_cut_off_says_so() {
    let bytes = sample(2_000);
    let packed = compressed("gzip -c", &bytes);
    for end in 0..packed.len() {
        let error = unpack(Compression::Gzip, &packed[..end], 2_000).unwrap_err();
        assert_eq!((&error.kind, error.code()), (&ErrorKind::Truncated, Code::CompressedDamaged));
    }
}
