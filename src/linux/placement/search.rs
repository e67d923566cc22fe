//! The search for places.

use alloc::{vec, vec::Vec};

use super::{
    BLOCK, Error, PAGE, PieceName, Request,
    map::{MemoryMap, subtract},
    pool::Pool,
};
use crate::{linux::KernelImage, memory::Region};

/// One thing to place: it starts at a multiple of `alignment` plus `offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) size: u64,
    pub(super) alignment: u64,
    pub(super) offset: u64,
}

impl Piece {
    fn kernel(request: &Request) -> Self {
        let KernelImage { memory_size: size, text_offset: offset, .. } = request.kernel;
        Self { size, alignment: BLOCK, offset }
    }

    fn pages(size: u64) -> Self {
        Self { size, alignment: PAGE, offset: 0 }
    }

    /// Its lowest place in `gap`.
    fn lowest(self, gap: Region) -> Option<Region> {
        let base = gap.start().saturating_sub(self.offset);
        self.at(base.checked_next_multiple_of(self.alignment)?, gap)
    }

    /// Its highest place in `gap`.
    pub(super) fn highest(self, gap: Region) -> Option<Region> {
        let last = gap.end().checked_sub(self.size)?.checked_sub(self.offset)?;
        self.at(last - last % self.alignment, gap)
    }

    fn at(self, base: u64, gap: Region) -> Option<Region> {
        let start = base.checked_add(self.offset)?;
        let place = Region::between(start, start.checked_add(self.size)?);
        gap.contains(place).then_some(place)
    }

    pub(super) fn fits(self, gap: Region) -> bool {
        self.highest(gap).is_some()
    }
}

/// What is placed, and in which gaps.
///
/// Pieces that share a gap can be pushed against its upper end one after the other, from the
/// topmost down, without leaving it. So trying, for each order of the pieces, the highest place in
/// each gap finds a plan if there is one. And a piece that fits into four gaps needs no fifth,
/// because the three others cannot be in all four: the search stays small however shredded memory
/// is.
pub(super) struct Search {
    pieces: [Piece; PIECES],
    /// For each piece, the gaps to try, in this order.
    gaps: [Vec<Region>; PIECES],
}

/// Where each piece of a [`Search`] goes; empty for one without a size.
pub(super) type Places = [Region; PIECES];

const PIECES: usize = 4;
/// Indices into the arrays of [`Search`].
pub(super) const KERNEL: usize = 0;
pub(super) const DEVICE_TREE: usize = 1;
pub(super) const INITRD: usize = 2;
const POOL: usize = 3;
/// Gaps that are tried for a piece.
pub(super) const GAPS_PER_PIECE: usize = PIECES;
/// Nothing has a place yet.
const NOWHERE: Places = [Region::new(0, 0); PIECES];

impl Search {
    /// For kernel, device tree and initrd.
    pub(super) fn new(map: &MemoryMap, request: &Request) -> Result<Self, Error> {
        let kernel = Piece::kernel(request);
        let device_tree = Piece::pages(request.device_tree);
        let initrd = Piece::pages(request.initrd);
        let free = map.free_for_pieces();
        let blocks = map.free_for_blocks();
        let gaps = [
            gaps_for(PieceName::Kernel, kernel, free.iter())?,
            gaps_for(PieceName::DeviceTree, device_tree, blocks.iter().rev())?,
            gaps_for(PieceName::Initrd, initrd, free.iter().rev())?,
            Vec::new(),
        ];
        Ok(Self { pieces: [kernel, device_tree, initrd, Piece::pages(0)], gaps })
    }

    /// With room for `pool`, too, in what is `free`, ascending.
    pub(super) fn keeping(&self, pool: &Pool, free: &[Region]) -> Self {
        let Self { mut pieces, mut gaps } = Self { pieces: self.pieces, gaps: self.gaps.clone() };
        pieces[POOL] = pool.piece();
        gaps[POOL] = pool.gaps(free);
        Self { pieces, gaps }
    }

    /// Bytes of all pieces.
    pub(super) fn size(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.size))
    }

    /// The kernel low and the others high; if that cannot be, everything wherever it goes.
    pub(super) fn run(&self) -> Option<Places> {
        let in_use = |index: &usize| self.pieces[*index].size > 0;
        let mut left: Vec<usize> = [DEVICE_TREE, INITRD, POOL].into_iter().filter(in_use).collect();
        if left.iter().any(|&index| self.gaps[index].is_empty()) {
            return None;
        }
        let kernel_low = self.gaps[KERNEL].iter().find_map(|gap| {
            let mut places = NOWHERE;
            places[KERNEL] = self.pieces[KERNEL].lowest(*gap)?;
            self.stack(&left, places)
        });
        kernel_low.or_else(|| {
            left.push(KERNEL);
            self.stack(&left, NOWHERE)
        })
    }

    /// Places the pieces that are `left`, in each order, each as high as it goes in one of its gaps.
    fn stack(&self, left: &[usize], places: Places) -> Option<Places> {
        if left.is_empty() {
            return Some(places);
        }
        let occupied: Vec<Region> = places.iter().map(|place| place.outward(PAGE)).collect();
        left.iter().find_map(|&index| {
            let piece = self.pieces[index];
            let left: Vec<usize> = left.iter().copied().filter(|&other| other != index).collect();
            self.gaps[index].iter().find_map(|gap| {
                let rest = subtract(vec![*gap], occupied.clone());
                let mut places = places;
                places[index] = rest.into_iter().rev().find_map(|rest| piece.highest(rest))?;
                self.stack(&left, places)
            })
        })
    }
}

/// The first gaps in which `piece` fits.
fn gaps_for<'a>(
    name: PieceName,
    piece: Piece,
    free: impl Iterator<Item = &'a Region> + Clone,
) -> Result<Vec<Region>, Error> {
    let fitting = free.clone().copied().filter(|gap| piece.fits(*gap));
    let gaps: Vec<Region> = fitting.take(GAPS_PER_PIECE).collect();
    if gaps.is_empty() && piece.size > 0 {
        return Err(Error::DoesNotFit {
            piece: name,
            size: piece.size,
            largest: free.map(|gap| gap.size()).max().unwrap_or(0),
        });
    }
    Ok(gaps)
}
