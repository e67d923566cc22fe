//! Firn: second-stage bootloader for NixOS on NXP i.MX 8M boards.
//!
//! The way of a boot: the boot ROM enters [`bin/spl.rs`](../firn_spl/index.html) at EL3; it readies the
//! board ([`soc`], [`driver`]), brings DRAM up ([`ddr`]), loads and checks the rest of its image
//! ([`spl`], [`image`]), leaves a record ([`handoff`]) and starts BL31.
//!
//! Then the stage before (TF-A BL31, U-Boot's `booti`, or an emulator) enters
//! [`bin/loader.rs`](../firn_loader/index.html) at EL2; it brings up the MMU, the heap and the
//! console ([`arch`]), finds cards ([`driver`]), partitions ([`block`]) and file systems ([`fs`]),
//! lists generations ([`nixos`]), lets a person choose ([`menu`]), loads and places kernel,
//! initrd and device tree ([`linux`], [`devicetree`]) and jumps.
//!
//! Everything here compiles and is tested on the host. Assembly lives in [`arch`], volatile access
//! in [`mmio`], memory shared with devices in [`dma`]; nothing else may use `unsafe`.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arch;
pub mod block;
pub mod board;
pub mod boot;
pub mod console;
pub mod ddr;
pub mod devicetree;
pub mod dma;
pub mod driver;
pub mod entropy;
pub mod error;
pub mod ethernet;
pub mod fs;
pub mod handoff;
pub mod image;
pub mod linux;
pub mod memory;
pub mod menu;
pub mod mmio;
pub mod nixos;
pub mod release;
pub mod rescue;
pub mod soc;
mod sorting;
pub mod spl;
pub mod state;
pub mod time;
mod zeroed;
