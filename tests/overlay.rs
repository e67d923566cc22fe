//! Overlays laid over trees: what comes out, and what is said when they do not fit.

use firn::{
    devicetree::{
        DeviceTree, DeviceTreeBuf, Node,
        overlay::{self, Error, MAX_FRAGMENTS, MAX_OVERLAY_SIZE},
    },
    error::{Code, Coded},
};

macro_rules! fixture {
    ($file:literal) => {
        include_bytes!(concat!("fixtures/devicetree/overlays/", $file)).as_slice()
    };
}

const BASE: &[u8] = fixture!("base.dtb");
const CODEC: &[u8] = fixture!("codec.dtbo");
const CARD: &[u8] = fixture!("card.dtbo");
const NUMBERED: &[u8] = fixture!("numbered.dtbo");
const UNKNOWN: &[u8] = fixture!("unknown.dtbo");
/// What dtc 1.8's fdtoverlay makes of the first three laid over the base.
const EXPECTED: &[u8] = fixture!("expected.dtb");

fn tree(bytes: &[u8]) -> DeviceTree<'_> {
    DeviceTree::validate(bytes).unwrap()
}

/// A tree after some edits.
fn edited(bytes: &[u8], edit: impl FnOnce(&mut DeviceTreeBuf)) -> Vec<u8> {
    let mut edited = DeviceTreeBuf::from(tree(bytes));
    edit(&mut edited);
    edited.to_vec(0).unwrap()
}

/// The base with overlays laid over it, as it is written for the kernel.
fn overlaid(base: &[u8], overlays: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut base = DeviceTreeBuf::from(tree(base));
    overlays.iter().try_for_each(|overlay| overlay::apply(&mut base, tree(overlay)))?;
    let written = base.to_vec(0).unwrap();
    DeviceTree::validate(&written).expect("what was written is a tree");
    Ok(written)
}

