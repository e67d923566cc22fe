//! What the guests share: text on UART2.
//!
//! They run where they were put, without relocation: no table of addresses may be used, so there
//! is no `core::fmt` here.

#![no_std]

use core::{
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// UART2, the console of the EVK. Source: i.MX 8M Plus Reference Manual, memory map.
const UART2: usize = 0x3089_0000;
const UTXD: usize = 0x40;
const UCR1: usize = 0x80;
const UCR2: usize = 0x84;
const UTS: usize = 0xb4;
/// UTS: no room for another character.
const TXFULL: u32 = 1 << 4;
/// How often a full FIFO is looked at before the line counts as stuck: longer than a character takes.
const PATIENCE: u32 = 10_000;
/// It is: nothing is waited for any more.
static STUCK: AtomicBool = AtomicBool::new(false);

fn read(offset: usize) -> u32 {
    // SAFETY: UART2's registers are 32 bits wide, always mapped, and shared with nobody here.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(UART2 + offset)) }
}

fn write(offset: usize, value: u32) {
    // SAFETY: as in `read`.
    unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(UART2 + offset), value) }
}

/// Turns the UART on as far as QEMU needs it: nothing is printed until its transmitter is on.
pub fn start_console() {
    write(UCR1, 1);
    // Ignore RTS, 8 bits, transmitter, receiver, out of reset.
    write(UCR2, 0x4027);
}

fn put_byte(byte: u8) {
    let is_full = || read(UTS) & TXFULL != 0;
    if !STUCK.load(Ordering::Relaxed) && (0..PATIENCE).all(|_| is_full()) {
        STUCK.store(true, Ordering::Relaxed);
    }
    write(UTXD, u32::from(byte));
}

/// Prints text.
pub fn put(text: &str) {
    for &byte in text.as_bytes() {
        put_byte(byte);
    }
}

/// Prints bytes as text, what is not printable as a dot, and no more than 2048 of them.
pub fn put_printable(bytes: &[u8]) {
    for &byte in bytes.iter().take(2048) {
        put_byte(if matches!(byte, b' '..=b'~') { byte } else { b'.' });
    }
}

/// Prints a number as `0x` and hexadecimal digits without leading zeros.
pub fn put_hex(value: u64) {
    put("0x");
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        put_digit((value >> (4 * digit)) as u8 & 0xf);
    }
}

/// Prints a byte as two hexadecimal digits.
pub fn put_hex_byte(value: u8) {
    put_digit(value >> 4);
    put_digit(value & 0xf);
}

fn put_digit(digit: u8) {
    put_byte(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
}

/// Prints a line `name: value`.
pub fn put_field(name: &str, value: u64) {
    put(name);
    put(": ");
    put_hex(value);
    put("\r\n");
}

/// Stops here for good.
pub fn rest() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
