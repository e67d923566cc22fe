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
                    if extents.try_reserve(1).is_err() {
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
        if !self.0.is_empty() {
            let at = self.0.partition_point(|extent| extent.start < start);
            self.0.insert(at, Extent { start, end });
        }
    }
}

/// Where the node ends that begins at `start`.
pub(super) fn end_of(extents: &[Extent], start: usize) -> Option<usize> {
    let at = extents.binary_search_by(|extent| extent.start.cmp(&start)).ok()?;
    extents.get(at).map(|extent| extent.end)
}
