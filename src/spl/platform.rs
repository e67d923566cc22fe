//! What the first stage does to the SoC around the DRAM bring-up, as steps for it to call.
//!
//! In this order: the counter ([`counter::start`](crate::soc::counter::start), without which no
//! deadline passes), the console, [`set_up_soc`], [`before_dram`], DRAM, [`after_dram`]. Each is the
//! board's data ([`FirstStage`]) carried out by the blocks and drivers, so all of it runs on the
//! host. An error of any of them need not end a boot: what is left is slower, or at the voltages that
//! the PMIC starts with.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::{
    board::FirstStage,
    driver::{
        i2c::{self, I2c},
        pca9450,
    },
    mmio::{Bus, ByteBus},
    soc::{
        analog::Unlocked,
        clocks, gpc, ocotp, snvs, tzasc,
        wdog::{self, Watchdog},
    },
    time::Clock,
};

/// Why the PMIC was not set up.
pub type PmicError = pca9450::Error<i2c::Error>;

/// Clocks, then what would otherwise reset the board or draw power for nothing.
pub fn set_up_soc(bus: &impl Bus, clock: &impl Clock, board: &FirstStage) -> Result<(), Unlocked> {
    let outcome = clocks::set_up(bus, clock, board.clocks);
    wdog::stop_power_down_counters(bus);
    if ocotp::is_dual_core(bus) {
        gpc::power_down_absent_cores(bus);
    }
    snvs::set_up(bus);
    outcome
}

/// The filter in front of DRAM, and the supplies. The result is why the PMIC switched them on.
pub fn before_dram(
    bus: &impl ByteBus,
    clock: &impl Clock,
    board: &FirstStage,
) -> Result<u8, PmicError> {
    tzasc::open(bus);
    let mut i2c = I2c::new(bus, clock, &board.pmic_bus);
    board.pmic_pads.iter().for_each(|pad| pad.apply(bus));
    pca9450::set_up(&mut i2c, &board.pmic)
}

/// Clocks that need the voltages of [`before_dram`]: only after its success.
pub fn after_dram(bus: &impl Bus, clock: &impl Clock, board: &FirstStage) -> Result<(), Unlocked> {
    clocks::set_up(bus, clock, board.fast_clocks)
}

/// Gives the board `time` until it is reset: for a stage that has nothing left to try, or a kernel that has
/// to prove itself.
pub fn reset_after(bus: &impl Bus, board: &FirstStage, watchdog: Watchdog, time: Duration) {
    board.watchdog_pads.iter().for_each(|pad| pad.apply(bus));
    watchdog.start(bus, time);
}
