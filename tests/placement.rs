//! Kernel, initrd and device tree in memories of all shapes.

#[path = "placement/pools.rs"]
mod pools;

use firn::{
    error::{Code, Coded},
    linux::{
        image::KernelImage,
        placement::{Error, InitrdLayout, Mapping, MemoryMap, Plan, REACHABLE_END, Request},
    },
    memory::Region,
};
use proptest::prelude::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BLOCK: u64 = 2 * MIB;
const DRAM: u64 = 0x4000_0000;

fn kernel(memory_size: u64, text_offset: u64) -> KernelImage {
    KernelImage { file_size: memory_size, memory_size, text_offset, proven_complete: true }
}

fn request(kernel_size: u64, initrd: u64) -> Request {
    Request { kernel: kernel(kernel_size, 0), initrd, device_tree: 128 * KIB }
}

/// The EVK as the loader finds it: itself, the DSP's regions of the mainline tree, TF-A in OCRAM.
fn evk(banks: &[(u64, u64)]) -> MemoryMap {
    let mut map = MemoryMap::new(banks.iter().map(|&(start, size)| Region::new(start, size)));
    map.reserve(Region::new(0x4020_0000, 40 * MIB), "firn", Mapping::Normal);
    map.reserve(Region::new(0x97_0000, 128 * KIB), "TF-A", Mapping::Forbidden);
    map.reserve(Region::new(0x9240_0000, 16 * MIB), "dsp@92400000", Mapping::Forbidden);
    map.reserve(Region::new(0x942f_0000, 32 * KIB), "vdev0vring0@942f0000", Mapping::Forbidden);
    map.reserve(Region::new(0x942f_8000, 32 * KIB), "vdev0vring1@942f8000", Mapping::Forbidden);
    map.reserve(Region::new(0x9430_0000, MIB), "vdev0buffer@94300000", Mapping::Forbidden);
    map
}

fn pieces(plan: &Plan) -> Vec<Region> {
    [Some(plan.kernel), Some(plan.device_tree), plan.initrd].into_iter().flatten().collect()
}

#[test]
fn boards_of_1_2_3_6_and_8_gib_get_a_60_mb_kernel_with_a_200_mb_initrd() {
    let memories: [&[(u64, u64)]; 6] = [
        &[(DRAM, GIB)],
        &[(DRAM, 2 * GIB)],
        &[(DRAM, 3 * GIB)],
        &[(DRAM, 3 * GIB), (4 * GIB, 3 * GIB)],
        &[(DRAM, 3 * GIB), (4 * GIB, 5 * GIB)],
        // With OP-TEE at 0x56000000, as TF-A and U-Boot describe it.
        &[(DRAM, 0x1600_0000), (0x5800_0000, 0xa800_0000), (4 * GIB, 3 * GIB)],
    ];
    for banks in memories {
        let plan = Plan::new(&evk(banks), &request(60 * MIB, 200 * MIB)).unwrap();
        assert_eq!(plan.kernel.start(), 0x42a0_0000, "the first 2 MiB boundary behind the loader");
        let initrd = plan.initrd.unwrap();
        assert_eq!(initrd.size(), 200 * MIB);
        assert!(initrd.start() >= plan.kernel.end());
        assert!(pieces(&plan).iter().all(|piece| piece.end() <= 4 * GIB));
    }
}

#[test]
fn the_kernel_goes_below_the_loader_if_it_fits_there() {
    let plan = Plan::new(&evk(&[(DRAM, GIB)]), &request(2 * MIB, MIB)).unwrap();
    assert_eq!(plan.kernel.start(), DRAM);
}

#[test]
fn a_kernel_with_a_text_offset_starts_so_far_behind_a_2_mib_boundary() {
    let request = Request { kernel: kernel(20 * MIB, 0x8_0000), ..request(0, MIB) };
    let plan = Plan::new(&MemoryMap::new([Region::new(DRAM, GIB)]), &request).unwrap();
    assert_eq!(plan.kernel.start(), DRAM + 0x8_0000);
}

#[test]
fn a_kernel_without_initrd_is_placed_without_one() {
    let plan = Plan::new(&evk(&[(DRAM, GIB)]), &request(60 * MIB, 0)).unwrap();
    assert_eq!(plan.initrd, None);
}

