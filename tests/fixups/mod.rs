//! What every row of the table must do to every tree that describes an i.MX 8M Plus.
//!
//! Shared by the tests with NXP's trees, which are kept here, and those with mainline's, which come
//! with a kernel.

use std::collections::{BTreeMap, BTreeSet};

use firn::{
    devicetree::{DeviceTree, DeviceTreeBuf, Node, Property, fixup::Action},
    soc::{
        Part,
        fixups::{Condition, IMX8MP, Row},
        ocotp,
        part::{Grade, Unit, VARIANTS, Variant},
    },
};

/// DIGPROG of silicon A1.
const IMX8MP_A1: u32 = 0x0082_4311;

/// The part with these words of fuses.
pub(crate) fn part(words: &BTreeMap<u32, u32>) -> Part {
    Part::of(IMX8MP_A1, |word| words.get(&word).copied().unwrap_or(0))
}

/// Fuses of which the units' are blown.
pub(crate) fn without(units: &[Unit]) -> BTreeMap<u32, u32> {
    let mut words = BTreeMap::new();
    for unit in units {
        let (word, bits) = unit.fuses();
        *words.entry(word).or_default() |= bits;
    }
    words
}

/// A part of which `row` holds, and no more is missing than that takes.
pub(crate) fn part_of(row: &Row) -> Part {
    let tester3 = |bits| BTreeMap::from([(ocotp::TESTER3, bits)]);
    let words = match row.when {
        Condition::Always => BTreeMap::new(),
        Condition::Lacks(units) => without(units),
        Condition::Cores(1) => tester3(0b11 << 18),
        Condition::Cores(cores) => {
            assert_eq!(cores, 2);
            tester3(0b10 << 18)
        }
        Condition::Grade(grade) => {
            let code = Grade::ALL.iter().position(|other| *other == grade).unwrap();
            tester3(5 << 8 | u32::try_from(code).unwrap() << 5)
        }
    };
    part(&words)
}

/// The part that is sold as `variant`, in a grade of which a tree needs no change.
pub(crate) fn sold(variant: &Variant) -> Part {
    let mut words = without(variant.lacks);
    if variant.cores == 2 {
        *words.entry(ocotp::TESTER3).or_default() |= 0b10 << 18;
    }
    part(&words)
}

/// The tree after all rows that hold for `part`.
pub(crate) fn fitted(tree: &[u8], part: &Part) -> DeviceTreeBuf {
    let mut tree = DeviceTreeBuf::from(DeviceTree::validate(tree).unwrap());
    for row in IMX8MP.iter().filter(|row| row.when.holds(part)) {
        row.action.apply(&mut tree).unwrap();
    }
    tree
}

/// The tree of a board that uses each unit.
fn in_use(tree: &[u8]) -> Vec<u8> {
    let mut tree = DeviceTreeBuf::from(DeviceTree::validate(tree).unwrap());
    for row in IMX8MP {
        let Action::Disable(names) = &row.action else { continue };
        for path in names.iter().flat_map(|name| name.paths) {
            if let Some(mut node) = tree.find_mut(path) {
                node.set_str("status", "okay").unwrap();
            }
        }
    }
    tree.to_vec(0).unwrap()
}

/// Nodes by their paths, properties by their names.
type Listing = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

fn listing(tree: DeviceTree<'_>) -> Listing {
    fn list(node: Node<'_>, path: &str, into: &mut Listing) {
        let properties = node.properties();
        let properties = properties.map(|it| (it.name().to_owned(), it.value().to_vec()));
        into.insert(path.to_owned(), properties.collect());
        for child in node.children() {
            list(child, &format!("{path}/{}", child.name()), into);
        }
    }
    let mut listing = Listing::new();
    list(tree.root(), "", &mut listing);
    listing
}

/// Paths of nodes that are not what they were, and of those that are gone.
fn changed(before: DeviceTree<'_>, after: DeviceTree<'_>) -> BTreeSet<String> {
    let (before, after) = (listing(before), listing(after));
    assert!(after.keys().all(|path| before.contains_key(path)), "nodes were added");
    let changed = before.into_iter().filter(|(path, node)| after.get(path) != Some(node));
    changed.map(|(path, _)| path).collect()
}

/// Checks `row` on a tree that has all that it speaks of but `absent`, paths of which one would do.
pub(crate) fn check(row: &Row, tree: &[u8], absent: &[&str]) {
    let tree = &in_use(tree);
    let before = DeviceTree::validate(tree).unwrap();
    match &row.action {
        Action::Disable(names) => {
            for name in *names {
                let is_there = name.paths.iter().any(|path| before.find(path).is_some());
                let is_absent = name.paths.iter().any(|path| absent.contains(path));
                assert_ne!(is_there, is_absent, "{name:?}");
            }
        }
        Action::Keep(processors) => {
            check_processors(processors.0, before, fitted(tree, &part_of(row)).view());
        }
        Action::Trip(trips) => {
            check_trips(trips.critical.allowed, fitted(tree, &part_of(row)).view());
        }
    }
    check_part(tree, &part_of(row));
}

