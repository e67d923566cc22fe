//! Debian's arm64 kernels, with their device trees and modules. Downloaded and unpacked only.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use evk::assets::{Key, Manifest, Series};

use super::apt::{self, Archive, Package};
use super::guest::ARCHITECTURE;
use super::{Step, Workshop};

pub(super) const STEP: Step = Step { name: "arm64 kernels", present, provide };

const BOARD_DTB: &str = "freescale/imx8mp-evk.dtb";

/// Where a series is found.
struct Source {
    series: Series,
    suite: &'static str,
    /// What its release begins with.
    version: &'static [u32],
    directory: &'static str,
}

const SOURCES: [Source; 3] = [
    Source { series: Series::Old, suite: "bookworm", version: &[6, 1], directory: "kernel-old" },
    Source {
        series: Series::LongTerm,
        suite: apt::RELEASE,
        version: &[6, 12],
        directory: "kernel",
    },
    Source {
        series: Series::Newest,
        suite: "trixie-backports",
        version: &[],
        directory: "kernel-newest",
    },
];

impl Source {
    fn is_there(&self, manifest: &Manifest) -> bool {
        Key::of_kernel(self.series).into_iter().all(|key| match key {
            Key::KernelVersion(_) => manifest.text(key).is_ok(),
            place => manifest.existing(place).is_ok(),
        })
    }
}

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let manifest = &workshop.manifest;
    if !SOURCES.iter().all(|source| source.is_there(manifest)) {
        return Ok(None);
    }
    let releases = SOURCES.iter().map(|source| manifest.text(Key::KernelVersion(source.series)));
    Ok(Some(releases.collect::<Result<Vec<_>>>()?.join(", ")))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    for source in SOURCES {
        if !source.is_there(&workshop.manifest) {
            provide_kernel(workshop, &source)?;
        }
    }
    Ok(())
}

fn provide_kernel(workshop: &mut Workshop, source: &Source) -> Result<()> {
    let archive = workshop.archive(ARCHITECTURE, &[source.suite], "a linux-image-…-arm64")?;
    let (release, package) = choose(&archive, source.version)?;
    let parts = parts(&archive, &release)?;
    let root = workshop.make_directory(source.directory, |root| {
        let mut packages = std::iter::once(&package).chain(&parts);
        packages.try_for_each(|package| archive.unpack(package, root))
    })?;
    // Debian 12 has /lib still apart from /usr/lib; kernels since 7.1 lie with their modules.
    let modules = ["usr/lib", "lib"].map(|lib| root.join(format!("{lib}/modules/{release}")));
    let modules = existing(&modules);
    let kernels = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let kernel = existing(&kernels);
    let dtbs = root.join(format!("usr/lib/linux-image-{release}"));
    for file in [kernel, &dtbs.join(BOARD_DTB), modules] {
        expect(file, &package)?;
    }
    let (series, manifest) = (source.series, &mut workshop.manifest);
    manifest.set_path(Key::Kernel(series), kernel)?;
    manifest.set_path(Key::Dtbs(series), &dtbs)?;
    manifest.set_path(Key::Modules(series), modules)?;
    manifest.set(Key::KernelVersion(series), release);
    workshop.save()
}

/// The first that is there, else the first.
fn existing(places: &[PathBuf; 2]) -> &Path {
    places.iter().find(|place| place.exists()).unwrap_or(&places[0])
}

/// Since 7.1 the kernel, its modules and its trees are packages of their own.
fn parts(archive: &Archive, release: &str) -> Result<Vec<Package>> {
    let mut parts = Vec::new();
    for part in ["binary", "modules", "base"] {
        parts.extend(archive.versions(&format!("linux-{part}-{release}"))?.into_iter().next());
    }
    Ok(parts)
}

/// A package has to bring `file`.
pub(super) fn expect(file: &Path, package: &Package) -> Result<()> {
    let Package { name, version } = package;
    ensure!(file.exists(), "package {name} {version} has no {}", file.display());
    Ok(())
}

fn choose(archive: &Archive, wanted: &[u32]) -> Result<(String, Package)> {
    let names = archive.names("linux-image-")?;
    for release in releases(&names, wanted) {
        // A name may only be mentioned by another package.
        if let Some(package) =
            archive.versions(&format!("linux-image-{release}"))?.into_iter().next()
        {
            return Ok((release.to_owned(), package));
        }
    }
    let wanted: Vec<String> = wanted.iter().map(u32::to_string).collect();
    None.with_context(|| format!("Debian has no plain arm64 kernel {}", wanted.join(".")))
}

/// Releases of plain arm64 images whose number begins with `wanted`, newest first.
fn releases<'a>(names: &'a [String], wanted: &[u32]) -> Vec<&'a str> {
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
        .filter(|(numbers, _)| numbers.starts_with(wanted))
        .collect();
    releases.sort();
    releases.into_iter().rev().map(|(_, release)| release).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(names: &[&str], wanted: &[u32]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| format!("linux-image-{name}")).collect();
        releases(&names, wanted).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_newest_of_a_series_comes_first_and_others_not_at_all() {
        let names = [
            "6.12.9+deb13-arm64",
            "6.12.95+deb13.1-arm64",
            "6.12.95+deb13-arm64",
            "6.1.0-47-arm64",
            "6.1.0-50-arm64",
            "7.0.4+deb14-arm64",
        ];
        let expected = ["6.12.95+deb13.1-arm64", "6.12.95+deb13-arm64", "6.12.9+deb13-arm64"];
        assert_eq!(preferred(&names, &[6, 12]), expected);
        assert_eq!(preferred(&names, &[6, 1]), ["6.1.0-50-arm64", "6.1.0-47-arm64"]);
        assert_eq!(preferred(&names, &[])[0], "7.0.4+deb14-arm64");
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
        assert!(preferred(&names, &[]).is_empty());
    }
}
