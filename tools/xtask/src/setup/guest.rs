//! What runs on the emulated board besides Firn: Debian's arm64 kernel, TF-A's BL31, busybox.
//! Downloaded and unpacked only.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use evk::assets::Key;

use super::apt::{self, Archive, Package};
use super::{Step, Workshop};

pub(super) const STEP: Step = Step { name: "arm64 kernel, BL31, busybox", present, provide };

const ARCHITECTURE: &str = "arm64";
const FIRMWARE: &str = "arm-trusted-firmware";
const BUSYBOX: &str = "busybox-static";
/// The long-term kernel series that is preferred, for the same kernel on every machine.
const SERIES: [u32; 2] = [6, 12];
const BOARD_DTB: &str = "freescale/imx8mp-evk.dtb";
const PLACES: [Key; 5] = [Key::Kernel, Key::Dtbs, Key::Modules, Key::Bl31, Key::Busybox];

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let manifest = &workshop.manifest;
    if PLACES.iter().any(|key| manifest.existing(*key).is_err()) {
        return Ok(None);
    }
    let kernel = manifest.existing(Key::Kernel)?;
    Ok(Some(format!("{}", kernel.display())))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    let packages = format!("a linux-image-…-arm64, {FIRMWARE} and {BUSYBOX}");
    let archive = workshop.archive(ARCHITECTURE, &[apt::RELEASE], &packages)?;
    provide_kernel(workshop, &archive)?;
    provide_file(
        workshop,
        &archive,
        FIRMWARE,
        Key::Bl31,
        "usr/lib/arm-trusted-firmware/imx8mp/bl31.bin",
    )?;
    provide_file(workshop, &archive, BUSYBOX, Key::Busybox, "usr/bin/busybox")
}

fn provide_kernel(workshop: &mut Workshop, archive: &Archive) -> Result<()> {
    let (release, package) = choose_kernel(archive)?;
    let root = workshop.make_directory("kernel", |root| archive.unpack(&package, root))?;
    let kernel = root.join(format!("boot/vmlinuz-{release}"));
    let dtbs = root.join(format!("usr/lib/linux-image-{release}"));
    let modules = root.join(format!("usr/lib/modules/{release}"));
    for file in [&kernel, &dtbs.join(BOARD_DTB), &modules] {
        expect(file, &package)?;
    }
    workshop.manifest.set_path(Key::Kernel, &kernel)?;
    workshop.manifest.set_path(Key::Dtbs, &dtbs)?;
    workshop.manifest.set_path(Key::Modules, &modules)?;
    workshop.manifest.set(Key::KernelVersion, release);
    workshop.save()
}

fn provide_file(
    workshop: &mut Workshop,
    archive: &Archive,
    name: &str,
    key: Key,
    file: &str,
) -> Result<()> {
    let package = archive.newest(name)?;
    let root = workshop.make_directory(key.name(), |root| archive.unpack(&package, root))?;
    let file = root.join(file);
    expect(&file, &package)?;
    workshop.manifest.set_path(key, &file)?;
    workshop.save()
}

fn expect(file: &Path, package: &Package) -> Result<()> {
    let Package { name, version } = package;
    ensure!(file.exists(), "package {name} {version} has no {}", file.display());
    Ok(())
}

fn choose_kernel(archive: &Archive) -> Result<(String, Package)> {
    let names = archive.names("linux-image-")?;
    for release in kernels_by_preference(&names) {
        // A name may only be mentioned by another package.
        if let Some(package) =
            archive.versions(&format!("linux-image-{release}"))?.into_iter().next()
        {
            return Ok((release.to_owned(), package));
        }
    }
    None.context("Debian has no package linux-image-VERSION-arm64")
}

/// Kernel releases of plain arm64 images, best first: the preferred series, newest first.
fn kernels_by_preference(names: &[String]) -> Vec<&str> {
    let mut releases: Vec<(Vec<u32>, &str)> = names
        .iter()
        .filter_map(|name| {
            let release = name.strip_prefix("linux-image-")?;
            // 6.12.95+deb13-arm64 is the plain one; -cloud-, -rt-, -16k and -dbg have more words.
            let version = release.strip_suffix("-arm64")?;
            let plain = !version.contains(|c: char| c.is_ascii_alphabetic() && !"deb".contains(c));
            let numbers: Vec<u32> = version
                .split(|c: char| !c.is_ascii_digit())
                .filter(|word| !word.is_empty())
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?;
            (plain && numbers.len() >= 3).then_some((numbers, release))
        })
        .collect();
    releases.sort_by_key(|(numbers, _)| (numbers.starts_with(&SERIES), numbers.clone()));
    releases.into_iter().rev().map(|(_, release)| release).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| format!("linux-image-{name}")).collect();
        kernels_by_preference(&names).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_newest_of_the_preferred_series_comes_first() {
        let names = [
            "6.12.9+deb13-arm64",
            "6.12.95+deb13.1-arm64",
            "6.12.95+deb13-arm64",
            "6.1.0-47-arm64",
            "7.0.4+deb14-arm64",
        ];
        let expected = [
            "6.12.95+deb13.1-arm64",
            "6.12.95+deb13-arm64",
            "6.12.9+deb13-arm64",
            "7.0.4+deb14-arm64",
            "6.1.0-47-arm64",
        ];
        assert_eq!(preferred(&names), expected);
    }

    #[test]
    fn only_plain_signed_images_are_taken() {
        let names = [
            "arm64",
            "cloud-arm64",
            "arm64-signed-template",
            "6.12.95+deb13-arm64-16k",
            "6.12.95+deb13-arm64-dbg",
            "6.12.95+deb13-arm64-unsigned",
            "6.12.95+deb13-cloud-arm64",
            "6.12.95+deb13-rt-arm64",
        ];
        assert!(preferred(&names).is_empty());
    }
}
