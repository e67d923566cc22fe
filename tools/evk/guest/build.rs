//! Gives each guest its linker script.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for guest in ["stub-kernel", "el3-stub"] {
        println!("cargo::rustc-link-arg-bin={guest}=-T{folder}/linker/{guest}.ld");
    }
    println!("cargo::rerun-if-changed=linker");
}
