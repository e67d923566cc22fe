//! Training: firmware on the PHY's microcontroller tries delays and voltages until the memory
//! answers reliably, once for each set point.

use core::time::Duration;

use crate::{mmio::Bus, time};

use super::{
    clock,
    error::{Cause, Error, Evidence, RunName, Step},
    firmware::Firmware,
    mailbox::{Heard, Mailbox},
    phy::Phy,
    ports::Ports,
    spacing::Spacing,
    timing::{Kind, Run, Timing},
};

/// Training runs at most: a 1D and a 2D run for each of the controller's four set points.
pub const MAX_RUNS: usize = 8;

/// What was found out, beside what stays in the PHY.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    runs: [Option<Finding>; MAX_RUNS],
    spacings: [Spacing; MAX_RUNS],
    set_points: usize,
}

/// What a run found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which run.
    pub run: RunName,
    /// How long it took, with loading the firmware.
    pub time: Duration,
    /// What the firmware said.
    pub heard: Heard,
    /// What the firmware left behind. Failed ranks in a run that passed are not an error: the
    /// firmware has the last word, and memory is tried afterwards.
    pub evidence: Evidence,
}

impl Findings {
    /// Each run's.
    pub fn runs(&self) -> impl Iterator<Item = &Finding> {
        self.runs.iter().flatten()
    }

    /// Rank-to-rank differences of each set point: of the 1D runs, in order.
    pub fn spacings(&self) -> &[Spacing] {
        self.spacings.get(..self.set_points).unwrap_or_default()
    }

    fn add(&mut self, finding: Finding, spacing: Option<Spacing>) {
        if let Some(place) = self.runs.get_mut(finding.run.index) {
            *place = Some(finding);
        }
        if let (Some(spacing), Some(place)) = (spacing, self.spacings.get_mut(self.set_points)) {
            *place = spacing;
            self.set_points += 1;
        }
    }
}

/// Does all runs. Firmware is loaded when its kind changes, as mainline U-Boot does; NXP's U-Boot
/// and barebox load it before each run.
pub(super) fn train<B: Bus, C: time::Clock>(
    ports: Ports<'_, B, C>,
    timing: &Timing,
    firmware: &Firmware<'_>,
) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    let mut loaded = None;
    for (index, run) in timing.runs.iter().enumerate() {
        let name = RunName { index, rate: run.rate, kind: run.kind };
        let start = ports.clock.now();
        let mut heard = Heard::default();
        let outcome = prepare(ports, run, firmware, &mut loaded)
            .and_then(|()| execute(ports, run, &mut heard));
        let (evidence, spacing) = outcome.map_err(|error| error.in_run(name, heard))?;
        let time = ports.clock.now().saturating_sub(start);
        findings.add(Finding { run: name, time, heard, evidence }, spacing);
    }
    Ok(findings)
}

/// Clock, firmware and message block.
fn prepare<B: Bus, C: time::Clock>(
    ports: Ports<'_, B, C>,
    run: &Run,
    firmware: &Firmware<'_>,
    loaded: &mut Option<Kind>,
) -> Result<(), Error> {
    let phy = Phy(ports);
    clock::set(ports, run.rate).map_err(|cause| Error::at(Step::RunClock, cause))?;
    phy.open();
    if *loaded != Some(run.kind) {
        let load = firmware.image(run.kind).load(&ports);
        load.map_err(|cause| Error::at(Step::Load, cause))?;
        *loaded = Some(run.kind);
    }
    phy.apply(run.message);
    Ok(())
}

/// From the firmware's start to its results. Nothing is written after a failure, so that its state
/// can be [looked at](examine).
fn execute<B: Bus, C: time::Clock>(
    ports: Ports<'_, B, C>,
    run: &Run,
    heard: &mut Heard,
) -> Result<(Evidence, Option<Spacing>), Error> {
    let phy = Phy(ports);
    phy.start_firmware();
    let mut mailbox = Mailbox::new(ports);
    let end: Result<(), Cause> = mailbox.await_end();
    *heard = mailbox.heard;
    end.map_err(|cause| Error::at(Step::Train, cause))?;
    phy.halt_firmware();
    phy.open();
    let evidence = evidence(&phy);
    let spacing = (run.kind == Kind::OneD).then(|| phy.spacing());
    phy.close();
    Ok((evidence, spacing))
}

fn evidence<B: Bus, C: time::Clock>(phy: &Phy<'_, B, C>) -> Evidence {
    let (revision, failed_ranks) = phy.verdict();
    Evidence { revision, failed_ranks }
}

/// Adds what the firmware left behind to an error of a run: stops it, where it is, and reads its
/// message block. Not part of the bring-up, which ends with the error.
#[must_use]
pub fn examine<B: Bus, C: time::Clock>(error: Error, bus: &B, clock: &C) -> Error {
    if error.step != Step::Train {
        return error;
    }
    let phy = Phy(Ports { bus, clock });
    phy.halt_firmware();
    phy.open();
    let evidence = evidence(&phy);
    phy.close();
    Error { evidence: Some(evidence), ..error }
}
