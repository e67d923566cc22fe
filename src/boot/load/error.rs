//! Why a generation cannot be loaded.

use alloc::string::String;
use core::fmt;

use super::Unavailable;
use crate::{
    devicetree::{self, fixup, memory as tree_memory, overlay},
    error::{Code, Coded},
    fs,
    linux::{compression, fit, image, placement},
    memory::Size,
    nixos::Broken,
};

/// Why a generation cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The entry itself says that it is broken.
    Broken(Broken),
    /// A file cannot be found or read; the error names it.
    File(fs::Error),
    /// The kernel file is not a kernel that can be started.
    Kernel(String, image::Error),
    /// A piece cannot be unpacked; the text names it.
    Unpack(String, compression::Error),
    /// The FIT image that holds the pieces cannot be used; the text names it.
    Fit(String, fit::Error),
    /// A piece of a FIT image is not what it was made of; the text names it.
    FitData(String, fit::Problem),
    /// An initrd is empty, or there is no room.
    Placement(placement::Error),
    /// The tree cannot be used; the text names the file.
    DeviceTree(String, devicetree::Error),
    /// The tree's file is larger than any tree may be, in bytes.
    DeviceTreeTooLarge(String, u64),
    /// An overlay cannot be applied; the text names its file.
    Overlay(String, overlay::Error),
    /// The tree cannot take what the kernel has to be told.
    Patch(tree_memory::Error),
    /// The tree cannot be fitted to the part or the board.
    Fixup(fixup::Error),
    /// Neither the generation nor the stage before brings a tree; the text says where one was
    /// looked for.
    NoDeviceTree(String),
    /// Contradiction within the loader.
    Unavailable(Unavailable),
}

impl Coded for LoadError {
    fn code(&self) -> Code {
        match self {
            Self::Broken(broken) => broken.code,
            Self::File(error) => error.code(),
            Self::Kernel(_, error) => error.code(),
            Self::Unpack(_, error) => error.code(),
            Self::Fit(_, error) => error.code(),
            Self::FitData(_, problem) => problem.code(),
            Self::Placement(error) => error.code(),
            Self::DeviceTree(_, error) => error.code(),
            Self::Overlay(_, error) => error.code(),
            Self::Patch(error) => error.code(),
            Self::Fixup(error) => error.code(),
            Self::DeviceTreeTooLarge(..) => Code::DeviceTreeCorrupt,
            Self::NoDeviceTree(_) => Code::DeviceTreeMissing,
            Self::Unavailable(_) => Code::DoesNotFit,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Kernel(path, error) => write!(f, "{path}: {error}"),
            Self::Unpack(path, error) => write!(f, "{path}: {error}"),
            Self::Fit(path, error) => write!(f, "{path}: {error}"),
            Self::FitData(path, problem) => {
                write!(f, "{path}: {}: it {problem}", problem.code().summary())
            }
            Self::Placement(error) => error.fmt(f),
            Self::DeviceTree(path, error) => write!(f, "{path}: {error}"),
            Self::DeviceTreeTooLarge(path, size) => write!(
                f,
                "{path}: {} is too large for a device tree, at most {}",
                Size(*size),
                Size(placement::DEVICE_TREE_MAX)
            ),
            Self::Overlay(path, error) => write!(f, "{path}: {error}"),
            Self::Patch(error) => error.fmt(f),
            Self::Fixup(error) => error.fmt(f),
            Self::NoDeviceTree(places) => {
                write!(
                    f,
                    "no device tree: {places}, and the stage before the loader handed none over; \
                     set hardware.deviceTree.name"
                )
            }
            Self::Unavailable(Unavailable(region)) => {
                write!(f, "{region} was planned for but is taken")
            }
        }
    }
}

impl core::error::Error for LoadError {}

impl From<fs::Error> for LoadError {
    fn from(error: fs::Error) -> Self {
        Self::File(error)
    }
}

impl From<placement::Error> for LoadError {
    fn from(error: placement::Error) -> Self {
        Self::Placement(error)
    }
}

impl From<tree_memory::Error> for LoadError {
    fn from(error: tree_memory::Error) -> Self {
        Self::Patch(error)
    }
}

impl From<fixup::Error> for LoadError {
    fn from(error: fixup::Error) -> Self {
        Self::Fixup(error)
    }
}

impl From<Unavailable> for LoadError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}
