//! An arm64 `Image` that prints in which state it was entered, and powers off. With `stub=reset` on its
//! command line it resets the board instead, with `stub=hang` it waits for ever, with `stub=fault` it does what no
//! processor knows. Its file may be longer than
//! what is built here: the header's second reserved field tells how long, 0 otherwise.
//!
//! Source of the header: Linux documentation, arch/arm64/booting. It answers the questions that a
//! loader's hand-over is judged by, in a fraction of the time that Linux takes.

#![no_std]
#![no_main]

use core::{arch::asm, arch::global_asm, panic::PanicInfo, ptr, slice};

use evk_guest::{put, put_field, put_hex, put_hex_byte, put_printable, rest, start_console};

global_asm!(
    ".section .header, \"ax\"",
    ".global header",
    "header:",
    "b entry",
    ".word 0",
    ".quad 0",            // text_offset
    ".quad __image_size", // with BSS
    ".quad 0xa",          // little endian, 4 KiB pages, anywhere in memory
    ".quad 0, 0, 0",      // the first: the file's length
    ".ascii \"ARM\\x64\"",
    ".word 0", // no PE header
    "entry:",
    // x0 to x3 stay where they are: they are the arguments of `report`, and what all others hold together is
    // another. One of them has the way here.
    "orr x4, x4, x7",
    "adr x7, header",
    "cmp x19, x7",
    "csel x19, xzr, x19, eq",
    ".irp n, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "orr x4, x4, x\\n",
    ".endr",
    "mov x7, x4",
    "adrp x9, __bss_start",
    "add x9, x9, :lo12:__bss_start",
    "adrp x10, __bss_end",
    "add x10, x10, :lo12:__bss_end",
    "1: cmp x9, x10",
    "b.hs 2f",
    "str xzr, [x9], #8",
    "b 1b",
    // Compiled code may use the vector registers.
    "2: mrs x9, CurrentEL",
    "cmp x9, #8",
    "b.ne 3f",
    "mov x9, #0x33ff",
    "msr cptr_el2, x9",
    "b 4f",
    "3: mov x9, #(3 << 20)",
    "msr cpacr_el1, x9",
    "4: isb",
    ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16",
    "orr v0.16b, v0.16b, v\\n\\().16b",
    ".endr",
    ".irp n, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "orr v0.16b, v0.16b, v\\n\\().16b",
    ".endr",
    "mov x8, v0.d[0]",
    "mov x9, v0.d[1]",
    "orr x7, x7, x8",
    "orr x7, x7, x9",
    "adrp x9, __stack_end",
    "add x9, x9, :lo12:__stack_end",
    "mov sp, x9",
    "adr x4, header",
    "adrp x5, __file_end",
    "add x5, x5, :lo12:__file_end",
    "mov x6, sp",
    "b report",
);

macro_rules! system_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading this register changes nothing, and the caller is at a level that may.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack)) };
        value
    }};
}

/// Prints everything. The arguments are the registers at entry, the addresses of the header and of the end of
/// what is built here, that of the stack's, and the bits that are set in any other register.
#[unsafe(no_mangle)]
extern "C" fn report(
    x0: u64,
    x1: u64,
    x2: u64,
    x3: u64,
    base: u64,
    file_end: u64,
    stack_end: u64,
    others: u64,
) -> ! {
    let counter = system_register!("cntpct_el0");
    start_console();
    put("\r\n=== stub kernel ===\r\n");
    put_field("counter", counter);
    put_field("counter frequency", system_register!("cntfrq_el0"));
    put_field("base", base);
    put_field("x0", x0);
    put_field("x1", x1);
    put_field("x2", x2);
    put_field("x3", x3);
    put_field("other registers", others);
    put_processor_state();
    put_kernel(base, file_end, stack_end);
    put_field("watchdog control", watchdog_control());
    let command_line = put_device_tree(x0);
    put("=== end of stub kernel ===\r\n");
    let is_told = |word: &[u8]| command_line.split(|byte| *byte == b' ').any(|told| told == word);
    if is_told(b"stub=hang") {
        hang()
    }
    if is_told(b"stub=fault") {
        // SAFETY: what comes of it is the firmware's, which is asked for just that.
        unsafe { asm!("udf #0", options(noreturn)) }
    }
    call(if is_told(b"stub=reset") { SYSTEM_RESET } else { SYSTEM_OFF });
    put("stub kernel: the firmware came back\r\n");
    rest()
}

