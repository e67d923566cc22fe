//! `firn entries` and the loader's menu have one list, and it is what was put on the card.

#[path = "../../../tests/system/mod.rs"]
mod system;

use std::{fs, path::Path, process::Command};

use firn::{
    boot::{Catalogue, Listing},
    state::Record,
};
use serde_json::Value;
use system::{
    Memory, Node,
    cards::{Card, Dice, Row},
};

const CARDS: u64 = 100;

fn all_rows(catalogue: &Catalogue) -> Vec<Row> {
    catalogue.generations.iter().map(Row::from).collect()
}

/// What the menu shows once all is read.
fn menu(catalogue: &Catalogue) -> Vec<Row> {
    let limit = catalogue.settings(catalogue.default_entry()).list_limit;
    let listing = Listing::new(catalogue, &Record::default(), limit);
    listing.rows.iter().map(|row| Row::from(&row.generation)).collect()
}

fn write(tree: &Memory, directory: &Path) {
    for (path, node) in &tree.nodes {
        let path = directory.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::File(bytes) => fs::write(path, bytes).unwrap(),
            Node::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        }
    }
}

/// What `firn entries` prints of the tree at `directory`.
fn entries(directory: &Path) -> Vec<Row> {
    let mut firn = Command::new(env!("CARGO_BIN_EXE_firn"));
    let output = firn.arg("entries").arg(directory).arg("--json").output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = json["entries"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(list.is_empty())));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |entry: &Value| Row {
        id: text(&entry["id"]).unwrap(),
        number: entry["number"].as_u64().map(|number| u32::try_from(number).unwrap()),
        profile: text(&entry["profile"]),
        specialisation: text(&entry["specialisation"]),
        source: text(&entry["source"]).unwrap(),
        is_broken: !entry["broken"].is_null(),
        is_default: entry["default"].as_bool().unwrap(),
    };
    list.iter().map(row).collect()
}

#[test]
fn overlays_are_listed_in_the_order_in_which_they_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let extlinux = directory.path().join("boot/extlinux");
    fs::create_dir_all(&extlinux).unwrap();
    let text = "LABEL a\nLINUX /Image\nFDTOVERLAYS /b.dtbo /a.dtbo\n";
    fs::write(extlinux.join("extlinux.conf"), text).unwrap();
    let mut firn = Command::new(env!("CARGO_BIN_EXE_firn"));
    let output = firn.arg("entries").arg(directory.path()).arg("--json").output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let overlays = &json["entries"][0]["deviceTreeOverlays"];
    assert_eq!(*overlays, serde_json::json!(["/b.dtbo", "/a.dtbo"]));
}

#[test]
fn what_is_listed_is_what_was_put_on_the_card() {
    for seed in 0..CARDS {
        let card = Card::random(seed);
        let mut catalogue = Catalogue::of_volumes(card.volumes());
        catalogue.read_all();
        assert_eq!(all_rows(&catalogue), card.rows(), "{seed}: {card:#?}");
        assert_eq!(menu(&catalogue), card.listed(), "{seed}: {card:#?}");
    }
}

#[test]
fn in_whatever_order_generations_are_read_the_list_is_the_same_in_the_end() {
    for seed in 0..CARDS {
        let card = Card::random(seed);
        let mut at_once = Catalogue::of_volumes(card.volumes());
        at_once.read_all();
        let mut dice = Dice(!seed);
        for _ in 0..3 {
            let mut lazily = Catalogue::of_volumes(card.volumes());
            loop {
                let generations = &lazily.generations;
                let unread: Vec<usize> =
                    (0..generations.len()).filter(|&index| generations[index].unread).collect();
                if unread.is_empty() {
                    break;
                }
                let index = unread[dice.below(unread.len())];
                if dice.below(4) == 0 {
                    let any = dice.below(at_once.generations.len());
                    let id = &at_once.generations[any].id;
                    let found = lazily.find(id).unwrap_or_else(|| panic!("{seed}: no {id}"));
                    assert_eq!(
                        (&lazily.generations[found].id, lazily.generations[found].unread),
                        (id, false)
                    );
                } else {
                    let index = lazily.read(index);
                    assert!(!lazily.generations[index].unread, "{seed}");
                }
            }
            assert_eq!(lazily.generations, at_once.generations, "{seed}");
        }
    }
}

#[test]
fn firn_entries_lists_what_the_menu_lists() {
    for seed in 0..CARDS {
        let card = Card::random(seed);
        let mut catalogue = Catalogue::of_volumes(card.volumes());
        catalogue.read_all();
        if card.is_one_volume() {
            let directory = tempfile::tempdir().unwrap();
            write(&card.trees()[0], directory.path());
            assert_eq!(entries(directory.path()), menu(&catalogue), "{seed}: {card:#?}");
        }
    }
}
