//! `firn firmware status`: which boot images a device has, and which one the boot ROM starts.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use firn::image::inspect::{Image, Problem};
use serde_json::{Value, json};

use super::{
    ground::{Copies, Ground, is_intact, offset, which},
    plan::Slot,
    verdict,
};
use crate::write::system::System;

/// What a device has.
pub(super) struct Status {
    device: String,
    description: String,
    /// The version of the loader that has booted this system, if it is this system's device.
    running: Option<String>,
    copies: Vec<Copy>,
    /// Why it is not known which one is started.
    doubt: Option<String>,
}

/// A place for a boot image, and what is there.
struct Copy {
    name: String,
    offset: u64,
    image: Option<Image>,
    started: bool,
}

impl Status {
    /// Looks at `device`: a card, an image of one, or an eMMC with its boot partitions.
    pub(super) fn look(system: &System, device: &Path, running: Option<String>) -> Result<Self> {
        let card = Ground::find(system, device, false)?;
        let mut status = Self {
            device: card.destination().name(),
            description: card.destination().description().to_owned(),
            running,
            copies: Vec::new(),
            doubt: None,
        };
        let mut user_area_is_started = true;
        let mut partitions = Vec::new();
        if let Ok(emmc) = Ground::find(system, device, true) {
            match emmc.look() {
                Ok(copies) => {
                    user_area_is_started = copies.named.is_none();
                    partitions = rows(copies, |slot| (emmc.name(slot), 0));
                }
                Err(error) => {
                    user_area_is_started = false;
                    status.doubt = Some(format!("{error:#}"));
                }
            }
        }
        let mut copies = card.look()?;
        if !user_area_is_started {
            copies.named = None;
        }
        status.copies = rows(copies, |slot| (which(slot).to_owned(), offset(slot)));
        status.copies.extend(partitions);
        Ok(status)
    }

    /// Whether what the ROM starts is intact.
    pub(super) fn is_good(&self) -> bool {
        let mut started = self.copies.iter().filter(|copy| copy.started);
        started.any(|copy| copy.image.as_ref().is_some_and(is_intact))
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("device        {} ({})\n", self.device, self.description);
        // A string takes everything.
        if let Some(running) = &self.running {
            let _ = writeln!(text, "running       Firn {running}");
        }
        for Copy { name, image, started, .. } in &self.copies {
            let what = image.as_ref().map_or_else(|| "nothing".to_owned(), described);
            let started = if *started { "; the boot ROM starts it" } else { "" };
            let _ = writeln!(text, "{name:<13} {what}{started}");
            for Problem { code, text: problem } in image.iter().flat_map(|image| &image.problems) {
                let _ = writeln!(text, "              [{code}] {problem}");
            }
        }
        if let Some(doubt) = &self.doubt {
            let _ = writeln!(text, "which one the boot ROM starts is not known: {doubt}");
        } else if !self.copies.iter().any(|copy| copy.started) {
            let _ = writeln!(text, "the boot ROM finds nothing to start");
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let copy = |copy: &Copy| {
            let image = copy.image.as_ref();
            let problem = |problem: &Problem| json!({ "code": problem.code.to_string(), "text": problem.text });
            json!({
                "name": copy.name,
                "offset": copy.offset,
                "format": image.map(|image| image.format.id()),
                "version": image.and_then(|image| image.version.as_deref()),
                "board": image.and_then(|image| image.board.as_deref()),
                "intact": image.map(is_intact),
                "started": copy.started,
                "problems": image.map(|image| image.problems.iter().map(problem).collect::<Vec<_>>()),
            })
        };
        json!({
            "device": self.device,
            "running": self.running,
            "copies": self.copies.iter().map(copy).collect::<Vec<_>>(),
            "doubt": self.doubt,
        })
    }
}

/// Both copies of a place, each with its name and its offset there.
fn rows(copies: Copies, place: impl Fn(Slot) -> (String, u64)) -> Vec<Copy> {
    let started = copies.started();
    let of = |(slot, image)| {
        let (name, offset) = place(slot);
        Copy { name, offset, image, started: started == Some(slot) }
    };
    Slot::BOTH.into_iter().zip(copies.images).map(of).collect()
}

fn described(image: &Image) -> String {
    let damaged = if is_intact(image) { "" } else { ", damaged" };
    format!("{}{damaged}", verdict::version(image))
}
