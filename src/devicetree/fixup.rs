//! Fix-ups: what is changed in a kernel's tree so that it describes the hardware that is there.
//!
//! This is how; what and when is data of the SoC ([`crate::soc::fixups`]) and of the board. A tree
//! may come from any kernel: a node is known by its paths, or by its `compatible` and unit address.
//! It may also hold anything: each action makes at most [`MAX_EDITS`] edits.

mod processors;
mod tee;
mod trips;
mod walk;

pub(super) use walk::walk;

pub use processors::Processors;
pub use tee::Tee;
pub use trips::{Temperature, Trips};

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{DeviceTreeBuf, Node, edit};
use crate::error::{Code, Coded};

/// Edits that one action makes at most. Real trees need a dozen; each moves what lies behind it.
pub const MAX_EDITS: usize = 128;

/// What trees call a piece of hardware.
#[derive(Debug)]
pub struct NodeName {
    /// Where it is in the trees that are known.
    pub paths: &'static [&'static str],
    /// In others: what stands behind the `@` of its name, and one of the strings in its
    /// `compatible`. Empty where that says too little.
    pub address: &'static str,
    /// See `address`.
    pub compatible: &'static [&'static str],
}

impl NodeName {
    fn matches(&self, path: &str, node: Node<'_>) -> bool {
        let address = node.name().split_once('@').map_or("", |(_, address)| address);
        self.paths.contains(&path)
            || !address.is_empty()
                && address == self.address
                && self.compatible.iter().any(|name| node.is_compatible(name))
    }
}

/// What is done to a tree.
#[derive(Debug)]
pub enum Action {
    /// These get `status = "disabled"`, so that the kernel makes no device of them.
    Disable(&'static [NodeName]),
    /// Processors beyond the first few go, and with them what speaks of them.
    Keep(Processors),
    /// Thermal zones get other trip temperatures.
    Trip(Trips),
}

impl Action {
    /// Does it; says to which nodes. One that is not there is passed over, unless no tree does
    /// without it: then nothing is changed.
    pub fn apply(&self, tree: &mut DeviceTreeBuf) -> Result<Vec<String>, Error> {
        let edits = match self {
            Self::Disable(names) => disable(tree, names),
            Self::Keep(processors) => processors.edits(tree)?,
            Self::Trip(trips) => trips.edits(tree),
        };
        edits.make(tree)
    }
}

/// Edits that are to be made, in the order of the tree.
#[derive(Default)]
struct Edits(Vec<Edit>);

struct Edit {
    /// Of which node, by its place in the structure.
    start: usize,
    path: String,
    change: Change,
}

enum Change {
    Disable,
    Delete,
    Set(&'static str, Vec<u8>),
}

fn disable(tree: &DeviceTreeBuf, names: &[NodeName]) -> Edits {
    let mut edits = Edits::default();
    walk(tree.view(), |path, node| {
        if node.is_enabled() && names.iter().any(|name| name.matches(path, node)) {
            edits.push(path, node, Change::Disable);
        }
    });
    edits
}

impl Edits {
    fn push(&mut self, path: &str, node: Node<'_>, change: Change) {
        // One too many is enough to know.
        if self.0.len() <= MAX_EDITS {
            self.0.push(Edit { start: node.start, path: path.to_owned(), change });
        }
    }

    /// The last one first: an edit moves only what lies behind it.
    fn make(self, tree: &mut DeviceTreeBuf) -> Result<Vec<String>, Error> {
        let Self(edits) = self;
        if edits.len() > MAX_EDITS {
            return Err(Error::TooMany);
        }
        for Edit { start, path, change } in edits.iter().rev() {
            let mut node = tree.node_mut(*start);
            match change {
                Change::Disable => {
                    log::debug!("device tree: {path} is disabled");
                    node.set_str("status", "disabled")?;
                }
                Change::Delete => {
                    log::debug!("device tree: {path} is deleted");
                    node.delete();
                }
                Change::Set(name, value) => {
                    log::debug!("device tree: {path} gets another {name}");
                    node.set(name, value)?;
                }
            }
        }
        Ok(edits.into_iter().map(|edit| edit.path).collect())
    }
}

/// Why a tree cannot be fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It cannot be edited.
    Edit(edit::Error),
    /// There is more to change than any real tree has.
    TooMany,
    /// It lacks a node or property that every tree has.
    Missing(&'static str),
    /// Memory that it has to reserve cannot be written in its cells.
    Cells,
}

impl From<edit::Error> for Error {
    fn from(error: edit::Error) -> Self {
        Self::Edit(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::DeviceTreeFixup
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code().summary())?;
        match self {
            Self::Edit(error) => f.write_str(&error.to_string()),
            Self::TooMany => write!(f, "one change would take more than {MAX_EDITS} edits"),
            Self::Missing(what) => write!(f, "it has no {what}"),
            Self::Cells => f.write_str("/reserved-memory cannot hold addresses of 64 bits"),
        }
    }
}

impl core::error::Error for Error {}
