//! The end of an impossible state: it is printed, then the stage ends.

use core::fmt::Write;
use core::panic::PanicInfo;

use crate::error::Code;
use crate::mmio::Hardware;

/// Prints where and why, and ends the stage.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    // SAFETY: translation is off or as mmu.rs sets it up; only the UART is touched.
    let bus = unsafe { Hardware::new() };
    let mut out = crate::console::emergency(bus);
    // Nothing else can be told to nobody else.
    let _ = write!(out, "\nfirn: [{}] {}", Code::Panic, Code::Panic.summary());
    if let Some(place) = info.location() {
        let _ = write!(out, ", at {}:{}", place.file(), place.line());
    }
    let _ = writeln!(out, "\n  {}", info.message());
    super::end::end(&mut out)
}
