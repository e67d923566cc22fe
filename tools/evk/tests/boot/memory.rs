//! Where the loader says that memory will be used, and where Linux uses it.

use evk::{
    qemu::{Machine, Slot},
    tree::Content,
};
use firn::devicetree::{DeviceTree, DeviceTreeBuf};

use crate::{SOON, assets, common::kernel_entry, fat_card, finish_linux, loader, path, real};

/// NXP's pool in the real kernel's tree.
fn with_nxps_pool(tree: &[u8]) -> Vec<u8> {
    let mut tree = DeviceTreeBuf::from(DeviceTree::validate(tree).unwrap());
    let parent = tree.find_mut("/reserved-memory").unwrap();
    let mut pool = parent.add_child("linux,cma").unwrap();
    pool.set_str("compatible", "shared-dma-pool").unwrap();
    pool.set("reusable", &[]).unwrap();
    pool.set("linux,cma-default", &[]).unwrap();
    pool.set("size", &0x3c00_0000_u64.to_be_bytes()).unwrap();
    let range = [0x4000_0000_u64, 0xc000_0000].map(u64::to_be_bytes).concat();
    pool.set("alloc-ranges", &range).unwrap();
    tree.to_vec(0).unwrap()
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_puts_nxps_pool_where_the_details_of_a_generation_say() {
    let mut system = real();
    for generation in &mut system.generations {
        let Content::Bytes(tree) = &generation.device_tree else { panic!("a made tree") };
        generation.device_tree = Content::bytes(with_nxps_pool(tree));
        generation.parameters += " ignore_loglevel";
    }
    let machine = Machine::new(kernel_entry(loader())).memory("2G").cpus(1);
    let mut session = machine.card(Slot::Sd, path(&fat_card(&system))).start(&assets()).unwrap();
    session.expect("25.11.20260214", SOON).unwrap();
    session.send("d").unwrap();
    session.expect("linux,cma, 960.0 MiB, expected", SOON).unwrap();
    let shown = session.text();
    let line = shown.lines().rev().find(|line| line.contains("linux,cma")).unwrap().trim();
    let expected = address(line.split('-').next().unwrap());
    session.send("\r").unwrap();
    let _ = finish_linux(&mut session);
    let log = session.text();
    let (_, told) = log.split_once("created CMA memory pool at ").unwrap();
    let (place, size) = told.split_once(", size ").unwrap();
    // Kernels before 5.18 align it to 4 MiB, newer ones to 2.
    assert!((expected..expected + (4 << 20)).contains(&address(place)), "{line}\n{place}");
    assert!(size.starts_with("960 MiB"), "{size}");
}

fn address(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
