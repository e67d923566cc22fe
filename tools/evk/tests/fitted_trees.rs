//! The table of fix-ups on the trees that come with Debian's kernels, judged by dtc.

#[path = "../../../tests/fixups/mod.rs"]
mod judge;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use evk::assets::{Assets, find_tool};
use firn::soc::{fixups::IMX8MP, part::VARIANTS};

/// What mainline's tree does not have: the encoder, and nodes of NXP's own.
const ABSENT: &[&str] = &["/vpu_vc8000e@38320000", "/vpu_v4l2", "/soc@0/bus@32c00000/phy@32ec0128"];

fn board() -> Vec<u8> {
    fs::read(Assets::locate().unwrap().dtbs.join("freescale/imx8mp-evk.dtb")).unwrap()
}

/// Trees of all boards with this SoC.
fn boards() -> Vec<PathBuf> {
    let directory = Assets::locate().unwrap().dtbs.join("freescale");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of_soc = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("imx8mp-") && name.ends_with(".dtb")
    };
    files.filter(of_soc).collect()
}

/// What dtc has to say against a tree.
fn warnings(tree: &[u8]) -> BTreeSet<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), tree).unwrap();
    let output = Command::new(find_tool("dtc").expect("dtc"))
        .args(["-I", "dtb", "-O", "dtb", "-o", "/dev/null"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split_once(": Warning ")?.1.to_owned()))
        .collect()
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn each_row_changes_mainlines_tree_and_nothing_that_it_does_not_speak_of() {
    let tree = board();
    for row in IMX8MP {
        judge::check(row, &tree, ABSENT);
    }
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn each_part_that_is_sold_gets_mainlines_tree_without_what_it_lacks_and_a_whole_one_as_it_is() {
    judge::check_parts(&board());
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn dtc_has_nothing_new_against_a_tree_that_was_fitted() {
    let tree = board();
    let nxp = include_bytes!("../../../tests/fixtures/devicetree/nxp-evk.dtb").to_vec();
    for tree in [tree, nxp] {
        let before = warnings(&tree);
        let parts = IMX8MP.iter().map(judge::part_of).chain(VARIANTS.iter().map(judge::sold));
        for part in parts {
            let after = warnings(&judge::fitted(&tree, &part).to_vec(0).unwrap());
            let new: Vec<_> = after.difference(&before).collect();
            assert!(new.is_empty(), "{part}: {new:#?}");
        }
    }
}

#[test]
#[ignore = "needs cargo xtask setup"]
fn each_board_of_debians_kernel_is_fitted_to_each_part_that_is_sold() {
    let boards = boards();
    assert!(boards.len() > 30, "{}", boards.len());
    for file in boards {
        let tree = fs::read(&file).unwrap();
        for part in VARIANTS.iter().map(judge::sold) {
            let fitted = judge::fitted(&tree, &part);
            let cpus = fitted.view().find("/cpus").unwrap();
            let cpus = cpus.children().filter(|node| node.name().starts_with("cpu@"));
            assert_eq!(Some(cpus.count()), part.cores.map(usize::from), "{}", file.display());
        }
    }
}
