//! Device models: what the board has and QEMU lacks, at the level of registers.
//!
//! A model is a value that is told of reads and writes. Whoever owns it brings time and memory: a
//! host test's bench, or QEMU by way of its GDB port.

pub mod boot_rom;
pub mod caam;
pub mod ddr;
pub mod first_stage;
pub mod i2c;
pub mod ocotp;
pub mod pca9450;
pub mod serial;
pub mod usdhc;
