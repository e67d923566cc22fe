//! How the kernel is packed in its file.
//!
//! Decides by the first [`HEAD_SIZE`](super::image::HEAD_SIZE) bytes alone: names of files promise
//! nothing. One layer is undone; what comes out must be an Image.

#![forbid(unsafe_code)]

use super::{compression::Compression, image, zboot::Zboot};

/// A device tree, and so a FIT image, begins like this (Devicetree Specification v0.4, 5.2).
const TREE_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// How a file holds a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// As it is, or not at all: [`image::KernelImage::inspect`] judges it.
    None,
    /// The file is a compressed Image.
    Compressed(Compression),
    /// The file is an EFI zboot kernel for arm64.
    Zboot(Zboot),
    /// The file is a FIT image, or a device tree.
    Fit,
}

impl Package {
    /// Looks at the beginning of a file of `file_size` bytes.
    ///
    /// # Errors
    /// A zboot kernel is cut off, or is for another processor.
    pub fn recognise(head: &[u8], file_size: u64) -> Result<Self, image::Error> {
        // A plain Image first: its first instruction may be anything.
        Ok(if image::is_image(head) {
            Self::None
        } else if Zboot::is(head) {
            Self::Zboot(Zboot::parse(head, file_size)?)
        } else if head.starts_with(&TREE_MAGIC) {
            Self::Fit
        } else {
            Compression::from_magic(head).map_or(Self::None, Self::Compressed)
        })
    }

    /// What a file with this beginning is called, if it holds something packed.
    pub(super) fn name(head: &[u8]) -> Option<&'static str> {
        Some(match Self::recognise(head, u64::MAX) {
            Ok(Self::Compressed(compression)) => compression.name(),
            Ok(Self::Zboot(_)) => "EFI zboot",
            Ok(Self::Fit) => "FIT image or device tree",
            Ok(Self::None) | Err(_) => return None,
        })
    }
}
