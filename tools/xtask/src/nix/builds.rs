//! `cargo xtask nix --build`: what the packages' derivations run, run without Nix, in a directory of
//! its own with nothing in the environment but what a derivation has. The firmware must come out as
//! `cargo xtask build` makes it, to the byte.
//!
//! What Nix would fetch and can't be had everywhere is stood for: NXP's package by an archive of its
//! form, training firmware by dummies, TF-A by Debian's build of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evk::assets::{self, Key, Manifest, find_tool};
use serde_json::Value;

use crate::process;
use crate::setup::Nix;

/// Evaluates to the phases.
const PHASES: &str = "nix/stub/phases.nix";

const EVALUATION_DEADLINE: Duration = Duration::from_secs(60);
const VENDOR_DEADLINE: Duration = Duration::from_secs(600);
const BUILD_DEADLINE: Duration = Duration::from_secs(3600);

/// What stdenv gives to phases, as far as ours use it.
const PREAMBLE: &str = "set -euo pipefail\nrunHook() { :; }\n";

/// Stands for NXP's self-extracting package.
const SELF_EXTRACTOR: &str = r#"
[ "$*" = "--auto-accept --force" ] || exit 1
mkdir -p firmware-imx-RELEASE/firmware/ddr/synopsys
cd firmware-imx-RELEASE
echo licence >COPYING
for kind in 1d_dmem 1d_imem 2d_dmem 2d_imem; do
    echo "$kind" >"firmware/ddr/synopsys/lpddr4_pmu_train_${kind}_202006.bin"
    echo old >"firmware/ddr/synopsys/lpddr4_pmu_train_${kind}_201904.bin"
done
"#;

/// Names of packages of nix/packages.
const FIRMWARE: [&str; 2] = ["firn-spl", "firn"];
const COMMAND: &str = "firn-cli";
const TRAINING: &str = "firmware-imx";
const TRUSTED: &str = "arm-trusted-firmware-imx8mp";
const FLASH: &str = "flash-image-imx8mp-evk";

/// A directory in which packages are built one after another.
struct Site {
    directory: PathBuf,
    phases: Value,
    /// Directories of programs.
    path: Vec<PathBuf>,
    /// `objcopy` for arm64.
    objcopy: PathBuf,
}

/// Builds all of them.
///
/// # Errors
/// A command fails, or a file is another than `cargo xtask build` makes.
pub(super) fn run() -> Result<()> {
    // Outside of the tree: cargo would find the tree's own configuration above the copy's.
    let directory = assets::cache_dir()?.join("nix-build");
    let mut site = Site::open(&directory)?;
    site.vendor()?;
    for name in FIRMWARE {
        site.cargo_package(name)?;
        for suffix in ["bin", "elf"] {
            site.compare(name, &format!("{name}.{suffix}"))?;
        }
    }
    site.cargo_package(COMMAND)?;
    site.path.insert(0, site.output(COMMAND).join("bin"));
    site.training_firmware()?;
    site.flash_image()?;
    remove(&directory)
}

