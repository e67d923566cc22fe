.section .entry.flush_data_caches, "ax"

// Cleans and invalidates every level of data cache, by set and way: right only while this core alone
// runs and its caches are off. Clobbers x7-x17; touches no memory.
.globl flush_data_caches
flush_data_caches:
    dmb     sy
    mrs     x9, clidr_el1
    ubfx    x10, x9, #24, #3            // levels to the point of coherency
    mov     x11, xzr                    // level
1:  cmp     x11, x10
    b.hs    5f
    add     x12, x11, x11, lsl #1
    lsr     x12, x9, x12
    and     x12, x12, #7
    cmp     x12, #2
    b.lo    4f                          // no data cache at this level
    lsl     x13, x11, #1
    msr     csselr_el1, x13
    isb
    mrs     x12, ccsidr_el1
    and     x14, x12, #7
    add     x14, x14, #4                // shift of the set
    ubfx    x15, x12, #3, #10           // last way
    clz     w16, w15                    // shift of the way
    ubfx    x17, x12, #13, #15          // last set
2:  mov     x8, x17
3:  lsl     x7, x15, x16
    orr     x7, x7, x13
    lsl     x12, x8, x14
    orr     x7, x7, x12
    dc      cisw, x7
    subs    x8, x8, #1
    b.hs    3b
    subs    x15, x15, #1
    b.hs    2b
4:  add     x11, x11, #1
    b       1b
5:  msr     csselr_el1, xzr
    dsb     sy
    isb
    ret
