//! Memory in a tree: what is there, what is reserved.
//!
//! Sources: Devicetree Specification v0.4, 3.4 (`/memory`) and 3.5 (`/reserved-memory`); Linux
//! `drivers/of/of_reserved_mem.c` for what the kernel makes of the latter.

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

/// Memory that the tree wants kept at a place that the kernel chooses: a pool for DMA, mostly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicReservation<'a> {
    /// The node's name.
    pub owner: &'a str,
    /// Bytes.
    pub size: u64,
    /// What its start is a multiple of, in bytes; 0 if the tree does not say.
    pub alignment: u64,
    /// Where it may lie, best first; everywhere if there are none.
    pub ranges: Vec<Region>,
    /// Whether the kernel uses it for what can be moved away while no device needs it (CMA).
    pub reusable: bool,
    /// Whether it is the pool of all devices that have none of their own (`linux,cma-default`).
    pub default_pool: bool,
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
    let nodes = reserved_memory(tree).flat_map(|(node, cells)| {
        let no_map = node.property("no-map").is_some();
        node.regions(cells).map(move |region| Reservation { region, owner: node.name(), no_map })
    });
    listed.chain(nodes).filter(|reservation| !reservation.region.is_empty()).collect()
}

/// The children of `/reserved-memory` that have a size, but no place, in the tree's order.
pub fn dynamic_reservations(tree: DeviceTree<'_>) -> impl Iterator<Item = DynamicReservation<'_>> {
    reserved_memory(tree).filter_map(|(node, cells)| {
        if node.property("reg").is_some() {
            return None;
        }
        let is_pool = node.is_compatible("shared-dma-pool") && node.property("no-map").is_none();
        let ranges = node.property("alloc-ranges");
        Some(DynamicReservation {
            owner: node.name(),
            size: node.property("size")?.as_u64().filter(|&size| size > 0)?,
            alignment: node.property("alignment").and_then(Property::as_u64).unwrap_or(0),
            ranges: ranges.into_iter().flat_map(|ranges| ranges.regions(cells)).collect(),
            reusable: is_pool && node.property("reusable").is_some(),
            default_pool: is_pool && node.property("linux,cma-default").is_some(),
        })
    })
}

/// The children of `/reserved-memory` that are in use, with the cells of their numbers.
fn reserved_memory(tree: DeviceTree<'_>) -> impl Iterator<Item = (Node<'_>, Cells)> {
    let parent = tree.find("/reserved-memory");
    parent.into_iter().flat_map(|parent| {
        let cells = parent.cells();
        parent.children().filter(|node| node.is_enabled()).map(move |node| (node, cells))
    })
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

/// `banks` as a `reg` of these cells.
pub(super) fn encode(banks: &[Region], cells: Cells) -> Result<Vec<u8>, Error> {
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