impl Site {
    fn open(directory: &Path) -> Result<Self> {
        let mut nix = Nix::locate()?.command("nix-instantiate");
        nix.current_dir(crate::root()).args(["--eval", "--strict", "--json", PHASES]);
        let json = process::output(&mut nix, EVALUATION_DEADLINE)?;
        let phases = serde_json::from_str(&json).with_context(|| format!("reading {PHASES}"))?;
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let sysroot = process::output(
            Command::new("rustc").current_dir(crate::root()).args(["--print", "sysroot"]),
            EVALUATION_DEADLINE,
        )?;
        let sysroot = PathBuf::from(sysroot.trim());
        let libraries = sysroot
            .join("lib/rustlib")
            .join(format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
        let objcopy = objcopy(directory, &sysroot, &libraries)?;
        let system = ["/usr/bin", "/bin"].map(PathBuf::from);
        let path =
            [sysroot.join("bin"), libraries.join("bin/gcc-ld")].into_iter().chain(system).collect();
        Ok(Self { directory: directory.to_owned(), phases, path, objcopy })
    }

    /// The dependencies, as `importCargoLock` lays them out and `cargoSetupHook` names them.
    fn vendor(&self) -> Result<()> {
        remove(&self.top())?;
        fs::create_dir_all(self.top().join(".cargo"))
            .with_context(|| format!("cannot create {}", self.top().display()))?;
        let mut cargo = process::cargo();
        cargo.args(["vendor", "--quiet", "--locked", "--versioned-dirs"]).arg(self.vendored());
        process::output(&mut cargo, VENDOR_DEADLINE)?;
        let configuration = cargo_configuration(&self.vendored());
        Ok(fs::write(self.top().join(".cargo/config.toml"), configuration)?)
    }

    /// `NIX_BUILD_TOP`.
    fn top(&self) -> PathBuf {
        self.directory.join("build")
    }

    fn vendored(&self) -> PathBuf {
        self.top().join("cargo-vendor-dir")
    }

    fn output(&self, name: &str) -> PathBuf {
        self.directory.join("out").join(name)
    }

    /// A package of cargo's, built from a fresh copy of the sources.
    fn cargo_package(&self, name: &str) -> Result<()> {
        let source = self.workplace(name)?;
        for file in self.phases["source"].as_array().context("no sources")? {
            let file = Path::new(file.as_str().context("a source without a name")?);
            let below = file.strip_prefix(crate::root())?;
            copy(file, &source.join(below))?;
        }
        self.phase(name, "buildPhase", &source, &[])?;
        self.phase(name, "installPhase", &source, &[])
    }

    fn training_firmware(&self) -> Result<()> {
        let top = self.workplace(TRAINING)?;
        let release = self.phases["firmwareRelease"].as_str().context("no release")?;
        let package = top.join("firmware-imx.bin");
        fs::write(&package, SELF_EXTRACTOR.replace("RELEASE", release))?;
        // A phase that changes the directory changes it for the next one.
        let script =
            self.script(TRAINING, "unpackPhase")? + &self.script(TRAINING, "installPhase")?;
        self.shell(TRAINING, &script, &top, &[("src", &package)])?;
        let names = fs::read_dir(self.output(TRAINING))?.count();
        ensure!(names == 5, "{TRAINING} has {names} files, not four and their licence");
        println!("{TRAINING}: its phases work on an archive of that form");
        Ok(())
    }

    fn flash_image(&self) -> Result<()> {
        let bl31 = self.output(TRUSTED);
        fs::create_dir_all(&bl31)?;
        let manifest = Manifest::load(&assets::cache_dir()?)?;
        let debian = manifest.existing(Key::Bl31)?;
        fs::copy(&debian, bl31.join("bl31.bin"))
            .with_context(|| format!("cannot copy {}", debian.display()))?;
        let top = self.workplace(FLASH)?;
        self.phase(FLASH, "buildPhase", &top, &[])?;
        self.phase(FLASH, "installPhase", &top, &[])?;
        let image = self.output(FLASH).join("flash.bin");
        println!("{FLASH}: {} bytes", fs::metadata(&image)?.len());
        Ok(())
    }

    /// The directory that the build of a package begins in, empty.
    fn workplace(&self, name: &str) -> Result<PathBuf> {
        let source = self.top().join("source");
        for old in [&source, &self.output(name)] {
            remove(old)?;
        }
        fs::create_dir_all(&source)
            .with_context(|| format!("cannot create {}", source.display()))?;
        Ok(source)
    }

    fn phase(
        &self,
        name: &str,
        phase: &str,
        directory: &Path,
        more: &[(&str, &Path)],
    ) -> Result<()> {
        self.shell(name, &self.script(name, phase)?, directory, more)
    }

    /// A phase's text, other packages in it being where they were built.
    fn script(&self, name: &str, phase: &str) -> Result<String> {
        let packages = self.phases["packages"].as_object().context("no packages")?;
        let text = packages.get(name).and_then(|package| package.get(phase)?.as_str());
        let mut text = text.with_context(|| format!("{name} has no {phase}"))?.to_owned();
        let training = packages[TRAINING]["output"].as_str().context("no output")?;
        text = text.replace(&format!("--ddr-firmware {training}"), "--dummy-ddr-firmware");
        for (other, package) in packages {
            let place = package["output"].as_str().context("no output")?;
            text = text.replace(place, &self.output(other).display().to_string());
        }
        Ok(text)
    }

    fn shell(
        &self,
        name: &str,
        script: &str,
        directory: &Path,
        more: &[(&str, &Path)],
    ) -> Result<()> {
        println!("{name}: {}", script.trim().replace('\n', "\n    "));
        let bash = find_tool("bash").context("there is no bash")?;
        let mut command = Command::new(bash);
        command.args(["-c", &format!("{PREAMBLE}{script}")]).current_dir(directory).env_clear();
        let path = std::env::join_paths(&self.path)?;
        let top = self.top();
        let cores = std::env::var("CARGO_BUILD_JOBS").unwrap_or_else(|_| "2".to_owned());
        command.env("PATH", path).env("NIX_BUILD_TOP", &top).env("NIX_BUILD_CORES", cores);
        command.env("HOME", "/homeless-shelter").env("CARGO_HOME", top.join("cargo-home"));
        command.env("OBJCOPY", &self.objcopy).env("out", self.output(name));
        command.envs(more.iter().copied());
        process::show(&mut command, BUILD_DEADLINE)
    }

    fn compare(&self, name: &str, file: &str) -> Result<()> {
        let [ours, theirs] =
            [assets::firmware_dir(), self.output(name)].map(|place| place.join(file));
        let [left, right] = [&ours, &theirs]
            .map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())));
        ensure!(left? == right?, "{} and {} differ", ours.display(), theirs.display());
        println!("{file}: as `cargo xtask build` makes it");
        Ok(())
    }
}

