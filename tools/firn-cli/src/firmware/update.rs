//! `firn firmware update`: one copy after the other, and never the last good one.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use firn::image::{container::PartKind, inspect::Image};

use super::{
    ground::{Copies, Ground, is_intact},
    plan::{Slot, Step},
    verdict::{self, Objection, objections},
};
use crate::{
    state::Lock,
    write::{ask, emmc, payload::Payload, system::System},
};

/// What is wanted.
pub(super) struct Update<'a> {
    pub(super) image: &'a Path,
    pub(super) device: &'a Path,
    /// Whether the board starts from an eMMC's boot partitions.
    pub(super) emmc_boot: bool,
    /// Dummies of the training firmware go to a device, too.
    pub(super) dummies: bool,
}

/// An update that may be done.
pub(super) struct Prepared<'a> {
    ground: Ground<'a>,
    payload: Payload,
    /// What a user reads of the new version, and of the one that is started now.
    versions: [String; 2],
    steps: Vec<Step>,
    /// What speaks against it.
    objections: Vec<Objection>,
}

impl Update<'_> {
    /// Looks at everything, writes nothing.
    pub(super) fn prepare<'a>(&self, system: &'a System) -> Result<Prepared<'a>> {
        let payload = Payload::open(self.image)?;
        let new = payload.flash()?;
        check_is_firmware(&payload, new)?;
        let ground = Ground::find(system, self.device, self.emmc_boot)?;
        let destination = ground.destination();
        ensure!(
            !payload.is_at(destination.path()),
            "{} cannot be written to itself",
            payload.name()
        );
        if destination.is_device() && !self.dummies {
            payload.check_is_real()?;
        }
        if !self.emmc_boot {
            emmc::check_starts_user_area(system, destination)?;
        }
        let copies = ground.look()?;
        let steps = ground.plan(&copies, &payload)?;
        let objections = match steps[..] {
            [] => Vec::new(),
            _ => speak_against(&ground, &copies, new),
        };
        if !steps.is_empty() {
            ground.check_room(&payload)?;
        }
        let versions = [verdict::version(new), copies.started_version()];
        Ok(Prepared { ground, payload, versions, steps, objections })
    }
}

/// Every image that would be replaced, or not be started any more.
fn speak_against(ground: &Ground<'_>, copies: &Copies, new: &Image) -> Vec<Objection> {
    let device = ground.destination().name();
    let names = Slot::BOTH.map(|slot| ground.name(slot));
    let own = names
        .iter()
        .zip(&copies.images)
        .filter_map(|(name, image)| Some((&name[..], image.as_ref()?)));
    let others = copies.others.iter().map(|image| (&device[..], image));
    let there: Vec<_> =
        own.chain(others).map(|(name, image)| (name, image, is_intact(image))).collect();
    objections(new, &there, &device)
}

/// Refuses what would start, but not what is on the card.
fn check_is_firmware(payload: &Payload, new: &Image) -> Result<()> {
    ensure!(
        !new.parts.iter().any(|part| part.id == PartKind::Kernel.id()),
        "{} is a recovery image, which would start its own kernel at each boot; it is for USB",
        payload.name()
    );
    Ok(())
}

impl Prepared<'_> {
    /// What has to be forced.
    pub(super) fn objections(&self) -> &[Objection] {
        &self.objections
    }

    /// Whether there is nothing to do.
    pub(super) fn is_current(&self) -> bool {
        self.steps.is_empty()
    }

    /// What a user calls the device.
    pub(super) fn device(&self) -> String {
        self.ground.destination().name()
    }

    /// What a user reads of the new version.
    pub(super) fn version(&self) -> &str {
        &self.versions[0]
    }

    /// What a user reads of what is started now.
    pub(super) fn old_version(&self) -> String {
        self.versions[1].clone()
    }

    /// What would be done, a line each.
    pub(super) fn steps(&self) -> Vec<String> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Write(slot) => format!(
                    "write {} to {}, read it back and compare it",
                    self.version(),
                    self.ground.name(*slot)
                ),
                Step::Switch(slot) => {
                    format!("have the boot ROM start {} from now on", self.ground.name(*slot))
                }
            })
            .collect()
    }

    /// Asks before a device is written to.
    pub(super) fn confirm(&self, yes: bool) -> Result<()> {
        let destination = self.ground.destination();
        if yes || !destination.is_device() {
            return Ok(());
        }
        let list = self.steps().join("; then ");
        ask(&format!("{} ({}): {list}", destination.name(), destination.description()))
    }

    /// Does it. Nobody else changes the device meanwhile.
    pub(super) fn run(self) -> Result<()> {
        let Self { ground, payload, steps, .. } = self;
        let _lock = Lock::take(ground.destination().path())?;
        if ground.plan(&ground.look()?, &payload)? != steps {
            bail!(
                "somebody else has changed the firmware of {} meanwhile; nothing was written, try again",
                ground.destination().name()
            );
        }
        steps.into_iter().try_for_each(|step| ground.take(step, &payload))
    }
}
