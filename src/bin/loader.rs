//! Second stage (shipped as `firn.bin`): a list of steps.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod loader {
    use firn::arch::entry::EntryState;
    use firn::arch::heap::Heap;
    use firn::arch::{self, Machine};
    use firn::board::BOARD;
    use firn::error::Code;
    use firn::memory::{Region, Size};
    use log::{error, info};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::entry_point!(main);

    fn main(entry: EntryState, mut machine: Machine) -> ! {
        info!("Firn {} on {}", env!("CARGO_PKG_VERSION"), BOARD.name);
        info!("entered at {entry}");
        let banks = BOARD.dram_banks.iter().map(|&(start, size)| Region::new(start, size));
        match machine.claim_dram(banks, entry.tee()) {
            Ok(dram) => {
                dram.free().for_each(|region| info!("memory {region}, {}", Size(region.size())));
            }
            Err(error) => error!("[{}] memory: {error}", Code::MemoryUnknown),
        }
        prompt(&machine)
    }

    /// Answers single keys.
    fn prompt(machine: &Machine) -> ! {
        use core::fmt::Write;
        let mut console = machine.console;
        let _ = console.write_str("> ");
        loop {
            match console.read() {
                Some(b'r') => machine.power.reset(&machine.bus),
                Some(b'p') => machine.power.off(),
                Some(key) => {
                    let _ = write!(console, "{}", key as char);
                }
                None => {}
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
