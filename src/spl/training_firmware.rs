//! Finds the DRAM training firmware, which the boot ROM has loaded along with the first stage.

use core::fmt;

use crate::{
    ddr::firmware::{Firmware, Image, Memory, WrongSize},
    error::{Code, Coded},
    image::{
        self, ErrorKind,
        container::{Container, Part, PartKind, Role},
    },
};

/// Finds all of it and checks its digests. `loaded` is memory behind the first stage, whose first
/// byte lies at `place` of the image; the container begins there.
///
/// # Errors
/// What is damaged or missing.
pub fn find<'a>(loaded: &'a [u8], place: u32, board: &str) -> Result<Firmware<'a>, Error> {
    let container = Container::parse(loaded, place)?;
    container.expect(Role::FirstStage, board)?;
    let bytes = |kind| -> Result<&'a [u8], image::Error> {
        let part = container.require(kind)?;
        let bytes = bytes_of(&part, loaded, place)?;
        part.verify(bytes)?;
        Ok(bytes)
    };
    let one_d = Image::new(bytes(PartKind::Training1dImem)?, bytes(PartKind::Training1dDmem)?)?;
    let two_d = Image::new(bytes(PartKind::Training2dImem)?, bytes(PartKind::Training2dDmem)?)?;
    Ok(Firmware { one_d, two_d })
}

fn bytes_of<'a>(part: &Part, loaded: &'a [u8], place: u32) -> Result<&'a [u8], image::Error> {
    let start = part.offset.checked_sub(place).and_then(|start| usize::try_from(start).ok());
    let bytes = start.and_then(|start| loaded.get(start..)?.get(..part.size as usize));
    let found = u64::from(place) + loaded.len() as u64;
    let kind = ErrorKind::Truncated { needed: part.end(), found };
    bytes.ok_or(image::Error { kind, offset: part.offset.into() })
}

/// Why memory cannot be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The image that the boot ROM has loaded.
    Image(image::Error),
    /// The firmware cannot be firmware.
    Size(WrongSize),
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Self {
        Self::Image(error)
    }
}

impl From<WrongSize> for Error {
    fn from(error: WrongSize) -> Self {
        Self::Size(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Image(error) => error.code(),
            Self::Size(_) => Code::DramFirmwareUnusable,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => write!(f, "training firmware: {error}"),
            Self::Size(WrongSize { memory, size }) => {
                let memory = match memory {
                    Memory::Imem => "instruction",
                    Memory::Dmem => "data",
                };
                write!(f, "training firmware: {size} bytes do not go into the {memory} memory")
            }
        }
    }
}

impl core::error::Error for Error {}
