//! References in an overlay: those to its own nodes are numbered anew, those to the base's become
//! numbers.

use alloc::{format, vec::Vec};
use core::{ops::Range, str};

use super::{Error, FIXUPS, LOCAL_FIXUPS, base::Symbols};
use crate::{
    devicetree::{
        DeviceTree, Node, Property, be32, edit,
        tokens::{TAG_SIZE, Token, Tokens},
    },
    sorting::sort_by,
};

/// An overlay whose references are being changed.
pub(super) struct References<'o> {
    original: DeviceTree<'o>,
    index: Index<'o>,
    /// The overlay's structure with the changes: what lies where is as in the original.
    structure: Vec<u8>,
    /// Where phandles of the overlay's own nodes stand, both in the nodes and as references.
    own: Vec<usize>,
}

/// Bytes of a phandle.
const CELL: usize = 4;

impl<'o> References<'o> {
    /// Finds all references to the overlay's own nodes.
    pub(super) fn of(original: DeviceTree<'o>) -> Result<Self, Error> {
        let needed = original.structure.len();
        let mut structure = Vec::new();
        structure.try_reserve_exact(needed).map_err(|_| edit::Error::NoMemory { needed })?;
        structure.extend_from_slice(original.structure);
        let index = Index::of(original);
        let mut references = Self { original, index, structure, own: Vec::new() };
        references.find_phandles()?;
        references.find_local_references()?;
        Ok(references)
    }

    /// The overlay as it is now.
    pub(super) fn overlay(&self) -> DeviceTree<'_> {
        DeviceTree { structure: &self.structure, ..self.original }
    }

    /// The labels of the base's nodes that are referred to.
    pub(super) fn labels(&self) -> Vec<&'o str> {
        let fixups = self.fixups();
        fixups.iter().flat_map(|fixups| fixups.properties()).map(Property::name).collect()
    }

    /// Numbers the overlay's own nodes from behind `highest` on.
    pub(super) fn renumber(&mut self, highest: u32) -> Result<(), Error> {
        for &at in &self.own {
            let phandle = be32(&self.structure, at).and_then(|own| own.checked_add(highest));
            match phandle {
                Some(phandle) if phandle < u32::MAX => put(&mut self.structure, at, phandle),
                _ => return Err(Error::NoPhandleLeft),
            }
        }
        Ok(())
    }

    /// Gives the overlay's own nodes other numbers, each pair being one and the other, ascending.
    pub(super) fn replace(&mut self, replaced: &[(u32, u32)]) {
        for &at in &self.own {
            let phandle = be32(&self.structure, at).unwrap_or_default();
            if let Ok(found) = replaced.binary_search_by_key(&phandle, |(one, _)| *one) {
                put(&mut self.structure, at, replaced[found].1);
            }
        }
    }

    /// Writes the numbers of the base's nodes where their labels are referred to.
    pub(super) fn resolve(&mut self, symbols: &Symbols<'_, '_>) -> Result<(), Error> {
        for fixup in self.fixups().iter().flat_map(|fixups| fixups.properties()) {
            let label = fixup.name();
            let bad = |entry: &str| Error::BadReference { reference: format!("{label} = {entry}") };
            let text = fixup.value().strip_suffix(&[0]).and_then(|text| str::from_utf8(text).ok());
            let text = text.ok_or_else(|| bad("?"))?;
            let first = text.split('\0').next().unwrap_or_default();
            let phandle = symbols.phandle(label, first)?;
            for entry in text.split('\0') {
                let at = self.index.place(entry).ok_or_else(|| bad(entry))?;
                put(&mut self.structure, at, phandle);
            }
        }
        Ok(())
    }

    fn fixups(&self) -> Option<Node<'o>> {
        self.index.child(self.index.root, FIXUPS).map(|start| Node::at(self.original, start))
    }

    fn find_phandles(&mut self) -> Result<(), Error> {
        for property in &self.index.properties {
            if matches!(property.name, "phandle" | "linux,phandle") {
                let value = self.index.value(property.start);
                if value.len() != CELL {
                    let node = Node::at(self.original, property.owner).name();
                    return Err(Error::BadPhandle { node: node.into() });
                }
                self.own.push(value.start);
            }
        }
        Ok(())
    }

    /// `__local_fixups__` has the overlay's nodes once more, with those properties that hold
    /// references; their values are the offsets.
    fn find_local_references(&mut self) -> Result<(), Error> {
        let root = self.index.root;
        let mut ahead: Vec<_> =
            self.index.child(root, LOCAL_FIXUPS).map(|fixups| (fixups, root)).into_iter().collect();
        while let Some((fixups, node)) = ahead.pop() {
            let fixups = Node::at(self.original, fixups);
            let bad = |name: &str| {
                let node = Node::at(self.original, node).name();
                Error::BadReference { reference: format!("{node} {name} in {LOCAL_FIXUPS}") }
            };
            for property in fixups.properties() {
                let name = property.name();
                let (offsets, rest) = property.value().as_chunks();
                let value = self.index.property(node, name).filter(|_| rest.is_empty());
                let value = value.ok_or_else(|| bad(name))?;
                for offset in offsets {
                    let offset = u32::from_be_bytes(*offset) as usize;
                    self.own.push(cell_of(&value, offset).ok_or_else(|| bad(name))?);
                }
            }
            for child in fixups.children() {
                let node = self.index.child(node, child.name());
                ahead.push((child.start, node.ok_or_else(|| bad(child.name()))?));
            }
        }
        Ok(())
    }
}

