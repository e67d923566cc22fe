//! The jump into the kernel.
//!
//! The kernel wants to be found in memory, not in a cache, and so does everything that it is given.
//! Here the caches are flushed as a whole, by set and way, which takes a fraction of the time that
//! walking over a kernel and an initrd line by line does. That reaches every line, because this is
//! the only core that runs, its caches are off by then, so that no line can move or come in
//! meanwhile, and the cluster's own are all that lie before memory: the i.MX 8M has no system cache.
//!
//! What the loader has read, been told and drawn is wiped on the way: the part of its heap that it ever
//! used, what the heap was lent, its stacks, its variables (what was typed waits in the console's) and the
//! registers. Its code and its constants stay, and with them its exception vectors, so that a kernel that fails
//! before it has its own is not silent.
//!
//! Sources: Linux Documentation/arch/arm64/booting.rst; Arm Architecture Reference Manual for
//! A-profile (DDI 0487), "Data cache maintenance by set/way", DC ZVA, DCZID_EL0; Cortex-A53 reference manual (the
//! second level is the last).

use super::entry::SCTLR_EL2_OFF;
use super::heap;

// x0: entry, x1: device tree, x2 and x3, x4 and x5: start and end of what of the own and the lent heap was
// used, in whole pages. From here on nothing touches memory but to wipe it.
core::arch::global_asm!(
    r#"
.section .text.leave, "ax"
.globl leave
leave:
    msr     daifset, #0xf
    mov     x19, x0
    mov     x20, x1
    bl      wipe
    mov     x2, x4
    mov     x3, x5
    bl      wipe
    adrp    x2, __stack_start
    adrp    x3, __stack_end
    bl      wipe
    adrp    x2, __fault_stack_start
    adrp    x3, __fault_stack_end
    bl      wipe
    ldr     x9, ={sctlr_off}
    dsb     sy
    msr     sctlr_el2, x9               // translation and caches off
    isb
    bl      flush_data_caches
    adrp    x2, __bss_start             // behind the flush, which writes back what was in caches
    adrp    x3, __bss_end
1:  stp     xzr, xzr, [x2]
    stp     xzr, xzr, [x2, #16]
    stp     xzr, xzr, [x2, #32]
    stp     xzr, xzr, [x2, #48]
    add     x2, x2, #64
    cmp     x2, x3
    b.lo    1b
    ic      iallu
    tlbi    alle2
    dsb     sy
    isb
    mov     x9, #1 << 31                // HCR_EL2: EL1 is AArch64, nothing else
    msr     hcr_el2, x9
    isb
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movi    v\n\().2d, #0
.endr
.irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    movi    v\n\().2d, #0
.endr
    mov     x0, x20
.irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    mov     x\n, xzr
.endr
.irp n, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    mov     x\n, xzr
.endr
    br      x19

// Zeroes the pages from x2 to x3, by whole cache lines where that may be done. Clobbers x9, x10.
wipe:
    cmp     x2, x3
    b.hs    3f
    mrs     x9, dczid_el0
    and     x10, x9, #0xf
    tbnz    x9, #4, 2f                  // prohibited
    cmp     x10, #7                     // eight times 512 bytes are a page
    b.hi    2f
    mov     x9, #4
    lsl     x10, x9, x10                // bytes that one zeroes
1:
.rept 8
    dc      zva, x2
    add     x2, x2, x10
.endr
    cmp     x2, x3
    b.lo    1b
    ret
2:  stp     xzr, xzr, [x2], #16
    cmp     x2, x3
    b.lo    2b
3:  ret
"#,
    sctlr_off = const SCTLR_EL2_OFF,
);

unsafe extern "C" {
    fn leave(entry: u64, tree: u64, own: u64, own_end: u64, lent: u64, lent_end: u64) -> !;
}

/// Starts the kernel whose Image begins where `kernel` does: at EL2, translation and caches off,
/// interrupts masked, x0 = device tree, x1 to x3 = 0. All that anybody wrote is in memory by then, and what
/// the loader knew is not.
///
/// Devices must have been stopped, and the console flushed.
pub fn enter_kernel(kernel: &'static mut [u8], device_tree: &'static mut [u8]) -> ! {
    let entry = kernel.as_mut_ptr().expose_provenance() as u64;
    let device_tree = device_tree.as_mut_ptr().expose_provenance() as u64;
    let [own, lent] = heap::used();
    // SAFETY: no Rust code runs after this, so that nobody misses heap and stack; the kernel owns the
    // machine.
    unsafe { leave(entry, device_tree, own.start, own.end, lent.start, lent.end) }
}
