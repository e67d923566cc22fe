//! The first stage's steps, over traits, so that they are tested on a host. Nothing here allocates.
//!
//! `bin/spl.rs` puts them in their order: [`platform`] readies the SoC, [`training_firmware`] finds
//! what the boot ROM has loaded along, [`dram`] brings memory up with it, [`load`] fills that.
//! [`report`] is the line to a person.

#![forbid(unsafe_code)]

pub mod dram;
pub mod load;
pub mod platform;
pub mod report;
pub mod training_firmware;

use core::fmt;

use crate::{
    error::{Code, Coded},
    soc::boot_rom,
};

/// What ends the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The system counter stands still: no wait would end.
    NoTime,
    /// Memory cannot be trained.
    TrainingFirmware(training_firmware::Error),
    /// There is no memory.
    Dram(dram::Error),
    /// Nothing can be read.
    Medium(boot_rom::Error),
    /// What was read cannot be started.
    Load(load::Error),
    /// Memory that the board should have is not there.
    NoMemory,
}

macro_rules! from {
    ($($error:ty => $variant:ident,)*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from! {
    training_firmware::Error => TrainingFirmware,
    dram::Error => Dram,
    boot_rom::Error => Medium,
    load::Error => Load,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::NoTime => Code::ClockStopped,
            Self::TrainingFirmware(error) => error.code(),
            Self::Dram(error) => error.code(),
            Self::Medium(error) => error.code(),
            Self::Load(error) => error.code(),
            Self::NoMemory => Code::MemoryUnknown,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTime => f.write_str("the system counter stands still"),
            Self::TrainingFirmware(error) => error.fmt(f),
            Self::Dram(error) => error.fmt(f),
            Self::Medium(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::NoMemory => f.write_str("less memory than the board should have"),
        }
    }
}

impl core::error::Error for Error {}
