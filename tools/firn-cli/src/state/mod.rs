//! `firn state`: the record of what boots by default, what boots once, and how the boots went, on a card
//! image, a card, or the card that this system was booted with.
//!
//! The record and its rules are the loader's own code; this is a command line around them, a lock, and
//! what only Linux knows: which card it is, and which generation runs.

mod account;
mod card;
mod install;
mod list;
mod lock;
mod pending;
mod register;
mod report;

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use firn::{
    boot::{Location, Problem, Store},
    state::{Identity, Record},
};

pub(crate) use account::{Account, booted_system};
use card::Card;
pub(crate) use install::{Keepers, Kept, Named};
use list::List;
pub(crate) use list::toplevel;
pub(crate) use lock::Lock;
use report::Report;

use crate::output::print;

/// Show or change the state record: the default, what boots once, how the boots went.
///
/// Without --card, of the system that runs: on the card that the loader keeps the record on. Nothing is
/// written if nothing changes.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  firn state show                      what the running system's loader knows
  firn state bless                     this boot was a good one; no rollback, no more tries
  firn state pending && reboot         leave a boot that has still to prove itself
  firn state set-default 42            boot generation 42 from now on
  firn state boot-once 41              the next boot only
  firn state --card card.img show --json")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    operation: Operation,
    /// A card image, or a card's device; not a partition
    #[arg(long, global = true, value_name = "IMAGE|DEVICE")]
    card: Option<PathBuf>,
    /// Print the record as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Where the running system's /dev, /proc, /run and /sys are
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Operation {
    /// Print the record; on the running system also what the loader says of this boot
    Show,
    /// Boot this generation from now on; one that has failed gets all its tries again
    SetDefault(Which),
    /// Boot this generation the next time, and only then
    BootOnce(Which),
    /// Note that a generation works: the one that was booted, if none is named
    ///
    /// It boots without being counted from then on, and it is what a rollback leads to. What was booted
    /// is known from the loader; what /run/current-system says may be another one. A kernel that was booted
    /// by hand, or came with the boot image, is none, and there is nothing to note.
    Bless {
        /// Its toplevel's store path, or its number, as `firn entries` lists them
        generation: Option<String>,
        /// Also if the list does not have it
        #[arg(long)]
        force: bool,
    },
    /// Whether this boot is a try that nobody has blessed yet: exit code 0 if so, 1 if not
    ///
    /// A try whose record cannot be read counts as one: whoever asks is about to end it by a reboot.
    Pending,
    /// Make the record blank: no default, nothing counted
    Clear {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A generation that somebody names.
#[derive(clap::Args)]
struct Which {
    /// Its toplevel's store path, or its number, as `firn entries` lists them
    #[arg(required_unless_present = "toplevel", conflicts_with = "toplevel")]
    generation: Option<String>,
    /// A path that leads to its toplevel, such as /nix/var/nix/profiles/system
    #[arg(long, value_name = "PATH")]
    toplevel: Option<PathBuf>,
    /// Also if the list does not have it
    #[arg(long)]
    force: bool,
}

/// Does what was asked for; exit code 1 if there is no record to show.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut output = Vec::new();
    let code = answer(arguments, &mut output)?;
    print(&output)?;
    Ok(code)
}

/// Like [`run`], with the answer in `output`.
fn answer(arguments: &Arguments, output: &mut Vec<u8>) -> Result<ExitCode> {
    if let Operation::Pending = arguments.operation {
        ensure!(arguments.card.is_none(), "pending is about the system that runs: without --card");
        let (code, sentence) = pending::answer(&arguments.root)?;
        output.write_all(sentence.as_bytes())?;
        return Ok(code);
    }
    let account = match arguments.card {
        Some(_) => None,
        None => Some(Account::read(&arguments.root)?),
    };
    if let (Operation::Bless { generation: None, .. }, Some(account)) =
        (&arguments.operation, &account)
        && account.is_unlisted()
    {
        output.write_all(report::nothing_to_bless(account, arguments.json).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let keeper = match (&arguments.card, &account) {
        (Some(card), _) => Keeper::Card(card::whole_device(&arguments.root, card)?),
        (None, Some(account)) => match Keeper::of_running(account, &arguments.root) {
            Ok(keeper) => keeper,
            Err(error) => return without_keeper(arguments, account, &error, output),
        },
        (None, None) => bail!("name a card with --card"),
    };
    let account = account.as_ref();
    let changed = match &arguments.operation {
        Operation::Show => None,
        Operation::Clear { yes } => {
            confirm(keeper.path(), *yes)?;
            Some(clear(&keeper)?)
        }
        operation => Some(change(&keeper, |record| {
            edit(operation, account, record, || match account {
                Some(_) => Ok(List::of_root(&arguments.root)),
                None => Ok(List::of_card(&Card::open(keeper.path())?)),
            })
        })?),
    };
    // Without the lock, and not for writing: a person without rights may look, and a write that is going on
    // leaves the older copy alone.
    let store = keeper.store()?;
    tell(&store);
    let report = Report { card: keeper.path(), store: &store, account, changed };
    output.write_all(report.told(arguments.json).as_bytes())?;
    Ok(match store.place() {
        Location::Nowhere => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// What keeps the record.
enum Keeper {
    /// A card, or an image of one.
    Card(PathBuf),
    /// Registers of the SoC: the loader found no place on its card.
    Register(PathBuf),
}

impl Keeper {
    /// That of the running system.
    fn of_running(account: &Account, root: &Path) -> Result<Self> {
        match account.card(root)? {
            Some(card) => Ok(Self::Card(card)),
            None => Ok(Self::Register(register::find(root).context(
                "the loader has no place for a state record on its card, and said so at boot \
                 (docs/state-record.md tells how to make room). If it counts in the SoC's registers \
                 instead, Linux needs the driver nvmem_snvs_lpgpr for them",
            )?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Card(path) | Self::Register(path) => path,
        }
    }

    /// The record, to look at.
    fn store(&self) -> Result<Store> {
        match self {
            Self::Card(path) => Ok(Card::open(path)?.store()),
            Self::Register(path) => Ok(register::store(path)),
        }
    }

    /// The record, to change it.
    fn store_to_write(&self) -> Result<Store> {
        match self {
            Self::Card(path) => Ok(Card::open_to_write(path)?.store()),
            Self::Register(path) => Ok(register::store(path)),
        }
    }
}

/// The loader found no place for the record: there is still this boot to tell about.
fn without_keeper(
    arguments: &Arguments,
    account: &Account,
    error: &anyhow::Error,
    output: &mut Vec<u8>,
) -> Result<ExitCode> {
    ensure!(matches!(arguments.operation, Operation::Show), "{error:#}");
    output.write_all(report::account_alone(account, arguments.json).as_bytes())?;
    eprintln!("error: {error:#}");
    Ok(ExitCode::FAILURE)
}

/// What the operation makes of a record. `list` is asked for only if somebody names a generation.
fn edit(
    operation: &Operation,
    account: Option<&Account>,
    record: &mut Record,
    list: impl FnOnce() -> Result<List>,
) -> Result<()> {
    match operation {
        Operation::SetDefault(which) => {
            let identity = which.resolve(list)?;
            let running = account.and_then(|account| account.generation.as_deref());
            record.set_default(identity, running.map(Identity::new));
        }
        Operation::BootOnce(which) => record.boot_once = Some(which.resolve(list)?),
        Operation::Bless { generation: Some(generation), force } => {
            record.bless(list()?.resolve(generation, *force)?);
        }
        Operation::Bless { generation: None, .. } => {
            let Some(account) = account else { bail!("say which generation of the card") };
            let booted = account.generation.as_deref();
            record.bless(Identity::new(booted.context(
                "the loader does not say which generation it booted (no firn,generation in \
                 /proc/device-tree/chosen); name it: firn state bless GENERATION",
            )?));
        }
        Operation::Show | Operation::Pending | Operation::Clear { .. } => {}
    }
    Ok(())
}

impl Which {
    fn resolve(&self, list: impl FnOnce() -> Result<List>) -> Result<Identity> {
        match (&self.generation, &self.toplevel) {
            // The install hook knows what it has installed, and may call before any list has it.
            (_, Some(path)) => list::toplevel(path),
            (Some(generation), None) => list()?.resolve(generation, self.force),
            (None, None) => bail!("say which generation"),
        }
    }
}

/// Edits the record while nobody else does. Whether anything was written.
///
/// # Errors
/// [`edit`]'s, or the record cannot be written; the old one is still there then.
fn change(keeper: &Keeper, edit: impl FnOnce(&mut Record) -> Result<()>) -> Result<bool> {
    let _lock = Lock::take(keeper.path())?;
    let mut store = keeper.store_to_write()?;
    let mut record = store.record().clone();
    edit(&mut record)?;
    if record == *store.record() && store.place() != Location::Nowhere {
        return Ok(false);
    }
    store.write(&record).map_err(|problem| failed(keeper.path(), &problem))?;
    Ok(true)
}

fn clear(keeper: &Keeper) -> Result<bool> {
    let _lock = Lock::take(keeper.path())?;
    let mut store = keeper.store_to_write()?;
    store.clear().map_err(|problem| failed(keeper.path(), &problem))?;
    Ok(true)
}

/// Asks before the record of a card is lost, unless that was told not to. An image is somebody's own file.
fn confirm(path: &Path, yes: bool) -> Result<()> {
    if yes || path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let statement = format!("the state record of {} will be lost", path.display());
    ensure!(std::io::stdin().is_terminal(), "{statement}: say --yes to do so");
    eprint!("{statement}. Clear it? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim().eq_ignore_ascii_case("y"), "nothing was written");
    Ok(())
}

fn failed(path: &Path, problem: &Problem) -> anyhow::Error {
    anyhow::anyhow!("{}: {problem}", path.display())
}

/// What a user should know. What is wrong with a card that registers stand in for, the loader has said; here
/// nobody has looked at it.
fn problems(store: &Store) -> &[Problem] {
    match store.place() {
        Location::Register => &[],
        _ => store.problems(),
    }
}

fn tell(store: &Store) {
    problems(store).iter().for_each(|problem| eprintln!("{problem}"));
}

#[cfg(test)]
mod tests;
