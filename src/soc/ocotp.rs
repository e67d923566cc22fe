//! Fuses, read through their shadow registers.
//!
//! Relies on the gate of OCOTP being open ([`super::clocks::IMX8MP`]). Sources: i.MX 8M Plus
//! reference manual, "On-Chip OTP Controller"; mainline U-Boot, `arch/arm/mach-imx/imx8m/soc.c`.

#![forbid(unsafe_code)]

use crate::mmio::Bus;

/// What the part was tested as: speed, temperature grade, cores.
const TESTER3: u32 = 0x3035_0440;
const CORES: u32 = 0b11 << 18;
const TWO_CORES: u32 = 0b10 << 18;

/// Whether the part has two A53 cores instead of four.
pub fn is_dual_core(bus: &impl Bus) -> bool {
    bus.read32(TESTER3) & CORES == TWO_CORES
}
