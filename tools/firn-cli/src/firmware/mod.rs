//! `firn firmware`: the boot image that the board starts from, its version, and how it is replaced.
//!
//! An update relies on `write` for what happens within one copy (head last, read back), and takes care of
//! what happens between copies: an intact one that the boot ROM finds remains at any time. docs/firmware-update.md
//! tells what each power cut leaves.

mod ground;
mod here;
mod plan;
mod status;
mod update;
mod verdict;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

use crate::{output::print, state::Account, write::system::System};
use here::Here;
use status::Status;
use update::{Prepared, Update};
use verdict::Objection;

/// Show or update the firmware, the boot image (flash.bin) that the board starts from.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  firn firmware status                         the card that this system was booted from
  firn firmware update flash.bin               replace its copies one after the other
  firn firmware update flash.bin --dry-run     tell what would be done
  firn firmware update flash.bin --device /dev/mmcblk2 --emmc-boot")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    operation: Operation,
    /// Where the running system's /dev, /proc, /run and /sys are
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Operation {
    /// Tell which copies there are, their versions, and which one the boot ROM starts
    ///
    /// Exit code 1 if that one is damaged, or there is none.
    Status(OfStatus),
    /// Replace the firmware by a newer one
    ///
    /// A card gets it twice: the copy that is not needed first. An eMMC's boot partitions take turns: the one
    /// that is not in use is written and then switched to. Everything is read back and compared, and an intact
    /// copy that the boot ROM finds remains at any time, so that the power may fail. What is there already is
    /// not written again.
    Update(OfUpdate),
}

#[derive(clap::Args)]
struct OfStatus {
    /// A card, an eMMC or an image of a card; if it is left out, the card that this system was booted from
    #[arg(long)]
    device: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct OfUpdate {
    /// The new flash.bin
    #[arg(value_name = "FLASH.BIN")]
    image: PathBuf,
    /// A card, an eMMC or an image of a card; if it is left out, the card that this system was booted from
    #[arg(long)]
    device: Option<PathBuf>,
    /// Update an eMMC's boot partitions. Needs mmc-utils
    #[arg(long)]
    emmc_boot: bool,
    /// Go back to an older version, or replace what is not known, such as U-Boot
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Write an image with dummies of the training firmware to a device all the same
    #[arg(long)]
    dummy_ddr_firmware: bool,
}

/// What a configuration says of the firmware.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// The configuration's flash.bin.
    pub(crate) image: PathBuf,
    /// The device that the board starts from; the card that the system was booted from if there is none.
    pub(crate) device: Option<PathBuf>,
    /// Whether it starts from an eMMC's boot partitions.
    pub(crate) emmc_boot: bool,
    /// Whether the device is brought to the configuration's version.
    pub(crate) auto_update: bool,
}

/// Does what was asked for; exit code 1 if what the boot ROM starts is not intact.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let system = System::below(&arguments.root);
    let mut output = String::new();
    let code = answer(arguments, &system, &mut output);
    print(output)?;
    code
}

/// Like [`run`], with the answer in `output`.
fn answer(arguments: &Arguments, system: &System, output: &mut String) -> Result<ExitCode> {
    let root = &arguments.root;
    match &arguments.operation {
        Operation::Status(words) => status(words, root, system, output),
        Operation::Update(words) => update(words, root, system, output).map(|()| ExitCode::SUCCESS),
    }
}

