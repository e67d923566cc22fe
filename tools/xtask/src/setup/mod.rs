//! `cargo xtask setup`: everything that building and emulation need and the tree does not hold.
//!
//! Each thing is a [`Step`] that can tell whether it is there and can provide it. Downloads go to
//! a cache outside of the tree; the machine's own apt configuration is never changed.

mod apt;
mod guest;
mod kernels;
mod launcher;
mod linux;
mod nix;
mod nix_style;
mod qemu;
mod target;
mod tools;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evk::assets::{self, Manifest};

use apt::Archive;
pub(crate) use linux::LINUX_TRIPLE;
pub(crate) use nix::Nix;
pub(crate) use nix_style::{formatter as nix_formatter, linter as nix_linter};
pub(crate) use target::{Compiler, TRIPLE};

/// Provide what building, emulation and tests need: bare-metal target, Linux target, QEMU, kernels, BL31, tools, Nix.
///
/// Example: `FIRN_CACHE=/big/disk cargo xtask setup`
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// A thing that set-up provides.
struct Step {
    name: &'static str,
    /// What is there, in a few words, or nothing.
    present: fn(&Workshop) -> Result<Option<String>>,
    provide: fn(&mut Workshop) -> Result<()>,
}

const BUILD_STEPS: &[Step] = &[target::STEP, linux::STEP];
const EMULATION_STEPS: &[Step] = &[tools::STEP, qemu::STEP, kernels::STEP, guest::STEP];
const NIX_STEPS: &[Step] = &[nix::STEP, nix_style::STEP];

/// What a chore is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Building the firmware, which works on any system that has a compiler.
    Build,
    /// Building it and running it.
    Boots,
    /// Every check but the emulated boots.
    Checks,
    /// Every check.
    Everything,
}

impl Need {
    fn steps(self) -> impl Iterator<Item = &'static Step> {
        let (boots, checks) = match self {
            Self::Build => (false, false),
            Self::Boots => (true, false),
            Self::Checks => (false, true),
            Self::Everything => (true, true),
        };
        let emulation = if boots { EMULATION_STEPS } else { &[] };
        let nix = if checks { NIX_STEPS } else { &[] };
        BUILD_STEPS.iter().chain(emulation).chain(nix)
    }
}

/// Where the steps work.
struct Workshop {
    cache: PathBuf,
    manifest: Manifest,
}

impl Workshop {
    fn open(cache: PathBuf) -> Result<Self> {
        let manifest = Manifest::load(&cache)?;
        Ok(Self { cache, manifest })
    }

    /// Notes what a step has provided, so that it stays done if a later one fails.
    fn save(&self) -> Result<()> {
        self.manifest.save(&self.cache)
    }

    /// A private view of `suites` of Debian for `architecture`, in which to find `packages`.
    fn archive(&self, architecture: &str, suites: &[&str], packages: &str) -> Result<Archive> {
        Archive::open(&self.cache.join("apt"), architecture, suites)
            .with_context(|| format!("wanted {packages} of Debian {}", suites.join(" ")))
    }

    /// Fills `self.cache/name` by `fill`, all or nothing: an interrupted run leaves no half of it.
    fn make_directory(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.cache.join(name);
        let partial = self.cache.join(format!("{name}.partial"));
        for old in [&partial, &done] {
            remove_directory(old)?;
        }
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot create {}", partial.display()))?;
        fill(&partial)?;
        fs::rename(&partial, &done).with_context(|| format!("cannot create {}", done.display()))?;
        Ok(done)
    }
}

/// Says what is there and provides what is not.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    complete(Need::Everything, |name, found| println!("{name}: {found}"))
}

/// Provides what is missing; silent when nothing is.
pub(crate) fn ensure(need: Need) -> Result<()> {
    complete(need, |_, _| {})
}

fn complete(need: Need, tell: impl Fn(&str, &str)) -> Result<()> {
    let cache = assets::cache_dir()?;
    let mut workshop = Workshop::open(cache.clone())?;
    let mut lock = None;
    for step in need.steps() {
        let mut found = (step.present)(&workshop)?;
        if found.is_none() && lock.is_none() {
            lock = Some(take_lock(&cache)?);
            // Another run may have provided it while this one waited.
            workshop = Workshop::open(cache.clone())?;
            found = (step.present)(&workshop)?;
        }
        if found.is_none() {
            progress(&format!("{}: missing, providing it", step.name));
            (step.provide)(&mut workshop)
                .with_context(|| format!("cannot set up {}", step.name))?;
            workshop.save()?;
            found = (step.present)(&workshop)?;
            let found = found.as_deref().context("it was provided and still can't be used");
            progress(&format!("{}: {}", step.name, found.with_context(|| step.name)?));
        } else if let Some(found) = found {
            tell(step.name, &found);
        }
    }
    // Lists are of no use to a later run: it would have to renew them.
    if lock.is_some() { remove_directory(&cache.join("apt")) } else { Ok(()) }
}

/// One run at a time changes the cache. The lock goes with the process, however that ends.
fn take_lock(cache: &Path) -> Result<File> {
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress("waiting for another set-up to finish");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

/// A line for whoever waits.
fn progress(line: &str) {
    eprintln!("setup: {line}");
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workshop() -> (tempfile::TempDir, Workshop) {
        let directory = tempfile::tempdir().unwrap();
        let workshop = Workshop::open(directory.path().to_owned()).unwrap();
        (directory, workshop)
    }

    #[test]
    fn a_directory_that_could_not_be_filled_does_not_appear() {
        let (directory, workshop) = workshop();
        let failed = workshop.make_directory("thing", |partial| {
            fs::write(partial.join("half"), "x")?;
            anyhow::bail!("no network")
        });
        assert!(failed.is_err());
        assert!(!directory.path().join("thing").exists());
    }

    #[test]
    fn a_second_attempt_replaces_what_the_first_one_left() {
        let (_directory, workshop) = workshop();
        let first = workshop.make_directory("thing", |p| Ok(fs::write(p.join("old"), "x")?));
        let second = workshop.make_directory("thing", |p| Ok(fs::write(p.join("new"), "x")?));
        assert_eq!(first.unwrap(), second.as_deref().unwrap());
        let names: Vec<_> =
            fs::read_dir(second.unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["new"]);
    }

    #[test]
    fn only_one_run_at_a_time_holds_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let held = take_lock(directory.path()).unwrap();
        let other = File::open(directory.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
