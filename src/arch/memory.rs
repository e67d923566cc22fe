//! DRAM as a thing to be owned: each byte has at most one owner.
//!
//! [`Dram`] is made once, from the banks that exist minus what others hold (the loader's image, a
//! TEE, reserved-memory). It turns address ranges into slices, and refuses a range of which any byte
//! is somebody else's.
//!
//! Memory is mapped when it is first given away, for whom it is given to: a cache between the processor
//! and what a device brings would have to be looked after line by line, a million of them for a kernel
//! and an initrd. Since [`mmu`](super::mmu) never changes what is mapped, and entry.S leaves nothing in
//! the caches, they never hold a line of what was mapped past them. Their owner may still do with them
//! whatever it likes; large work on them is slow.

use core::fmt;
use core::ops::Range;
use core::slice;

use aarch64_paging::paging::El2;

use super::layout::PAGE;
use super::mmu::{Map, Rights, Tables};
use super::ranges::{Ranges, start_and_length};
use crate::memory::Region;

/// Where DRAM begins on all of the i.MX 8M family; below are registers and on-chip memory.
pub const DRAM_START: u64 = 0x4000_0000;

/// Separate ranges that the books can hold.
pub const RANGES: usize = 32;

/// Memory is mapped in blocks of this size, as far as they are usable, in bytes.
const BLOCK: u64 = 2 << 20;

/// Who works on memory that is given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// The processor.
    Processor,
    /// A device; the processor hardly looks at it.
    Device,
}

/// Why a range cannot be had or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A bound is not a multiple of 4 KiB.
    Unaligned,
    /// (Partly) not DRAM, reserved, or owned by somebody.
    NotFree,
    /// More separate ranges than the books, or the translation tables, can hold.
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
pub struct Dram<M = Tables<'static, El2>> {
    all: Ranges<RANGES>,
    free: Ranges<RANGES>,
    /// Maps what is given away.
    tables: M,
    /// What is mapped for the processor.
    cached: Ranges<RANGES>,
    /// What is mapped for devices.
    uncached: Ranges<RANGES>,
}

impl<M: Map> Dram<M> {
    /// Takes charge of `memory`, of which `mapped` is mapped for the processor already and the rest is
    /// not mapped.
    ///
    /// # Safety
    /// All of it must hold initialised bytes (DRAM always does) and be used by nobody else for good,
    /// and what `tables` maps must be what the processor sees. No cache may hold a line of what is not
    /// mapped.
    pub unsafe fn new(memory: Ranges<RANGES>, mapped: Ranges<RANGES>, tables: M) -> Self {
        let uncached = Ranges::new();
        Self { all: memory.clone(), free: memory, tables, cached: mapped, uncached }
    }

