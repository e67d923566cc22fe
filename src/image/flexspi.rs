//! The block that tells the boot ROM how to read a NOR flash behind FlexSPI.
//!
//! Source: i.MX 8M Plus reference manual, "FlexSPI serial NOR flash boot" (configuration block and
//! lookup table); the values for the EVK are imx-mkimage's `scripts/fspi_header`.

/// Bytes of the block.
pub const SIZE: usize = 512;
/// What it begins with.
pub const TAG: [u8; 4] = *b"FCFB";

/// Version 1.0.0.
const VERSION: u32 = 0x5601_0000;
const SERIAL_NOR: u8 = 1;
const SINGLE_PAD: u8 = 1;
/// 50 MHz, at which every such flash answers a fast read.
const CLOCK: u8 = 2;
/// Chip select held and set up so many clocks, the ROM's own default.
const HOLD_AND_SETUP: u8 = 3;
/// Instructions of the lookup table, on one pad: operation in bits 15:10, operand in bits 7:0.
const COMMAND: u16 = 1 << 10;
const ADDRESS: u16 = 2 << 10;
const READ: u16 = 9 << 10;
const DUMMY: u16 = 12 << 10;
/// FAST READ (0x0b) with 24 address bits and 8 dummy clocks; 4 bytes at a time.
const FAST_READ: [u16; 4] = [COMMAND | 0x0b, ADDRESS | 24, DUMMY | 8, READ | 4];

/// A NOR flash that knows FAST READ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flash {
    /// Bytes that may be addressed.
    pub size: u32,
    /// Bytes of a page.
    pub page_size: u32,
    /// Bytes of a sector.
    pub sector_size: u32,
}

impl Flash {
    /// Its configuration block.
    pub fn configuration(&self) -> [u8; SIZE] {
        let mut block = [0; SIZE];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x000, &TAG);
        put(0x004, &VERSION.to_le_bytes());
        put(0x00d, &[HOLD_AND_SETUP, HOLD_AND_SETUP]);
        put(0x044, &[SERIAL_NOR, SINGLE_PAD, CLOCK]);
        put(0x050, &self.size.to_le_bytes());
        for (index, instruction) in FAST_READ.iter().enumerate() {
            put(0x080 + 2 * index, &instruction.to_le_bytes());
        }
        put(0x1c0, &self.page_size.to_le_bytes());
        put(0x1c4, &self.sector_size.to_le_bytes());
        block
    }
}
