//! Where kernel, initrd and device tree go.
//!
//! One planner over what memory there is and what is taken. It relies on the caller for the facts:
//! banks, and every range that something still lives in (loader, heap, page tables, firmware, the
//! firmware's device tree, reserved memory of the tree that the kernel gets). Same facts, same
//! plan; whenever the three pieces fit at all, they are placed. `docs/memory.md` tells the same to
//! users.
//!
//! Rules, from Linux `Documentation/arch/arm64/booting.rst`:
//! * The kernel starts `text_offset` bytes behind a 2 MiB boundary and owns `image_size` bytes.
//!   Low is best, whatever its flags say: kernels before 4.6 cannot use what is below them, and
//!   those before 3.17 need an unknown amount behind.
//! * Kernel and initrd lie in one window of 32 GiB that starts at a multiple of 1 GiB.
//! * The device tree is 8-aligned and at most 2 MiB. The kernel maps it cacheable in blocks of
//!   2 MiB, so no such block may hold anything that is not to be mapped that way.
//!
//! And of this SoC: uSDHC writes with 32-bit addresses, so everything stays below 4 GiB, which
//! makes the window rule true as well.
//!
//! What the kernel reserves by itself ([`pool`]) finds a place afterwards, if that can be: a plan
//! that leaves room for the largest such pool is preferred to any that does not. Where there is
//! none, the kernel is booted without the pool, which it survives, and [`Plan::warnings`] tell.

#![forbid(unsafe_code)]

mod command_line;
mod map;
mod pool;
mod search;

use alloc::{format, string::String, vec::Vec};
use core::{cmp::Reverse, fmt};

pub use self::map::{Mapping, MemoryMap};
use self::{
    map::subtract,
    pool::Pool,
    search::{DEVICE_TREE, INITRD, KERNEL, Search},
};
use super::image::KernelImage;
use crate::{
    error::{Code, Coded},
    memory::{Region, Size},
    sorting::sort_by_key,
};

/// The end of what a 32-bit bus master reaches.
pub const REACHABLE_END: u64 = 1 << 32;
/// The largest device tree that the kernel takes, in bytes.
pub const DEVICE_TREE_MAX: u64 = 2 << 20;

/// Kernel bases are multiples of this, and the kernel maps the device tree in blocks of this size.
const BLOCK: u64 = 2 << 20;
/// Pieces share no page, so that none shares a cache line with another.
const PAGE: u64 = 4096;
/// Each initrd of several starts at a multiple of this, as the kernel's cpio reader wants it.
const INITRD_ALIGNMENT: u64 = 4;
/// Reservations that a printed map names; a broken tree may hold any number.
const NAMED_MAX: usize = 64;

/// The sizes of what is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The kernel.
    pub kernel: KernelImage,
    /// Bytes of all initrds together ([`InitrdLayout::size`]); 0 for none.
    pub initrd: u64,
    /// Bytes of the device tree with room for what is patched in.
    pub device_tree: u64,
}

/// Where everything goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All that belongs to the kernel, BSS included. The file goes to its start, which is also the
    /// entry.
    pub kernel: Region,
    /// The initrds, one behind the other.
    pub initrd: Option<Region>,
    /// The device tree.
    pub device_tree: Region,
    map: MemoryMap,
    /// What the kernel reserves by itself, and where it will most likely put it.
    pools: Vec<(Pool, Option<Region>)>,
    /// Bytes of `mem=`, if the pieces need more.
    exceeded: Option<u64>,
}

impl Plan {
    /// Finds a place for everything, in the memory that the kernel uses if that is enough.
    pub fn new(map: &MemoryMap, request: &Request) -> Result<Self, Error> {
        if request.device_tree > DEVICE_TREE_MAX {
            return Err(Error::DeviceTreeTooLarge { size: request.device_tree });
        }
        let limited = map.limited();
        if let Some(plan) = limited.as_ref().and_then(|map| Self::within(map, request).ok()) {
            return Ok(plan);
        }
        let exceeded = limited.map(|map| map.total());
        Ok(Self { exceeded, ..Self::within(map, request)? })
    }

    fn within(map: &MemoryMap, request: &Request) -> Result<Self, Error> {
        let search = Search::new(map, request)?;
        let free = map.free();
        let mut largest_first: Vec<&Pool> = map.pools.iter().collect();
        sort_by_key(&mut largest_first, |pool| Reverse(pool.size));
        let places = largest_first
            .iter()
            .find_map(|pool| search.keeping(pool, &free).run())
            .or_else(|| search.run())
            .ok_or_else(|| Error::DoNotFitTogether {
                size: search.size(),
                free: map.free_for_pieces().iter().map(|gap| gap.size()).sum(),
            })?;
        let mut plan = Self {
            kernel: places[KERNEL],
            initrd: (request.initrd > 0).then_some(places[INITRD]),
            device_tree: places[DEVICE_TREE],
            map: map.clone(),
            pools: Vec::new(),
            exceeded: None,
        };
        let places = pool::places(&map.pools, plan.free());
        plan.pools = map.pools.iter().cloned().zip(places).collect();
        Ok(plan)
    }