/// Checks what `tree` becomes on each part that is sold.
pub(crate) fn check_parts(tree: &[u8]) {
    for variant in &VARIANTS {
        let changed = check_part(&in_use(tree), &sold(variant));
        check_part(tree, &sold(variant));
        let is_whole = variant.lacks.is_empty() && variant.cores == 4;
        assert_eq!(changed.is_empty(), is_whole, "{}", variant.name);
    }
}

/// Checks that of `tree` those nodes are disabled, and no others, that rows for `part` speak of.
/// Returns all nodes that were changed.
fn check_part(tree: &[u8], part: &Part) -> BTreeSet<String> {
    let before = DeviceTree::validate(tree).unwrap();
    let fitted = fitted(tree, part);
    let changed = changed(before, fitted.view());
    let mut expected = BTreeSet::new();
    let (mut processors, mut trips) = (false, false);
    for row in IMX8MP.iter().filter(|row| row.when.holds(part)) {
        match &row.action {
            Action::Disable(names) => {
                let paths = names.iter().flat_map(|name| name.paths);
                let used = paths.filter(|path| before.find(path).is_some_and(Node::is_enabled));
                expected.extend(used.map(|path| (*path).to_owned()));
            }
            Action::Keep(_) => processors = true,
            Action::Trip(_) => trips = true,
        }
    }
    for path in &expected {
        let status = fitted.view().find(path).unwrap().property("status").unwrap();
        assert_eq!(status.as_str(), Some("disabled"), "{path}");
        assert!(changed.contains(path), "{path}");
    }
    for path in changed.difference(&expected) {
        let of_processors = ["/cpus/cpu@", "/pmu", "/soc@0/etm@", "/etm@"];
        let is_processors = of_processors.iter().any(|start| path.starts_with(start))
            || path.contains("-thermal/cooling-maps/");
        let is_trip = path.contains("-thermal/trips/");
        assert!(processors && is_processors || trips && is_trip, "{path}");
    }
    changed
}

fn check_trips(limit: u32, after: DeviceTree<'_>) {
    for zone in ["cpu-thermal", "soc-thermal"] {
        let trip = |number| {
            let path = format!("/thermal-zones/{zone}/trips/trip{number}");
            let trip = after.find(&path).unwrap();
            let kind = trip.property("type").unwrap().as_str().unwrap();
            (kind, trip.property("temperature").unwrap().as_u32().unwrap())
        };
        assert_eq!([trip(0), trip(1)], [("passive", limit - 10_000), ("critical", limit)]);
    }
}

fn check_processors(count: u32, before: DeviceTree<'_>, after: DeviceTree<'_>) {
    let phandles = |tree: DeviceTree<'_>, number: u32| {
        let node = tree.find(&format!("/cpus/cpu@{number}"))?;
        node.property("phandle").and_then(Property::as_u32)
    };
    let kept: Vec<_> = (0..count).map(|number| phandles(before, number).unwrap()).collect();
    let gone: Vec<_> = (count..4).map(|number| phandles(before, number).unwrap()).collect();
    for number in 0..4 {
        let is_there = after.find(&format!("/cpus/cpu@{number}")).is_some();
        assert_eq!(is_there, number < count, "cpu@{number}");
    }
    let cells = |value: &[u8]| -> Vec<u32> {
        value.chunks_exact(4).map(|cell| u32::from_be_bytes(cell.try_into().unwrap())).collect()
    };
    for zone in ["cpu-thermal", "soc-thermal"] {
        let map = after.find(&format!("/thermal-zones/{zone}/cooling-maps/map0")).unwrap();
        let all = |&cpu: &u32| [cpu, u32::MAX, u32::MAX];
        let expected: Vec<u32> = kept.iter().flat_map(all).collect();
        assert_eq!(cells(map.property("cooling-device").unwrap().value()), expected);
    }
    if let Some(affinity) = after.find("/pmu").unwrap().property("interrupt-affinity") {
        assert_eq!(cells(affinity.value()), kept);
    }
    let mut traces = 0;
    for node in after.nodes() {
        let Some(cpu) = node.property("cpu").and_then(Property::as_u32) else { continue };
        traces += 1;
        assert!(
            kept.contains(&cpu) || gone.contains(&cpu) && !node.is_enabled(),
            "{}",
            node.name()
        );
    }
    assert!(traces >= 2, "both kinds of trees have trace units");
}
