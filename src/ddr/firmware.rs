//! The training firmware: NXP's blobs for the PHY's microcontroller.
//!
//! Each kind of run has its own program and data. They have no header and no checksum: what the
//! first stage was given is what runs, so what arrived in the PHY is read back and compared.

use crate::{mmio::Bus, time::Clock};

use super::{error::Cause, phy::address, ports::Ports, timing::Kind};

/// Instruction and data memory of the microcontroller: PHY registers of 16 bits.
const IMEM: u32 = address(0x5_0000);
const DMEM: u32 = address(0x5_4000);

/// Which of the two memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Instructions.
    Imem,
    /// Data; the message block is its beginning.
    Dmem,
}

impl Memory {
    /// Bytes that fit.
    pub const fn capacity(self) -> usize {
        match self {
            Self::Imem => 0x8000,
            Self::Dmem => 0x4000,
        }
    }

    const fn base(self) -> u32 {
        match self {
            Self::Imem => IMEM,
            Self::Dmem => DMEM,
        }
    }
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    imem: &'a [u8],
    dmem: &'a [u8],
}

impl<'a> Image<'a> {
    /// Of blobs as NXP delivers them or padded, in whole 32-bit words.
    ///
    /// # Errors
    /// The memory whose blob is empty, larger than it or cut off.
    pub fn new(imem: &'a [u8], dmem: &'a [u8]) -> Result<Self, WrongSize> {
        for (memory, blob) in [(Memory::Imem, imem), (Memory::Dmem, dmem)] {
            let size = blob.len();
            if size == 0 || size > memory.capacity() || !size.is_multiple_of(4) {
                return Err(WrongSize { memory, size });
            }
        }
        Ok(Self { imem, dmem })
    }

    /// Writes both memories, then reads them back. Registers must be open.
    pub(super) fn load<B: Bus, C: Clock>(&self, ports: &Ports<'_, B, C>) -> Result<(), Cause> {
        let parts = [(Memory::Imem, self.imem), (Memory::Dmem, self.dmem)];
        for (memory, blob) in parts {
            for (place, half) in halves(memory, blob) {
                ports.bus.write16(place, half);
            }
        }
        for (memory, blob) in parts {
            verify(ports, memory, blob)?;
        }
        Ok(())
    }
}

/// A blob cannot be a program: its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongSize {
    /// Which blob.
    pub memory: Memory,
    /// Its bytes.
    pub size: usize,
}

/// Both programs.
#[derive(Clone, Copy, Debug)]
pub struct Firmware<'a> {
    /// For 1D runs.
    pub one_d: Image<'a>,
    /// For 2D runs.
    pub two_d: Image<'a>,
}

impl<'a> Firmware<'a> {
    /// The program for runs of `kind`.
    pub(super) const fn image(&self, kind: Kind) -> &Image<'a> {
        match kind {
            Kind::OneD => &self.one_d,
            Kind::TwoD => &self.two_d,
        }
    }
}

/// The halfwords of `blob`, little-endian, and where they go: each has a register of its own.
fn halves(memory: Memory, blob: &[u8]) -> impl Iterator<Item = (u32, u16)> {
    let places = (memory.base()..).step_by(4);
    places.zip(blob.as_chunks().0.iter().copied().map(u16::from_le_bytes))
}

fn verify<B: Bus, C: Clock>(
    ports: &Ports<'_, B, C>,
    memory: Memory,
    blob: &[u8],
) -> Result<(), Cause> {
    let mut first = None;
    let mut differing = 0;
    for (register, wrote) in halves(memory, blob) {
        let read = ports.bus.read16(register);
        if read != wrote {
            differing += 1;
            first.get_or_insert((register, wrote, read));
        }
    }
    match first {
        None => Ok(()),
        Some((register, wrote, read)) => {
            Err(Cause::FirmwareDamaged { memory, register, wrote, read, differing })
        }
    }
}
