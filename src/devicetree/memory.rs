//! Memory in a tree: what is there, what is reserved.
//!
//! Source: Devicetree Specification v0.4, 3.4 (`/memory`) and 3.5 (`/reserved-memory`).

use alloc::{format, vec::Vec};
use core::fmt;

use super::{Cells, DeviceTree, DeviceTreeBuf, Node, Property, edit};
use crate::{
    error::{Code, Coded},
    memory::Region,
};

/// A range that the tree keeps for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation<'a> {
    /// The range.
    pub region: Region,
    /// The node's name, or `/memreserve/`.
    pub owner: &'a str,
    /// Whether it must not be mapped.
    pub no_map: bool,
}

/// The banks of DRAM that the tree describes, in its order.
pub fn banks(tree: DeviceTree<'_>) -> Vec<Region> {
    let root = tree.root();
    let nodes = root.children().filter(|node| is_memory(*node) && node.is_enabled());
    nodes.flat_map(|node| node.regions(root.cells())).filter(|bank| !bank.is_empty()).collect()
}

/// The ranges that the tree reserves: `/memreserve/` and the children of `/reserved-memory` that
/// have a place. Those that only have a size get their place from the kernel.
pub fn reservations(tree: DeviceTree<'_>) -> Vec<Reservation<'_>> {
    let listed = tree.memory_reservations().map(|region| Reservation {
        region,
        owner: "/memreserve/",
        no_map: false,
    });
    let nodes = tree.find("/reserved-memory").into_iter().flat_map(|parent| {
        let cells = parent.cells();
        parent.children().filter(|node| node.is_enabled()).flat_map(move |node| {
            let no_map = node.property("no-map").is_some();
            node.regions(cells).map(move |region| Reservation {
                region,
                owner: node.name(),
                no_map,
            })
        })
    });
    listed.chain(nodes).filter(|reservation| !reservation.region.is_empty()).collect()
}

/// Makes `banks` all the memory that the tree describes: the first memory node gets them, further
/// ones go.
pub fn set_banks(tree: &mut DeviceTreeBuf, banks: &[Region]) -> Result<(), Error> {
    let Some(first) = banks.first() else { return Err(Error::NoBank) };
    let reg = encode(banks, tree.view().root().cells())?;
    let mut seen = 0;
    tree.root_mut().retain_children(|node| {
        seen += usize::from(is_memory(*node));
        !is_memory(*node) || seen == 1
    });
    let mut node = match tree.root_mut().find_child(|node| is_memory(*node)) {
        Some(node) => node,
        None => tree.root_mut().add_child(&format!("memory@{:x}", first.start()))?,
    };
    node.remove("status");
    node.set_str("device_type", "memory")?;
    node.set("reg", &reg)?;
    Ok(())
}

fn is_memory(node: Node<'_>) -> bool {
    node.property("device_type").and_then(Property::as_str) == Some("memory")
}

fn encode(banks: &[Region], cells: Cells) -> Result<Vec<u8>, Error> {
    let mut reg = Vec::new();
    for bank in banks {
        for (number, cells) in [(bank.start(), cells.address), (bank.size(), cells.size)] {
            let bytes = number.to_be_bytes();
            let (unused, used) = match cells {
                1 => bytes.split_at(4),
                2 => bytes.split_at(0),
                _ => return Err(Error::Cells { bank: *bank, cells }),
            };
            if unused.iter().any(|&byte| byte != 0) {
                return Err(Error::Cells { bank: *bank, cells });
            }
            reg.extend_from_slice(used);
        }
    }
    Ok(reg)
}

/// Why memory cannot be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is none to describe.
    NoBank,
    /// The tree's root writes numbers in so many cells, which a bank does not fit into.
    Cells {
        /// The bank.
        bank: Region,
        /// 32-bit cells of a start or size.
        cells: usize,
    },
    /// The tree cannot be edited.
    Edit(edit::Error),
}

impl From<edit::Error> for Error {
    fn from(error: edit::Error) -> Self {
        Self::Edit(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::DeviceTreeEdit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit(error) => error.fmt(f),
            Self::NoBank => write!(f, "{}: no memory to describe", self.code().summary()),
            Self::Cells { bank, cells } => write!(
                f,
                "{}: the memory {bank} cannot be written in {cells} cells of 32 bits",
                self.code().summary()
            ),
        }
    }
}

impl core::error::Error for Error {}