#[test]
fn memory_above_4_gib_alone_does_not_serve() {
    let map = MemoryMap::new([Region::new(4 * GIB, 4 * GIB)]);
    let error = Plan::new(&map, &request(MIB, MIB)).unwrap_err();
    assert_eq!(error.code(), Code::DoesNotFit);
}

#[test]
fn a_kernel_larger_than_memory_is_told_with_what_it_needs_and_what_there_is() {
    let error = Plan::new(&evk(&[(DRAM, GIB)]), &request(5 * GIB, MIB)).unwrap_err();
    assert_eq!(error.code(), Code::DoesNotFit);
    assert_eq!(
        error.to_string(),
        "the kernel does not fit into memory: it needs 5.0 GiB, the largest free range below \
         4 GiB has 982.0 MiB"
    );
}

#[test]
fn pieces_that_only_fit_one_by_one_are_told_together() {
    let map = MemoryMap::new([Region::new(DRAM, 64 * MIB)]);
    let error = Plan::new(&map, &request(40 * MIB, 40 * MIB)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kernel, initrd and device tree do not fit into memory together: they need 80.1 MiB of \
         64.0 MiB free below 4 GiB"
    );
}

#[test]
fn a_device_tree_that_the_kernel_would_not_take_is_refused() {
    let request = Request { device_tree: 2 * MIB + 1, ..request(MIB, 0) };
    let error = Plan::new(&evk(&[(DRAM, GIB)]), &request).unwrap_err();
    assert_eq!(error, Error::DeviceTreeTooLarge { size: 2 * MIB + 1 });
    assert_eq!(error.code(), Code::DoesNotFit);
}

#[test]
fn sizes_beyond_all_numbers_do_not_fit() {
    let map = evk(&[(DRAM, GIB)]);
    for kernel in [kernel(u64::MAX, 0), kernel(MIB, u64::MAX - 4095), kernel(u64::MAX, u64::MAX)] {
        let request = Request { kernel, ..request(0, u64::MAX) };
        assert_eq!(Plan::new(&map, &request).unwrap_err().code(), Code::DoesNotFit);
    }
}

#[test]
fn the_device_tree_keeps_out_of_2_mib_blocks_with_memory_that_must_not_be_mapped() {
    let mut map = MemoryMap::new([Region::new(DRAM, 16 * MIB)]);
    map.reserve(Region::new(DRAM + 15 * MIB, 64 * KIB), "tee", Mapping::Forbidden);
    let plan = Plan::new(&map, &request(2 * MIB, 0)).unwrap();
    assert_eq!(plan.device_tree.end(), DRAM + 14 * MIB);
}

#[test]
fn initrds_are_laid_out_with_each_at_a_multiple_of_4() {
    let layout = InitrdLayout::new(&[5, 8, 3]).unwrap();
    assert_eq!(layout, InitrdLayout { offsets: vec![0, 8, 16], size: 19 });
    assert_eq!(InitrdLayout::new(&[]).unwrap().size, 0);
}

#[test]
fn an_empty_initrd_is_told_by_its_number() {
    let error = InitrdLayout::new(&[5, 0]).unwrap_err();
    assert_eq!(error.code(), Code::InitrdEmpty);
    assert_eq!(error.to_string(), "initrd 2 is empty");
}

#[test]
fn initrds_that_cannot_be_added_up_do_not_fit() {
    for sizes in [[u64::MAX, 1], [u64::MAX - 4, 8]] {
        assert_eq!(InitrdLayout::new(&sizes), Err(Error::InitrdTooLarge));
    }
}

#[test]
fn the_map_names_everything_in_ascending_order() {
    let mut map = MemoryMap::new([Region::new(DRAM, GIB)]);
    map.reserve(Region::new(0x4020_0000, 40 * MIB), "firn", Mapping::Normal);
    let plan = Plan::new(&map, &request(60 * MIB, 30 * MIB)).unwrap();
    assert_eq!(
        plan.to_string(),
        "0x040000000-0x080000000 memory, 1.0 GiB\n\
         \x20 0x040200000-0x042a00000 firn, 40.0 MiB\n\
         \x20 0x042a00000-0x046600000 kernel, 60.0 MiB\n\
         \x20 0x07e1e0000-0x07ffe0000 initrd, 30.0 MiB\n\
         \x20 0x07ffe0000-0x080000000 device tree, 128.0 KiB\n\
         free: 893.8 MiB"
    );
}

