//! What the kernel reserves by itself still finds its place, and what the command line says counts.

use super::*;
use firn::devicetree::{DeviceTree, DeviceTreeBuf};

const NXP_EVK: &[u8] = include_bytes!("../fixtures/devicetree/nxp-evk.dtb");
const NXP_EVK_RPMSG: &[u8] = include_bytes!("../fixtures/devicetree/nxp-evk-rpmsg.dtb");
const BARE: &[u8] = include_bytes!("../fixtures/devicetree/smallest.dtb");

fn tree(bytes: &[u8]) -> DeviceTree<'_> {
    DeviceTree::validate(bytes).unwrap()
}

/// The map that a tree gives: the loader is where it always is.
fn map_of(banks: &[(u64, u64)], bytes: &[u8], command_line: &str) -> MemoryMap {
    let mut map = MemoryMap::new(banks.iter().map(|&(start, size)| Region::new(start, size)));
    map.reserve(Region::new(0x4020_0000, 40 * MIB), "firn", Mapping::Normal);
    map.reserve_tree(tree(bytes));
    map.leave_room(tree(bytes));
    map.obey(command_line);
    map
}

fn warnings(plan: &Plan) -> Vec<String> {
    plan.warnings().collect()
}

/// The line of the map that tells of `owner`.
fn line_of(plan: &Plan, owner: &str) -> Option<String> {
    let marked = format!(" {owner}, ");
    plan.to_string().lines().find(|line| line.contains(&marked)).map(str::to_string)
}

#[test]
fn a_kernel_of_nxp_gets_its_pool_of_960_mib_wherever_memory_allows() {
    let memories: [&[(u64, u64)]; 4] = [
        &[(DRAM, 2 * GIB)],
        &[(DRAM, 3 * GIB)],
        &[(DRAM, 3 * GIB), (4 * GIB, 3 * GIB)],
        // With OP-TEE at 0x56000000.
        &[(DRAM, 0x1600_0000), (0x5800_0000, 0xa800_0000), (4 * GIB, 3 * GIB)],
    ];
    for banks in memories {
        let plan = Plan::new(&map_of(banks, NXP_EVK, ""), &request(60 * MIB, 200 * MIB)).unwrap();
        assert_eq!(warnings(&plan), [""; 0], "{banks:x?}");
        assert!(line_of(&plan, "linux,cma").unwrap().contains("960.0 MiB"), "{plan}");
    }
}

#[test]
fn an_initrd_makes_way_for_the_pool_that_would_not_fit_beside_it() {
    // Above the camera's memory are 1,468 MiB, between the M7's regions 672.
    let plan = |parameter: &str| {
        let map = map_of(&[(DRAM, 3 * GIB)], NXP_EVK_RPMSG, parameter);
        Plan::new(&map, &request(60 * MIB, 600 * MIB)).unwrap()
    };
    assert!(plan("cma=0").initrd.unwrap().start() > 0xa440_0000, "nothing to make way for");
    let plan = plan("");
    assert_eq!(warnings(&plan), [""; 0], "{plan}");
    assert!(plan.initrd.unwrap().end() <= 0x8000_0000, "{plan}");
}

#[test]
fn a_pool_that_cannot_be_is_named_and_the_kernel_is_placed_all_the_same() {
    let map = map_of(&[(DRAM, GIB)], NXP_EVK, "");
    let plan = Plan::new(&map, &request(60 * MIB, 200 * MIB)).unwrap();
    assert_eq!(
        warnings(&plan),
        ["linux,cma: no 960.0 MiB are left where it may lie; the kernel starts without it"]
    );
    assert_eq!(line_of(&plan, "linux,cma"), None);
}

#[test]
fn cma_on_the_command_line_takes_the_place_of_the_trees_default_pool() {
    let placed = |parameter: &str| {
        let map = map_of(&[(DRAM, GIB)], NXP_EVK, &format!("quiet {parameter}"));
        let plan = Plan::new(&map, &request(60 * MIB, 200 * MIB)).unwrap();
        (line_of(&plan, "cma="), warnings(&plan))
    };
    let (line, none) = placed("cma=320M");
    assert!(line.unwrap().contains(" cma=, 320.0 MiB") && none.is_empty());
    let (line, none) = placed("cma=64M@0x60000000");
    assert!(line.unwrap().starts_with("  0x060000000-0x064000000 cma=") && none.is_empty());
    assert_eq!(placed("cma=0"), (None, vec![]));
    let (line, told) = placed("cma=2G");
    assert_eq!(line, None);
    assert!(told[0].starts_with("cma=: no 2.0 GiB are left"), "{told:?}");
}

