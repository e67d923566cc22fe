//! Why a FIT image cannot be used.

use alloc::string::String;
use core::fmt::{self, Write as _};

use super::{Algorithm, Configuration, MAX_OUTLINE, Role};
use crate::{
    devicetree,
    error::{Code, Coded},
    fs,
    memory::Size,
};

/// Why a FIT image cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It cannot be read.
    File(fs::Error),
    /// Its tree is broken.
    Tree(devicetree::Error),
    /// It ends before its tree does.
    Truncated {
        /// Bytes by its header.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// Without its files it is larger than [`MAX_OUTLINE`].
    TooLarge,
    /// A device tree that is no FIT image.
    NoFit,
    /// It has no configurations.
    NoConfigurations,
    /// None of several configurations is for this board, none is the default.
    NoChoice {
        /// Names of the configurations.
        there: String,
    },
    /// There is no configuration of this name.
    NoSuchConfiguration {
        /// The name.
        name: String,
        /// Those that there are.
        there: String,
    },
    /// A configuration does not name an image that it is asked for.
    NamesNone {
        /// Its name.
        configuration: String,
        /// What the image is for.
        role: Role,
    },
    /// A configuration names an image that is not there.
    NoSuchImage {
        /// The name.
        name: String,
        /// Those that there are.
        there: String,
    },
    /// An image cannot be used.
    Image {
        /// Its name.
        name: String,
        /// Why not.
        problem: Problem,
    },
}

/// Why one image cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is of another type.
    Kind {
        /// What it should be.
        role: Role,
        /// Its type.
        found: String,
    },
    /// It is for another processor.
    Architecture(String),
    /// It is no Linux.
    OperatingSystem(String),
    /// It is compressed with something unknown.
    Compression(String),
    /// It is encrypted.
    Encrypted,
    /// It has no data.
    NoData,
    /// Its data lies outside of the file.
    Outside {
        /// Where it begins.
        start: u64,
        /// Bytes.
        size: u64,
        /// Bytes in the file.
        file_size: u64,
    },
    /// Its digest has a length that no digest of this kind has.
    DigestSize {
        /// The kind.
        algorithm: Algorithm,
        /// Bytes.
        size: usize,
    },
    /// Its data is not what the digest was made of.
    Digest(Algorithm),
}

impl Error {
    /// The error for a configuration that does not name an image for this.
    pub fn names_none(configuration: Configuration<'_>, role: Role) -> Self {
        Self::NamesNone { configuration: configuration.name.into(), role }
    }
}

/// Names that are listed in a message.
const MAX_NAMES: usize = 12;

/// "conf-1, conf-2", for a message.
pub(super) fn list<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names.by_ref().take(MAX_NAMES) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name}");
    }
    match names.count() {
        0 if text.is_empty() => text.push_str("none"),
        0 => {}
        more => {
            let _ = write!(text, " and {more} more");
        }
    }
    text
}

impl From<fs::Error> for Error {
    fn from(error: fs::Error) -> Self {
        Self::File(error)
    }
}

impl From<devicetree::Error> for Error {
    fn from(error: devicetree::Error) -> Self {
        Self::Tree(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::NoFit => Code::KernelNotArm64,
            Self::Tree(_) | Self::Truncated { .. } | Self::NoSuchImage { .. } => Code::FitDamaged,
            Self::Image { problem, .. } => problem.code(),
            Self::TooLarge
            | Self::NoConfigurations
            | Self::NoChoice { .. }
            | Self::NoSuchConfiguration { .. }
            | Self::NamesNone { .. } => Code::FitUnusable,
        }
    }
}

impl Coded for Problem {
    fn code(&self) -> Code {
        match self {
            Self::NoData | Self::Outside { .. } | Self::DigestSize { .. } | Self::Digest(_) => {
                Code::FitDamaged
            }
            _ => Code::FitUnusable,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::File(error) = self {
            return error.fmt(f);
        }
        write!(f, "{}: ", self.code().summary())?;
        match self {
            Self::File(_) => Ok(()),
            Self::Tree(error) => error.fmt(f),
            Self::Truncated { expected, found } => write!(
                f,
                "its tree has {expected} bytes, the file {found} ({} missing); copy it again",
                Size(expected.saturating_sub(*found))
            ),
            Self::TooLarge => write!(
                f,
                "without the files in it, it has more than {}; make one for fewer boards",
                Size(MAX_OUTLINE as u64)
            ),
            Self::NoFit => f.write_str(
                "a device tree that is no FIT image; are kernel and device tree exchanged?",
            ),
            Self::NoConfigurations => f.write_str("it has no /configurations"),
            Self::NoChoice { there } => write!(
                f,
                "no configuration is for this board, none is the default; name one of {there} \
                 behind the file, as in FILE#NAME"
            ),
            Self::NoSuchConfiguration { name, there } => {
                write!(f, "no configuration is called {name}; there are {there}")
            }
            Self::NamesNone { configuration, role } => {
                write!(f, "configuration {configuration} names no image of type {role}")
            }
            Self::NoSuchImage { name, there } => {
                write!(f, "no image is called {}; there are {there}", name.escape_debug())
            }
            Self::Image { name, problem } => write!(f, "image {name} {problem}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { role, found } => {
                write!(f, "is of type \"{}\" instead of {role}", found.escape_debug())
            }
            Self::Architecture(found) => {
                write!(f, "is for arch \"{}\" instead of arm64", found.escape_debug())
            }
            Self::OperatingSystem(found) => {
                write!(f, "is for os \"{}\" instead of linux", found.escape_debug())
            }
            Self::Compression(name) => write!(
                f,
                "is compressed with \"{}\"; use gzip, zstd, lz4, lzma, lzo or none",
                name.escape_debug()
            ),
            Self::Encrypted => f.write_str("is encrypted"),
            Self::NoData => f.write_str("has no data"),
            Self::Outside { start, size, file_size } => write!(
                f,
                "is cut off: it has {size} bytes from {start:#x} on, the file ends at \
                 {file_size:#x}; copy it again"
            ),
            Self::DigestSize { algorithm, size } => {
                write!(f, "has a {algorithm} of {size} bytes")
            }
            Self::Digest(algorithm) => {
                write!(f, "does not have the {algorithm} that is written for it; copy it again")
            }
        }
    }
}

impl core::error::Error for Error {}
