//! The list as the menu shows it.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::Catalogue;
use crate::{
    menu::Row,
    nixos::{Generation, Source},
    state::{Identity, Record, Standing},
};

/// Rows, and which generation each of them is.
pub(super) struct Listing {
    /// In the order of the list.
    pub(super) rows: Vec<Row>,
    /// For each row the index of its generation.
    pub(super) indices: Vec<usize>,
}

impl Listing {
    /// What the menu shows of `catalogue`, with what `record` says of each. Of a profile's
    /// generations, `limit` are shown, and beyond them what the record or the `system` link has to
    /// do with.
    pub(super) fn new(catalogue: &Catalogue, record: &Record, limit: Option<u32>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let link = catalogue.link();
        let mut shown = 0_usize;
        let (mut rows, mut indices) = (Vec::new(), Vec::new());
        for (index, generation) in catalogue.generations.iter().enumerate() {
            let row = row(catalogue, index, record);
            if generation.source == Source::Profile && generation.specialisation.is_none() {
                shown += 1;
            }
            let is_within = generation.source != Source::Profile || shown <= limit;
            let matters = generation.default
                || link == Some(index)
                || row.last_booted
                || row.standing.is_some();
            if is_within || matters {
                rows.push(row);
                indices.push(index);
            }
        }
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
        last_booted: booted.is_some_and(|booted| booted.identity == identity),
        rolled_back: standing.is_some_and(Standing::has_failed),
    }
}
