//! The table of fix-ups on trees of NXP's shape, and what the engine makes of trees that nobody knows.
//! Mainline's tree, which comes with a kernel, is tried in `tools/evk/tests/real_files.rs`.

#[path = "fixups/mod.rs"]
mod judge;

use firn::{
    devicetree::{
        DeviceTree, DeviceTreeBuf, Property,
        ethernet::{self, Told},
        fixup::{Action, Error, MAX_EDITS, NodeName, Processors, Tee},
    },
    error::Coded,
    ethernet::Address,
    memory::Region,
    soc::{
        Part,
        fixups::{Condition, ETHERNET, IMX8MP, Row, TEE_SHARED},
        part::Unit,
    },
};

const NXP: &[u8] = include_bytes!("fixtures/devicetree/nxp-evk.dtb");
const NXP_RPMSG: &[u8] = include_bytes!("fixtures/devicetree/nxp-evk-rpmsg.dtb");
const BOARD: &[u8] = include_bytes!("fixtures/devicetree/board.dtb");
const SMALLEST: &[u8] = include_bytes!("fixtures/devicetree/smallest.dtb");

fn editable(bytes: &[u8]) -> DeviceTreeBuf {
    DeviceTreeBuf::from(DeviceTree::validate(bytes).unwrap())
}

#[test]
fn each_row_changes_trees_of_nxps_shape_and_nothing_that_it_does_not_speak_of() {
    for tree in [NXP, NXP_RPMSG] {
        for row in IMX8MP {
            judge::check(row, tree, &[]);
        }
    }
}

#[test]
fn each_part_that_is_sold_gets_nxps_trees_without_what_it_lacks_and_a_whole_one_as_they_are() {
    judge::check_parts(NXP);
    judge::check_parts(NXP_RPMSG);
}

#[test]
fn each_unit_has_a_row() {
    for unit in Unit::ALL {
        let part = judge::part(&judge::without(&[unit]));
        assert!(part.missing.contains(unit));
        let is_about = |row: &&Row| matches!(row.when, Condition::Lacks([one]) if *one == unit);
        let rows: Vec<_> = IMX8MP.iter().filter(is_about).collect();
        assert_eq!(rows.len(), 1, "{}", unit.name());
        assert!(rows[0].when.holds(&part));
    }
}

#[test]
fn of_a_part_that_is_not_known_nothing_is_changed() {
    assert_eq!(IMX8MP.iter().filter(|row| row.when.holds(&Part::default())).count(), 0);
}

#[test]
fn a_node_at_an_unknown_path_is_known_by_its_address_and_compatible() {
    for row in IMX8MP {
        let Action::Disable(names) = &row.action else { continue };
        for name in names.iter().filter(|name| !name.compatible.is_empty()) {
            let path =
                name.paths.iter().find(|path| editable(NXP).find_mut(path).is_some()).unwrap();
            let old = path.rsplit('/').next().unwrap();
            let (base, address) = old.split_once('@').unwrap();
            // On other hardware the same unit may be called otherwise, and elsewhere be another one.
            let renamed = format!("{}@{address}\0", "x".repeat(base.len()));
            let moved = format!("{base}@{}\0", "f".repeat(address.len()));
            let replaced = |new: &str| {
                // A node's name, not an alias that leads to it.
                let token = [&1_u32.to_be_bytes(), old.as_bytes(), &[0]].concat();
                let at = NXP.windows(token.len()).position(|it| it == token).unwrap() + 4;
                let mut bytes = NXP.to_vec();
                bytes[at..][..new.len()].copy_from_slice(new.as_bytes());
                (
                    bytes,
                    format!("{}{}", path.strip_suffix(old).unwrap(), new.trim_end_matches('\0')),
                )
            };
            let is_enabled = |(bytes, path): (Vec<u8>, String)| {
                judge::fitted(&bytes, &judge::part_of(row)).view().find(&path).unwrap().is_enabled()
            };
            // The bridge's unit address is another one in NXP's tree than in mainline's.
            assert_eq!(is_enabled(replaced(&renamed)), name.address != address, "{path}");
            assert!(is_enabled(replaced(&moved)), "{path}");
        }
    }
}

#[test]
fn trips_that_a_board_has_lower_stay() {
    let automotive = IMX8MP.last().unwrap();
    let mut tree = editable(NXP);
    let trip = "/thermal-zones/cpu-thermal/trips/trip1";
    tree.find_mut(trip).unwrap().set_u32("temperature", 80_000).unwrap();
    let changed = automotive.action.apply(&mut tree).unwrap();
    assert_eq!(changed.len(), 3);
    let temperature = tree.view().find(trip).unwrap().property("temperature").unwrap();
    assert_eq!(temperature.as_u32(), Some(80_000));
}

