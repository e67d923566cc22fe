//! The DRAM training firmware: four files of NXP's firmware-imx, and dummies that stand in for them.
//!
//! The files have neither header nor checksum, so what can be told is told from their sizes: those
//! of the releases that firmware-imx 8.15 holds, raw or padded to the size of the memory that they
//! are copied to, as imx-mkimage pads them.

use alloc::{vec, vec::Vec};
use core::fmt;

use super::container::PartKind;
use crate::error::{Code, Coded};

/// The four files, in the order in which they stand in an image.
pub const KINDS: [PartKind; 4] = [
    PartKind::Training1dImem,
    PartKind::Training1dDmem,
    PartKind::Training2dImem,
    PartKind::Training2dDmem,
];

/// Bytes of the PHY's instruction memory, and of a padded IMEM file.
const IMEM_SIZE: usize = 0x8000;
/// Bytes of the PHY's data memory, and of a padded DMEM file.
const DMEM_SIZE: usize = 0x4000;

/// What every dummy begins with; the part's name follows.
const DUMMY_MARK: &[u8] = b"FIRN DUMMY, NOT TRAINING FIRMWARE: ";

/// How a release's file names end, and the sizes of its files in the order of [`KINDS`].
const RELEASES: [(&str, [usize; 4]); 3] = [
    ("", [32_244, 1_668, 23_232, 1_380]),
    ("_201904", [32_632, 1_668, 24_308, 1_400]),
    ("_202006", [32_364, 1_660, 25_456, 1_404]),
];

/// The name of the file of this kind, up to the release.
pub fn file_stem(kind: PartKind) -> &'static str {
    match kind {
        PartKind::Training1dImem => "lpddr4_pmu_train_1d_imem",
        PartKind::Training1dDmem => "lpddr4_pmu_train_1d_dmem",
        PartKind::Training2dImem => "lpddr4_pmu_train_2d_imem",
        _ => "lpddr4_pmu_train_2d_dmem",
    }
}

/// The size of the memory that a file of this kind is copied to, in bytes.
pub fn memory_size(kind: PartKind) -> usize {
    match kind {
        PartKind::Training1dImem | PartKind::Training2dImem => IMEM_SIZE,
        _ => DMEM_SIZE,
    }
}

/// Which dummies and strangers are let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Dummies, for an image that only an emulator boots.
    pub dummies: bool,
    /// Files whose size is not that of the board's release.
    pub other_sizes: bool,
}

/// Whether these bytes are a dummy's.
pub fn is_dummy(bytes: &[u8]) -> bool {
    bytes.starts_with(DUMMY_MARK)
}

/// A dummy: the marked stand-in for a file of `release`, as large as that is.
pub fn dummy(kind: PartKind, release: &str) -> Vec<u8> {
    let size = raw_size(release, kind).unwrap_or(memory_size(kind));
    let mut bytes = vec![0; size];
    // Every halfword differs from its neighbours and between the files, so that a test sees one
    // that lands in the wrong place.
    for (index, halfword) in (1u16..).zip(bytes.chunks_exact_mut(2)) {
        let value = index.wrapping_mul(0x6255) ^ (kind.number() << 8);
        halfword.copy_from_slice(&value.to_le_bytes());
    }
    for (byte, mark) in bytes.iter_mut().zip(label(kind)) {
        *byte = mark;
    }
    bytes
}

/// How a dummy of this kind begins.
fn label(kind: PartKind) -> Vec<u8> {
    [DUMMY_MARK, alloc::format!("{kind}\n").as_bytes()].concat()
}

/// Fills a file up to the size of its memory, as imx-mkimage does.
pub fn padded(kind: PartKind, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(memory_size(kind).max(bytes.len()), 0);
    bytes
}

/// Judges one file that should be of `release`.
pub fn check(kind: PartKind, bytes: &[u8], release: &str, lenient: Leniency) -> Result<(), Error> {
    let fail = |defect| Err(Error { kind, defect });
    let size = bytes.len();
    if size == 0 {
        return fail(Defect::Empty);
    }
    if size > memory_size(kind) {
        return fail(Defect::TooLarge { size });
    }
    // Firmware comes in words, and is copied as such.
    if !size.is_multiple_of(4) {
        return fail(Defect::Truncated { size, wanted: raw_size(release, kind) });
    }
    let content = size - bytes.iter().rev().take_while(|&&byte| byte == bytes[size - 1]).count();
    if content == 0 {
        return fail(Defect::Blank { byte: bytes[0] });
    }
    if is_dummy(bytes) && !lenient.dummies {
        return fail(Defect::Dummy);
    }
    // Dummies say what they are; otherwise they are judged as the files that they stand for.
    if let Some(stood_for) = KINDS.into_iter().find(|&kind| bytes.starts_with(&label(kind)))
        && stood_for != kind
    {
        return fail(Defect::DummyOfAnother { kind: stood_for });
    }
    if lenient.other_sizes || raw_size(release, kind) == Some(size) {
        return Ok(());
    }
    if size == memory_size(kind) {
        return check_padded(kind, content, release);
    }
    if let Some((other, of_release)) = known_by_size(size) {
        return fail(Defect::Other { size, kind: other, release: of_release });
    }
    fail(Defect::Truncated { size, wanted: raw_size(release, kind) })
}

