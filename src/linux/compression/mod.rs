//! What kernels are compressed with, straight to where they run.
//!
//! [`decompress`] writes to the destination, front to back. Where a decoder can, it reads its own
//! output there; what others need of memory is never more than the destination can need, and an error
//! where it is not to be had. Each decoder is a library's, behind an adapter that reads the format's
//! frame and keeps to this. Every stream is hostile: what is damaged is an error that says so; nothing is read or written
//! outside of the stream and the destination, and each step consumes input or produces output.
//! Bytes of the destination behind [`Unpacked::written`] may have been written to.

#![forbid(unsafe_code)]

mod gzip;
mod lz4;
mod lzma;
mod lzo;
mod stream;
mod zstd;

use core::fmt;

use self::stream::{Failure, Input, Output};
use crate::{
    error::{Code, Coded},
    fs::{self, Stream},
    memory::Size,
};

/// A compressed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, all members of a file.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// LZ4's frames, or the legacy ones of `lz4 -l`; the magic number tells.
    Lz4,
    /// The .xz format.
    Xz,
    /// The .lzma format ("LZMA alone").
    Lzma,
    /// lzop's format.
    Lzo,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Gzip, Self::Zstd, Self::Lz4, Self::Xz, Self::Lzma, Self::Lzo];

    /// "gzip", "zstd", "lz4", "xz", "lzma", "lzo".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
        }
    }

    /// What a file is compressed with by its first 13 bytes.
    pub fn from_magic(head: &[u8]) -> Option<Self> {
        const BY_BEGINNING: [(&[u8], Compression); 6] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x04\x22\x4d\x18", Compression::Lz4),
            (b"\x02\x21\x4c\x18", Compression::Lz4),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x89LZO\0\r\n\x1a\n", Compression::Lzo),
        ];
        let known = BY_BEGINNING.iter().find(|(magic, _)| head.starts_with(magic));
        known.map(|&(_, format)| format).or_else(|| is_lzma(head).then_some(Self::Lzma))
    }

    /// What the kernel's makefiles, the header of an EFI zboot image and FIT images call it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "zstd22" => Some(Self::Zstd),
            "xzkern" => Some(Self::Xz),
            _ => Self::ALL.into_iter().find(|format| format.name() == name),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// .lzma has no magic number; its header (LZMA SDK, lzma-file-format.txt) as every tool writes it:
/// lc=3, lp=0, pb=2; a dictionary of at least 64 KiB; a size that is unknown or below 1 TiB.
fn is_lzma(head: &[u8]) -> bool {
    let Some((&[properties, d0, d1, ..], rest)) = head.split_first_chunk::<5>() else {
        return false;
    };
    let size = rest.first_chunk().map(|&bytes| u64::from_le_bytes(bytes));
    let sensible = size.is_some_and(|size| size == u64::MAX || size < 1 << 40);
    properties == 0x5d && d0 == 0 && d1 == 0 && sensible
}

/// What [`decompress`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes at the start of the destination.
    pub written: usize,
    /// The stream ended, and its checksums hold. Otherwise the destination is full, and there is
    /// more.
    pub complete: bool,
}

/// Decompresses from `source` to the start of `destination`, which is also the window where the
/// format allows. Stops when `destination` is full.
///
/// Behind the compressed data `source` may have zeros, or the size of what was compressed in four
/// bytes, as the kernel's makefiles append it.
pub fn decompress(
    compression: Compression,
    source: &mut dyn Stream,
    destination: &mut [u8],
) -> Result<Unpacked, Error> {
    let mut input = Input::new(source);
    let mut output = Output::new(destination);
    let complete = match compression {
        Compression::Gzip => gzip::unpack(&mut input, &mut output),
        Compression::Zstd => zstd::unpack(&mut input, &mut output),
        Compression::Lz4 => lz4::unpack(&mut input, &mut output),
        Compression::Xz => lzma::unpack_xz(&mut input, &mut output),
        Compression::Lzma => lzma::unpack_lzma(&mut input, &mut output),
        Compression::Lzo => lzo::unpack(&mut input, &mut output),
    };
    match complete {
        Ok(complete) => Ok(Unpacked { written: output.written(), complete }),
        Err(failure) => Err(Error {
            compression,
            consumed: input.consumed(),
            written: output.written() as u64,
            kind: failure.into(),
        }),
    }
}

/// Why a stream cannot be decompressed, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The format.
    pub compression: Compression,
    /// Bytes of the stream before the place.
    pub consumed: u64,
    /// Bytes that had been decompressed.
    pub written: u64,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It cannot be read.
    Read(fs::Error),
    /// It ends early.
    Truncated,
    /// It contradicts itself; the text says in what.
    Damaged(&'static str),
    /// It uses something that is not supported; the text names it.
    Unsupported(&'static str),
    /// It needs a window, or a block, of so many bytes, for which there is no memory.
    NoMemory(u64),
}

impl From<Failure> for ErrorKind {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Read(error) => Self::Read(error),
            Failure::Truncated => Self::Truncated,
            Failure::Damaged(what) => Self::Damaged(what),
            Failure::Unsupported(what) => Self::Unsupported(what),
            Failure::NoMemory(size) => Self::NoMemory(size),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match &self.kind {
            ErrorKind::Read(error) => error.code(),
            ErrorKind::Truncated | ErrorKind::Damaged(_) => Code::CompressedDamaged,
            ErrorKind::Unsupported(_) => Code::KernelUnsupported,
            ErrorKind::NoMemory(_) => Code::DoesNotFit,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compression, consumed, written, kind } = self;
        if let ErrorKind::Read(error) = kind {
            return error.fmt(f);
        }
        write!(f, "{}: the {compression} stream ", self.code().summary())?;
        match kind {
            ErrorKind::Read(_) => Ok(()),
            ErrorKind::Truncated => {
                write!(f, "ends early, after {consumed} bytes ({}); copy it again", Size(*written))
            }
            ErrorKind::Damaged(what) => write!(
                f,
                "has {what} before byte {consumed} ({} decompressed); copy it again",
                Size(*written)
            ),
            ErrorKind::Unsupported(what) => {
                write!(f, "uses {what}; compress the kernel as its makefiles do")
            }
            ErrorKind::NoMemory(size) => write!(
                f,
                "needs {} while it is decompressed, and no free memory is as large; \
                 gzip needs none",
                Size(*size)
            ),
        }
    }
}

impl core::error::Error for Error {}
