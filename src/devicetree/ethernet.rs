//! Ethernet interfaces in a tree, and what it says of their addresses.
//!
//! Sources: Linux `Documentation/devicetree/bindings/net/ethernet-controller.yaml` and
//! `net/core/of_net.c` (which property counts: `mac-address`, `local-mac-address`, then nvmem).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{DeviceTree, DeviceTreeBuf, Node, Property, edit::Error, fixup::walk};
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
    let mut interfaces: Vec<_> = aliases
        .filter_map(|alias| {
            let number = alias.name().strip_prefix("ethernet")?.parse().ok()?;
            let path = alias.as_str()?;
            let node = tree.find(path)?;
            Some(Interface {
                number,
                path: path.to_string(),
                is_of_soc: hardware.controllers.iter().any(|name| node.is_compatible(name)),
                told: told(tree, node, hardware),
            })
        })
        .take(MAX_INTERFACES)
        .collect();
    crate::sorting::sort_by_key(&mut interfaces, |interface| interface.number);
    interfaces
}

fn told(tree: DeviceTree<'_>, node: Node<'_>, hardware: &Hardware) -> Told {
    let address = |name| Address::new(node.property(name)?.value().try_into().ok()?).ok();
    match address(CURRENT).or_else(|| address(LOCAL)) {
        Some(address) => Told::Address(address),
        None if is_elsewhere(tree, node, hardware) => Told::Elsewhere,
        None => Told::Nothing,
    }
}

/// Whether the tree names a cell of memory that is not the SoC's fuses.
fn is_elsewhere(tree: DeviceTree<'_>, node: Node<'_>, hardware: &Hardware) -> bool {
    let mut names = node.property("nvmem-cell-names").into_iter().flat_map(Property::strings);
    let Some(index) = names.position(|name| name == CURRENT) else { return false };
    let cells = node.property("nvmem-cells").map_or(&[][..], Property::value);
    let Some(phandle) = cells.chunks_exact(4).nth(index) else { return false };
    let mut is_fuse = false;
    let mut fuses = String::new();
    walk(tree, |path, node| {
        if hardware.fuses.iter().any(|name| node.is_compatible(name)) {
            fuses.clear();
            fuses.push_str(path);
        }
        let is_it = node.property("phandle").is_some_and(|found| found.value() == phandle);
        let below = path.strip_prefix(&*fuses).is_some_and(|rest| rest.starts_with('/'));
        is_fuse |= is_it && !fuses.is_empty() && below;
    });
    !is_fuse
}

/// Makes `address` that of the interface at `path`.
pub fn set_address(tree: &mut DeviceTreeBuf, path: &str, address: Address) -> Result<(), Error> {
    let Some(mut node) = tree.find_mut(path) else { return Ok(()) };
    if node.as_node().property(CURRENT).is_some() {
        node.set(CURRENT, &address.bytes())?;
    }
    node.set(LOCAL, &address.bytes())
}
