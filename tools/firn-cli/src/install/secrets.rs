//! Secrets for initrds: what a toplevel's `append-initrd-secrets` makes of an empty file is loaded as its
//! last initrd (docs/generations.md).
//!
//! Only the system itself can make them: they are files of its own, and the program is its own. An image
//! gets them when it installs itself for the first time.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Installation,
    systems::{Systems, secrets_program},
    writer::Content,
};

/// Where the loader looks for them in profiles mode, one file for each toplevel.
const DIRECTORY: &str = "/nix/var/firn/initrd-secrets";

/// Runs a toplevel's program.
pub(crate) trait SecretsMaker {
    /// What `program` appends to an empty file; `None` if it cannot be run here.
    fn make(&self, program: &str) -> Result<Option<Vec<u8>>>;
}

/// On the system that runs.
pub(super) struct Here {
    /// Where nothing outlives the next boot.
    pub(super) directories: Vec<PathBuf>,
}

impl SecretsMaker for Here {
    fn make(&self, program: &str) -> Result<Option<Vec<u8>>> {
        let directory = self.directories.iter().find(|directory| directory.is_dir());
        let directory = directory.context("there is no /run for a temporary file")?;
        let path = directory.join(format!("firn-initrd-secrets.{}", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let appended = append(program, &path);
        let bytes = appended.and_then(|()| Ok(fs::read(&path)?));
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        bytes.map(Some)
    }
}

fn append(program: &str, path: &Path) -> Result<()> {
    let status = Command::new(program).arg(path).status();
    let status = status.with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} failed ({status})");
    Ok(())
}

/// In an image that is made elsewhere.
pub(super) struct Elsewhere;

impl SecretsMaker for Elsewhere {
    fn make(&self, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// What is to be loaded behind the initrd of `toplevel`; `None` without secrets. Those of an older
/// generation that cannot be made any more are told of, and it goes without.
pub(super) fn of(
    installation: &Installation<'_>,
    toplevel: &str,
    is_new: bool,
) -> Result<Option<Content>> {
    let Some(program) = secrets_program(&mut *installation.writer.tree(), toplevel) else {
        return Ok(None);
    };
    let name = name_of(toplevel);
    match installation.secrets.make(&program) {
        Ok(Some(bytes)) if !bytes.is_empty() => Ok(Some(Content::Bytes(bytes))),
        Ok(Some(_)) => {
            installation.say(format!("{name}: its initrd secrets are empty; it boots without"));
            Ok(None)
        }
        Ok(None) => {
            installation.say(format!(
                "{name}: its initrd secrets are made when the system installs itself"
            ));
            Ok(None)
        }
        Err(error) if is_new => {
            Err(error).with_context(|| format!("the initrd secrets of {toplevel}"))
        }
        Err(error) => {
            installation.say(format!(
                "{name} gets no initrd secrets, as happens when a file of boot.initrd.secrets was \
                 renamed or removed since: {error:#}"
            ));
            Ok(None)
        }
    }
}

/// Puts the secrets of the new default and its specialisations where the loader looks for them, and of
/// the others those that are not there.
pub(super) fn write(installation: &Installation<'_>, systems: &Systems) -> Result<()> {
    let writer = &installation.writer;
    let there = writer.names(DIRECTORY)?;
    for generation in systems.generations.iter().filter(|found| found.broken.is_none()) {
        let toplevel = &generation.id;
        let is_new = installation.is_new(generation, systems);
        if !is_new && there.iter().any(|name| name == name_of(toplevel)) {
            continue;
        }
        if let Some(content) = of(installation, toplevel, is_new)? {
            writer.make_directories(DIRECTORY, 0o700)?;
            writer.put(&format!("{DIRECTORY}/{}", name_of(toplevel)), 0o600, &content)?;
        }
    }
    Ok(())
}

/// Removes the secrets of toplevels that no profile has any more.
pub(super) fn clean(installation: &Installation<'_>, systems: &Systems) -> Result<()> {
    let toplevels = systems.toplevels();
    for name in installation.writer.names(DIRECTORY)? {
        let is_wanted =
            |toplevel: &str| toplevels.contains(toplevel) || installation.runs(toplevel);
        if !is_wanted(&format!("/nix/store/{name}")) {
            installation.writer.remove_all(&format!("{DIRECTORY}/{name}"))?;
        }
    }
    Ok(())
}

/// A toplevel's name in the store.
pub(super) fn name_of(toplevel: &str) -> &str {
    toplevel.rsplit('/').next().unwrap_or_default()
}
