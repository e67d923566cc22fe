//! `firn ddr import`: NXP's DDR tool speaks C and scripts, a board's timing is data.

mod c;
mod condition;
mod script;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use firn::{
    ddr::{self, format::File},
    memory::Size,
};

use super::file;

/// Make a timing file of what NXP's DDR tool generated: C tables (lpddr4_timing.c), or a script
/// (.ds), which has the controller's registers and the order of the data lines but no tables for the
/// PHY and so needs a base for them. With both, the script is checked against the tables.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  firn ddr import lpddr4_timing.c -o board/my-board/ddr/lpddr4-3200.timing
  firn ddr import my-board.ds --base board/my-board/ddr/lpddr4-3200.timing -o other.timing
  firn ddr import lpddr4_timing.c --check board/imx8mp-evk/ddr/lpddr4-4000.timing")]
pub(super) struct Arguments {
    /// C files (.c, .h) and at most one script (.ds, .txt).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A configuration option that the C preprocessor sees as set.
    #[arg(short = 'D', long = "define", value_name = "OPTION")]
    defines: Vec<String>,
    /// The `struct dram_timing_info` to take, where there are several.
    #[arg(long, value_name = "NAME")]
    timing: Option<String>,
    /// A timing file: what is the same there is left out, what is missing is taken from it.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Where to write; standard output without it.
    #[arg(short, long, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Write nothing; say whether this timing file is what the import yields.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Imports, then writes or compares; exit code 1 if the comparison fails.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let base = arguments.base.as_deref().map(file::read).transpose()?;
    let imported = import(arguments, base.as_ref())?;
    imported.check()?;
    for run in imported.runs.iter().flatten() {
        ensure!(ddr::has_clock(run.rate), "there is no clock for {} MT/s", run.rate);
    }
    eprintln!("{}", summary(&imported));
    if let Some(path) = &arguments.check {
        return check(&imported, path);
    }
    let written = match (&arguments.base, &base) {
        (Some(path), Some(base)) => tables::difference(&imported, base, stem(path)),
        _ => imported,
    };
    let text = format!("{}{written}", header(&arguments.files));
    match &arguments.output {
        Some(path) => fs::write(path, text).with_context(|| path.display().to_string())?,
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(arguments: &Arguments, base: Option<&File>) -> anyhow::Result<File> {
    let mut source = c::Source::new(&arguments.defines);
    let mut scripts = Vec::new();
    for path in &arguments.files {
        let read = || fs::read_to_string(path).with_context(|| path.display().to_string());
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("c" | "h") => {
                source.read(&read()?).with_context(|| path.display().to_string())?;
            }
            Some("ds" | "txt") => {
                let script = script::Script::parse(&read()?);
                scripts.push((path, script.with_context(|| path.display().to_string())?));
            }
            _ => bail!("{}: neither C (.c, .h) nor a script (.ds, .txt)", path.display()),
        }
    }
    ensure!(scripts.len() <= 1, "more than one script: give one");
    let tables = if source.is_empty() {
        None
    } else {
        let tables = tables::collect(&source, arguments.timing.as_deref())?;
        Some(base.map_or_else(|| tables.clone(), |base| tables.clone().over(base.clone())))
    };
    match (tables, scripts.pop()) {
        (Some(tables), None) => Ok(tables),
        (Some(tables), Some((path, script))) => {
            script.verify(&tables).with_context(|| path.display().to_string())?;
            Ok(tables)
        }
        (None, Some((path, script))) => {
            let base = base.with_context(|| {
                format!(
                    "{}: a script has no tables for the PHY: give the C file, or a timing file for \
                     the same memory with --base",
                    path.display()
                )
            })?;
            script.apply(base).with_context(|| path.display().to_string())
        }
        (None, None) => bail!("no table in these files"),
    }
}

fn check(imported: &File, path: &Path) -> anyhow::Result<ExitCode> {
    let file = file::read(path)?;
    let differences = tables::compare(imported, &file);
    if differences.is_empty() {
        println!("{}: is what the import yields", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    for difference in differences {
        println!("{}: {difference}", path.display());
    }
    Ok(ExitCode::FAILURE)
}

/// What a user can compare with the data sheet.
fn summary(file: &File) -> String {
    let rates: Vec<String> =
        file.rates.iter().flatten().map(|rate| format!("{rate} MT/s")).collect();
    let rates = rates.join(", ");
    match file::size(file) {
        Some(dram) => format!("LPDDR4: {}, ranks: {}, {rates}", Size(dram.bytes), dram.ranks),
        None => format!("LPDDR4 whose address map makes no sense to the firmware, {rates}"),
    }
}

fn header(files: &[PathBuf]) -> String {
    let names: Vec<_> = files
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy())
        .collect();
    format!("# Written by `firn ddr import` from {}.\n\n", names.join(" and "))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
