//! The first stage's processor: what holds once [`first_stage!`](crate::first_stage)'s function runs.
//!
//! * It runs at EL3 on the boot core alone, and interrupts stay masked.
//! * Translation and data caches are off, because that is the state in which the boot ROM's services
//!   are known to work; instructions are cached. All memory is device memory: nothing may be accessed
//!   unaligned (the target forbids it), and atomics that read and write may never succeed.
//! * [`OnChip::with_caches`] turns both on for work that is worth it, with tables in which code
//!   cannot be written, what can be written cannot be executed, and the boot ROM does not exist.
//! * There is no heap.
//! * Any exception, and a panic, is printed with its cause, and then the watchdog starts the board
//!   anew.
//!
//! Sources: Arm Architecture Reference Manual for A-profile (DDI 0487); Cortex-A53 reference manual
//! and errata notice (855873); TF-A plat/imx/imx8m (what BL31 expects).

mod memory;
mod rom;

use aarch64_cpu::registers::{DAIF, Writeable};
use core::{ptr, slice};

pub use memory::{Memory, OnChip};
pub use rom::Rom;

use super::end::{self, Ending, RESTART_AFTER, Restart};
use super::exception;
use super::layout;
use super::mmu::Table;
use super::ranges::start_and_length;
use super::single_core::TakeOnce;
use super::timer::{DEFAULT_FREQUENCY, GenericTimer};
use crate::board::BOARD;
use crate::console::Console;
use crate::ddr::saved;
use crate::dma;
use crate::mmio::{Hardware, Uncached};
use crate::soc::counter;
use crate::soc::wdog::Watchdog;

/// SCTLR_EL3 with all off: the reserved bits that are one.
const SCTLR_OFF: u64 = 0x30c5_0830;

/// SCTLR_EL3 of the running first stage: instruction cache (12), stack alignment check (3).
const SCTLR_RUNNING: u64 = SCTLR_OFF | 1 << 12 | 1 << 3;

/// With translation (0), data cache (2), and nothing writable executable (19).
const SCTLR_CACHED: u64 = SCTLR_RUNNING | 1 << 19 | 1 << 2 | 1;

/// What the stack holds where it has never been.
const STACK_PAINT: u64 = 0x7374_6163_6b3a_2d29;

/// Translation tables: four of on-chip memory and registers, and what
/// [`Tables::map`](super::mmu::Tables::map) wants to have left when DRAM is added.
const TABLES: usize = 8;

/// Bytes of OCRAM_S, which keeps the saved timing for BL31. Source: i.MX 8M Plus reference manual,
/// memory map.
const SAVED_TIMING_ROOM: u64 = 0x8000;

static POOL: TakeOnce<[Table; TABLES]> = TakeOnce::new([const { Table::EMPTY }; TABLES]);

/// Names the function that runs once the processor is set up: `fn(FirstStage) -> !`.
#[macro_export]
macro_rules! first_stage {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "Rust" fn firn_first_stage(machine: $crate::arch::first_stage::FirstStage) -> ! {
                $main(machine)
            }
        };
    };
}

core::arch::global_asm!(
    include_str!("entry.S"),
    sctlr_off = const SCTLR_OFF,
    sctlr_running = const SCTLR_RUNNING,
    stack_paint = const STACK_PAINT,
    start = sym start,
);

unsafe extern "C" {
    safe static __behind_start: u8;
    safe static __behind_end: u8;
}

unsafe extern "Rust" {
    /// Defined by the binary, by `first_stage!`.
    safe fn firn_first_stage(machine: FirstStage) -> !;
}

/// The hardware that the first stage starts with.
pub struct FirstStage {
    /// The SoC's registers.
    pub bus: Hardware,
    /// Memory for its bus masters.
    pub dma: dma::Hardware,
    /// Time since the system counter started.
    pub clock: GenericTimer,
    /// The boot ROM's services.
    pub rom: Rom,
    /// DRAM, to be tried.
    pub cells: Uncached,
    /// On-chip memory.
    pub memory: OnChip,
    /// What the boot ROM loaded behind the first stage's own file, and what lies behind that.
    pub behind: &'static [u8],
    /// Where BL31 looks for what training found, at [`saved::ADDRESS`].
    pub saved_timing: &'static mut [u32],
    /// Whether the boot ROM left an asynchronous error (SError) pending; it was dropped.
    pub pending_error: bool,
    /// Whether the system counter runs: every wait relies on it.
    pub has_time: bool,
}

