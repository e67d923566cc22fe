//! `firn image dummy-ddr-firmware`: stand-ins for NXP's training firmware.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use firn::{board::BOARD, image::training};

use super::files::write;

/// Write dummies of the DRAM training firmware: for the emulator and for tests.
///
/// Each begins with a text that says what it is. They train nothing on a real board, and `firn image
/// build` takes them only with --dummy-ddr-firmware.
#[derive(clap::Args)]
#[command(after_help = "Example: firn image dummy-ddr-firmware dummies --padded")]
pub(super) struct Arguments {
    /// Where to write the four files; created if it is not there
    directory: PathBuf,
    /// Fill the files up to the size of the memory that they are copied to, as imx-mkimage does
    #[arg(long)]
    padded: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let release = BOARD.image.training_release;
    for kind in training::KINDS {
        let mut bytes = training::dummy(kind, release);
        if arguments.padded {
            bytes = training::padded(kind, &bytes);
        }
        let path = directory.join(format!("{}{release}.bin", training::file_stem(kind)));
        write(&path, &bytes)?;
        println!("{}", path.display());
    }
    Ok(())
}
