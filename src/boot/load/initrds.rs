//! The initrds' files.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{LoadError, Unavailable};
use crate::{
    fs::{File, FileSystem},
    linux::{InitrdLayout, MemoryMap},
    memory::{Region, Size},
};

/// The initrds of a generation, which the kernel sees as one.
pub(super) struct Initrds<'p> {
    paths: &'p [String],
    files: Vec<Box<dyn File>>,
    pub(super) layout: InitrdLayout,
}

impl<'p> Initrds<'p> {
    pub(super) fn open(
        file_system: &mut dyn FileSystem,
        paths: &'p [String],
    ) -> Result<Self, LoadError> {
        let files =
            paths.iter().map(|path| file_system.open(path)).collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<u64> = files.iter().map(|file| file.size()).collect();
        let layout = InitrdLayout::new(&sizes)?;
        Ok(Self { paths, files, layout })
    }

    /// Where the only one lies, if it is in memory: it may be large, and the kernel takes it from
    /// anywhere that is nobody else's.
    pub(super) fn in_place(&self, map: &MemoryMap) -> Option<Region> {
        let [file] = &*self.files else { return None };
        let place = file.in_memory()?;
        // That it lies there is what one of the reservations says.
        let shared = |taken: Region| taken != place && taken.overlaps(place);
        (!map.reserved().any(shared)).then_some(place)
    }

    pub(super) fn read_into(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        let region = Region::new(0, memory.len() as u64);
        let mut end = 0;
        for ((path, file), &offset) in
            self.paths.iter().zip(&mut self.files).zip(&self.layout.offsets)
        {
            log::info!("initrd {path}, {}", Size(file.size()));
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let next = start.saturating_add(usize::try_from(file.size()).unwrap_or(usize::MAX));
            let Some(piece) = memory.get_mut(end..next) else {
                return Err(Unavailable(region).into());
            };
            let (gap, piece) = piece.split_at_mut(start - end);
            gap.fill(0);
            file.read_at(0, piece)?;
            end = next;
        }
        Ok(())
    }
}
