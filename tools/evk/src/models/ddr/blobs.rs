//! Synthetic stand-ins for NXP's training blobs, with no byte of theirs: of the same sizes, every
//! halfword of a blob another one.

use firn::ddr::firmware::{Firmware, Image, WrongSize};

/// The four blobs of a firmware.
#[derive(Clone, Debug)]
pub struct Blobs {
    /// 1D instructions.
    pub one_d_imem: Vec<u8>,
    /// 1D data.
    pub one_d_dmem: Vec<u8>,
    /// 2D instructions.
    pub two_d_imem: Vec<u8>,
    /// 2D data.
    pub two_d_dmem: Vec<u8>,
}

impl Blobs {
    /// Of the sizes that firmware-imx 8.15 delivers.
    pub fn raw() -> Self {
        Self {
            one_d_imem: blob(32364, 0x1d1e),
            one_d_dmem: blob(1660, 0x1dde),
            two_d_imem: blob(25456, 0x2d1e),
            two_d_dmem: blob(1404, 0x2dde),
        }
    }

    /// The smallest that there can be.
    pub fn smallest() -> Self {
        let mut blobs = Self::raw();
        for blob in [
            &mut blobs.one_d_imem,
            &mut blobs.one_d_dmem,
            &mut blobs.two_d_imem,
            &mut blobs.two_d_dmem,
        ] {
            blob.truncate(4);
        }
        blobs
    }

    /// With zeros behind them up to the size of the memories, as NXP's mkimage lays them out.
    pub fn padded() -> Self {
        let mut blobs = Self::raw();
        blobs.one_d_imem.resize(0x8000, 0);
        blobs.one_d_dmem.resize(0x4000, 0);
        blobs.two_d_imem.resize(0x8000, 0);
        blobs.two_d_dmem.resize(0x4000, 0);
        blobs
    }

    /// As the engine takes them.
    pub fn firmware(&self) -> Result<Firmware<'_>, WrongSize> {
        Ok(Firmware {
            one_d: Image::new(&self.one_d_imem, &self.one_d_dmem)?,
            two_d: Image::new(&self.two_d_imem, &self.two_d_dmem)?,
        })
    }
}

fn blob(size: u16, seed: u16) -> Vec<u8> {
    (0..size / 2).flat_map(|k| k.wrapping_mul(0x9e37).wrapping_add(seed).to_le_bytes()).collect()
}
