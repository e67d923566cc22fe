//! `firn entries`: what the loader's menu would list, found by the loader's own code.

pub(crate) mod directory;

use std::{
    cell::RefCell,
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

use anyhow::Context;
use firn::{
    block::{self, BlockDevice, SharedDevice, cache::Cache},
    boot::{Catalogue, Ground, Listing, Store, Volume},
    error::Coded,
    nixos::{DeviceTreeFile, Generation},
    state::Record,
};
use serde_json::{Value, json};

use self::directory::Directory;
use crate::{file_device::FileDevice, output::print};

/// List what the loader's menu would list; exit code 1 if nothing.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  firn entries card.img --json\n  firn entries /mnt")]
pub(crate) struct Arguments {
    /// A card image, a block device, or the directory where a root file system is mounted.
    card: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Lists the entries; exit code 1 if there is none.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Card { mut catalogue, store } = Card::open(&arguments.card)?;
    catalogue.read_all();
    let decision = Ground::new(store.as_ref(), None).decide(&mut catalogue);
    for problem in &catalogue.problems {
        eprintln!("{}", printable(&problem.to_string()));
    }
    for reason in decision.iter().flat_map(|decision| &decision.reasons) {
        eprintln!("[{}] {}", reason.code(), printable(&reason.to_string()));
    }
    let listed = listed(&catalogue, store.as_ref(), decision.map(|decision| decision.index));
    let output = match arguments.json {
        true => format!("{}\n", to_json(&listed)),
        false => printable(&to_table(&listed)),
    };
    print(&output)?;
    Ok(if listed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Names on a card must not send escape sequences to somebody's terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(shown).collect()
}

/// What the loader would find.
struct Card {
    catalogue: Catalogue,
    /// A mounted file system is no card.
    store: Option<Store>,
}

impl Card {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            let name = path.display().to_string();
            let file_system = Box::new(Directory::new(path));
            let catalogue = Catalogue::of_volumes(vec![Volume { name, file_system }]);
            return Ok(Self { catalogue, store: None });
        }
        let device = FileDevice::open(path)
            .with_context(|| format!("{}: cannot be opened as a card", path.display()))?;
        let device: SharedDevice = Rc::new(RefCell::new(Cache::new(InTheSlot(device))));
        let store = Store::open(&device, None);
        Ok(Self { catalogue: Catalogue::survey(&device), store: Some(store) })
    }
}

/// A card as the loader sees it, which will be able to write to it; nothing is written here.
struct InTheSlot(FileDevice);

impl BlockDevice for InTheSlot {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn block_count(&self) -> u64 {
        self.0.block_count()
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        self.0.read(first_block, destination)
    }

    fn is_writable(&self) -> bool {
        true
    }
}

/// A row of the menu.
struct Entry<'a> {
    generation: &'a Generation,
    volume: Option<&'a str>,
}

/// The rows of the menu.
fn listed<'a>(
    catalogue: &'a Catalogue,
    store: Option<&Store>,
    default: Option<usize>,
) -> Vec<Entry<'a>> {
    let limit = catalogue.settings(default).list_limit;
    let nothing = Record::default();
    let record = store.map_or(&nothing, Store::record);
    let entry = |index| Entry {
        generation: &catalogue.generations[index],
        volume: catalogue.volume_of(index).map(|volume| catalogue.volumes[volume].name.as_str()),
    };
    Listing::new(catalogue, record, limit).indices.into_iter().map(entry).collect()
}

fn to_json(entries: &[Entry<'_>]) -> Value {
    let entry = |&Entry { generation, volume }: &Entry<'_>| {
        let files = &generation.files;
        let device_tree = match &files.device_tree {
            DeviceTreeFile::FromFirmware => None,
            DeviceTreeFile::File(path) | DeviceTreeFile::Directory(path) => Some(path),
        };
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
            "code": generation.broken.as_ref().map(|broken| broken.code.to_string()),
            "tries": generation.tries,
            "volume": volume,
            "kernel": files.kernel,
            "initrds": files.initrds,
            "deviceTree": device_tree,
            "deviceTreeOverlays": files.overlays,
            "commandLine": files.command_line,
        })
    };
    json!({ "entries": entries.iter().map(entry).collect::<Vec<_>>() })
}

fn to_table(entries: &[Entry<'_>]) -> String {
    let mut table = String::new();
    for Entry { generation, volume } in entries {
        let number = generation.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let default = if generation.default { '*' } else { ' ' };
        let _ = writeln!(table, "{default}{number:>5}  {}", generation.title);
        let volume = volume.unwrap_or_default();
        let _ = writeln!(table, "        {} on {volume}: {}", generation.source, generation.id);
        if let Some(broken) = &generation.broken {
            let _ = writeln!(table, "        broken: [{}] {broken}", broken.code);
        }
    }
    table
}
