//! `cargo xtask bench`: what a boot costs, in figures that are the same on every machine.
//!
//! Each case gives named figures ([`figures`]). Those that were accepted are in `bench/budget.toml`, the
//! ones to compare with in `bench/before.toml`, and docs/performance.md shows both ([`report`]): one set of
//! numbers, from which everything else follows.

mod cases;
mod figures;
mod plot;
mod report;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use evk::{
    assets::{self, Assets},
    guest,
    measure::{self, Subject},
};

use crate::{
    build,
    setup::{self, Need},
};
use cases::Case;
use figures::{Figures, Table};

/// Measure boots in the emulated EVK: instructions, bytes and commands on the card's bus,
/// characters on the serial line, and what that would take on the board. docs/performance.md
/// explains the figures.
///
/// Example: `cargo xtask bench --only "FAT, 64 MB" --json`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only the cases whose name holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Fail if a figure is more than 2 % worse than its budget; of the cases only those that `cargo
    /// xtask test` measures, unless --only names others
    #[arg(long)]
    check: bool,
    /// Make what was measured the new budget, and write the tables and the plot of docs/performance.md
    #[arg(long, conflicts_with = "check")]
    accept: bool,
    /// Measure this second stage instead of the one that is built now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "accept"])]
    loader: Option<PathBuf>,
}

/// Sets up, builds, boots each card and prints what it took.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let in_check = arguments.check && arguments.only.is_empty();
    let wanted =
        |case: &Case| case.name.contains(&arguments.only) && (case.is_checked || !in_check);
    let measured = measure(wanted, arguments.loader.as_deref())?;
    if arguments.json {
        println!("{:#}", measured.to_json());
    } else {
        println!("{}", report::plain(&measured));
    }
    if arguments.check {
        println!("{}", judge(&measured)?);
    }
    if arguments.accept {
        let mut budget = read(BUDGET)?;
        budget.accept(measured);
        fs::write(path(BUDGET), budget.to_toml()).context(BUDGET)?;
        write_documents(&budget)?;
    }
    Ok(())
}

/// The step of `cargo xtask test`: some cases against their budgets.
pub(crate) fn check() -> Result<String> {
    judge(&measure(|case| case.is_checked, None)?)
}

/// The accepted figures, and those of before the work on speed, below the root.
const BUDGET: &str = "tools/xtask/src/bench/budget.toml";
const BEFORE: &str = "tools/xtask/src/bench/before.toml";
const DOCUMENT: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

fn path(file: &str) -> PathBuf {
    crate::root().join(file)
}

fn read(file: &str) -> Result<Table> {
    Table::parse(&fs::read_to_string(path(file)).unwrap_or_default()).context(file.to_owned())
}

fn judge(measured: &Table) -> Result<String> {
    let verdict = read(BUDGET)?.judge(measured);
    ensure!(
        verdict.worse.is_empty(),
        "{}\nIf that is what the change is worth: cargo xtask bench --accept, and say so in the commit",
        verdict.worse.join("\n")
    );
    if !verdict.better.is_empty() {
        println!("Better than the budget: {}", verdict.better.join("; "));
        println!("To keep it so: cargo xtask bench --accept");
    }
    Ok(format!("{} figures within 2 % of their budgets", verdict.kept))
}

/// Measures the cases that are wanted.
fn measure(wanted: impl Fn(&Case) -> bool, loader: Option<&std::path::Path>) -> Result<Table> {
    setup::ensure(Need::Boots)?;
    let mut table = Table::default();
    let loader = match loader {
        Some(loader) => loader.to_owned(),
        None => {
            build::firmware()?;
            table.insert("sizes", sizes()?);
            assets::firmware("firn.bin")?
        }
    };
    let assets = Assets::locate()?;
    let folder = assets::tree().join("target/firn");
    let stub_kernel = guest::build(&folder.join("guest"))?.stub_kernel;
    let stamp = guest::build_stamp(&folder.join("stamp"))?;
    table.insert("DRAM bring-up", dram()?);
    for case in cases::all().into_iter().filter(wanted) {
        eprintln!("Measuring: {}", case.name);
        let measured = Subject::make(&assets, &stub_kernel, &case.layout, &folder.join("cards"))
            .and_then(|subject| subject.boot(&assets, &loader, &stamp))
            .with_context(|| case.name.clone())?;
        table.insert(&case.name, figures::of(&measured));
    }
    Ok(table)
}

fn sizes() -> Result<Figures> {
    let size = |name: &str| -> Result<(String, u64)> {
        let file = assets::firmware(name)?;
        let size = fs::metadata(&file).with_context(|| file.display().to_string())?.len();
        Ok((name.to_owned(), size))
    };
    Ok(Figures::from([size("firn.bin")?, size("firn-spl.bin")?]))
}

fn dram() -> Result<Figures> {
    let (stores, loads) = measure::dram_bring_up()?;
    Ok(Figures::from([("stores".into(), stores as u64), ("loads".into(), loads as u64)]))
}

/// Writes what docs/performance.md has of figures.
fn write_documents(budget: &Table) -> Result<()> {
    let before = read(BEFORE)?;
    let document = fs::read_to_string(path(DOCUMENT)).context(DOCUMENT)?;
    let Some(document) = report::put_into(&document, &report::markdown(budget, &before)) else {
        bail!("{DOCUMENT} has lost the marks between which its figures stand");
    };
    fs::write(path(DOCUMENT), document).context(DOCUMENT)?;
    fs::write(path(PLOT), plot::svg(budget, &before)).context(PLOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_show_the_accepted_figures() {
        let (budget, before) = (read(BUDGET).unwrap(), read(BEFORE).unwrap());
        let document = fs::read_to_string(path(DOCUMENT)).unwrap();
        let fresh = report::put_into(&document, &report::markdown(&budget, &before)).unwrap();
        assert!(document == fresh, "cargo xtask bench --accept --only \"(nothing)\" writes it");
        let plot = fs::read_to_string(path(PLOT)).unwrap();
        assert!(plot == plot::svg(&budget, &before), "likewise");
    }

    #[test]
    fn what_the_tests_measure_has_a_budget() {
        let budget = read(BUDGET).unwrap();
        for case in cases::all().into_iter().filter(|case| case.is_checked) {
            assert!(budget.get(&case.name).is_some(), "{}", case.name);
        }
    }
}
