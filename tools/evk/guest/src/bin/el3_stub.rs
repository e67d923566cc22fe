//! Stands where the first stage will be: enters BL31 at EL3 in the state that it relies on.
//!
//! BL31 does not set up the UART, and waits for ever while its FIFO is full; it takes x0 for the
//! address of parameters unless it is 0. Source: TF-A, plat/imx/imx8m/imx8mp and
//! plat/imx/common/imx_uart_console.S.

#![no_std]
#![no_main]

use core::{arch::global_asm, panic::PanicInfo};

global_asm!(
    ".section .start, \"ax\"",
    ".global start",
    "start:",
    "msr daifset, #15",
    // UART2: on; transmitter and receiver on, RTS ignored, 8 bits.
    "ldr x1, =0x30890000",
    "mov w2, #1",
    "str w2, [x1, #0x80]",
    "mov w2, #0x4027",
    "str w2, [x1, #0x84]",
    "adr x3, 3f",
    "2: ldrb w2, [x3], #1",
    "cbz w2, 4f",
    "str w2, [x1, #0x40]",
    "b 2b",
    "3: .asciz \"el3-stub: entering BL31\\r\\n\"",
    ".balign 4",
    "4: mov x0, xzr",
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, xzr",
    "ldr x16, =0x970000",
    "br x16",
    ".ltorg",
);

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    evk_guest::rest()
}
