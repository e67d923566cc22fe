//! Where the nodes of a tree end.
//!
//! Who looks for a node reads its siblings' names; without an index, all that they hold, too, and the
//! whole tree for a node of the root that comes late. A boot asks dozens of such questions of two
//! trees. An index follows the edits, and it is only a help: what it does not know is read.

use alloc::vec::Vec;
use core::ops::Range;

use super::tokens::{Located, Token, Tokens};

/// Where nodes begin and end in the structure block, in the order in which they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(Vec<Extent>);

/// Bytes of the structure from a node's token to behind the one that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    start: usize,
    end: usize,
}

impl Index {
    /// The nodes of a validated structure; none of them if there is no memory for that.
    pub(super) fn new(structure: &[u8]) -> Self {
        let mut extents: Vec<Extent> = Vec::new();
        let mut open = Vec::new();
        let mut tokens = Tokens::new(structure, 0);
        while let Ok(Located { start, end, token }) = tokens.next_of_node() {
            match token {
                Token::BeginNode { .. } => {
                    if extents.try_reserve(1).is_err() || open.try_reserve(1).is_err() {
                        return Self::default();
                    }
                    open.push(extents.len());
                    extents.push(Extent { start, end });
                }
                Token::EndNode => {
                    let ended = open.pop().and_then(|node: usize| extents.get_mut(node));
                    ended.into_iter().for_each(|extent| extent.end = end);
                }
                Token::Property { .. } => {}
                Token::End => break,
            }
        }
        Self(extents)
    }

    pub(super) fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// `range` of the structure, which is within a node or nothing between two, becomes `size` bytes
    /// long. A node in it begins and ends there no more.
    pub(super) fn resize(&mut self, range: &Range<usize>, size: usize) {
        self.0.retain(|extent| !(range.start <= extent.start && extent.start < range.end));
        let moved = |offset: usize| offset - range.len() + size;
        for extent in &mut self.0 {
            if extent.start >= range.end {
                extent.start = moved(extent.start);
            }
            // A sibling in front of a new node ends where that begins.
            if extent.end > range.start {
                extent.end = moved(extent.end);
            }
        }
    }

    /// A node that is new at `start`, where [`Index::resize`] has made room for it.
    pub(super) fn insert(&mut self, start: usize, end: usize) {
        // An index that holds nothing is one for which there was no memory.
        if self.0.is_empty() {
            return;
        }
        if self.0.try_reserve(1).is_err() {
            self.0.clear();
            return;
        }
        let at = self.0.partition_point(|extent| extent.start < start);
        self.0.insert(at, Extent { start, end });
    }

    /// The same again; nothing if there is no memory for that.
    pub(super) fn copied(&self) -> Self {
        let mut extents = Vec::new();
        if extents.try_reserve_exact(self.0.len()).is_ok() {
            extents.extend_from_slice(&self.0);
        }
        Self(extents)
    }
}

