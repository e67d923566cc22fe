//! Source `extlinux`: copies of kernels, initrds and device trees on the boot directory's file system, and
//! an `extlinux.conf` that names them.
//!
//! Files go before the configuration that names them, and it goes before the removal of what it does not
//! name any more: whenever the power fails, all that the present configuration names is there.

mod configuration;
mod entry;
mod pieces;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use firn::nixos::{Generation, list};

use self::{
    configuration::Present,
    entry::{Entry, Piece},
    room::Demand,
};
use super::{
    Installation, extra,
    judge::judge,
    secrets,
    systems::Systems,
    writer::{self, is_full},
};

/// Entries that are written; the loader reads 512 (`extlinux::MAX_ENTRIES`).
const MAX_ENTRIES: usize = 400;

/// Installs: what the loader finds then boots `installation.toplevel` by default.
pub(super) fn install(installation: &Installation<'_>) -> Result<()> {
    let (writer, boot) = (&installation.writer, &installation.config.boot);
    let systems = Systems::read(&mut *writer.tree())?;
    let new = systems.of(&installation.toplevel)?;
    judge(&mut *writer.tree(), new, installation.board)?;

    writer.make_directories(&format!("{boot}/nixos"), 0o755)?;
    writer.make_directories(&format!("{boot}/extlinux"), 0o755)?;
    let present = Present::read(writer, boot)?;
    let mut wanted = entries(installation, &systems, &present)?;
    copy(installation, &present, &mut wanted)?;
    extra::write(installation)?;
    writer.sync_file_system(boot)?;
    installation.sync_store()?;

    write(installation, &present, &mut wanted)?;
    writer.sync_file_system(boot)?;
    installation.set_default()?;

    clean(installation, &wanted)?;
    extra::clean(installation)?;
    installation.say(format!("{boot} lists {}", count(&wanted)));
    Ok(())
}

/// What is to be listed, in the order of the menu.
fn entries(
    installation: &Installation<'_>,
    systems: &Systems,
    present: &Present,
) -> Result<Vec<Entry>> {
    let generations = &systems.generations;
    let is_new = |id: &str| id == installation.toplevel;
    let is_wanted = |id: &str| is_new(id) || installation.keeps(id);
    // An image lists what it has by no number: the date would be that of the build.
    let is_left_out = |id: &str| installation.populates && !is_new(id);
    let limit = installation.config.configuration_limit;
    let mut entries: Vec<Entry> = Vec::new();
    for index in list::within_limit(generations, limit, |index| is_wanted(&generations[index].id)) {
        let generation = &generations[index];
        match &generation.broken {
            _ if is_left_out(&generation.id) => {}
            Some(broken) => installation.say(format!("{} is left out: {broken}", generation.name)),
            None if entries.len() < MAX_ENTRIES || is_wanted(&generation.id) => {
                entries.push(entry(installation, systems, present, generation)?);
            }
            None => {}
        }
    }
    // What runs, or what the state record names, may have left its profile.
    for other in present.entries.iter().filter(|entry| installation.keeps(&entry.id)) {
        let is_listed = entries.iter().any(|entry| entry.id == other.id);
        if !is_listed && installation.writer.tree().metadata(&other.id).is_ok() {
            entries.push(other.clone());
        }
    }
    Ok(entries)
}

fn entry(
    installation: &Installation<'_>,
    systems: &Systems,
    present: &Present,
    generation: &Generation,
) -> Result<Entry> {
    let mut tree = installation.writer.tree();
    let toplevel = &generation.id;
    let version = writer::read(&mut *tree, &format!("{toplevel}/nixos-version"))?;
    let version = version.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let version = version.or_else(|| generation.version.clone()).unwrap_or_default();
    let dtbs = tree.read_link(&format!("{toplevel}/dtbs")).ok();

    let is_new = installation.is_new(generation, systems);
    let secrets = pieces::secrets_name(toplevel);
    if !is_new && present.names(toplevel, &secrets) {
        let mut entry = Entry::of(generation, &version, dtbs.as_deref(), None);
        entry.initrds.push(secrets.clone());
        entry.pieces.insert(secrets, Piece::There);
        return Ok(entry);
    }
    let secrets = secrets::of(installation, toplevel, is_new)?;
    Ok(Entry::of(generation, &version, dtbs.as_deref(), secrets))
}

/// Puts all files in their places. Where there is no room, older generations give way.
fn copy(installation: &Installation<'_>, present: &Present, wanted: &mut Vec<Entry>) -> Result<()> {
    let boot = &installation.config.boot;
    let mut has_made_room = false;
    loop {
        let missing = missing(installation, wanted)?;
        let demand = Demand::new(installation, present, wanted, &missing)?;
        if let Some(given_up) = demand.give_up(wanted)? {
            tell(installation, &given_up);
            continue;
        }
        if demand.needs_room() {
            make_room(installation, present, wanted)?;
            has_made_room = true;
        }
        let put = missing
            .iter()
            .try_for_each(|(name, piece)| pieces::put(&installation.writer, boot, name, piece));
        match put {
            // The disk has less room than it says.
            Err(error) if is_full(&error) => {
                if has_made_room {
                    give_up_one(installation, &demand, wanted, &error)?;
                }
                make_room(installation, present, wanted)?;
                has_made_room = true;
            }
            put => return put,
        }
    }
}