#[test]
fn reservations_outside_of_dram_change_nothing() {
    let banks = [(DRAM, 2 * GIB)];
    let whole = map_of(&banks, NXP_EVK_RPMSG, "");
    assert!(whole.reserved().any(|taken| taken.start() < DRAM), "M7 and on-chip memory");
    let mut inside = MemoryMap::new(whole.banks().iter().copied());
    for taken in whole.reserved().filter(|taken| taken.start() >= DRAM) {
        inside.reserve(taken, "inside", Mapping::Forbidden);
    }
    let places = |map: &MemoryMap| pieces(&Plan::new(map, &request(60 * MIB, 200 * MIB)).unwrap());
    let mut outside = map_of(&banks, BARE, "");
    outside.reserve(Region::new(0, DRAM), "registers", Mapping::Forbidden);
    outside.reserve(Region::new(4 * GIB, u64::MAX), "beyond", Mapping::Forbidden);
    assert_eq!(places(&outside), places(&map_of(&banks, BARE, "")));
    // What the M7 and the DSP have in DRAM is kept.
    for piece in places(&whole) {
        assert!(!inside.reserved().any(|taken| taken.overlaps(piece)), "{piece}");
    }
}

#[test]
fn a_tree_may_reserve_what_the_loader_or_a_tee_is_in() {
    let mut map = map_of(&[(DRAM, GIB)], BARE, "");
    map.reserve(Region::new(0x5600_0000, 32 * MIB), "TEE", Mapping::Forbidden);
    let places = |map: &MemoryMap| pieces(&Plan::new(map, &request(60 * MIB, 200 * MIB)).unwrap());
    let before = places(&map);
    map.reserve(Region::new(0x4030_0000, MIB), "inside the loader", Mapping::Normal);
    map.reserve(Region::new(0x5600_0000, 28 * MIB), "optee_core@56000000", Mapping::Forbidden);
    map.reserve(Region::new(0x57c0_0000, 4 * MIB), "optee_shm@57c00000", Mapping::Forbidden);
    assert_eq!(places(&map), before);
}

#[test]
fn with_mem_everything_lies_in_what_the_kernel_uses() {
    let banks = [(DRAM, GIB), (0x9000_0000, GIB)];
    let plan = |parameter: &str, initrd| {
        Plan::new(&map_of(&banks, BARE, parameter), &request(60 * MIB, initrd)).unwrap()
    };
    assert!(plan("", MIB).device_tree.start() > 0x9000_0000);
    let limited = plan("mem=512M", MIB);
    assert!(pieces(&limited).iter().all(|piece| piece.end() <= DRAM + 512 * MIB));
    assert_eq!(warnings(&limited), [""; 0]);
    // The limit counts memory, not addresses.
    assert!(plan("mem=1088M", MIB).device_tree.end() == 0x9400_0000);
    let too_small = plan("mem=128M", 200 * MIB);
    assert_eq!(
        warnings(&too_small),
        ["the 128.0 MiB of mem= do not hold kernel, initrd and device tree, which lie outside of \
          them"]
    );
    assert_eq!(pieces(&too_small), pieces(&plan("", 200 * MIB)));
}

#[test]
fn a_map_names_so_many_reservations_and_counts_the_others() {
    let mut map = MemoryMap::new([Region::new(DRAM, GIB)]);
    for index in 0..1000 {
        map.reserve(Region::new(DRAM + index * 16 * KIB, 1), "speck", Mapping::Normal);
    }
    let text = Plan::new(&map, &request(MIB, MIB)).unwrap().to_string();
    assert_eq!(text.matches("speck").count(), 64);
    assert!(text.contains("  and 936 more reservations\n"), "{text}");
    assert!(text.contains(" kernel, ") && text.contains(" initrd, "), "{text}");
}

