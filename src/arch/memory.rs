//! DRAM as a thing to be owned: each byte has at most one owner.
//!
//! [`Dram`] is made once, from the banks that exist minus what others hold (the loader's image, a
//! TEE, reserved-memory). It turns address ranges into slices, and refuses a range of which any byte
//! is somebody else's.

use core::fmt;
use core::slice;

use super::layout::PAGE;
use super::ranges::{Ranges, start_and_length};
use crate::memory::Region;

/// Where DRAM begins on all of the i.MX 8M family; below are registers and on-chip memory.
pub const DRAM_START: u64 = 0x4000_0000;

/// Separate ranges that the books can hold.
pub const RANGES: usize = 32;

/// Why a range cannot be had or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A bound is not a multiple of 4 KiB.
    Unaligned,
    /// (Partly) not DRAM, reserved, or owned by somebody.
    NotFree,
    /// More separate ranges than the books can hold.
    TooManyRanges,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "not a multiple of 4 KiB",
            Self::NotFree => "not free memory",
            Self::TooManyRanges => "too many separate ranges",
        })
    }
}

impl core::error::Error for Error {}

/// The banks without the reservations; what a page is part of is the reservation's. Whoever told of
/// the banks does not make registers memory: what lies below [`DRAM_START`] is left out.
pub fn usable(
    banks: impl IntoIterator<Item = Region>,
    reserved: impl IntoIterator<Item = Region>,
) -> Result<Ranges<RANGES>, Error> {
    let mut usable = Ranges::new();
    for bank in banks {
        let pages = bank.intersection(Region::between(DRAM_START, u64::MAX)).inward(PAGE);
        usable.insert(pages.start()..pages.end()).map_err(|_| Error::TooManyRanges)?;
    }
    for region in reserved.into_iter().filter(|region| !region.is_empty()) {
        let pages = region.outward(PAGE);
        usable.remove(&(pages.start()..pages.end())).map_err(|_| Error::TooManyRanges)?;
    }
    Ok(usable)
}

/// The memory that nobody owns yet.
pub struct Dram {
    all: Ranges<RANGES>,
    free: Ranges<RANGES>,
}

impl Dram {
    /// Takes charge of `memory`.
    ///
    /// # Safety
    /// All of it must be mapped at its own address for reading and writing, hold initialised bytes
    /// (DRAM always does), and be used by nobody else for good.
    pub unsafe fn new(memory: Ranges<RANGES>) -> Self {
        Self { all: memory.clone(), free: memory }
    }

