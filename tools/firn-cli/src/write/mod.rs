//! `firn write`: puts a flash.bin where the boot ROM looks for it, or a card image onto a card.
//!
//! Nothing is written before it is known what would be lost; everything that was written is read
//! back. The first block comes last, so that a boot ROM that finds half an image takes the other copy.

pub(crate) mod copy;
pub(crate) mod destination;
pub(crate) mod emmc;
pub(crate) mod gap;
pub(crate) mod hardware;
pub(crate) mod payload;
pub(crate) mod system;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use firn::soc::boot_rom;

use copy::Copy;
use destination::Destination;
use payload::{Kind, Payload};
use system::System;

/// Write a flash.bin to a card, an eMMC or an image of one; or a card image to a card.
///
/// A flash.bin goes into the gap in front of the first partition; a card image replaces all that is on
/// the card. What is mounted, too small, or would lose a partition to a flash.bin is refused. Everything
/// is read back and compared.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  firn write flash.bin /dev/sdb                     to an SD card
  firn write flash.bin card.img                     into an image of one
  firn write flash.bin /dev/mmcblk2 --emmc-boot     on the board, to the eMMC's boot partition that is
                                                    not in use, then switch to it
  firn write nixos.img /dev/sdb                     a whole card")]
pub(crate) struct Arguments {
    /// A flash.bin, or a card image
    #[arg(value_name = "FLASH.BIN")]
    source: PathBuf,
    /// A whole device, or an image of a card
    #[arg(value_name = "DEVICE")]
    target: PathBuf,
    /// Which copy on a card; the boot ROM takes the secondary one if the primary one is bad
    #[arg(long, value_enum, default_value_t = Which::Primary)]
    copy: Which,
    /// Write to an eMMC's boot partitions: the one that is not in use first, and switch to it last;
    /// with --copy both, then the other one too. Needs mmc-utils
    #[arg(long)]
    emmc_boot: bool,
    /// Write a flash.bin although partitions of the device are in use, as on a running board
    #[arg(long)]
    in_use: bool,
    /// Write an image with dummies of the training firmware to a device all the same
    #[arg(long)]
    dummy_ddr_firmware: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Copies of a flash.bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Where the boot ROM looks first
    Primary,
    /// Where it looks next
    Secondary,
    /// Secondary first, so that a good one remains at any time
    Both,
}

impl Which {
    /// Places on a card, in the order in which they are written.
    fn offsets(self) -> &'static [u64] {
        const PRIMARY: u64 = boot_rom::CARD_OFFSET;
        const SECONDARY: u64 = boot_rom::SECONDARY_CARD_OFFSET;
        match self {
            Self::Primary => &[PRIMARY],
            Self::Secondary => &[SECONDARY],
            Self::Both => &[SECONDARY, PRIMARY],
        }
    }
}

/// Checks, asks, writes, compares.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    write(arguments, &System::below(Path::new("/")))
}

fn write(arguments: &Arguments, system: &System) -> Result<()> {
    let payload = Payload::open(&arguments.source)?;
    let destination = Destination::find(system, &arguments.target)?;
    ensure!(!payload.is_at(destination.path()), "{} cannot be written to itself", payload.name());
    if destination.is_device() && !arguments.dummy_ddr_firmware {
        payload.check_is_real()?;
    }
    if arguments.emmc_boot {
        payload.flash()?;
        return emmc::write(arguments, system, &payload, &destination);
    }
    let offsets = match payload.kind() {
        Kind::Flash => arguments.copy.offsets(),
        Kind::Card => &[0],
    };
    for &offset in offsets {
        check_fits(&payload, &destination, offset)?;
    }
    check_in_use(arguments, system, &payload, &destination)?;
    if payload.kind() == Kind::Flash {
        for &offset in offsets {
            gap::check(destination.path(), offset..offset + payload.size())?;
        }
    }
    confirm(arguments, &payload, &destination)?;
    let file = destination.open(system, arguments.in_use)?;
    for &offset in offsets {
        Copy { payload: &payload, file: &*file, offset, name: destination.name() }.run()?;
    }
    if let Some(warning) = emmc::started_elsewhere(system, &destination) {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

fn check_fits(payload: &Payload, destination: &Destination, offset: u64) -> Result<()> {
    let (size, room) = (payload.size(), destination.size());
    ensure!(
        offset.checked_add(size).is_some_and(|end| end <= room),
        "{} is too small: it has {room} bytes, {} needs {size} at {offset:#x}",
        destination.name(),
        payload.name(),
    );
    Ok(())
}

fn check_in_use(
    arguments: &Arguments,
    system: &System,
    payload: &Payload,
    destination: &Destination,
) -> Result<()> {
    let users = destination.users(system)?;
    if users.is_empty() || (arguments.in_use && payload.kind() == Kind::Flash) {
        return Ok(());
    }
    let advice = match payload.kind() {
        Kind::Flash => "; unmount it, or say --in-use: no partition is touched",
        Kind::Card => "; unmount it first",
    };
    bail!("{} is in use: {}{advice}", destination.name(), users.join(", "))
}

/// Asks before a device is written to, unless that was told not to.
fn confirm(arguments: &Arguments, payload: &Payload, destination: &Destination) -> Result<()> {
    if arguments.yes || !destination.is_device() {
        return Ok(());
    }
    let what = match payload.kind() {
        Kind::Flash => "the boot image of",
        Kind::Card => "everything on",
    };
    ask(&format!(
        "{} replaces {what} {} ({})",
        payload.name(),
        destination.name(),
        destination.description()
    ))
}

/// Asks whether to do so; an error if it is not wanted, or nobody is there to say so.
pub(crate) fn ask(statement: &str) -> Result<()> {
    ensure!(std::io::stdin().is_terminal(), "{statement}: say --yes to do so");
    eprint!("{statement}. Write it? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim().eq_ignore_ascii_case("y"), "nothing was written");
    Ok(())
}

#[cfg(test)]
pub(crate) mod machine;
#[cfg(test)]
mod tests;