#[test]
fn a_tree_without_what_a_fix_up_is_about_stays_as_it_is() {
    let before = editable(SMALLEST).to_vec(0).unwrap();
    for row in IMX8MP {
        let mut tree = editable(SMALLEST);
        match row.action.apply(&mut tree) {
            Ok(nodes) => assert_eq!(nodes, [""; 0]),
            Err(error) => {
                assert!(matches!(error, Error::Missing(_)), "{error}");
                assert!(matches!(row.action, Action::Keep(_)));
            }
        }
        assert_eq!(tree.to_vec(0).unwrap(), before);
    }
}

#[test]
fn processors_are_not_deleted_if_none_would_be_left() {
    let mut tree = editable(NXP);
    let before = tree.to_vec(0).unwrap();
    let error = Action::Keep(Processors(0)).apply(&mut tree).unwrap_err();
    assert!(matches!(error, Error::Missing(_)));
    assert_eq!(error.code().to_string(), "E605");
    assert_eq!(tree.to_vec(0).unwrap(), before);
}

#[test]
fn the_topology_of_processors_that_are_gone_goes_with_them() {
    let mut tree = editable(NXP);
    for number in 0..4 {
        let cpu = tree.view().find(&format!("/cpus/cpu@{number}")).unwrap();
        let phandle = cpu.property("phandle").and_then(Property::as_u32).unwrap();
        let path = format!("/cpus/cpu-map/cluster0/core{number}");
        tree.find_or_create(&path).unwrap().set_u32("cpu", phandle).unwrap();
    }
    Action::Keep(Processors(2)).apply(&mut tree).unwrap();
    let cluster = tree.view().find("/cpus/cpu-map/cluster0").unwrap();
    let names: Vec<_> = cluster.children().map(|core| core.name().to_owned()).collect();
    assert_eq!(names, ["core0", "core1"]);
}

mod hostile {
    use super::*;

    static EVERYTHING: &[NodeName] =
        &[NodeName { paths: &[], address: "0", compatible: &["evil"] }];

    /// A tree with so many nodes that are to be disabled.
    fn with_nodes(count: usize) -> DeviceTreeBuf {
        let mut tree = editable(SMALLEST);
        for _ in 0..count {
            let mut node = tree.root_mut().add_child("evil@0").unwrap();
            node.set_str("compatible", "evil").unwrap();
        }
        tree
    }

    #[test]
    fn as_many_edits_as_no_tree_needs_are_refused_before_the_first() {
        let disable = Action::Disable(EVERYTHING);
        let mut tree = with_nodes(MAX_EDITS);
        assert_eq!(disable.apply(&mut tree).unwrap().len(), MAX_EDITS);
        assert!(
            tree.view().root().children().all(|node| node.name() != "evil@0" || !node.is_enabled())
        );

        let mut tree = with_nodes(MAX_EDITS + 1);
        let before = tree.to_vec(0).unwrap();
        assert_eq!(disable.apply(&mut tree), Err(Error::TooMany));
        assert_eq!(tree.to_vec(0).unwrap(), before);
    }

    #[test]
    fn as_many_processors_as_no_tree_has_are_refused() {
        let mut tree = editable(SMALLEST);
        for number in 0..=u32::try_from(MAX_EDITS).unwrap() + 1 {
            let mut cpu = tree.find_or_create("/cpus").unwrap().add_child("cpu").unwrap();
            cpu.set_str("device_type", "cpu").unwrap();
            cpu.set_u32("reg", number).unwrap();
        }
        let keep = Action::Keep(Processors(1));
        assert_eq!(keep.apply(&mut tree), Err(Error::TooMany));
    }

    #[test]
    fn lists_that_are_no_lists_stay() {
        let mut tree = editable(NXP);
        let mut pmu = tree.find_mut("/pmu").unwrap();
        let odd = [pmu.as_node().property("interrupt-affinity").unwrap().value(), &[0]].concat();
        pmu.set("interrupt-affinity", &odd).unwrap();
        Action::Keep(Processors(2)).apply(&mut tree).unwrap();
        let pmu = tree.view().find("/pmu").unwrap();
        assert_eq!(pmu.property("interrupt-affinity").unwrap().value(), odd);
    }
}

mod addresses {
    use super::*;

    const FIRST: &str = "/soc@0/bus@30800000/ethernet@30be0000";

    fn told(tree: &DeviceTreeBuf) -> Vec<(usize, bool, Told)> {
        let interfaces = ethernet::interfaces(tree.view(), &ETHERNET);
        interfaces.into_iter().map(|it| (it.number, it.is_of_soc, it.told)).collect()
    }

    #[test]
    fn addresses_that_the_tree_has_in_the_socs_fuses_are_not_told() {
        let expected = [(0, true, Told::Nothing), (1, true, Told::Nothing)];
        assert_eq!(told(&editable(NXP)), expected);
    }

    #[test]
    fn an_address_in_the_tree_counts_unless_it_is_none() {
        let mut tree = editable(NXP);
        let address = Address::parse("00:04:9f:01:02:03").unwrap();
        for (bytes, expected) in [
            ([0; 6], Told::Nothing),
            (address.bytes(), Told::Address(address)),
            ([0xff; 6], Told::Nothing),
        ] {
            tree.find_mut(FIRST).unwrap().set("local-mac-address", &bytes).unwrap();
            assert_eq!(told(&tree)[0], (0, true, expected));
        }
    }

