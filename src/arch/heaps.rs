//! Two heaps that are one: the stage's own, and memory that is lent to it for a while.
//!
//! The own heap is small and must not run out, because what small requests cannot have ends the boot.
//! Large requests come from whoever can be told no (a decompressor's window), so they go to the lent
//! memory first, and to the own heap only as long as room is left there.

use core::alloc::Layout;
use core::mem;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;

use linked_list_allocator::Heap;
use linked_list_allocator::hole::HoleList;

/// Requests of so many bytes are large.
const LARGE: usize = 1 << 20;
/// Bytes of the own heap that large requests leave free.
const RESERVE: usize = 2 << 20;
/// Less is not worth lending.
const LENT_MIN: usize = LARGE;

/// The own heap and the lent one.
pub struct Heaps {
    own: Heap,
    lent: Heap,
    /// What the lent one was made of.
    memory: Option<(NonNull<u8>, usize)>,
    /// Bytes from the start of each on that were ever written.
    own_reached: usize,
    lent_reached: usize,
}

impl Heaps {
    /// Neither is there yet.
    pub const fn empty() -> Self {
        Self {
            own: Heap::empty(),
            lent: Heap::empty(),
            memory: None,
            own_reached: 0,
            lent_reached: 0,
        }
    }

    /// Opens the own heap.
    ///
    /// # Safety
    /// The `size` bytes at `bottom` must be valid for reads and writes for good, be used by nobody
    /// else, and this must be called once.
    pub unsafe fn open(&mut self, bottom: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.own.init(bottom, size) };
    }

    /// Adds `memory` until [`Heaps::take_back`]; gives it back if it is too small or another one is
    /// lent.
    pub fn lend(&mut self, memory: &'static mut [u8]) -> Result<(), &'static mut [u8]> {
        if self.memory.is_some() || memory.len() < LENT_MIN {
            return Err(memory);
        }
        let size = memory.len();
        let start = NonNull::from(memory).cast::<u8>();
        // SAFETY: the bytes of a reference that is given up here, so that nobody else has them until
        // `take_back` makes another one.
        self.lent = unsafe { Heap::new(start.as_ptr(), size) };
        self.memory = Some((start, size));
        self.lent_reached = HoleList::min_size();
        Ok(())
    }

    /// What was lent, unless something in it is still in use. What it held is wiped: it may be a piece of
    /// somebody's files.
    pub fn take_back(&mut self) -> Option<&'static mut [u8]> {
        if self.lent.used() != 0 {
            return None;
        }
        let (start, size) = self.memory.take()?;
        self.lent = Heap::empty();
        // SAFETY: these bytes were given up to `lend`; no request holds any of them, and the heap
        // over them is gone.
        let memory = unsafe { slice::from_raw_parts_mut(start.as_ptr(), size) };
        memory[..mem::take(&mut self.lent_reached)].fill(0);
        Some(memory)
    }

    /// The addresses, in the own and in the lent memory, that were ever written to; none of what was taken back.
    pub fn used(&self) -> [Range<u64>; 2] {
        [(&self.own, self.own_reached), (&self.lent, self.lent_reached)].map(|(heap, reached)| {
            let start = heap.bottom().addr();
            start as u64..(start + reached) as u64
        })
    }

    /// Bytes in use and bytes free of the own heap.
    pub fn usage(&self) -> (usize, usize) {
        (self.own.used(), self.own.free())
    }

    /// Memory for `layout`, or null.
    pub fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let [first, second] = match layout.size() {
            LARGE.. => [Self::lent_block, Self::own_block],
            _ => [Self::own_block, Self::lent_block],
        };
        let block = first(self, layout).or_else(|| second(self, layout));
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Frees `block`.
    ///
    /// # Safety
    /// `block` must come from [`Heaps::allocate`] with the same `layout`, and not be freed yet.
    pub unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        let is_lent = self.memory.is_some_and(|(start, size)| {
            block.addr().get().checked_sub(start.addr().get()).is_some_and(|offset| offset < size)
        });
        let heap = if is_lent { &mut self.lent } else { &mut self.own };
        // SAFETY: each heap gives only blocks of its own memory, so this is the one that gave
        // `block`, and the rest is the caller's promise.
        unsafe { heap.deallocate(block, layout) };
    }

    fn own_block(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let left = self.own.free().checked_sub(layout.size())?;
        if layout.size() >= LARGE && left < RESERVE {
            return None;
        }
        let block = self.own.allocate_first_fit(layout).ok()?;
        self.own_reached = self.own_reached.max(reach(&self.own, block, layout));
        Some(block)
    }

    fn lent_block(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.lent.free().checked_sub(layout.size())?;
        let block = self.lent.allocate_first_fit(layout).ok()?;
        self.lent_reached = self.lent_reached.max(reach(&self.lent, block, layout));
        Some(block)
    }
}

