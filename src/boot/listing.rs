//! The list as the menu shows it.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::Catalogue;
use crate::{
    menu::Row,
    nixos::{Generation, list},
    state::{Identity, Record, Standing},
};

/// Rows, and which generation each of them is.
pub struct Listing {
    /// In the order of the list.
    pub rows: Vec<Row>,
    /// For each row the index of its generation.
    pub indices: Vec<usize>,
}

impl Listing {
    /// What the menu shows of `catalogue`, with what `record` says of each. Of a profile's
    /// generations, `limit` are shown, and beyond them what the record or the `system` link has to
    /// do with.
    pub fn new(catalogue: &Catalogue, record: &Record, limit: Option<u32>) -> Self {
        let link = catalogue.link();
        let row = |index: usize| row(catalogue, index, record);
        let mut rows: Vec<Option<Row>> =
            (0..catalogue.generations.len()).map(|index| Some(row(index))).collect();
        let matters = |index: usize| {
            let row = rows[index].as_ref();
            let is_default = link == Some(index) || catalogue.generations[index].default;
            is_default || row.is_some_and(|row| row.last_booted || row.standing.is_some())
        };
        let indices = list::within_limit(&catalogue.generations, limit, matters);
        let rows = indices.iter().filter_map(|&index| rows[index].take()).collect();
        Self { rows, indices }
    }
}

fn row(catalogue: &Catalogue, index: usize, record: &Record) -> Row {
    let generation: &Generation = &catalogue.generations[index];
    let identity = Identity::new(&generation.id);
    let standing = record.standing(&identity);
    let booted = record.last_booted.as_ref();
    let volume = catalogue.volume_of(index).and_then(|volume| catalogue.volumes.get(volume));
    Row {
        generation: generation.clone(),
        volume: volume.map(|volume| volume.name.clone()),
        standing,
        last_booted: booted.is_some_and(|booted| booted.identity.matches(&identity)),
        rolled_back: standing.is_some_and(Standing::has_failed),
    }
}
