//! Reading trees, editing them, and what a kernel finds in them afterwards.

use std::time::Duration;

use firn::{
    board::BOARD,
    devicetree::{
        Cells, DeviceTree, DeviceTreeBuf, MAX_SIZE, Property,
        chosen::{Boot, Chosen, put_seeds, take_seeds},
        edit, files,
        memory::{self, Reservation},
    },
    entropy::{Pool, Seeds, Source},
    error::{Code, Coded},
    memory::Region,
};

static BOARD_DTB: &[u8] = include_bytes!("fixtures/devicetree/board.dtb");
const ONE_CELL_DTB: &[u8] = include_bytes!("fixtures/devicetree/one-cell.dtb");
const SMALLEST_DTB: &[u8] = include_bytes!("fixtures/devicetree/smallest.dtb");
const GIB: u64 = 1 << 30;

fn tree(bytes: &[u8]) -> DeviceTree<'_> {
    DeviceTree::validate(bytes).unwrap()
}

fn editable(bytes: &[u8]) -> DeviceTreeBuf {
    DeviceTreeBuf::from(tree(bytes))
}

/// The tree as text, one property or node a line: what is equal here is equal to every reader.
fn listing(tree: DeviceTree<'_>) -> Vec<String> {
    let reservations = tree.memory_reservations().map(|region| format!("/memreserve/ {region}"));
    let nodes = tree.nodes().flat_map(|node| {
        let properties = node
            .properties()
            .map(|property| format!("  {} = {:02x?}", property.name(), property.value()));
        std::iter::once(format!("{} {{", node.name())).chain(properties)
    });
    reservations.chain(nodes).collect()
}

fn written(tree: &DeviceTreeBuf) -> Vec<u8> {
    tree.to_vec(0).unwrap()
}

mod reading {
    use super::*;

