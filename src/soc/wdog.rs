//! The watchdog: resets the board when told to, or when nobody attends to it.
//!
//! Source: i.MX 8M Plus reference manual, "Watchdog Timer (WDOG)". Its registers are 16 bits wide
//! and answer to no other width.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::mmio::Bus;

/// How often a running watchdog is served: half of the shortest time that it can be set to.
pub const SERVICE_INTERVAL: Duration = Duration::from_millis(250);

/// Control register.
const WCR: u32 = 0;
/// Watchdog enable; cannot be cleared.
const WCR_WDE: u16 = 1 << 2;
/// Clear asserts the SoC's reset at once.
const WCR_SRS: u16 = 1 << 4;
/// Clear asserts the watchdog's pin at once.
const WCR_WDA: u16 = 1 << 5;
/// Service register: these two, in this order, start the time anew.
const WSR: u32 = 2;
const SERVICE: [u16; 2] = [0x5555, 0xaaaa];

/// Reset status register.
const WRSR: u32 = 4;
/// Miscellaneous control register.
const WMCR: u32 = 8;
/// All that the control register says besides the time: enabled, asserts its pin on time-out,
/// stands still in low power and under a debugger, resets nothing now.
const WCR_RUN: u16 = 0x3f;
/// The unit of its time, in milliseconds; it is set to one less, in bits 15:8.
const STEP_MS: u64 = 500;

/// All watchdogs of the SoC.
const ALL: [Watchdog; 3] = [Watchdog(0x3028_0000), Watchdog(0x3029_0000), Watchdog(0x302a_0000)];

/// Stops the counters that assert each watchdog's pin 16 s after a reset.
pub fn stop_power_down_counters(bus: &impl Bus) {
    ALL.iter().for_each(|watchdog| bus.write16(watchdog.0 + WMCR, 0));
}

/// One watchdog, by its base address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog(pub u32);

impl Watchdog {
    /// Whether a stage before started it.
    pub fn is_running(self, bus: &impl Bus) -> bool {
        bus.read16(self.0 + WCR) & WCR_WDE != 0
    }

    /// Starts it: it resets the board unless it is served within `time`, rounded up to half a
    /// second, at most 128 s. It can't be stopped any more. One write, because parts of the register
    /// can be written only once.
    pub fn start(self, bus: &impl Bus, time: Duration) {
        // In 64 bits: the first stage has no room for a division of 128.
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let steps = milliseconds.div_ceil(STEP_MS).clamp(1, 256) - 1;
        let steps = u16::try_from(steps).unwrap_or(u16::from(u8::MAX));
        bus.write16(self.0 + WCR, steps << 8 | WCR_RUN);
        self.serve(bus);
    }

    /// Why it reset the board last (WRSR).
    pub fn reset_status(self, bus: &impl Bus) -> u16 {
        bus.read16(self.0 + WRSR)
    }

    /// Starts its time anew.
    pub fn serve(self, bus: &impl Bus) {
        SERVICE.iter().for_each(|&value| bus.write16(self.0 + WSR, value));
    }

    /// Resets: first by the pin, which on boards that wire it makes the PMIC cycle the supplies, then
    /// by the SoC's own reset. Three writes each, since the watchdog's clock is so slow that one can
    /// be lost.
    pub fn fire(self, bus: &impl Bus) {
        for value in [WCR_WDE | WCR_SRS, WCR_WDE | WCR_WDA] {
            for _ in 0..3 {
                bus.write16(self.0 + WCR, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::vec::Vec;

    use super::*;

    const BASE: u32 = 0x3028_0000;

    struct Recorder {
        control: u16,
        written: RefCell<Vec<(u32, u16)>>,
    }

    impl Recorder {
        fn new(control: u16) -> Self {
            Self { control, written: RefCell::default() }
        }
    }

    impl Bus for Recorder {
        fn read16(&self, address: u32) -> u16 {
            assert_eq!(address, BASE);
            self.control
        }
        fn write16(&self, address: u32, value: u16) {
            self.written.borrow_mut().push((address - BASE, value));
        }
        fn read32(&self, _: u32) -> u32 {
            panic!("the watchdog answers 16-bit accesses only")
        }
        fn write32(&self, _: u32, _: u32) {
            panic!("the watchdog answers 16-bit accesses only")
        }
    }

    #[test]
    fn the_pin_is_asserted_before_the_socs_own_reset() {
        let bus = Recorder::new(0);
        Watchdog(BASE).fire(&bus);
        let written = bus.written.into_inner();
        assert_eq!((written[0], written[5]), ((WCR, 0x14), (WCR, 0x24)));
    }

    #[test]
    fn service_is_the_two_words_in_their_order() {
        let bus = Recorder::new(0);
        Watchdog(BASE).serve(&bus);
        assert_eq!(bus.written.into_inner(), [(2, 0x5555), (2, 0xaaaa)]);
    }

    #[test]
    fn starting_is_one_write_of_the_time_in_half_seconds() {
        for (milliseconds, control) in [
            (60_000, 0x773f),
            (10_000, 0x133f),
            (501, 0x013f),
            (1, 0x003f),
            (0, 0x003f),
            (u64::MAX, 0xff3f),
        ] {
            let bus = Recorder::new(0);
            Watchdog(BASE).start(&bus, Duration::from_millis(milliseconds));
            let written = bus.written.into_inner();
            assert_eq!(
                written,
                [(WCR, control), (WSR, 0x5555), (WSR, 0xaaaa)],
                "{milliseconds} ms"
            );
        }
    }

    #[test]
    fn a_watchdog_that_u_boot_left_is_seen() {
        assert!(Watchdog(BASE).is_running(&Recorder::new(0x773f)));
        assert!(!Watchdog(BASE).is_running(&Recorder::new(0x0030)));
    }
}
