//! What runs on the emulated board besides Firn and Linux: TF-A's BL31, busybox. Downloaded and
//! unpacked only.

use anyhow::Result;
use evk::assets::Key;

use super::apt::{self, Archive};
use super::kernels::expect;
use super::{Step, Workshop};

pub(super) const STEP: Step = Step { name: "BL31, busybox", present, provide };

pub(super) const ARCHITECTURE: &str = "arm64";
const FIRMWARE: &str = "arm-trusted-firmware";
const BUSYBOX: &str = "busybox-static";

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let places = [Key::Bl31, Key::Busybox].map(|key| workshop.manifest.existing(key));
    Ok(places.iter().all(Result::is_ok).then(|| "all there".into()))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    let packages = format!("{FIRMWARE} and {BUSYBOX}");
    let archive = workshop.archive(ARCHITECTURE, &[apt::RELEASE], &packages)?;
    let bl31 = "usr/lib/arm-trusted-firmware/imx8mp/bl31.bin";
    provide_file(workshop, &archive, FIRMWARE, Key::Bl31, bl31)?;
    provide_file(workshop, &archive, BUSYBOX, Key::Busybox, "usr/bin/busybox")
}

fn provide_file(
    workshop: &mut Workshop,
    archive: &Archive,
    name: &str,
    key: Key,
    file: &str,
) -> Result<()> {
    let package = archive.newest(name)?;
    let root = workshop.make_directory(&key.name(), |root| archive.unpack(&package, root))?;
    let file = root.join(file);
    expect(&file, &package)?;
    workshop.manifest.set_path(key, &file)?;
    workshop.save()
}
