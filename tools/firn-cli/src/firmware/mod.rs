//! `firn firmware`: the boot image that the board starts from, its version, and how it is replaced.

mod here;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use firn::{
    board::BOARD,
    image::inspect::{Image, survey},
};

use crate::image::FileSource;
use here::Here;

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

/// The last step of an installation below `root`: tells which firmware the card has and which one the
/// configuration, and updates it if that is wanted. Only on the board itself; elsewhere it says so.
pub(crate) fn after_install(settings: &Settings, root: &Path) -> Result<()> {
    let here = match Here::look(root)? {
        Ok(here) => here,
        Err(elsewhere) => {
            println!("firmware: left alone, {elsewhere}");
            return Ok(());
        }
    };
    let device = match &settings.device {
        Some(device) => device.clone(),
        None => here.account.card(root)?.context("the loader does not say which card it uses")?,
    };
    let wanted = survey(&FileSource::open(&settings.image)?, BOARD.image);
    let there = survey(&FileSource::open(&device)?, BOARD.image);
    println!("firmware: {} has {}", device.display(), version(&there));
    println!("firmware: this configuration has {}", version(&wanted));
    if settings.auto_update {
        bail!("updating the firmware is not supported yet; `firn write` writes it");
    }
    Ok(())
}

fn version(images: &[Image]) -> String {
    match images.first() {
        None => "none".to_owned(),
        Some(image) => image.version.clone().unwrap_or("an unknown version".to_owned()),
    }
}