/// The compiler's own, which finds its library only if it is told where.
fn objcopy(directory: &Path, sysroot: &Path, libraries: &Path) -> Result<PathBuf> {
    let program = libraries.join("bin/rust-objcopy");
    ensure!(program.is_file(), "{} is missing: use a compiler of rustup's", program.display());
    let [program, library] = [program, sysroot.join("lib")].map(|path| path.display().to_string());
    let script = format!("#!/bin/sh\nLD_LIBRARY_PATH='{library}' exec '{program}' \"$@\"\n");
    let file = directory.join("objcopy");
    fs::write(&file, script)
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Vendored sources, and the C compilers as linkers.
fn cargo_configuration(vendored: &Path) -> String {
    let vendored = Value::from(vendored.display().to_string());
    format!(
        "[source.crates-io]\nreplace-with = \"vendored-sources\"\n\
         [source.vendored-sources]\ndirectory = {vendored}\n\
         [target.\"x86_64-unknown-linux-gnu\"]\nlinker = \"cc\"\n\
         [target.\"aarch64-unknown-linux-gnu\"]\nlinker = \"cc\"\n\
         [target.\"aarch64-unknown-none\"]\nlinker = \"aarch64-none-elf-cc\"\n\
         rustflags = [\"-C\", \"target-feature=-crt-static\"]\n"
    )
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn site() -> Site {
        let package =
            |place: &str, build: &str| serde_json::json!({ "output": place, "buildPhase": build });
        let packages = BTreeMap::from([
            ("firn", package("/store/a-firn", "cp x $out")),
            (TRAINING, package("/store/b-imx", "")),
            (
                FLASH,
                package(
                    "/store/c-flash",
                    "firn --ddr-firmware /store/b-imx --loader /store/a-firn/firn.bin",
                ),
            ),
        ]);
        Site {
            directory: "/site".into(),
            phases: serde_json::json!({ "packages": packages }),
            path: Vec::new(),
            objcopy: "objcopy".into(),
        }
    }

    #[test]
    fn a_phase_finds_other_packages_where_they_were_built() {
        let script = site().script(FLASH, "buildPhase").unwrap();
        assert_eq!(script, "firn --dummy-ddr-firmware --loader /site/out/firn/firn.bin");
    }

    #[test]
    fn a_phase_that_is_not_there_is_named() {
        let error = site().script("firn", "installPhase").unwrap_err().to_string();
        assert_eq!(error, "firn has no installPhase");
    }

    #[test]
    fn folders_are_copied_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), "x").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("deep/file")).unwrap(), b"x");
    }
}