    #[test]
    fn a_node_is_found_with_and_without_its_unit_address() {
        let tree = tree(BOARD_DTB);
        for path in ["/memory@100000000", "/soc@0/serial@30890000", "/soc/serial", "//soc//serial/"]
        {
            assert!(tree.find(path).is_some(), "{path}");
        }
        assert_eq!(tree.find("/memory").unwrap().name(), "memory@40000000");
        assert_eq!(tree.find("/").unwrap().name(), "");
        for path in ["", "soc", "/so", "/soc@", "/soc@00", "/soc/serial@0", "/chosen/no"] {
            assert!(tree.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn values_are_read_as_what_they_are() {
        let tree = tree(BOARD_DTB);
        let chosen = tree.find("/chosen").unwrap();
        assert_eq!(chosen.property("bootargs").unwrap().as_str(), Some("root=/dev/stale"));
        assert_eq!(chosen.property("linux,initrd-end").unwrap().as_u64(), Some(0x4812_3456));
        assert_eq!(chosen.property("kaslr-seed").unwrap().as_u32(), None);
        let cpu = tree.find("/cpus/cpu@0").unwrap();
        assert_eq!(cpu.property("reg").unwrap().as_u32(), Some(0));
        assert_eq!(cpu.property("reg").unwrap().as_str(), None);
        assert_eq!(tree.find("/soc").unwrap().property("ranges").unwrap().as_u64(), None);
        assert_eq!(tree.find("/cpus").unwrap().cells(), Cells { address: 1, size: 0 });
    }

    #[test]
    fn the_board_is_known_by_model_and_compatible() {
        let tree = tree(BOARD_DTB);
        assert_eq!(tree.model(), Some("Firn test board"));
        assert!(tree.is_compatible("firn,test-board") && tree.is_compatible("fsl,imx8mp"));
        assert!(!tree.is_compatible("fsl,imx8m") && !tree.is_compatible(""));
    }

    #[test]
    fn names_longer_than_the_specification_has_them_are_read() {
        let node = tree(BOARD_DTB)
            .find("/soc/a-node-whose-name-is-longer-than-31-characters@30900000")
            .unwrap();
        let names: Vec<_> = node.properties().map(Property::name).collect();
        assert_eq!(
            names,
            ["a-property-whose-name-is-longer-than-31-characters", "odd-length", "empty"]
        );
    }

    #[test]
    fn all_memory_nodes_of_the_root_are_banks() {
        assert_eq!(
            memory::banks(tree(BOARD_DTB)),
            [Region::new(GIB, 3 * GIB), Region::new(4 * GIB, 3 * GIB)]
        );
        assert_eq!(memory::banks(tree(SMALLEST_DTB)), []);
    }

    #[test]
    fn reservations_are_the_list_and_the_nodes_with_a_place_that_are_in_use() {
        let reserved = |start, size, owner, no_map| Reservation {
            region: Region::new(start, size),
            owner,
            no_map,
        };
        assert_eq!(
            memory::reservations(tree(BOARD_DTB)),
            [
                reserved(0x4300_0000, 0x1_0000, "/memreserve/", false),
                reserved(0x4800_0000, 0x12_3456, "/memreserve/", false),
                reserved(0x9240_0000, 0x100_0000, "dsp@92400000", true),
                reserved(0x4f00_0000, 0x10_0000, "ramoops@4f000000", false),
            ]
        );
    }

    #[test]
    fn cells_that_nobody_can_mean_give_no_regions() {
        for (address, size) in [(0, 0), (3, 1), (2, 3), (u32::MAX, u32::MAX)] {
            let mut tree = editable(BOARD_DTB);
            let mut root = tree.root_mut();
            root.set_u32("#address-cells", address).unwrap();
            root.set_u32("#size-cells", size).unwrap();
            assert_eq!(memory::banks(tree.view()), []);
        }
    }
}

mod editing {
    use super::*;

    #[test]
    fn a_tree_that_is_not_edited_is_written_with_the_same_contents_in_the_same_order() {
        for bytes in [BOARD_DTB, ONE_CELL_DTB, SMALLEST_DTB] {
            let written = written(&editable(bytes));
            assert_eq!(listing(tree(&written)), listing(tree(bytes)));
            assert_eq!(written, bytes, "dtc lays trees out like this, too");
        }
    }

    #[test]
    fn the_boot_processor_is_kept() {
        let mut bytes = BOARD_DTB.to_vec();
        bytes[28..32].copy_from_slice(&3u32.to_be_bytes());
        assert_eq!(written(&editable(&bytes)), bytes);
    }

    #[test]
    fn a_property_is_replaced_where_it_stands_and_a_new_one_comes_last() {
        for value in [&b""[..], b"x\0", b"\0\0\0\x01", &[7; 1000]] {
            let mut tree = editable(BOARD_DTB);
            let before = listing(tree.view());
            let mut chosen = tree.find_mut("/chosen").unwrap();
            chosen.set("bootargs", value).unwrap();
            chosen.set("new", value).unwrap();

            let mut expected = before;
            let at = expected.iter().position(|line| line.contains("bootargs")).unwrap();
            expected[at] = format!("  bootargs = {value:02x?}");
            let at = expected.iter().position(|line| line.contains("u-boot,version")).unwrap();
            expected.insert(at + 1, format!("  new = {value:02x?}"));
            assert_eq!(listing(DeviceTree::validate(&written(&tree)).unwrap()), expected);
        }
    }

    #[test]
    fn a_deleted_property_is_gone_and_nothing_else_is() {
        let mut tree = editable(BOARD_DTB);
        let mut expected = listing(tree.view());
        expected.retain(|line| !line.contains("rng-seed"));
        assert!(tree.find_mut("/chosen").unwrap().remove("rng-seed"));
        assert!(!tree.find_mut("/chosen").unwrap().remove("rng-seed"));
        assert_eq!(listing(tree.view()), expected);
    }

    #[test]
    fn a_property_that_is_there_twice_is_deleted_twice() {
        // "rng-seed" renamed to "bootargs", by the offset of its name.
        let mut bytes = BOARD_DTB.to_vec();
        let chosen = tree(BOARD_DTB).find("/chosen").unwrap();
        let value = |name| chosen.property(name).unwrap().value().as_ptr() as usize;
        let offset_of_name = |name| value(name) - BOARD_DTB.as_ptr() as usize - 4;
        let (one, other) = (offset_of_name("bootargs"), offset_of_name("rng-seed"));
        bytes.copy_within(one..one + 4, other);

        let mut tree = editable(&bytes);
        assert!(tree.find_mut("/chosen").unwrap().remove("bootargs"));
        assert!(tree.view().find("/chosen").unwrap().property("bootargs").is_none());
    }

    #[test]
    fn nodes_are_created_with_what_is_missing_of_their_path() {
        let mut tree = editable(SMALLEST_DTB);
        tree.find_or_create("/firmware/optee").unwrap().set_str("method", "smc").unwrap();
        tree.find_or_create("/firmware/scmi").unwrap();
        tree.find_or_create("/firmware/optee").unwrap().set_u32("n", 5).unwrap();
        let bytes = written(&tree);
        assert_eq!(
            listing(self::tree(&bytes)),
            [
                " {",
                "firmware {",
                "optee {",
                "  method = [73, 6d, 63, 00]",
                "  n = [00, 00, 00, 05]",
                "scmi {",
            ]
        );
    }

    #[test]
    fn deleted_children_go_with_all_that_they_hold() {
        let mut tree = editable(BOARD_DTB);
        tree.root_mut().retain_children(|node| node.name() == "chosen");
        let bytes = written(&tree);
        let names: Vec<_> = self::tree(&bytes).nodes().map(|node| node.name()).collect();
        assert_eq!(names, ["", "chosen"]);
    }

    #[test]
    fn names_that_no_reader_could_find_again_are_refused() {
        let mut tree = editable(SMALLEST_DTB);
        for name in ["", "with space", "zero\0", "ümlaut", &"x".repeat(256)] {
            let error = tree.root_mut().set(name, b"").unwrap_err();
            assert_eq!(error.code(), Code::DeviceTreeEdit);
            assert!(tree.root_mut().add_child(name).is_err());
        }
        assert!(tree.root_mut().add_child("a/b").is_err());
        assert!(tree.find_or_create("relative").is_err());
        assert_eq!(written(&tree), SMALLEST_DTB);
    }

    #[test]
    fn a_tree_with_room_says_so_in_its_size_and_is_zero_there() {
        let tree = editable(BOARD_DTB);
        let bytes = tree.to_vec(4096).unwrap();
        assert_eq!(bytes.len(), BOARD_DTB.len() + 4096);
        assert_eq!(bytes[4..8], u32::try_from(bytes.len()).unwrap().to_be_bytes());
        assert!(bytes[BOARD_DTB.len()..].iter().all(|&byte| byte == 0));
        assert_eq!(listing(self::tree(&bytes)), listing(tree.view()));
    }

    #[test]
    fn a_tree_is_not_written_where_it_has_no_room() {
        let tree = editable(BOARD_DTB);
        let mut destination = vec![0xa5; BOARD_DTB.len() - 1];
        let error = tree.write_to(&mut destination).unwrap_err();
        assert_eq!(error.code(), Code::DeviceTreeEdit);
        assert_eq!(
            error.to_string(),
            "the device tree cannot be patched: it needs 1887 bytes and has room for 1886"
        );
        assert!(destination.iter().all(|&byte| byte == 0xa5));
    }

    #[test]
    fn a_tree_never_grows_beyond_what_the_kernel_takes() {
        let mut tree = editable(BOARD_DTB);
        let before = listing(tree.view());
        let error = tree.root_mut().set("huge", &vec![0; MAX_SIZE]).unwrap_err();
        assert!(matches!(error, edit::Error::NoRoom { room: MAX_SIZE, .. }));
        assert_eq!(listing(tree.view()), before);
        assert!(tree.to_vec(MAX_SIZE).is_err());
    }
}

mod chosen {
    use super::*;

    const CHOSEN: Chosen<'static> = Chosen {
        command_line: "init=/nix/store/abc/init root=/dev/mmcblk1p2",
        initrd: None,
        seeds: None,
        boot: BOOT,
    };

    const BOOT: Boot<'static> = Boot {
        version: "0.1.0",
        generation: "/nix/store/abc",
        source: "profile",
        number: None,
        profile: "",
        specialisation: "",
        attempt: None,
        reset_cause: "",
        last_failure: "",
        times: &[],
        state_device: "",
    };

    fn lines(tree: &DeviceTreeBuf) -> Vec<String> {
        let bytes = written(tree);
        let text = |property: Property<'_>| match property.as_str() {
            Some(text) => format!("{} = {text:?}", property.name()),
            None => format!("{} = {:02x?}", property.name(), property.value()),
        };
        let chosen = self::tree(&bytes).find("/chosen").unwrap();
        chosen.properties().map(text).collect()
    }

