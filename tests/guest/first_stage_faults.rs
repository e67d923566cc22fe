//! Does what the first stage must never do, on one typed key each, so that a test sees what a person
//! would. Runs in the emulated board, in the first stage's place and with its entry code and tables.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod faults {
    use core::arch::asm;
    use core::fmt::Write;
    use core::hint::black_box;

    use firn::arch::first_stage::{self, FirstStage};
    use firn::arch::heap::NoHeap;
    use firn::arch::{self, layout};
    use firn::board::BOARD;
    use firn::console::{self, Console};
    use firn::soc::boot_rom::{BootRom, Question};
    use firn::time::Clock;

    #[global_allocator]
    static HEAP: NoHeap = NoHeap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::first_stage!(main);

    fn main(machine: FirstStage) -> ! {
        let mut console = console::start(machine.bus);
        let _ = writeln!(console, "entered at EL{}, SCTLR {:#x}", level(), sctlr());
        let _ = writeln!(console, "time runs: {}", machine.has_time);
        loop {
            let _ = write!(console, "? ");
            let key = loop {
                if let Some(key) = console.read() {
                    break key;
                }
            };
            let _ = writeln!(console, "{}", key as char);
            act(key, &machine, console);
        }
    }

    fn act(key: u8, machine: &FirstStage, mut console: Console) {
        let layout = layout::linked();
        let cached = |work: fn(u64), address: u64| machine.memory.with_caches(|| work(address));
        match key {
            b'b' => breakpoint(),
            b'p' => panic!("as asked"),
            b'u' => read(layout.stack.start + 1),
            b'c' => cached(write, layout.text.start),
            b'k' => cached(write, layout.rodata.start),
            b'x' => cached(call, layout.bss.start),
            b'e' => cached(call, layout.stack.start),
            b'v' => cached(call, layout.rodata.start),
            b'i' => cached(call, u64::from(BOARD.console_uart)),
            b'f' => cached(write, layout.fault_stack.start - 8),
            b'n' => cached(read, black_box(0)),
            b'd' => cached(read, 0x4000_0000),
            b'm' => machine.memory.with_caches(|| {
                let _ = writeln!(console, "{:?}", machine.rom.query(Question::Version));
            }),
            b's' => cached(overflow, 1),
            b'q' => {
                let _ = writeln!(console, "{:?}", machine.rom.query(Question::BootDevice));
            }
            b't' => {
                let start = machine.clock.now();
                let inside = machine.memory.with_caches(sctlr);
                let took = machine.clock.now().saturating_sub(start);
                let _ = writeln!(console, "inside {inside:#x}, outside {:#x}", sctlr());
                let _ = writeln!(console, "took less than 1 s: {}", took.as_secs() == 0);
            }
            b'l' => {
                let left = first_stage::stack_left();
                let _ = writeln!(console, "some stack is left: {}", left > Some(0x4000));
            }
            b'o' => {
                write(layout.guard.start);
                let _ = writeln!(console, "stack left {:?}", first_stage::stack_left());
            }
            b'1' | b'2' => pretend_reporting(u64::from(key - b'0')),
            b'a' => machine.memory.with_caches(|| call(layout.text.start)),
            _ => {}
        }
    }

    fn level() -> u64 {
        let level: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, CurrentEL", out(reg) level) };
        level >> 2
    }

    fn sctlr() -> u64 {
        let sctlr: u64;
        // SAFETY: reads a register of EL3, where this runs.
        unsafe { asm!("mrs {}, sctlr_el3", out(reg) sctlr) };
        sctlr
    }

    fn write(address: u64) {
        // SAFETY: none; the tables must stop it.
        unsafe { asm!("str xzr, [{}]", in(reg) address) };
    }

    fn read(address: u64) {
        // SAFETY: none; the tables, or the alignment check of device memory, must stop it.
        unsafe { asm!("ldr {0}, [{0}]", inout(reg) address => _) };
    }

    fn call(address: u64) {
        // SAFETY: none; the tables must stop it, or the entry code takes over everything.
        unsafe { asm!("blr {}", in(reg) address, clobber_abi("C")) };
    }

    fn breakpoint() {
        // SAFETY: the exception report takes over.
        unsafe { asm!("brk #0") };
    }

    fn overflow(depth: u64) {
        let _ = recurse(depth);
    }

    #[expect(unconditional_recursion, reason = "what is tested")]
    fn recurse(depth: u64) -> u64 {
        let block = black_box([depth; 64]);
        recurse(depth + 1) + block[(depth % 64) as usize]
    }

    /// As if `depth` exceptions were being reported, then one more.
    fn pretend_reporting(depth: u64) {
        // SAFETY: the count of exceptions is all that this register holds.
        unsafe { asm!("msr tpidr_el0, {}", in(reg) depth) };
        breakpoint();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
