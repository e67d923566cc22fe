//! `firn install`: what NixOS calls to make a system boot. `docs/install.md` tells it step by step.
//!
//! An installation is a list of steps on a [`Disk`], of which any may fail and after any of which the power
//! may fail: what booted before, boots then, or what is installed, never nothing.

mod config;
mod device;
mod disk;
mod extlinux;
mod extra;
mod judge;
mod place;
mod prefix;
mod profiles;
mod running;
mod secrets;
mod systems;
mod view;
mod writer;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use firn::{board::Board, nixos::Generation};

use self::{
    config::{Config, Source},
    disk::Mounted,
    place::{Book, NoBook},
    running::Running,
    secrets::{Elsewhere, Here, SecretsMaker},
    systems::Systems,
    writer::Writer,
};
use crate::{firmware::after_install, output::print};

/// Make a system boot: what NixOS calls when a configuration is switched to.
///
/// Reads what the NixOS module wrote (--config), sees that the loader will boot TOPLEVEL, writes what is
/// needed for that, and makes it the default. A second time it writes nothing. After a power cut, what
/// booted before boots, or TOPLEVEL.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  firn install --config firn-install.json /nix/var/nix/profiles/system
  firn install --config firn-install.json --populate --root ./files /nix/store/…-nixos-system-…")]
pub(crate) struct Arguments {
    /// What the NixOS module wrote: boot.loader.firn as JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the root file system is that is installed to
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The root whose /nix/store has the system's files, if it is not --root; with --populate, `/`
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Fill the root of an image: makes the profile if there is none, and leaves records and firmware alone
    #[arg(long)]
    populate: bool,
    /// The system, or a link to it
    toplevel: PathBuf,
}

/// Installs, and says in a few lines what was done.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let config = Config::read(&arguments.config)?;
    let root = &arguments.root;
    ensure!(root.is_dir(), "{} is not a directory", root.display());
    let is_this_system = root == Path::new("/") && !arguments.populate;
    if is_this_system {
        device::check(root, &config)?;
    }
    let store = arguments.store.clone().unwrap_or_else(|| match arguments.populate {
        true => "/".into(),
        false => root.clone(),
    });
    let disk = Mounted::new(root, &store);
    let running = if is_this_system { Running::find(root)? } else { Running::default() };
    let book: Box<dyn Book> = match is_this_system {
        true => Box::new(place::of_system(root, &config, &running)?),
        false => Box::new(NoBook::default()),
    };
    let here = Here { directories: ["run", "tmp"].map(|name| root.join(name)).into() };
    let secrets: &dyn SecretsMaker = if is_this_system { &here } else { &Elsewhere };
    let installation = Installation {
        board: judge::board(&config.board)?,
        config: &config,
        toplevel: toplevel(&arguments.toplevel)?,
        writer: Writer::new(&disk),
        secrets,
        book: &*book,
        running: running.toplevels,
        root_of_nix: match is_this_system && !config.nix_prefix.is_empty() {
            true => prefix::root_of_nix()?,
            false => Some("/".to_owned()),
        },
        populates: arguments.populate,
        said: RefCell::default(),
    };
    let installed = installation.install();
    let mut said = installation.said.take();
    if installed.is_ok() {
        said.push(installation.summary());
    }
    let text: String = said.iter().map(|line| format!("firn: {line}\n")).collect();
    print(text)?;
    installed?;
    // Last: until then nothing may be lost by it. An image gets its flash.bin from whoever makes it.
    if let Some(firmware) = config.firmware.as_ref().filter(|_| !arguments.populate) {
        let looked_after = after_install(firmware, root);
        looked_after
            .context("the system is installed, but there is something about the firmware")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The toplevel that a path leads to.
fn toplevel(path: &Path) -> Result<String> {
    Ok(crate::state::toplevel(path)?.as_str().to_owned())
}

/// An installation, and what it may rely on.
pub(crate) struct Installation<'a> {
    config: &'a Config,
    board: &'static Board,
    /// The new default.
    toplevel: String,
    writer: Writer<'a>,
    secrets: &'a dyn SecretsMaker,
    book: &'a dyn Book,
    /// What runs now, and must boot again.
    running: Vec<String>,
    /// Where the whole of the file system is that holds `/nix`.
    root_of_nix: Option<String>,
    /// Whether an image is filled: nothing of this machine or this day goes into it.
    populates: bool,
    /// What a person is to know.
    said: RefCell<Vec<String>>,
}

impl Installation<'_> {
    fn install(&self) -> Result<()> {
        ensure!(self.toplevel.starts_with("/nix/store/"), "{} is not in the store", self.toplevel);
        prefix::link(self)?;
        if self.populates {
            place::make_profile(self)?;
        }
        match self.config.source {
            Source::Profiles => profiles::install(self)?,
            Source::Extlinux => extlinux::install(self)?,
        }
        Ok(())
    }

    /// Whether a generation has to stay: what runs, what boots once, what a rollback leads to.
    fn keeps(&self, toplevel: &str) -> bool {
        self.runs(toplevel) || self.book.named().others.iter().any(|named| named == toplevel)
    }

    /// Whether a generation has to stay until the new default is one: also what is the default now.
    fn keeps_now(&self, toplevel: &str) -> bool {
        self.keeps(toplevel) || self.book.named().default.as_deref() == Some(toplevel)
    }

    fn runs(&self, toplevel: &str) -> bool {
        self.running.iter().any(|running| running == toplevel)
    }

    /// Whether a generation is what is installed, or belongs to it: its specialisations, or, of a
    /// specialisation, what it is one of.
    fn is_new(&self, generation: &Generation, systems: &Systems) -> bool {
        let key = |of: &Generation| (of.profile.clone(), of.number);
        let new = systems.generations.iter().filter(|of| of.id == self.toplevel);
        generation.id == self.toplevel || new.map(key).any(|new| new == key(generation))
    }

    /// Has the store and the profiles on the disk: NixOS syncs later or, with NIXOS_NO_SYNC, never.
    fn sync_store(&self) -> Result<()> {
        if self.populates {
            return Ok(());
        }
        ["/nix/store", "/nix/var/nix/profiles"]
            .into_iter()
            .try_for_each(|path| self.writer.sync_file_system(path))
    }

    fn set_default(&self) -> Result<()> {
        if self.populates {
            return Ok(());
        }
        let line = self.book.set_default(&self.toplevel);
        self.say(line.with_context(|| {
            format!("{} is installed, but could not be made the default", self.toplevel)
        })?);
        Ok(())
    }

    fn say(&self, line: String) {
        self.said.borrow_mut().push(line);
    }

    fn summary(&self) -> String {
        let files = |count: usize| match count {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        let (written, removed) = (self.writer.written.get(), self.writer.removed.get());
        match (written, removed) {
            (0, 0) => "all files are there already".to_owned(),
            _ => format!("{} written, {} removed", files(written), files(removed)),
        }
    }
}

#[cfg(test)]
mod tests;
