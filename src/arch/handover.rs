//! The jump into the kernel.
//!
//! The kernel wants to be found in memory, not in a cache, and so does everything that it is given.
//! Here the caches are flushed as a whole, by set and way, which takes a fraction of the time that
//! walking over a kernel and an initrd line by line does. That reaches every line, because this is
//! the only core that runs, its caches are off by then, so that no line can move or come in
//! meanwhile, and the cluster's own are all that lie before memory: the i.MX 8M has no system cache.
//!
//! Sources: Linux Documentation/arch/arm64/booting.rst; Arm Architecture Reference Manual for
//! A-profile (DDI 0487), "Data cache maintenance by set/way"; Cortex-A53 reference manual (the
//! second level is the last).

use super::entry::SCTLR_EL2_OFF;

// x0: entry, x1: device tree. What was on the stack is nobody's business any more, and the kernel's seeds
// were; from then on nothing touches memory.
core::arch::global_asm!(
    r#"
.section .text.leave, "ax"
.globl leave
leave:
    msr     daifset, #0xf
    mov     x19, x0
    mov     x20, x1
    adrp    x9, __stack_start
    adrp    x10, __stack_end
1:  stp     xzr, xzr, [x9], #16
    cmp     x9, x10
    b.lo    1b
    ldr     x9, ={sctlr_off}
    dsb     sy
    msr     sctlr_el2, x9               // translation and caches off
    isb
    bl      flush_data_caches
    ic      iallu
    tlbi    alle2
    dsb     sy
    isb
    mov     x9, #1 << 31                // HCR_EL2: EL1 is AArch64, nothing else
    msr     hcr_el2, x9
    isb
    mov     x0, x20
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    br      x19
"#,
    sctlr_off = const SCTLR_EL2_OFF,
);

unsafe extern "C" {
    fn leave(entry: u64, device_tree: u64) -> !;
}

/// Starts the kernel whose Image begins where `kernel` does: at EL2, translation and caches off,
/// interrupts masked, x0 = device tree, x1 to x3 = 0. All that anybody wrote is in memory by then.
///
/// Devices must have been stopped, and the console flushed.
pub fn enter_kernel(kernel: &'static mut [u8], device_tree: &'static mut [u8]) -> ! {
    let entry = kernel.as_mut_ptr().expose_provenance() as u64;
    let device_tree = device_tree.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: no Rust code runs after this; the kernel owns the machine.
    unsafe { leave(entry, device_tree) }
}
