//! Fragments are laid over the base in one pass through it.

use alloc::{vec, vec::Vec};
use core::mem;

use super::{Error, base::Fragment};
use crate::{
    devicetree::{
        DeviceTree, DeviceTreeBuf, Node, Property,
        index::Index,
        rewrite::{NameOffsets, Rewrite, Values},
        tokens::{Token, Tokens},
        validate::MAX_DEPTH,
    },
    sorting::sort_by_key,
};

/// Lays fragments over the base, whose places must be those of `base` as it is.
pub(super) fn merge(base: &mut DeviceTreeBuf, fragments: &[Fragment<'_>]) -> Result<(), Error> {
    let laid = fragments.iter().map(|fragment| fragment.overlay);
    let mut names = Vec::new();
    laid.clone().for_each(|node| names.extend(node.names_of_properties()));
    let offsets = base.name_offsets(names)?;
    let growth = laid.map(|node| node.extent().len()).sum();

    let view = base.view();
    let rewrite = Rewrite::new(view.structure, growth)?;
    let mut writer = Writer { rewrite, offsets, values: Values::default() };
    walk(view, fragments, |step| writer.step(step))?;
    let structure = writer.rewrite.finish();
    // One overlay may take many passes; the index is made when all are done.
    Ok(base.set_structure(structure, Index::default())?)
}

/// Overlays number nodes that the base has numbered already, and the base's own references would
/// lead nowhere: pairs of an overlay's phandle and the one that the node keeps, ascending.
pub(super) fn coincidences(base: DeviceTree<'_>, fragments: &[Fragment<'_>]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    let outcome = walk(base, fragments, |step| {
        if let Step::Begin { node, laid } = step
            && !laid.is_empty()
        {
            let phandles = laid.iter().filter_map(|node| node.phandle());
            let mut kept = node.phandle();
            for phandle in phandles {
                let kept = *kept.get_or_insert(phandle);
                if kept != phandle {
                    found.push((phandle, kept));
                }
            }
        }
        Ok(())
    });
    debug_assert!(outcome.is_ok(), "nothing is written");
    sort_by_key(&mut found, |(phandle, _)| *phandle);
    found
}

