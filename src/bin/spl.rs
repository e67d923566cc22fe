//! First stage (firn-spl): a list of steps.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod spl {
    use core::convert::Infallible;

    use firn::{
        arch::{
            self,
            first_stage::{self as machine, FirstStage, Memory, Rom},
            heap::NoHeap,
            single_core::TakeOnce,
            timer::GenericTimer,
        },
        board::{BOARD, FIRST_STAGE, MEMORY},
        console::{self, Console},
        dma,
        mmio::Hardware,
        soc::{
            boot_rom,
            caam::{self, Access, Buffers},
            reset,
            wdog::Watchdog,
        },
        spl::{
            Error, dram,
            load::{self, Memory as _},
            platform,
            report::Report,
            training_firmware,
        },
        time::Clock as _,
    };

    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[global_allocator]
    static HEAP: NoHeap = NoHeap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::first_stage!(main);

    fn main(machine: FirstStage) -> ! {
        let mut report = Report::new(console::start(machine.bus));
        let Err(error) = boot(machine, &mut report);
        report.fail(&error);
        machine::give_up(Console)
    }

    fn boot(machine: FirstStage, report: &mut Report<Console>) -> Result<Infallible, Error> {
        greet(&machine, report)?;
        let FirstStage { bus, dma, clock, rom, cells, memory, behind, saved_timing, .. } = machine;
        let supplied = ready_board(bus, clock, report);

        let place = machine::place_in_image(behind);
        let find = || training_firmware::find(behind, place, BOARD.image.board);
        let firmware = memory.with_caches(find)?;
        let hardware = (&bus, &clock, &cells);
        let ready = dram::bring_up(hardware, MEMORY.timing, firmware, saved_timing, |error| {
            report.note(error);
            report.say(format_args!("trying again"));
        })?;
        report.say(format_args!("{ready}"));
        ready.tell(&mut report.record, clock.now());

        // At the voltages that a silent PMIC starts with, they are too fast.
        if supplied {
            let clocks = platform::after_dram(&bus, &clock, &FIRST_STAGE);
            clocks.unwrap_or_else(|error| report.note(&error));
        }

        let mut memory = memory.with_dram(ready.dram, cells);
        let entry = load(bus, &rom, &mut memory, report)?;
        report.record.times.loaded = clock.now();
        gather_entropy(bus, clock, dma, report);
        report.say(format_args!("starting BL31 at {entry:#x}"));
        Console.flush();
        report.record.times.left = clock.now();
        report.leave(memory.bytes(BOARD.hand_off));
        memory.enter(entry)
    }

    /// The first line, and what nothing can go on without.
    fn greet(machine: &FirstStage, report: &mut Report<Console>) -> Result<(), Error> {
        report.record.times.entered = machine.clock.now();
        // A copy: the reference would hold all of the board's data.
        let board = BOARD.name;
        report.say(format_args!("Firn {VERSION}, first stage, on {board}"));
        if machine.pending_error {
            report.say(format_args!("an error (SError) that the boot ROM left was dropped"));
        }
        if machine.has_time { Ok(()) } else { Err(Error::NoTime) }
    }

    /// Clocks, supplies, and why the board was reset. Whether the supplies are as the board wants.
    fn ready_board(bus: Hardware, clock: GenericTimer, report: &mut Report<Console>) -> bool {
        let clocks = platform::set_up_soc(&bus, &clock, &FIRST_STAGE);
        clocks.unwrap_or_else(|error| report.note(&error));
        let supplies = platform::before_dram(&bus, &clock, &FIRST_STAGE);
        let cause = reset::take_cause(&bus, Watchdog(BOARD.watchdog), supplies.ok());
        report.say(format_args!("reset: {cause}"));
        report.record.reset = Some(cause);
        if let Err(error) = &supplies {
            report.note(error);
        }
        supplies.is_ok()
    }

    /// Random bytes for the kernel, which the second stage may not be able to get.
    fn gather_entropy(
        bus: Hardware,
        clock: GenericTimer,
        dma: dma::Hardware,
        report: &mut Report<Console>,
    ) {
        static BUFFERS: TakeOnce<Buffers> = TakeOnce::new(Buffers::new());
        let Some(buffers) = BUFFERS.take() else { return };
        match caam::draw(&bus, &clock, &dma, buffers, Access::Secure) {
            Ok(entropy) => report.record.entropy = Some(entropy),
            Err(error) => report.note(&error),
        }
    }

    /// All that the image holds; where BL31 is entered.
    fn load(
        bus: Hardware,
        rom: &Rom,
        memory: &mut Memory,
        report: &mut Report<Console>,
    ) -> Result<u64, Error> {
        let scratch = memory.take(BOARD.scratch).and_then(|bytes| bytes.try_into().ok());
        let scratch = scratch.ok_or(Error::NoMemory)?;
        let medium = boot_rom::find(&bus, rom)?;
        report.say(format_args!("loading from {medium}"));
        let noted = &mut |error: &_| report.note(error);
        let loaded = load::load(rom, &medium, BOARD.image, memory, scratch, noted)?;
        report.record.boot = Some(loaded.boot);
        report.record.recovery = loaded.recovery;
        Ok(loaded.entry)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
