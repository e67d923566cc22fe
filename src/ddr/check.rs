//! A quick look at memory that has just been trained: a dead or swapped line shows here, with its
//! number, and not as a kernel that crashes a minute later.
//!
//! Milliseconds, some thirty addresses a rank; not a test of every cell.

use core::fmt;

use crate::{error::Code, mmio::Bus};

use super::{controller::ECCERRCNT, size::Dram};

/// Memory as the processor sees it, past all caches.
pub trait Cells {
    /// Reads 32 bits at a 4-aligned physical address.
    fn read(&self, address: u64) -> u32;
    /// Writes 32 bits at a 4-aligned physical address.
    fn write(&self, address: u64, value: u32);
}

/// What is wrong with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bits that do not hold what was written.
    Data {
        /// Where.
        address: u64,
        /// The bits: DQ lines of both channels.
        bits: u32,
    },
    /// Two addresses are the same memory.
    Address {
        /// One of them.
        address: u64,
        /// The other one.
        other: u64,
    },
    /// The controller corrected, or could not correct, what it read.
    Ecc {
        /// Words that were corrected.
        corrected: u16,
        /// Words that were not.
        uncorrected: u16,
    },
}

impl Fault {
    /// The code to look up.
    pub const fn code(self) -> Code {
        match self {
            Self::Data { .. } => Code::DramData,
            Self::Address { .. } => Code::DramAddress,
            Self::Ecc { .. } => Code::DramEcc,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Data { address, bits } => {
                write!(f, "DRAM at {address:#x} does not hold what was written: bits {bits:#010x}")
            }
            Self::Address { address, other } => write!(
                f,
                "DRAM at {address:#x} and at {other:#x} is the same memory: address lines {:#x}",
                address ^ other
            ),
            Self::Ecc { corrected, uncorrected } => write!(
                f,
                "DRAM held wrong bits: {corrected} words were corrected, {uncorrected} were not"
            ),
        }
    }
}

/// Tries data lines in each rank, then address lines, then asks for corrected errors. What the
/// memory held at the addresses tried is lost.
///
/// # Errors
/// The first fault.
pub fn check(dram: Dram, cells: &impl Cells, bus: &impl Bus) -> Result<(), Fault> {
    let start = dram.extent().start();
    check_data(cells, start)?;
    if dram.rank_stride != 0 {
        check_data(cells, start + dram.rank_stride)?;
    }
    check_addresses(dram, cells)?;
    if dram.protected_parts != 0 {
        check_codes(bus)?;
    }
    Ok(())
}

/// Each bit alone, and each bit missing, in a burst of all lines' beats: 16 words of 32 bits.
fn check_data(cells: &impl Cells, start: u64) -> Result<(), Fault> {
    let mut wrong = 0;
    let mut at = start;
    for round in 0..32 {
        let burst = || (0..16).map(move |beat| (start + 4 * u64::from(beat), pattern(round, beat)));
        for (address, value) in burst() {
            cells.write(address, value);
        }
        for (address, value) in burst() {
            let differing = cells.read(address) ^ value;
            if differing != 0 {
                at = address;
            }
            wrong |= differing;
        }
    }
    if wrong == 0 { Ok(()) } else { Err(Fault::Data { address: at, bits: wrong }) }
}

/// Neighbouring beats differ in all bits, so that what a line held before does not pass for what was
/// written last.
fn pattern(round: u32, beat: u32) -> u32 {
    let one = 1_u32.rotate_left(round + beat / 2);
    if beat.is_multiple_of(2) { one } else { !one }
}

