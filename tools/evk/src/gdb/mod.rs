//! QEMU's GDB port as a bus: devices that QEMU lacks, answered from the host.
//!
//! QEMU reads zeros where it has no device. An access watchpoint over such a region stops it
//! *before* each access; the client then decodes the load or store at the program counter, asks
//! its own model, writes the loaded register and continues behind the instruction. Breakpoints do the
//! same for the boot ROM's code. Neither QEMU nor the binary under test is changed. Watchpoints count in
//! virtual addresses, so this serves firmware that maps devices where they are, and ends before Linux.

mod access;
mod core;
pub mod decode;
mod dram;
pub mod gpc;
mod hardware;
pub mod mode_registers;
mod port;
mod rest;
mod rom;
mod rsp;
pub mod src;
mod through;
pub mod wdog;

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::access::Width;
pub use dram::DeadLine;
pub(crate) use hardware::Board;
pub use hardware::{BootSwitches, Hardware};
pub(crate) use port::{SECOND_STAGE, Setup, serve};
pub use port::{Store, Witness};
pub(crate) use rest::let_rest;

/// The machine around a device, which stands still while the device answers.
pub trait Machine {
    /// How long it has run, without the time in which it stood still: never less than what has
    /// passed for its own clocks.
    fn now(&self) -> Duration;
    /// Reads memory at a physical address, as a bus master does.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Writes memory at a physical address, as a bus master does.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()>;
}

/// A device that stands in for one that QEMU lacks.
pub trait Device: Send {
    /// What a load of `width` bytes at `offset` from the region's start sees.
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn Machine) -> u64;
    /// What a store does.
    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn Machine);

    /// What the last access did that no firmware may do: it ends the emulation.
    fn refusal(&mut self) -> Option<String> {
        None
    }

    /// Whether QEMU's own memory or devices take its place from now on, at full speed.
    fn is_done(&self) -> bool {
        false
    }
}

/// A region of addresses with the device behind it.
struct Region {
    start: u64,
    length: u64,
    stays: bool,
    device: Box<dyn Device>,
}

/// The devices that stand beside QEMU's own.
#[derive(Default)]
pub struct Bus {
    regions: Vec<Region>,
}

impl Bus {
    /// What BL31 needs of an i.MX 8M Plus and QEMU lacks.
    pub fn imx8mp() -> Self {
        Self::default().with(gpc::BASE, gpc::LENGTH, gpc::Gpc::default())
    }

    /// With a device at `start`, `length` bytes long, until the second stage is entered. Where regions
    /// overlap, the one that came first answers.
    #[must_use]
    pub fn with(self, start: u64, length: u64, device: impl Device + 'static) -> Self {
        self.add(start, length, false, Box::new(device))
    }

    /// With a device that the second stage meets too.
    #[must_use]
    pub fn with_staying(self, start: u64, length: u64, device: impl Device + 'static) -> Self {
        self.add(start, length, true, Box::new(device))
    }

    fn add(mut self, start: u64, length: u64, stays: bool, device: Box<dyn Device>) -> Self {
        self.regions.push(Region { start, length, stays, device });
        self
    }

    /// Whether a device answers at `address`.
    fn has(&self, address: u64) -> bool {
        self.regions
            .iter()
            .any(|region| (region.start..region.start + region.length).contains(&address))
    }

    fn device(&mut self, address: u64) -> Result<(&mut (dyn Device + 'static), u64)> {
        self.regions
            .iter_mut()
            .find_map(|region| {
                let offset = address.checked_sub(region.start)?;
                (offset < region.length).then_some((region.device.as_mut(), offset))
            })
            .with_context(|| format!("no device model at {address:#x}"))
    }
}

/// Around a device that needs nothing of it.
#[cfg(test)]
pub(crate) struct NoMachine;

#[cfg(test)]
impl Machine for NoMachine {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn read(&mut self, address: u64, _: &mut [u8]) -> Result<()> {
        anyhow::bail!("no memory at {address:#x}")
    }

    fn write(&mut self, address: u64, _: &[u8]) -> Result<()> {
        anyhow::bail!("no memory at {address:#x}")
    }
}
