//! Reset and power-off: through PSCI where firmware at EL3 answers, else by the watchdog.
//!
//! Source: Arm Power State Coordination Interface (DEN 0022).

use core::cell::Cell;
use core::time::Duration;

use super::single_core::{Late, SingleCore};
use crate::mmio::{Bus, Hardware};
use crate::soc::wdog::{SERVICE_INTERVAL, Watchdog};

/// What the board's firmware can do about power.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    psci: Option<smccc::psci::Version>,
    watchdog: Watchdog,
}

impl Power {
    /// Asks the firmware for its version, unless it is known that there is none: an SMC would then
    /// have nowhere to go.
    pub fn probe(firmware_beneath: bool, watchdog: Watchdog) -> Self {
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
        self.watchdog.fire(bus);
        super::stop()
    }

    /// Powers the board off; returns if nothing here can.
    pub fn off(&self) {
        if self.psci.is_some() {
            let _ = smccc::psci::system_off::<smccc::Smc>();
        }
    }
}

/// A watchdog that runs, and when it is to be served next.
#[derive(Clone, Copy)]
struct Attended {
    bus: Hardware,
    watchdog: Watchdog,
    due: Duration,
}

static ATTENDED: SingleCore<Cell<Late<Attended>>> = SingleCore::new(Cell::new(Late::Absent));

/// If `watchdog` runs, because a stage before or this one started it: from now on it is served with
/// every look at the clock, which each wait and each load takes.
pub fn attend(bus: Hardware, watchdog: Watchdog) {
    if watchdog.is_running(&bus) {
        watchdog.serve(&bus);
        ATTENDED.set(Late::Present(Attended { bus, watchdog, due: Duration::ZERO }));
    }
}

/// Serves the watchdog if it is time.
pub(super) fn tick(now: Duration) {
    let Some(attended) = ATTENDED.get().get() else { return };
    if now >= attended.due {
        attended.watchdog.serve(&attended.bus);
        let due = now.saturating_add(SERVICE_INTERVAL);
        ATTENDED.set(Late::Present(Attended { due, ..attended }));
    }
}
