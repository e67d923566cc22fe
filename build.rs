//! Makes tables of the boards' DRAM timing; passes each firmware binary its linker script.

use std::{env, path::Path, process::exit};

extern crate alloc;

#[path = "src/ddr/format.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod format;
#[path = "board/tables.rs"]
mod tables;

fn main() {
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=src/ddr/format.rs");
    if let Err(error) = tables::generate(Path::new("board"), Path::new(&out)) {
        eprintln!("{error}");
        exit(1);
    }
    println!("cargo:rerun-if-changed=linker");
    println!("cargo:rerun-if-changed=build.rs");
    let bare_metal = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare_metal && env::var_os("CARGO_FEATURE_FIRMWARE").is_some() {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-L{root}/linker");
        for (binary, script) in [
            ("firn-loader", "loader.ld"),
            ("firn-spl", "spl.ld"),
            ("firn-faults", "loader.ld"),
            ("firn-unpack", "loader.ld"),
            ("firn-first-stage-faults", "spl.ld"),
        ] {
            println!("cargo:rustc-link-arg-bin={binary}=-T{root}/linker/{script}");
        }
    }
}
