//! `firn emulate`: boots a card in the emulated EVK, its serial line on this terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use evk::{
    assets::{self, Assets},
    nixos::DEVICE_TREE,
    qemu::{Entry, Machine, Slot},
    terminal::{self, Ending, HOW_TO_LEAVE},
};

/// Boot a card image in the emulated EVK, the board's serial line on this terminal.
///
/// Example: firn emulate --card nixos.img --memory 3G
///
/// Ends with 0 when the board powered off or you left, with 1 when something went wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Image of the card; its size must be a power of two
    #[arg(long, value_name = "IMG")]
    card: Option<PathBuf>,
    /// The loader, instead of the one that `cargo xtask build` made
    #[arg(long, value_name = "FIRN.BIN")]
    loader: Option<PathBuf>,
    /// Image of a card behind the eMMC's controller
    #[arg(long, value_name = "IMG")]
    emmc: Option<PathBuf>,
    /// The slot that --card is in
    #[arg(long, value_enum, default_value_t = SlotName::Sd)]
    slot: SlotName,
    /// Memory of the board
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    memory: String,
    /// Keep what the board writes to its cards
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SlotName {
    /// The SD slot, uSDHC2
    Sd,
    /// The eMMC's place, uSDHC3
    Emmc,
}

impl From<SlotName> for Slot {
    fn from(name: SlotName) -> Self {
        match name {
            SlotName::Sd => Slot::Sd,
            SlotName::Emmc => Slot::Emmc,
        }
    }
}

/// Boots the board and stays until it powers off or the user leaves.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let machine = machine(arguments)?;
    let mut session = machine.start(&Assets::locate()?)?;
    eprintln!("The emulated board starts. {HOW_TO_LEAVE}");
    match terminal::attach(&mut session)? {
        Ending::Left | Ending::Ended(Some(0)) => Ok(()),
        Ending::Ended(_) => Err(session.failure("the emulated board failed")),
    }
}

fn machine(arguments: &Arguments) -> Result<Machine> {
    let image = match &arguments.loader {
        Some(loader) => loader.clone(),
        None => assets::firmware("firn.bin")?,
    };
    check_file(&image)?;
    let slot = Slot::from(arguments.slot);
    if arguments.emmc.is_some() && arguments.card.is_some() && slot == Slot::Emmc {
        bail!("--emmc and --card --slot emmc are the same slot");
    }
    let cards = [(slot, &arguments.card), (Slot::Emmc, &arguments.emmc)];
    let device_tree = Assets::locate()?.dtbs.join(DEVICE_TREE);
    let entry = Entry::Kernel { image, device_tree, initrd: None, command_line: None };
    let mut machine = Machine::new(entry).memory(&arguments.memory);
    for (slot, card) in cards {
        let Some(card) = card else { continue };
        check_card(card)?;
        machine = match arguments.write {
            true => machine.writable_card(slot, card),
            false => machine.card(slot, card),
        };
    }
    Ok(machine)
}

/// QEMU takes no other sizes, and its own message does not say which file is meant.
fn check_card(card: &Path) -> Result<()> {
    let length = check_file(card)?;
    ensure!(
        length.is_power_of_two(),
        "{} has {length} bytes, which is not a power of two: `truncate -s {}` on a copy of it helps",
        card.display(),
        length.next_power_of_two()
    );
    Ok(())
}

/// The file's size in bytes.
fn check_file(file: &Path) -> Result<u64> {
    let data = file.metadata().with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(data.is_file(), "{} is not a file", file.display());
    Ok(data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(length: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(length).unwrap();
        file
    }

    #[test]
    fn a_card_of_an_impossible_size_is_refused_with_the_size_that_works() {
        let card = file_of(3 << 20);
        let error = check_card(card.path()).unwrap_err().to_string();
        assert!(error.contains("truncate -s 4194304"), "{error}");
        assert!(check_card(file_of(4 << 20).path()).is_ok());
        assert!(check_card(file_of(0).path()).is_err());
    }

    #[test]
    fn a_missing_card_is_named() {
        let error = check_card(Path::new("/no/such/card.img")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/card.img"));
    }
}
