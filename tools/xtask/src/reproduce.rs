//! `cargo xtask reproduce`: everything that ships, built a second time by somebody else somewhere else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::build::Site;
use crate::process;
use crate::setup::{self, Need};

/// Build everything that ships twice, here and from a copy of the tracked files in another folder with another
/// home, target folder, user, time zone and language, and compare every byte. Takes minutes.
///
/// Example: `cargo xtask reproduce`
#[derive(clap::Args)]
pub(crate) struct Arguments {}

const LIST_DEADLINE: Duration = Duration::from_secs(60);

/// Builds twice and compares.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    setup::ensure(Need::Build)?;
    let here = Site::here();
    let first = here.shipped()?;
    let folder =
        tempfile::Builder::new().prefix("somewhere else, with a longer name ").tempdir()?;
    let second = elsewhere(&here, folder.path())?.shipped()?;
    let mut different = Vec::new();
    for ((name, one), (_, other)) in first.iter().zip(&second) {
        match first_difference(one, other) {
            None => println!("{name}: {} bytes, the same", one.len()),
            Some(at) => different.push(format!("{name} differs from byte {at:#x} on")),
        }
    }
    ensure!(different.is_empty(), "{}", different.join("; "));
    Ok(())
}

/// A copy of what git tracks below `folder`, and whoever builds there.
fn elsewhere(here: &Site, folder: &Path) -> Result<Site> {
    let root = folder.join("tree");
    copy_tracked(&here.root, &root)?;
    let home = folder.join("home");
    let cargo_home = home.join("cargo");
    fs::create_dir_all(&cargo_home)?;
    // The same sources, under other names: nothing has to be fetched again.
    let real = here.cargo_home.as_ref().context("neither CARGO_HOME nor HOME is set")?;
    symlink(real.join("registry"), cargo_home.join("registry"))?;
    let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup = rustup.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")));
    let mut environment: Vec<(&str, PathBuf)> = vec![
        ("HOME", home),
        ("CARGO_HOME", cargo_home.clone()),
        ("CARGO_TARGET_DIR", folder.join("made here")),
        ("CARGO_BUILD_JOBS", "1".into()),
        ("USER", "somebody-else".into()),
        ("LOGNAME", "somebody-else".into()),
        ("TZ", "Pacific/Kiritimati".into()),
        ("LC_ALL", "C".into()),
    ];
    environment.extend(rustup.map(|rustup| ("RUSTUP_HOME", rustup)));
    Ok(Site { root, cargo_home: Some(cargo_home), environment })
}

/// Copies the files that git tracks, as they are now.
fn copy_tracked(from: &Path, to: &Path) -> Result<()> {
    let list = process::output(
        Command::new("git").args(["ls-files", "-z"]).current_dir(from),
        LIST_DEADLINE,
    )?;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let (file, copy) = (from.join(name), to.join(name));
        // One that was deleted and not committed yet.
        if !file.is_file() {
            continue;
        }
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

/// Where two files begin to differ; the end of the shorter one, if it is the beginning of the other.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let common = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    (common < one.len().max(other.len())).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_only_to_their_last_byte() {
        assert_eq!(first_difference(b"firn", b"firn"), None);
        assert_eq!(first_difference(b"firn", b"fern"), Some(1));
        assert_eq!(first_difference(b"firn", b"firn\0"), Some(4));
        assert_eq!(first_difference(b"firn", b""), Some(0));
    }

    #[test]
    fn the_other_builder_shares_no_folder_with_this_one_and_has_all_sources() {
        let folder = tempfile::tempdir().unwrap();
        let here = Site::here();
        let there = elsewhere(&here, folder.path()).unwrap();
        assert!(there.root.join("src/lib.rs").is_file());
        assert!(!there.root.join("target").exists());
        for name in ["HOME", "CARGO_HOME", "CARGO_TARGET_DIR"] {
            let (_, value) = there.environment.iter().find(|(known, _)| *known == name).unwrap();
            assert!(value.starts_with(folder.path()), "{name}");
        }
    }
}
