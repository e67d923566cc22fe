//! Which generation somebody means: by the loader's own list.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use firn::{boot::Catalogue, nixos::Generation, state::Identity};

use super::card::Card;

/// Where toplevels are.
const STORE: &str = "/nix/store";

/// What can be asked for.
pub(super) struct List {
    generations: Vec<Generation>,
    /// Where it was read from.
    place: PathBuf,
}

impl List {
    /// The list of `card`.
    pub(super) fn read(card: &Card, _root: &Path) -> Self {
        let generations = Catalogue::survey(card.device()).generations;
        Self { generations, place: card.path().to_owned() }
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
        let listed = self.generations.iter().any(|generation| generation.id == word);
        let place = self.place.display();
        ensure!(
            listed || force,
            "{place} has no generation {word} (`firn entries {place}` lists what it has){}",
            if word.starts_with('/') { "; --force takes it all the same" } else { "" }
        );
        Ok(Identity::new(word))
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
            [generation] => Ok(Identity::new(&generation.id)),
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

/// The toplevel that `path` leads to. One in a store that is not this machine's is taken as it is.
///
/// # Errors
/// It leads nowhere, or to something that is no toplevel.
pub(super) fn toplevel(path: &Path) -> Result<Identity> {
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