    #[test]
    fn leftovers_go_the_console_stays_and_this_boot_is_described() {
        let mut tree = editable(BOARD_DTB);
        let initrd = Some(Region::between(0x7e1e_0000, 0x7ffd_ffff));
        Chosen { initrd, ..CHOSEN }.write(&mut tree).unwrap();
        assert_eq!(
            lines(&tree),
            [
                "stdout-path = \"serial1:115200n8\"",
                "bootargs = \"init=/nix/store/abc/init root=/dev/mmcblk1p2\"",
                "linux,initrd-start = [00, 00, 00, 00, 7e, 1e, 00, 00]",
                "linux,initrd-end = [00, 00, 00, 00, 7f, fd, ff, ff]",
                "u-boot,version = \"2026.10\"",
                "firn,version = \"0.1.0\"",
                "firn,generation = \"/nix/store/abc\"",
                "firn,source = \"profile\"",
            ]
        );
    }

    #[test]
    fn the_running_system_reads_how_it_came_to_this_boot() {
        let boot = Boot {
            number: Some(42),
            profile: "lab",
            specialisation: "rescue",
            attempt: Some([2, 3]),
            reset_cause: "watchdog 1",
            last_failure: "[E1101] 41: power-on",
            times: &[
                ("first stage", Duration::from_micros(7)),
                ("loaded", Duration::from_secs(5000)),
            ],
            state_device: "30b50000.mmc",
            ..BOOT
        };
        let mut tree = editable(SMALLEST_DTB);
        Chosen { boot, ..CHOSEN }.write(&mut tree).unwrap();
        let bytes = written(&tree);
        let chosen = self::tree(&bytes).find("/chosen").unwrap();
        let value = |name| chosen.property(name).unwrap().value();
        assert_eq!(value("firn,number"), [0, 0, 0, 42]);
        assert_eq!(value("firn,try"), [0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(value("firn,profile"), b"lab\0");
        assert_eq!(value("firn,specialisation"), b"rescue\0");
        assert_eq!(value("firn,reset-cause"), b"watchdog 1\0");
        assert_eq!(value("firn,last-failure"), b"[E1101] 41: power-on\0");
        assert_eq!(value("firn,state-device"), b"30b50000.mmc\0");
        assert_eq!(value("firn,time-names"), b"first stage\0loaded\0");
        assert_eq!(
            value("firn,times-us"),
            [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0x2a, 0x05, 0xf2, 0]
        );
    }

    #[test]
    fn nothing_of_an_earlier_boots_account_is_left() {
        let mut tree = editable(SMALLEST_DTB);
        let boot = Boot { attempt: Some([1, 3]), last_failure: "41", ..BOOT };
        Chosen { boot, ..CHOSEN }.write(&mut tree).unwrap();
        CHOSEN.write(&mut tree).unwrap();
        assert!(!lines(&tree).iter().any(|line| line.contains("try") || line.contains("failure")));
    }

    #[test]
    fn without_an_initrd_none_is_announced_and_the_earlier_ones_memory_is_free() {
        let mut tree = editable(BOARD_DTB);
        CHOSEN.write(&mut tree).unwrap();
        assert!(!lines(&tree).iter().any(|line| line.contains("initrd")));
        let reserved: Vec<_> = tree.view().memory_reservations().collect();
        assert_eq!(reserved, [Region::new(0x4300_0000, 0x1_0000)]);
    }

    #[test]
    fn a_tree_without_chosen_gets_one() {
        let mut tree = editable(SMALLEST_DTB);
        CHOSEN.write(&mut tree).unwrap();
        assert_eq!(lines(&tree).len(), 4);
    }

    #[test]
    fn the_room_asked_for_beforehand_suffices() {
        let seeds = pool(BOARD_DTB).draw().unwrap();
        for length in [0, 1, 2, 3, 4, 4096] {
            let text = "x".repeat(length);
            let chosen = Chosen {
                command_line: &text,
                initrd: Some(Region::new(GIB, GIB)),
                seeds: Some(&seeds),
                boot: Boot {
                    version: &text,
                    generation: &text,
                    source: &text,
                    number: Some(1),
                    profile: &text,
                    specialisation: &text,
                    attempt: Some([1, 3]),
                    reset_cause: &text,
                    last_failure: &text,
                    times: &[(text.as_str(), Duration::ZERO); 8],
                    state_device: &text,
                },
            };
            let mut tree = editable(SMALLEST_DTB);
            let before = tree.size();
            chosen.write(&mut tree).unwrap();
            assert!(tree.size() <= before + chosen.room());
        }
    }

    #[test]
    fn writing_twice_is_writing_once() {
        let mut tree = editable(BOARD_DTB);
        CHOSEN.write(&mut tree).unwrap();
        let once = written(&tree);
        CHOSEN.write(&mut tree).unwrap();
        assert_eq!(written(&tree), once);
    }

    /// What the seeds in `tree` give.
    fn pool(tree: &[u8]) -> Pool {
        let mut pool = Pool::default();
        // What is no tree has none.
        let _ = take_seeds(&mut tree.to_vec(), &mut pool);
        pool
    }

    /// Enough for both seeds.
    fn seeds() -> Seeds {
        let mut pool = Pool::default();
        pool.absorb(Source::Generator, &(0..64).collect::<Vec<u8>>());
        pool.draw().unwrap()
    }

    /// As a kernel gets it.
    fn with_seeds(tree: &[u8], seeds: &Seeds) -> Vec<u8> {
        let mut tree = editable(tree);
        Chosen { seeds: Some(seeds), ..CHOSEN }.write(&mut tree).unwrap();
        let mut written = tree.to_vec(100).unwrap();
        put_seeds(&tree, &mut written, seeds).unwrap();
        written
    }

    fn property<'a>(tree: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let chosen = DeviceTree::validate(tree).unwrap().find("/chosen").unwrap();
        chosen.property(name).map(|property| property.value())
    }

    #[test]
    fn the_kernel_finds_its_seeds_and_nobody_else_does() {
        let seeds = seeds();
        for base in [SMALLEST_DTB, BOARD_DTB] {
            let written = with_seeds(base, &seeds);
            assert_eq!(property(&written, "kaslr-seed"), Some(&seeds.kaslr[..]));
            assert_eq!(property(&written, "rng-seed"), seeds.rng.as_ref().map(|rng| &rng[..]));
            // What was edited on the way has never held them.
            let mut tree = editable(base);
            Chosen { seeds: Some(&seeds), ..CHOSEN }.write(&mut tree).unwrap();
            let edited = tree.to_vec(0).unwrap();
            assert_eq!(property(&edited, "kaslr-seed"), Some(&[0; 8][..]));
            assert_eq!(property(&edited, "rng-seed"), Some(&[0; 64][..]));
        }
    }

    #[test]
    fn without_seeds_a_tree_has_none_whatever_it_had_before() {
        let mut tree = editable(BOARD_DTB);
        CHOSEN.write(&mut tree).unwrap();
        let written = tree.to_vec(0).unwrap();
        assert_eq!([property(&written, "kaslr-seed"), property(&written, "rng-seed")], [None; 2]);
    }

    #[test]
    fn seeds_are_not_put_where_there_is_no_room_for_them() {
        let seeds = seeds();
        for base in [SMALLEST_DTB, BOARD_DTB] {
            let tree = editable(base);
            let mut written = tree.to_vec(0).unwrap();
            assert_eq!(put_seeds(&tree, &mut written, &seeds), None);
            if base != BOARD_DTB {
                assert_eq!(written, tree.to_vec(0).unwrap());
            }
        }
    }

    #[test]
    fn the_stage_befores_seeds_are_taken_and_become_others() {
        let mut tree = BOARD_DTB.to_vec();
        let mut pool = Pool::default();
        take_seeds(&mut tree, &mut pool).unwrap();
        assert_eq!(pool.sources().collect::<Vec<_>>(), [Source::FirmwareTree]);
        assert_eq!(property(&tree, "kaslr-seed"), Some(&[0; 8][..]));
        assert_eq!(property(&tree, "rng-seed"), Some(&[0; 8][..]));
        let seeds = pool.draw().unwrap();
        assert_ne!(property(BOARD_DTB, "kaslr-seed"), Some(&seeds.kaslr[..]));
    }

    #[test]
    fn a_seed_that_was_used_up_is_none() {
        let mut used = BOARD_DTB.to_vec();
        take_seeds(&mut used, &mut Pool::default()).unwrap();
        for tree in [&used[..], SMALLEST_DTB, b"no tree"] {
            assert!(pool(tree).draw().is_none());
        }
    }

    #[test]
    fn a_command_line_ends_at_a_zero_as_the_kernel_would_end_it() {
        let mut tree = editable(SMALLEST_DTB);
        Chosen { command_line: "quiet\0hidden", ..CHOSEN }.write(&mut tree).unwrap();
        assert_eq!(lines(&tree)[0], "bootargs = \"quiet\"");
    }
}

mod setting_memory {
    use super::*;

