//! The kernel's file.

use alloc::{boxed::Box, vec};

use super::{LoadError, Unavailable};
use crate::{
    fs::{File, FileSystem},
    linux::{KernelImage, image},
    memory::{Region, Size},
};

/// A kernel file that was found good by its head.
pub(super) struct Kernel<'p> {
    path: &'p str,
    file: Box<dyn File>,
    pub(super) image: KernelImage,
}

impl<'p> Kernel<'p> {
    pub(super) fn open(file_system: &mut dyn FileSystem, path: &'p str) -> Result<Self, LoadError> {
        let mut file = file_system.open(path)?;
        let size = file.size();
        let head_size = image::HEAD_SIZE.min(usize::try_from(size).unwrap_or(usize::MAX));
        let mut head = vec![0; head_size];
        file.read_at(0, &mut head)?;
        let image = KernelImage::inspect(&head, size)
            .map_err(|error| LoadError::Kernel(path.into(), error))?;
        Ok(Self { path, file, image })
    }

    /// Reads the file to the start of `memory`, which is the kernel's whole region.
    pub(super) fn read_into(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        log::info!("kernel {}, {}", self.path, Size(self.image.file_size));
        let size = usize::try_from(self.image.file_size).unwrap_or(usize::MAX);
        let region = Region::new(0, memory.len() as u64);
        let file = memory.get_mut(..size).ok_or(Unavailable(region))?;
        self.file.read_at(0, file)?;
        self.image.verify(file).map_err(|error| LoadError::Kernel(self.path.into(), error))
    }
}
