//! The kernel: judged by its first bytes, planned for, put straight to its place, judged again.

use alloc::string::{String, ToString};

use super::{LoadError, Unavailable, stored::Stored};
use crate::{
    linux::{KernelImage, image},
    memory::{Region, Size},
};

/// A kernel that was found good by its head.
pub(super) struct Kernel {
    stored: Stored,
    /// The unpacked size that its package tells, in bytes.
    told_size: Option<u64>,
    pub(super) image: KernelImage,
}

impl Kernel {
    /// Judges a kernel. `told_size` is what its package says of its unpacked size, in bytes.
    pub(super) fn inspect(mut stored: Stored, told_size: Option<u64>) -> Result<Self, LoadError> {
        let head = stored.peek(image::HEAD_SIZE)?;
        let image = match stored.compression() {
            Some(_) => KernelImage::inspect_packed(&head),
            None => KernelImage::inspect(&head, stored.size()),
        };
        let image = image.map_err(|error| LoadError::Kernel(stored.name.clone(), error))?;
        Ok(Self { stored, told_size, image })
    }

    /// Whether it comes to its place as it is stored, and nobody looks at much of it there.
    pub(super) fn comes_untouched(&self) -> bool {
        self.stored.comes_untouched()
    }

    /// Puts the kernel to the start of `memory`, which is its whole region.
    pub(super) fn load(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        match self.stored.compression() {
            Some(_) => self.unpack(memory),
            None => self.read(memory),
        }
    }

    fn read(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        log::info!("kernel {}, {}", self.stored.name, Size(self.image.file_size));
        let size = usize::try_from(self.image.file_size).unwrap_or(usize::MAX);
        let region = Region::new(0, memory.len() as u64);
        let file = memory.get_mut(..size).ok_or(Unavailable(region))?;
        self.stored.load(file)?;
        self.image.verify(file).map_err(|error| self.error(error))
    }

    fn unpack(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        let unpacked = self.stored.load(memory)?;
        if !unpacked.complete {
            let image_size = self.image.memory_size;
            return Err(self.error(image::Error::TooLarge { image_size }));
        }
        let found = unpacked.written as u64;
        if let Some(expected) = self.told_size.filter(|&told| told != found) {
            return Err(self.error(image::Error::UnpackedSize { expected, found }));
        }
        let image = memory.get(..unpacked.written).unwrap_or_default();
        self.image.verify_packed(image).map_err(|error| self.error(error))?;
        let packing = self.stored.compression().map(|packing| packing.to_string());
        let packing = packing.unwrap_or_default();
        log::info!("kernel {}, {}, {packing}", self.stored.name, Size(found));
        Ok(())
    }

    fn error(&self, error: image::Error) -> LoadError {
        LoadError::Kernel(String::from(&*self.stored.name), error)
    }
}
