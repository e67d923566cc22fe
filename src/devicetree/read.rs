//! Reading a validated tree.
//!
//! Iterators end where a token cannot be read; in a validated tree that is its end.

use alloc::{string::String, vec::Vec};
use core::iter;

use super::{
    index::{self, Extent},
    tokens::{Located, Token, Tokens, name_at},
    validate::RESERVATION_SIZE,
};
use crate::memory::Region;

/// A validated tree. Made by [`DeviceTree::validate`] and by [`super::DeviceTreeBuf::view`].
#[derive(Clone, Copy, Debug)]
pub struct DeviceTree<'a> {
    /// Entries of the memory reservation block, without the one that ends it.
    pub(super) reservations: &'a [u8],
    /// Tokens from the root's to the end token.
    pub(super) structure: &'a [u8],
    /// Names of properties.
    pub(super) strings: &'a [u8],
    /// Physical id of the processor that boots.
    pub(super) boot_cpu: u32,
    /// Where nodes end, as far as that is known.
    pub(super) extents: &'a [Extent],
}

impl<'a> DeviceTree<'a> {
    /// The root.
    pub fn root(self) -> Node<'a> {
        Node::at(self, 0)
    }

    /// The node at an absolute path. As everywhere, the unit address may be left out of a
    /// component: `/memory` finds `/memory@40000000`; the first match counts.
    pub fn find(self, path: &str) -> Option<Node<'a>> {
        components(path)?.try_fold(self.root(), |node, name| node.child(name))
    }

    /// All nodes, each before its children.
    pub fn nodes(self) -> impl Iterator<Item = Node<'a>> {
        self.nodes_from(0)
    }

    /// Those that begin at `offset` of the structure or behind.
    fn nodes_from(self, offset: usize) -> impl Iterator<Item = Node<'a>> {
        let mut tokens = Tokens::new(self.structure, offset);
        iter::from_fn(move || {
            loop {
                let Ok(Located { start, end, token }) = tokens.next_of_node() else { return None };
                match token {
                    Token::BeginNode { name } => {
                        return Some(Node { tree: self, start, name, body: end });
                    }
                    Token::End => return None,
                    Token::EndNode | Token::Property { .. } => {}
                }
            }
        })
    }

    /// Shows all nodes with their paths, each before its children.
    pub(super) fn visit(self, mut visit: impl FnMut(&str, Node<'a>)) {
        let mut tokens = Tokens::new(self.structure, 0);
        let mut path = String::new();
        // Where the paths of the nodes end that are open.
        let mut ends = Vec::new();
        while let Ok(Located { start, end, token }) = tokens.next_of_node() {
            match token {
                Token::BeginNode { name } => {
                    // Whatever the root is called, its path is this.
                    if path != "/" {
                        path.push('/');
                    }
                    if !ends.is_empty() {
                        path.push_str(core::str::from_utf8(name).unwrap_or_default());
                    }
                    ends.push(path.len());
                    visit(&path, Node { tree: self, start, name, body: end });
                }
                Token::EndNode => {
                    ends.pop();
                    path.truncate(ends.last().copied().unwrap_or_default());
                }
                Token::Property { .. } => {}
                Token::End => return,
            }
        }
    }

    /// What `/memreserve/` keeps.
    pub fn memory_reservations(self) -> impl Iterator<Item = Region> {
        self.reservations.chunks_exact(RESERVATION_SIZE).filter_map(|mut entry| {
            let (start, size) = (take_cells(&mut entry, 2)?, take_cells(&mut entry, 2)?);
            Some(Region::new(start, size))
        })
    }

    /// What a person calls the board: the root's `model`.
    pub fn model(self) -> Option<&'a str> {
        self.root().property("model")?.as_str()
    }

    /// Whether the root is compatible with `name`.
    pub fn is_compatible(self, name: &str) -> bool {
        self.root().is_compatible(name)
    }
}

/// The names between the slashes of an absolute path.
pub(super) fn components(path: &str) -> Option<impl Iterator<Item = &str>> {
    Some(path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()))
}

