//! The initrds.

use alloc::vec::Vec;

use super::{LoadError, Unavailable, stored::Stored};
use crate::{
    linux::{InitrdLayout, MemoryMap},
    memory::{Region, Size},
};

/// The initrds of a generation, which the kernel sees as one.
pub(super) struct Initrds {
    pieces: Vec<Stored>,
    pub(super) layout: InitrdLayout,
}

impl Initrds {
    pub(super) fn new(pieces: Vec<Stored>) -> Result<Self, LoadError> {
        let sizes: Vec<u64> = pieces.iter().map(Stored::size).collect();
        let layout = InitrdLayout::new(&sizes)?;
        Ok(Self { pieces, layout })
    }

    /// Where the only one lies, if it is in memory: it may be large, and the kernel takes it from
    /// anywhere that is nobody else's.
    pub(super) fn in_place(&self, map: &MemoryMap) -> Option<Region> {
        let [piece] = &*self.pieces else { return None };
        let place = piece.in_memory()?;
        // That it lies there is what one of the reservations says.
        let shared = |taken: Region| taken != place && taken.overlaps(place);
        (!map.reserved().any(shared)).then_some(place)
    }

    /// Whether all come to their places as they are stored, and nobody looks at much of them there.
    pub(super) fn come_untouched(&self) -> bool {
        self.pieces.iter().all(Stored::comes_untouched)
    }

    pub(super) fn load(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        let region = Region::new(0, memory.len() as u64);
        let mut end = 0;
        for (piece, &offset) in self.pieces.iter_mut().zip(&self.layout.offsets) {
            log::info!("initrd {}, {}", piece.name, Size(piece.size()));
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let next = start.saturating_add(usize::try_from(piece.size()).unwrap_or(usize::MAX));
            let Some(place) = memory.get_mut(end..next) else {
                return Err(Unavailable(region).into());
            };
            let (gap, place) = place.split_at_mut(start - end);
            gap.fill(0);
            piece.load(place)?;
            end = next;
        }
        Ok(())
    }
}
