//! Two copies, of which a power cut can damage one at most.
//!
//! The newest copy that is whole counts; what is written goes over the other one. Whatever a cut
//! leaves of a write does not match its checksum, and then the old record counts as before.

use alloc::boxed::Box;
use core::fmt;

use super::{
    Error, Record,
    codec::{self, Later, MAGIC, RECORD_SIZE, Whole},
};
use crate::error::{Code, Coded};

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Copy {
    /// Both, in their order on the card.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Its place in an array of both.
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Whom the ground that the copies lie on belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A partition of the record's own type: whatever is in it may be written over.
    Own,
    /// A gap that others may use, too: only what is blank or begins as a record does may be written
    /// over, unless the other copy shows that the place is the record's.
    Gap,
}

/// What the two copies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record; an empty one if there is none that can be used. This never stops a boot.
    pub record: Record,
    /// Where it comes from.
    pub source: Source,
    sequence: u64,
    target: Option<Copy>,
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From this copy.
    Copy(Copy),
    /// From none: both places are blank.
    Blank,
    /// From none: neither copy is whole, for these reasons.
    Lost([Error; 2]),
    /// From none: a later version of the loader wrote it.
    Later(u16),
}

impl Source {
    /// What a user is to be told, if anything. The boot goes on.
    pub fn problem(self) -> Option<Problem> {
        match self {
            Self::Copy(_) | Self::Blank => None,
            Self::Lost(errors) => Some(Problem::Lost(errors)),
            Self::Later(version) => Some(Problem::Later(version)),
        }
    }
}

/// Why there is no record although something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Neither copy is whole.
    Lost([Error; 2]),
    /// A later version of the loader wrote it.
    Later(u16),
}

impl Coded for Problem {
    fn code(&self) -> Code {
        match self {
            Self::Lost([first, _]) => first.code(),
            Self::Later(_) => Code::StateVersion,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost([first, second]) => write!(
                f,
                "the state record is lost, the boot goes on without it; first copy: {first}; \
                 second copy: {second}"
            ),
            Self::Later(version) => {
                write!(
                    f,
                    "a later Firn wrote the state record (version {version}); update this one"
                )
            }
        }
    }
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A later version's record is not written over.
    Later(u16),
    /// What lies at both places is no record.
    Foreign,
}

impl Coded for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Later(_) => Code::StateVersion,
            Self::Foreign => Code::StateForeign,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(version) => {
                write!(f, "the state record has version {version}; it is left as it is")
            }
            Self::Foreign => {
                f.write_str("what lies at the places of the state record was not written by Firn")
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// A write to be done: all of it, then nothing else until the card says that it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where to.
    pub copy: Copy,
    /// What.
    pub bytes: Box<[u8; RECORD_SIZE]>,
}

/// What the bytes at the two places say. A copy that cannot be read is an empty slice.
pub fn choose(ground: Ground, a: &[u8], b: &[u8]) -> Stored {
    let places = [a, b];
    let newest = match places.map(codec::decode) {
        [Ok(a), Ok(b)] if is_newer(b.sequence, a.sequence) => (Copy::B, b),
        [Ok(a), _] => (Copy::A, a),
        [Err(_), Ok(b)] => (Copy::B, b),
        [Err(a), Err(b)] => return without_record(ground, places, [a, b]),
    };
    let (copy, Whole { sequence, content }) = newest;
    let target = Some(copy.other());
    match content {
        Ok(record) => Stored { record, source: Source::Copy(copy), sequence, target },
        Err(Later(version)) => {
            let source = Source::Later(version);
            Stored { record: Record::default(), source, sequence, target }
        }
    }
}

fn without_record(ground: Ground, places: [&[u8]; 2], errors: [Error; 2]) -> Stored {
    let blank = places.map(is_blank);
    let ours = |copy: &Copy| {
        let bytes = places[copy.index()];
        ground == Ground::Own || blank[copy.index()] || bytes.starts_with(&MAGIC)
    };
    Stored {
        record: Record::default(),
        source: if blank == [true, true] { Source::Blank } else { Source::Lost(errors) },
        sequence: 0,
        target: Copy::BOTH.into_iter().find(ours),
    }
}

/// Whether `a` was written after `b`. Sequence numbers may wrap around.
fn is_newer(a: u64, b: u64) -> bool {
    a != b && a.wrapping_sub(b) <= u64::MAX / 2
}

/// Whether nothing was ever written there, or it was erased.
fn is_blank(bytes: &[u8]) -> bool {
    let erased = |blank: u8| bytes.iter().take(RECORD_SIZE).all(|&byte| byte == blank);
    bytes.len() >= RECORD_SIZE && (erased(0) || erased(0xff))
}

impl Stored {
    /// Whether [`Stored::plan`] will have a place to write to.
    pub fn check_writable(&self) -> Result<(), Refusal> {
        self.place().map(|_| ())
    }

    /// How `record` is to be written, and what is stored once it is. After a write that failed,
    /// the places have to be read again.
    ///
    /// # Errors
    /// [`Refusal`]: what is on the card must not be written over. Nothing is counted then.
    pub fn plan(&self, record: Record) -> Result<(Write, Self), Refusal> {
        let copy = self.place()?;
        let sequence = self.sequence.wrapping_add(1);
        let bytes = codec::encode(&record, sequence);
        let source = Source::Copy(copy);
        let stored = Self { record, source, sequence, target: Some(copy.other()) };
        Ok((Write { copy, bytes }, stored))
    }

    fn place(&self) -> Result<Copy, Refusal> {
        match self.source {
            Source::Later(version) => Err(Refusal::Later(version)),
            _ => self.target.ok_or(Refusal::Foreign),
        }
    }
}
