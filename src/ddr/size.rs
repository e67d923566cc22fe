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
    let map = AddressMap::read(bus);
    let rank_bit = if ranks == 2 { map.rank() } else { 0 };
    // Ranks that take turns with rows share their address bit: each bit counts once. Addresses end
    // at the first bit that selects nothing.
    let bits = (rank_bit | map.banks() | map.columns() | map.rows()).trailing_ones();
    let three_quarters = map.0[6] & THREE_QUARTERS != 0;
    let full = WORD << bits;
    let bytes = if three_quarters { full / 4 * 3 } else { full };
    let protected = bus.read32(ECCCFG0) & ECCCFG0_MODE != 0;
    (bytes <= LARGEST).then_some(Dram {
        bytes,
        ranks,
        rank_stride: WORD * rank_bit,
        protected_parts: match (protected, three_quarters) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 3,
        },
    })
}

/// ADDRMAP0 to 11. A field says how far its address bit is above its lowest place.
struct AddressMap([u32; 12]);

impl AddressMap {
    fn read(bus: &impl Bus) -> Self {
        let mut map = [0; 12];
        for (address, register) in (ADDRMAP..).step_by(4).zip(&mut map) {
            *register = bus.read32(address);
        }
        Self(map)
    }

    /// The address bit of field `index` of a register with four fields: `base` is its lowest place,
    /// `unused` are the values that mean that there is none.
    fn bit(&self, register: usize, index: u32, base: u32, mask: u32, unused: &[u32]) -> u64 {
        let field = self.0[register] >> (8 * index) & mask;
        if unused.contains(&field) { 0 } else { 1 << (base + field) }
    }

    fn rank(&self) -> u64 {
        self.bit(0, 0, 6, 0x1f, &[0x1f])
    }

    fn banks(&self) -> u64 {
        union((0..3).map(|bank| self.bit(1, bank, 2 + bank, 0x3f, &[0x1f, 0x3f])))
    }

    /// Columns 0 and 1 are the words of an access, and always the lowest bits.
    fn columns(&self) -> u64 {
        let lower = (0..4).map(|column| self.bit(2, column, 2 + column, 0xf, &[0xf]));
        let middle = (0..4).map(|column| self.bit(3, column, 6 + column, 0x1f, &[0xf, 0x1f]));
        let upper = (0..2).map(|column| self.bit(4, column, 10 + column, 0x1f, &[0xf, 0x1f]));
        0b11 | union(lower.chain(middle).chain(upper))
    }

    /// Rows 2 to 10 have one field, or, if that is 15, one each.
    fn rows(&self) -> u64 {
        let middle = match self.0[5] >> 16 & 0xf {
            0xf => [(9, 0), (9, 1), (9, 2), (9, 3), (10, 0), (10, 1), (10, 2), (10, 3), (11, 0)],
            _ => [(5, 2); 9],
        };
        let upper = [(5, 3), (6, 0), (6, 1), (6, 2), (6, 3), (7, 0), (7, 1)];
        let fields = [(5, 0), (5, 1)].into_iter().chain(middle).chain(upper);
        let bit = |(base, (register, index))| self.bit(register, index, base, 0xf, &[0xf]);
        union((6..).zip(fields).map(bit))
    }
}

