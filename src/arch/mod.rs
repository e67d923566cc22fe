//! The processor: entry, exceptions, address translation, caches, time, power.
//!
//! The only home of assembly. What the second stage may rely on once
//! [`entry_point!`](crate::entry_point)'s function runs (the first stage has its own rules, in
//! `first_stage`):
//!
//! * It runs at EL2 on the boot core alone; no other core ever enters, and interrupts stay masked.
//!   This is why `SingleCore` may be shared without a lock.
//! * Every address is mapped to itself. Code cannot be written, nothing that can be written can be
//!   executed, address 0 and the pages below the stack fault ([`mmu`]).
//! * Caches are on, unaligned access and atomics work, the heap is there (`heap`).
//! * DRAM beyond the loader's own image is not mapped until somebody has it ([`memory`]), because a
//!   look at DRAM that is absent, or a TEE's, may abort.
//! * Any exception is printed with its cause and registers and stops the boot ([`exception`]).
//!
//! Before that, in [`entry`], none of it holds: the MMU is off, so all of memory behaves as device
//! memory, where exclusive accesses (hence atomics and locks) may never succeed.

#![allow(unsafe_code, reason = "the room of assembly")]

pub mod entry;
pub mod exception;
pub mod heaps;
pub mod layout;
pub mod memory;
pub mod mmu;
pub mod ranges;
pub mod syndrome;
pub mod timer;

#[cfg(target_os = "none")]
pub mod cache;
#[cfg(target_os = "none")]
mod end;
#[cfg(target_os = "none")]
pub mod first_stage;
#[cfg(target_os = "none")]
mod handover;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(target_os = "none")]
pub mod single_core;

#[cfg(target_os = "none")]
pub use end::restart_on_failure;
#[cfg(target_os = "none")]
pub use handover::enter_kernel;
#[cfg(target_os = "none")]
pub use machine::Machine;
#[cfg(target_os = "none")]
pub use panic::panic;

/// Stops for good; a watchdog or a person resets the board.
#[cfg(target_os = "none")]
pub fn stop() -> ! {
    loop {
        aarch64_cpu::asm::wfi();
    }
}
