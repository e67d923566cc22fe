//! The record as `firn install` needs it: what must not go, and the new default.

use std::path::{Path, PathBuf};

use anyhow::Result;
use firn::{
    boot::Location,
    state::{Identity, Record, copies::Source},
};

use super::{Account, Card, Keeper, change};

/// What keeps the record of the system that is installed to.
pub(crate) struct Keepers {
    keeper: Result<Keeper, String>,
    /// What runs, if the loader told.
    running: Option<Identity>,
}

/// What must be bootable as long as the record names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// The default, until another one takes its place.
    pub(crate) default: Option<String>,
    /// What boots once, and what a rollback leads to.
    pub(crate) others: Vec<String>,
}

impl Named {
    /// What `record` names.
    pub(crate) fn of(record: &Record) -> Self {
        let text = |identity: &Identity| identity.as_str().to_owned();
        Self {
            default: record.default.as_ref().map(text),
            others: record.boot_once.iter().chain(record.last_good()).map(text).collect(),
        }
    }
}

/// What became of a new default.
pub(crate) enum Kept {
    /// It was written there.
    Written(PathBuf),
    /// It stands there already.
    Already(PathBuf),
    /// There is no record; why.
    Nowhere(String),
}

impl Keepers {
    /// Those of the system at `root`: where the loader keeps the record that has booted it, if it `runs`;
    /// else `disk`, if that holds a record. A disk that does not is somebody else's.
    ///
    /// # Errors
    /// What the loader told cannot be read.
    pub(crate) fn find(root: &Path, runs: bool, disk: Option<&Path>) -> Result<Self> {
        let account = if runs { Account::find(root)? } else { None };
        let Some(account) = account else {
            return Ok(Self { keeper: Self::of_disk(disk), running: None });
        };
        let keeper = Keeper::of_running(&account, root).map_err(|error| format!("{error:#}"));
        let running = account.generation.as_deref().map(Identity::new);
        Ok(Self { keeper, running })
    }

    fn of_disk(disk: Option<&Path>) -> Result<Keeper, String> {
        const WHY: &str = "this system was not booted by Firn";
        let Some(disk) = disk else { return Err(WHY.to_owned()) };
        let card = Card::open(disk).map_err(|error| format!("{WHY}, and {error:#}"))?;
        match card.store().place() {
            Location::Card { source: Source::Copy(_), .. } => Ok(Keeper::Card(disk.to_owned())),
            _ => Err(format!("{WHY}, and {} holds none", disk.display())),
        }
    }

    /// What the record names.
    ///
    /// # Errors
    /// The record's card cannot be read.
    pub(crate) fn named(&self) -> Result<Named> {
        match &self.keeper {
            Ok(keeper) => Ok(Named::of(keeper.store()?.record())),
            Err(_) => Ok(Named::default()),
        }
    }

    /// Makes `toplevel` the default. What runs counts as good if nothing else does.
    ///
    /// # Errors
    /// There is a record, and it cannot be written: it says what it said before.
    pub(crate) fn set_default(&self, toplevel: &str) -> Result<Kept> {
        let keeper = match &self.keeper {
            Ok(keeper) => keeper,
            Err(why) => return Ok(Kept::Nowhere(why.clone())),
        };
        let changed = change(keeper, |record| {
            record.set_default(Identity::new(toplevel), self.running.clone());
            Ok(())
        })?;
        let path = keeper.path().to_owned();
        Ok(if changed { Kept::Written(path) } else { Kept::Already(path) })
    }
}
