//! What happens when the processor cannot go on: it is printed, then the stage ends.
//!
//! The report runs on a stack of its own and writes to the UART past everybody's buffers. An
//! exception during the report is reported shortly; one during that stops silently.
//!
//! The vectors outlive the jump, as U-Boot's do: what a kernel does wrong before it has its own would be a
//! silent end otherwise. Till then it has nothing but its image, initrd and device tree (Linux sets VBAR_EL2 in
//! `init_kernel_el`, before memory is anybody's), and none of these is ever placed over the loader.

use core::fmt::{self, Write};

use super::layout::Layout;
use super::syndrome::{Class, Syndrome};
use crate::error::Code;

/// The interrupted code's registers, as exception.S lays them out.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// The stack pointer.
    pub sp: u64,
    /// Where it was interrupted.
    pub elr: u64,
    /// Its processor state.
    pub spsr: u64,
    /// Why.
    pub esr: u64,
    /// Which address, if the reason has one.
    pub far: u64,
    /// Which of the 16 vectors.
    pub vector: u64,
    /// 1, or 2 for an exception during the report of another.
    pub depth: u64,
}

/// The four kinds of exception, each with four vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Caused by the instruction itself.
    Synchronous,
    /// An interrupt, which is never enabled here.
    Interrupt,
    /// A fast interrupt, likewise.
    FastInterrupt,
    /// An error that arrived late.
    SError,
}

impl Frame {
    /// The kind of exception.
    pub fn kind(&self) -> Kind {
        match self.vector & 3 {
            0 => Kind::Synchronous,
            1 => Kind::Interrupt,
            2 => Kind::FastInterrupt,
            _ => Kind::SError,
        }
    }

    /// Writes what a person needs to report the fault of `stage`.
    pub fn write_report(&self, out: &mut impl Write, stage: &str, layout: &Layout) -> fmt::Result {
        let syndrome = Syndrome(self.esr);
        write!(out, "\nfirn: [{}] {stage} failed: ", Code::ProcessorException)?;
        match self.kind() {
            Kind::Synchronous => write!(out, "{syndrome}")?,
            Kind::Interrupt | Kind::FastInterrupt => out.write_str("unexpected interrupt")?,
            Kind::SError => write!(out, "{}", Syndrome((0x2f) << 26))?,
        }
        writeln!(out)?;
        if self.kind() == Kind::Synchronous && syndrome.has_address() {
            writeln!(out, "  address {:#x}: {}", self.far, layout.describe(self.far))?;
        }
        writeln!(out, "  at      {:#x}: {}", self.elr, layout.describe(self.elr))?;
        if self.depth > 1 {
            return out.write_str("  while reporting another\n");
        }
        writeln!(out, "  ESR {:#010x} FAR {:#018x} SPSR {:#010x}", self.esr, self.far, self.spsr)?;
        for (n, value) in self.x.iter().enumerate() {
            let (before, after) =
                (if n < 10 { " " } else { "" }, if n % 3 == 2 { "\n" } else { "" });
            write!(out, "  {before}x{n} {value:016x}{after}")?;
        }
        writeln!(out, "   sp {:016x}", self.sp)
    }

    /// Whether something else than the code of this stage was interrupted.
    pub fn is_outside(&self, layout: &Layout) -> bool {
        !layout.text.contains(&self.elr)
    }

    /// Whether it is a load that the bus or the tables refused.
    pub fn is_refused_read(&self) -> bool {
        let syndrome = Syndrome(self.esr);
        self.kind() == Kind::Synchronous
            && syndrome.class() == Class::DataAbort
            && !syndrome.is_write()
    }
}

#[cfg(target_os = "none")]
pub(super) use hardware::{take_pending_error, try_read32};

#[cfg(target_os = "none")]
mod hardware {
    use aarch64_cpu::registers::{CurrentEL, Readable, SCTLR_EL2};

    use super::*;
    use crate::arch::end;
    use crate::mmio::Hardware;

    core::arch::global_asm!(
        include_str!("exception.S"),
        frame_size = const size_of::<Frame>(),
        handle = sym handle,
    );

    unsafe extern "C" {
        safe fn try_serror() -> u64;
        safe static try_read32_load: u8;
        safe static try_read32_failed: u8;
        safe static try_serror_begin: u8;
        safe static try_serror_end: u8;
        safe static try_serror_taken: u8;
    }

