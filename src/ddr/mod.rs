//! DRAM bring-up: from a controller without power to memory that can be used.
//!
//! Pure logic over a register [`Bus`] and a [`Clock`]; no allocation, and every wait has a deadline.
//! The way is a chain of types, so that no step can be left out and only the last one tells where
//! memory is:
//!
//! ```text
//! Reset ── configure ──▶ Configured ── train ──▶ Trained ── start ──▶ Online
//! clocks, power,         the PHY's firmware      PHY and controller   size, check
//! controller, PHY        trains each set point   work together
//! ```
//!
//! [`timing`] holds what differs between boards, [`firmware`] NXP's programs for the PHY. What is
//! found is left for BL31 in [`saved`]. docs/ddr.md says how this compares to other bootloaders.
//!
//! Sources: i.MX 8M Plus reference manual, chapters "DDR Controller" and "DDR PHY"; the order of
//! steps and the values that the manual leaves out are those of U-Boot v2026.10-rc2.

#![forbid(unsafe_code)]

pub mod check;
mod clock;
mod controller;
mod error;
pub mod firmware;
#[cfg(not(target_os = "none"))]
pub mod format;
mod mailbox;
mod phy;
mod ports;
pub mod saved;
mod size;
mod spacing;
pub mod timing;
mod training;

pub use error::{Cause, Error, Evidence, RunName, Step};
pub use mailbox::{Heard, Mail};
pub use size::{Dram, size};
pub use spacing::Spacing;
pub use training::{Finding, Findings, MAX_RUNS, examine};

use crate::{mmio::Bus, time::Clock};

use controller::{Controller, Reset as Resets};
use firmware::Firmware;
use phy::Phy;
use ports::Ports;
use saved::Saved;
use timing::Timing;

/// All stages, one after the other. May be tried again after an error: it begins with resets.
///
/// # Errors
/// The first step that failed; nothing is written after it.
pub fn bring_up<'a, B: Bus, C: Clock>(
    bus: &'a B,
    clock: &'a C,
    timing: &'a Timing,
    firmware: Firmware<'a>,
    saved: Saved<'a>,
) -> Result<Online<'a, B, C>, Error> {
    Reset::new(bus, clock, timing, firmware).configure()?.train(saved)?.start()
}

/// Whether memory can be clocked for `rate` MT/s.
pub const fn has_clock(rate: u16) -> bool {
    clock::source(rate).is_some()
}

/// Nothing is known of the hardware's state.
pub struct Reset<'a, B, C> {
    ports: Ports<'a, B, C>,
    timing: &'a Timing,
    firmware: Firmware<'a>,
}

/// Controller and PHY have the board's values.
pub struct Configured<'a, B, C> {
    ports: Ports<'a, B, C>,
    timing: &'a Timing,
    firmware: Firmware<'a>,
}

/// The PHY knows the memory.
pub struct Trained<'a, B, C> {
    ports: Ports<'a, B, C>,
    timing: &'a Timing,
    saved: Saved<'a>,
    findings: Findings,
}

/// Memory can be used.
pub struct Online<'a, B, C> {
    ports: Ports<'a, B, C>,
    findings: Findings,
    dram: Dram,
}

impl<'a, B: Bus, C: Clock> Reset<'a, B, C> {
    /// For a board with memory of this `timing`.
    pub const fn new(bus: &'a B, clock: &'a C, timing: &'a Timing, firmware: Firmware<'a>) -> Self {
        Self { ports: Ports { bus, clock }, timing, firmware }
    }

    /// Resets, powers and clocks the memory subsystem and writes the board's values.
    ///
    /// # Errors
    /// If the PLL does not lock or the controller does not answer.
    pub fn configure(self) -> Result<Configured<'a, B, C>, Error> {
        let Self { ports, timing, firmware } = self;
        let controller = Controller(ports);
        controller.reset(Resets::AllAtFirst);
        controller.reset(Resets::All);
        clock::power_up(ports);
        let first_rate = timing.runs.first().map_or(0, |run| run.rate);
        clock::set(ports, first_rate).map_err(|cause| Error::at(Step::Clock, cause))?;
        controller.reset(Resets::CoreAndPhy);
        controller.configure(timing.controller);
        controller.reset(Resets::Phy);
        controller.reset(Resets::None);
        controller.stand_back().map_err(|cause| Error::at(Step::StandBack, cause))?;
        Phy(ports).apply(timing.phy);
        Ok(Configured { ports, timing, firmware })
    }
}

impl<'a, B: Bus, C: Clock> Configured<'a, B, C> {
    /// Trains all set points and keeps what was found in `saved`.
    ///
    /// # Errors
    /// If the firmware cannot be loaded, reports failure or stops answering.
    pub fn train(self, mut saved: Saved<'a>) -> Result<Trained<'a, B, C>, Error> {
        let Self { ports, timing, firmware } = self;
        let phy = Phy(ports);
        let findings = training::train(ports, timing, &firmware)?;
        phy.apply(timing.pie);
        phy.capture(timing.captured, |index, value| saved.keep(timing, index, value));
        phy.await_calibration().map_err(|cause| Error::at(Step::Calibrate, cause))?;
        Ok(Trained { ports, timing, saved, findings })
    }
}

impl<'a, B: Bus, C: Clock> Trained<'a, B, C> {
    /// Starts PHY and controller, fills memory that is protected by codes, and completes the saved
    /// timing.
    ///
    /// # Errors
    /// If PHY or controller do not answer.
    pub fn start(self) -> Result<Online<'a, B, C>, Error> {
        let Self { ports, timing, mut saved, findings } = self;
        let controller = Controller(ports);
        let at = |step| move |cause| Error::at(step, cause);
        controller.start_phy(findings.spacings()).map_err(at(Step::StartPhy))?;
        controller.take_over().map_err(at(Step::TakeOver))?;
        for range in timing.scrub {
            controller.fill(*range).map_err(at(Step::Fill))?;
        }
        if let Some(range) = timing.background_scrub {
            controller.check_for_ever(range).map_err(at(Step::Fill))?;
        }
        controller.save_power();
        saved.complete(timing);
        let dram = size(ports.bus).ok_or(Error::at(Step::Size, Cause::NoSize))?;
        Ok(Online { ports, findings, dram })
    }
}

impl<B: Bus, C: Clock> Online<'_, B, C> {
    /// How much memory there is, and where.
    pub const fn dram(&self) -> Dram {
        self.dram
    }

    /// What training found out.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// A quick look at the memory; see [`check`].
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self, cells: &impl check::Cells) -> Result<(), check::Fault> {
        check::check(self.dram, cells, self.ports.bus)
    }
}
