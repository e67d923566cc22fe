//! `firn ddr trace`: every register that the first stage writes to bring memory up.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use evk::{
    access::Store,
    models::ddr::{Fault, bench::Bench, blobs::Blobs},
};
use firn::{
    board::{MEMORIES, MEMORY},
    ddr::{
        self,
        saved::{ADDRESS, Saved, words},
        timing::Timing,
    },
    error::Coded,
};

use super::{file, firmware};

/// Print the register writes of the DRAM bring-up: the firmware's own code on a model of the
/// controller and the PHY. `W ADDRESS VALUE` is a write of 32 bits, `W16` one of 16.
#[derive(clap::Args)]
#[command(after_help = "Example: firn ddr trace --memory lpddr4-4000 | grep -v W16")]
pub(super) struct Arguments {
    /// A memory configuration of the board, or a timing file.
    #[arg(long, value_name = "NAME|FILE", default_value = MEMORY.name)]
    memory: String,
    /// A directory with firmware-imx's training blobs; without it, padded blobs of synthetic bytes.
    #[arg(long, value_name = "DIR")]
    ddr_firmware: Option<PathBuf>,
    /// Let this training run fail, counted from 0.
    #[arg(long, value_name = "RUN")]
    fail: Option<usize>,
    /// Let the training firmware say nothing in this run.
    #[arg(long, value_name = "RUN")]
    silent: Option<usize>,
}

/// What the board's memory of that name, or the timing file, says.
fn timing(memory: &str) -> anyhow::Result<&'static Timing> {
    if let Some(memory) = MEMORIES.iter().find(|candidate| candidate.name == memory) {
        return Ok(memory.timing);
    }
    let path = Path::new(memory);
    if path.extension().is_none_or(|extension| extension != "timing") {
        let names: Vec<&str> = MEMORIES.iter().map(|memory| memory.name).collect();
        bail!("no memory {memory:?}: there is {}, or give a timing file", names.join(", "));
    }
    let file = file::read(path)?;
    file.check().with_context(|| path.display().to_string())?;
    Ok(Box::leak(Box::new(file::tables(&file))))
}

/// Prints the trace; an error of the bring-up comes after the writes that led to it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let timing = timing(&arguments.memory)?;
    let blobs = match &arguments.ddr_firmware {
        Some(directory) => firmware::read(directory)?,
        None => Blobs::padded(),
    };
    let faults: Vec<Fault> = arguments
        .fail
        .map(Fault::Fails)
        .into_iter()
        .chain(arguments.silent.map(Fault::Silent))
        .collect();
    if let Some(run) = arguments.fail.max(arguments.silent)
        && run >= timing.runs.len()
    {
        bail!("there is no training run {run}: the last one is {}", timing.runs.len() - 1);
    }
    let bench = Bench::new(&faults);
    let mut room = vec![0; words(timing)];
    let saved = Saved::new(ADDRESS, &mut room, timing).ok().context("no room for the timing")?;
    let outcome = ddr::bring_up(&bench, &bench, timing, firmware::firmware(&blobs)?, saved);
    print(&bench.take_stores())?;
    match outcome {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let error = ddr::examine(error, &bench, &bench);
            bail!("[{}] {error}", error.code())
        }
    }
}

fn print(stores: &[Store]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = stores.iter().try_for_each(|store| writeln!(out, "{store}"));
    match printed.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}
