//! Ethernet interfaces in a tree, and what it says of their addresses.
//!
//! Sources: Linux `Documentation/devicetree/bindings/net/ethernet-controller.yaml` and
//! `net/core/of_net.c` (which property counts: `mac-address`, `local-mac-address`, then nvmem).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{DeviceTree, DeviceTreeBuf, Node, edit::Error};
use crate::ethernet::Address;

/// Interfaces that are looked at; a switch has ten ports.
pub const MAX_INTERFACES: usize = 16;

const LOCAL: &str = "local-mac-address";
const CURRENT: &str = "mac-address";

/// Ethernet of a SoC.
#[derive(Debug)]
pub struct Hardware {
    /// `compatible` of the controllers that are part of it.
    pub controllers: &'static [&'static str],
    /// `compatible` of its fuses.
    pub fuses: &'static [&'static str],
}

/// An interface that has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// N of `/aliases/ethernetN`.
    pub number: usize,
    /// Its node's.
    pub path: String,
    /// Whether it is part of the SoC: others may bring an address of their own.
    pub is_of_soc: bool,
    /// What the tree says of its address.
    pub told: Told,
}

/// What a tree says of an interface's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that it is in the SoC's fuses.
    Nothing,
    /// This is it.
    Address(Address),
    /// Where the kernel finds it, e.g. in the board's EEPROM.
    Elsewhere,
}

/// The interfaces of `tree`, by their numbers.
pub fn interfaces(tree: DeviceTree<'_>, hardware: &Hardware) -> Vec<Interface> {
    let aliases = tree.find("/aliases").into_iter().flat_map(Node::properties);
    let mut fuses = Fuses { hardware, tree, found: None };
    let mut interfaces: Vec<_> = aliases
        .filter_map(|alias| {
            let number = alias.name().strip_prefix("ethernet")?.parse().ok()?;
            let path = alias.as_str()?;
            let node = tree.find(path)?;
            Some(Interface {
                number,
                path: path.to_string(),
                is_of_soc: hardware.controllers.iter().any(|name| node.is_compatible(name)),
                told: told(node, &mut fuses),
            })
        })
        .take(MAX_INTERFACES)
        .collect();
    crate::sorting::sort_by_key(&mut interfaces, |interface| interface.number);
    interfaces
}

fn told(node: Node<'_>, fuses: &mut Fuses<'_, '_>) -> Told {
    let address = |name| Address::new(node.property(name)?.value().try_into().ok()?).ok();
    if let Some(address) = address(CURRENT).or_else(|| address(LOCAL)) {
        return Told::Address(address);
    }
    match cell(node) {
        Some(phandle) if !fuses.hold(phandle) => Told::Elsewhere,
        _ => Told::Nothing,
    }
}

/// The cell of memory that the tree names for the address.
fn cell(node: Node<'_>) -> Option<&[u8]> {
    let mut names = node.property("nvmem-cell-names")?.strings();
    let index = names.position(|name| name == CURRENT)?;
    node.property("nvmem-cells")?.value().chunks_exact(4).nth(index)
}

/// The SoC's fuses in a tree, which is searched for them once.
struct Fuses<'t, 'h> {
    hardware: &'h Hardware,
    tree: DeviceTree<'t>,
    found: Option<Vec<Node<'t>>>,
}

impl<'t> Fuses<'t, '_> {
    /// Whether the cell with this phandle is one of theirs.
    fn hold(&mut self, phandle: &[u8]) -> bool {
        let names = self.hardware.fuses;
        // What lies in one that was found is searched with it.
        let mut end = 0;
        let is_fuses = |node: &Node<'t>| {
            let is = node.start >= end && names.iter().any(|name| node.is_compatible(name));
            if is {
                end = node.extent().end;
            }
            is
        };
        let tree = self.tree;
        let found = self.found.get_or_insert_with(|| tree.nodes().filter(is_fuses).collect());
        let is_it =
            |node: Node<'t>| node.property("phandle").is_some_and(|it| it.value() == phandle);
        found.iter().any(|fuses| fuses.descendants().any(is_it))
    }
}

/// Makes `address` that of the interface at `path`.
pub fn set_address(tree: &mut DeviceTreeBuf, path: &str, address: Address) -> Result<(), Error> {
    let Some(mut node) = tree.find_mut(path) else { return Ok(()) };
    if node.as_node().property(CURRENT).is_some() {
        node.set(CURRENT, &address.bytes())?;
    }
    node.set(LOCAL, &address.bytes())
}
