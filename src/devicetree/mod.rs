//! Flattened device trees: validate, read, edit.
//!
//! A tree comes from a card or from the stage before and may hold anything. [`DeviceTree::validate`]
//! looks at every byte that matters once; what it lets through is read ([`Node`], [`Property`],
//! [`memory`]) and edited ([`DeviceTreeBuf`], [`overlay`], [`fixup`], [`chosen`]) without a way to
//! panic. All of it works on the flat form: a tree in memory as one object a node and property costs
//! 19,000 calls of the allocator for the EVK's tree, and 67 MB of heap for a hostile one of 2 MB.
//!
//! Source: Devicetree Specification v0.4, chapter 5 (flattened format).

#![forbid(unsafe_code)]

pub mod chosen;
pub mod edit;
pub mod ethernet;
mod excerpt;
pub mod files;
pub mod fixup;
mod index;
pub mod memory;
pub mod overlay;
mod read;
mod rewrite;
mod tokens;
mod validate;

pub use edit::{DeviceTreeBuf, NodeMut};
pub use read::{Cells, DeviceTree, Node, Property};
pub use validate::{Error, ErrorKind, HEADER_SIZE, MAX_SIZE, total_size};

/// The longest name of a node or property, in bytes. The specification says 31; real trees do not
/// keep to it.
pub const MAX_NAME: usize = 255;

/// The magic number in a tree's first four bytes.
const MAGIC: u32 = 0xd00d_feed;

/// The big-endian 32-bit number at `offset`, if there is one.
fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Whether `name` may name a property, or, without `/`, a node.
fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}
