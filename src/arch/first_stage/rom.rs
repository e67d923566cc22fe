//! The boot ROM's services, called where the ROM says they are.
//!
//! Sources: U-Boot `arch/arm/mach-imx/romapi.c` and `arch/arm/include/asm/mach-imx/sys_proto.h` (the
//! table, the check word, the answer, what a call destroys).

use core::ptr;

use crate::soc::boot_rom::{BootRom, Question, RomFailure, SERVICES};

/// The table of services has a header, then 64-bit pointers.
const DOWNLOAD_IMAGE: u64 = SERVICES as u64 + 8;
const QUERY_BOOT_INFOR: u64 = SERVICES as u64 + 16;
/// Where the ROM ends.
const ROM_END: u64 = 0x4_0000;
/// A service that did what it was asked answers this.
const DONE: u32 = 0xf0;

/// The boot ROM of the running chip.
#[derive(Debug)]
pub struct Rom(());

impl Rom {
    /// # Safety
    /// Runs at EL3 with translation and data caches off whenever a service is called, and what the
    /// ROM keeps below its entry address of the first stage is as the ROM left it.
    pub(super) const unsafe fn new() -> Self {
        Self(())
    }

    /// Where a service is, if the table makes sense: a jump to anything else would never come back.
    fn service(&self, pointer: u64) -> Result<u64, RomFailure> {
        let service: u64;
        // SAFETY: reads 64 bits of the ROM (which reads as zeros where there is none), by `new`'s
        // contract without translation; assembly, because a reference so near to 0 would not do.
        unsafe {
            core::arch::asm!(
                "ldr {0}, [{1}]", out(reg) service, in(reg) pointer,
                options(nostack, preserves_flags, readonly)
            );
        }
        let plausible = service != 0 && service.is_multiple_of(4) && service < ROM_END;
        if plausible { Ok(service) } else { Err(RomFailure::Absent) }
    }

    /// Calls a service with its arguments and their check word. `arguments` has room for both.
    ///
    /// # Safety
    /// Addresses among the arguments must be of memory that the service may write to.
    unsafe fn call(&self, service: u64, arguments: &[u32]) -> Result<(), RomFailure> {
        let check = arguments.iter().fold(0, |check, argument| check ^ argument);
        let argument = |index: usize| arguments.get(index).copied().unwrap_or(check);
        let answer: u32;
        // SAFETY: `service` lies in the ROM. A service follows the procedure call standard but for
        // x18, which `clobber_abi` counts as lost; what it writes to the caller answers for.
        unsafe {
            core::arch::asm!(
                "blr {service}",
                "dsb sy",
                service = in(reg) service,
                inlateout("x0") argument(0) => answer,
                in("x1") argument(1),
                in("x2") argument(2),
                in("x3") argument(3),
                clobber_abi("C"),
            );
        }
        if answer == DONE { Ok(()) } else { Err(RomFailure::Refused(answer)) }
    }
}

impl BootRom for Rom {
    fn query(&self, question: Question) -> Result<u32, RomFailure> {
        let service = self.service(QUERY_BOOT_INFOR)?;
        let mut answer = 0_u32;
        let place = address(&raw mut answer)?;
        // SAFETY: the service writes 32 bits to `answer`.
        unsafe { self.call(service, &[question as u32, place])? };
        // SAFETY: a local variable. Volatile, because the compiler sees nobody write to it.
        Ok(unsafe { ptr::read_volatile(&raw const answer) })
    }

    fn download(&self, destination: &mut [u8], offset: u32) -> Result<(), RomFailure> {
        let service = self.service(DOWNLOAD_IMAGE)?;
        let Ok(length) = u32::try_from(destination.len()) else { return Err(RomFailure::Absent) };
        let place = address(destination.as_mut_ptr())?;
        // SAFETY: the service writes `length` bytes to `destination`.
        unsafe { self.call(service, &[place, offset, length]) }
    }
}

/// The address that a service is told, which has 32 bits.
fn address<T>(pointer: *mut T) -> Result<u32, RomFailure> {
    u32::try_from(pointer.expose_provenance()).map_err(|_| RomFailure::Absent)
}
