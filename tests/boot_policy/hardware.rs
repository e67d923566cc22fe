//! What a kernel is told of the part and the board.

use super::*;
use firn::{devicetree::Node, soc::ocotp};

const NXP: &[u8] = include_bytes!("../fixtures/devicetree/nxp-evk.dtb");
const FIRST: &str = "/soc@0/bus@30800000/ethernet@30be0000";
const SECOND: &str = "/soc@0/bus@30800000/ethernet@30bf0000";

/// A part with these words of fuses.
fn part(words: &[(u32, u32)]) -> Part {
    Part::of(0x0082_4311, |word| {
        words.iter().find(|(known, _)| *known == word).map_or(0, |(_, value)| *value)
    })
}

const ID: [(u32, u32); 2] =
    [(ocotp::UNIQUE_ID[0], 0x1234_5678), (ocotp::UNIQUE_ID[1], 0x0abc_def0)];

fn nobodys() -> Facts<'static> {
    facts(Some(NXP))
}

/// Boots and gives the tree that the kernel got.
fn told<T>(facts: &Facts<'_>, look: impl FnOnce(DeviceTree<'_>) -> T) -> T {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/board.dtb", NXP),
    ];
    let mut board = TestBoard::new([card("SD", files)]);
    let outcome = board.run_with(facts);
    let Outcome::Kernel(hand_over) = outcome else { panic!("{outcome:?}; log:\n{}", log()) };
    look(DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap())
}

fn address(tree: DeviceTree<'_>, path: &str) -> Option<[u8; 6]> {
    let property = tree.find(path).unwrap().property("local-mac-address")?;
    property.value().try_into().ok()
}

fn addresses(facts: &Facts<'_>) -> [Option<[u8; 6]>; 2] {
    told(facts, |tree| [FIRST, SECOND].map(|path| address(tree, path)))
}

const OURS: [u8; 6] = [0, 4, 0x9f, 1, 2, 3];
const OTHER: [u8; 6] = [0, 4, 0x9f, 0xa, 0xb, 0xc];

/// Both in fuses.
const FUSED: [(u32, u32); 3] = [
    (ocotp::ETHERNET[0], 0x9f01_0203),
    (ocotp::ETHERNET[1], 0x0b0c_0004),
    (ocotp::ETHERNET[2], 0x0004_9f0a),
];

#[test]
fn addresses_in_fuses_are_both_interfaces() {
    let facts = Facts { part: part(&FUSED), board_addresses: vec![[2; 6]; 2], ..nobodys() };
    assert_eq!(addresses(&facts), [Some(OURS), Some(OTHER)]);
    let said = "ethernet0 00:04:9f:01:02:03 (fuses), ethernet1 00:04:9f:0a:0b:0c (fuses)";
    assert!(log().contains(said), "{}", log());
}

#[test]
fn where_fuses_are_blank_or_nonsense_the_boards_eeprom_serves() {
    // The first is a multicast address.
    let words = [(ocotp::ETHERNET[0], 0x9f01_0203), (ocotp::ETHERNET[1], 0x0000_0104)];
    let facts = Facts { part: part(&words), board_addresses: vec![OURS, OTHER], ..nobodys() };
    assert_eq!(addresses(&facts), [Some(OURS), Some(OTHER)]);
    let said =
        "[E606] an Ethernet address cannot be used: ethernet0, fuses: it is a multicast address";
    assert!(log().contains(said), "{}", log());
    assert!(!log().contains("ethernet1, fuses"), "blank is no news: {}", log());
    assert!(log().contains("ethernet0 00:04:9f:01:02:03 (EEPROM)"), "{}", log());
}

#[test]
fn without_any_an_address_is_made_of_the_unique_id_the_same_at_each_boot() {
    let facts = Facts { part: part(&ID), ..nobodys() };
    let [first, second] = addresses(&facts).map(Option::unwrap);
    assert_ne!(first, second);
    assert_eq!([first[0] & 3, second[0] & 3], [2, 2], "locally administered, not multicast");
    assert_eq!(addresses(&facts), [Some(first), Some(second)]);
    assert!(log().contains("(made of the unique id)"), "{}", log());
}

#[test]
fn without_a_unique_id_either_nothing_is_written_and_that_is_said() {
    assert_eq!(addresses(&nobodys()), [None, None]);
    assert!(log().contains("ethernet0 has no known address"), "{}", log());
}

#[test]
fn the_serial_number_is_the_unique_id_in_hexadecimal() {
    let serial = |tree: DeviceTree<'_>| {
        let number = tree.root().property("serial-number")?;
        number.as_str().map(ToOwned::to_owned)
    };
    let facts = Facts { part: part(&ID), ..nobodys() };
    assert_eq!(told(&facts, serial).as_deref(), Some("0abcdef012345678"));
    assert_eq!(told(&nobodys(), serial), None);
}

#[test]
fn what_a_reduced_part_lacks_is_disabled_and_said_in_one_line() {
    // No NPU, 2D GPU, VPU; two cores; 1.6 GHz, industrial.
    let words = [
        (ocotp::TESTER4, 1 << 3 | 1 << 6),
        (ocotp::TESTER3, 0x4300_0000 | 0b10 << 18 | 7 << 8 | 2 << 5),
    ];
    let facts = Facts { part: part(&words), ..nobodys() };
    told(&facts, |tree| {
        let is_enabled = |path: &str| tree.find(path).is_some_and(Node::is_enabled);
        for path in ["/vipsi@38500000", "/gpu2d@38008000", "/vpu_g1@38300000", "/cpus/cpu@2"] {
            assert!(!is_enabled(path), "{path}");
        }
        for path in ["/gpu3d@38000000", "/dsp@3b6e8000", "/cpus/cpu@1"] {
            assert!(is_enabled(path), "{path}");
        }
    });
    for said in [
        "device tree: disabled 2D GPU, VPU G1, VPU G2, VPU VC8000E, NPU (fused off)",
        "device tree: 2 cores",
        "device tree: thermal trips at 95 and 105 C (industrial)",
    ] {
        assert_eq!(log().matches(said).count(), 1, "{said}:\n{}", log());
    }
}

#[test]
fn a_tee_is_in_the_tree_only_if_one_runs() {
    let has_tee = |tree: DeviceTree<'_>| tree.find("/firmware/optee").is_some();
    assert!(!told(&nobodys(), has_tee));
    let region = Region::new(0x4300_0000, 16 << 20);
    let running = Facts {
        tee: Some(region),
        taken: vec![(LOADER, "firn", Mapping::Normal), (region, "TEE", Mapping::Forbidden)],
        ..nobodys()
    };
    assert!(told(&running, |tree| {
        let reserved = firn::devicetree::memory::reservations(tree);
        has_tee(tree) && reserved.iter().any(|it| it.region.start() == region.start() && it.no_map)
    }));
}

#[test]
fn a_part_with_fewer_cores_boots_with_a_tree_that_names_none() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/board.dtb", include_bytes!("../fixtures/devicetree/smallest.dtb")),
    ];
    let mut board = TestBoard::new([card("SD", files)]);
    let part = part(&[(ocotp::TESTER3, 0b10 << 18)]);
    let outcome = board.run_with(&Facts { part, ..nobodys() });
    assert!(matches!(outcome, Outcome::Kernel(_)), "{outcome:?}; log:\n{}", log());
    assert!(
        log().contains("[E605] the device tree cannot be fitted to the board: it has no /cpus")
    );
}
