//! Does what the loader must never do, on one typed key each, so that a test sees what a person
//! would. Runs in the emulated board, in the loader's place and with its entry code and tables.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod faults {
    extern crate alloc;

    use alloc::vec::Vec;
    use core::arch::{asm, global_asm};
    use core::fmt::Write;
    use core::hint::black_box;
    use core::{ptr, slice};

    use firn::arch::entry::EntryState;
    use firn::arch::heap::Heap;
    use firn::arch::memory::Dram;
    use firn::arch::{self, Machine, layout, power};
    use firn::board::BOARD;
    use firn::memory::Region;
    use firn::mmio::Bus;
    use firn::soc::wdog::Watchdog;
    use firn::time::Clock;

    /// Where the board can have DRAM, but not with 2 GiB of it.
    const ABSENT_DRAM: u64 = 0x1_8000_0000;
    /// What of it there is for sure.
    const DRAM: Region = Region::new(0x4000_0000, 1 << 30);
    /// More than any gap behind the heap.
    const GUARD: u64 = 1 << 20;

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::entry_point!(main);

    fn main(entry: EntryState, mut machine: Machine) -> ! {
        let mut console = machine.console;
        let _ = writeln!(console, "entered at {entry}");
        let _ = writeln!(console, "loaded at {:#x}", entry.loaded_at);
        let _ = writeln!(console, "x0 to x3 {:x?}", entry.arguments);
        let _ = writeln!(console, "time {:?}", machine.clock.now());
        let tree = entry.device_tree.as_deref().map_or(0, <[u8]>::len);
        let _ = writeln!(console, "device tree of {tree} bytes");
        loop {
            let _ = write!(console, "? ");
            let key = loop {
                if let Some(key) = console.read() {
                    break key;
                }
            };
            let _ = writeln!(console, "{}", key as char);
            act(key, &mut machine);
        }
    }

    fn act(key: u8, machine: &mut Machine) {
        let layout = layout::linked();
        match key {
            b'c' => write(layout.text.start),
            b'k' => write(layout.rodata.start),
            b'x' => call(layout.heap.start),
            b'n' => read(black_box(0)),
            b'u' => read(layout.heap.end + GUARD),
            b'e' => call(layout.stack.start),
            b'v' => call(layout.bss.start),
            b'i' => call(u64::from(BOARD.console_uart)),
            b'f' => write(layout.fault_stack.start - 8),
            b'D' => {
                let mut dram = machine.claim_dram([DRAM], []).expect("first claim");
                let taken = dram.take(Region::new(0x5000_0000, 4096)).expect("free");
                call(taken.as_mut_ptr().addr() as u64)
            }
            b'H' => {
                let _dram = machine.claim_dram([DRAM], []).expect("first claim");
                write(layout.heap.end)
            }
            b'd' => {
                let dram = machine.claim_dram([DRAM], []).expect("first claim");
                use_all(dram, machine);
            }
            b's' => {
                let _ = recurse(black_box(1));
            }
            b'b' => breakpoint(),
            b'p' => panic!("as asked"),
            b'h' => exhaust(),
            b'1' | b'2' => pretend_reporting(u64::from(key - b'0')),
            b'a' => enter_again(2, 0x4800_0008),
            b'g' => enter_again(2, ABSENT_DRAM),
            b'l' => enter_again(1, 0),
            b't' => {
                let right = (try_read32(layout.text.start), try_read32(0));
                let _ = writeln!(machine.console, "tried: {right:x?}");
            }
            b'P' => {
                arch::restart_on_failure(machine.bus, Watchdog(BOARD.watchdog));
                panic!("as asked");
            }
            b'w' => start_watchdog(machine),
            b'W' => {
                start_watchdog(machine);
                arch::stop()
            }
            b'j' => chain(machine),
            b'r' => machine.power.reset(&machine.bus),
            b'o' => machine.power.off(),
            _ => {}
        }
    }

    fn write(address: u64) {
        // SAFETY: none; the tables must stop it.
        unsafe { asm!("str xzr, [{}]", in(reg) address) };
    }

    fn read(address: u64) {
        // SAFETY: none; the tables must stop it.
        unsafe { asm!("ldr {0}, [{0}]", inout(reg) address => _) };
    }

    fn call(address: u64) {
        // SAFETY: none; the tables must stop it.
        unsafe { asm!("blr {}", in(reg) address, clobber_abi("C")) };
    }

    /// Starts the watchdog with a time of a second.
    fn start_watchdog(machine: &Machine) {
        let watchdog = Watchdog(BOARD.watchdog);
        // Enabled; the two resets not asserted.
        machine.bus.write16(BOARD.watchdog, 0x134);
        power::attend(machine.bus, watchdog);
    }

    /// Enters a copy of this image as a kernel.
    fn chain(machine: &mut Machine) {
        let mut dram = machine.claim_dram([DRAM], []).expect("claim");
        let kernel = dram.take(Region::new(0x5000_0000, 1 << 20)).expect("free");
        let tree = dram.take(Region::new(0x5800_0000, 4096)).expect("free");
        let layout = layout::linked();
        let source: *const u8 = ptr::with_exposed_provenance(number(layout.text.start));
        let length = number(layout.data.end - layout.text.start);
        // SAFETY: the image's own bytes; nothing changes them meanwhile.
        kernel[..length].copy_from_slice(unsafe { slice::from_raw_parts(source, length) });
        tree[..8].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 40]);
        arch::enter_kernel(kernel, tree)
    }

    fn number(value: u64) -> usize {
        usize::try_from(value).expect("64 bits")
    }

    /// What entry code does to look for a device tree.
    fn try_read32(address: u64) -> Option<u64> {
        let (value, read): (u64, u64);
        // SAFETY: reads 32 bits; what is not mapped it reports.
        unsafe {
            asm!("bl try_read32", inout("x0") address => value, out("x1") read, clobber_abi("C"));
        }
        (read == 1).then_some(value)
    }

    fn breakpoint() {
        // SAFETY: the exception report takes over.
        unsafe { asm!("brk #0") };
    }

    #[expect(unconditional_recursion, reason = "what is tested")]
    fn recurse(depth: u64) -> u64 {
        let block = black_box([depth; 64]);
        recurse(depth + 1) + block[(depth % 64) as usize]
    }

    fn exhaust() {
        let mut blocks = Vec::new();
        loop {
            blocks.push(black_box(alloc::vec![0u8; 1 << 20]));
        }
    }

    /// Fills all memory and reads it back, in steps.
    fn use_all(mut dram: Dram, machine: &mut Machine) {
        let regions: Vec<Region> = dram.free().collect();
        for region in regions {
            let memory = dram.take(region).expect("free");
            for page in memory.chunks_exact_mut(4096) {
                let mark = mark(page);
                page[..8].copy_from_slice(&mark);
            }
            let right = memory.chunks_exact(4096).all(|page| page[..8] == mark(page));
            let _ = writeln!(machine.console, "{region} holds what was written: {right}");
            dram.give_back(memory).expect("taken");
        }
    }

    /// A page's own address.
    fn mark(page: &[u8]) -> [u8; 8] {
        page.as_ptr().addr().to_le_bytes()
    }

    /// As if `depth` exceptions were being reported, then one more.
    fn pretend_reporting(depth: u64) {
        // SAFETY: the count of exceptions is all that this register holds.
        unsafe { asm!("msr tpidr_el0, {}", in(reg) depth) };
        read(0);
    }

    // x0: exception level, x1: x0 at entry. Enters the image there with caches on.
    global_asm!(
        ".section .text.enter_again, \"ax\"",
        "enter_again_at:",
        "mov x9, #0x3c4",
        "add x9, x9, x0, lsl #2",
        "sub x9, x9, #3",
        "msr spsr_el2, x9",
        "adrp x9, __image_start",
        "msr elr_el2, x9",
        "mov x0, x1",
        "mov x1, #1",
        "mov x2, #2",
        "mov x3, #3",
        "isb",
        "eret",
    );

    fn enter_again(level: u64, x0: u64) -> ! {
        unsafe extern "C" {
            fn enter_again_at(level: u64, x0: u64) -> !;
        }
        // SAFETY: the entry code takes over everything.
        unsafe { enter_again_at(level, x0) }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