    /// All that it is in charge of, whether given away or not, ascending.
    pub fn all(&self) -> impl Iterator<Item = Region> + '_ {
        self.all.iter().map(|range| Region::between(range.start, range.end))
    }

    /// What is free, ascending.
    pub fn free(&self) -> impl Iterator<Item = Region> + '_ {
        self.free.iter().map(|range| Region::between(range.start, range.end))
    }

    /// Gives `region` away. Contents are whatever the memory holds.
    pub fn take(&mut self, region: Region) -> Result<&'static mut [u8], Error> {
        let range = region.start()..region.end();
        if !range.start.is_multiple_of(PAGE) || !range.end.is_multiple_of(PAGE) {
            return Err(Error::Unaligned);
        }
        if range.is_empty() || !self.free.contains(&range) {
            return Err(Error::NotFree);
        }
        let (start, length) = start_and_length(&range);
        self.free.remove(&range).map_err(|_| Error::TooManyRanges)?;
        let bytes = core::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range was free, so by `new`'s contract it is mapped, initialised and nobody
        // else's; it is free no longer, so that no second slice of it can be made.
        Ok(unsafe { slice::from_raw_parts_mut(bytes, length) })
    }

    /// Takes back what [`Dram::take`] gave, or a part of it. What is refused stays taken.
    pub fn give_back(&mut self, memory: &'static mut [u8]) -> Result<(), Error> {
        let bounds = memory.as_mut_ptr_range();
        let range = bounds.start.expose_provenance() as u64..bounds.end.addr() as u64;
        if !range.start.is_multiple_of(PAGE) || !range.end.is_multiple_of(PAGE) {
            return Err(Error::Unaligned);
        }
        if !self.all.contains(&range) || self.free.intersects(&range) {
            return Err(Error::NotFree);
        }
        self.free.insert(range).map_err(|_| Error::TooManyRanges)
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec::Vec;

    use super::*;

    /// Pages of the host's memory that play a bank.
    fn bank(pages: usize) -> Region {
        #[repr(align(4096))]
        #[derive(Clone)]
        struct Page([u8; 4096]);
        let memory: &'static mut [Page] = Box::leak(std::vec![Page([0; 4096]); pages].into());
        assert_eq!(memory[0].0[0], 0);
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        Region::new(start, (pages * size_of::<Page>()) as u64)
    }

    fn dram(bank: Region, reserved: Option<Region>) -> Dram {
        // SAFETY: the bank is a leaked box, used by nothing else.
        unsafe { Dram::new(usable([bank], reserved).unwrap()) }
    }

    /// Pages `first` to `last` of `bank`, with the second excluded.
    fn pages(bank: Region, first: u64, last: u64) -> Region {
        Region::between(bank.start() + first * PAGE, bank.start() + last * PAGE)
    }

    #[test]
    fn each_byte_is_given_away_once() {
        let bank = bank(8);
        let mut dram = dram(bank, None);
        let taken = dram.take(pages(bank, 0, 3)).unwrap();
        taken.fill(0xa5);
        assert_eq!(dram.take(pages(bank, 2, 4)), Err(Error::NotFree));
        let other = dram.take(pages(bank, 3, 4)).unwrap();
        assert_eq!((taken.len(), other[0]), (0x3000, 0));
    }

    #[test]
    fn what_was_given_back_can_be_had_again() {
        let bank = bank(4);
        let mut dram = dram(bank, None);
        let taken = dram.take(bank).unwrap();
        let (head, tail) = taken.split_at_mut(4096);
        dram.give_back(tail).unwrap();
        assert_eq!(dram.take(pages(bank, 0, 2)), Err(Error::NotFree));
        dram.give_back(head).unwrap();
        assert_eq!(dram.take(bank).unwrap().len(), 0x4000);
    }

    #[test]
    fn memory_of_others_is_refused() {
        let bank = bank(8);
        let mut dram = dram(bank, Some(Region::new(bank.start() + PAGE, 1)));
        assert_eq!(dram.take(pages(bank, 0, 2)), Err(Error::NotFree), "reserved");
        assert_eq!(dram.take(pages(bank, 8, 9)), Err(Error::NotFree), "outside");
        assert_eq!(dram.take(Region::new(bank.start(), 8)), Err(Error::Unaligned));
        assert_eq!(dram.take(pages(bank, 0, 0)), Err(Error::NotFree), "nothing");
        let foreign = Box::leak(std::vec![0u8; 1].into());
        assert!(dram.give_back(foreign).is_err());
    }

    #[test]
    fn a_reservation_holds_whole_pages_and_banks_only_whole_ones() {
        let banks = [(0x4000_0800, 0x4001_0800), (0x10, 0x20), (0x8000_0000, u64::MAX)];
        let reserved = [(0x4000_2fff, 0x4000_3001), (0x9000_0000, u64::MAX)];
        let region = |(start, end)| Region::between(start, end);
        let usable = usable(banks.map(region), reserved.map(region)).unwrap();
        assert_eq!(
            usable.iter().collect::<Vec<_>>(),
            [0x4000_1000..0x4000_2000, 0x4000_4000..0x4001_0000, 0x8000_0000..0x9000_0000]
        );
    }

    #[test]
    fn registers_are_no_memory_whoever_says_so() {
        let usable = usable([Region::between(0, 0x4000_2000)], []).unwrap();
        assert!(usable.iter().eq(core::iter::once(0x4000_0000..0x4000_2000)));
        assert!(super::usable([Region::new(0x3000_0000, 0x100_0000)], []).unwrap().is_empty());
    }

    #[test]
    fn hostile_numbers_of_ranges_are_refused() {
        let banks = (0..100u64).map(|n| Region::new(DRAM_START + n * 0x10000, 0x1000));
        assert_eq!(usable(banks, []), Err(Error::TooManyRanges));
    }
}