/// Prints the sum of the kernel's file, without what this program has written over: BSS and stack.
fn put_kernel(base: u64, file_end: u64, stack_end: u64) {
    let length_at: *const u64 = ptr::with_exposed_provenance(base as usize + 32);
    // SAFETY: it is the header's, which is aligned as the page that it begins.
    let length = unsafe { length_at.read_volatile() };
    let mut sum = add(0, base, file_end);
    if length <= LARGEST_FILE && stack_end < base + length {
        sum = add(sum, stack_end, base + length);
    }
    put_field("kernel sum", sum);
}

const LARGEST_FILE: u64 = 64 << 20;

/// Adds the bytes from `start` to `end` to a sum.
fn add(sum: u64, start: u64, end: u64) -> u64 {
    let at: *const u8 = ptr::with_exposed_provenance(start as usize);
    // SAFETY: the caller says what lies there, and nothing else runs that could change it.
    let bytes = unsafe { slice::from_raw_parts(at, (end - start) as usize) };
    add_bytes(sum, bytes)
}

fn add_bytes(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// WCR of watchdog 1. Source: i.MX 8M Plus reference manual, "Watchdog Timer (WDOG)".
fn watchdog_control() -> u64 {
    let register: *const u16 = ptr::with_exposed_provenance(0x3028_0000);
    // SAFETY: the register is 16 bits wide, always mapped, and reading it changes nothing.
    u64::from(unsafe { register.read_volatile() })
}

fn put_processor_state() {
    let level = system_register!("CurrentEL") >> 2 & 3;
    put_field("exception level", level);
    put_field("DAIF", system_register!("daif"));
    let control = match level {
        3 => system_register!("sctlr_el3"),
        2 => system_register!("sctlr_el2"),
        _ => system_register!("sctlr_el1"),
    };
    put_field("SCTLR", control);
    if level == 2 {
        put_field("HCR", system_register!("hcr_el2"));
    }
    put(if control & 1 == 0 { "MMU: off\r\n" } else { "MMU: on\r\n" });
    put(if control & 1 << 2 == 0 { "D-cache: off\r\n" } else { "D-cache: on\r\n" });
}

/// A device tree in memory. Source: Devicetree Specification 0.4, chapter 5.
struct Blob<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

const LARGEST_TREE: u32 = 2 << 20;

/// Prints the device tree and returns the command line in it.
fn put_device_tree(address: u64) -> &'static [u8] {
    let Some(bytes) = find_tree(address) else {
        put("device tree: none\r\n");
        return &[];
    };
    put_field("device tree size", bytes.len() as u64);
    let command_line = blob(bytes).and_then(|blob| put_nodes(&blob));
    command_line.unwrap_or_else(|| {
        put("device tree: damaged\r\n");
        &[]
    })
}

fn find_tree(address: u64) -> Option<&'static [u8]> {
    if address == 0 || !address.is_multiple_of(8) || address >> 40 != 0 {
        return None;
    }
    let start: *const u8 = ptr::with_exposed_provenance(address as usize);
    // SAFETY: the boot protocol says that x0 points at a device tree, which begins with 8 bytes of
    // magic and size; memory that is not there reads as zeros on this machine.
    let head = unsafe { slice::from_raw_parts(start, 8) };
    let size = word(head, 4)?;
    if word(head, 0)? != 0xd00d_feed || size > LARGEST_TREE {
        return None;
    }
    // SAFETY: the tree says that it is that large, and nothing else runs that could change it.
    Some(unsafe { slice::from_raw_parts(start, size as usize) })
}

