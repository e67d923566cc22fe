//! An overlay, laid over a small tree, and once more over what came out.
#![no_main]

#[allow(dead_code, reason = "the rest is the target devicetree's")]
#[path = "../../tests/patching/mod.rs"]
mod patching;

use firn::devicetree::DeviceTree;
use libfuzzer_sys::fuzz_target;
use patching::lay_over;

const BASE: &[u8] = include_bytes!("../../tests/fixtures/devicetree/overlays/base.dtb");

fuzz_target!(|data: &[u8]| {
    let base = DeviceTree::validate(BASE).expect("a tree of dtc's");
    if let Some(made) = lay_over(base, data) {
        assert!(made.len() <= BASE.len() + 4 * data.len() + 4096);
        lay_over(DeviceTree::validate(&made).expect("it was looked at"), data);
    }
});
