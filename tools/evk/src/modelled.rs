//! A card behind a modelled controller, for what QEMU's own controller cannot do: errors on the bus,
//! sectors that the card itself reports as bad, a card that is swapped, power that goes within a write.

use std::{
    fs::OpenOptions,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};

use crate::{
    gdb::Bus,
    models::usdhc::{
        self, Card, Emmc, EmmcKind, Fault, Image, Incident, Rules, SdCard, SdKind, Storage,
        Weakness,
    },
    qemu::Slot,
};

/// A card and what happens to it. What is written to it goes to its file.
#[derive(Clone, Debug)]
pub struct ModelledCard {
    /// The slot that it is in.
    pub slot: Slot,
    /// What is on it: whole units of 512 KiB.
    pub image: PathBuf,
    /// What goes wrong at one command each, counted from 0.
    pub faults: Vec<(usize, Fault)>,
    /// What is wrong with it for good.
    pub weakness: Weakness,
    /// At this command somebody has put another card in its place, or none.
    pub swap: Option<(usize, Option<PathBuf>)>,
    /// The power goes when so many blocks have been written.
    pub power_cut: Option<usize>,
    /// Set when it has.
    pub power_is_cut: Arc<AtomicBool>,
    /// How many commands there were.
    pub commands: Arc<AtomicUsize>,
}

impl ModelledCard {
    /// A sound one.
    pub fn new(slot: Slot, image: impl Into<PathBuf>) -> Self {
        Self {
            slot,
            image: image.into(),
            faults: Vec::new(),
            weakness: Weakness::default(),
            swap: None,
            power_cut: None,
            power_is_cut: Arc::default(),
            commands: Arc::default(),
        }
    }

    /// Puts it on `bus`. What the firmware does wrong is written to `rules`.
    ///
    /// # Errors
    /// Names a file that cannot be opened.
    pub(crate) fn attach(&self, bus: Bus, rules: &Rules) -> Result<Bus> {
        let mut incidents: Vec<Incident> = self
            .faults
            .iter()
            .map(|(command, fault)| Incident::Wire { command: *command, fault: *fault })
            .collect();
        if let Some((command, other)) = &self.swap {
            let card = match other {
                Some(image) => Some(self.card(image.clone())?),
                None => None,
            };
            incidents.push(Incident::Swap { command: *command, card });
        }
        let card = self.card(self.image.clone())?;
        let commands = Arc::clone(&self.commands);
        Ok(usdhc::attach_with(bus, self.slot, card, rules, incidents, commands))
    }

    fn card(&self, image: PathBuf) -> Result<Box<dyn Card>> {
        let open = || -> io::Result<_> {
            let file = OpenOptions::new().read(true).write(true).open(&image)?;
            let blocks = file.metadata()?.len() / 512;
            Ok((file, blocks))
        };
        let (file, blocks) = open().with_context(|| image.display().to_string())?;
        let storage = Powered {
            image: Image::new(file, true),
            left: self.power_cut,
            is_cut: Arc::clone(&self.power_is_cut),
        };
        let weakness = self.weakness;
        Ok(match self.slot {
            // Without UHS-I: its change of voltage is undone by the slot's power switch, which QEMU has.
            Slot::Sd => Box::new(
                SdCard::new(SdKind::HighCapacity, blocks)
                    .with_storage(storage)
                    .with_weakness(weakness),
            ),
            Slot::Emmc => Box::new(
                Emmc::new(EmmcKind::EnhancedStrobe, blocks)
                    .with_storage(storage)
                    .with_boot(0, Image::default())
                    .with_boot(1, Image::default())
                    .with_weakness(weakness),
            ),
        })
    }
}

/// Keeps what is written as long as there is power.
struct Powered {
    image: Image,
    left: Option<usize>,
    is_cut: Arc<AtomicBool>,
}

impl Storage for Powered {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        self.image.read(block, bytes);
    }

    fn write(&mut self, block: u64, bytes: &[u8; 512]) -> io::Result<()> {
        match &mut self.left {
            Some(0) => {
                self.is_cut.store(true, Ordering::Release);
                return Ok(());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.image.write(block, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_power_has_gone_nothing_is_kept_any_more() {
        let is_cut = Arc::<AtomicBool>::default();
        let image = Image::default();
        let mut storage = Powered { image, left: Some(1), is_cut: Arc::clone(&is_cut) };
        storage.write(0, &[1; 512]).unwrap();
        assert!(!is_cut.load(Ordering::Acquire));
        storage.write(1, &[2; 512]).unwrap();
        let mut read = [0xff; 512];
        storage.read(0, &mut read);
        assert_eq!(read, [1; 512]);
        storage.read(1, &mut read);
        assert_eq!((read, is_cut.load(Ordering::Acquire)), ([0; 512], true));
    }
}
