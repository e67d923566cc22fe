//! Reset and power-off: through PSCI where firmware at EL3 answers, else by the watchdog.
//!
//! Sources: Arm PSCI (DEN 0022); watchdog registers: i.MX 8M Plus reference manual, WDOG.

use crate::mmio::Bus;

/// Offset of the watchdog's control register, 16 bits wide.
const WCR: u32 = 0;
/// Watchdog enable.
const WCR_WDE: u16 = 1 << 2;
/// Clear asserts the SoC's reset at once; so does clear [`WCR_WDA`] with the board's, by its pin.
const WCR_SRS: u16 = 1 << 4;
/// See [`WCR_SRS`].
const WCR_WDA: u16 = 1 << 5;

/// Fires the watchdog at `base`: first its pin, which on boards that wire it makes the PMIC cycle
/// the supplies, then the SoC's own reset. Three writes each, since the watchdog's clock is so slow
/// that one can be lost.
pub fn fire_watchdog(bus: &impl Bus, base: u32) {
    for value in [WCR_WDE | WCR_SRS, WCR_WDE | WCR_WDA] {
        for _ in 0..3 {
            bus.write16(base + WCR, value);
        }
    }
}

/// What the board's firmware can do about power.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Power {
    psci: Option<smccc::psci::Version>,
    watchdog: u32,
}

#[cfg(target_os = "none")]
impl Power {
    /// Asks the firmware for its version, unless it is known that there is none: an SMC would then
    /// have nowhere to go. `watchdog`: base of the one to reset with.
    pub fn probe(firmware_beneath: bool, watchdog: u32) -> Self {
        let psci = firmware_beneath.then(|| smccc::psci::version::<smccc::Smc>().ok()).flatten();
        Self { psci, watchdog }
    }

    /// PSCI's version, major and minor.
    pub fn psci_version(&self) -> Option<(u16, u16)> {
        self.psci.map(|version| (version.major, version.minor))
    }

    /// Resets the board.
    pub fn reset(&self, bus: &impl Bus) -> ! {
        if self.psci.is_some() {
            // Returns only if the firmware refuses.
            let _ = smccc::psci::system_reset::<smccc::Smc>();
        }
        fire_watchdog(bus, self.watchdog);
        super::stop()
    }

    /// Powers the board off; returns if nothing here can.
    pub fn off(&self) {
        if self.psci.is_some() {
            let _ = smccc::psci::system_off::<smccc::Smc>();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::vec::Vec;

    use super::*;

    struct Recorder(RefCell<Vec<(u32, u16)>>);

    impl Bus for Recorder {
        fn read16(&self, _: u32) -> u16 {
            0
        }
        fn write16(&self, address: u32, value: u16) {
            self.0.borrow_mut().push((address, value));
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
        let bus = Recorder(RefCell::default());
        fire_watchdog(&bus, 0x3028_0000);
        let written = bus.0.into_inner();
        assert_eq!(written[0], (0x3028_0000, 0x14));
        assert_eq!(written[5], (0x3028_0000, 0x24));
    }
}
