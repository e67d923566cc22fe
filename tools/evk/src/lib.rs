//! The emulated EVK: QEMU, cards, device models on its GDB port.
//!
//! From a description to a verdict: [`nixos`] lays out generations, [`card`] makes a card image of
//! them with real tools, [`qemu`] starts the board with that card and the firmware under test, and
//! a [`session`] reads and types on its serial line, every wait with a deadline. [`userspace`] is
//! what runs at the end of a boot and tells what it was booted with; [`stub`] is a smaller kernel that
//! tells in which state it was entered, built by [`guest`]. [`flash`] puts firmware together for the
//! boot ROM. [`gdb`] answers for devices that QEMU
//! lacks, [`models`] are such devices.

#![forbid(unsafe_code)]

pub mod access;
pub mod assets;
pub mod card;
pub mod crowd;
pub mod elf;
pub mod emmc;
pub mod flash;
pub mod gdb;
pub mod guest;
pub mod initrd;
pub mod keys;
pub mod measure;
pub mod modelled;
pub mod models;
mod monitor;
pub mod nixos;
pub mod packing;
pub mod qemu;
pub mod replay;
pub mod session;
pub mod soak;
pub mod stamps;
pub mod stub;
pub mod terminal;
mod tool;
pub mod trace;
pub mod tree;
pub mod userspace;
