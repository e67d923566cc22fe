//! An image boots as it is, in each source mode and behind each partition table.

use std::{fs, path::Path};

use evk::{
    card::{MIB, Table},
    nixos::Generation,
};
use serde_json::Value;

use crate::{
    LOADER,
    common::{LINUX, firn},
    host::{Host, Source, is_sound, real},
    switched_on,
};

/// The first partition, in bytes.
const GAP: u64 = 8 * MIB;

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

/// A host with one generation, whose second stage ends at once.
fn host() -> Host {
    let (mut system, scripts) = real(|_| "poweroff -f\n".into());
    system.generations.truncate(1);
    Host::new(system, scripts)
}

/// The image as the loader's own code sees it: one generation, and room for the record.
fn lists_one(image: &Path, newest: &Generation) {
    let entries = listed(image);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["id"], newest.toplevel().as_str());
    assert_eq!(place(image)["source"], "blank");
}

/// From switching on to the second stage that lies on the card.
fn boots(image: &Path, newest: &Generation, source: Source) {
    let before = fs::metadata(image).unwrap().modified().unwrap();
    let mut session = switched_on(image);
    session.expect("image at 0x8000", LOADER).unwrap();
    let report = session.expect_userspace(LINUX).unwrap();
    assert_eq!(report.toplevel(), Some(&*newest.toplevel()));
    assert_eq!(report.chosen["firn,source"], source.told());
    session.expect(&format!("second stage of generation {}", newest.number), LINUX).unwrap();
    session.expect_power_off(LINUX).unwrap();
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    assert_eq!(fs::metadata(image).unwrap().modified().unwrap(), before, "it was only read");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_gpt_image_boots_from_its_profiles() {
    let host = host();
    let newest = &host.system().generations[0];
    host.populate(newest, Source::Profiles);
    let image = host.image(Table::Gpt, &[]);
    lists_one(&image, newest);
    assert!(is_sound(&image, GAP));
    boots(&image, newest, Source::Profiles);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_mbr_image_with_a_boot_partition_boots_from_its_extlinux_conf() {
    let host = host();
    let newest = &host.system().generations[0];
    host.populate(newest, Source::Extlinux);
    let boot = host.persist();
    let image =
        host.image(Table::Mbr, &["--boot-dir", boot.to_str().unwrap(), "--boot-size", "200"]);
    lists_one(&image, newest);
    assert!(is_sound(&image, GAP + 200 * MIB));
    boots(&image, newest, Source::Extlinux);
}
