//! Where kernel, initrd and device tree go.
//!
//! One planner over what memory there is and what is taken. It relies on the caller for the facts:
//! banks, and every range that something still lives in (loader, heap, page tables, firmware, the
//! firmware's device tree, reserved memory of the tree that the kernel gets). Same facts, same
//! plan; whenever the three pieces fit at all, they are placed.
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

#![forbid(unsafe_code)]

use alloc::{borrow::Cow, string::String, vec, vec::Vec};
use core::fmt;

use super::image::KernelImage;
use crate::{
    devicetree::{self, DeviceTree, memory::Reservation},
    error::{Code, Coded},
    memory::{Region, Size},
    sorting::{sort_by, sort_by_key},
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

/// Memory that is there and memory that is taken.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    banks: Vec<Region>,
    taken: Vec<Taken>,
}

/// A range that nothing may be loaded to.
#[derive(Clone, Debug)]
struct Taken {
    region: Region,
    owner: Cow<'static, str>,
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
        Self { banks: union(banks.into_iter().collect()), taken: Vec::new() }
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

    /// Keeps free what the device tree that the kernel will get reserves.
    pub fn reserve_tree(&mut self, tree: DeviceTree<'_>) {
        for Reservation { region, owner, no_map } in devicetree::memory::reservations(tree) {
            let mapping = if no_map { Mapping::Forbidden } else { Mapping::Normal };
            self.reserve(region, String::from(owner), mapping);
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

    /// Free pages that bus masters reach, ascending.
    fn free(&self) -> Vec<Region> {
        let pages = self.banks.iter().map(|bank| reachable_multiples(*bank, PAGE));
        let taken = self.taken.iter().map(|taken| pages_around(taken.region));
        subtract(pages.collect(), taken.collect())
    }

    /// Free pages in blocks of 2 MiB that may be mapped cacheable as a whole, ascending.
    fn free_for_blocks(&self) -> Vec<Region> {
        let blocks = self.banks.iter().map(|bank| reachable_multiples(*bank, BLOCK));
        let taken = self.taken.iter().map(|taken| match taken.mapping {
            Mapping::Normal => pages_around(taken.region),
            Mapping::Forbidden => blocks_around(taken.region),
        });
        subtract(blocks.collect(), taken.collect())
    }
}

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
}

impl Plan {
    /// Finds a place for everything.
    pub fn new(map: &MemoryMap, request: &Request) -> Result<Self, Error> {
        if request.device_tree > DEVICE_TREE_MAX {
            return Err(Error::DeviceTreeTooLarge { size: request.device_tree });
        }
        let search = Search::new(map, request)?;
        let [kernel, device_tree, initrd] =
            search.run().ok_or_else(|| Error::DoNotFitTogether {
                size: search.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.size)),
                free: map.free().iter().map(|gap| gap.size()).sum(),
            })?;
        Ok(Self {
            kernel,
            initrd: (request.initrd > 0).then_some(initrd),
            device_tree,
            map: map.clone(),
        })
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

/// One thing to place: it starts at a multiple of `alignment` plus `offset`.
#[derive(Clone, Copy)]
struct Piece {
    name: PieceName,
    size: u64,
    alignment: u64,
    offset: u64,
}

impl Piece {
    fn kernel(request: &Request) -> Self {
        let KernelImage { memory_size: size, text_offset: offset, .. } = request.kernel;
        Self { name: PieceName::Kernel, size, alignment: BLOCK, offset }
    }

    fn initrd(request: &Request) -> Self {
        Self { name: PieceName::Initrd, size: request.initrd, alignment: PAGE, offset: 0 }
    }

    fn device_tree(request: &Request) -> Self {
        Self { name: PieceName::DeviceTree, size: request.device_tree, alignment: PAGE, offset: 0 }
    }

    /// Its lowest place in `gap`.
    fn lowest(self, gap: Region) -> Option<Region> {
        let base = gap.start().saturating_sub(self.offset);
        self.at(base.checked_next_multiple_of(self.alignment)?, gap)
    }

    /// Its highest place in `gap`.
    fn highest(self, gap: Region) -> Option<Region> {
        let last = gap.end().checked_sub(self.size)?.checked_sub(self.offset)?;
        self.at(last - last % self.alignment, gap)
    }

    fn at(self, base: u64, gap: Region) -> Option<Region> {
        let start = base.checked_add(self.offset)?;
        let place = Region::between(start, start.checked_add(self.size)?);
        gap.contains(place).then_some(place)
    }

