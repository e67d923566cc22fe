//! The heap: a fixed region of the image's own memory (linker/*.ld, HEAP_SIZE), so that whoever
//! loads the loader keeps clear of it; and, for a while, DRAM that nobody has.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::RefCell;
use core::ops::Range;
use core::ptr::{self, NonNull};

use super::heaps::Heaps;
use super::layout;
use super::ranges::start_and_length;
use super::single_core::SingleCore;

/// The allocator. A binary names it: `#[global_allocator] static HEAP: Heap = Heap;`
pub struct Heap;

static HEAPS: SingleCore<RefCell<Heaps>> = SingleCore::new(RefCell::new(Heaps::empty()));

/// Opens the heap. Until then every allocation fails.
///
/// # Safety
/// `memory` must be mapped for reading and writing, be used by nobody else for good, and this must
/// be called once.
pub(super) unsafe fn initialise(memory: core::ops::Range<u64>) {
    let (bottom, size) = start_and_length(&memory);
    let bottom = ptr::with_exposed_provenance_mut(bottom);
    // SAFETY: the caller's promise.
    unsafe { HEAPS.borrow_mut().open(bottom, size) };
}

/// Bytes in use and bytes free, without those that are lent.
pub fn usage() -> (usize, usize) {
    HEAPS.borrow().usage()
}

/// The pages that any block ever lay in: of the own heap, and of what is lent now.
pub(super) fn used() -> [Range<u64>; 2] {
    HEAPS.borrow().used().map(|used| used.start..used.end.next_multiple_of(layout::PAGE))
}

/// Serves large requests from `memory` until [`take_back`]; gives it back if it is too small or
/// another one is lent.
pub fn lend(memory: &'static mut [u8]) -> Result<(), &'static mut [u8]> {
    HEAPS.borrow_mut().lend(memory)
}

/// What was lent, without what was in it, unless something in it is still in use.
pub fn take_back() -> Option<&'static mut [u8]> {
    HEAPS.borrow_mut().take_back()
}

// SAFETY: `Heaps` gives each block to one owner until it is freed; the `RefCell` is never left
// borrowed, and a request from within the allocator gets null.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAPS.try_borrow_mut().map_or(ptr::null_mut(), |mut heaps| heaps.allocate(layout))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        if let Ok(mut heaps) = HEAPS.try_borrow_mut() {
            // SAFETY: the caller got `block` from `alloc` with this layout.
            unsafe { heaps.free(block, layout) };
        }
    }
}

/// No allocator, for a stage without a heap: where something could ask it for memory, the stage does
/// not link.
pub struct NoHeap;

unsafe extern "C" {
    /// Defined by nobody. The linker complains only if a function that calls it is left.
    fn this_stage_has_no_heap() -> !;
}

// SAFETY: nothing that calls it links.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        // SAFETY: never linked.
        unsafe { this_stage_has_no_heap() }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        // SAFETY: as above.
        unsafe { this_stage_has_no_heap() }
    }
}