    fn address(symbol: *const u8) -> u64 {
        symbol.addr() as u64
    }

    /// The 32 bits at `address`, if something answers there.
    ///
    /// # Safety
    /// `address` must be a multiple of 4 and reading it harmless, be it memory or nothing.
    pub(in crate::arch) unsafe fn try_read32(address: u64) -> Option<u32> {
        let (value, read): (u64, u64);
        // SAFETY: the read may fault; `handle` then goes on at `try_read32_failed`. It reads no
        // more than 32 bits, by the caller's promise harmlessly.
        unsafe {
            core::arch::asm!(
                "bl try_read32", inout("x0") address => value, out("x1") read,
                clobber_abi("C")
            );
        }
        (read == 1).then_some((value & 0xffff_ffff) as u32)
    }

    /// Drops an SError that the stage before left pending; whether there was one.
    pub(in crate::arch) fn take_pending_error() -> bool {
        try_serror() == 1
    }

    /// Where to go on after an exception that one of the tries provoked.
    fn continuation(frame: &Frame) -> Option<u64> {
        let serror = address(&raw const try_serror_begin)..=address(&raw const try_serror_end);
        if frame.is_refused_read() && frame.elr == address(&raw const try_read32_load) {
            Some(address(&raw const try_read32_failed))
        } else if frame.kind() == Kind::SError && serror.contains(&frame.elr) {
            Some(address(&raw const try_serror_taken))
        } else {
            None
        }
    }

    /// Whether this is EL2, where only the jump into the kernel turns translation off again.
    fn is_translation_off() -> bool {
        CurrentEL.matches_all(CurrentEL::EL::EL2) && !SCTLR_EL2.is_set(SCTLR_EL2::M)
    }

    extern "C" fn handle(frame: &mut Frame) {
        if let Some(continuation) = continuation(frame) {
            frame.elr = continuation;
            return;
        }
        // SAFETY: translation is off or as mmu.rs sets it up; only the UART is touched.
        let bus = unsafe { Hardware::new() };
        let mut out = crate::console::emergency(bus);
        // Nothing else can be told to nobody else.
        let layout = crate::arch::layout::linked();
        let is_kernel = is_translation_off() && frame.is_outside(&layout);
        let stage = if is_kernel { "the kernel" } else { end::stage() };
        let _ = frame.write_report(&mut out, stage, &layout);
        end::end(&mut out)
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::*;
    use crate::arch::layout::tests::example;

    fn frame() -> Frame {
        Frame {
            x: core::array::from_fn(|n| n as u64),
            sp: 0x402c_3f00,
            elr: 0x4020_1234,
            spsr: 0x3c9,
            esr: 0x9600_0047,
            far: 0x4028_3ff8,
            vector: 4,
            depth: 1,
        }
    }

    fn report(frame: &Frame) -> String {
        let mut out = String::new();
        frame.write_report(&mut out, "the loader", &example()).unwrap();
        out
    }

    #[test]
    fn a_report_says_what_where_and_with_which_registers() {
        let text = report(&frame());
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines[..4],
            [
                "firn: [E701] the loader failed: write failed: nothing is mapped there",
                "  address 0x40283ff8: stack overflow: the gap below the stack",
                "  at      0x40201234: its own code",
                "  ESR 0x96000047 FAR 0x0000000040283ff8 SPSR 0x000003c9",
            ]
        );
        assert!(text.contains("  x30 000000000000001e   sp 00000000402c3f00"));
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
    }

    #[test]
    fn a_fault_during_the_report_is_told_shortly() {
        let nested = Frame { depth: 2, ..frame() };
        assert_eq!(report(&nested).lines().count(), 5);
        assert!(report(&nested).ends_with("while reporting another\n"));
    }

    #[test]
    fn an_error_that_arrived_late_names_no_address() {
        let late = Frame { vector: 7, esr: 0xbe00_0011, ..frame() };
        let text = report(&late);
        assert!(text.contains("asynchronous error (SError)\n"), "{text}");
    }

    #[test]
    fn only_a_read_that_was_refused_counts_as_one() {
        assert!(!frame().is_refused_read(), "a write");
        assert!(Frame { esr: 0x9600_0010, ..frame() }.is_refused_read());
        assert!(!Frame { esr: 0x8600_0010, ..frame() }.is_refused_read(), "a fetch");
        assert!(!Frame { esr: 0x9600_0010, vector: 7, ..frame() }.is_refused_read());
    }
}