    fn fits(self, gap: Region) -> bool {
        self.highest(gap).is_some()
    }
}

/// The search for places.
///
/// Pieces that share a gap can be pushed against its upper end one after the other, from the
/// topmost down, without leaving it. So trying, for each order of the three pieces, the highest
/// place in each gap finds a plan if there is one. And a piece that fits into three gaps needs no
/// fourth, because the two others cannot be in all three: the search stays small however shredded
/// memory is.
struct Search {
    pieces: [Piece; 3],
    /// For each piece, the gaps to try, in this order.
    gaps: [Vec<Region>; 3],
}

/// Indices into the arrays of [`Search`].
const KERNEL: usize = 0;
const DEVICE_TREE: usize = 1;
const INITRD: usize = 2;
/// Gaps that are tried for a piece.
const GAPS_PER_PIECE: usize = 3;
/// Nothing has a place yet.
const NOWHERE: [Region; 3] = [Region::new(0, 0); 3];

impl Search {
    fn new(map: &MemoryMap, request: &Request) -> Result<Self, Error> {
        let pieces = [Piece::kernel(request), Piece::device_tree(request), Piece::initrd(request)];
        let free = map.free();
        let gaps = [
            gaps_for(pieces[KERNEL], free.iter())?,
            gaps_for(pieces[DEVICE_TREE], map.free_for_blocks().iter().rev())?,
            gaps_for(pieces[INITRD], free.iter().rev())?,
        ];
        Ok(Self { pieces, gaps })
    }

    /// The kernel low and the others high; if that cannot be, everything wherever it goes.
    fn run(&self) -> Option<[Region; 3]> {
        self.kernel_low().or_else(|| {
            let orders = [
                [DEVICE_TREE, INITRD, KERNEL],
                [INITRD, DEVICE_TREE, KERNEL],
                [DEVICE_TREE, KERNEL, INITRD],
                [INITRD, KERNEL, DEVICE_TREE],
                [KERNEL, DEVICE_TREE, INITRD],
                [KERNEL, INITRD, DEVICE_TREE],
            ];
            orders.iter().find_map(|order| self.stack(order, NOWHERE))
        })
    }

    fn kernel_low(&self) -> Option<[Region; 3]> {
        self.gaps[KERNEL].iter().find_map(|gap| {
            let mut places = NOWHERE;
            places[KERNEL] = self.pieces[KERNEL].lowest(*gap)?;
            let orders = [[DEVICE_TREE, INITRD], [INITRD, DEVICE_TREE]];
            orders.iter().find_map(|order| self.stack(order, places))
        })
    }

    /// Places the pieces of `order`, each as high as it goes in one of its gaps.
    fn stack(&self, order: &[usize], places: [Region; 3]) -> Option<[Region; 3]> {
        let Some((&index, order)) = order.split_first() else { return Some(places) };
        let piece = self.pieces[index];
        if piece.size == 0 {
            return self.stack(order, places);
        }
        let occupied: Vec<Region> = places.iter().copied().map(pages_around).collect();
        self.gaps[index].iter().find_map(|gap| {
            subtract(vec![*gap], occupied.clone()).into_iter().rev().find_map(|rest| {
                let mut places = places;
                places[index] = piece.highest(rest)?;
                self.stack(order, places)
            })
        })
    }
}

/// The first gaps in which `piece` fits.
fn gaps_for<'a>(
    piece: Piece,
    free: impl Iterator<Item = &'a Region> + Clone,
) -> Result<Vec<Region>, Error> {
    let fitting = free.clone().copied().filter(|gap| piece.fits(*gap));
    let gaps: Vec<Region> = fitting.take(GAPS_PER_PIECE).collect();
    if gaps.is_empty() && piece.size > 0 {
        return Err(Error::DoesNotFit {
            piece: piece.name,
            size: piece.size,
            largest: free.map(|gap| gap.size()).max().unwrap_or(0),
        });
    }
    Ok(gaps)
}

/// The whole pages that `region` touches.
fn pages_around(region: Region) -> Region {
    multiples_around(region, PAGE)
}

/// The whole blocks of 2 MiB that `region` touches.
fn blocks_around(region: Region) -> Region {
    multiples_around(region, BLOCK)
}

fn multiples_around(region: Region, unit: u64) -> Region {
    let end = region.end().checked_next_multiple_of(unit).unwrap_or(u64::MAX);
    Region::between(region.start() / unit * unit, end)
}

/// The whole multiples of `unit` in `region` that bus masters reach.
fn reachable_multiples(region: Region, unit: u64) -> Region {
    let region = region.intersection(Region::between(0, REACHABLE_END));
    Region::between(region.start().next_multiple_of(unit), region.end() / unit * unit)
}

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
fn subtract(free: Vec<Region>, taken: Vec<Region>) -> Vec<Region> {
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

impl fmt::Display for Plan {
    /// The memory map, one range a line, ascending.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Region, &str)> =
            self.map.taken.iter().map(|taken| (taken.region, &*taken.owner)).collect();
        lines.push((self.kernel, "kernel"));
        lines.push((self.device_tree, "device tree"));
        lines.extend(self.initrd.map(|initrd| (initrd, "initrd")));
        lines.extend(self.map.banks.iter().map(|bank| (*bank, "")));
        // A bank comes before what starts with it.
        sort_by_key(&mut lines, |(region, owner)| (region.start(), !owner.is_empty()));
        for (index, (region, owner)) in lines.into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let size = Size(region.size());
            match owner {
                "" => write!(f, "{region} memory, {size}")?,
                owner => write!(f, "  {region} {owner}, {size}")?,
            }
        }
        Ok(())
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
