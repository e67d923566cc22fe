// Entry: from whatever state the stage before left to `start` at EL2 (machine.rs) with translation
// and caches off, zeroed variables, a stack and exception vectors. Registers until then:
//   x19 exception level entered at    x20-x23 x0-x3 as passed    x24 where the image was loaded

.section .head.loader, "ax"
.globl loader_entry
loader_entry:
    b       enter
    .long   0
    .quad   {text_offset}
    .quad   __image_size
    .quad   {image_flags}
    .quad   0, 0, 0
    .long   {image_magic}
    .long   0

.section .entry.loader, "ax"
enter:
    msr     daifset, #0xf
    mrs     x9, mpidr_el1
    tst     x9, #0xffffff
    b.ne    park                        // not the boot core
    mov     x20, x0
    mov     x21, x1
    mov     x22, x2
    mov     x23, x3
    mrs     x19, CurrentEL
    lsr     x19, x19, #2
    cmp     x19, #2
    b.hi    at_el3
    b.eq    at_el2

at_el1: // Only far enough to say so.
    mrs     x9, sctlr_el1
    mov     x10, #0x1005                // I, C, M
    bic     x10, x9, x10
    msr     sctlr_el1, x10
    isb
    mov     x10, #0x5
    tst     x9, x10
    b.eq    1f
    bl      flush_data_caches
1:  mov     x9, #3 << 20                // no trap of floating point
    msr     cpacr_el1, x9
    adrp    x9, __vectors
    add     x9, x9, :lo12:__vectors
    msr     vbar_el1, x9
    isb
    b       anywhere

at_el3: // As little as lets EL2 run: on this SoC normally TF-A's work.
    mrs     x9, sctlr_el3
    mov     x10, #0x1005
    bic     x10, x9, x10
    msr     sctlr_el3, x10
    isb
    mov     x10, #0x5
    tst     x9, x10
    b.eq    1f
    bl      flush_data_caches
1:  mrs     x9, s3_1_c15_c2_1           // CPUECTLR_EL1.SMPEN: before caches are turned on
    orr     x9, x9, #1 << 6
    msr     s3_1_c15_c2_1, x9
    msr     cptr_el3, xzr
    msr     mdcr_el3, xzr
    mrs     x9, cntfrq_el0
    cbnz    x9, 2f
    ldr     x9, ={system_counter_frequency}
    msr     cntfrq_el0, x9
2:  ldr     x9, =0x30384394             // CCM gate 57: system counter
    mov     w10, #3
    str     w10, [x9]
    ldr     x9, =0x306c0000             // system counter control: base frequency, enabled
    ldr     w10, [x9]
    bic     w10, w10, #0x300
    mov     w11, #0x103
    orr     w10, w10, w11
    str     w10, [x9]
    ldr     x9, =0x303e0000             // CSU: the normal world may use every peripheral
    ldr     w10, =0x00ff00ff
    mov     w11, #64
3:  str     w10, [x9], #4
    subs    w11, w11, #1
    b.ne    3b
    mov     x9, #0xf                    // interrupt controller through system registers
    msr     s3_6_c12_c12_5, x9          // ICC_SRE_EL3
    isb
    mov     x9, #0x5b1                  // SCR_EL3: RW, HCE, SMD (nobody answers SMC), NS
    msr     scr_el3, x9
    isb
    ldr     x9, ={sctlr_el2_off}
    msr     sctlr_el2, x9
    mov     x9, #0x3c9                  // EL2h, all exceptions masked
    msr     spsr_el3, x9
    adr     x9, at_el2
    msr     elr_el3, x9
    isb
    eret

at_el2: // From here on no cache holds a line of DRAM, whoever ran before and turned its caches off.
    ldr     x10, ={sctlr_el2_off}
    msr     sctlr_el2, x10
    isb
    bl      flush_data_caches
    mov     x9, #1 << 31                // HCR_EL2: EL1 is AArch64; SError is taken here (AMO)
    orr     x9, x9, #1 << 5
    msr     hcr_el2, x9
    mov     x9, #0x33ff                 // CPTR_EL2: reserved ones; no trap of floating point
    msr     cptr_el2, x9
    mov     x9, #3                      // CNTHCTL_EL2: EL1 may use counter and timer
    msr     cnthctl_el2, x9
    msr     cntvoff_el2, xzr
    msr     vttbr_el2, xzr
    adrp    x9, __vectors
    add     x9, x9, :lo12:__vectors
    msr     vbar_el2, x9
    isb

anywhere:
    msr     spsel, #1
    msr     tpidr_el0, xzr              // no exception so far (exception.S)
    adrp    x24, __image_start
    ldr     x10, =__image_start
    cmp     x24, x10
    b.eq    in_place

// Loaded elsewhere: move the file's part to where it is linked and go on there. Code that moves
// itself over its own instructions cannot.
    ldr     x11, =__file_end
    sub     x11, x11, x10               // size
    sub     x12, x24, x10
    cmp     x12, xzr
    cneg    x12, x12, mi                // distance
    cmp     x12, x11
    b.lo    refuse
    mov     x12, x24
    mov     x13, x10
    add     x11, x24, x11
1:  ldp     x14, x15, [x12], #16
    stp     x14, x15, [x13], #16
    cmp     x12, x11
    b.lo    1b
    ldr     x9, =__vectors
    cmp     x19, #1
    b.eq    2f
    msr     vbar_el2, x9
    b       3f
2:  msr     vbar_el1, x9
3:  dsb     sy
    ic      iallu
    dsb     sy
    isb
    ldr     x9, =in_place
    br      x9

in_place:
    // Lines that a stage before left of the image are the same as memory; those of the variables
    // and tables must not hide or overwrite what is written now with caches off.
    adrp    x0, __image_start
    ldr     x1, =__file_end
    bl      clean_and_invalidate
    adrp    x0, __bss_start
    adrp    x1, __heap_start
    bl      invalidate
    adrp    x0, __bss_start
    adrp    x1, __bss_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    adrp    x0, __stack_end
    mov     sp, x0
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x20
    mov     x1, x21
    mov     x2, x22
    mov     x3, x23
    mov     x4, x19
    mov     x5, x24
    b       {start}

park:
    wfi
    b       park

// Says why, on a console that a stage before may have set up: nothing else works yet.
refuse:
    adr     x9, refusal
    ldr     x10, ={uart}
1:  ldrb    w11, [x9], #1
    cbz     w11, park
    mov     w12, #0x100000              // no deadline without a timer: a number of looks
2:  ldr     w13, [x10, #0xb4]           // UTS: transmitter full
    tbz     w13, #4, 3f
    subs    w12, w12, #1
    b.ne    2b
3:  str     w11, [x10, #0x40]
    b       1b
refusal:
    .asciz  "\r\nfirn: [E705] loaded too close to 0x40200000 to be moved there: load it at 0x40200000, or 1 MiB away\r\n"
    .balign 4

// x0: start, x1: end. Clobbers x2, x3.
clean_and_invalidate:
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4
    mov     x3, #4
    lsl     x2, x3, x2                  // bytes in a line
    sub     x3, x2, #1
    bic     x0, x0, x3
1:  dc      civac, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
    ret

// Likewise, dropping what was not written back.
invalidate:
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4
    mov     x3, #4
    lsl     x2, x3, x2
1:  dc      ivac, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
    ret
