//! The loader's heaps, over memory of their own: any sequence of requests, loans and returns gives
//! blocks that are aligned, overlap nothing, and keep what was written to them.
#![no_main]

use std::{
    alloc::Layout,
    collections::BTreeMap,
    ptr::{self, NonNull},
};

use firn::arch::heaps::Heaps;
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

const OWN: usize = 4 << 20;
const LENT: usize = 3 << 20;
/// Of one input; more tell nothing new.
const MOST_STEPS: usize = 512;

fuzz_target!(|data: &[u8]| {
    let mut own = vec![0_u8; OWN];
    let (own_start, lent) = (own.as_mut_ptr(), Box::leak(vec![0_u8; LENT].into_boxed_slice()));
    let lent_start = ptr::from_mut(lent);
    let mut heaps = Heaps::empty();
    // SAFETY: `own` lives longer than `heaps` and is not used besides.
    unsafe { heaps.open(own_start, OWN) };
    let mut loan = Some(lent);
    let mut blocks = Blocks::default();
    let mut input = Input(data);
    for number in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0 => {
                if let Some(memory) = loan.take()
                    && let Err(memory) = heaps.lend(memory)
                {
                    loan = Some(memory);
                }
            }
            1 => loan = loan.or_else(|| heaps.take_back()),
            2..=4 => blocks.allocate(&mut heaps, &mut input, number as u8),
            _ => blocks.free(&mut heaps, usize::from(input.byte())),
        }
    }
    while !blocks.in_use.is_empty() {
        blocks.free(&mut heaps, 0);
    }
    assert_eq!(heaps.usage().0, 0, "bytes in use of an empty heap");
    assert!(loan.or_else(|| heaps.take_back()).is_some(), "the loan is not given back");
    // SAFETY: leaked above; its only reference has just been dropped, and with it the last use.
    drop(unsafe { Box::from_raw(lent_start) });
});

/// What is in use, by its address.
#[derive(Default)]
struct Blocks {
    in_use: BTreeMap<usize, (NonNull<u8>, Layout, u8)>,
}

impl Blocks {
    fn allocate(&mut self, heaps: &mut Heaps, input: &mut Input<'_>, mark: u8) {
        let (size, shape) = (usize::from(input.u16()) + 1, input.byte());
        let size = size << (shape % 8);
        let layout = Layout::from_size_align(size, 1 << (shape >> 4)).expect("a layout");
        let Some(block) = NonNull::new(heaps.allocate(layout)) else { return };
        let start = block.addr().get();
        assert!(start.is_multiple_of(layout.align()), "{layout:?} at {start:#x}");
        let before = self.in_use.range(..start + size).next_back();
        let end = before.map_or(0, |(start, (_, layout, _))| start + layout.size());
        assert!(end <= start, "{layout:?} at {start:#x} overlaps what ends at {end:#x}");
        for at in ends(size) {
            // SAFETY: within the block, which is nobody else's.
            unsafe { block.add(at).write(mark) };
        }
        self.in_use.insert(start, (block, layout, mark));
    }

    fn free(&mut self, heaps: &mut Heaps, which: usize) {
        let count = self.in_use.len().max(1);
        let Some(&start) = self.in_use.keys().nth(which % count) else { return };
        let Some((block, layout, mark)) = self.in_use.remove(&start) else { return };
        for at in ends(layout.size()) {
            // SAFETY: within the block, and written when it was allocated.
            assert_eq!(unsafe { block.add(at).read() }, mark, "{layout:?} was written to");
        }
        // SAFETY: from `allocate` with this layout, and no longer in the list.
        unsafe { heaps.free(block, layout) };
    }
}

/// The bytes that somebody else's mistake would hit first.
fn ends(size: usize) -> impl Iterator<Item = usize> {
    (0..size.min(32)).chain(size.saturating_sub(32)..size)
}