/// The error, which must name itself by its code.
fn error(base: &[u8], overlay: &[u8]) -> String {
    let error = overlaid(base, &[overlay]).unwrap_err();
    assert_eq!(error.code(), Code::OverlayUnusable);
    let text = error.to_string();
    let said = text.strip_prefix("the device tree overlay cannot be applied: ");
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Every property with its node's path, in the order of names.
fn sorted_listing(bytes: &[u8]) -> Vec<String> {
    fn list(node: Node<'_>, path: &str, lines: &mut Vec<String>) {
        lines.push(format!("{path}/"));
        lines.extend(
            node.properties().map(|one| format!("{path}/{} = {:02x?}", one.name(), one.value())),
        );
        node.children().for_each(|child| list(child, &format!("{path}/{}", child.name()), lines));
    }
    let mut lines = Vec::new();
    list(tree(bytes).root(), "", &mut lines);
    lines.sort();
    lines
}

fn cells(bytes: &[u8], path: &str, property: &str) -> Vec<u32> {
    let value = tree(bytes).find(path).unwrap().property(property).unwrap().value();
    value.chunks(4).map(|cell| u32::from_be_bytes(cell.try_into().unwrap())).collect()
}

mod merging {
    use super::*;

    #[test]
    fn overlays_that_build_on_each_other_make_what_fdtoverlay_makes_of_them() {
        let ours = overlaid(BASE, &[CODEC, CARD, NUMBERED]).unwrap();
        assert_eq!(sorted_listing(&ours), sorted_listing(EXPECTED));
    }

    #[test]
    fn what_the_base_has_keeps_its_place_and_what_is_new_comes_behind_in_the_overlays_order() {
        let made = overlaid(BASE, &[CODEC]).unwrap();
        let i2c = tree(&made).find("/soc/i2c").unwrap();
        let properties: Vec<_> = i2c.properties().map(|property| property.name()).collect();
        assert_eq!(
            properties,
            ["reg", "#address-cells", "#size-cells", "status", "phandle", "clock-frequency"]
        );
        let names = |node: Node<'_>| node.children().map(|node| node.name().to_owned()).collect();
        let children: Vec<String> = names(i2c);
        assert_eq!(children, ["rtc@51", "codec@1a"]);
        let children: Vec<String> = names(tree(&made).root());
        assert_eq!(
            children,
            ["aliases", "clock", "soc@0", "__symbols__", "own-clock", "regulator"]
        );
    }

    #[test]
    fn a_node_that_the_base_refers_to_keeps_its_number() {
        let made = overlaid(BASE, &[NUMBERED]).unwrap();
        let rtc = cells(&made, "/soc/i2c/rtc", "phandle");
        assert_eq!(rtc, cells(BASE, "/soc/i2c/rtc", "phandle"));
        assert_eq!(cells(&made, "/soc/gpio", "wake"), rtc);
        assert_eq!(cells(&made, "/soc/gpio", "rtc"), rtc);
        assert_eq!(cells(&made, "/soc/i2c/rtc", "aux"), rtc);
        let output = cells(&made, "/soc/i2c/rtc/clkout", "phandle");
        assert_eq!(cells(&made, "/soc/gpio", "rtc-clock"), output);
        assert_ne!(output, rtc);
    }

    #[test]
    fn an_overlay_that_is_applied_twice_changes_nothing_more() {
        let once = overlaid(BASE, &[CODEC]).unwrap();
        assert_eq!(overlaid(BASE, &[CODEC, CODEC]).unwrap(), once);
    }

    #[test]
    fn of_two_fragments_for_one_node_the_later_wins_and_the_node_has_one_number() {
        let overlay = edited(UNKNOWN, |tree| {
            tree.root_mut().retain_children(|_| false);
            for (fragment, number) in [("/first", 1), ("/second", 2)] {
                let mut target = tree.find_or_create(fragment).unwrap();
                target.set_str("target-path", "/aliases").unwrap();
                let mut laid = tree.find_or_create(&format!("{fragment}/__overlay__")).unwrap();
                laid.set_u32("value", number).unwrap();
                laid.set_u32("phandle", number).unwrap();
                laid.set_u32("itself", number).unwrap();
                let fixups = format!("/__local_fixups__{fragment}/__overlay__");
                tree.find_or_create(&fixups).unwrap().set_u32("itself", 0).unwrap();
            }
        });
        let made = overlaid(BASE, &[&overlay]).unwrap();
        assert_eq!(cells(&made, "/aliases", "value"), [2]);
        assert_eq!(cells(&made, "/aliases", "phandle"), [highest(BASE) + 1]);
        assert_eq!(cells(&made, "/aliases", "itself"), [highest(BASE) + 1]);
    }

    #[test]
    fn a_name_without_unit_address_means_the_first_node_that_has_one() {
        let overlay = edited(UNKNOWN, |tree| {
            tree.root_mut().retain_children(|child| child.name() == "fragment@0");
            let mut fragment = tree.find_mut("/fragment@0").unwrap();
            fragment.remove("target");
            fragment.set_str("target-path", "/soc").unwrap();
            let mut serial = tree.find_or_create("/fragment@0/__overlay__/serial").unwrap();
            serial.set_str("status", "reserved").unwrap();
        });
        let made = overlaid(BASE, &[&overlay]).unwrap();
        let serial = tree(&made).find("/soc@0/serial@1000").unwrap();
        assert_eq!(serial.property("status").unwrap().as_str(), Some("reserved"));
        assert_eq!(tree(&made).find("/soc@0").unwrap().children().count(), 3);
    }

    #[test]
    fn a_tree_without_symbols_takes_overlays_that_need_none_and_their_symbols() {
        let base = edited(BASE, |tree| {
            tree.root_mut().retain_children(|child| child.name() != "__symbols__");
        });
        let overlay = edited(CARD, |tree| {
            let wanted = ["fragment@0", "fragment@1", "fragment@2", "__symbols__"];
            tree.root_mut().retain_children(|child| wanted.contains(&child.name()));
            let mut sound = tree.find_mut("/fragment@0/__overlay__/sound").unwrap();
            sound.remove("dai");
            sound.remove("clocks");
            // What its reference to itself was, is not one any more.
            tree.find_mut("/fragment@2").unwrap().remove("target");
            tree.find_mut("/fragment@2").unwrap().set_str("target-path", "/sound/dai").unwrap();
        });
        let made = overlaid(&base, &[&overlay]).unwrap();
        let symbol = tree(&made).find("/__symbols__").unwrap().property("card").unwrap();
        assert_eq!(symbol.as_str(), Some("/sound"));
        assert!(tree(&made).find("/sound/dai").unwrap().property("status").is_some());
    }

    fn highest(bytes: &[u8]) -> u32 {
        tree(bytes).nodes().filter_map(|node| node.phandle()).max().unwrap()
    }
}

mod refusing {
    use super::*;

    #[test]
    fn a_missing_symbol_is_named_with_who_needs_it() {
        assert_eq!(
            error(BASE, UNKNOWN),
            "the device tree has no symbol \"i2c9\", which /fragment@0:target:0 needs; is the \
             overlay for this board and kernel?"
        );
        assert_eq!(
            error(BASE, CARD),
            "the device tree has no symbol \"codec\", which \
             /fragment@0/__overlay__/sound:dai:0 needs; is the overlay for this board and kernel?"
        );
    }

    #[test]
    fn a_tree_without_symbols_is_told_apart_from_one_that_lacks_one() {
        let base = edited(BASE, |tree| {
            tree.root_mut().retain_children(|child| child.name() != "__symbols__");
        });
        assert_eq!(
            error(&base, CODEC),
            "the device tree has no symbols, and /fragment@0:target:0 needs \"i2c\"; build the \
             tree with dtc -@"
        );
    }

    #[test]
    fn a_symbol_that_leads_to_no_node_or_to_one_without_number_is_named() {
        let expected = "the device tree's symbol \"i2c\" leads to /gone, which is no node with a \
                        phandle; build the tree with dtc -@";
        let base = edited(BASE, |tree| {
            tree.find_mut("/__symbols__").unwrap().set_str("i2c", "/gone").unwrap();
        });
        assert_eq!(error(&base, CODEC), expected);
        let base = edited(&base, |tree| assert!(tree.find_or_create("/gone").is_ok()));
        assert_eq!(error(&base, CODEC), expected);
        let base = edited(&base, |tree| {
            tree.find_mut("/gone").unwrap().set_u32("phandle", u32::MAX).unwrap();
        });
        assert_eq!(error(&base, CODEC), expected);
    }

    #[test]
    fn a_target_that_is_not_there_is_named_with_its_fragment() {
        let base = edited(BASE, |tree| {
            assert!(tree.find_mut("/aliases").unwrap().remove("serial0"));
        });
        let both = |overlay: &[u8]| overlaid(&base, &[CODEC, overlay]).unwrap_err().to_string();
        assert_eq!(
            both(CARD),
            "the device tree overlay cannot be applied: the device tree has no serial0, which \
             fragment@4 is for; is the overlay for this board?"
        );
        let overlay = edited(UNKNOWN, |tree| {
            tree.root_mut().retain_children(|child| child.name() != "__fixups__");
            tree.find_mut("/fragment@0").unwrap().set_u32("target", 0x1234).unwrap();
        });
        assert_eq!(
            error(BASE, &overlay),
            "the device tree has no node with phandle 0x1234, which fragment@0 is for; is the \
             overlay for this board?"
        );
    }

    #[test]
    fn what_is_no_overlay_is_said_to_be_none() {
        let expected = "no node holds an __overlay__, so this is no overlay; its source begins \
                        with /dts-v1/; /plugin/;";
        assert_eq!(error(BASE, BASE), expected);
    }

    #[test]
    fn broken_fragments_references_symbols_and_numbers_are_each_told() {
        type Edit = fn(&mut DeviceTreeBuf);
        let cases: [(Edit, &str); 12] = [
            (
                |tree| assert!(tree.find_mut("/fragment@1").unwrap().remove("target-path")),
                "fragment@1 has neither target nor target-path",
            ),
            (
                |tree| tree.find_mut("/fragment@1").unwrap().set("target-path", b"/x").unwrap(),
                "the target of fragment@1 is neither a path nor a label's number; build the \
                 overlay with dtc -@",
            ),
            (
                |tree| tree.root_mut().retain_children(|child| child.name() != "__fixups__"),
                "the target of fragment@0 is neither a path nor a label's number; build the \
                 overlay with dtc -@",
            ),
            (
                |tree| tree.find_mut("/__fixups__").unwrap().set_str("clk", "/no:x:0").unwrap(),
                "its reference clk = /no:x:0 leads nowhere; build the overlay again",
            ),
            (
                |tree| {
                    let mut fixups = tree.find_mut("/__fixups__").unwrap();
                    fixups.set_str("i2c", "/fragment@0:target:1").unwrap();
                },
                "its reference i2c = /fragment@0:target:1 leads nowhere; build the overlay again",
            ),
            (
                |tree| {
                    let mut fixups = tree.find_mut("/__fixups__").unwrap();
                    let far = "/fragment@0:target:18446744073709551615";
                    fixups.set_str("i2c", far).unwrap();
                },
                "its reference i2c = /fragment@0:target:18446744073709551615 leads nowhere; build \
                 the overlay again",
            ),
            (
                |tree| tree.find_mut("/__fixups__").unwrap().set("clk", b"/no\xff").unwrap(),
                "its reference clk = ? leads nowhere; build the overlay again",
            ),
            (
                |tree| {
                    let node = "/__local_fixups__/fragment@0/__overlay__/codec@1a";
                    tree.find_mut(node).unwrap().set_u32("reg", 1).unwrap();
                },
                "its reference codec@1a reg in __local_fixups__ leads nowhere; build the overlay \
                 again",
            ),
            (
                |tree| assert!(tree.find_or_create("/__local_fixups__/fragment@9").is_ok()),
                "its reference  fragment@9 in __local_fixups__ leads nowhere; build the overlay \
                 again",
            ),
            (
                |tree| {
                    let mut node = tree.find_mut("/fragment@1/__overlay__/regulator").unwrap();
                    node.set("phandle", b"").unwrap();
                },
                "the phandle of regulator is not one cell; build the overlay again",
            ),
            (
                |tree| {
                    let mut node = tree.find_mut("/fragment@1/__overlay__/regulator").unwrap();
                    node.set_u32("phandle", u32::MAX - 2).unwrap();
                },
                "the phandles of tree and overlay exceed 32 bits",
            ),
            (
                |tree| {
                    let mut symbols = tree.find_mut("/__symbols__").unwrap();
                    symbols.set_str("codec", "/fragment@8/__overlay__/codec@1a").unwrap();
                },
                "its symbol \"codec\" leads to no fragment; build the overlay again",
            ),
        ];
        for (edit, expected) in cases {
            assert_eq!(error(BASE, &edited(CODEC, edit)), expected);
        }
    }

    #[test]
    fn nodes_too_deep_for_linux_are_not_made() {
        let deep = "/a".repeat(62);
        let base = edited(BASE, |tree| assert!(tree.find_or_create(&deep).is_ok()));
        let overlay = |name: &str| {
            edited(UNKNOWN, |tree| {
                tree.root_mut().retain_children(|child| child.name() == "fragment@0");
                let mut fragment = tree.find_mut("/fragment@0").unwrap();
                fragment.remove("target");
                fragment.set_str("target-path", &deep).unwrap();
                tree.find_or_create(&format!("/fragment@0/__overlay__/{name}")).unwrap();
            })
        };
        assert!(overlaid(&base, &[&overlay("b")]).is_ok());
        assert_eq!(error(&base, &overlay("b/c")), "c would be too deep within other nodes");
    }

    #[test]
    fn too_many_fragments_and_too_large_an_overlay_are_refused() {
        let overlay = edited(UNKNOWN, |tree| {
            tree.root_mut().retain_children(|child| child.name() == "fragment@0");
            for number in 0..=MAX_FRAGMENTS {
                let fragment = format!("/fragment@{number}");
                tree.find_or_create(&format!("{fragment}/__overlay__")).unwrap();
                let mut fragment = tree.find_mut(&fragment).unwrap();
                fragment.remove("target");
                fragment.set_str("target-path", "/").unwrap();
            }
        });
        assert_eq!(error(BASE, &overlay), "it has 257 fragments, at most 256 are applied");
        let overlay = edited(CODEC, |tree| {
            tree.root_mut().set("large", &vec![0; MAX_OVERLAY_SIZE]).unwrap();
        });
        assert!(error(BASE, &overlay).contains("is too large for an overlay, at most 256.0 KiB"));
    }

    #[test]
    fn names_of_any_length_are_cut_when_told() {
        let overlay = edited(UNKNOWN, |tree| {
            let mut fixups = tree.find_mut("/__fixups__").unwrap();
            fixups.remove("i2c9");
            fixups.set_str(&"x".repeat(255), &"\u{1b}".repeat(10_000)).unwrap();
        });
        assert!(error(BASE, &overlay).len() < 1000);
        assert!(!error(BASE, &overlay).contains('\u{1b}'));
    }
}

/// Overlays and trees that make a careless editor take minutes.
mod extremes {
    use super::*;

    const BEGIN: [u8; 4] = [0, 0, 0, 1];
    const END: [u8; 4] = [0, 0, 0, 2];
    const PROPERTY: [u8; 4] = [0, 0, 0, 3];

    /// A tree made of tokens: the editor would take as long as what it is to test.
    #[derive(Default)]
    struct Source {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Source {
        fn begin(&mut self, name: &str) -> &mut Self {
            self.structure.extend(BEGIN);
            self.structure.extend(name.as_bytes());
            self.structure.push(0);
            self.align()
        }

        fn end(&mut self) -> &mut Self {
            self.structure.extend(END);
            self
        }

        fn property(&mut self, name: &str, value: &[u8]) -> &mut Self {
            self.structure.extend(PROPERTY);
            let name_offset = self.strings.len();
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            for number in [value.len(), name_offset] {
                self.structure.extend(u32::try_from(number).unwrap().to_be_bytes());
            }
            self.structure.extend(value);
            self.align()
        }

        fn align(&mut self) -> &mut Self {
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
            self
        }

        fn finish(&mut self) -> Vec<u8> {
            self.structure.extend([0, 0, 0, 9]);
            let structure = 40 + 16;
            let strings = structure + self.structure.len();
            let size = strings + self.strings.len();
            let numbers = [size, structure, strings, 40, 17, 16, 0];
            let mut bytes = 0xd00d_feed_u32.to_be_bytes().to_vec();
            for number in numbers.into_iter().chain([self.strings.len(), self.structure.len()]) {
                bytes.extend(u32::try_from(number).unwrap().to_be_bytes());
            }
            bytes.extend([0; 16]);
            bytes.extend(&self.structure);
            bytes.extend(&self.strings);
            bytes
        }
    }

    /// An overlay for the root, with what `fill` puts into its only fragment.
    fn for_root(fill: impl FnOnce(&mut Source)) -> Source {
        let mut source = Source::default();
        source.begin("").begin("f").property("target-path", b"/\0").begin("__overlay__");
        fill(&mut source);
        source.end().end();
        source
    }

    /// A tree of nearly two megabytes whose nodes have the children of one level.
    fn wide_base() -> Vec<u8> {
        let mut source = Source::default();
        source.begin("");
        for number in 0..55_000 {
            source.begin(&format!("n@{number:x}")).property("p", &[0; 4]).end();
        }
        source.end().finish()
    }

    fn within_seconds(base: &[u8], overlay: &[u8]) -> Result<Vec<u8>, Error> {
        let before = processor_ticks();
        let outcome = overlaid(base, &[overlay]);
        let seconds = (processor_ticks() - before) / TICKS;
        assert!(seconds < 30, "{seconds} s");
        outcome
    }

    /// Linux's USER_HZ.
    const TICKS: u64 = 100;

    /// What this thread has had of a processor, however much others want of it. Source: proc(5), utime and
    /// stime of `/proc/pid/stat`.
    fn processor_ticks() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, behind_the_name) = stat.rsplit_once(')').unwrap();
        let times = behind_the_name.split_whitespace().skip(11).take(2);
        times.map(|time| time.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn many_new_nodes_over_many_old_ones() {
        let overlay = for_root(|source| {
            for number in 0..12_000 {
                source.begin(&format!("n@{:x}", number * 5)).end();
            }
        })
        .end()
        .finish();
        let made = within_seconds(&wide_base(), &overlay).unwrap();
        assert_eq!(tree(&made).root().children().count(), 55_000 + 12_000 - 11_000);
    }

    #[test]
    fn many_nodes_of_one_name() {
        let overlay = for_root(|source| {
            for _ in 0..15_000 {
                source.begin("n").end();
            }
        })
        .end()
        .finish();
        let made = within_seconds(&wide_base(), &overlay).unwrap();
        assert_eq!(tree(&made).root().children().count(), 55_000);
    }

    #[test]
    fn many_properties_of_different_names() {
        let overlay = for_root(|source| {
            for number in 0..9_000 {
                source.property(&format!("p{number:x}"), b"x");
            }
        })
        .end()
        .finish();
        let made = within_seconds(BASE, &overlay).unwrap();
        assert_eq!(tree(&made).root().properties().count(), 3 + 9_000);
        assert!(tree(&made).root().property("p2327").is_some());
    }

    #[test]
    fn many_references_and_symbols() {
        let mut source = for_root(|source| {
            for number in 0..1_000 {
                source.begin(&format!("n{number}")).property("r", &[0; 4]).end();
            }
        });
        source.begin("__fixups__");
        let entries: String =
            (0..1_000).map(|number| format!("/f/__overlay__/n{number}:r:0\0")).collect();
        source.property("clk", entries.as_bytes()).end();
        source.begin("__symbols__");
        for number in 0..1_000 {
            source
                .property(&format!("s{number}"), format!("/f/__overlay__/n{number}\0").as_bytes());
        }
        let overlay = source.end().end().finish();
        let made = within_seconds(BASE, &overlay).unwrap();
        let clock = cells(BASE, "/clock", "phandle");
        assert_eq!(cells(&made, "/n999", "r"), clock);
        let symbol = tree(&made).find("/__symbols__").unwrap().property("s999").unwrap();
        assert_eq!(symbol.as_str(), Some("/n999"));
    }

    #[test]
    fn fragments_each_of_which_waits_for_the_one_before() {
        let mut source = Source::default();
        source.begin("");
        let mut path = String::from("/");
        for number in 0..20 {
            source.begin(&format!("f{number}"));
            source.property("target-path", format!("{path}\0").as_bytes());
            source.begin("__overlay__").begin("a").end().end().end();
            path = format!("{}/a", path.trim_end_matches('/'));
        }
        let overlay = source.end().finish();
        let made = within_seconds(&wide_base(), &overlay).unwrap();
        assert!(tree(&made).find(&path).is_some());
    }

    #[test]
    fn symbols_of_deep_nodes_do_not_grow_beyond_what_a_tree_may_hold() {
        let name = "x".repeat(250);
        let deep = format!("/{name}").repeat(60);
        let base = edited(BASE, |tree| assert!(tree.find_or_create(&deep).is_ok()));
        let mut source = Source::default();
        source.begin("").begin("f").property("target-path", format!("{deep}\0").as_bytes());
        source.begin("__overlay__").end().end().begin("__symbols__");
        for number in 0..4_000 {
            source.property(&format!("s{number}"), b"/f/__overlay__\0");
        }
        let overlay = source.end().end().finish();
        let error = within_seconds(&base, &overlay).unwrap_err();
        assert!(error.to_string().contains("has room for 2097152"), "{error}");
    }
}