/// Where the node ends that begins at `start`.
pub(super) fn end_of(extents: &[Extent], start: usize) -> Option<usize> {
    let at = extents.binary_search_by(|extent| extent.start.cmp(&start)).ok()?;
    extents.get(at).map(|extent| extent.end)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, vec};

    use super::*;
    use crate::devicetree::{
        DeviceTree, DeviceTreeBuf, NodeMut, tokens::TAG_SIZE, validate::MAX_DEPTH,
    };

    /// All trees and overlays among the fixtures.
    fn trees() -> Vec<Vec<u8>> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/devicetree"));
        let folders = [folder.to_path_buf(), folder.join("overlays")];
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let files = files.map(|file| file.unwrap().path());
        let is_tree = |path: &std::path::PathBuf| {
            path.extension().is_some_and(|extension| extension == "dtb" || extension == "dtbo")
        };
        let trees: Vec<_> = files.filter(is_tree).map(|path| fs::read(path).unwrap()).collect();
        assert!(trees.len() >= 7, "{}", trees.len());
        trees
    }

    /// Every token in its turn, each node ended by the token at its depth.
    fn walked(structure: &[u8]) -> Vec<Extent> {
        let mut tokens = Tokens::new(structure, 0);
        let all: Vec<_> = core::iter::from_fn(|| tokens.next().ok()).collect();
        let is_node = |located: &&Located<'_>| matches!(located.token, Token::BeginNode { .. });
        let end = |from: usize| {
            let mut depth = 0;
            let behind = all.iter().filter(|located| located.start >= from);
            let mut ends = behind.filter(|located| {
                match located.token {
                    Token::BeginNode { .. } => depth += 1,
                    Token::EndNode => depth -= 1,
                    Token::Property { .. } | Token::End => {}
                }
                depth == 0
            });
            ends.next().map(|located| located.end)
        };
        let nodes = all.iter().filter(is_node).map(|node| node.start);
        nodes.map(|start| Extent { start, end: end(start).unwrap() }).collect()
    }

    #[test]
    fn nodes_of_every_tree_end_where_a_walk_over_all_tokens_ends_them() {
        for bytes in trees() {
            let tree = DeviceTree::validate(&bytes).unwrap();
            assert_eq!(Index::new(tree.structure).extents(), walked(tree.structure));
        }
    }

    #[test]
    fn after_an_edit_anywhere_the_index_is_that_of_the_new_tree() {
        let edits: [fn(NodeMut<'_>); 4] = [
            |node| assert!(node.add_child("added").is_ok()),
            |mut node| node.set_str("firn,added", "of some length").unwrap(),
            |mut node| node.retain_children(|child| child.name().len() % 2 == 0),
            |node| node.delete(),
        ];
        let bytes = include_bytes!("../../tests/fixtures/devicetree/overlays/base.dtb");
        let tree = DeviceTree::validate(bytes).unwrap();
        let starts: Vec<usize> = tree.nodes().skip(1).map(|node| node.extent().start).collect();
        for start in starts {
            for edit in edits {
                let mut tree = DeviceTreeBuf::from(tree);
                edit(tree.node_mut(start));
                assert_eq!(tree.index.extents(), Index::new(&tree.structure).extents());
                assert_eq!(tree.index.extents(), walked(&tree.structure));
            }
        }
    }

    #[test]
    fn without_an_index_the_same_nodes_are_found() {
        for bytes in trees() {
            let indexed = DeviceTreeBuf::from(DeviceTree::validate(&bytes).unwrap());
            let mut plain = indexed.clone();
            plain.index = Index::default();
            let extents = |tree: &DeviceTreeBuf| -> Vec<_> {
                let children = |node: super::super::Node<'_>| -> Vec<_> {
                    node.children().map(|child| child.extent()).collect()
                };
                tree.view().nodes().map(children).collect()
            };
            assert_eq!(extents(&plain), extents(&indexed));
        }
    }

    #[test]
    fn the_deepest_tree_that_is_valid_is_followed_to_its_ground() {
        let name = [0, 0, 0, 1, b'n', 0, 0, 0];
        let mut structure = name.repeat(MAX_DEPTH);
        structure.extend([0, 0, 0, 2].repeat(MAX_DEPTH));
        structure.extend([0, 0, 0, 9]);
        let index = Index::new(&structure);
        assert_eq!(index.extents().len(), MAX_DEPTH);
        assert_eq!(index.extents(), walked(&structure));
    }

    #[test]
    fn what_is_no_tree_is_survived() {
        let bytes = include_bytes!("../../tests/fixtures/devicetree/one-cell.dtb");
        let whole = DeviceTree::validate(bytes).unwrap().structure;
        for length in 0..whole.len() {
            let index = Index::new(&whole[..length]);
            // The last token's padding may be cut off.
            let end = length.next_multiple_of(TAG_SIZE);
            let sound = |extent: &Extent| extent.start < extent.end && extent.end <= end;
            assert!(index.extents().iter().all(sound), "{length}: {index:?}");
            assert!(index.extents().is_sorted_by_key(|extent| extent.start), "{length}");
        }
        let begins = [0, 0, 0, 1, b'n', 0, 0, 0].repeat(200_000);
        assert_eq!(Index::new(&begins).extents().len(), 200_000);
        let ends = [0, 0, 0, 2].repeat(1000);
        assert_eq!(Index::new(&ends).extents(), []);
        // A property that would reach beyond all memory.
        let lies = [vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3], vec![0xff; 8]].concat();
        assert_eq!(Index::new(&lies).extents().len(), 1);
    }
}
