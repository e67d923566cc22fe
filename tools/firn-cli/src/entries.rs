//! `firn entries`: what the loader's menu would list, found by the loader's own code.

use std::{cell::RefCell, fmt::Write, path::PathBuf, process::ExitCode, rc::Rc};

use anyhow::Context;
use firn::{
    block::{SharedDevice, cache::Cache},
    boot::Catalogue,
    nixos::Generation,
};
use serde_json::{Value, json};

use crate::file_device::FileDevice;

/// List what the loader's menu would list on a card image or device; exit code 1 if nothing.
#[derive(clap::Args)]
#[command(after_help = "Example: firn entries card.img --json")]
pub(crate) struct Arguments {
    /// A card image or a block device.
    card: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Lists the entries; exit code 1 if there is none.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let device = FileDevice::open(&arguments.card)
        .with_context(|| format!("{}: cannot be opened as a card", arguments.card.display()))?;
    let device: SharedDevice = Rc::new(RefCell::new(Cache::new(device)));
    let mut catalogue = Catalogue::survey(&device);
    catalogue.read_all();
    for problem in &catalogue.problems {
        eprintln!("{problem}");
    }
    if arguments.json {
        println!("{}", to_json(&catalogue));
    } else {
        print!("{}", to_table(&catalogue));
    }
    Ok(if catalogue.generations.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn to_json(catalogue: &Catalogue) -> Value {
    let volume = |index| catalogue.volumes.get(catalogue.volume_of(index)?);
    let entry = |(index, generation): (usize, &Generation)| {
        json!({
            "id": generation.id,
            "source": generation.source.to_string(),
            "number": generation.number,
            "profile": generation.profile,
            "specialisation": generation.specialisation,
            "label": generation.title,
            "date": generation.date,
            "version": generation.version,
            "kernelVersion": generation.kernel_version,
            "default": generation.default,
            "broken": generation.broken.as_ref().map(ToString::to_string),
            "volume": volume(index).map(|volume| &volume.name),
            "kernel": generation.files.kernel,
            "initrds": generation.files.initrds,
            "commandLine": generation.files.command_line,
        })
    };
    let entries = catalogue.generations.iter().enumerate().map(entry);
    json!({ "entries": entries.collect::<Vec<_>>() })
}

fn to_table(catalogue: &Catalogue) -> String {
    let mut table = String::new();
    for generation in &catalogue.generations {
        let number = generation.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let default = if generation.default { '*' } else { ' ' };
        let _ = writeln!(table, "{default}{number:>5}  {}", generation.title);
        let _ = writeln!(table, "        {}", generation.id);
        if let Some(broken) = &generation.broken {
            let _ = writeln!(table, "        broken: [{}] {broken}", broken.code);
        }
    }
    table
}
