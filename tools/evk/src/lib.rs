//! The emulated EVK: QEMU, cards, device models on its GDB port.

pub mod assets;
