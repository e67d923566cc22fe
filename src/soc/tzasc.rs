//! The TrustZone filter in front of DRAM (Arm TZC-380): on, and open.
//!
//! Sources: i.MX 8M Plus reference manual, "IOMUXC_GPR" (GPR10); Arm TZC-380 technical reference
//! manual (region_attributes_0). OP-TEE, where there is one, closes its own region.

#![forbid(unsafe_code)]

use crate::mmio::Bus;

const GPR10: u32 = 0x3034_0028;
/// The filter is on; transactions keep their ids. Each has a lock of its own, for good.
const ENABLE: u32 = 1 << 0;
const ENABLE_LOCK: u32 = 1 << 16;
const ID_SWAP_BYPASS: u32 = 1 << 1;
const ID_SWAP_BYPASS_LOCK: u32 = 1 << 17;
/// All of memory: secure and non-secure may read and write.
const REGION_0_ATTRIBUTES: u32 = 0x32f8_0108;
const OPEN: u32 = 0xf000_0000;

/// Turns it on: before anybody uses DRAM.
pub fn open(bus: &impl Bus) {
    for bit in [ENABLE, ENABLE_LOCK, ID_SWAP_BYPASS, ID_SWAP_BYPASS_LOCK] {
        bus.modify32(GPR10, 0, bit);
    }
    bus.write32(REGION_0_ATTRIBUTES, OPEN);
}
