//! What memory there is, what of it is taken, and what the kernel will look for.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{
    BLOCK, PAGE, REACHABLE_END,
    command_line::{self, CmaParameter},
    pool::{self, Pool},
};
use crate::{
    devicetree::{self, DeviceTree, memory::Reservation},
    memory::Region,
    sorting::sort_by,
};

/// Memory that is there and memory that is taken.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    banks: Vec<Region>,
    pub(super) taken: Vec<Taken>,
    pub(super) pools: Vec<Pool>,
    /// Bytes that the kernel uses if told so, counted from the first bank's start.
    limit: Option<u64>,
}

/// A range that nothing may be loaded to.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) region: Region,
    pub(super) owner: Cow<'static, str>,
    mapping: Mapping,
}

/// Whether the kernel may map what lies in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// As normal memory.
    Normal,
    /// Not at all (`no-map`, secure memory): a cacheable mapping lets the processor touch it.
    Forbidden,
}

impl MemoryMap {
    /// A map of these banks, in any order; they may overlap or be empty.
    pub fn new(banks: impl IntoIterator<Item = Region>) -> Self {
        Self { banks: union(banks.into_iter().collect()), ..Self::default() }
    }

    /// Keeps `region` free of loaded pieces. Ranges may overlap and may lie outside of all banks.
    pub fn reserve(
        &mut self,
        region: Region,
        owner: impl Into<Cow<'static, str>>,
        mapping: Mapping,
    ) {
        if !region.is_empty() {
            self.taken.push(Taken { region, owner: owner.into(), mapping });
        }
    }

    /// Keeps free what a device tree reserves at a place.
    pub fn reserve_tree(&mut self, tree: DeviceTree<'_>) {
        for Reservation { region, owner, no_map } in devicetree::memory::reservations(tree) {
            let mapping = if no_map { Mapping::Forbidden } else { Mapping::Normal };
            self.reserve(region, String::from(owner), mapping);
        }
    }

    /// Leaves room for what the kernel's tree reserves without a place.
    pub fn leave_room(&mut self, tree: DeviceTree<'_>) {
        let pools = devicetree::memory::dynamic_reservations(tree).map(Pool::from);
        self.pools = pools.take(pool::POOLS_MAX).collect();
    }

    /// Does what the kernel's command line means for its memory: `mem=`, and `cma=` instead of the
    /// tree's default pool.
    pub fn obey(&mut self, command_line: &str) {
        self.limit = command_line::mem(command_line).or(self.limit);
        if let Some(parameter) = command_line::cma(command_line) {
            self.pools.retain(|pool| !pool.is_default);
            if let CmaParameter { size: 1.., .. } = parameter {
                self.pools.push(Pool::from(parameter));
            }
        }
    }

    /// The banks, ascending, without neighbours that touch.
    pub fn banks(&self) -> &[Region] {
        &self.banks
    }

    /// The ranges that are taken, as they were given.
    pub fn reserved(&self) -> impl Iterator<Item = Region> {
        self.taken.iter().map(|taken| taken.region)
    }

    /// Bytes of all banks.
    pub fn total(&self) -> u64 {
        self.banks.iter().fold(0, |sum, bank| sum.saturating_add(bank.size()))
    }

    /// The map of a kernel that uses less memory than there is.
    pub(super) fn limited(&self) -> Option<Self> {
        let mut left = self.limit.filter(|&limit| limit < self.total())?;
        let mut limited = Self { limit: None, ..self.clone() };
        for bank in &mut limited.banks {
            *bank = Region::new(bank.start(), bank.size().min(left));
            left -= bank.size();
        }
        limited.banks.retain(|bank| !bank.is_empty());
        Some(limited)
    }

    /// Free pages, ascending.
    pub fn free(&self) -> Vec<Region> {
        let pages = self.banks.iter().map(|bank| bank.inward(PAGE));
        let taken = self.taken.iter().map(|taken| taken.region.outward(PAGE));
        subtract(pages.collect(), taken.collect())
    }

    /// Free pages that bus masters reach, ascending.
    pub(super) fn free_for_pieces(&self) -> Vec<Region> {
        let reachable = |free: &Region| free.intersection(REACHABLE);
        self.free().iter().map(reachable).filter(|free| !free.is_empty()).collect()
    }

    /// Of these, those in blocks of 2 MiB that may be mapped cacheable as a whole, ascending.
    pub(super) fn free_for_blocks(&self) -> Vec<Region> {
        let blocks = self.banks.iter().map(|bank| bank.intersection(REACHABLE).inward(BLOCK));
        let taken = self.taken.iter().map(|taken| match taken.mapping {
            Mapping::Normal => taken.region.outward(PAGE),
            Mapping::Forbidden => taken.region.outward(BLOCK),
        });
        subtract(blocks.collect(), taken.collect())
    }
}

const REACHABLE: Region = Region::new(0, REACHABLE_END);

/// The same addresses as ascending regions that do not touch.
fn union(mut regions: Vec<Region>) -> Vec<Region> {
    regions.retain(|region| !region.is_empty());
    sort_by(&mut regions, Ord::cmp);
    let mut joined: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        match joined.last_mut() {
            Some(last) if region.start() <= last.end() => {
                *last = Region::between(last.start(), last.end().max(region.end()));
            }
            _ => joined.push(region),
        }
    }
    joined
}

/// What of `free` (ascending, apart) is not in `taken`, ascending.
pub(super) fn subtract(free: Vec<Region>, taken: Vec<Region>) -> Vec<Region> {
    let taken = union(taken);
    let mut rest = Vec::with_capacity(free.len());
    let mut next = 0;
    for region in free {
        let mut start = region.start();
        while let Some(hole) = taken.get(next)
            && hole.start() < region.end()
        {
            rest.push(Region::between(start, hole.start()));
            start = start.max(hole.end());
            if hole.end() > region.end() {
                break;
            }
            next += 1;
        }
        rest.push(Region::between(start, region.end()));
    }
    rest.retain(|region| !region.is_empty());
    rest
}