/// A tree with these pools.
fn tree_with(pools: &[AnyPool]) -> Vec<u8> {
    let mut tree = DeviceTreeBuf::from(tree(BARE));
    let mut root = tree.root_mut();
    root.set_u32("#address-cells", 2).unwrap();
    root.set_u32("#size-cells", 2).unwrap();
    let mut parent = root.add_child("reserved-memory").unwrap();
    parent.set_u32("#address-cells", 2).unwrap();
    parent.set_u32("#size-cells", 2).unwrap();
    for (index, pool) in pools.iter().enumerate() {
        let parent = tree.find_mut("/reserved-memory").unwrap();
        let mut node = parent.add_child(&format!("pool-{index}")).unwrap();
        node.set("size", &pool.size.to_be_bytes()).unwrap();
        if pool.alignment > 0 {
            node.set("alignment", &pool.alignment.to_be_bytes()).unwrap();
        }
        let cells = |range: &Region| [range.start().to_be_bytes(), range.size().to_be_bytes()];
        let ranges: Vec<u8> = pool.ranges.iter().flat_map(cells).flatten().collect();
        if !ranges.is_empty() {
            node.set("alloc-ranges", &ranges).unwrap();
        }
        node.set_str("compatible", "shared-dma-pool").unwrap();
        if pool.reusable {
            node.set("reusable", &[]).unwrap();
        }
    }
    tree.to_vec(0).unwrap()
}

#[derive(Clone, Debug)]
struct AnyPool {
    size: u64,
    alignment: u64,
    ranges: Vec<Region>,
    reusable: bool,
}

impl AnyPool {
    /// As the kernel understands it.
    fn alignment(&self) -> u64 {
        self.alignment.max(if self.reusable { 4 * MIB } else { 1 })
    }

    fn any() -> impl Strategy<Value = Self> {
        let range = (0..8 * GIB, 0..4 * GIB).prop_map(|(start, size)| Region::new(start, size));
        let alignment = prop_oneof![Just(0), (12..28u32).prop_map(|power| 1 << power)];
        let ranges = proptest::collection::vec(range, 0..4);
        (1..2 * GIB, alignment, ranges, any::<bool>()).prop_map(
            |(size, alignment, ranges, reusable)| Self { size, alignment, ranges, reusable },
        )
    }

    /// A place for it that is wholly in a bank, in a range, and in nothing that is taken.
    fn place(&self, banks: &[Region], taken: &[Region]) -> Option<Region> {
        let everywhere = [Region::between(0, u64::MAX)];
        let ranges = if self.ranges.is_empty() { &everywhere[..] } else { &self.ranges };
        let ends = banks.iter().chain(ranges).map(|region| region.end());
        let tops: Vec<u64> = ends.chain(taken.iter().map(|taken| taken.start())).collect();
        tops.into_iter().find_map(|top| {
            let start = top.checked_sub(self.size)?;
            let place = Region::new(start - start % self.alignment(), self.size);
            let good = banks.iter().any(|bank| bank.contains(place))
                && ranges.iter().any(|range| range.contains(place))
                && !taken.iter().any(|taken| taken.overlaps(place));
            good.then_some(place)
        })
    }
}