/// Judges a padded file by where its padding begins. What it holds may itself end in zeros, so that
/// less can be told.
fn check_padded(kind: PartKind, content: usize, release: &str) -> Result<(), Error> {
    let Some(raw) = raw_size(release, kind) else { return Ok(()) };
    let defect = if content > raw {
        Defect::PaddedOther { content, raw }
    } else if content < raw / 4 * 3 {
        Defect::PaddedTruncated { content, raw }
    } else {
        return Ok(());
    };
    Err(Error { kind, defect })
}

fn raw_size(release: &str, kind: PartKind) -> Option<usize> {
    let (_, sizes) = RELEASES.iter().find(|(suffix, _)| *suffix == release)?;
    let index = KINDS.iter().position(|known| *known == kind)?;
    Some(sizes[index])
}

/// Whose size this is; the newest release first.
fn known_by_size(size: usize) -> Option<(PartKind, &'static str)> {
    RELEASES.iter().rev().find_map(|(release, sizes)| {
        let index = sizes.iter().position(|known| *known == size)?;
        Some((KINDS[index], *release))
    })
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the file should be.
    pub kind: PartKind,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What can be wrong with a file. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It has no bytes.
    Empty,
    /// All its bytes are this one.
    Blank {
        /// The byte.
        byte: u8,
    },
    /// It does not fit into its memory.
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// A size that no known file has.
    Truncated {
        /// Its size.
        size: usize,
        /// What it should be, if that is known.
        wanted: Option<usize>,
    },
    /// It has the size of another file.
    Other {
        /// Its size.
        size: usize,
        /// The other file's kind.
        kind: PartKind,
        /// The other file's release.
        release: &'static str,
    },
    /// Padded, and longer than this file is.
    PaddedOther {
        /// Its size without padding.
        content: usize,
        /// What it should be.
        raw: usize,
    },
    /// Padded, and much shorter than this file is.
    PaddedTruncated {
        /// Its size without padding.
        content: usize,
        /// What it should be.
        raw: usize,
    },
    /// A dummy.
    Dummy,
    /// A dummy of another file.
    DummyOfAnother {
        /// That file's kind.
        kind: PartKind,
    },
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.defect {
            Defect::Dummy => Code::DummyTrainingFirmware,
            _ => Code::TrainingFirmware,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}: ", self.kind)?;
        match self.defect {
            Defect::Empty => f.write_str("it is empty"),
            Defect::Blank { byte } => write!(f, "all its bytes are {byte:#04x}"),
            Defect::TooLarge { size } => write!(
                f,
                "it has {size} bytes, the memory that it is for has {}",
                memory_size(self.kind)
            ),
            Defect::Truncated { size, wanted: Some(wanted) } => write!(
                f,
                "it has {size} bytes instead of {wanted} (or {}, padded), is it {}?",
                memory_size(self.kind),
                if size < wanted { "truncated" } else { "of another release" }
            ),
            Defect::Truncated { size, wanted: None } => {
                write!(f, "it has {size} bytes, is it truncated?")
            }
            Defect::Other { size, kind, release } => {
                write!(f, "its size, {size} bytes, is that of {}{release}.bin", file_stem(kind))
            }
            Defect::PaddedOther { content, raw } => write!(
                f,
                "{content} bytes in front of the padding instead of {raw}, is it another file?"
            ),
            Defect::PaddedTruncated { content, raw } => write!(
                f,
                "{content} bytes in front of the padding instead of {raw}, is it truncated or \
                 another file?"
            ),
            Defect::Dummy => f.write_str("it is a dummy, which trains nothing on a real board"),
            Defect::DummyOfAnother { kind } => write!(f, "it is a dummy of {kind}"),
        }
    }
}

impl core::error::Error for Error {}