fn blob(bytes: &[u8]) -> Option<Blob<'_>> {
    let structure = word(bytes, 8)? as usize;
    let strings = word(bytes, 12)? as usize;
    Some(Blob { structure: bytes.get(structure..)?, strings: bytes.get(strings..)? })
}

/// Prints the properties of `/chosen`, `/memory…` and `/firn-test`, and the model; returns the command
/// line.
fn put_nodes<'a>(blob: &Blob<'a>) -> Option<&'a [u8]> {
    let mut at = 0;
    let mut depth = 0u32;
    let mut node: &[u8] = &[];
    let mut initrd = (0, 0);
    let mut command_line: &[u8] = &[];
    // Of what no boot changes: the generation's mark and the memory are printed.
    let mut sum = 0;
    loop {
        let token = word(blob.structure, at)?;
        at += 4;
        match token {
            1 => {
                let name = string(blob.structure, at)?;
                at += (name.len() + 1).next_multiple_of(4);
                depth += 1;
                if depth <= 2 {
                    node = name;
                }
            }
            2 => depth = depth.checked_sub(1)?,
            3 => {
                let length = word(blob.structure, at)? as usize;
                let name = string(blob.strings, word(blob.structure, at + 4)? as usize)?;
                let value = blob.structure.get(at + 8..)?.get(..length)?;
                at += 8 + length.next_multiple_of(4);
                if depth > 1 && !is_shown(node) {
                    sum = add_bytes(add_bytes(sum, name), value);
                }
                if depth == 2 && is_shown(node) || depth == 1 && name == b"model" {
                    put_property(node, name, value);
                    match name {
                        b"linux,initrd-start" => initrd.0 = number(value),
                        b"linux,initrd-end" => initrd.1 = number(value),
                        b"bootargs" => command_line = value.strip_suffix(&[0]).unwrap_or(value),
                        _ => {}
                    }
                }
            }
            4 => {}
            9 => break,
            _ => return None,
        }
    }
    put_field("device tree sum", sum);
    put_initrd(initrd);
    Some(command_line)
}

fn is_shown(node: &[u8]) -> bool {
    node == b"chosen" || node == b"firn-test" || node.starts_with(b"memory")
}

fn put_property(node: &[u8], name: &[u8], value: &[u8]) {
    put("/");
    put_printable(node);
    put(" ");
    put_printable(name);
    put(": ");
    match value.split_last() {
        Some((0, text))
            if !text.is_empty() && text.iter().all(|byte| matches!(byte, b' '..=b'~')) =>
        {
            put_printable(text);
        }
        _ => value.iter().take(64).for_each(|byte| put_hex_byte(*byte)),
    }
    put("\r\n");
}

/// Prints the initrd's sum and its first line, so that the right one is known by both.
fn put_initrd((start, end): (u64, u64)) {
    let Some(length @ 1..) = end.checked_sub(start) else {
        put("initrd: none\r\n");
        return;
    };
    let at: *const u8 = ptr::with_exposed_provenance(start as usize);
    // SAFETY: /chosen says that the initrd lies there, and nothing else runs that could change it.
    let bytes = unsafe { slice::from_raw_parts(at, length as usize) };
    put_field("initrd start", start);
    put_field("initrd size", length);
    put("initrd sum: ");
    put_hex(add_bytes(0, bytes));
    put("\r\ninitrd begins: ");
    put_printable(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default());
    put("\r\n");
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at.checked_add(4)?)? {
        &[a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)?.split(|byte| *byte == 0).next()
}

/// One or two cells.
fn number(value: &[u8]) -> u64 {
    value.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Source: Arm Power State Coordination Interface (DEN0022).
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;

/// Calls the firmware, which does not come back from these two.
fn call(function: u64) {
    // SAFETY: the call does not return; where it does, nothing is left to be disturbed.
    unsafe { asm!("smc #0", in("x0") function, options(nomem, nostack)) };
}

/// Waits for an interrupt that never comes.
fn hang() -> ! {
    loop {
        // SAFETY: waiting changes nothing.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    put("stub kernel: panic\r\n");
    rest()
}