#[test]
fn a_hundred_thousand_reservations_are_planned_around_in_no_time() {
    let mut map = MemoryMap::new([Region::new(DRAM, 3 * GIB)]);
    for index in 0..100_000 {
        map.reserve(Region::new(DRAM + index * 16 * KIB, 1), "speck", Mapping::Forbidden);
    }
    let before = std::time::Instant::now();
    let plan = Plan::new(&map, &request(60 * MIB, 200 * MIB)).unwrap();
    assert!(plan.kernel.start() >= DRAM + 100_000 * 16 * KIB - 16 * KIB);
    assert!(before.elapsed().as_secs() < 60);
}

type Banks = Vec<(u64, u64)>;
/// Start, size, and whether the kernel must not map it.
type Reserved = Vec<(u64, u64, bool)>;

/// Banks and reservations with sizes of any byte.
fn any_memory() -> impl Strategy<Value = (Banks, Reserved)> {
    let bank = (prop_oneof![0..8 * GIB, Just(DRAM)], 0..4 * GIB);
    let taken = (0..8 * GIB, prop_oneof![0..64 * KIB, 0..GIB, any::<u64>()], any::<bool>());
    (proptest::collection::vec(bank, 0..4), proptest::collection::vec(taken, 0..12))
}

fn any_map() -> impl Strategy<Value = MemoryMap> {
    any_memory().prop_map(|(banks, taken)| {
        let mut map = MemoryMap::new(banks.iter().map(|&(start, size)| Region::new(start, size)));
        for (start, size, forbidden) in taken {
            map.reserve(Region::new(start, size), "taken", mapping(forbidden));
        }
        map
    })
}

fn mapping(forbidden: bool) -> Mapping {
    if forbidden { Mapping::Forbidden } else { Mapping::Normal }
}

/// A small memory in which every edge and size is a multiple of a granule, so that all placements
/// can be tried one by one.
const GRANULE: u64 = 256 * KIB;
const GRANULES: u32 = 96;
const GRANULES_PER_BLOCK: u32 = 8;

#[derive(Clone, Debug)]
struct SmallMemory {
    start: u64,
    banks: u128,
    normal: u128,
    forbidden: u128,
}

fn ones(start: u32, size: u32) -> u128 {
    (0..size).fold(0, |mask, index| mask | 1u128.checked_shl(start + index).unwrap_or(0))
}

impl SmallMemory {
    fn any() -> impl Strategy<Value = Self> {
        let ranges = |count| {
            proptest::collection::vec((0..GRANULES, 0..12u32), count).prop_map(|ranges| {
                let all = ranges.into_iter().fold(0, |all, (at, size)| all | ones(at, size));
                all & ones(0, GRANULES)
            })
        };
        let start = prop_oneof![3 => Just(DRAM), 1 => Just(REACHABLE_END - 16 * MIB)];
        (start, ranges(0..3), ranges(0..4), ranges(0..3)).prop_map(
            |(start, holes, normal, forbidden)| Self {
                start,
                banks: ones(0, GRANULES) & !holes,
                normal,
                forbidden,
            },
        )
    }

    fn regions(&self, mask: u128) -> impl Iterator<Item = Region> {
        let start = self.start;
        (0..GRANULES)
            .filter(move |granule| mask >> granule & 1 == 1)
            .map(move |granule| Region::new(start + u64::from(granule) * GRANULE, GRANULE))
    }

    fn map(&self) -> MemoryMap {
        let mut map = MemoryMap::new(self.regions(self.banks));
        for region in self.regions(self.normal) {
            map.reserve(region, "normal", Mapping::Normal);
        }
        for region in self.regions(self.forbidden) {
            map.reserve(region, "forbidden", Mapping::Forbidden);
        }
        map
    }

