//! Register access: the only home of volatile access.
//!
//! Drivers are written over [`Bus`]; the firmware gives them `Hardware`, host tests a device
//! model. Accesses are width-exact, because several i.MX 8M blocks (WDOG, the DDR PHY) only answer
//! to their own width, and are made with inline assembly of one plain load or store: a compiler may
//! turn `write_volatile` into an instruction that a hypervisor or a model cannot decode.

#![allow(unsafe_code, reason = "the room of volatile access")]

#[cfg(target_os = "none")]
use crate::{arch::memory::DRAM_START, ddr::check::Cells};

/// A 32-bit physical address space of registers. All of the SoC's registers are below 4 GiB.
///
/// Methods take `&self`: a bus is shared by the drivers on it, and models use interior mutability.
pub trait Bus {
    /// Reads 16 bits at a 2-aligned address.
    fn read16(&self, address: u32) -> u16;
    /// Writes 16 bits at a 2-aligned address.
    fn write16(&self, address: u32, value: u16);
    /// Reads 32 bits at a 4-aligned address.
    fn read32(&self, address: u32) -> u32;
    /// Writes 32 bits at a 4-aligned address.
    fn write32(&self, address: u32, value: u32);

    /// Reads, clears `clear`, sets `set`, writes back.
    fn modify32(&self, address: u32, clear: u32, set: u32) {
        self.write32(address, self.read32(address) & !clear | set);
    }
}

impl<B: Bus + ?Sized> Bus for &B {
    fn read16(&self, address: u32) -> u16 {
        (**self).read16(address)
    }
    fn write16(&self, address: u32, value: u16) {
        (**self).write16(address, value);
    }
    fn read32(&self, address: u32) -> u32 {
        (**self).read32(address)
    }
    fn write32(&self, address: u32, value: u32) {
        (**self).write32(address, value);
    }
}

/// A [`Bus`] with blocks on it whose registers are 8 bits wide, as the I2C controller's.
pub trait ByteBus: Bus {
    /// Reads 8 bits.
    fn read8(&self, address: u32) -> u8;
    /// Writes 8 bits.
    fn write8(&self, address: u32, value: u8);
}

impl<B: ByteBus + ?Sized> ByteBus for &B {
    fn read8(&self, address: u32) -> u8 {
        (**self).read8(address)
    }
    fn write8(&self, address: u32, value: u8) {
        (**self).write8(address, value);
    }
}

/// The SoC's registers.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Hardware(());

#[cfg(target_os = "none")]
impl Hardware {
    /// Access to all registers.
    ///
    /// # Safety
    /// Translation must be off, or map addresses below [`DRAM_START`] to themselves as device memory
    /// or not at all. Devices that read or write memory on their own must only be told of memory
    /// that a [`Dma`](crate::dma::Dma) gave a bus address for.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    fn check(address: u32) {
        assert!(u64::from(address) < DRAM_START, "{address:#x} is no register");
    }
}

#[cfg(target_os = "none")]
impl Bus for Hardware {
    fn read16(&self, address: u32) -> u16 {
        Self::check(address);
        let value: u32;
        // SAFETY: `check` and `new`'s contract: device memory or nothing, never a Rust object.
        unsafe {
            core::arch::asm!(
                "ldrh {0:w}, [{1}]", out(reg) value, in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
        (value & 0xffff) as u16
    }

    fn write16(&self, address: u32, value: u16) {
        Self::check(address);
        // SAFETY: as for `read16`.
        unsafe {
            core::arch::asm!(
                "strh {0:w}, [{1}]", in(reg) u32::from(value), in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
    }

    fn read32(&self, address: u32) -> u32 {
        Self::check(address);
        let value: u32;
        // SAFETY: as for `read16`.
        unsafe {
            core::arch::asm!(
                "ldr {0:w}, [{1}]", out(reg) value, in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
        value
    }

    fn write32(&self, address: u32, value: u32) {
        Self::check(address);
        // SAFETY: as for `read16`.
        unsafe {
            core::arch::asm!(
                "str {0:w}, [{1}]", in(reg) value, in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(target_os = "none")]
impl ByteBus for Hardware {
    fn read8(&self, address: u32) -> u8 {
        Self::check(address);
        let value: u32;
        // SAFETY: as for `read16`.
        unsafe {
            core::arch::asm!(
                "ldrb {0:w}, [{1}]", out(reg) value, in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
        (value & 0xff) as u8
    }

    fn write8(&self, address: u32, value: u8) {
        Self::check(address);
        // SAFETY: as for `read16`.
        unsafe {
            core::arch::asm!(
                "strb {0:w}, [{1}]", in(reg) u32::from(value), in(reg) u64::from(address),
                options(nostack, preserves_flags)
            );
        }
    }
}

/// DRAM past all caches, before anything lives there.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Uncached(());

#[cfg(target_os = "none")]
impl Uncached {
    /// Access to all of DRAM.
    ///
    /// # Safety
    /// Translation must be off, and no Rust object be in DRAM, whenever it is used.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    fn check(address: u64) {
        assert!(address >= DRAM_START && address.is_multiple_of(4), "{address:#x} is no DRAM");
    }
}

#[cfg(target_os = "none")]
impl Cells for Uncached {
    fn read(&self, address: u64) -> u32 {
        Self::check(address);
        let value: u32;
        // SAFETY: `check` and `new`'s contract: DRAM without Rust objects.
        unsafe {
            core::arch::asm!(
                "ldr {0:w}, [{1}]", out(reg) value, in(reg) address,
                options(nostack, preserves_flags)
            );
        }
        value
    }

    fn write(&self, address: u64, value: u32) {
        Self::check(address);
        // SAFETY: as for `read`.
        unsafe {
            core::arch::asm!(
                "str {0:w}, [{1}]", in(reg) value, in(reg) address,
                options(nostack, preserves_flags)
            );
        }
    }
}
