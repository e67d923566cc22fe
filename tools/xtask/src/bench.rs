//! `cargo xtask bench`: what a boot costs, in figures that are the same on every machine.

use anyhow::{Context as _, Result};
use evk::{
    assets::{self, Assets},
    guest,
    measure::{Boot, Figures, Sizes, Subject},
    nixos::Timeout,
    packing::{Compression, Packing},
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
    setup::ensure(Need::Boots)?;
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
    let image = std::fs::metadata(&assets.kernel).context("the kernel's size")?.len();
    let mut forms = Vec::new();
    for packing in packings() {
        let name = packing.name();
        if !format!("kernel {name}").contains(&arguments.only) {
            continue;
        }
        eprintln!("Measuring: kernel {name}");
        let subject = Subject::packed(&assets, &stub_kernel, packing, &folder.join("cards"))?;
        let figures = subject.boot(&assets, &loader, None).with_context(|| name.clone())?;
        forms.push(Form { name, figures });
    }
    if arguments.json {
        println!("{:#}", as_json(size, &rows, &forms));
    } else {
        println!("{}\n\n{}", table(size, &rows), forms_table(image, &forms));
    }
    Ok(())
}

/// All forms in which a kernel is found.
fn packings() -> impl Iterator<Item = Packing> {
    let compressed = Compression::ALL.into_iter().map(Packing::Compressed);
    let zboot = [Compression::Gzip, Compression::Zstd, Compression::Xz].map(Packing::Zboot);
    std::iter::once(Packing::Plain).chain(compressed).chain(zboot)
}

/// A boot of Debian's kernel in one form, with an initrd of 26 MB, from ext4.
struct Form {
    name: String,
    figures: Figures,
}

/// What a card's bus brings at most, in bytes a second: 4 bits at 200 MHz, and 8 bits at both edges
/// of 200 MHz, as the board's slots are limited to.
const BUSES: [(&str, f64); 2] = [("SD SDR104", 100e6), ("eMMC HS400", 400e6)];
/// Instructions a second: one a cycle, with the ARM PLL as the first stage sets it. Loops of loads and
/// stores stay below that on a Cortex-A53.
const INSTRUCTIONS: f64 = 1.2e9;

impl Form {
    /// Seconds from the loader's entry to the kernel's, on a bus of so many bytes a second: the card
    /// brings the next piece while the processor works on one.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn seconds(&self, bus: f64) -> f64 {
        let reading = self.figures.traffic.bytes() as f64 / bus;
        let working = self.figures.kernel_entry as f64 / INSTRUCTIONS;
        reading.max(working)
    }
}

/// What decompression costs is what a boot costs more than that of the plain Image, the first.
fn forms_table(image: u64, forms: &[Form]) -> String {
    let plain = forms.first().map_or(0, |form| form.figures.kernel_entry);
    let [sd, emmc] = BUSES.map(|(name, _)| name);
    let mut text = format!(
        "{:<22}{:>14}{:>8}{:>14}{:>6}{:>12}{:>12}\n",
        "kernel", "M instructions", "a byte", "bytes read", "cmds", sd, emmc
    );
    for form in forms {
        let [sd, emmc] = BUSES.map(|(_, rate)| format!("{:.3} s", form.seconds(rate)));
        let Form { name, figures } = form;
        text += &format!(
            "{name:<22}{:>14}{:>8}{:>14}{:>6}{sd:>12}{emmc:>12}\n",
            millions(Some(figures.kernel_entry)),
            per_byte(figures.kernel_entry.saturating_sub(plain), image),
            figures.traffic.bytes(),
            figures.traffic.commands.len(),
        );
    }
    text
}

fn as_json(size: u64, rows: &[(String, Figures)], forms: &[Form]) -> serde_json::Value {
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
    let forms: Vec<_> = forms
        .iter()
        .map(|form| {
            json!({
                "kernel": form.name,
                "instructions_to_kernel": form.figures.kernel_entry,
                "bytes_read": form.figures.traffic.bytes(),
                "commands": form.figures.traffic.commands.len(),
            })
        })
        .collect();
    json!({ "firn_bin_bytes": size, "boots": boots, "kernels": forms })
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn per_byte(instructions: u64, bytes: u64) -> String {
    format!("{:.1}", instructions as f64 / bytes.max(1) as f64)
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