/// Writes to each address that differs in one bit from the start, and looks whether another one
/// changes with it.
fn check_addresses(dram: Dram, cells: &impl Cells) -> Result<(), Fault> {
    let start = dram.extent().start();
    let usable = |offset: &u64| {
        dram.banks().any(|bank| bank.start() <= start + offset && start + offset < bank.end())
    };
    let offsets = || core::iter::once(0).chain((2..40).map(|bit| 1 << bit)).filter(usable);
    for offset in offsets() {
        cells.write(start + offset, 0x5555_5555);
    }
    for offset in offsets() {
        cells.write(start + offset, 0xaaaa_aaaa);
        if let Some(other) =
            offsets().find(|other| *other != offset && cells.read(start + other) != 0x5555_5555)
        {
            return Err(Fault::Address { address: start + offset, other: start + other });
        }
        cells.write(start + offset, 0x5555_5555);
    }
    Ok(())
}

fn check_codes(bus: &impl Bus) -> Result<(), Fault> {
    let count = bus.read32(ECCERRCNT);
    let (corrected, uncorrected) = ((count & 0xffff) as u16, (count >> 16) as u16);
    if count == 0 { Ok(()) } else { Err(Fault::Ecc { corrected, uncorrected }) }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, string::ToString};

    use super::*;

    const DRAM: Dram = Dram { bytes: 6 << 30, ranks: 2, rank_stride: 1 << 30, protected_parts: 0 };

    /// Memory with faults in its lines.
    #[derive(Default)]
    struct Lines {
        cells: RefCell<BTreeMap<u64, u32>>,
        dead_bits: u32,
        dead_address: u64,
        missing_rank: bool,
    }

    impl Cells for Lines {
        fn read(&self, address: u64) -> u32 {
            if self.missing_rank && address & DRAM.rank_stride == 0 {
                return u32::MAX;
            }
            self.cells.borrow().get(&(address & !self.dead_address)).copied().unwrap_or(0)
        }

        fn write(&self, address: u64, value: u32) {
            self.cells.borrow_mut().insert(address & !self.dead_address, value & !self.dead_bits);
        }
    }

    /// A controller that counted errors.
    struct Counter(u32);

    impl Bus for Counter {
        fn read16(&self, _: u32) -> u16 {
            0
        }
        fn write16(&self, _: u32, _: u16) {}
        fn read32(&self, _: u32) -> u32 {
            self.0
        }
        fn write32(&self, _: u32, _: u32) {}
    }

    #[test]
    fn good_memory_passes() {
        assert_eq!(check(DRAM, &Lines::default(), &Counter(1)), Ok(()));
    }

    #[test]
    fn each_dead_data_line_is_named() {
        for bit in 0..32 {
            let lines = Lines { dead_bits: 1 << bit, ..Lines::default() };
            let fault = check(DRAM, &lines, &Counter(0)).unwrap_err();
            assert!(matches!(fault, Fault::Data { bits, .. } if bits == 1 << bit), "{fault}");
        }
    }

    #[test]
    fn each_dead_address_line_is_named() {
        for bit in 2..33 {
            let lines = Lines { dead_address: 1 << bit, ..Lines::default() };
            let fault = check(DRAM, &lines, &Counter(0)).unwrap_err();
            // Low lines select words of a burst, which the data pattern finds first.
            let named = match fault {
                Fault::Address { address, other } => address ^ other == 1 << bit,
                Fault::Data { .. } => bit < 6,
                Fault::Ecc { .. } => false,
            };
            assert!(named, "bit {bit}: {fault}");
        }
    }

    #[test]
    fn a_rank_that_is_not_there_is_a_fault() {
        let lines = Lines { missing_rank: true, ..Lines::default() };
        let fault = check(DRAM, &lines, &Counter(0)).unwrap_err();
        assert!(matches!(fault, Fault::Data { bits: u32::MAX, .. }), "{fault}");
    }

    #[test]
    fn corrected_errors_are_a_fault_where_codes_are_kept() {
        let dram = Dram { protected_parts: 3, ..DRAM };
        let fault = check(dram, &Lines::default(), &Counter(0x0001_0002)).unwrap_err();
        assert_eq!(fault, Fault::Ecc { corrected: 2, uncorrected: 1 });
        assert!(fault.to_string().contains("2 words were corrected, 1 were not"));
    }
}
