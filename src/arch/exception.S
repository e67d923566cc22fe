// Exception vectors: save everything on the fault stack and tell Rust. The interrupted code's stack
// is not touched: it may be what overflowed. TPIDR_EL0 counts exceptions that are being handled;
// each has its own half of the fault stack, and the third gives up. x0-x2 pass through system
// registers that nobody here uses.

.section .vectors, "ax"
.macro vector number
    .balign 0x80
    msr     tpidr_el1, x0
    msr     tpidrro_el0, x1
    msr     sp_el0, x2
    mov     x0, #\number
    b       save
.endm

    vector 0
    vector 1
    vector 2
    vector 3
    vector 4
    vector 5
    vector 6
    vector 7
    // Those of lower exception levels are left out: nothing runs there that would come back here.
    .balign 0x80
save:
    mrs     x1, tpidr_el0
    cmp     x1, #2
    b.hs    give_up
    adrp    x2, __fault_stack_end
    sub     x2, x2, x1, lsl #13         // 8 KiB each
    sub     x2, x2, #{frame_size}
    add     x1, x1, #1
    msr     tpidr_el0, x1
    stp     x3, x4, [x2, #0x18]
    stp     x5, x6, [x2, #0x28]
    stp     x7, x8, [x2, #0x38]
    stp     x9, x10, [x2, #0x48]
    stp     x11, x12, [x2, #0x58]
    stp     x13, x14, [x2, #0x68]
    stp     x15, x16, [x2, #0x78]
    stp     x17, x18, [x2, #0x88]
    stp     x19, x20, [x2, #0x98]
    stp     x21, x22, [x2, #0xa8]
    stp     x23, x24, [x2, #0xb8]
    stp     x25, x26, [x2, #0xc8]
    stp     x27, x28, [x2, #0xd8]
    stp     x29, x30, [x2, #0xe8]
    mrs     x3, tpidr_el1
    mrs     x4, tpidrro_el0
    stp     x3, x4, [x2]
    mrs     x3, sp_el0
    str     x3, [x2, #0x10]
    mov     x3, sp
    mrs     x4, CurrentEL
    cmp     x4, #2 << 2
    b.eq    1f
    b.hi    3f
    mrs     x5, elr_el1
    mrs     x6, spsr_el1
    mrs     x7, esr_el1
    mrs     x8, far_el1
    b       2f
1:  mrs     x5, elr_el2
    mrs     x6, spsr_el2
    mrs     x7, esr_el2
    mrs     x8, far_el2
    b       2f
3:  mrs     x5, elr_el3
    mrs     x6, spsr_el3
    mrs     x7, esr_el3
    mrs     x8, far_el3
2:  stp     x3, x5, [x2, #0xf8]         // sp, elr
    stp     x6, x7, [x2, #0x108]        // spsr, esr
    stp     x8, x0, [x2, #0x118]        // far, vector
    str     x1, [x2, #0x128]            // depth
    mov     sp, x2
    mov     x0, x2
    mov     x29, xzr
    bl      {handle}

    // It returns only where this core knows how to go on: after one of the tries below, which are
    // for EL2 and EL3.
    mov     x2, sp
    ldr     x0, [x2, #0x100]
    mrs     x1, CurrentEL
    cmp     x1, #3 << 2
    b.eq    4f
    msr     elr_el2, x0
    b       5f
4:  msr     elr_el3, x0
5:  mrs     x1, tpidr_el0
    sub     x1, x1, #1
    msr     tpidr_el0, x1
    ldp     x3, x4, [x2, #0x18]
    ldp     x5, x6, [x2, #0x28]
    ldp     x7, x8, [x2, #0x38]
    ldp     x9, x10, [x2, #0x48]
    ldp     x11, x12, [x2, #0x58]
    ldp     x13, x14, [x2, #0x68]
    ldp     x15, x16, [x2, #0x78]
    ldp     x17, x18, [x2, #0x88]
    ldp     x19, x20, [x2, #0x98]
    ldp     x21, x22, [x2, #0xa8]
    ldp     x23, x24, [x2, #0xb8]
    ldp     x25, x26, [x2, #0xc8]
    ldp     x27, x28, [x2, #0xd8]
    ldp     x29, x30, [x2, #0xe8]
    ldr     x0, [x2, #0xf8]
    mov     sp, x0
    ldp     x0, x1, [x2]
    ldr     x2, [x2, #0x10]
    eret

give_up:
    wfi
    b       give_up

.section .entry.tries, "ax"

// Reads the 32 bits at x0 if the bus lets it. Gives x0: value, x1: 1 if it was read.
.globl try_read32
try_read32:
    mov     x1, #1
.globl try_read32_load
try_read32_load:
    ldr     w0, [x0]
    ret
.globl try_read32_failed
try_read32_failed:
    mov     x1, xzr
    mov     x0, xzr
    ret

// Takes an SError that is pending. Gives x0: 1 if one was.
.globl try_serror
try_serror:
    dsb     sy
    isb
.globl try_serror_begin
try_serror_begin:
    msr     daifclr, #4
    isb
    nop
    msr     daifset, #4
.globl try_serror_end
try_serror_end:
    mov     x0, xzr
    ret
.globl try_serror_taken
try_serror_taken:
    msr     daifset, #4
    mov     x0, #1
    ret
