//! What a compressed kernel becomes, whatever made it, and what becomes of a damaged one.

mod through;

use std::sync::LazyLock;

use firn::{
    error::{Code, Coded},
    fs::{self, Stream},
    linux::compression::{Compression, Error, Unpacked, decompress},
};
use proptest::prelude::*;
use through::through;

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

/// What a stream says about its own bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Proof {
    /// Where it ends, and a checksum.
    Checksum,
    /// Where it ends.
    End,
    /// Neither.
    None,
}

/// The tools and options that kernels may have been compressed with.
const COMMANDS: &[(&str, Compression, Proof)] = &[
    ("gzip -c -1", Compression::Gzip, Proof::Checksum),
    ("gzip -c -6", Compression::Gzip, Proof::Checksum),
    ("gzip -c -n -9", Compression::Gzip, Proof::Checksum),
    ("zstd -c -1", Compression::Zstd, Proof::Checksum),
    ("zstd -c -19", Compression::Zstd, Proof::Checksum),
    ("zstd -c --ultra -22", Compression::Zstd, Proof::Checksum),
    ("zstd -c --ultra -22 --long=27", Compression::Zstd, Proof::Checksum),
    ("zstd -c --no-check", Compression::Zstd, Proof::End),
    ("lz4 -c -1", Compression::Lz4, Proof::Checksum),
    ("lz4 -c -9", Compression::Lz4, Proof::Checksum),
    ("lz4 -c -B5 -BD", Compression::Lz4, Proof::Checksum),
    ("lz4 -c -9 -B7 -BD -BX", Compression::Lz4, Proof::Checksum),
    ("lz4 -c -BX --no-frame-crc", Compression::Lz4, Proof::End),
    ("lz4 -c -l -9", Compression::Lz4, Proof::None),
    ("xz -c -0", Compression::Xz, Proof::Checksum),
    ("xz -c -6", Compression::Xz, Proof::Checksum),
    ("xz -c -9e --check=sha256", Compression::Xz, Proof::Checksum),
    ("xz -c --check=crc32 --arm64 --lzma2=dict=128MiB", Compression::Xz, Proof::Checksum),
    ("xz -c --check=none", Compression::Xz, Proof::End),
    ("xz -c --block-size=30000", Compression::Xz, Proof::Checksum),
    ("xz -c --format=lzma -9", Compression::Lzma, Proof::End),
    ("lzop -c -1", Compression::Lzo, Proof::Checksum),
    ("lzop -c -9", Compression::Lzo, Proof::Checksum),
    ("lzop -c --crc32", Compression::Lzo, Proof::Checksum),
];

/// `bytes` as each of them compresses it.
fn all_through(bytes: &[u8]) -> impl Iterator<Item = (&'static str, Compression, Proof, Vec<u8>)> {
    COMMANDS.iter().map(move |&(command, format, proof)| {
        let packed = through(command, bytes);
        assert_eq!(Compression::from_magic(&packed), Some(format), "{command}");
        (command, format, proof, packed)
    })
}

#[test]
fn what_the_real_tools_compress_comes_out_as_it_was() {
    for size in [0, 1, 2, 100, 65_535, 65_536, 65_537, 262_144, 1_000_000] {
        let bytes = sample(size);
        for (command, format, _, packed) in all_through(&bytes) {
            for room in [size, size + 1000] {
                let (unpacked, out) = unpack(format, &packed, room)
                    .unwrap_or_else(|error| panic!("{command} of {size}: {error}"));
                assert_eq!(
                    unpacked,
                    Unpacked { written: size, complete: true },
                    "{command} {size}"
                );
                assert!(out == bytes, "{command} of {size}");
            }
        }
    }
}

#[test]
fn a_kernel_of_more_than_a_block_of_every_format_comes_out_as_it_was() {
    // More than two blocks of lz4's legacy frames.
    let bytes = sample(17_000_000);
    for &(command, format, _) in COMMANDS {
        if ["-19", "-22", "-9e"].iter().any(|slow| command.contains(slow)) {
            continue;
        }
        let packed = through(command, &bytes);
        let (unpacked, out) = unpack(format, &packed, bytes.len()).unwrap();
        assert!(unpacked.complete && out == bytes, "{command}");
    }
}

#[test]
fn a_destination_that_is_too_small_gets_the_beginning() {
    let bytes = sample(300_000);
    for (command, format, _, packed) in all_through(&bytes) {
        for size in [0, 1, 4096, 100_000, 262_144, 299_999] {
            let (unpacked, out) = unpack(format, &packed, size).unwrap();
            assert_eq!(unpacked, Unpacked { written: size, complete: false }, "{command} {size}");
            assert!(out == bytes[..size], "{command} {size}");
        }
    }
}

