//! An image boots as it is, in each source mode and behind each partition table.

use std::{fs, path::Path};

use evk::card::Table;
use serde_json::Value;

use crate::{
    LOADER,
    common::{LINUX, firn},
    host::{Host, Source, is_sound, real},
    switched_on,
};

/// The first partition, in bytes.
const GAP: u64 = 8 << 20;

/// What `firn entries` lists, as the loader would.
fn listed(image: &Path) -> Vec<Value> {
    let told = firn(&["entries", "--json", image.to_str().unwrap()]);
    let told: Value = serde_json::from_str(&told).unwrap();
    told["entries"].as_array().unwrap().clone()
}

/// Where `firn state` finds room for the record.
fn place(image: &Path) -> Value {
    let told = firn(&["state", "--card", image.to_str().unwrap(), "show", "--json"]);
    serde_json::from_str::<Value>(&told).unwrap()["place"].clone()
}

/// The image of `host` from switching on to the second stage that lies on the card.
fn linux_boots(source: Source, table: Table) {
    let (mut system, scripts) = real(|_| "poweroff -f".into());
    system.generations.truncate(1);
    let host = Host::new(system, scripts);
    let newest = &host.system().generations[0];
    host.populate(newest, source);
    let image = host.image(table, &[]);
    assert!(is_sound(&image, GAP));
    let entries = listed(&image);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["id"], newest.toplevel().as_str());
    assert_eq!(place(&image)["source"], "blank");
    let before = fs::metadata(&image).unwrap().modified().unwrap();

    let mut session = switched_on(&image);
    session.expect("image at 0x8000", LOADER).unwrap();
    let report = session.expect_userspace(LINUX).unwrap();
    assert_eq!(report.toplevel(), Some(&*newest.toplevel()));
    assert_eq!(report.chosen["firn,source"], source.told());
    session.expect(&format!("second stage of generation {}", newest.number), LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    assert_eq!(fs::metadata(&image).unwrap().modified().unwrap(), before, "it was only read");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_the_second_stage_from_the_profiles_of_a_gpt_image() {
    linux_boots(Source::Profiles, Table::Gpt);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_the_second_stage_from_the_extlinux_conf_of_an_mbr_image() {
    linux_boots(Source::Extlinux, Table::Mbr);
}
