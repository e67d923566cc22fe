//! `cargo xtask bench`: what a boot costs, in figures that are the same on every machine.

use anyhow::{Context as _, Result};
use evk::{
    assets::{self, Assets},
    guest,
    measure::{Boot, Figures, Sizes, Subject},
    nixos::Timeout,
};
use serde_json::json;

use crate::{
    build,
    setup::{self, Need},
};

/// Measure boots in the emulated EVK: instructions, bytes and commands on the card's bus,
/// characters on the serial line. docs/performance.md explains the figures.
///
/// Example: `cargo xtask bench --json`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only the cases whose name holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// One kind of card.
struct Case {
    boot: Boot,
    timeout: Timeout,
    sizes: Sizes,
}

/// All combinations of where /boot is, with and without a menu, and file sizes.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for sizes in [Sizes::REAL, Sizes::SMALL] {
        for timeout in [Timeout::Seconds(0), Timeout::Never] {
            for boot in [Boot::Fat, Boot::Ext4] {
                cases.push(Case { boot, timeout, sizes });
            }
        }
    }
    cases
}

impl Case {
    fn name(&self) -> String {
        let boot = match self.boot {
            Boot::Fat => "FAT",
            Boot::Ext4 => "ext4",
        };
        let menu = if self.timeout == Timeout::Seconds(0) { "at once" } else { "menu" };
        let sizes = if self.sizes == Sizes::REAL { "64 MB" } else { "0.1 MB" };
        format!("{boot}, {sizes}, {menu}")
    }
}

/// Sets up, builds, boots each card and prints what it took.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(Need::Everything)?;
    build::firmware()?;
    let assets = Assets::locate()?;
    let loader = assets::firmware("firn.bin")?;
    let size = std::fs::metadata(&loader).context("the loader's size")?.len();
    let folder = assets::tree().join("target/firn");
    let stub_kernel = guest::build(&folder.join("guest"))?.stub_kernel;
    let stamp = guest::build_stamp(&folder.join("stamp"))?;
    let mut rows = Vec::new();
    for case in cases() {
        let name = case.name();
        if !name.contains(&arguments.only) {
            continue;
        }
        eprintln!("Measuring: {name}");
        let Case { boot, timeout, sizes } = case;
        let cards = folder.join("cards");
        let subject = Subject::make(&assets, &stub_kernel, boot, sizes, timeout, &cards)?;
        let figures = subject.boot(&assets, &loader, Some(&stamp));
        rows.push((name.clone(), figures.with_context(|| name)?));
    }
    if arguments.json {
        println!("{:#}", as_json(size, &rows));
    } else {
        println!("{}", table(size, &rows));
    }
    Ok(())
}

fn as_json(size: u64, rows: &[(String, Figures)]) -> serde_json::Value {
    let boots: Vec<_> = rows
        .iter()
        .map(|(name, figures)| {
            json!({
                "card": name,
                "instructions_to_menu": figures.menu,
                "instructions_after_choice": figures.after_choice(),
                "instructions_to_kernel": figures.to_kernel(),
                "bytes_needed": figures.needed,
                "bytes_read": figures.traffic.bytes(),
                "read_commands": figures.traffic.read_commands(),
                "commands": figures.traffic.commands.len(),
                "characters": figures.characters,
            })
        })
        .collect();
    json!({ "firn_bin_bytes": size, "boots": boots })
}

/// Millions of instructions first: they are what waits for the kernel.
fn table(size: u64, rows: &[(String, Figures)]) -> String {
    let mut text = format!(
        "{:<22}{:>10}{:>10}{:>10}{:>12}{:>8}{:>7}{:>7}{:>7}\n",
        "M instructions:",
        "to menu",
        "choice to",
        "entry to",
        "bytes read",
        "read/",
        "read",
        "all",
        "UART"
    );
    text += &format!(
        "{:<22}{:>10}{:>10}{:>10}{:>12}{:>8}{:>7}{:>7}{:>7}\n",
        "", "", "kernel", "kernel", "", "needed", "cmds", "cmds", "chars"
    );
    for (name, figures) in rows {
        text += &format!(
            "{name:<22}{:>10}{:>10}{:>10}{:>12}{:>8.4}{:>7}{:>7}{:>7}\n",
            millions(figures.menu),
            millions(figures.after_choice()),
            millions(figures.to_kernel()),
            figures.traffic.bytes(),
            figures.bytes_per_byte(),
            figures.traffic.read_commands(),
            figures.traffic.commands.len(),
            figures.characters
        );
    }
    text + &format!("firn.bin: {size} bytes")
}

#[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
fn millions(instructions: Option<u64>) -> String {
    instructions.map_or_else(|| "-".to_owned(), |count| format!("{:.3}", count as f64 / 1e6))
}
