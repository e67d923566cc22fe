//! Passes each firmware binary its linker script.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=linker");
    println!("cargo:rerun-if-changed=build.rs");
    let bare_metal = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare_metal && env::var_os("CARGO_FEATURE_FIRMWARE").is_some() {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-L{root}/linker");
        for (binary, script) in [("firn-loader", "loader.ld"), ("firn-faults", "loader.ld")] {
            println!("cargo:rustc-link-arg-bin={binary}=-T{root}/linker/{script}");
        }
    }
}
