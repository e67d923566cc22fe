//! `firn image`: flash.bin, made and looked at.

#[cfg(feature = "host")]
mod build;
#[cfg(feature = "host")]
mod drop_in;
#[cfg(feature = "host")]
mod dummies;
#[cfg(feature = "host")]
mod files;
#[cfg(feature = "host")]
mod firmware;
mod inspect;

use std::{
    fs::File,
    io::{Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, FileTypeExt as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use firn::{
    board::BOARD,
    image::{inspect::Source, target::Target},
};
use rustix::fs::{Advice, fadvise};

/// Build and inspect flash.bin, what the boot ROM starts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    Build(Box<build::Arguments>),
    Inspect(inspect::Arguments),
    #[cfg(feature = "host")]
    DummyDdrFirmware(dummies::Arguments),
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        #[cfg(feature = "host")]
        Command::Build(arguments) => build::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(arguments),
        #[cfg(feature = "host")]
        Command::DummyDdrFirmware(arguments) => dummies::run(arguments).map(|()| ExitCode::SUCCESS),
    }
}

/// The board of this name.
fn target(board: &str) -> Result<&'static Target> {
    let target = BOARD.image;
    ensure!(board == target.board, "no board {board:?}; there is {}", target.board);
    Ok(target)
}

/// A file or device to look at.
pub(crate) struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        // What was written through a partition, or another node, is not in the pages of this one.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let kind = file.metadata().with_context(|| format!("{}", path.display()))?.file_type();
        ensure!(
            kind.is_file() || kind.is_block_device(),
            "{} is neither a file nor a disk",
            path.display()
        );
        // Block devices have no length in their metadata; seeking to the end works for both.
        let size = (&file).seek(SeekFrom::End(0));
        let size = size.with_context(|| format!("cannot read {}", path.display()))?;
        if size == 0 {
            bail!("{} is empty", path.display());
        }
        Ok(Self { file, size })
    }
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, destination: &mut [u8]) -> Result<(), String> {
        self.file.read_exact_at(destination, offset).map_err(|error| error.to_string())
    }
}
