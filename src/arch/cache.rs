//! Cache maintenance by address, to the point of coherency: what devices, and a processor with its
//! caches off, see.
//!
//! Source: Arm Architecture Reference Manual for A-profile (DDI 0487), "A64 cache maintenance".

use core::arch::{asm, global_asm};

// `flush_data_caches`, for what turns caches off.
global_asm!(include_str!("cache.S"));

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

/// Lines that a round of the loop below takes: megabytes go through it, and what it does besides
/// counts as much as the operation.
const ROUND: usize = 8;

macro_rules! operate {
    // On so many lines from `$address` on, which becomes that of the next.
    ($operation:literal, $lines:expr, $address:ident, $line:ident) => {
        // SAFETY: cleaning a line never changes what a load gives; whoever asks for invalidation
        // passes memory whose lines hold nothing else. Memory may be changed by this, hence no
        // `nomem`.
        unsafe {
            asm!(
                ".rept {lines}",
                concat!("dc ", $operation, ", {address}"),
                "add {address}, {address}, {line}",
                ".endr",
                lines = const $lines, address = inout(reg) $address, line = in(reg) $line,
                options(nostack, preserves_flags)
            );
        }
    };
}

macro_rules! for_each_line {
    ($operation:literal, $start:expr, $length:expr) => {{
        let line = line_size();
        let start: *const u8 = $start;
        let end = start.addr().saturating_add($length);
        let mut address = start.addr() & !(line - 1);
        for _ in 0..end.saturating_sub(address) / (ROUND * line) {
            operate!($operation, ROUND, address, line);
        }
        while address < end {
            operate!($operation, 1, address, line);
        }
        // SAFETY: a barrier; also one for the compiler, hence no `nomem`.
        unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    }};
}

/// Writes back what `memory` holds in caches.
pub fn clean(memory: &[u8]) {
    for_each_line!("cvac", memory.as_ptr(), memory.len());
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