fn union(bits: impl Iterator<Item = u64>) -> u64 {
    bits.fold(0, |all, bit| all | bit)
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, vec, vec::Vec};

    use super::*;

    const GIB: u64 = 1 << 30;

    /// A controller with these registers.
    struct Registers(BTreeMap<u32, u32>);

    impl Registers {
        /// MSTR, ECCCFG0, and the address map from 0 on.
        fn new(mode: u32, codes: u32, map: [u32; 8]) -> Self {
            let map = (ADDRMAP..).step_by(4).zip(map);
            Self(map.chain([(MSTR, mode), (ECCCFG0, codes)]).collect())
        }
    }

    impl Bus for Registers {
        fn read16(&self, _: u32) -> u16 {
            panic!("the controller's registers are 32 bits wide");
        }
        fn write16(&self, _: u32, _: u16) {
            panic!("nothing is written");
        }
        fn read32(&self, address: u32) -> u32 {
            self.0.get(&address).copied().unwrap_or(0)
        }
        fn write32(&self, _: u32, _: u32) {
            panic!("nothing is written");
        }
    }

    const EVK_MODE: u32 = 0xa308_0020;
    const EVK_MAP: [u32; 8] = [0x16, 0x0008_0808, 0, 0, 0x1f1f, 0x0707_0707, 0x6807_0707, 0xf08];

    fn banks(dram: Dram) -> Vec<(u64, u64)> {
        dram.banks().map(|bank| (bank.start(), bank.end())).collect()
    }

    #[test]
    fn three_gigabytes_in_each_of_two_ranks_are_six_in_two_banks() {
        let dram = size(&Registers::new(EVK_MODE, 0x0102_7f10, EVK_MAP)).unwrap();
        assert_eq!((dram.bytes, dram.ranks, dram.rank_stride), (6 * GIB, 2, GIB));
        assert_eq!(banks(dram), [(GIB, 4 * GIB), (4 * GIB, 7 * GIB)]);
    }

    #[test]
    fn inline_ecc_takes_the_last_eighth_of_each_part() {
        let map = [0x13, 0x0005_0505, 0, 0x1313_1300, 0x1f1f, 0x0404_0404, 0x6804_0404, 0xf08];
        let dram = size(&Registers::new(EVK_MODE, 0x0102_7f54, map)).unwrap();
        assert_eq!((dram.bytes, dram.rank_stride), (6 * GIB, GIB / 8));
        assert_eq!(
            banks(dram),
            [
                (0x4000_0000, 0xb000_0000),
                (0xc000_0000, 0x1_0000_0000),
                (0x1_0000_0000, 0x1_3000_0000),
                (0x1_4000_0000, 0x1_b000_0000),
            ]
        );
        let mut map = EVK_MAP;
        (map[0], map[6], map[7]) = (0x17, 0x0707_0707, 0xf0f);
        let dram = size(&Registers::new(EVK_MODE, 0x0102_7f54, map)).unwrap();
        assert_eq!(dram.bytes, 4 * GIB);
        assert_eq!(banks(dram), [(GIB, 4 * GIB), (4 * GIB, 4 * GIB + GIB / 2)]);
    }

    #[test]
    fn smaller_and_larger_memory_follows_from_ranks_rows_and_columns() {
        for (mode, rank, map6, map7, gib) in [
            // One rank of 16 rows, of 15, of 17; two of 16, of 17.
            (0xa108_0020, 0x1f, 0x0707_0707, 0xf0f, 2),
            (0xa108_0020, 0x1f, 0x0f07_0707, 0xf0f, 1),
            (0xa108_0020, 0x1f, 0x0707_0707, 0xf07, 4),
            (EVK_MODE, 0x17, 0x0707_0707, 0xf0f, 4),
            (EVK_MODE, 0x18, 0x0707_0707, 0xf07, 8),
            // Two ranks of 16 rows, and a bit for a 17th row that is the ranks' own.
            (EVK_MODE, 0x17, 0x0707_0707, 0xf07, 4),
            // A bit between the rows that selects nothing.
            (0xa108_0020, 0x1f, 0x0807_0707, 0xf0f, 1),
        ] {
            let mut map = EVK_MAP;
            (map[0], map[6], map[7]) = (rank, map6, map7);
            let dram = size(&Registers::new(mode, 0, map)).unwrap();
            assert_eq!(dram.bytes, gib * GIB, "{mode:#x} {map6:#x} {map7:#x}");
            let expected = match gib {
                1..=3 => vec![(GIB, (1 + gib) * GIB)],
                _ => vec![(GIB, 4 * GIB), (4 * GIB, (1 + gib) * GIB)],
            };
            assert_eq!(banks(dram), expected);
        }
    }

    #[test]
    fn a_controller_that_is_absent_or_makes_no_sense_has_no_size() {
        assert_eq!(size(&Registers(BTreeMap::new())), None);
        for mode in [0x0000_0020, 0xa308_0010, 0xa308_1020, 0xa708_0020, u32::MAX] {
            assert_eq!(size(&Registers::new(mode, 0, EVK_MAP)), None, "{mode:#x}");
        }
        // More than there are addresses for.
        let mut map = EVK_MAP;
        (map[0], map[6], map[7]) = (0x17, 0x0707_0707, 0x0808);
        assert_eq!(size(&Registers::new(EVK_MODE, 0, map)), None);
    }
}
