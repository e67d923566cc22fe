//! General power controller: cores that a part does not have.
//!
//! Source: mainline U-Boot, `arch/arm/mach-imx/imx8m/soc.c` (`arch_cpu_init`).

#![forbid(unsafe_code)]

use crate::mmio::Bus;

/// Power gating of cores 2 and 3: may be powered down.
const PGC: [u32; 2] = [0x303a_0880, 0x303a_08c0];
/// The request, where older i.MX 8M have it. This SoC's manual has nothing at this address and
/// CPU_PGC_SW_PDN_REQ at 0x303a00dc; the write is kept as it has run on dual-core parts.
const POWER_DOWN: u32 = 0x303a_00fc;
const CORES_2_AND_3: u32 = 0b1100;

/// Takes the power away from cores 2 and 3, which a dual-core part has switched off by fuse.
pub fn power_down_absent_cores(bus: &impl Bus) {
    PGC.iter().for_each(|&register| bus.write32(register, 1));
    bus.write32(POWER_DOWN, CORES_2_AND_3);
}