    /// What is left, ascending.
    pub fn free(&self) -> Vec<Region> {
        let pieces = [Some(self.kernel), Some(self.device_tree), self.initrd];
        let pieces = pieces.into_iter().flatten().map(|piece| piece.outward(PAGE));
        subtract(self.map.free(), pieces.collect())
    }

    /// What the kernel will do without.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let exceeded = self.exceeded.map(|limit| {
            format!(
                "the {} of mem= do not hold kernel, initrd and device tree, which lie outside of them",
                Size(limit)
            )
        });
        let lost = self.pools.iter().filter(|(_, place)| place.is_none()).map(|(pool, _)| {
            format!(
                "{}: no {} are left where it may lie; the kernel starts without it",
                pool.owner,
                Size(pool.size)
            )
        });
        exceeded.into_iter().chain(lost)
    }
}

/// Sizes and offsets of several initrds that the kernel sees as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitrdLayout {
    /// Offset of each in the whole, in bytes. What lies between two must be zeros.
    pub offsets: Vec<u64>,
    /// Bytes of the whole.
    pub size: u64,
}

impl InitrdLayout {
    /// Lays out files of these sizes one behind the other.
    pub fn new(sizes: &[u64]) -> Result<Self, Error> {
        let mut layout = Self { offsets: Vec::with_capacity(sizes.len()), size: 0 };
        for (index, &size) in sizes.iter().enumerate() {
            if size == 0 {
                return Err(Error::InitrdEmpty { index });
            }
            let offset = layout.size.checked_next_multiple_of(INITRD_ALIGNMENT);
            let end = offset.and_then(|offset| offset.checked_add(size));
            let (Some(offset), Some(end)) = (offset, end) else {
                return Err(Error::InitrdTooLarge);
            };
            layout.offsets.push(offset);
            layout.size = end;
        }
        Ok(layout)
    }
}

/// What a message calls a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceName {
    /// The kernel with its BSS.
    Kernel,
    /// All initrds together.
    Initrd,
    /// The device tree.
    DeviceTree,
}

impl fmt::Display for PieceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::DeviceTree => "device tree",
        })
    }
}

impl fmt::Display for Plan {
    /// The memory map, one range a line, ascending.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Region, &str, &str)> =
            self.map.taken.iter().map(|taken| (taken.region, &*taken.owner, "")).collect();
        sort_by_key(&mut lines, |(region, ..)| region.start());
        let unnamed = lines.len().saturating_sub(NAMED_MAX);
        lines.truncate(NAMED_MAX);
        lines.push((self.kernel, "kernel", ""));
        lines.push((self.device_tree, "device tree", ""));
        lines.extend(self.initrd.map(|initrd| (initrd, "initrd", "")));
        lines.extend(
            self.pools
                .iter()
                .filter_map(|(pool, place)| place.map(|place| (place, &*pool.owner, ", expected"))),
        );
        lines.extend(self.map.banks().iter().map(|bank| (*bank, "", "")));
        // A bank comes before what starts with it.
        sort_by_key(&mut lines, |(region, owner, _)| (region.start(), !owner.is_empty()));
        for (region, owner, remark) in lines {
            let size = Size(region.size());
            match owner {
                "" => writeln!(f, "{region} memory, {size}")?,
                owner => writeln!(f, "  {region} {owner}, {size}{remark}")?,
            }
        }
        if unnamed > 0 {
            writeln!(f, "  and {unnamed} more reservations")?;
        }
        write!(f, "free: {}", Size(self.free().iter().map(|gap| gap.size()).sum()))
    }
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A piece fits nowhere, even alone.
    DoesNotFit {
        /// Which.
        piece: PieceName,
        /// Bytes it needs.
        size: u64,
        /// Bytes of the largest free range.
        largest: u64,
    },
    /// Each piece fits, but not all of them.
    DoNotFitTogether {
        /// Bytes they need.
        size: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The kernel does not take so large a device tree.
    DeviceTreeTooLarge {
        /// Its bytes.
        size: u64,
    },
    /// An initrd has no bytes.
    InitrdEmpty {
        /// Which, counted from 0.
        index: usize,
    },
    /// The sizes of the initrds add up to more than can be counted.
    InitrdTooLarge,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::InitrdEmpty { .. } => Code::InitrdEmpty,
            _ => Code::DoesNotFit,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DoesNotFit { piece, size, largest } => write!(
                f,
                "the {piece} does not fit into memory: it needs {}, the largest free range below \
                 4 GiB has {}",
                Size(size),
                Size(largest)
            ),
            Self::DoNotFitTogether { size, free } => write!(
                f,
                "kernel, initrd and device tree do not fit into memory together: they need {} of \
                 {} free below 4 GiB",
                Size(size),
                Size(free)
            ),
            Self::DeviceTreeTooLarge { size } => write!(
                f,
                "the device tree does not fit: it has {}, the kernel takes at most {}",
                Size(size),
                Size(DEVICE_TREE_MAX)
            ),
            Self::InitrdEmpty { index } => write!(f, "initrd {} is empty", index + 1),
            Self::InitrdTooLarge => f.write_str("the initrds do not fit into any memory"),
        }
    }
}

impl core::error::Error for Error {}
