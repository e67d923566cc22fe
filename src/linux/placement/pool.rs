//! Memory that the kernel looks for by itself: pools for DMA, CMA above all.
//!
//! Before it hands out any other memory, Linux gives each its place, in the tree's order: the
//! highest free one in the first range that has one (`drivers/of/of_reserved_mem.c`,
//! `memblock_phys_alloc_range` in `mm/memblock.c`). One that finds none is an error in the kernel's
//! log, and what needs it does not work.

use alloc::{string::String, vec, vec::Vec};

use super::{
    PAGE, REACHABLE_END,
    command_line::CmaParameter,
    map::subtract,
    search::{GAPS_PER_PIECE, Piece},
};
use crate::{devicetree::memory::DynamicReservation, memory::Region};

/// Pools that are cared for; real trees have one.
pub(super) const POOLS_MAX: usize = 8;
/// Ranges of a pool that are looked at; real trees have one.
const RANGES_MAX: usize = 4;
/// What the start of a CMA pool is a multiple of, in bytes: `CMA_MIN_ALIGNMENT_BYTES` of kernels with
/// 4 KiB pages, 2 MiB since 5.18 and 4 MiB before.
const CMA_ALIGNMENT: u64 = 4 << 20;

/// A range that the kernel will look for.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) owner: String,
    pub(super) size: u64,
    alignment: u64,
    /// Whether `cma=` takes its place.
    pub(super) is_default: bool,
    ranges: Vec<Region>,
}

impl From<DynamicReservation<'_>> for Pool {
    fn from(reservation: DynamicReservation<'_>) -> Self {
        let DynamicReservation { owner, size, mut ranges, .. } = reservation;
        let least = if reservation.reusable { CMA_ALIGNMENT } else { PAGE };
        let alignment = reservation.alignment.checked_next_power_of_two().unwrap_or(1 << 63);
        if ranges.is_empty() {
            ranges = vec![Region::between(0, u64::MAX)];
        }
        ranges.truncate(RANGES_MAX);
        let alignment = alignment.max(least);
        Self { owner: owner.into(), size, alignment, is_default: reservation.default_pool, ranges }
    }
}

impl From<CmaParameter> for Pool {
    fn from(parameter: CmaParameter) -> Self {
        // Without a place, it goes where all devices reach it.
        let place = parameter.place.unwrap_or(Region::new(0, REACHABLE_END));
        Self {
            owner: "cma=".into(),
            size: parameter.size,
            alignment: CMA_ALIGNMENT,
            is_default: true,
            ranges: vec![place],
        }
    }
}

impl Pool {
    pub(super) fn piece(&self) -> Piece {
        Piece { size: self.size, alignment: self.alignment, offset: 0 }
    }

    /// The gaps to try, given what is `free`, ascending. In each of its ranges, a piece can spoil no
    /// more than one.
    pub(super) fn gaps(&self, free: &[Region]) -> Vec<Region> {
        let in_range = |range: &Region| {
            let range = *range;
            let gaps = free.iter().rev().map(move |gap| gap.intersection(range));
            gaps.filter(|gap| self.piece().fits(*gap)).take(GAPS_PER_PIECE)
        };
        self.ranges.iter().flat_map(in_range).collect()
    }

    /// Where the kernel puts it.
    fn place(&self, free: &[Region]) -> Option<Region> {
        self.gaps(free).first().and_then(|gap| self.piece().highest(*gap))
    }
}

/// Where the kernel puts each, one after the other, given what is `free`, ascending.
pub(super) fn places(pools: &[Pool], mut free: Vec<Region>) -> Vec<Option<Region>> {
    let mut place = |pool: &Pool| {
        let place = pool.place(&free)?;
        free = subtract(core::mem::take(&mut free), vec![place.outward(PAGE)]);
        Some(place)
    };
    pools.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cma=` without a place.
    fn pool(size: u64) -> Pool {
        Pool::from(CmaParameter { size, place: None })
    }

    #[test]
    fn a_pool_goes_where_linux_puts_it() {
        // Free memory and the place of the pool as NXP's kernel 6.6.36 printed them.
        let free = [0x4000_0000..0x5500_0000, 0x5550_0000..0x8000_0000, 0xa380_0000..0x1_0000_0000];
        let free = free.map(|gap| Region::between(gap.start, gap.end)).to_vec();
        let place = Region::between(0xc400_0000, 0x1_0000_0000);
        assert_eq!(places(&[pool(0x3c00_0000)], free), [Some(place)]);
    }

    #[test]
    fn pools_go_one_below_the_other_and_the_one_without_room_is_skipped() {
        let free = vec![Region::new(0x4000_0000, 64 << 20)];
        let pools = [pool(16 << 20), pool(64 << 20), pool(32 << 20)];
        let expected = [
            Some(Region::new(0x4300_0000, 16 << 20)),
            None,
            Some(Region::new(0x4100_0000, 32 << 20)),
        ];
        assert_eq!(places(&pools, free), expected);
    }
}
