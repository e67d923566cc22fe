//! Editing a tree in its flat form.
//!
//! An edit moves what lies behind it, a few tens of KiB. What is not edited stays byte for byte and
//! in its order.

use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Range};

use super::{
    DeviceTree, MAGIC, MAX_SIZE, Node, Property,
    excerpt::Excerpt,
    index::Index,
    is_name,
    read::components,
    rewrite::{Rewrite, Values},
    tokens::{BEGIN_NODE, END_NODE, PROPERTY, TAG_SIZE, aligned},
    validate::{HEADER_SIZE, RESERVATION_SIZE, VERSION},
};
use crate::error::{Code, Coded};

/// The oldest version whose readers understand what is written.
const COMPATIBLE_VERSION: u32 = 16;

/// A tree that can be edited.
#[derive(Clone, Debug)]
pub struct DeviceTreeBuf {
    reservations: Vec<u8>,
    pub(super) structure: Vec<u8>,
    pub(super) strings: Vec<u8>,
    boot_cpu: u32,
    pub(super) index: Index,
}

impl From<DeviceTree<'_>> for DeviceTreeBuf {
    fn from(tree: DeviceTree<'_>) -> Self {
        Self {
            reservations: tree.reservations.to_vec(),
            structure: tree.structure.to_vec(),
            strings: tree.strings.to_vec(),
            boot_cpu: tree.boot_cpu,
            index: Index::new(tree.structure),
        }
    }
}

impl DeviceTreeBuf {
    /// The tree as it is now.
    pub fn view(&self) -> DeviceTree<'_> {
        DeviceTree {
            reservations: &self.reservations,
            structure: &self.structure,
            strings: &self.strings,
            boot_cpu: self.boot_cpu,
            extents: self.index.extents(),
        }
    }

    /// The root.
    pub fn root_mut(&mut self) -> NodeMut<'_> {
        let start = self.view().root().start;
        NodeMut { tree: self, start }
    }

    /// The node at an absolute path, see [`DeviceTree::find`].
    pub fn find_mut(&mut self, path: &str) -> Option<NodeMut<'_>> {
        let start = self.view().find(path)?.start;
        Some(NodeMut { tree: self, start })
    }

    /// The node whose token lies at `start`.
    pub(super) fn node_mut(&mut self, start: usize) -> NodeMut<'_> {
        NodeMut { tree: self, start }
    }

    /// The node at an absolute path; what is missing of it is created.
    pub fn find_or_create(&mut self, path: &str) -> Result<NodeMut<'_>, Error> {
        let components = components(path).ok_or_else(|| Error::Name(path.into()))?;
        components.into_iter().try_fold(self.root_mut(), |node, name| {
            match node.as_node().child(name).map(|child| child.start) {
                Some(start) => Ok(NodeMut { tree: node.tree, start }),
                None => node.add_child(name),
            }
        })
    }

    /// Finds out anew where nodes end, after a rewrite.
    pub(super) fn make_index(&mut self) {
        self.index = Index::new(&self.structure);
    }

    /// Forgets the `/memreserve/` entries with exactly this start and size.
    pub fn remove_reservation(&mut self, start: u64, size: u64) {
        let mut entry = [0; RESERVATION_SIZE];
        entry[..8].copy_from_slice(&start.to_be_bytes());
        entry[8..].copy_from_slice(&size.to_be_bytes());
        let kept = self.reservations.chunks_exact(RESERVATION_SIZE).filter(|kept| **kept != entry);
        self.reservations = kept.flatten().copied().collect();
    }

    /// Bytes that the tree takes.
    pub fn size(&self) -> usize {
        self.strings_start() + self.strings.len()
    }

    /// Writes the tree to the start of `destination` and says that all of `destination` is its
    /// room, so that whoever comes next may edit it in place.
    pub fn write_to(&self, destination: &mut [u8]) -> Result<(), Error> {
        let room = destination.len();
        let total = match u32::try_from(room) {
            Ok(total) if room <= MAX_SIZE && room >= self.size() => total,
            _ => return Err(Error::NoRoom { needed: self.size(), room: room.min(MAX_SIZE) }),
        };
        let mut rest = destination;
        let mut write = |bytes: &[u8]| {
            let (start, behind) = core::mem::take(&mut rest).split_at_mut(bytes.len());
            start.copy_from_slice(bytes);
            rest = behind;
        };
        for field in self.header(total) {
            write(&field.to_be_bytes());
        }
        write(&self.reservations);
        write(&[0; RESERVATION_SIZE]);
        write(&self.structure);
        write(&self.strings);
        rest.fill(0);
        Ok(())
    }

    /// The tree with `room` more bytes to edit it in place.
    pub fn to_vec(&self, room: usize) -> Result<Vec<u8>, Error> {
        let size = self.size().saturating_add(room);
        if size > MAX_SIZE {
            return Err(Error::NoRoom { needed: size, room: MAX_SIZE });
        }
        let mut bytes = alloc::vec![0; size];
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    fn header(&self, total: u32) -> [u32; HEADER_SIZE / 4] {
        // None is above `total`, which is 32 bits wide.
        let narrow = |size: usize| u32::try_from(size).unwrap_or(total);
        [
            MAGIC,
            total,
            narrow(self.structure_start()),
            narrow(self.strings_start()),
            narrow(HEADER_SIZE),
            VERSION,
            COMPATIBLE_VERSION,
            self.boot_cpu,
            narrow(self.strings.len()),
            narrow(self.structure.len()),
        ]
    }

    fn structure_start(&self) -> usize {
        HEADER_SIZE + self.reservations.len() + RESERVATION_SIZE
    }

    /// Where the value of `property`, one of the tree's, lies in what [`DeviceTreeBuf::write_to`]
    /// writes.
    pub(super) fn place_of_value(&self, property: Property<'_>) -> Range<usize> {
        let start = self.structure_start() + property.start + 3 * TAG_SIZE;
        start..start + property.value().len()
    }

    fn strings_start(&self) -> usize {
        self.structure_start() + self.structure.len()
    }

    /// Puts `new` in the place of what lies in `range` of the structure.
    fn replace(&mut self, range: Range<usize>, new: &[u8]) -> Result<(), Error> {
        let needed = self.size() - range.len() + new.len();
        if needed > MAX_SIZE {
            return Err(Error::NoRoom { needed, room: MAX_SIZE });
        }
        match self.structure.get_mut(range.clone()) {
            Some(old) if old.len() == new.len() => old.copy_from_slice(new),
            _ => {
                self.index.resize(&range, new.len());
                self.structure.splice(range, new.iter().copied());
            }
        }
        Ok(())
    }

    /// Takes out what lies in `ranges`, which ascend.
    fn cut(&mut self, ranges: &[Range<usize>]) {
        let mut rest = Vec::with_capacity(self.structure.len());
        let mut kept_to = 0;
        for range in ranges {
            rest.extend_from_slice(&self.structure[kept_to..range.start]);
            kept_to = range.end;
        }
        rest.extend_from_slice(&self.structure[kept_to..]);
        self.structure = rest;
        match ranges {
            [range] => self.index.resize(range, 0),
            _ => self.index = Index::new(&self.structure),
        }
    }

    /// Where `name` stands among the strings; it is added if it does not.
    fn string_offset(&mut self, name: &str) -> Result<u32, Error> {
        let mut wanted = Vec::with_capacity(name.len() + 1);
        wanted.extend_from_slice(name.as_bytes());
        wanted.push(0);
        let mut end = 0;
        let known = self.strings.split_inclusive(|&byte| byte == 0).find_map(|string| {
            end += string.len();
            string.ends_with(&wanted).then(|| end - wanted.len())
        });
        let offset = known.unwrap_or_else(|| {
            let end = self.strings.len();
            self.strings.extend_from_slice(&wanted);
            end
        });
        let needed = self.size();
        u32::try_from(offset).map_err(|_| Error::NoRoom { needed, room: MAX_SIZE })
    }
}

