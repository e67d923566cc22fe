//! `firn image`: flash.bin, made and looked at.

mod build;
mod drop_in;
mod dummies;
mod firmware;
mod inspect;

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, FileTypeExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use firn::{
    board::BOARD,
    error::Coded,
    image::{inspect::Source, target::Target},
};

/// Build and inspect flash.bin, what the boot ROM starts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(Box<build::Arguments>),
    Inspect(inspect::Arguments),
    DummyDdrFirmware(dummies::Arguments),
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Build(arguments) => build::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::DummyDdrFirmware(arguments) => dummies::run(arguments).map(|()| ExitCode::SUCCESS),
    }
}

/// The board of this name.
fn target(board: &str) -> Result<&'static Target> {
    let target = BOARD.image;
    ensure!(board == target.board, "no board {board:?}; there is {}", target.board);
    Ok(target)
}

/// Prints to whoever listens; a pager that was left early is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Reads a file that should be of moderate size.
fn read(path: &Path) -> Result<Vec<u8>> {
    const MAX: u64 = 1 << 30;
    let size = fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    ensure!(size <= MAX, "{} has {size} bytes: not a file for a boot image", path.display());
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file in one step: nobody sees half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An error of the library with its code, and the file that it is about.
fn coded(file: &Path, error: &impl Coded) -> anyhow::Error {
    anyhow::anyhow!("{}: [{}] {error}", file.display(), error.code())
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
