//! A structure written anew in one pass, for changes that are too many to be made one by one: each
//! would move what lies behind it, and look for its name among all strings.

use alloc::vec::Vec;
use core::mem;

use super::{
    DeviceTreeBuf, MAX_SIZE,
    edit::{Error, push_aligned},
    index::Index,
    is_name,
    tokens::{BEGIN_NODE, END_NODE, PROPERTY, TAG_SIZE, aligned},
};
use crate::sorting::sort_by;

/// A structure that takes the place of an old one, from the front.
pub(super) struct Rewrite<'b> {
    old: &'b [u8],
    /// How much of the old one has been dealt with.
    done: usize,
    new: Vec<u8>,
}

impl<'b> Rewrite<'b> {
    /// Begins; the new structure will be larger by at most `growth` bytes.
    pub(super) fn new(old: &'b [u8], growth: usize) -> Result<Self, Error> {
        let needed = old.len().saturating_add(growth);
        let mut new = Vec::new();
        new.try_reserve_exact(needed).map_err(|_| Error::NoMemory { needed })?;
        Ok(Self { old, done: 0, new })
    }

    /// Keeps what lies in front of `offset` of the old structure.
    pub(super) fn keep_to(&mut self, offset: usize) {
        self.new.extend_from_slice(self.old.get(self.done..offset).unwrap_or_default());
        self.done = self.done.max(offset);
    }

    /// Leaves out what lies in front of `offset` of the old structure.
    pub(super) fn skip_to(&mut self, offset: usize) {
        self.done = self.done.max(offset);
    }

    /// Adds a property, whose name stands at `name_offset` of the strings.
    pub(super) fn property(&mut self, name_offset: u32, value: &[u8]) -> Result<(), Error> {
        let size = u32::try_from(value.len())
            .map_err(|_| Error::NoRoom { needed: value.len(), room: MAX_SIZE })?;
        for word in [PROPERTY, size, name_offset] {
            self.new.extend_from_slice(&word.to_be_bytes());
        }
        push_aligned(&mut self.new, value);
        Ok(())
    }

    /// Begins a node.
    pub(super) fn begin_node(&mut self, name: &str) {
        self.new.extend_from_slice(&BEGIN_NODE.to_be_bytes());
        self.new.extend_from_slice(name.as_bytes());
        push_aligned(&mut self.new, &[0]);
    }

    /// Ends the node that was begun last.
    pub(super) fn end_node(&mut self) {
        self.new.extend_from_slice(&END_NODE.to_be_bytes());
    }

    /// The new structure, with all that is left of the old one.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.keep_to(self.old.len());
        self.new
    }
}

/// New values of a node's properties.
#[derive(Default)]
pub(super) struct Values<'v> {
    /// By name, each once.
    sorted: Vec<Value<'v>>,
}

struct Value<'v> {
    name: &'v str,
    bytes: &'v [u8],
    /// Among all that were given.
    rank: usize,
    taken: bool,
}

impl<'v> Values<'v> {
    /// Of those with one name the last counts.
    pub(super) fn new(properties: impl Iterator<Item = (&'v str, &'v [u8])>) -> Self {
        let value = |(rank, (name, bytes))| Value { name, bytes, rank, taken: false };
        let mut sorted: Vec<_> = properties.enumerate().map(value).collect();
        sort_by(&mut sorted, |one, other| one.name.cmp(other.name));
        sorted.dedup_by(|later, earlier| {
            let same = later.name == earlier.name;
            if same {
                earlier.bytes = later.bytes;
            }
            same
        });
        Self { sorted }
    }

    /// The names, ascending.
    pub(super) fn names(&self) -> Vec<&'v str> {
        self.sorted.iter().map(|value| value.name).collect()
    }

    /// Bytes of their tokens.
    pub(super) fn room(&self) -> usize {
        let tokens = self.sorted.iter().map(|value| aligned(3 * TAG_SIZE + value.bytes.len()));
        tokens.fold(0, usize::saturating_add)
    }

    /// The value that the property called `name` gets, the first time that it is asked for.
    pub(super) fn take(&mut self, name: &str) -> Option<&'v [u8]> {
        let at = self.sorted.binary_search_by(|value| value.name.cmp(name)).ok()?;
        let value = &mut self.sorted[at];
        (!mem::replace(&mut value.taken, true)).then_some(value.bytes)
    }

    /// What nobody asked for, in the order in which it was given; afterwards there is nothing.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = (&'v str, &'v [u8])> + use<'v> {
        let mut rest = mem::take(&mut self.sorted);
        rest.retain(|value| !value.taken);
        sort_by(&mut rest, |one, other| one.rank.cmp(&other.rank));
        rest.into_iter().map(|value| (value.name, value.bytes))
    }
}

/// Where names stand among a tree's strings.
pub(super) struct NameOffsets<'n> {
    sorted: Vec<(&'n str, Option<u32>)>,
}

impl NameOffsets<'_> {
    /// Where `name` stands, which must be one of those that were looked up.
    pub(super) fn of(&self, name: &str) -> Result<u32, Error> {
        let found = self.sorted.binary_search_by(|(known, _)| (*known).cmp(name)).ok();
        let offset = found.and_then(|at| self.sorted.get(at)?.1);
        offset.ok_or_else(|| Error::Name(name.into()))
    }
}

impl DeviceTreeBuf {
    /// Where `names` stand, in one pass through the strings; what is missing is added.
    pub(super) fn name_offsets<'n>(
        &mut self,
        mut names: Vec<&'n str>,
    ) -> Result<NameOffsets<'n>, Error> {
        if let Some(name) = names.iter().find(|name| !is_name(name.as_bytes())) {
            return Err(Error::Name((*name).into()));
        }
        sort_by(&mut names, |one, other| one.cmp(other));
        names.dedup();
        let mut sorted: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
        let mut start = 0;
        for string in self.strings.split_inclusive(|&byte| byte == 0) {
            let name = string.strip_suffix(&[0]);
            let found =
                name.map(|name| sorted.binary_search_by(|(one, _)| one.as_bytes().cmp(name)));
            if let Some(Ok(at)) = found {
                sorted[at].1 = sorted[at].1.or(u32::try_from(start).ok());
            }
            start += string.len();
        }
        self.reserve_strings(&sorted)?;
        for (name, offset) in sorted.iter_mut().filter(|(_, offset)| offset.is_none()) {
            *offset = u32::try_from(self.strings.len()).ok();
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
        }
        Ok(NameOffsets { sorted })
    }

    /// Room for the names that stand nowhere yet.
    fn reserve_strings(&mut self, names: &[(&str, Option<u32>)]) -> Result<(), Error> {
        let missing = names.iter().filter(|(_, offset)| offset.is_none());
        let growth = missing.fold(0_usize, |sum, (name, _)| sum.saturating_add(name.len() + 1));
        let needed = self.size().saturating_add(growth);
        if needed > MAX_SIZE {
            return Err(Error::NoRoom { needed, room: MAX_SIZE });
        }
        self.strings.try_reserve_exact(growth).map_err(|_| Error::NoMemory { needed })
    }

    /// Takes a structure that was written anew, and the index of its nodes.
    pub(super) fn set_structure(&mut self, structure: Vec<u8>, index: Index) -> Result<(), Error> {
        let needed = self.size() - self.structure.len() + structure.len();
        if needed > MAX_SIZE {
            return Err(Error::NoRoom { needed, room: MAX_SIZE });
        }
        self.index = index;
        self.structure = structure;
        Ok(())
    }
}
