//! Serial EEPROMs of the 24C series, behind `embedded-hal`'s `I2c`: reading only.
//!
//! Source: Microchip 24AA025E48 and 24AA256 data sheets ("random read", "sequential read").

#![forbid(unsafe_code)]

use embedded_hal::i2c::I2c;

/// Where something lies in an EEPROM, in as many bytes as this one takes.
#[derive(Clone, Copy, Debug)]
pub enum Offset {
    /// Up to 256 bytes.
    Byte(u8),
    /// More.
    Word(u16),
}

/// Fills `buffer` with what lies from `offset` on in the device at `address`.
pub fn read<I: I2c>(
    i2c: &mut I,
    address: u8,
    offset: Offset,
    buffer: &mut [u8],
) -> Result<(), I::Error> {
    match offset {
        Offset::Byte(offset) => i2c.write_read(address, &[offset], buffer),
        Offset::Word(offset) => i2c.write_read(address, &offset.to_be_bytes(), buffer),
    }
}