    fn reachable(&self) -> u128 {
        let granules = (REACHABLE_END - self.start) / GRANULE;
        self.banks & ones(0, u32::try_from(granules).unwrap().min(GRANULES))
    }

    /// Granules that may hold a device tree.
    fn for_device_tree(&self, free: u128) -> u128 {
        let blocks = (0..GRANULES / GRANULES_PER_BLOCK)
            .map(|block| ones(block * GRANULES_PER_BLOCK, GRANULES_PER_BLOCK))
            .filter(|block| block & !self.reachable() == 0 && block & self.forbidden == 0);
        free & blocks.fold(0, |all, block| all | block)
    }

    /// Tries every place of every piece.
    fn has_room_for(&self, kernel: u32, offset: u32, initrd: u32, device_tree: u32) -> bool {
        let free = self.reachable() & !self.normal & !self.forbidden;
        let places = |size: u32, free: u128| {
            (0..=GRANULES - size)
                .map(move |at| (at, ones(at, size)))
                .filter(move |(_, place)| place & !free == 0)
        };
        places(kernel, free)
            .filter(|(at, _)| {
                (at + 4 * GRANULES_PER_BLOCK - offset).is_multiple_of(GRANULES_PER_BLOCK)
            })
            .any(|(_, kernel)| {
                places(device_tree, self.for_device_tree(free & !kernel)).any(|(_, device_tree)| {
                    places(initrd, free & !kernel & !device_tree).next().is_some()
                })
            })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_is_placed_is_placed_by_the_rules(
        map in any_map(),
        kernel_size in 64..512 * MIB,
        text_offset in prop_oneof![Just(0), Just(0x8_0000), (0..1024u64).prop_map(|page| page * 4 * KIB)],
        initrd in prop_oneof![Just(0), 1..GIB],
        device_tree in 40..=2 * MIB,
    ) {
        let request = Request { kernel: kernel(kernel_size, text_offset), initrd, device_tree };
        let Ok(plan) = Plan::new(&map, &request) else { return Ok(()) };
        let pieces = pieces(&plan);
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(map.banks().iter().any(|bank| bank.contains(*piece)));
            prop_assert!(piece.end() <= REACHABLE_END);
            prop_assert!(!map.reserved().any(|taken| taken.overlaps(*piece)));
            prop_assert!(!pieces[..index].iter().any(|other| other.overlaps(*piece)));
        }
        prop_assert_eq!(plan.kernel.size(), kernel_size);
        prop_assert_eq!((plan.kernel.start() - text_offset) % BLOCK, 0);
        prop_assert_eq!(plan.device_tree.size(), device_tree);
        prop_assert_eq!(plan.device_tree.start() % 8, 0);
        prop_assert_eq!(plan.initrd.map_or(0, Region::size), initrd);
        prop_assert_eq!(plan.initrd.map_or(0, Region::start) % (4 * KIB), 0);
        // The window of booting.rst, spelled out.
        let lowest = pieces.iter().map(|piece| piece.start()).min().unwrap();
        prop_assert!(pieces.iter().all(|piece| piece.end() <= lowest / GIB * GIB + 32 * GIB));
    }

    #[test]
    fn the_same_memory_gives_the_same_plan(map in any_map(), initrd in 0..GIB) {
        let plan = || Plan::new(&map, &request(40 * MIB, initrd)).map(|plan| plan.to_string());
        prop_assert_eq!(plan(), plan());
    }

    #[test]
    fn what_fits_at_all_is_placed_and_what_does_not_is_refused(
        memory in SmallMemory::any(),
        kernel_size in 1..24u32,
        offset in 0..16u32,
        initrd in 1..24u32,
        device_tree in 1..=8u32,
    ) {
        let request = Request {
            kernel: kernel(u64::from(kernel_size) * GRANULE, u64::from(offset) * GRANULE),
            initrd: u64::from(initrd) * GRANULE,
            device_tree: u64::from(device_tree) * GRANULE,
        };
        let planned = Plan::new(&memory.map(), &request);
        let expected = memory.has_room_for(kernel_size, offset, initrd, device_tree);
        prop_assert_eq!(planned.is_ok(), expected, "{:?}", planned);
    }
}