#[test]
fn hostile_numbers_of_pools_ranges_and_reservations_are_planned_around_in_no_time() {
    let ranges: Vec<Region> = (0..500).map(|n| Region::new(DRAM + n * 64 * KIB, GIB)).collect();
    let pool = |n: u64| AnyPool {
        size: (512 + n % 7) * MIB,
        alignment: 0,
        ranges: ranges.clone(),
        reusable: n.is_multiple_of(2),
    };
    let bytes = tree_with(&(0..200).map(pool).collect::<Vec<_>>());
    let mut map = map_of(&[(DRAM, 3 * GIB)], &bytes, "");
    for index in 0..20_000 {
        map.reserve(Region::new(DRAM + index * 160 * KIB, 1), "speck", Mapping::Forbidden);
    }
    let before = std::time::Instant::now();
    let error = Plan::new(&map, &request(60 * MIB, 200 * MIB)).unwrap_err();
    assert_eq!(error.code(), Code::DoesNotFit);
    let plan = Plan::new(&map, &request(64 * KIB, 96 * KIB));
    assert!(plan.is_err() || warnings(&plan.unwrap()).len() == 8);
    assert!(before.elapsed().as_secs() < 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_pool_without_a_warning_has_a_place_and_one_with_a_warning_has_none_left(
        (banks, taken) in any_memory(),
        pool in AnyPool::any(),
        kernel_size in 64..512 * MIB,
        initrd in prop_oneof![Just(0), 1..GIB],
    ) {
        let mut map = map_of(&banks, &tree_with(std::slice::from_ref(&pool)), "");
        for (start, size, forbidden) in taken {
            map.reserve(Region::new(start, size), "taken", mapping(forbidden));
        }
        let Ok(plan) = Plan::new(&map, &request(kernel_size, initrd)) else { return Ok(()) };
        // Whole pages, as the planner deals in them.
        let page = |region: Region| region.outward(4 * KIB);
        let taken: Vec<Region> = map.reserved().chain(pieces(&plan)).map(page).collect();
        let banks: Vec<Region> = map.banks().iter().map(|bank| bank.inward(4 * KIB)).collect();
        let place = pool.place(&banks, &taken);
        prop_assert_eq!(place.is_some(), warnings(&plan).is_empty(), "{:x?} {}", place, plan);
        for (index, piece) in pieces(&plan).iter().enumerate() {
            prop_assert!(!map.reserved().any(|taken| taken.overlaps(*piece)));
            prop_assert!(!pieces(&plan)[..index].iter().any(|other| other.overlaps(*piece)));
        }
    }

    #[test]
    fn a_pool_that_fits_at_all_is_kept_and_one_that_does_not_never_costs_the_boot(
        memory in SmallMemory::any(),
        kernel_size in 1..24u32,
        initrd in 1..24u32,
        device_tree in 1..=8u32,
        size in 1..48u32,
        power in 0..4u32,
        ranges in proptest::collection::vec((0..GRANULES, 1..GRANULES), 0..3),
    ) {
        let ranges: Vec<(u32, u32)> =
            ranges.iter().map(|&(at, size)| (at, size.min(GRANULES - at))).collect();
        let region = |&(at, size): &(u32, u32)| {
            Region::new(memory.start + u64::from(at) * GRANULE, u64::from(size) * GRANULE)
        };
        let pool = AnyPool {
            size: u64::from(size) * GRANULE,
            alignment: GRANULE << power,
            ranges: ranges.iter().map(region).collect(),
            reusable: false,
        };
        let mut map = memory.map();
        let bytes = tree_with(&[pool]);
        map.leave_room(tree(&bytes));
        let request = Request {
            kernel: kernel(u64::from(kernel_size) * GRANULE, 0),
            initrd: u64::from(initrd) * GRANULE,
            device_tree: u64::from(device_tree) * GRANULE,
        };
        let planned = Plan::new(&map, &request);
        let fits = memory.has_room_for(kernel_size, 0, initrd, device_tree);
        prop_assert_eq!(planned.is_ok(), fits, "{:?}", planned);
        if let Ok(plan) = planned {
            let pool = SmallPool { size, alignment: 1 << power, ranges };
            let kept = memory.has_room_beside(&pool, kernel_size, initrd, device_tree);
            prop_assert_eq!(warnings(&plan).is_empty(), kept, "{}", plan);
        }
    }
}

struct SmallPool {
    size: u32,
    alignment: u32,
    ranges: Vec<(u32, u32)>,
}

impl SmallMemory {
    /// Tries every place of the pool and of every piece. The pool need not be reachable.
    fn has_room_beside(
        &self,
        pool: &SmallPool,
        kernel: u32,
        initrd: u32,
        device_tree: u32,
    ) -> bool {
        let free = self.banks & !self.normal & !self.forbidden;
        let ranges: Vec<u128> = pool.ranges.iter().map(|&(at, size)| ones(at, size)).collect();
        (0..=GRANULES.saturating_sub(pool.size)).any(|at| {
            let place = ones(at, pool.size);
            let in_range = ranges.is_empty() || ranges.iter().any(|range| place & !range == 0);
            if at % pool.alignment != 0 || place & !free != 0 || !in_range {
                return false;
            }
            let beside = Self { normal: self.normal | place, ..self.clone() };
            beside.has_room_for(kernel, 0, initrd, device_tree)
        })
    }
}