/// Bytes from the start of `heap` to the end of `block`, and of the note behind it of what is free there;
/// what the allocator makes of the size is at most a note's more.
fn reach(heap: &Heap, block: NonNull<u8>, layout: Layout) -> usize {
    let end = block.addr().get() - heap.bottom().addr() + layout.size();
    (end + 2 * HoleList::min_size()).min(heap.size())
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    const OWN: usize = 8 << 20;

    fn memory(size: usize) -> &'static mut [u8] {
        vec![0; size].leak()
    }

    fn heaps() -> Heaps {
        let own = memory(OWN);
        let mut heaps = Heaps::empty();
        // SAFETY: leaked, and given up here.
        unsafe { heaps.open(own.as_mut_ptr(), own.len()) };
        heaps
    }

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 16).unwrap()
    }

    fn allocate(heaps: &mut Heaps, size: usize) -> Option<NonNull<u8>> {
        NonNull::new(heaps.allocate(bytes(size)))
    }

    #[test]
    fn a_large_request_is_refused_before_small_ones_have_to_be() {
        let mut heaps = heaps();
        assert_eq!(allocate(&mut heaps, OWN - RESERVE + 1), None);
        assert_eq!(allocate(&mut heaps, isize::MAX as usize - 64), None);
        let large = allocate(&mut heaps, OWN - RESERVE - LARGE).unwrap();
        for _ in 0..RESERVE / 4096 {
            assert!(allocate(&mut heaps, 4000).is_some());
        }
        // SAFETY: allocated above with this layout.
        unsafe { heaps.free(large, bytes(OWN - RESERVE - LARGE)) };
        assert!(allocate(&mut heaps, LARGE).is_some(), "free again");
    }

    #[test]
    fn lent_memory_serves_what_is_large_and_is_had_back_once_it_is_free() {
        let mut heaps = heaps();
        let lent = memory(64 << 20);
        let place = lent.as_ptr_range();
        heaps.lend(lent).unwrap();
        let large = allocate(&mut heaps, 40 << 20).unwrap();
        assert!(place.contains(&large.as_ptr().cast_const()));
        let small = allocate(&mut heaps, 100).unwrap();
        assert!(!place.contains(&small.as_ptr().cast_const()), "small ones stay where they are");
        assert!(heaps.take_back().is_none(), "in use");
        // SAFETY: allocated above with this layout.
        unsafe { heaps.free(large, bytes(40 << 20)) };
        let back = heaps.take_back().unwrap();
        assert_eq!((back.as_ptr_range(), heaps.take_back()), (place, None));
        assert_eq!(allocate(&mut heaps, 40 << 20), None, "lent no longer");
        // SAFETY: allocated above with this layout.
        unsafe { heaps.free(small, bytes(100)) };
        assert_eq!(heaps.usage().0, 0);
    }

    #[test]
    fn what_lay_in_lent_memory_is_gone_when_it_is_had_back() {
        let mut heaps = heaps();
        let lent = memory(8 << 20);
        lent[7 << 20] = 0xa5;
        heaps.lend(lent).unwrap();
        for size in [2 << 20, 4 << 20] {
            let block = allocate(&mut heaps, size).unwrap();
            // SAFETY: allocated just now, with so many bytes.
            unsafe { block.write_bytes(0xa5, size) };
            // SAFETY: allocated above with this layout.
            unsafe { heaps.free(block, bytes(size)) };
        }
        let back = heaps.take_back().unwrap();
        assert!(back[..4 << 20].iter().all(|&byte| byte == 0));
        assert_eq!(back[7 << 20], 0xa5, "no block was there");
    }

    /// How many bytes of the own and of the lent memory were used.
    fn used(heaps: &Heaps) -> [u64; 2] {
        heaps.used().map(|range| range.end - range.start)
    }

    #[test]
    fn it_is_known_how_far_blocks_have_ever_reached() {
        let mut heaps = heaps();
        assert_eq!(used(&heaps), [0, 0]);
        let [first, second] = [3000, 5000].map(|size| (allocate(&mut heaps, size).unwrap(), size));
        assert!((8000..8100).contains(&used(&heaps)[0]), "{:?}", used(&heaps));
        for (block, size) in [second, first] {
            // SAFETY: allocated above with this layout.
            unsafe { heaps.free(block, bytes(size)) };
        }
        assert!(used(&heaps)[0] >= 8000, "freed, but not forgotten");
    }

    #[test]
    fn what_is_used_of_lent_memory_is_known_until_it_is_taken_back() {
        const SIZE: usize = 3 << 20;
        let mut heaps = heaps();
        heaps.lend(memory(SIZE)).unwrap();
        let whole = allocate(&mut heaps, SIZE).unwrap();
        assert_eq!(heaps.used()[1].start, whole.addr().get() as u64);
        assert_eq!(used(&heaps), [0, SIZE as u64], "no further than it goes");
        // SAFETY: allocated above with this layout.
        unsafe { heaps.free(whole, bytes(SIZE)) };
        heaps.take_back().unwrap();
        assert_eq!(used(&heaps), [0, 0]);
    }

    #[test]
    fn small_requests_that_the_own_heap_cannot_serve_get_lent_memory() {
        let mut heaps = heaps();
        heaps.lend(memory(LENT_MIN)).unwrap();
        let served = (0..).take_while(|_| allocate(&mut heaps, 64 << 10).is_some()).count();
        assert!(served > OWN / (64 << 10), "{served}");
    }

    #[test]
    fn a_second_loan_and_one_that_is_too_small_are_given_back() {
        let mut heaps = heaps();
        assert_eq!(heaps.lend(memory(LENT_MIN - 1)).unwrap_err().len(), LENT_MIN - 1);
        heaps.lend(memory(LENT_MIN)).unwrap();
        assert_eq!(heaps.lend(memory(LENT_MIN)).unwrap_err().len(), LENT_MIN);
    }
}