fn status(words: &OfStatus, root: &Path, system: &System, output: &mut String) -> Result<ExitCode> {
    let (device, running) = match &words.device {
        Some(device) => (device.clone(), None),
        None => {
            let account = account(root)?;
            (booted_from(&account, root)?, Some(account.version))
        }
    };
    let status = Status::look(system, &device, running)?;
    output.push_str(&match words.json {
        true => format!("{:#}\n", status.to_json()),
        false => status.to_text(),
    });
    Ok(if status.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn update(words: &OfUpdate, root: &Path, system: &System, output: &mut String) -> Result<()> {
    let device = match &words.device {
        Some(device) => device.clone(),
        None => booted_from(&account(root)?, root)?,
    };
    let OfUpdate { image, emmc_boot, dummy_ddr_firmware: dummies, .. } = words;
    let update = Update { image, device: &device, emmc_boot: *emmc_boot, dummies: *dummies };
    let prepared = update.prepare(system)?;
    if prepared.is_current() {
        output.push_str(&format!("{} has this firmware already\n", prepared.device()));
        return Ok(());
    }
    let objections = prepared.objections();
    ensure!(
        words.force || objections.is_empty(),
        "{}; --force does it all the same",
        listed(objections)
    );
    if words.dry_run {
        prepared.steps().iter().for_each(|step| output.push_str(&format!("would {step}\n")));
        return Ok(());
    }
    prepared.confirm(words.yes)?;
    prepared.run()?;
    output.push_str("the new firmware starts with the next reset\n");
    Ok(())
}

/// What the loader says of the system that runs.
fn account(root: &Path) -> Result<Account> {
    let account = Account::find(root)?;
    account.context("this system was not booted by Firn: name a device with --device")
}

/// The card that the loader has booted this system from.
fn booted_from(account: &Account, root: &Path) -> Result<PathBuf> {
    ensure!(here::is_board(root)?, "{}: name a device with --device", here::Elsewhere::OtherBoard);
    let card = account.card(root)?;
    card.context(
        "the loader does not say which card this system was booted from: name it with --device",
    )
}

fn listed(objections: &[Objection]) -> String {
    let texts: Vec<_> = objections.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The last step of an installation below `root`: tells which firmware the card has and which one the
/// configuration, and updates it if that is wanted. Only on the board itself; elsewhere it says so.
///
/// # Errors
/// An update that had begun was not finished: what the boot ROM finds is intact, but old. What is in the way of
/// one is told, and is no reason for an installation to fail.
pub(crate) fn after_install(settings: &Settings, root: &Path) -> Result<()> {
    let mut output = String::new();
    let done = conclude(settings, root, &System::below(root), &mut output);
    print(output)?;
    done
}

/// Like [`after_install`], with what is told in `output`.
fn conclude(settings: &Settings, root: &Path, system: &System, output: &mut String) -> Result<()> {
    let mut tell = |line: String| output.push_str(&format!("firn: firmware: {line}\n"));
    let here = match Here::look(root) {
        Ok(Ok(here)) => here,
        Ok(Err(elsewhere)) => {
            tell(format!("left alone: {elsewhere}"));
            return Ok(());
        }
        Err(error) => {
            tell(format!("left alone: {error:#}"));
            return Ok(());
        }
    };
    let prepared = match prepare(settings, root, &here, system) {
        Ok(prepared) => prepared,
        Err(error) => {
            tell(format!("left alone: {error:#}"));
            return Ok(());
        }
    };
    let (device, new) = (prepared.device(), prepared.version().to_owned());
    if prepared.is_current() {
        tell(format!("{device} has this configuration's, {new}"));
        return Ok(());
    }
    let command = command(settings, &device);
    let old = prepared.old_version();
    if !settings.auto_update {
        tell(format!("{device} has {old}, this configuration {new}; `{command}` writes it"));
        return Ok(());
    }
    if !prepared.objections().is_empty() {
        let why = listed(prepared.objections());
        tell(format!("{device} keeps {old}: {why}; `{command} --force` writes it all the same"));
        return Ok(());
    }
    prepared.run().with_context(|| format!("the firmware of {device} could not be updated"))?;
    tell(format!("{device} now has {new} instead of {old}; it starts with the next reset"));
    Ok(())
}

fn prepare<'a>(
    settings: &Settings,
    root: &Path,
    here: &Here,
    system: &'a System,
) -> Result<Prepared<'a>> {
    let device = match &settings.device {
        Some(device) => device.clone(),
        None => booted_from(&here.account, root)?,
    };
    let Settings { image, emmc_boot, .. } = settings;
    Update { image, device: &device, emmc_boot: *emmc_boot, dummies: false }.prepare(system)
}

/// What somebody would type.
fn command(settings: &Settings, device: &str) -> String {
    let emmc_boot = if settings.emmc_boot { " --emmc-boot" } else { "" };
    format!("firn firmware update {} --device {device}{emmc_boot}", settings.image.display())
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
