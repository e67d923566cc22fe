//! Registers of cards, taken apart. Pure: bytes in, numbers out.

use super::Error;

/// Bits `high..=low` of a register as its specification numbers them.
fn bits(register: u128, high: u32, low: u32) -> u32 {
    let mask = (1u128 << (high - low + 1)) - 1;
    // At most 32 bits are asked for.
    u32::try_from(register >> low & mask).unwrap_or(u32::MAX)
}

/// Bits of the card status (SD 4.10.1, eMMC 6.13).
pub(super) mod status {
    /// Errors that say that the command at hand did not do its work.
    pub(crate) const ERRORS: u32 = OUT_OF_RANGE | ADDRESS | BLOCK_LENGTH | ECC | CONTROLLER | ERROR;
    /// It was a write to a protected block.
    pub(crate) const PROTECTED: u32 = 1 << 26;
    /// Errors that are the card's own, and not the lines'.
    pub(crate) const MEDIUM: u32 = ECC | CONTROLLER | ERROR;
    /// The address is not on the card.
    pub(crate) const OUT_OF_RANGE: u32 = 1 << 31;
    /// The address is misaligned.
    pub(crate) const ADDRESS: u32 = 1 << 30;
    /// The block length is not allowed.
    pub(crate) const BLOCK_LENGTH: u32 = 1 << 29;
    /// A password locks the card.
    pub(crate) const LOCKED: u32 = 1 << 25;
    /// The medium could not be read.
    pub(crate) const ECC: u32 = 1 << 21;
    /// The card's own controller failed.
    pub(crate) const CONTROLLER: u32 = 1 << 20;
    /// Something else failed.
    pub(crate) const ERROR: u32 = 1 << 19;
    /// A mode switch did not happen (eMMC).
    pub(crate) const SWITCH: u32 = 1 << 7;
    /// Waiting for commands: the state field's value "tran", and ready for data.
    pub(crate) const READY_IN_TRAN: u32 = 4 << 9 | 1 << 8;
    /// The state field and the ready bit.
    pub(crate) const STATE_AND_READY: u32 = 0xf << 9 | 1 << 8;
    /// The next command is taken as an application command.
    pub(crate) const APP_COMMAND: u32 = 1 << 5;
}

/// Number of 512-byte blocks by an SD card's CSD (SD 5.3).
pub(super) fn sd_block_count(csd: u128) -> Result<u64, Error> {
    match bits(csd, 127, 126) {
        0 => small_block_count(csd),
        1 => Ok((u64::from(bits(csd, 69, 48)) + 1) * 1024),
        _ => Err(Error::Unsupported("card larger than 2 TB (SDUC)")),
    }
}

/// Number of 512-byte blocks by the CSD of a byte-addressed card, SD or eMMC.
pub(super) fn small_block_count(csd: u128) -> Result<u64, Error> {
    let block_length = bits(csd, 83, 80);
    if !(9..=11).contains(&block_length) {
        return Err(Error::Unsupported("CSD with a block length outside of 512 to 2048"));
    }
    let blocks = (u64::from(bits(csd, 73, 62)) + 1) << (bits(csd, 49, 47) + 2);
    Ok(blocks << (block_length - 9))
}

/// Whether the card as a whole is protected against writing, for good or for the time being.
pub(super) fn is_write_protected(csd: u128) -> bool {
    bits(csd, 13, 12) != 0
}

/// Whether the card knows CMD6: command class 10.
pub(super) fn has_switch_class(csd: u128) -> bool {
    bits(csd, 95, 84) & 1 << 10 != 0
}

/// SPEC_VERS of an eMMC: from 4 on there is an EXT_CSD.
pub(super) fn emmc_version(csd: u128) -> u32 {
    bits(csd, 125, 122)
}

/// SD configuration register (SD 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scr {
    /// The card can use four data lines.
    pub(super) four_bit: bool,
    /// The card takes CMD23.
    pub(super) set_block_count: bool,
}

