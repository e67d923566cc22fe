//! The DRAM's mode registers, as BL31 reads them: through the controller's performance monitor.
//!
//! The manual does not describe it. Source: TF-A, plat/imx/imx8m/ddr/dram.c (`lpddr4_mr_read`): after a
//! request to the controller it waits for bit 3 of one register, takes the data from the next one,
//! and writes 4 to the first.

use super::{Device, Machine};
use crate::access::Width;

/// Where the performance monitor is.
pub const BASE: u64 = 0x3d80_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

const STATUS: u64 = 0x40;
const VALID: u64 = 1 << 3;

/// Mode registers that are all 0, and answer at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModeRegisters;

impl Device for ModeRegisters {
    fn read(&mut self, offset: u64, _: Width, _: &mut dyn Machine) -> u64 {
        if offset == STATUS { VALID } else { 0 }
    }

    fn write(&mut self, _: u64, _: Width, _: u64, _: &mut dyn Machine) {}
}
