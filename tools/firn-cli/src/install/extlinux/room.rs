//! Room on a boot directory that is full: who gives way to a new generation, and who does not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use firn::memory::Size;

use super::{
    configuration::{self, Present},
    entry::{Entry, Group, Piece},
    pieces::{self, room_of},
};
use crate::install::{Installation, writer::size};

/// For directories, names and a configuration beside the old one, in units of the file system.
const SPARE_UNITS: u64 = 8;

/// How much room is needed, and how much there is.
pub(super) struct Demand<'a> {
    installation: &'a Installation<'a>,
    /// Bytes of all that is to be written.
    needed: u64,
    free: u64,
    /// Bytes that go with what nobody needs now or will need.
    spare: u64,
}

impl<'a> Demand<'a> {
    /// Of an installation that is to write `missing`, so that there is all that is `wanted`.
    pub(super) fn new(
        installation: &'a Installation<'a>,
        present: &Present,
        wanted: &[Entry],
        missing: &BTreeMap<String, Piece>,
    ) -> Result<Self> {
        let (writer, boot) = (&installation.writer, &installation.config.boot);
        let room = writer.room(boot)?;
        let configuration = configuration::new(installation, wanted)?;
        let mut needed = 0;
        for piece in missing.values() {
            needed += room_of(&mut *writer.tree(), piece, room.unit, room.unit)?;
        }
        if !configuration::is_there(installation, &configuration)? {
            let size = size(&mut *writer.tree(), &configuration)?;
            needed += size.div_ceil(room.unit) * room.unit + SPARE_UNITS * room.unit;
        }
        let kept = present.reduced(|entry| installation.keeps_now(&entry.id));
        let kept: BTreeSet<&String> = kept.pieces().chain(names(wanted)).collect();
        let there = pieces::there(writer, boot, room.unit)?;
        let spare = there.iter().filter(|(name, _)| !kept.contains(name)).map(|(_, size)| size);
        Ok(Self { installation, needed, free: room.free, spare: spare.sum() })
    }

    /// Whether something has to go before anything can be written.
    pub(super) fn needs_room(&self) -> bool {
        self.needed > self.free
    }

    /// Takes the oldest generation out of `wanted` if there is not enough room for all.
    ///
    /// # Errors
    /// There is not enough for those that have to stay either.
    pub(super) fn give_up(&self, wanted: &mut Vec<Entry>) -> Result<Option<Vec<Entry>>> {
        if self.needed <= self.free + self.spare {
            return Ok(None);
        }
        self.give_up_one(wanted).map(Some)
    }

    /// Takes the oldest generation out of `wanted`.
    ///
    /// # Errors
    /// Those that are left have to stay.
    pub(super) fn give_up_one(&self, wanted: &mut Vec<Entry>) -> Result<Vec<Entry>> {
        let installation = self.installation;
        let stays = |group: &Group| {
            let mut of_group = wanted.iter().filter(|entry| entry.group == *group);
            of_group.any(|entry| entry.id == installation.toplevel || installation.keeps(&entry.id))
        };
        // Titles hold the date; of generations of one profile the numbers tell the same.
        let age = |entry: &&Entry| (entry.date.clone(), entry.group.1);
        let oldest = wanted.iter().filter(|entry| !stays(&entry.group)).min_by_key(age);
        let Some(group) = oldest.map(|entry| entry.group.clone()) else {
            bail!(
                "{} has no room for {}: {} are missing ({} needed, {} free, {} to be had by removing what \
                 nothing needs); what runs, what the state record names and what boots now stay. Nothing was \
                 changed that boots: make room in {}, or make the file system larger",
                installation.config.boot,
                installation.toplevel,
                Size(self.needed.saturating_sub(self.free + self.spare)),
                Size(self.needed),
                Size(self.free),
                Size(self.spare),
                installation.config.boot,
            );
        };
        let (gone, left) = wanted.drain(..).partition(|entry| entry.group == group);
        *wanted = left;
        Ok(gone)
    }
}

fn names(entries: &[Entry]) -> impl Iterator<Item = &String> {
    entries.iter().flat_map(|entry| entry.pieces.keys())
}
