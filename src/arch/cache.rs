//! Cache maintenance by address, to the point of coherency: what devices, and a processor with its
//! caches off, see.
//!
//! Source: Arm Architecture Reference Manual for A-profile (DDI 0487), "A64 cache maintenance".

use core::arch::asm;

/// Bytes in the smallest line of any data cache.
pub fn line_size() -> usize {
    let ctr: usize;
    // SAFETY: reads an identification register.
    unsafe {
        asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags));
    }
    // DminLine: log2 of the number of 4-byte words.
    4 << (ctr >> 16 & 0xf)
}

macro_rules! for_each_line {
    ($operation:literal, $start:expr, $length:expr) => {{
        let line = line_size();
        let start: *const u8 = $start;
        let end = start.addr().saturating_add($length);
        let mut address = start.addr() & !(line - 1);
        while address < end {
            // SAFETY: cleaning a line never changes what a load gives; whoever asks for invalidation
            // passes memory whose lines hold nothing else. Memory may be changed by this, hence no
            // `nomem`.
            unsafe {
                asm!(concat!("dc ", $operation, ", {}"), in(reg) address, options(nostack, preserves_flags));
            }
            address += line;
        }
        // SAFETY: a barrier; also one for the compiler, hence no `nomem`.
        unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    }};
}

/// Writes back what `memory` holds in caches.
pub fn clean(memory: &[u8]) {
    for_each_line!("cvac", memory.as_ptr(), memory.len());
}

/// Writes back what `memory` holds in caches and drops it from there.
pub fn clean_and_invalidate(memory: &[u8]) {
    for_each_line!("civac", memory.as_ptr(), memory.len());
}

/// Drops what caches hold of `memory`, unwritten.
///
/// # Panics
/// If a line of it may hold other data too: start and length must be multiples of the line size.
pub fn invalidate(memory: &mut [u8]) {
    let line = line_size();
    assert!(memory.as_ptr().addr().is_multiple_of(line) && memory.len().is_multiple_of(line));
    for_each_line!("ivac", memory.as_mut_ptr().cast_const(), memory.len());
}
