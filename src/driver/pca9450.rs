//! NXP's PMIC for the i.MX 8M: PCA9450.
//!
//! Over any `embedded-hal` I2C. What a board wants of it is a list of register settings; the chip is
//! asked for its name first, because the same numbers mean other voltages to another one. Source:
//! PCA9450 data sheet, chapter "Register map"; mainline U-Boot, `include/power/pca9450.h`.

#![forbid(unsafe_code)]

use core::fmt;

use embedded_hal::i2c::{self, ErrorKind, I2c};

use crate::error::{Code, Coded};

/// Device: the chip's number in bits 7:4.
const DEV_ID: u8 = 0x00;
/// Power-on reason.
const PWRON_STAT: u8 = 0x05;

/// A PMIC of the board.
#[derive(Debug)]
pub struct Pmic {
    /// Its address on the bus.
    pub address: u8,
    /// The chip's number: 1 is a PCA9450A, 3 a PCA9450B or C.
    pub chip: u8,
    /// What is written, in this order.
    pub settings: &'static [Setting],
}

/// Bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its address in the chip.
    pub register: u8,
    /// The bits that change; where these are not all, the register is read first.
    pub mask: u8,
    /// What they become.
    pub value: u8,
}

/// What a register of BUCK1, BUCK2 or BUCK3 holds for a voltage in steps of 12.5 mV from 0.6 V on, in
/// units of 0.1 mV.
pub const fn buck1_to_3(tenths_of_millivolts: u16) -> u8 {
    assert!(tenths_of_millivolts >= 6000 && tenths_of_millivolts <= 6000 + 0x7f * 125);
    assert!((tenths_of_millivolts - 6000).is_multiple_of(125), "a multiple of 12.5 mV");
    (((tenths_of_millivolts - 6000) / 125) & 0x7f) as u8
}

/// The PMIC could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus failed.
    Bus {
        /// The PMIC's address.
        address: u8,
        /// The register that was meant.
        register: u8,
        /// What happened.
        cause: E,
    },
    /// It is another chip; nothing was written to it.
    Foreign {
        /// The PMIC's address.
        address: u8,
        /// What its device register holds.
        device: u8,
    },
}

impl<E: i2c::Error + fmt::Display> Coded for Error<E> {
    fn code(&self) -> Code {
        match self {
            Self::Bus { cause, .. } => match cause.kind() {
                ErrorKind::NoAcknowledge(_) => Code::PmicSilent,
                _ => Code::I2cBus,
            },
            Self::Foreign { .. } => Code::PmicSilent,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus { address, register, cause } => {
                write!(f, "PMIC at {address:#04x}, register {register:#04x}: {cause}")
            }
            Self::Foreign { address, device } => write!(
                f,
                "no known PMIC at {address:#04x}: its device register holds {device:#04x}; its \
                 voltages stay as they are"
            ),
        }
    }
}

/// Sets it up. The result is why it switched the supplies on (PWRON_STAT).
pub fn set_up<I: I2c>(i2c: &mut I, pmic: &Pmic) -> Result<u8, Error<I::Error>> {
    let address = pmic.address;
    let device = read(i2c, address, DEV_ID)?;
    if device >> 4 != pmic.chip {
        return Err(Error::Foreign { address, device });
    }
    let reason = read(i2c, address, PWRON_STAT)?;
    for setting in pmic.settings {
        apply(i2c, address, setting)?;
    }
    Ok(reason)
}

fn apply<I: I2c>(i2c: &mut I, address: u8, setting: &Setting) -> Result<(), Error<I::Error>> {
    let Setting { register, mask, value } = *setting;
    let kept = if mask == u8::MAX { 0 } else { read(i2c, address, register)? & !mask };
    i2c.write(address, &[register, kept | value & mask]).map_err(|cause| Error::Bus {
        address,
        register,
        cause,
    })
}

fn read<I: I2c>(i2c: &mut I, address: u8, register: u8) -> Result<u8, Error<I::Error>> {
    let mut value = [0];
    i2c.write_read(address, &[register], &mut value).map_err(|cause| Error::Bus {
        address,
        register,
        cause,
    })?;
    Ok(value[0])
}