/// Where the cell at `offset` of a value lies, if the value holds all of it.
fn cell_of(value: &Range<usize>, offset: usize) -> Option<usize> {
    let end = offset.checked_add(CELL)?;
    (end <= value.len()).then_some(value.start + offset)
}

/// Writes a cell that is there.
fn put(structure: &mut [u8], at: usize, phandle: u32) {
    if let Some(cell) = structure.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *cell = phandle.to_be_bytes();
    }
}

/// All nodes and properties of an overlay by the node that they belong to, and name. The offsets are
/// those of their tokens.
struct Index<'o> {
    structure: &'o [u8],
    root: usize,
    nodes: Vec<Entry<'o>>,
    properties: Vec<Entry<'o>>,
}

struct Entry<'o> {
    owner: usize,
    name: &'o str,
    start: usize,
}

impl<'o> Index<'o> {
    fn of(overlay: DeviceTree<'o>) -> Self {
        let root = overlay.root().start;
        let mut index =
            Self { structure: overlay.structure, root, nodes: Vec::new(), properties: Vec::new() };
        let mut open = Vec::new();
        let mut tokens = Tokens::new(overlay.structure, 0);
        while let Ok(located) = tokens.next() {
            let start = located.start;
            let owner = open.last().copied();
            match located.token {
                Token::BeginNode { name } => {
                    let name = str::from_utf8(name).unwrap_or_default();
                    index.nodes.extend(owner.map(|owner| Entry { owner, name, start }));
                    open.push(start);
                }
                Token::EndNode => drop(open.pop()),
                Token::Property { .. } => {
                    let property = Property::at(overlay, located).zip(owner);
                    let entry =
                        |(property, owner)| Entry { owner, name: Property::name(property), start };
                    index.properties.extend(property.map(entry));
                }
                Token::End => break,
            }
        }
        for list in [&mut index.nodes, &mut index.properties] {
            sort_by(list, |one, other| (one.owner, one.name).cmp(&(other.owner, other.name)));
        }
        index
    }

    fn child(&self, node: usize, name: &str) -> Option<usize> {
        find(&self.nodes, node, name)
    }

    /// Where the value of a property lies.
    fn property(&self, node: usize, name: &str) -> Option<Range<usize>> {
        find(&self.properties, node, name).map(|start| self.value(start))
    }

    /// Where the value of the property lies whose token is at `start`.
    fn value(&self, start: usize) -> Range<usize> {
        let size = be32(self.structure, start + TAG_SIZE).unwrap_or_default() as usize;
        let value = start + 3 * TAG_SIZE;
        value..value.saturating_add(size)
    }

    /// What an entry `/path:property:offset` speaks of.
    fn place(&self, entry: &str) -> Option<usize> {
        let (path, entry) = entry.split_once(':')?;
        let (property, offset) = entry.split_once(':')?;
        let mut names = path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty());
        let node = names.try_fold(self.root, |node, name| self.child(node, name))?;
        cell_of(&self.property(node, property)?, offset.parse().ok()?)
    }
}

/// The first of that owner and name.
fn find(list: &[Entry<'_>], owner: usize, name: &str) -> Option<usize> {
    let at = list.partition_point(|entry| (entry.owner, entry.name) < (owner, name));
    let entry = list.get(at).filter(|entry| (entry.owner, entry.name) == (owner, name))?;
    Some(entry.start)
}