/// A node that can be edited.
pub struct NodeMut<'t> {
    tree: &'t mut DeviceTreeBuf,
    /// Where its token lies; edits within the node leave that as it is.
    start: usize,
}

impl<'t> NodeMut<'t> {
    /// The node as it is now.
    pub fn as_node(&self) -> Node<'_> {
        Node::at(self.tree.view(), self.start)
    }

    /// Sets a property; a new one comes behind the others.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        if !is_name(name.as_bytes()) {
            return Err(Error::Name(name.into()));
        }
        let node = self.as_node();
        let (range, name_offset) = match node.property(name) {
            Some(property) => (property.start..property.end, Some(property.name_offset)),
            None => {
                let end = node.end_of_properties();
                (end..end, None)
            }
        };
        let size = u32::try_from(value.len())
            .map_err(|_| Error::NoRoom { needed: value.len(), room: MAX_SIZE })?;
        let name_offset = match name_offset {
            Some(known) => known,
            None => self.tree.string_offset(name)?,
        };
        let mut token = Vec::with_capacity(aligned(3 * TAG_SIZE + value.len()));
        for word in [PROPERTY, size, name_offset] {
            token.extend_from_slice(&word.to_be_bytes());
        }
        push_aligned(&mut token, value);
        self.tree.replace(range, &token)
    }

    /// Sets many properties in one pass; new ones come behind the others, in their order. Of those
    /// with one name the last counts. Those that are `gone` are deleted.
    pub fn set_all<'p>(
        &mut self,
        properties: impl Iterator<Item = (&'p str, &'p [u8])>,
        gone: &[&str],
    ) -> Result<(), Error> {
        let mut values = Values::new(properties);
        let offsets = self.tree.name_offsets(values.names())?;
        let growth = values.room();
        let node = self.as_node();
        let mut rewrite = Rewrite::new(&self.tree.structure, growth)?;
        for property in node.properties() {
            let name = property.name();
            if let Some(value) = values.take(name) {
                rewrite.keep_to(property.start);
                rewrite.property(offsets.of(name)?, value)?;
                rewrite.skip_to(property.end);
            } else if gone.contains(&name) {
                rewrite.keep_to(property.start);
                rewrite.skip_to(property.end);
            }
        }
        let properties = node.body..node.end_of_properties();
        rewrite.keep_to(properties.end);
        for (name, value) in values.rest() {
            rewrite.property(offsets.of(name)?, value)?;
        }
        let structure = rewrite.finish();
        let mut index = self.tree.index.copied();
        let size = properties.len() + structure.len() - self.tree.structure.len();
        index.resize(&properties, size);
        self.tree.set_structure(structure, index)
    }

    /// Sets a property to one cell.
    pub fn set_u32(&mut self, name: &str, value: u32) -> Result<(), Error> {
        self.set(name, &value.to_be_bytes())
    }

    /// Sets a property to two cells.
    pub fn set_u64(&mut self, name: &str, value: u64) -> Result<(), Error> {
        self.set(name, &value.to_be_bytes())
    }

    /// Sets a property to a string. What follows a zero in `value` is cut off, because every
    /// reader would.
    pub fn set_str(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let text = value.split('\0').next().unwrap_or_default();
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.set(name, &bytes)
    }

    /// Deletes a property, however often it is there; says whether it was.
    pub fn remove(&mut self, name: &str) -> bool {
        let properties = self.as_node().properties();
        let ranges: Vec<_> = properties
            .filter(|property| property.is_named(name))
            .map(|property| property.start..property.end)
            .collect();
        if !ranges.is_empty() {
            self.tree.cut(&ranges);
        }
        !ranges.is_empty()
    }

    /// The first child that is `wanted`.
    pub fn find_child(self, wanted: impl FnMut(&Node<'_>) -> bool) -> Option<NodeMut<'t>> {
        let start = self.as_node().children().find(wanted)?.start;
        Some(NodeMut { tree: self.tree, start })
    }

    /// Deletes the children that are not to be kept, with all that they hold.
    pub fn retain_children(&mut self, mut keep: impl FnMut(&Node<'_>) -> bool) {
        let children = self.as_node().children();
        let ranges: Vec<_> =
            children.filter(|child| !keep(child)).map(|child| child.extent()).collect();
        if !ranges.is_empty() {
            self.tree.cut(&ranges);
        }
    }

    /// Deletes the node, which is not the root, with all that it holds.
    pub(super) fn delete(self) {
        let extent = self.as_node().extent();
        self.tree.cut(&[extent]);
    }

    /// Adds a child behind the others.
    pub fn add_child(self, name: &str) -> Result<NodeMut<'t>, Error> {
        if !is_name(name.as_bytes()) || name.contains('/') {
            return Err(Error::Name(name.into()));
        }
        // Its own end token is the last of its extent.
        let start = self.as_node().extent().end.saturating_sub(TAG_SIZE);
        let mut token = Vec::with_capacity(3 * TAG_SIZE + name.len());
        token.extend_from_slice(&BEGIN_NODE.to_be_bytes());
        token.extend_from_slice(name.as_bytes());
        push_aligned(&mut token, &[0]);
        token.extend_from_slice(&END_NODE.to_be_bytes());
        self.tree.replace(start..start, &token)?;
        self.tree.index.insert(start, start + token.len());
        Ok(NodeMut { tree: self.tree, start })
    }
}

/// Appends `bytes`, then zeros up to where a token may lie.
pub(super) fn push_aligned(token: &mut Vec<u8>, bytes: &[u8]) {
    token.extend_from_slice(bytes);
    token.resize(aligned(token.len()), 0);
}

/// Why a tree cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It would become larger than its room.
    NoRoom {
        /// Bytes that it would take.
        needed: usize,
        /// Bytes that there are.
        room: usize,
    },
    /// Not a name of a property, node or path.
    Name(String),
    /// The heap is too small for what is being written.
    NoMemory {
        /// Bytes that it would take.
        needed: usize,
    },
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::DeviceTreeEdit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code().summary())?;
        match self {
            Self::NoRoom { needed, room } => {
                write!(f, "it needs {needed} bytes and has room for {room}")
            }
            Self::Name(name) => write!(f, "\"{}\" is no name", Excerpt(name)),
            Self::NoMemory { needed } => {
                write!(f, "the loader has no {needed} bytes of its own memory left")
            }
        }
    }
}

impl core::error::Error for Error {}
