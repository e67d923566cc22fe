//! `firn image inspect`: what a flash.bin or a card holds for the boot ROM.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Result;
use firn::{
    board::BOARD,
    error::Code,
    image::{
        Digest,
        inspect::{Format, Image, PartReport, Problem, survey},
    },
};
use serde_json::{Value, json};

use super::{FileSource, target};
use crate::output::print;

/// List every part of a flash.bin, card image or device, and say what is wrong with it.
///
/// Reads Firn's images and those of U-Boot and NXP. Exit code 1 if something is wrong, or if there
/// is no boot image; dummies of the training firmware are told, but are nothing wrong by themselves.
#[derive(clap::Args)]
#[command(after_help = "Example: firn image inspect flash.bin --json")]
pub(super) struct Arguments {
    /// A flash.bin, a whole card image or a device
    file: PathBuf,
    /// The board that it is for
    #[arg(long, value_name = "NAME", default_value = BOARD.image.board)]
    board: String,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = FileSource::open(&arguments.file)?;
    let images = survey(&source, target(&arguments.board)?);
    if arguments.json {
        print(format!("{:#}\n", to_json(&images)))?;
    } else {
        print(to_table(&images))?;
    }
    if images.is_empty() {
        eprintln!(
            "[E901] {}: no boot image at 0 (flash.bin, eMMC boot partition), 0x1000 (FlexSPI), \
             0x8000 or 0x408000 (card)",
            arguments.file.display()
        );
    }
    let mut problems = images.iter().flat_map(|image| &image.problems);
    let good = !images.is_empty() && problems.all(|p| p.code == Code::DummyTrainingFirmware);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(images: &[Image]) -> Value {
    let part = |part: &PartReport| {
        json!({
            "id": part.id,
            "name": part.text,
            "offset": part.offset,
            "size": part.size,
            "sha256": part.digest.as_ref().map(hexadecimal),
            "load": part.load,
            "entry": part.entry,
            "intact": part.intact,
            "dummy": part.dummy,
        })
    };
    let image = |image: &Image| {
        let problem =
            |problem: &Problem| json!({ "code": problem.code.to_string(), "text": problem.text });
        json!({
            "offset": image.offset,
            "size": image.size,
            "place": image.place.id(),
            "format": image.format.id(),
            "board": image.board,
            "version": image.version,
            "parts": image.parts.iter().map(part).collect::<Vec<_>>(),
            "problems": image.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    };
    json!({ "images": images.iter().map(image).collect::<Vec<_>>() })
}

/// The parts as a user reads them.
pub(super) fn to_table(images: &[Image]) -> String {
    let mut table = String::new();
    for image in images {
        let what = match image.format {
            Format::Firn => "Firn",
            Format::Fit => "first stage with a FIT (U-Boot, NXP)",
            Format::Unknown => "first stage of an unknown kind",
        };
        let version = image.version.as_deref().unwrap_or("of unknown version");
        let board = image.board.as_ref().map(|board| format!(" for {board}")).unwrap_or_default();
        let place = image.place.text();
        let _ = writeln!(
            table,
            "{what} {version}{board}, at {:#x} ({place}), {} bytes",
            image.offset, image.size
        );
        let _ = writeln!(table, "    offset      size   load address  SHA-256           part");
        for part in &image.parts {
            let _ = writeln!(table, "{}", row(part));
        }
        for problem in &image.problems {
            let _ = writeln!(table, "[{}] {}", problem.code, problem.text);
        }
    }
    table
}

fn row(part: &PartReport) -> String {
    let load = part.load.map_or_else(|| "-".to_owned(), |load| format!("{load:#x}"));
    let digest = part.digest.as_ref().map_or_else(|| "-".to_owned(), hexadecimal);
    let verdict = match (part.dummy, part.intact) {
        (_, Some(false)) => " (damaged)",
        (true, _) => " (DUMMY)",
        _ => "",
    };
    let short: String = digest.chars().take(16).collect();
    format!("{:#10x}{:>10}{load:>15}  {short:<16}  {}{verdict}", part.offset, part.size, part.text)
}

fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
