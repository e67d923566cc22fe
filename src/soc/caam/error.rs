//! Why there are no random numbers, and what the module's statuses mean.

use core::fmt;

use crate::{
    dma,
    error::{Code, Coded},
};

/// How a job ended, as the output ring has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// As it should.
    pub const DONE: Self = Self(0);
    /// No status at all: the job ended well, and the state handle is as before.
    pub const NOTHING_DONE: Self = Self(u32::MAX);
}

/// Who reports it, in bits 31:28.
const SOURCE_ACCELERATOR: u32 = 2;
const SOURCE_DESCRIPTOR: u32 = 4;
const SOURCE_RING: u32 = 6;
/// Which accelerator, in bits 7:4.
const ACCELERATOR_RNG: u32 = 5;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let accelerator = status >> 4 & 0xf;
        f.write_str(match (status >> 28, status & 0xff) {
            _ if *self == Self::NOTHING_DONE => return f.write_str("nothing was done"),
            (SOURCE_ACCELERATOR, _) if accelerator == ACCELERATOR_RNG => match status & 0xf {
                3 => "cannot be seeded",
                4 => "not seeded",
                9 => "cannot make keys",
                11 => "failed its own tests",
                _ => "failed",
            },
            (SOURCE_DESCRIPTOR, 0x16) => "cannot reach memory",
            (SOURCE_DESCRIPTOR, 0x1b) => "security state failed",
            (SOURCE_DESCRIPTOR, 0x1f) => "not the owner",
            (SOURCE_DESCRIPTOR, _) => "job refused",
            (SOURCE_RING, _) => "job ring failed",
            _ => "job failed",
        })?;
        write!(f, " (status {status:#010x})")
    }
}

/// Why there are no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No module answers, or nothing of it that this world may use.
    Absent,
    /// The job ring belongs to the secure world.
    Foreign,
    /// The job ring does not halt.
    Halt,
    /// The job ring does not come out of its reset.
    Reset,
    /// A job was not done in time.
    Silent,
    /// A job failed.
    Job(Status),
    /// No sample is long enough for the oscillator to pass its tests.
    Unseeded(Status),
    /// What came is not random, or did not come.
    Constant,
    /// The buffers are not where the module can use them.
    Memory(dma::Error),
}

impl From<dma::Error> for Error {
    fn from(error: dma::Error) -> Self {
        Self::Memory(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::NoEntropy
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random numbers of CAAM: ")?;
        match self {
            Self::Absent => return f.write_str("not there for this stage"),
            Self::Foreign => return f.write_str("its ring is not ours: update BL31"),
            Self::Constant => return f.write_str("its bytes are not random: replace the part"),
            Self::Memory(_) => return f.write_str("buffers out of its reach"),
            Self::Job(status) => return status.fmt(f),
            Self::Halt => f.write_str("ring does not halt"),
            Self::Reset => f.write_str("ring does not reset"),
            Self::Silent => f.write_str("no answer"),
            Self::Unseeded(status) => status.fmt(f),
        }?;
        f.write_str(": power the board off and on")
    }
}

impl core::error::Error for Error {}