#[test]
fn the_parts_of_a_concatenated_file_all_count() {
    let (one, two) = (sample(5_000), sample(70_000));
    let both = [&one[..], &two].concat();
    for (command, format, ..) in COMMANDS {
        if matches!(format, Compression::Lzma | Compression::Lzo) {
            continue;
        }
        let packed = [through(command, &one), through(command, &two)].concat();
        let (unpacked, out) = unpack(*format, &packed, 100_000).unwrap();
        assert!(unpacked.complete && out == both, "{command}");
    }
}

#[test]
fn skippable_frames_are_passed_over() {
    let bytes = sample(1_000);
    let skippable = b"\x53\x2a\x4d\x18\x05\0\0\0hello";
    for command in ["zstd -c", "lz4 -c"] {
        let packed = through(command, &bytes);
        let format = Compression::from_magic(&packed).unwrap();
        let packed = [&packed[..], skippable, &packed, skippable].concat();
        let (unpacked, out) = unpack(format, &packed, 2_000).unwrap();
        assert!(unpacked.complete && out == [&bytes[..], &bytes].concat(), "{command}");
    }
}

#[test]
fn the_size_that_the_kernels_makefiles_append_and_padding_are_no_damage() {
    // Makefile.lib's size_append, and a partition's or sector's zeros.
    let bytes = sample(66_000);
    let size = 66_000_u32.to_le_bytes();
    for (command, format, _, packed) in all_through(&bytes) {
        for tail in [&size[..], &[0; 4], &[0; 13]] {
            let packed = [&packed[..], tail].concat();
            let (unpacked, out) = unpack(format, &packed, 70_000).unwrap();
            assert!(unpacked.complete && out == bytes, "{command} {tail:?}");
        }
        for tail in [&b"x"[..], b"abcd", b"\0\0\0\0x", b"\xd0\x01\x01\0\0"] {
            let packed = [&packed[..], tail].concat();
            let error = unpack(format, &packed, 70_000).unwrap_err();
            assert_eq!(error.code(), Code::CompressedDamaged, "{command} {tail:?}");
        }
    }
}

#[test]
fn a_stream_that_was_cut_off_says_so() {
    for size in [0, 700] {
        let bytes = sample(size);
        for (command, format, proof, packed) in all_through(&bytes) {
            for end in 0..packed.len() {
                match unpack(format, &packed[..end], size) {
                    Err(error) => assert_eq!(error.code(), Code::CompressedDamaged, "{error}"),
                    // Its parts have no number.
                    Ok((_, out)) if proof == Proof::None => assert!(bytes.starts_with(&out)),
                    Ok(_) => panic!("{command} of {size} cut off at {end} of {}", packed.len()),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_wherever_the_format_has_a_checksum() {
    for size in [1, 300] {
        let bytes = sample(size);
        for (command, format, proof, mut packed) in all_through(&bytes) {
            for bit in 0..8 * packed.len() {
                packed[bit / 8] ^= 1 << (bit % 8);
                // `unpack` checks that nothing behind the destination changes.
                let result = unpack(format, &packed, size);
                packed[bit / 8] ^= 1 << (bit % 8);
                if proof == Proof::Checksum
                    && let Ok((Unpacked { complete: true, .. }, out)) = result
                {
                    // Names, times and the like.
                    assert!(out == bytes, "{command} of {size}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn formats_are_known_by_the_names_of_makefiles_zboot_and_fit() {
    for format in Compression::ALL {
        assert_eq!(Compression::from_name(format.name()), Some(format));
    }
    assert_eq!(Compression::from_name("zstd22"), Some(Compression::Zstd));
    assert_eq!(Compression::from_name("xzkern"), Some(Compression::Xz));
    assert_eq!(Compression::from_name("bzip2"), None);
    assert_eq!(Compression::from_magic(b"MZ\0\0zimg"), None);
    assert_eq!(Compression::from_magic(b""), None);
}

#[test]
fn an_error_says_which_format_where_and_what_to_do() {
    let mut packed = through("zstd -c", &sample(1_000));
    *packed.last_mut().unwrap() ^= 1;
    let error = unpack(Compression::Zstd, &packed, 1_000).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("a compressed kernel is damaged: the zstd stream has a wrong checksum"));
    assert!(text.ends_with("copy it again"), "{text}");
}

static STARTS: LazyLock<Vec<(Compression, Vec<u8>)>> =
    LazyLock::new(|| all_through(b"hello").map(|(_, format, _, bytes)| (format, bytes)).collect());

proptest! {
    #[test]
    fn arbitrary_bytes_behind_a_magic_number_are_an_error_or_stay_in_the_destination(
        start in 0..COMMANDS.len(),
        tail in prop::collection::vec(any::<u8>(), 0..400),
        keep in 0usize..60,
        size in 0usize..5_000,
    ) {
        let (format, start) = &STARTS[start];
        let bytes = [&start[..keep.min(start.len())], &tail].concat();
        // `unpack` checks what is behind the destination.
        if let Ok((unpacked, _)) = unpack(*format, &bytes, size) {
            prop_assert!(unpacked.written <= size);
        }
    }
}
