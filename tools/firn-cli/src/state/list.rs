//! Which generation somebody means: by the loader's own list.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use firn::{
    boot::{Catalogue, Volume},
    nixos::Generation,
    state::Identity,
};

use super::card::Card;
use crate::entries::directory::Directory;

/// Where toplevels are.
const STORE: &str = "/nix/store";

/// What can be asked for.
pub(super) struct List {
    generations: Vec<Generation>,
    /// Where it was read from.
    place: PathBuf,
}

impl List {
    /// What the loader will find on `card`.
    pub(super) fn of_card(card: &Card) -> Self {
        Self::new(card.path(), Catalogue::survey(card.device()))
    }

    /// What the loader will find of the system that runs at `root`. Its file systems are asked, not its
    /// card, which lags behind them.
    pub(super) fn of_root(root: &Path) -> Self {
        let file_system = Box::new(Directory::new(root));
        let volume = Volume { name: root.display().to_string(), file_system };
        Self::new(root, Catalogue::of_volumes(vec![volume]))
    }

    fn new(place: &Path, mut catalogue: Catalogue) -> Self {
        catalogue.read_all();
        Self { generations: catalogue.generations, place: place.to_owned() }
    }

    /// The generation that `word` names: its number, or its toplevel's path. With `force` also a path
    /// that is not in the list.
    ///
    /// # Errors
    /// The list has no such generation, or the number is that of several.
    pub(super) fn resolve(&self, word: &str, force: bool) -> Result<Identity> {
        if let Ok(number) = word.parse() {
            return self.by_number(number);
        }
        let listed = self.generations.iter().find(|generation| generation.id == word);
        let place = self.place.display();
        match listed {
            _ if force => Ok(Identity::new(word)),
            Some(generation) => bootable(generation),
            None => bail!(
                "{place} has no generation {word} (`firn entries {place}` lists what it has){}",
                if word.starts_with('/') { "; --force takes it all the same" } else { "" }
            ),
        }
    }

    /// That of the `system` profile goes before those of others.
    fn by_number(&self, number: u32) -> Result<Identity> {
        let place = self.place.display();
        let numbered = self.generations.iter().filter(|generation| {
            generation.number == Some(number) && generation.specialisation.is_none()
        });
        let (system, others): (Vec<_>, Vec<_>) =
            numbered.partition(|generation| generation.profile.is_none());
        let found = if system.is_empty() { others } else { system };
        match &found[..] {
            [generation] => bootable(generation),
            [] => bail!(
                "{place} has no generation {number}; {}",
                match &self.numbers()[..] {
                    [] => "no generation of it has a number".to_owned(),
                    numbers => format!("it has {}", numbers.join(", ")),
                }
            ),
            several => {
                let ids: Vec<_> = several.iter().map(|generation| &generation.id[..]).collect();
                bail!("{place} has several generations {number}; name one: {}", ids.join(", "))
            }
        }
    }

    fn numbers(&self) -> Vec<String> {
        let mut numbers: Vec<_> =
            self.generations.iter().filter_map(|generation| generation.number).collect();
        numbers.sort_by(|a, b| b.cmp(a));
        numbers.dedup();
        numbers.iter().map(u32::to_string).collect()
    }
}

/// What the loader would pass over is most likely not what is meant.
fn bootable(generation: &Generation) -> Result<Identity> {
    let id = &generation.id;
    match &generation.broken {
        None => Ok(Identity::new(id)),
        Some(broken) => {
            bail!(
                "{id} cannot be booted: [{}] {broken}; --force takes it all the same",
                broken.code
            )
        }
    }
}

/// The toplevel that `path` leads to. One in a store that is not this machine's is taken as it is.
///
/// # Errors
/// It leads nowhere, or to something that is no toplevel.
pub(crate) fn toplevel(path: &Path) -> Result<Identity> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_toplevel(path) => {
            path.to_owned()
        }
        Err(error) => return Err(error).with_context(|| format!("cannot find {}", path.display())),
    };
    ensure!(
        is_toplevel(&target),
        "{} leads to {}, which is no system in {STORE}",
        path.display(),
        target.display()
    );
    let target = target.to_str().with_context(|| format!("{target:?} is not text"))?;
    Ok(Identity::new(target))
}

/// Whether it is directly in the store.
fn is_toplevel(path: &Path) -> bool {
    path.parent() == Some(Path::new(STORE)) && path.file_name().is_some()
}
