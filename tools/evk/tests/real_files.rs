//! The pure parts of the loader on what a distribution ships: its kernel and all its device trees,
//! judged by `dtc` and `fdtget`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use evk::assets::{Assets, find_tool};
use firn::{
    devicetree::{
        DeviceTree, DeviceTreeBuf,
        chosen::{Boot, Chosen},
        memory, overlay,
    },
    linux::{KernelImage, MemoryMap, Plan, Request, image},
    memory::Region,
};

/// What a tool that must be content says about `file`.
fn tool(name: &str, arguments: &[&str], file: &Path) -> String {
    let output =
        Command::new(find_tool(name).expect(name)).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?} {}: {output:?}", file.display());
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A tree as source, as dtc reads it.
fn source(tree: &[u8]) -> String {
    decompiled(tree, &["-q", "-I", "dtb", "-O", "dts"])
}

/// The same in the order of names, not the tree's own.
fn sorted_source(tree: &[u8]) -> String {
    decompiled(tree, &["-q", "-s", "-I", "dtb", "-O", "dts"])
}

fn decompiled(tree: &[u8], arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), tree).unwrap();
    tool("dtc", arguments, file.path())
}

/// All files below `directory` whose names end in `.extension`, in order.
fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut ahead) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ahead.push(path);
            } else if path.extension().is_some_and(|one| one == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Of how many trees one is shown to dtc, which takes as long for it as all else for all of them.
/// `FIRN_DTC_EVERY=1`: of each.
fn dtc_every() -> usize {
    std::env::var("FIRN_DTC_EVERY").map_or(16, |every| every.parse().expect("a number"))
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn every_arm64_device_tree_of_debian_comes_back_as_it_was() {
    let files = files_below(&Assets::locate().unwrap().dtbs, "dtb");
    assert!(files.len() > 1000, "{} trees", files.len());
    let mut same = 0;
    for (index, file) in files.iter().enumerate() {
        let original = fs::read(file).unwrap();
        let tree = DeviceTree::validate(&original)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let written = DeviceTreeBuf::from(tree).to_vec(0).unwrap();
        same += usize::from(written == original);
        if written != original || index % dtc_every() == 0 {
            assert_eq!(source(&written), source(&original), "{}", file.display());
        }
    }
    println!("{} trees, {same} byte for byte", files.len());
}

/// All that a tree says, in its order: nodes, and behind each its properties with their values.
fn content(tree: DeviceTree<'_>) -> Vec<(&str, Option<&[u8]>)> {
    let mut content = Vec::new();
    for node in tree.nodes() {
        content.push((node.name(), None));
        content.extend(node.properties().map(|one| (one.name(), Some(one.value()))));
    }
    content
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn edits_of_debians_trees_change_what_was_edited_and_nothing_else() {
    let files = files_below(&Assets::locate().unwrap().dtbs, "dtb");
    for (index, file) in files.iter().enumerate() {
        let original = fs::read(file).unwrap();
        let tree = DeviceTree::validate(&original).unwrap();
        let model = tree.model().unwrap().to_owned();
        let cores = tree.find("/cpus").unwrap().children().count();

        let mut edited = DeviceTreeBuf::from(tree);
        edited
            .root_mut()
            .set_str("model", "a longer name than any board has, so that all moves")
            .unwrap();
        edited.root_mut().set("firn,new", &[1, 2, 3]).unwrap();
        edited.find_or_create("/firn-new/deeper").unwrap().set_u32("firn,cell", 7).unwrap();
        let children = (0..40).map(|number| format!("child@{number}")).collect::<Vec<_>>();
        for child in &children {
            edited.find_mut("/cpus").unwrap().add_child(child).unwrap();
        }
        let with_edits = edited.to_vec(64).unwrap();
        let seen = DeviceTree::validate(&with_edits).unwrap();
        assert_eq!(seen.root().property("firn,new").unwrap().value(), [1, 2, 3]);
        let cell = seen.find("/firn-new/deeper").unwrap().property("firn,cell").unwrap();
        assert_eq!(cell.as_u32(), Some(7));
        assert_eq!(seen.find("/cpus").unwrap().children().count(), cores + 40);
        let by_dtc = index % dtc_every() == 0;
        if by_dtc {
            assert!(source(&with_edits).contains("firn,new = [01 02 03];"), "{}", file.display());
        }

        edited.root_mut().set_str("model", &model).unwrap();
        assert!(edited.root_mut().remove("firn,new"));
        edited.root_mut().retain_children(|node| node.name() != "firn-new");
        let is_original = |name: &str| !children.iter().any(|child| child == name);
        edited.find_mut("/cpus").unwrap().retain_children(|node| is_original(node.name()));
        let back = edited.to_vec(0).unwrap();
        let back_tree = DeviceTree::validate(&back).unwrap();
        assert!(content(back_tree) == content(tree), "{}", file.display());
        if by_dtc {
            assert_eq!(source(&back), source(&original), "{}", file.display());
        }
    }
}

/// What `fdtoverlay` makes of a tree and overlays, if it can.
fn fdtoverlay(base: &Path, overlays: &[&Path]) -> Option<Vec<u8>> {
    let made = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(find_tool("fdtoverlay").expect("fdtoverlay"))
        .args(["-i".as_ref(), base.as_os_str(), "-o".as_ref(), made.path().as_os_str()])
        .args(overlays)
        .output()
        .unwrap();
    output.status.success().then(|| fs::read(made.path()).unwrap())
}

/// What Firn makes of them.
fn overlaid(base: &Path, overlays: &[&Path]) -> Result<Vec<u8>, overlay::Error> {
    let base = fs::read(base).unwrap();
    let mut base = DeviceTreeBuf::from(DeviceTree::validate(&base).unwrap());
    for file in overlays {
        let bytes = fs::read(file).unwrap();
        overlay::apply(&mut base, DeviceTree::validate(&bytes).unwrap())?;
    }
    Ok(base.to_vec(0).unwrap())
}

/// The lines in which two texts differ, the first ones.
fn differences(one: &str, other: &str) -> Vec<String> {
    let lines = one.lines().zip(other.lines().chain(std::iter::repeat("")));
    let differ = lines.filter(|(one, other)| one != other);
    differ.map(|(one, other)| format!("{one} / {other}")).take(8).collect()
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn debians_overlays_make_of_debians_trees_what_fdtoverlay_makes_of_them() {
    let dtbs = Assets::locate().unwrap().dtbs;
    let mut bases = files_below(&dtbs, "dtb");
    bases.retain(|base| fs::read(base).unwrap().windows(11).any(|word| word == b"__symbols__"));
    let overlays = files_below(&dtbs, "dtbo");
    assert!(bases.len() > 100 && overlays.len() > 40, "{} {}", bases.len(), overlays.len());
    let (mut same, mut refused, mut overwritten) = (0, 0, 0);
    for overlay in &overlays {
        for base in bases.iter().filter(|base| base.parent() == overlay.parent()) {
            let place = format!("{} on {}", overlay.display(), base.display());
            match (overlaid(base, &[overlay]), fdtoverlay(base, &[overlay])) {
                (Ok(ours), Some(theirs)) => {
                    let kept = phandles(&fs::read(base).unwrap());
                    assert!(kept.is_subset(&phandles(&ours)), "{place}: a phandle is gone");
                    if !kept.is_subset(&phandles(&theirs)) {
                        overwritten += 1;
                        continue;
                    }
                    let differences = differences(&sorted_source(&ours), &sorted_source(&theirs));
                    assert!(differences.is_empty(), "{place}: {differences:#?}");
                    same += 1;
                }
                (Err(_), None) => refused += 1,
                (ours, theirs) => panic!("{place}: {ours:?}, {:?}", theirs.is_some()),
            }
        }
    }
    println!("{same} the same, {refused} refused by both, {overwritten} with phandles lost");
    assert!(same > 100 && refused > 100 && overwritten < same / 3);
}

/// The phandles in a tree. Up to dtc 1.7.0, `fdtoverlay` overwrites those of the base where an overlay
/// gives a node one, too.
fn phandles(tree: &[u8]) -> BTreeSet<u32> {
    let nodes = DeviceTree::validate(tree).unwrap();
    nodes.nodes().filter_map(|node| node.phandle()).collect()
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn the_evks_device_tree_once_patched_is_read_by_dtc_and_nothing_else_has_changed() {
    let original = fs::read(Assets::locate().unwrap().dtbs.join("freescale/imx8mp-evk.dtb"));
    let original = original.unwrap();
    let tree = DeviceTree::validate(&original).unwrap();
    assert!(tree.is_compatible(firn::board::BOARD.compatible));

    let mut patched = DeviceTreeBuf::from(tree);
    let banks = [Region::new(0x4000_0000, 0x4000_0000), Region::new(1 << 32, 1 << 30)];
    memory::set_banks(&mut patched, &banks).unwrap();
    let chosen = Chosen {
        command_line: "init=/nix/store/abc/init console=ttymxc1,115200",
        initrd: Some(Region::between(0x7000_0000, 0x7123_4567)),
        boot: Boot { version: "0.1.0", generation: "/nix/store/abc", ..Boot::default() },
        ..Chosen::default()
    };
    chosen.write(&mut patched).unwrap();
    let written = patched.to_vec(4096).unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &written).unwrap();
    let read = |node: &str, property: &str| {
        let output = Command::new(find_tool("fdtget").expect("fdtget"))
            .args([file.path().to_str().unwrap(), node, property])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(read("/chosen", "bootargs"), chosen.command_line);
    assert_eq!(read("/chosen", "linux,initrd-end"), format!("0 {}", 0x7123_4567));
    assert_eq!(
        read("/memory@40000000", "reg"),
        format!("0 {} 0 {} 1 0 0 {}", 1 << 30, 1 << 30, 1 << 30)
    );

    let (before, after) = (source(&original), source(&written));
    let changed: Vec<_> =
        after.lines().filter(|line| !before.contains(line)).map(str::trim).collect();
    assert_eq!(changed.len(), 6, "{changed:#?}");
    let missing: Vec<_> =
        before.lines().filter(|line| !after.contains(line)).map(str::trim).collect();
    assert_eq!(missing.len(), 1, "only the old size of memory: {missing:#?}");
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn debians_kernel_is_whole_and_without_its_last_kilobytes_it_is_not() {
    let kernel = fs::read(Assets::locate().unwrap().kernel).unwrap();
    let head = &kernel[..image::HEAD_SIZE];
    let inspected = KernelImage::inspect(head, kernel.len() as u64).unwrap();
    assert!(inspected.proven_complete);
    assert!(inspected.memory_size > inspected.file_size, "BSS");
    assert_eq!(inspected.verify(&kernel), Ok(()));
    let short = KernelImage::inspect(head, kernel.len() as u64 - 4096).unwrap_err();
    assert!(matches!(short, image::Error::Truncated { .. }), "{short}");
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn debians_kernel_and_tree_are_placed_around_what_the_tree_reserves() {
    let assets = Assets::locate().unwrap();
    let kernel = fs::read(assets.kernel).unwrap();
    let blob = fs::read(assets.dtbs.join("freescale/imx8mp-evk.dtb")).unwrap();
    let tree = DeviceTree::validate(&blob).unwrap();
    let mut map = MemoryMap::new(memory::banks(tree));
    map.reserve_tree(tree);
    let request = Request {
        kernel: KernelImage::inspect(&kernel[..image::HEAD_SIZE], kernel.len() as u64).unwrap(),
        // Nothing but the whole gap between the reserved ranges and 4 GiB holds it.
        initrd: 0x6bc0_0000 - 0x20_0000,
        device_tree: blob.len() as u64 + 4096,
    };
    let plan = Plan::new(&map, &request).unwrap();
    println!("{plan}");
    assert_eq!(plan.kernel.start(), 0x4000_0000);
    assert!(plan.initrd.unwrap().start() >= 0x9440_0000);
}
