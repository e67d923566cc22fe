//! The two places of a device that hold a boot image, what is there, and which one the boot ROM starts.

use std::path::Path;

use anyhow::Result;
use firn::{
    board::BOARD,
    error::Code,
    image::inspect::{Image, Place, Source as _, survey},
    soc::boot_rom,
};

use super::{
    plan::{Slot, State, Step, for_card, for_emmc},
    verdict,
};
use crate::{
    image::FileSource,
    write::{
        copy::Copy, destination::Destination, emmc::Emmc, gap, payload::Payload, system::System,
    },
};

/// Where the two copies lie.
pub(super) enum Ground<'a> {
    /// In the gap in front of a card's first partition.
    Card { system: &'a System, destination: Destination },
    /// In an eMMC's two boot partitions.
    EmmcBoot { emmc: Emmc<'a>, destination: Destination },
}

impl<'a> Ground<'a> {
    /// What `device` has: a card, an image of one, or an eMMC.
    pub(super) fn find(system: &'a System, device: &Path, emmc_boot: bool) -> Result<Self> {
        let destination = Destination::find(system, device)?;
        Ok(if emmc_boot {
            Self::EmmcBoot { emmc: Emmc::find(system, &destination)?, destination }
        } else {
            Self::Card { system, destination }
        })
    }

    pub(super) fn destination(&self) -> &Destination {
        match self {
            Self::Card { destination, .. } | Self::EmmcBoot { destination, .. } => destination,
        }
    }

    /// What a user calls a copy.
    pub(super) fn name(&self, slot: Slot) -> String {
        match self {
            Self::EmmcBoot { emmc, .. } => emmc.name(slot.partition()),
            Self::Card { destination, .. } => {
                format!("the {} copy on {}", which(slot), destination.name())
            }
        }
    }

    /// Looks at both copies.
    pub(super) fn look(&self) -> Result<Copies> {
        match self {
            Self::Card { destination, .. } => {
                let images = on_card(destination.path())?;
                Ok(Copies { images, named: Some(Slot::One), others: Vec::new() })
            }
            Self::EmmcBoot { emmc, destination } => {
                let mut images = [None, None];
                for slot in Slot::BOTH {
                    let source = FileSource::open(&emmc.path(slot.partition()))?;
                    let mut found = survey(&source, BOARD.image).into_iter();
                    images[slot as usize] = found.find(|image| image.place == Place::Start);
                }
                let named = emmc.active()?.map(Slot::of_partition);
                // Where no boot partition is named, the user area is what is started now.
                let others = match named {
                    None => on_card(destination.path())?.into_iter().flatten().collect(),
                    Some(_) => Vec::new(),
                };
                Ok(Copies { images, named, others })
            }
        }
    }

    /// Refuses a payload that both places cannot take.
    pub(super) fn check_room(&self, payload: &Payload) -> Result<()> {
        match self {
            Self::EmmcBoot { emmc, .. } => {
                Slot::BOTH.into_iter().try_for_each(|slot| emmc.check(slot.partition(), payload))
            }
            Self::Card { destination, .. } => {
                for slot in Slot::BOTH {
                    check_gap(destination, slot, payload)?;
                }
                Ok(())
            }
        }
    }

    /// What has to be done so that the board starts `payload`.
    pub(super) fn plan(&self, copies: &Copies, payload: &Payload) -> Result<Vec<Step>> {
        let mut states = [State::Bad; 2];
        for slot in Slot::BOTH {
            states[slot as usize] = match copies.intact(slot) {
                true if self.holds(slot, payload)? => State::New,
                true => State::Intact,
                false => State::Bad,
            };
        }
        Ok(match self {
            Self::Card { .. } => for_card(states),
            Self::EmmcBoot { .. } => for_emmc(copies.named, states),
        })
    }

    /// Whether a copy is the payload, byte by byte.
    fn holds(&self, slot: Slot, payload: &Payload) -> Result<bool> {
        const CHUNK: usize = 1 << 16;
        let (source, start) = match self {
            Self::Card { destination, .. } => (FileSource::open(destination.path())?, offset(slot)),
            Self::EmmcBoot { emmc, .. } => (FileSource::open(&emmc.path(slot.partition()))?, 0),
        };
        let size = payload.size();
        if start + size > source.size() {
            return Ok(false);
        }
        for at in (0..size).step_by(CHUNK) {
            let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            let (mut found, mut wanted) = (vec![0; length], vec![0; length]);
            payload.read_at(at, &mut wanted)?;
            let read = source.read_at(start + at, &mut found);
            // What cannot be read is written anew.
            if read.is_err() || found != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does one step; it is on the medium when this returns.
    pub(super) fn take(&self, step: Step, payload: &Payload) -> Result<()> {
        match (self, step) {
            (Self::EmmcBoot { emmc, .. }, Step::Write(slot)) => emmc.put(slot.partition(), payload),
            (Self::EmmcBoot { emmc, .. }, Step::Switch(slot)) => emmc.switch_to(slot.partition()),
            (Self::Card { system, destination }, Step::Write(slot)) => {
                let file = destination.open(system, true)?;
                let (offset, name) = (offset(slot), destination.name());
                Copy { payload, file: &*file, offset, name }.run()
            }
            // The ROM's order on a card is fixed; no plan asks for another one.
            (Self::Card { .. }, Step::Switch(_)) => Ok(()),
        }
    }
}

/// What two places hold.
pub(super) struct Copies {
    pub(super) images: [Option<Image>; 2],
    /// Which one the ROM tries first; none if it starts neither.
    pub(super) named: Option<Slot>,
    /// What it starts instead.
    pub(super) others: Vec<Image>,
}

impl Copies {
    pub(super) fn image(&self, slot: Slot) -> Option<&Image> {
        self.images[slot as usize].as_ref()
    }

    /// Whether the board can start from this copy.
    pub(super) fn intact(&self, slot: Slot) -> bool {
        self.image(slot).is_some_and(is_intact)
    }

    /// What a user reads of what is started now.
    pub(super) fn started_version(&self) -> String {
        let started = self.started().and_then(|slot| self.image(slot));
        let image = started.or(self.others.first());
        image.map_or_else(|| "no firmware".to_owned(), verdict::version)
    }

    /// The one that the ROM starts: without a head there is nothing for it.
    pub(super) fn started(&self) -> Option<Slot> {
        let named = self.named?;
        [named, named.other()].into_iter().find(|slot| self.image(*slot).is_some())
    }
}

/// Whether nothing is wrong with an image. Dummies do their work where there is one to do: in the
/// emulator.
pub(super) fn is_intact(image: &Image) -> bool {
    image.problems.iter().all(|problem| problem.code == Code::DummyTrainingFirmware)
}

/// What a card, or an eMMC's user area, has.
pub(super) fn on_card(device: &Path) -> Result<[Option<Image>; 2]> {
    let mut images = [None, None];
    for image in survey(&FileSource::open(device)?, BOARD.image) {
        match image.place {
            Place::Card => images[0] = Some(image),
            Place::CardSecondary => images[1] = Some(image),
            Place::Start | Place::FlexSpi => {}
        }
    }
    Ok(images)
}

/// Where a card has it.
pub(super) fn offset(slot: Slot) -> u64 {
    match slot {
        Slot::One => boot_rom::CARD_OFFSET,
        Slot::Two => boot_rom::SECONDARY_CARD_OFFSET,
    }
}

pub(super) fn which(slot: Slot) -> &'static str {
    match slot {
        Slot::One => "primary",
        Slot::Two => "secondary",
    }
}

fn check_gap(destination: &Destination, slot: Slot, payload: &Payload) -> Result<()> {
    let range = offset(slot)..offset(slot) + payload.size();
    let fits = range.end <= destination.size();
    let free = match fits {
        true => gap::check(destination.path(), range),
        false => Err(anyhow::anyhow!("{} ends before that", destination.name())),
    };
    free.map_err(|error| {
        error.context(format!(
            "there is no room for {}, without which nothing could be started if the power failed \
             now (`firn write --in-use` replaces a single copy at that risk)",
            match slot {
                Slot::One => "a primary copy",
                Slot::Two => "a secondary copy",
            }
        ))
    })
}
