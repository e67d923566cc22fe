//! Pad multiplexing and drive.
//!
//! Source: i.MX 8M Plus reference manual, chapter 8 (IOMUXC).

#![forbid(unsafe_code)]

use crate::mmio::Bus;

/// One pad: what is behind it and how it drives.
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    /// Address of the mux register.
    pub mux: u32,
    /// Alternate function; bit 4 forces the input path on.
    pub alternate: u32,
    /// Address and value of the select-input (daisy) register, where the function has one.
    pub select_input: Option<(u32, u32)>,
    /// Address of the pad control register.
    pub control: u32,
    /// Pulls, slew rate and drive strength.
    pub value: u32,
}

/// Drive strength, bits 2:1 of a pad control register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Drive {
    /// X1.
    X1 = 0b000,
    /// X2.
    X2 = 0b100,
    /// X6.
    X6 = 0b110,
}

const DRIVE: u32 = 0b110;

impl Pad {
    /// Gives the pad its function and its control value.
    pub fn apply(&self, bus: &impl Bus) {
        bus.write32(self.mux, self.alternate);
        if let Some((register, value)) = self.select_input {
            bus.write32(register, value);
        }
        bus.write32(self.control, self.value);
    }

    /// Changes the drive strength only.
    pub fn set_drive(&self, bus: &impl Bus, drive: Drive) {
        bus.write32(self.control, self.value & !DRIVE | drive as u32);
    }
}