/// What a walk comes by.
enum Step<'s, 'b, 'o> {
    /// A node of the base begins, and these are laid over it.
    Begin { node: Node<'b>, laid: &'s [Node<'o>] },
    /// A property of a node that something is laid over.
    Property(Property<'b>),
    /// A node ends.
    End {
        /// Where its token lies.
        start: usize,
        /// How many nodes it lies in, itself included.
        depth: usize,
        /// What was laid over it and found no child to be laid over.
        children: Children<'o>,
    },
}

/// Walks through the base with what is laid over each node.
fn walk<'b, 'o>(
    base: DeviceTree<'b>,
    fragments: &[Fragment<'o>],
    mut take: impl FnMut(Step<'_, 'b, 'o>) -> Result<(), Error>,
) -> Result<(), Error> {
    let places = fragments.iter().filter_map(|one| Some((one.place.as_ref()?.start, one.overlay)));
    let mut targets: Vec<_> = places.collect();
    sort_by_key(&mut targets, |(start, _)| *start);
    let mut targets = targets.into_iter().peekable();

    let mut open: Vec<Children<'o>> = Vec::new();
    let mut is_laid_over = false;
    let mut tokens = Tokens::new(base.structure, 0);
    while let Ok(located) = if is_laid_over { tokens.next() } else { tokens.next_of_node() } {
        let start = located.start;
        match located.token {
            Token::BeginNode { .. } => {
                let node = Node::at(base, start);
                let mut laid = open.last_mut().map_or(Vec::new(), |over| over.take(node.name()));
                while let Some((_, over)) = targets.next_if(|(target, _)| *target == start) {
                    laid.push(over);
                }
                if laid.len() > 1 {
                    // The overlay's order, in which the later ones win.
                    sort_by_key(&mut laid, |node| node.start);
                }
                take(Step::Begin { node, laid: &laid })?;
                is_laid_over = !laid.is_empty();
                open.push(Children::of(&laid));
            }
            Token::Property { .. } => {
                Property::at(base, located).map_or(Ok(()), |one| take(Step::Property(one)))?;
            }
            Token::EndNode => {
                let depth = open.len();
                let children = open.pop().unwrap_or_default();
                take(Step::End { start, depth, children })?;
                is_laid_over = false;
            }
            Token::End => break,
        }
    }
    Ok(())
}

/// The children of nodes that are laid over one and the same node.
#[derive(Default)]
struct Children<'o> {
    /// By name, those of one name in the overlay's order.
    sorted: Vec<Node<'o>>,
    /// Of the first of each name: whether all of them have found their place.
    taken: Vec<bool>,
}

impl<'o> Children<'o> {
    fn of(laid: &[Node<'o>]) -> Self {
        let mut sorted: Vec<_> = laid.iter().flat_map(|node| node.children()).collect();
        if sorted.len() > 1 {
            sort_by_key(&mut sorted, |node| (node.name(), node.start));
        }
        let taken = vec![false; sorted.len()];
        Self { sorted, taken }
    }

    /// What is laid over a child called `name`, and over no other: what has this name, and what has
    /// it without its unit address.
    fn take(&mut self, name: &str) -> Vec<Node<'o>> {
        if self.sorted.is_empty() {
            return Vec::new();
        }
        let mut found = self.take_exactly(name);
        if let Some((without_address, _)) = name.split_once('@') {
            found.extend(self.take_exactly(without_address));
        }
        found
    }

    fn take_exactly(&mut self, name: &str) -> Vec<Node<'o>> {
        let first = self.sorted.partition_point(|node| node.name() < name);
        let same = self.sorted[first..].iter().take_while(|node| node.name() == name);
        match self.taken.get_mut(first) {
            Some(taken) if !*taken => {
                let found: Vec<_> = same.copied().collect();
                *taken = !found.is_empty();
                found
            }
            _ => Vec::new(),
        }
    }

    /// What has found no place, in the overlay's order; each item makes one new node.
    fn rest(mut self) -> Vec<Vec<Node<'o>>> {
        let mut firsts: Vec<_> = self.sorted.clone();
        sort_by_key(&mut firsts, |node| node.start);
        let new = firsts.into_iter().map(|node| {
            let mut laid = self.take(node.name());
            sort_by_key(&mut laid, |node| node.start);
            laid
        });
        new.filter(|laid| !laid.is_empty()).collect()
    }
}

/// Writes the base anew, with what is laid over it.
struct Writer<'b, 'o> {
    rewrite: Rewrite<'b>,
    offsets: NameOffsets<'o>,
    /// New values of the node whose properties are being read.
    values: Values<'o>,
}

impl<'o> Writer<'_, 'o> {
    fn step(&mut self, step: Step<'_, '_, 'o>) -> Result<(), Error> {
        match step {
            Step::Begin { node, laid } => {
                self.add_properties(node.start)?;
                self.values = values(laid);
            }
            Step::Property(property) => {
                if let Some(value) = self.values.take(property.name()) {
                    self.rewrite.keep_to(property.start);
                    self.rewrite.property(self.offsets.of(property.name())?, value)?;
                    self.rewrite.skip_to(property.end);
                }
            }
            Step::End { start, depth, children } => {
                self.add_properties(start)?;
                for child in children.rest() {
                    self.rewrite.keep_to(start);
                    self.add_node(&child, depth)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the properties that the node did not have, which ends or has its first child at
    /// `offset`.
    fn add_properties(&mut self, offset: usize) -> Result<(), Error> {
        for (name, value) in mem::take(&mut self.values).rest() {
            self.rewrite.keep_to(offset);
            self.rewrite.property(self.offsets.of(name)?, value)?;
        }
        Ok(())
    }

    /// Adds a node that the base does not have, within `depth` others.
    fn add_node(&mut self, laid: &[Node<'o>], depth: usize) -> Result<(), Error> {
        let Some(first) = laid.first() else { return Ok(()) };
        if depth >= MAX_DEPTH {
            return Err(Error::TooDeep { node: first.name().into() });
        }
        self.rewrite.begin_node(first.name());
        for (name, value) in values(laid).rest() {
            self.rewrite.property(self.offsets.of(name)?, value)?;
        }
        for child in Children::of(laid).rest() {
            self.add_node(&child, depth + 1)?;
        }
        self.rewrite.end_node();
        Ok(())
    }
}

/// The properties of nodes that are laid over one and the same node.
fn values<'o>(laid: &[Node<'o>]) -> Values<'o> {
    let properties = laid.iter().flat_map(|node| node.properties());
    Values::new(properties.map(|property| (property.name(), property.value())))
}