impl Scr {
    pub(super) fn parse(bytes: [u8; 8]) -> Result<Self, Error> {
        let register = u128::from(u64::from_be_bytes(bytes));
        if bits(register, 63, 60) != 0 {
            return Err(Error::Unsupported("SCR of an unknown structure"));
        }
        Ok(Self {
            four_bit: bits(register, 51, 48) & 0b100 != 0,
            set_block_count: bits(register, 33, 32) & 0b10 != 0,
        })
    }
}

/// What CMD6 answers (SD 4.3.10.4), access mode group only.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwitchStatus([u8; 64]);

impl SwitchStatus {
    pub(super) fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Whether the card supports access mode `function`.
    pub(super) fn supports(&self, function: u8) -> bool {
        function < 8 && self.0[13] & 1 << function != 0
    }

    /// Whether the card is at 1.8 V: only there it offers SDR50, SDR104 and DDR50 (Linux,
    /// `drivers/mmc/core/sd.c`). Some cards are said to offer them always.
    pub(super) fn is_low_voltage(&self) -> bool {
        (2..=4).any(|function| self.supports(function))
    }

    /// The access mode chosen; 15 if none.
    pub(super) fn selected(&self) -> u8 {
        self.0[16] & 0xf
    }
}

/// Extended CSD of an eMMC (eMMC 7.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtCsd([u8; 512]);

/// Blocks that one reliable write may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReliableWrites {
    /// One, or this many from a multiple of it on.
    OneOr(u8),
    /// Any number.
    Any,
}

/// Fields of the EXT_CSD that are switched.
pub(super) mod ext_csd {
    /// Writes the volatile cache to the medium.
    pub(crate) const FLUSH_CACHE: u8 = 32;
    /// Bus width and data rate.
    pub(crate) const BUS_WIDTH: u8 = 183;
    /// Timing interface.
    pub(crate) const HS_TIMING: u8 = 185;
}

impl ExtCsd {
    const CACHE_CTRL: usize = 33;
    const WR_REL_PARAM: usize = 166;
    const STROBE_SUPPORT: usize = 184;
    const REVISION: usize = 192;
    const DEVICE_TYPE: usize = 196;
    const SECTOR_COUNT: usize = 212;
    const REL_WR_SEC_C: usize = 222;

    pub(super) fn new(bytes: [u8; 512]) -> Self {
        Self(bytes)
    }

    pub(super) fn sector_count(&self) -> u64 {
        let field = &self.0[Self::SECTOR_COUNT..Self::SECTOR_COUNT + 4];
        field.iter().rev().fold(0, |count, byte| count << 8 | u64::from(*byte))
    }

    /// Whether what is written may stay in a volatile cache.
    pub(super) fn has_cache_on(&self) -> bool {
        self.0[Self::CACHE_CTRL] & 1 != 0
    }

    /// How many blocks a reliable write may have: any number since version 4.41 (EN_REL_WR), one or
    /// REL_WR_SEC_C before. A device that does not tell has no reliable writes.
    pub(super) fn reliable_writes(&self) -> Option<ReliableWrites> {
        const EN_REL_WR: u8 = 1 << 2;
        match (self.0[Self::WR_REL_PARAM] & EN_REL_WR, self.0[Self::REL_WR_SEC_C]) {
            (0, 0) => None,
            (0, unit) => Some(ReliableWrites::OneOr(unit)),
            _ => Some(ReliableWrites::Any),
        }
    }

    /// DEVICE_TYPE: which timings the device supports.
    pub(super) fn device_type(&self) -> u8 {
        self.0[Self::DEVICE_TYPE]
    }

    /// Whether the strobe also clocks responses.
    pub(super) fn has_enhanced_strobe(&self) -> bool {
        self.0[Self::STROBE_SUPPORT] == 1
    }

    /// HS_TIMING's timing field, without the driver strength.
    pub(super) fn timing(&self) -> u8 {
        self.0[usize::from(ext_csd::HS_TIMING)] & 0xf
    }

    /// Whether two readings are of the same device, by fields that never change.
    pub(super) fn same_device(&self, other: &Self) -> bool {
        [Self::REVISION, Self::DEVICE_TYPE, Self::STROBE_SUPPORT]
            .iter()
            .all(|&field| self.0[field] == other.0[field])
            && self.sector_count() == other.sector_count()
    }
}