/// A node of a validated tree.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tree: DeviceTree<'a>,
    /// Where its token lies.
    pub(super) start: usize,
    name: &'a [u8],
    /// Where its first property or child lies.
    pub(super) body: usize,
}

impl<'a> Node<'a> {
    /// The first node from `offset` of the structure block on; without any name or contents if
    /// there is none.
    pub(super) fn at(tree: DeviceTree<'a>, offset: usize) -> Self {
        match Tokens::new(tree.structure, offset).next() {
            Ok(Located { start, end, token: Token::BeginNode { name } }) => {
                Node { tree, start, name, body: end }
            }
            _ => Node { tree, start: offset, name: b"", body: tree.structure.len() },
        }
    }

    /// Its name with unit address; empty for the root.
    pub fn name(self) -> &'a str {
        core::str::from_utf8(self.name).unwrap_or_default()
    }

    /// Its properties, in their order.
    pub fn properties(self) -> impl Iterator<Item = Property<'a>> {
        let mut tokens = Tokens::new(self.tree.structure, self.body);
        iter::from_fn(move || Property::at(self.tree, tokens.next().ok()?))
    }

    /// A property by its name.
    pub fn property(self, name: &str) -> Option<Property<'a>> {
        self.properties().find(|property| property.is_named(name))
    }

    /// Its children, in their order.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        let tree = self.tree;
        let mut tokens = Tokens::new(tree.structure, self.body);
        let mut before: Option<Node<'a>> = None;
        iter::from_fn(move || {
            if let Some(child) = before {
                tokens = Tokens::new(tree.structure, child.end()?);
            }
            loop {
                let Located { start, end, token } = tokens.next_of_node().ok()?;
                match token {
                    Token::BeginNode { name } => {
                        before = Some(Node { tree, start, name, body: end });
                        return before;
                    }
                    // One behind padding.
                    Token::Property { .. } => {}
                    Token::EndNode | Token::End => return None,
                }
            }
        })
    }

    /// What it holds, its children's children, too; each before its own children.
    pub(super) fn descendants(self) -> impl Iterator<Item = Node<'a>> {
        let end = self.end().unwrap_or(self.body);
        let nodes = self.tree.nodes_from(self.body);
        nodes.take_while(move |node| node.start < end)
    }

    /// A child by its name, with or without unit address; the first match counts.
    pub fn child(self, name: &str) -> Option<Node<'a>> {
        self.children().find(|child| match child.name.strip_prefix(name.as_bytes()) {
            Some([]) => true,
            Some([b'@', ..]) => !name.contains('@'),
            _ => false,
        })
    }

    /// The number by which other nodes refer to it.
    pub fn phandle(self) -> Option<u32> {
        // The second is the name of old.
        let property = self.property("phandle").or_else(|| self.property("linux,phandle"));
        property.and_then(Property::as_u32).filter(|phandle| !matches!(*phandle, 0 | u32::MAX))
    }

    /// Whether `name` is among the strings of its `compatible`.
    pub fn is_compatible(self, name: &str) -> bool {
        self.property("compatible").is_some_and(|list| list.strings().any(|entry| entry == name))
    }

    /// Whether it is in use: no `status`, or one that says so.
    pub fn is_enabled(self) -> bool {
        match self.property("status") {
            Some(status) => matches!(status.as_str(), Some("okay" | "ok")),
            None => true,
        }
    }

    /// The ranges in its `reg`, given the cells that its parent prescribes.
    pub fn regions(self, cells: Cells) -> impl Iterator<Item = Region> {
        self.property("reg").into_iter().flat_map(move |reg| reg.regions(cells))
    }

    /// How the `reg` of its children is written.
    pub fn cells(self) -> Cells {
        let number = |name, default| {
            self.property(name).and_then(Property::as_u32).map_or(default, |cells| cells as usize)
        };
        Cells { address: number("#address-cells", 2), size: number("#size-cells", 1) }
    }

    /// The names of its properties and of those of all nodes within it.
    pub(super) fn names_of_properties(self) -> impl Iterator<Item = &'a str> {
        let extent = self.extent();
        let mut tokens = Tokens::new(self.tree.structure, extent.start);
        let within =
            iter::from_fn(move || tokens.next().ok().filter(|token| token.end <= extent.end));
        within.filter_map(move |token| Some(Property::at(self.tree, token)?.name()))
    }

    /// Where its token, all it holds and its end token lie in the structure block.
    pub(super) fn extent(self) -> core::ops::Range<usize> {
        self.start..self.end().unwrap_or(self.start)
    }

    /// Where its end token ends.
    fn end(self) -> Option<usize> {
        if let Some(end) = index::end_of(self.tree.extents, self.start) {
            return Some(end);
        }
        let mut tokens = Tokens::new(self.tree.structure, self.body);
        let mut depth = 0;
        loop {
            let Located { end, token, .. } = tokens.next_of_node().ok()?;
            match token {
                Token::BeginNode { .. } => depth += 1,
                Token::EndNode if depth == 0 => return Some(end),
                Token::EndNode => depth -= 1,
                Token::Property { .. } => {}
                Token::End => return None,
            }
        }
    }

    /// Where a further property goes.
    pub(super) fn end_of_properties(self) -> usize {
        self.properties().last().map_or(self.body, |property| property.end)
    }
}

