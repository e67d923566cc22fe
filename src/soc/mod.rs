//! Blocks of the i.MX 8M that need no driver of their own, one file each.
//!
//! Nothing here keeps state: each function is one register sequence of the manual. Only a PLL, and the
//! CAAM with its jobs, is waited for, with a deadline. [`fixups`] is what trees are told of all
//! that, as data.

pub mod analog;
pub mod boot_rom;
pub mod caam;
pub mod ccm;
pub mod clocks;
pub mod counter;
pub mod fixups;
pub mod gpc;
pub mod iomuxc;
pub mod ocotp;
pub mod part;
pub mod reset;
pub mod snvs;
pub mod tzasc;
pub mod wdog;

pub use part::Part;
