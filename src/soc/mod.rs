//! Blocks of the i.MX 8M that drivers need a hand from, one file each.
//!
//! Nothing here waits or keeps state: each function is one register sequence of the manual.

pub mod boot_rom;
pub mod ccm;
pub mod iomuxc;
pub mod wdog;
