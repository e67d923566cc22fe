// First stage's entry: from whatever state the boot ROM left to `start` at EL3, with translation and
// data caches off, the instruction cache on, zeroed variables, a stack and exception vectors.

.section .head.first_stage, "ax"
.globl first_stage_entry
first_stage_entry:
    msr     daifset, #0xf
    mrs     x9, CurrentEL
    cmp     x9, #3 << 2
    b.ne    park_first_stage            // nothing here works elsewhere
    mrs     x9, mpidr_el1
    tst     x9, #0xffffff
    b.ne    park_first_stage            // not the boot core
    ldr     x9, ={sctlr_off}
    msr     sctlr_el3, x9
    isb
    mrs     x9, s3_1_c15_c2_0           // CPUACTLR_EL1.ENDCCASCI: erratum 855873
    orr     x9, x9, #1 << 44
    msr     s3_1_c15_c2_0, x9
    mrs     x9, s3_1_c15_c2_1           // CPUECTLR_EL1.SMPEN: before any cache maintenance
    orr     x9, x9, #1 << 6
    msr     s3_1_c15_c2_1, x9
    isb
    bl      flush_data_caches           // whether they were on or only hold something old
    tlbi    alle3
    ic      iallu
    dsb     sy
    isb
    ldr     x9, ={sctlr_running}
    msr     sctlr_el3, x9
    mov     x9, #0x38                   // SCR_EL3: reserved ones; SError is taken here (EA)
    msr     scr_el3, x9
    msr     cptr_el3, xzr               // no trap of floating point
    msr     mdcr_el3, xzr
    adrp    x9, __vectors
    add     x9, x9, :lo12:__vectors
    msr     vbar_el3, x9
    isb
    msr     spsel, #1
    msr     tpidr_el0, xzr              // no exception so far (exception.S)
    adrp    x0, __bss_start
    adrp    x1, __bss_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    // The gap below the stack too: with translation off only a look at it tells of an overflow.
    ldr     x2, ={stack_paint}
    adrp    x0, __guard_start
    adrp    x1, __stack_end
2:  stp     x2, x2, [x0], #16
    cmp     x0, x1
    b.lo    2b
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    b       {start}

park_first_stage:
    wfi
    b       park_first_stage

.section .entry.caches_on, "ax"

// x0: root of the tables, x1: MAIR, x2: TCR, x3: SCTLR. Touches no memory.
.globl caches_on
caches_on:
    mov     x4, x30
    bl      flush_data_caches           // lines from when they were on before are stale
    msr     ttbr0_el3, x0
    msr     mair_el3, x1
    msr     tcr_el3, x2
    tlbi    alle3
    ic      iallu
    dsb     sy
    isb
    msr     sctlr_el3, x3
    isb
    ret     x4

.section .entry.caches_off, "ax"

// x0: SCTLR. All that was written is in memory afterwards. Touches no memory.
.globl caches_off
caches_off:
    mov     x4, x30
    dsb     sy
    msr     sctlr_el3, x0
    isb
    bl      flush_data_caches
    tlbi    alle3
    ic      iallu
    dsb     sy
    isb
    ret     x4

.section .entry.leave_first_stage, "ax"

// x0: where to. The next stage finds no argument that it could take for one, and nothing of what was on
// the stack: random bytes above all.
.globl leave_first_stage
leave_first_stage:
    msr     daifset, #0xf
    mov     x19, x0
    adrp    x9, __stack_start
    adrp    x10, __stack_end
1:  stp     xzr, xzr, [x9], #16
    cmp     x9, x10
    b.lo    1b
    dsb     sy
    bl      flush_data_caches           // lines that instruction fetches brought in
    tlbi    alle3
    ic      iallu
    dsb     sy
    isb
    mov     x0, xzr
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    br      x19
