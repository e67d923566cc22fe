//! Builds the small guests of `tools/evk/guest` for the bare-metal target.

use std::{
    env,
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{assets, elf};

const TARGET: &str = "aarch64-unknown-none";

/// The built guests, as flat binaries.
#[derive(Clone, Debug)]
pub struct Guests {
    /// An arm64 `Image` that prints in which state it was entered and powers off.
    pub stub_kernel: PathBuf,
    /// What runs at EL3 in front of BL31.
    pub el3_stub: PathBuf,
}

/// Builds them below `target`, or finds that they are up to date.
pub fn build(target: &Path) -> Result<Guests> {
    let folder = cargo_build("tools/evk/guest/Cargo.toml", target, &[])?;
    Ok(Guests { stub_kernel: flat(&folder, "stub-kernel")?, el3_stub: flat(&folder, "el3-stub")? })
}

/// Builds `tests/guest/faults.rs`, which is entered as the loader is and then misbehaves as it is
/// told to.
pub fn build_faults(target: &Path) -> Result<PathBuf> {
    build_firmware(target, "firn-faults")
}

/// Builds `tests/guest/first_stage_faults.rs`, likewise in the first stage's place.
pub fn build_first_stage_faults(target: &Path) -> Result<PathBuf> {
    build_firmware(target, "firn-first-stage-faults")
}

/// Builds `tests/guest/unpack.rs`, which decompresses its initrd in the loader's place.
pub fn build_unpack(target: &Path) -> Result<PathBuf> {
    build_firmware(target, "firn-unpack")
}

fn build_firmware(target: &Path, name: &str) -> Result<PathBuf> {
    let options = ["--package", "firn", "--features", "firmware", "--bin", name];
    flat(&cargo_build("Cargo.toml", target, &options)?, name)
}

/// Builds `tools/evk/stamp`, the plugin with which [`measure`](crate::measure) counts, for QEMU on
/// this machine.
pub fn build_stamp(target: &Path) -> Result<PathBuf> {
    cargo("tools/evk/stamp/Cargo.toml", target, &[])?;
    Ok(target.join("release").join(format!("{DLL_PREFIX}stamp{DLL_SUFFIX}")))
}

/// Builds for the bare-metal target and returns the folder of the binaries.
fn cargo_build(manifest: &str, target: &Path, options: &[&str]) -> Result<PathBuf> {
    cargo(manifest, target, &[&["--target", TARGET], options].concat())
        .with_context(|| format!("is the target {TARGET} there? `cargo xtask setup` brings it"))?;
    Ok(target.join(TARGET).join("release"))
}

fn cargo(manifest: &str, target: &Path, options: &[&str]) -> Result<()> {
    let manifest = assets::tree().join(manifest);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked"])
        .args(options)
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target)
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!(
            "building {} failed:\n{}",
            manifest.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn flat(folder: &Path, name: &str) -> Result<PathBuf> {
    let elf = folder.join(name);
    let path = elf.with_extension("bin");
    let read = fs::read(&elf).with_context(|| format!("reading {}", elf.display()))?;
    let flat = elf::flatten(&read).with_context(|| format!("flattening {}", elf.display()))?;
    // Written only when it changed, and at once: another test may be reading it.
    if fs::read(&path).is_ok_and(|old| old == flat) {
        return Ok(path);
    }
    let draft = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(draft.path(), &flat)?;
    draft.persist(&path)?;
    Ok(path)
}