    const BANKS: [Region; 2] = [Region::new(GIB, GIB), Region::new(4 * GIB, 2 * GIB)];

    #[test]
    fn one_node_describes_all_banks_afterwards() {
        let mut tree = editable(BOARD_DTB);
        memory::set_banks(&mut tree, &BANKS).unwrap();
        let bytes = written(&tree);
        let tree = self::tree(&bytes);
        assert_eq!(memory::banks(tree), BANKS);
        let names = tree.root().children().map(|node| node.name());
        assert_eq!(names.filter(|name| name.starts_with("memory")).count(), 1);
        assert_eq!(memory::reservations(tree), memory::reservations(self::tree(BOARD_DTB)));
    }

    #[test]
    fn a_tree_without_memory_gets_a_node_in_the_cells_of_its_root() {
        let mut tree = editable(ONE_CELL_DTB);
        memory::set_banks(&mut tree, &[Region::new(GIB, GIB)]).unwrap();
        let node = tree.view().find("/memory@40000000").unwrap();
        assert_eq!(node.property("reg").unwrap().value(), [0x40, 0, 0, 0, 0x40, 0, 0, 0]);
        assert_eq!(node.property("device_type").unwrap().as_str(), Some("memory"));
        assert_eq!(memory::banks(tree.view()), [Region::new(GIB, GIB)]);
    }