    #[test]
    fn an_address_that_the_tree_has_elsewhere_is_left_there() {
        let mut tree = editable(NXP);
        let mut cell = tree.find_or_create("/eeprom/address").unwrap();
        cell.set_u32("phandle", 0x1234).unwrap();
        tree.find_mut(FIRST).unwrap().set_u32("nvmem-cells", 0x1234).unwrap();
        assert_eq!(told(&tree)[0], (0, true, Told::Elsewhere));
    }

    #[test]
    fn an_address_is_written_where_the_kernel_looks_first_too() {
        let mut tree = editable(NXP);
        tree.find_mut(FIRST).unwrap().set("mac-address", &[0; 6]).unwrap();
        let address = Address::parse("00:04:9f:01:02:03").unwrap();
        ethernet::set_address(&mut tree, FIRST, address).unwrap();
        let node = tree.view().find(FIRST).unwrap();
        for name in ["mac-address", "local-mac-address"] {
            assert_eq!(node.property(name).unwrap().value(), address.bytes());
        }
        let second = "/soc@0/bus@30800000/ethernet@30bf0000";
        ethernet::set_address(&mut tree, second, address).unwrap();
        assert!(tree.view().find(second).unwrap().property("mac-address").is_none());
    }

    #[test]
    fn aliases_that_lead_nowhere_and_other_boards_interfaces_are_told_apart() {
        let mut tree = editable(NXP);
        let mut aliases = tree.find_mut("/aliases").unwrap();
        aliases.set_str("ethernet7", "/soc@0/none").unwrap();
        aliases.set_str("ethernetx", FIRST).unwrap();
        aliases.set_str("ethernet2", "/soc@0").unwrap();
        aliases.set("ethernet3", b"no text").unwrap();
        let numbers: Vec<_> =
            told(&tree).into_iter().map(|(number, ours, _)| (number, ours)).collect();
        assert_eq!(numbers, [(0, true), (1, true), (2, false)]);
        for number in 10..100 {
            tree.find_mut("/aliases")
                .unwrap()
                .set_str(&format!("ethernet{number}"), FIRST)
                .unwrap();
        }
        assert_eq!(told(&tree).len(), ethernet::MAX_INTERFACES);
    }
}

mod tee {
    use super::*;

    const REGION: Region = Region::new(0x5600_0000, 32 << 20);

    #[test]
    fn a_tee_that_runs_is_told_with_its_memory_whatever_the_tree_said() {
        for bytes in [NXP, BOARD, SMALLEST] {
            let mut tree = editable(bytes);
            let mut stale = tree.find_or_create("/firmware/optee").unwrap();
            stale.set_str("compatible", "linaro,optee-tz").unwrap();
            stale.set_str("status", "disabled").unwrap();
            let tee = Tee::new(REGION, TEE_SHARED);
            for _ in 0..2 {
                assert_eq!(Tee::tell(Some(tee), &mut tree), Ok(true));
                let node = tree.view().find("/firmware/optee").unwrap();
                assert!(node.is_enabled() && node.is_compatible("linaro,optee-tz"));
                assert_eq!(node.property("method").unwrap().as_str(), Some("smc"));
                let reserved: Vec<_> = firn::devicetree::memory::reservations(tree.view())
                    .into_iter()
                    .filter(|it| it.owner.starts_with("optee"))
                    .map(|it| (it.owner.to_owned(), it.region, it.no_map))
                    .collect();
                let (core, shared) =
                    (Region::new(0x5600_0000, 28 << 20), Region::new(0x57c0_0000, 4 << 20));
                let expected = [("optee_core@56000000", core), ("optee_shm@57c00000", shared)];
                assert_eq!(
                    reserved,
                    expected.map(|(name, region)| (name.to_owned(), region, true))
                );
            }
            assert_eq!(Tee::of(tree.view()), Some(tee));
        }
    }

    #[test]
    fn without_a_tee_the_tree_speaks_of_none_and_its_memory_is_free() {
        let before = editable(NXP).to_vec(0).unwrap();
        let mut tree = editable(NXP);
        assert_eq!(Tee::tell(None, &mut tree), Ok(false));
        assert_eq!(tree.to_vec(0).unwrap(), before);
        Tee::tell(Some(Tee::new(REGION, TEE_SHARED)), &mut tree).unwrap();
        assert_eq!(Tee::tell(None, &mut tree), Ok(true));
        assert!(tree.view().find("/firmware/optee").is_none());
        assert_eq!(Tee::of(tree.view()), None);
    }

    #[test]
    fn a_stage_before_that_names_a_tee_without_memory_runs_none() {
        let mut tree = editable(NXP);
        let mut node = tree.find_or_create("/firmware/optee").unwrap();
        node.set_str("compatible", "linaro,optee-tz").unwrap();
        assert_eq!(Tee::of(tree.view()), None);
    }
}