    /// All that it is in charge of, whether given away or not, ascending.
    pub fn all(&self) -> impl Iterator<Item = Region> + '_ {
        self.all.iter().map(|range| Region::between(range.start, range.end))
    }

    /// What is free, ascending.
    pub fn free(&self) -> impl Iterator<Item = Region> + '_ {
        self.free.iter().map(|range| Region::between(range.start, range.end))
    }

    /// Gives `region` away, for the processor to work on. Contents are whatever the memory holds.
    pub fn take(&mut self, region: Region) -> Result<&'static mut [u8], Error> {
        self.take_for(Worker::Processor, region)
    }

    /// Gives `region` away, for `worker`. What was mapped for another one before, or shares a block with
    /// it, stays as it is.
    pub fn take_for(&mut self, worker: Worker, region: Region) -> Result<&'static mut [u8], Error> {
        let range = region.start()..region.end();
        if !range.start.is_multiple_of(PAGE) || !range.end.is_multiple_of(PAGE) {
            return Err(Error::Unaligned);
        }
        if range.is_empty() || !self.free.contains(&range) {
            return Err(Error::NotFree);
        }
        let (start, length) = start_and_length(&range);
        self.map(&range, worker)?;
        self.free.remove(&range).map_err(|_| Error::TooManyRanges)?;
        let bytes = core::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range was free, so by `new`'s contract it is initialised and nobody else's, and it
        // was mapped right now or before; it is free no longer, so that no second slice of it can be
        // made.
        Ok(unsafe { slice::from_raw_parts_mut(bytes, length) })
    }

    /// Maps what is not mapped yet of `range` and of the blocks that it begins and ends in.
    fn map(&mut self, range: &Range<u64>, worker: Worker) -> Result<(), Error> {
        let full = |_| Error::TooManyRanges;
        let start = range.start - range.start % BLOCK;
        let end = range.end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        let mut missing = self.all.clone();
        missing.remove(&(0..start)).map_err(full)?;
        missing.remove(&(end..u64::MAX)).map_err(full)?;
        for mapped in self.cached.iter().chain(self.uncached.iter()) {
            missing.remove(&mapped).map_err(full)?;
        }
        for part in missing.iter() {
            let (books, rights) = match worker {
                Worker::Processor => (&mut self.cached, Rights::Data),
                Worker::Device => (&mut self.uncached, Rights::Uncached),
            };
            let mut after = books.clone();
            after.insert(part.clone()).map_err(full)?;
            self.tables.map(part, rights).map_err(|_| Error::TooManyRanges)?;
            *books = after;
        }
        #[cfg(target_os = "none")]
        past_the_caches::set(&self.uncached);
        Ok(())
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

#[cfg(target_os = "none")]
pub(crate) use past_the_caches::holds as is_uncached;

/// What devices write without any maintenance of caches, for whoever would do it.
#[cfg(target_os = "none")]
mod past_the_caches {
    use core::cell::RefCell;

    use super::{RANGES, Ranges};
    use crate::arch::single_core::SingleCore;

    static UNCACHED: SingleCore<RefCell<Ranges<RANGES>>> =
        SingleCore::new(RefCell::new(Ranges::new()));

    pub(super) fn set(ranges: &Ranges<RANGES>) {
        UNCACHED.borrow_mut().clone_from(ranges);
    }

    /// Whether no cache holds a line of `memory`.
    pub(crate) fn holds(memory: &[u8]) -> bool {
        let bounds = memory.as_ptr_range();
        UNCACHED.borrow().contains(&(bounds.start.addr() as u64..bounds.end.addr() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec::Vec;

    use super::super::mmu;
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

    /// Notes what is mapped; the host has mapped it.
    #[derive(Default)]
    struct Notes(Vec<(Range<u64>, Rights)>);

    impl Map for Notes {
        fn map(&mut self, range: Range<u64>, rights: Rights) -> Result<(), mmu::Error> {
            let shared = |(before, _): &(Range<u64>, _)| {
                before.start < range.end && range.start < before.end
            };
            assert!(!self.0.iter().any(shared), "mapped twice: {range:x?}");
            self.0.push((range, rights));
            Ok(())
        }
    }

    fn dram(bank: Region, reserved: Option<Region>) -> Dram<Notes> {
        // SAFETY: the bank is a leaked box, used by nothing else.
        unsafe { Dram::new(usable([bank], reserved).unwrap(), Ranges::new(), Notes::default()) }
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

    /// Books of addresses that nobody touches.
    fn books(usable: Ranges<RANGES>, mapped: Ranges<RANGES>) -> Dram<Notes> {
        // SAFETY: none of these tests looks at what it takes.
        unsafe { Dram::new(usable, mapped, Notes::default()) }
    }

    #[test]
    fn memory_is_mapped_in_blocks_as_far_as_they_are_usable_when_it_is_first_taken() {
        let banks = [Region::between(0x4000_0000, 0x8000_0000)];
        let usable = usable(banks, [Region::new(0x4830_0000, 0x1000)]).unwrap();
        let mut mapped = Ranges::new();
        mapped.insert(0x4820_0000..0x4820_2000).unwrap();
        let mut dram = books(usable, mapped);
        assert_eq!(dram.tables.0, []);
        dram.take_for(Worker::Device, Region::new(0x4800_0000, 0x1000)).unwrap();
        assert_eq!(dram.tables.0, [(0x4800_0000..0x4820_0000, Rights::Uncached)]);
        dram.take_for(Worker::Device, Region::new(0x4810_0000, 0x11_0000)).unwrap();
        let around = [0x4820_2000..0x4830_0000, 0x4830_1000..0x4840_0000];
        assert_eq!(dram.tables.0[1..], around.map(|range| (range, Rights::Uncached)));
    }

    #[test]
    fn what_is_mapped_stays_as_it_is_whoever_works_on_it_next() {
        let mut dram =
            books(usable([Region::new(DRAM_START, 1 << 30)], []).unwrap(), Ranges::new());
        let block = |number| Region::new(DRAM_START + number * BLOCK, BLOCK);
        let incoming = dram.take_for(Worker::Device, block(1)).unwrap();
        let worked_on = dram.take(block(2)).unwrap();
        dram.give_back(incoming).unwrap();
        dram.give_back(worked_on).unwrap();
        dram.take(block(1)).unwrap();
        dram.take_for(Worker::Device, block(2)).unwrap();
        let addresses = |region: Region| region.start()..region.end();
        assert_eq!(
            dram.tables.0,
            [(addresses(block(1)), Rights::Uncached), (addresses(block(2)), Rights::Data)]
        );
    }

    #[test]
    fn memory_that_cannot_be_mapped_is_not_given_away() {
        struct Full;
        impl Map for Full {
            fn map(&mut self, _: Range<u64>, _: Rights) -> Result<(), mmu::Error> {
                Err(mmu::Error::TooManyRanges)
            }
        }
        let usable = usable([Region::new(DRAM_START, 1 << 30)], []).unwrap();
        // SAFETY: nothing can be taken.
        let mut dram = unsafe { Dram::new(usable.clone(), Ranges::new(), Full) };
        let taken = dram.take(Region::new(DRAM_START, PAGE));
        assert_eq!(taken, Err(Error::TooManyRanges));
        assert_eq!(dram.free, usable);
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