    #[test]
    fn a_disabled_memory_node_is_enabled() {
        let mut tree = editable(SMALLEST_DTB);
        memory::set_banks(&mut tree, &BANKS[..1]).unwrap();
        tree.find_mut("/memory").unwrap().set_str("status", "disabled").unwrap();
        assert_eq!(memory::banks(tree.view()), []);
        memory::set_banks(&mut tree, &BANKS[..1]).unwrap();
        assert_eq!(memory::banks(tree.view()), BANKS[..1]);
    }

    #[test]
    fn a_bank_that_the_cells_cannot_express_is_refused_rather_than_cut() {
        let mut tree = editable(ONE_CELL_DTB);
        let error = memory::set_banks(&mut tree, &BANKS).unwrap_err();
        assert_eq!(error.code(), Code::DeviceTreeEdit);
        assert_eq!(
            error.to_string(),
            "the device tree cannot be patched: the memory 0x100000000-0x180000000 cannot be \
             written in 1 cells of 32 bits"
        );
        assert_eq!(memory::set_banks(&mut tree, &[]), Err(memory::Error::NoBank));
        assert_eq!(written(&tree), ONE_CELL_DTB);
    }
}

#[test]
fn the_boards_tree_is_looked_for_with_and_without_the_vendors_folder() {
    let candidates = |directory| files::candidates(directory, &BOARD).collect::<Vec<_>>();
    assert_eq!(
        candidates("/boot/nixos/abc-dtbs"),
        ["/boot/nixos/abc-dtbs/freescale/imx8mp-evk.dtb", "/boot/nixos/abc-dtbs/imx8mp-evk.dtb"]
    );
    assert_eq!(candidates("/")[0], "/freescale/imx8mp-evk.dtb");
    assert_eq!(candidates("/dtbs/")[1], "/dtbs/imx8mp-evk.dtb");
}