/// Entered from entry.S.
extern "C" fn start() -> ! {
    // SAFETY: translation is off, and is only ever turned on with registers as device memory.
    let bus = unsafe { Hardware::new() };
    let restart = Restart { bus, watchdog: Watchdog(BOARD.watchdog), after: RESTART_AFTER };
    end::decide(Ending { name: "the first stage", restart: Some(restart) });
    start_clock(bus);
    let pending_error = exception::take_pending_error();
    // From now on an asynchronous error is our own.
    DAIF.write(DAIF::D::Masked + DAIF::A::Unmasked + DAIF::I::Masked + DAIF::F::Masked);
    let Some(pool) = POOL.take() else { unreachable!("entered twice") };
    let behind = behind();
    firn_first_stage(FirstStage {
        bus,
        dma: dma::Hardware::new(),
        clock: GenericTimer,
        // SAFETY: entry.S made sure of the state, and while it is another one, the tables do not
        // hold the ROM; nothing here writes below 0x920000.
        rom: unsafe { Rom::new() },
        // SAFETY: no Rust object lies in DRAM before `OnChip::with_dram`, which takes this away.
        cells: unsafe { Uncached::new() },
        memory: OnChip::new(pool, behind),
        behind,
        saved_timing: saved_timing(),
        pending_error,
        has_time: GenericTimer::is_running(),
    })
}

/// Starts the system counter, and tells the processor how fast it is.
fn start_clock(bus: Hardware) {
    let told = counter::start(&bus);
    let hertz = if told == 0 { DEFAULT_FREQUENCY } else { told };
    // SAFETY: a number that only this stage and later ones read; EL3 may set it.
    unsafe {
        core::arch::asm!(
            "msr cntfrq_el0, {}", in(reg) u64::from(hertz),
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// What the boot ROM loaded behind the file.
fn behind() -> &'static [u8] {
    let start = &raw const __behind_start;
    let length = (&raw const __behind_end).addr().saturating_sub(start.addr());
    // SAFETY: the linker gives this range to nobody, and nobody writes to it.
    unsafe { slice::from_raw_parts(start, length) }
}

fn saved_timing() -> &'static mut [u32] {
    let room = saved::ADDRESS..saved::ADDRESS + SAVED_TIMING_ROOM;
    let (start, length) = start_and_length(&room);
    // SAFETY: on-chip memory that nobody else uses; called once, by `start`.
    unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(start), length / 4) }
}

/// Bytes that the stack has never reached; `None` if it went into the gap below it, which nothing
/// else notices while translation is off.
pub fn stack_left() -> Option<usize> {
    let layout = layout::linked();
    let (start, length) = start_and_length(&(layout.guard.start..layout.stack.end));
    let (_, gap) = start_and_length(&layout.guard);
    let start: *const u64 = ptr::with_exposed_provenance(start);
    let untouched = (0..length / 8).take_while(|&index| {
        // SAFETY: the stack and its gap; below the stack pointer nobody writes meanwhile, and above
        // it the first word that is not paint ends the search.
        unsafe { ptr::read_volatile(start.wrapping_add(index)) == STACK_PAINT }
    });
    (8 * untouched.count()).checked_sub(gap)
}

/// The end of a first stage that has nothing left to try: says so, and leaves the rest to the
/// watchdog.
pub fn give_up(mut console: Console) -> ! {
    end::end(&mut console)
}

/// Where memory that the boot ROM has loaded lies in the image.
pub fn place_in_image(memory: &[u8]) -> u32 {
    let distance = memory.as_ptr().addr().saturating_sub(BOARD.image.load_address() as usize);
    u32::try_from(distance).unwrap_or(u32::MAX)
}
