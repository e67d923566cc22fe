//! Fuses, read through their shadow registers.
//!
//! Relies on the gate of OCOTP being open ([`super::clocks::IMX8MP`]). Sources: i.MX 8M Plus
//! reference manual, "On-Chip OTP Controller" and "Fusemap"; mainline U-Boot,
//! `arch/arm/mach-imx/imx8m/soc.c`.

#![forbid(unsafe_code)]

use crate::mmio::Bus;

/// Where the controller is; a word of fuses has its offset from here.
pub const BASE: u32 = 0x3035_0000;
/// Number of its clock's gate.
pub const GATE: u32 = 34;

/// The low and the high word of the unique id.
pub const UNIQUE_ID: [u32; 2] = [0x420, 0x430];
/// What the part was tested as: speed, temperature grade, cores, and units that are off.
pub const TESTER3: u32 = 0x440;
/// Further units that are off.
pub const TESTER4: u32 = 0x450;
/// Both Ethernet interfaces' addresses.
pub const ETHERNET: [u32; 3] = [0x640, 0x650, 0x660];

const CORES: u32 = 0b11 << 18;
const TWO_CORES: u32 = 0b10 << 18;
const ONE_CORE: u32 = 0b11 << 18;

/// How many A53 cores a part with this word ([`TESTER3`]) has.
pub const fn cores(tester3: u32) -> u8 {
    match tester3 & CORES {
        TWO_CORES => 2,
        // No such part is sold; the code is that of the i.MX 8M Mini and Nano.
        ONE_CORE => 1,
        _ => 4,
    }
}

/// Whether the part has two A53 cores instead of four.
pub fn is_dual_core(bus: &impl Bus) -> bool {
    cores(bus.read32(BASE + TESTER3)) == 2
}