/// Goes without the oldest generation that may be missing; with none left, `error` is why.
fn give_up_one(
    installation: &Installation<'_>,
    demand: &Demand<'_>,
    wanted: &mut Vec<Entry>,
    error: &anyhow::Error,
) -> Result<()> {
    let given_up = demand.give_up_one(wanted).with_context(|| format!("{error:#}"))?;
    tell(installation, &given_up);
    Ok(())
}

/// Writes the configuration that names all that is wanted, where there is no room, of less.
fn write(
    installation: &Installation<'_>,
    present: &Present,
    wanted: &mut Vec<Entry>,
) -> Result<()> {
    let mut has_made_room = false;
    loop {
        match configuration::put(installation, &configuration::new(installation, wanted)?) {
            Err(error) if is_full(&error) => {
                if has_made_room {
                    let demand = Demand::new(installation, present, wanted, &BTreeMap::new())?;
                    give_up_one(installation, &demand, wanted, &error)?;
                }
                make_room(installation, present, wanted)?;
                has_made_room = true;
            }
            put => return put,
        }
    }
}

/// What `wanted` names and is not there yet, or not whole.
fn missing(installation: &Installation<'_>, wanted: &[Entry]) -> Result<BTreeMap<String, Piece>> {
    let mut missing = BTreeMap::new();
    for entry in wanted {
        let thorough = entry.id == installation.toplevel;
        for (name, piece) in &entry.pieces {
            let (writer, boot) = (&installation.writer, &installation.config.boot);
            if !missing.contains_key(name)
                && !pieces::is_there(writer, boot, name, piece, thorough)?
            {
                missing.insert(name.clone(), piece.clone());
            }
        }
    }
    Ok(missing)
}

/// Removes what neither the present default nor anything in `wanted` needs. A configuration that does
/// not name what goes takes the place of the present one before.
fn make_room(installation: &Installation<'_>, present: &Present, wanted: &[Entry]) -> Result<()> {
    let of_wanted: Vec<&String> = wanted.iter().flat_map(|entry| entry.pieces.keys()).collect();
    let needed =
        |present: &Present| present.pieces().chain(of_wanted.iter().copied()).cloned().collect();
    // What is left of cut installations goes at once.
    remove_all_but(installation, &needed(present))?;
    let kept = present.reduced(|entry| {
        installation.keeps_now(&entry.id) || wanted.iter().any(|wanted| wanted.id == entry.id)
    });
    if kept.entries.len() < present.entries.len()
        && let Some(file) = kept.file(installation)
    {
        match configuration::put(installation, &file) {
            // Not even room for that: then the files go first. What is given up is listed a moment longer,
            // and cannot be booted; the default can.
            Err(error) if is_full(&error) => {
                remove_all_but(installation, &needed(&kept))?;
                configuration::put(installation, &file)?;
            }
            put => put?,
        }
        installation.writer.sync_file_system(&installation.config.boot)?;
        remove_all_but(installation, &needed(&kept))?;
    }
    Ok(())
}

/// Removes what `wanted` does not name.
fn clean(installation: &Installation<'_>, wanted: &[Entry]) -> Result<()> {
    let needed = wanted.iter().flat_map(|entry| entry.pieces.keys()).cloned().collect();
    remove_all_but(installation, &needed)?;
    let unfinished = format!("{}/extlinux/extlinux.conf.tmp", installation.config.boot);
    installation.writer.remove_all(&unfinished)
}

fn remove_all_but(installation: &Installation<'_>, needed: &BTreeSet<String>) -> Result<()> {
    let (writer, boot) = (&installation.writer, &installation.config.boot);
    let entries = loader_entries(installation)?;
    let mut removed = false;
    for name in writer.names(&format!("{boot}/nixos"))? {
        if !needed.contains(&format!("nixos/{name}")) && !entries.contains(&name) {
            writer.remove_all(&format!("{boot}/nixos/{name}"))?;
            removed = true;
        }
    }
    // Freed clusters are of use when the disk knows that they are.
    if removed { writer.sync_file_system(boot) } else { Ok(()) }
}

/// The text of all loader entries beside: they may name files in `nixos/`, too.
fn loader_entries(installation: &Installation<'_>) -> Result<String> {
    let directory = format!("{}/loader/entries", installation.config.boot);
    let mut text = String::new();
    for name in installation.writer.names(&directory)? {
        let bytes = writer::read(&mut *installation.writer.tree(), &format!("{directory}/{name}"))?;
        text += &String::from_utf8_lossy(&bytes.unwrap_or_default());
    }
    Ok(text)
}

fn tell(installation: &Installation<'_>, given_up: &[Entry]) {
    for entry in given_up {
        installation.say(format!(
            "{} is full: {} ({}) is not listed any more",
            installation.config.boot, entry.label, entry.id
        ));
    }
}

fn count(wanted: &[Entry]) -> String {
    let groups: BTreeSet<_> = wanted.iter().map(|entry| &entry.group).collect();
    let many = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    match wanted.len() - groups.len() {
        0 => many(groups.len(), "generation"),
        rest => {
            format!("{} with {}", many(groups.len(), "generation"), many(rest, "specialisation"))
        }
    }
}