/// How many 32-bit cells an address and a size take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// `#address-cells`.
    pub address: usize,
    /// `#size-cells`.
    pub size: usize,
}

/// Takes a big-endian number of up to two cells from the front.
fn take_cells(value: &mut &[u8], cells: usize) -> Option<u64> {
    if cells > 2 {
        return None;
    }
    let (number, rest) = value.split_at_checked(4 * cells)?;
    *value = rest;
    Some(number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A property of a validated tree.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    strings: &'a [u8],
    /// Where its name stands among the strings.
    pub(super) name_offset: u32,
    value: &'a [u8],
    /// Where its token lies.
    pub(super) start: usize,
    /// Where the next one lies.
    pub(super) end: usize,
}

impl<'a> Property<'a> {
    /// One whose token was read.
    pub(super) fn at(tree: DeviceTree<'a>, located: Located<'a>) -> Option<Self> {
        let Located { start, end, token } = located;
        let Token::Property { name_offset, value } = token else { return None };
        Some(Self { strings: tree.strings, name_offset, value, start, end })
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        let name = name_at(self.strings, self.name_offset as usize).unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }

    /// Whether that is its name; cheaper than to ask for the name.
    pub(super) fn is_named(self, name: &str) -> bool {
        let rest = self.strings.get(self.name_offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Its bytes.
    pub fn value(self) -> &'a [u8] {
        self.value
    }

    /// Its value as one cell.
    pub fn as_u32(self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    /// Its value as a number of one or two cells.
    pub fn as_u64(self) -> Option<u64> {
        let cells = self.value.len() / 4;
        let mut value = self.value;
        let number = take_cells(&mut value, cells)?;
        (cells > 0 && value.is_empty()).then_some(number)
    }

    /// Its value as ranges, written in so many cells.
    pub fn regions(self, cells: Cells) -> impl Iterator<Item = Region> {
        let mut value = self.value;
        iter::from_fn(move || {
            let start = take_cells(&mut value, cells.address)?;
            let size = take_cells(&mut value, cells.size)?;
            Some(Region::new(start, size))
        })
        // With no cells at all there would be no end.
        .take(if cells.address == 0 && cells.size == 0 { 0 } else { usize::MAX })
    }

    /// Its value as one string.
    pub fn as_str(self) -> Option<&'a str> {
        let (end, text) = self.value.split_last()?;
        let text = core::str::from_utf8(text).ok()?;
        (*end == 0 && !text.contains('\0')).then_some(text)
    }

    /// The strings in its value; what is no text is left out.
    pub fn strings(self) -> impl Iterator<Item = &'a str> {
        self.value
            .split_inclusive(|&byte| byte == 0)
            .filter_map(|text| core::str::from_utf8(text.strip_suffix(&[0])?).ok())
    }
}
