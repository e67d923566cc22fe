//! Card images, judged by the tools that would judge a real card.

mod common;

use std::{fs, path::Path, process::Command};

use common::{assets, cards};
use evk::{
    assets::find_tool,
    card::{
        Card, CardImage, Extent, FileSystem, Filling, GIB, MIB, Partition, Place, SECTOR, Table,
    },
    nixos::{self, System},
    tree::{Content, Tree},
};

/// Runs a tool that must be content, and returns what it printed.
fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(find_tool(name).expect(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A partition as a file of its own.
fn partition(card: &CardImage, index: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Extent { start, length } = card.partitions()[index];
    let arguments = [
        format!("if={}", card.path().display()),
        format!("of={}", file.path().display()),
        "bs=1M".into(),
        "conv=sparse".into(),
        format!("skip={}", start / MIB),
        format!("count={}", length / MIB),
    ];
    tool("dd", &arguments.each_ref().map(String::as_str));
    file
}

fn debugfs(file_system: &Path, request: &str) -> String {
    tool("debugfs", &["-R", request, file_system.to_str().unwrap()])
}

fn small_tree() -> Tree {
    Tree::new()
        .with("nixos/a-file-with-a-long-name-as-the-store-has-them-Image", Content::bytes("kernel"))
        .with("extlinux/extlinux.conf", Content::bytes("DEFAULT x\n"))
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_gpt_card_with_a_fat_boot_partition_satisfies_sfdisk_fsck_and_mtools() {
    let card = nixos::card_with_fat_boot(Table::Gpt, small_tree()).make(&cards()).unwrap();
    assert_eq!(fs::metadata(card.path()).unwrap().len(), 4 * GIB);
    let table = tool("sfdisk", &["--dump", card.path().to_str().unwrap()]);
    assert!(table.contains("label: gpt") && table.contains("start=       16384"), "{table}");
    tool("sfdisk", &["--verify", card.path().to_str().unwrap()]);
    let boot = partition(&card, 0);
    tool("fsck.fat", &["-n", boot.path().to_str().unwrap()]);
    let list = tool("mdir", &["-/", "-b", "-i", boot.path().to_str().unwrap(), "::"]);
    assert!(
        list.contains("::/nixos/a-file-with-a-long-name-as-the-store-has-them-Image"),
        "{list}"
    );
    let root = partition(&card, 1);
    tool("e2fsck", &["-fn", root.path().to_str().unwrap()]);
    let features = debugfs(root.path(), "features");
    for feature in ["metadata_csum_seed", "orphan_file", "64bit", "extent", "has_journal"] {
        assert!(features.contains(feature), "{features}");
    }
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn an_mbr_card_with_boot_inside_ext4_satisfies_sfdisk_and_e2fsck() {
    let card = nixos::card_with_ext4_boot(Table::Mbr, small_tree()).make(&cards()).unwrap();
    assert_eq!(fs::metadata(card.path()).unwrap().len(), 2 * GIB);
    let table = tool("sfdisk", &["--dump", card.path().to_str().unwrap()]);
    assert!(table.contains("label: dos") && table.contains("bootable"), "{table}");
    let firmware = partition(&card, 0);
    tool("fsck.fat", &["-n", firmware.path().to_str().unwrap()]);
    let root = partition(&card, 1);
    tool("e2fsck", &["-fn", root.path().to_str().unwrap()]);
    let text = debugfs(root.path(), "cat /boot/extlinux/extlinux.conf");
    assert_eq!(text, "DEFAULT x\n");
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_card_with_real_generations_holds_every_byte_of_them() {
    let system = System::real(&assets()).unwrap();
    let boot = system.boot_folder();
    let card = nixos::card_with_fat_boot(Table::Gpt, boot.clone()).make(&cards()).unwrap();
    let partition = partition(&card, 0);
    let copies = tempfile::tempdir().unwrap();
    for path in boot.paths() {
        let copy = copies.path().join("copy");
        let (image, source) = (partition.path().to_str().unwrap(), format!("::/{path}"));
        tool("mcopy", &["-n", "-o", "-i", image, &source, copy.to_str().unwrap()]);
        let wanted = boot.get(path).unwrap().read().unwrap().unwrap();
        assert!(fs::read(&copy).unwrap() == *wanted, "{path} differs");
    }
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn the_same_description_is_made_once_and_another_one_is_another_card() {
    let cache = tempfile::tempdir().unwrap();
    let card = |content: &str| {
        let tree = Tree::new().with("file", Content::bytes(content));
        Card::new(Table::Gpt)
            .size(64 * MIB)
            .partition(Partition::new(FileSystem::Ext4, "one", tree))
            .make(cache.path())
            .unwrap()
    };
    let first = card("a");
    let time = fs::metadata(first.path()).unwrap().modified().unwrap();
    assert_eq!(card("a").path(), first.path());
    assert_eq!(fs::metadata(first.path()).unwrap().modified().unwrap(), time);
    assert_ne!(card("b").path(), first.path());
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn damage_is_done_where_it_was_ordered_and_nowhere_else() {
    let cache = tempfile::tempdir().unwrap();
    let tree = Tree::new().with("file", Content::bytes(b"a needle in a sector".repeat(100)));
    // A FAT, because mke2fs writes down when its input was staged, and cards are made one by one.
    let card = Card::new(Table::Gpt).size(64 * MIB).partition(Partition::new(
        FileSystem::Fat16,
        "one",
        tree,
    ));
    let whole = card.make(cache.path()).unwrap();
    let hurt = card
        .damaged(Place::Partition(0, 0), 1024, Filling::Zeros)
        .without_table()
        .make(cache.path())
        .unwrap();
    let (whole_bytes, hurt_bytes) =
        (fs::read(whole.path()).unwrap(), fs::read(hurt.path()).unwrap());
    let different: Vec<usize> =
        (0..whole_bytes.len()).filter(|&at| whole_bytes[at] != hurt_bytes[at]).collect();
    let ranges = [0..34 * 512, 8 << 20..(8 << 20) + 1024, (64 << 20) - 33 * 512..64 << 20];
    assert!(different.iter().all(|at| ranges.iter().any(|range| range.contains(at))));
    assert!(ranges.iter().all(|range| different.iter().any(|at| range.contains(at))));
    let sector = whole.sector_beginning_with(b"a needle in a sector").unwrap();
    let at = usize::try_from(sector * SECTOR).unwrap();
    assert!(whole_bytes[at..].starts_with(b"a needle in a sector"));
}

/// Makes the card of a store with `entries`, which e2fsck has nothing to say about; returns what debugfs
/// says of the index.
fn crowded(entries: usize, indexed: bool) -> String {
    let stub = fs::read(common::guests().stub_kernel).unwrap();
    let system = System::large(&assets(), &stub).unwrap();
    let card = system.crowded_card(entries, indexed).make(&cards()).unwrap();
    let root = partition(&card, 1);
    tool("e2fsck", &["-fn", root.path().to_str().unwrap()]);
    let newest = system.generations[0].toplevel();
    let text = debugfs(root.path(), &format!("cat {newest}/nixos-version"));
    assert_eq!(text, system.generations[0].version);
    debugfs(root.path(), "htree_dump /nix/store")
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_store_of_fifty_thousand_entries_is_indexed_as_linux_would_index_it() {
    let index = crowded(nixos::store::STORE_ENTRIES, true);
    assert!(index.contains("Indirect levels: 1"), "{}", &index[..index.len().min(500)]);
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_store_of_fifty_thousand_entries_may_have_no_index() {
    assert!(!crowded(nixos::store::STORE_ENTRIES, false).contains("Root node dump"));
}
