//! How much memory there is, from the controller's address map.
//!
//! The loader asks this, too: the controller knows what the first stage, whoever's it was, has set
//! up. A controller that reads as 0 is not there, as in an emulator.
//!
//! Source: i.MX 8M Plus reference manual, chapter "DDR Controller (DDRC)", registers ADDRMAP0 to 8.

use crate::{memory::Region, mmio::Bus};

use super::controller::{ADDRMAP, ECCCFG0, ECCCFG0_MODE, MSTR, MSTR_LPDDR4};

/// Where DRAM begins, and where its second bank does for everybody who counts in banks.
const START: u64 = 0x4000_0000;
const SECOND_BANK: u64 = 0x1_0000_0000;
/// What the SoC has addresses for.
const LARGEST: u64 = 0x2_0000_0000;
/// Bytes in a word of the controller's addresses: its data bus has 32 bits.
const WORD: u64 = 4;
const MSTR_RANKS: u32 = 0xf;
const MSTR_HALF_BUS: u32 = 0b11 << 12;
/// ADDRMAP0: the rank's address bit, less 6; all ones if there is none.
const RANK_BIT: u32 = 0x1f;
/// ADDRMAP6: memory of three quarters of a power of two: two row bits are never both set.
const THREE_QUARTERS: u32 = 0b11 << 29;

/// The memory that the controller is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dram {
    /// Bytes, with those that error-correcting codes take.
    pub bytes: u64,
    /// Ranks.
    pub ranks: u32,
    /// Distance of an address in the first rank to its like in the second, in bytes; 0 if there is
    /// one rank.
    pub rank_stride: u64,
    /// Parts whose last eighth holds error-correcting codes; 0 without inline ECC.
    pub protected_parts: u64,
}

/// Asks the controller; `None` if it is not there or not set up for LPDDR4.
pub fn size(bus: &impl Bus) -> Option<Dram> {
    let mode = bus.read32(MSTR);
    let ranks = match mode >> 24 & MSTR_RANKS {
        0b01 => 1,
        0b11 => 2,
        _ => return None,
    };
    if mode & 0x3f != MSTR_LPDDR4 || mode & MSTR_HALF_BUS != 0 {
        return None;
    }
    let map = |index: u32| bus.read32(ADDRMAP + 4 * index);
    let three_quarters = map(6) & THREE_QUARTERS != 0;
    let rank_bit = map(0) & RANK_BIT;
    let two_ranks = ranks == 2 && rank_bit != RANK_BIT;
    let bits = columns(map(3), map(4)) + banks(map(1)) + rows(map(5), map(6), map(7));
    let full = WORD << (bits + u32::from(two_ranks));
    let bytes = if three_quarters { full / 4 * 3 } else { full };
    let protected = bus.read32(ECCCFG0) & ECCCFG0_MODE != 0;
    (bytes <= LARGEST).then_some(Dram {
        bytes,
        ranks,
        rank_stride: if two_ranks { WORD << (rank_bit + 6) } else { 0 },
        protected_parts: match (protected, three_quarters) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 3,
        },
    })
}

/// Columns 6 to 11 may be unused, the lower ones are not: fields of five bits, in which 15 means
/// unused as well.
fn columns(map3: u32, map4: u32) -> u32 {
    6 + [map3, map3 >> 8, map3 >> 16, map3 >> 24, map4, map4 >> 8]
        .map(|field| u32::from(!matches!(field & 0x1f, 0xf | 0x1f)))
        .iter()
        .sum::<u32>()
}

/// Bank 2 may be unused: a field of six bits, or five in older controllers.
fn banks(map1: u32) -> u32 {
    2 + u32::from(!matches!(map1 >> 16 & 0x3f, 0x1f | 0x3f))
}

/// Rows 11 to 17 may be unused: fields of four bits.
fn rows(map5: u32, map6: u32, map7: u32) -> u32 {
    11 + [map5 >> 24, map6, map6 >> 8, map6 >> 16, map6 >> 24, map7, map7 >> 8]
        .map(|field| u32::from(field & 0xf != 0xf))
        .iter()
        .sum::<u32>()
}

impl Dram {
    /// The memory that can be used, in ascending order: without error-correcting codes, and split
    /// where its second bank begins.
    pub fn banks(self) -> impl Iterator<Item = Region> {
        let parts = self.protected_parts.max(1);
        let part = self.bytes / parts;
        let usable = if self.protected_parts == 0 { part } else { part / 8 * 7 };
        (0..parts)
            .map(move |index| Region::new(START + index * part, usable))
            .flat_map(|region| {
                [
                    region.intersection(Region::between(0, SECOND_BANK)),
                    region.intersection(Region::between(SECOND_BANK, u64::MAX)),
                ]
            })
            .filter(|region| !region.is_empty())
    }

    /// All of it, codes and all.
    pub const fn extent(self) -> Region {
        Region::new(START, self.bytes)
    }
}
