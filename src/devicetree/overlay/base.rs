//! What an overlay asks of the tree that it is laid over: symbols and targets, each found for all at
//! once.

use alloc::{format, string::String, vec::Vec};

use super::{Error, MAX_FRAGMENTS, OVERLAY, SYMBOLS};
use crate::{
    devicetree::{DeviceTree, Node, Property},
    sorting::sort_by_key,
};

/// The base's symbols, as far as an overlay needs them.
pub(super) struct Symbols<'l, 'b> {
    /// By label, each once.
    sorted: Vec<Symbol<'l, 'b>>,
    /// Whether the base has any symbols.
    any: bool,
    /// The highest phandle of the base.
    pub(super) highest_phandle: u32,
}

struct Symbol<'l, 'b> {
    label: &'l str,
    path: Option<&'b str>,
    phandle: Option<u32>,
}

impl<'l, 'b> Symbols<'l, 'b> {
    /// Looks up `labels`; what is missing is told when somebody asks for it.
    pub(super) fn look_up(base: DeviceTree<'b>, mut labels: Vec<&'l str>) -> Self {
        sort_by_key(&mut labels, |label| *label);
        labels.dedup();
        let symbol = |label| Symbol { label, path: None, phandle: None };
        let mut sorted: Vec<_> = labels.into_iter().map(symbol).collect();

        let symbols = base.root().children().find(|node| node.name() == SYMBOLS);
        for property in symbols.iter().flat_map(|symbols| symbols.properties()) {
            if let Ok(at) = sorted.binary_search_by(|one| one.label.cmp(property.name())) {
                sorted[at].path = sorted[at].path.or(property.as_str());
            }
        }
        let paths = sorted.iter().enumerate().filter_map(|(at, one)| Some((one.path?, at)));
        let mut by_path: Vec<_> = paths.collect();
        sort_by_key(&mut by_path, |(path, _)| *path);

        let mut highest_phandle = 0;
        base.visit(|path, node| {
            let Some(phandle) = node.phandle() else { return };
            highest_phandle = highest_phandle.max(phandle);
            for at in with_key(&by_path, path) {
                sorted[at].phandle.get_or_insert(phandle);
            }
        });
        Self { sorted, any: symbols.is_some(), highest_phandle }
    }

    /// The phandle of the node that `label` leads to, for `reference`.
    pub(super) fn phandle(&self, label: &str, reference: &str) -> Result<u32, Error> {
        let (symbol, reference) = (label.into(), reference.into());
        if !self.any {
            return Err(Error::NoSymbols { symbol, reference });
        }
        let found = self.sorted.binary_search_by(|one| one.label.cmp(label)).ok();
        let found = found.and_then(|at| self.sorted.get(at)).map(|one| (one.path, one.phandle));
        match found {
            Some((_, Some(phandle))) => Ok(phandle),
            Some((Some(path), None)) => Err(Error::SymbolAstray { symbol, path: path.into() }),
            _ => Err(Error::SymbolMissing { symbol, reference }),
        }
    }
}

/// What belongs to `key` in a list that is sorted by keys.
fn with_key<K: Ord + Copy>(list: &[(K, usize)], key: K) -> impl Iterator<Item = usize> {
    let start = list.partition_point(|(one, _)| *one < key);
    list[start..].iter().take_while(move |(one, _)| *one == key).map(|(_, value)| *value)
}

/// A fragment of an overlay.
pub(super) struct Fragment<'o> {
    /// Its node's name.
    pub(super) name: &'o str,
    target: Target<'o>,
    /// What is laid over the target.
    pub(super) overlay: Node<'o>,
    /// Where that is, once it is there.
    pub(super) place: Option<Place>,
}

/// What a fragment is laid over.
#[derive(Clone, Copy)]
enum Target<'o> {
    Phandle(u32),
    Path(&'o str),
}

/// A node of the base.
pub(super) struct Place {
    /// Where its token lies.
    pub(super) start: usize,
    pub(super) path: String,
}

impl<'o> Fragment<'o> {
    /// The fragments of an overlay whose references to the base are numbers.
    pub(super) fn all(overlay: DeviceTree<'o>) -> Result<Vec<Self>, Error> {
        let mut fragments = Vec::new();
        let mut count = 0;
        for node in overlay.root().children() {
            let Some(overlay) = node.children().find(|child| child.name() == OVERLAY) else {
                continue;
            };
            count += 1;
            if count <= MAX_FRAGMENTS {
                let target = Target::of(node)?;
                fragments.push(Self { name: node.name(), target, overlay, place: None });
            }
        }
        match count {
            0 => Err(Error::NoFragment),
            1..=MAX_FRAGMENTS => Ok(fragments),
            _ => Err(Error::TooManyFragments(count)),
        }
    }

    /// The error if the base does not have it.
    pub(super) fn target_missing(&self) -> Error {
        let target = match self.target {
            Target::Phandle(phandle) => format!("node with phandle {phandle:#x}"),
            Target::Path(path) => path.into(),
        };
        Error::TargetMissing { fragment: self.name.into(), target }
    }
}

impl<'o> Target<'o> {
    fn of(fragment: Node<'o>) -> Result<Self, Error> {
        let bad = || Error::BadTarget { fragment: fragment.name().into() };
        match fragment.property("target").map(|target| target.as_u32().ok_or_else(bad)) {
            // What stands for a label that nobody resolved.
            Some(Ok(u32::MAX)) => return Err(bad()),
            Some(Ok(phandle @ 1..)) => return Ok(Self::Phandle(phandle)),
            Some(Err(error)) => return Err(error),
            Some(Ok(0)) | None => {}
        }
        match fragment.property("target-path") {
            Some(path) => Ok(Self::Path(path.as_str().ok_or_else(bad)?)),
            None => Err(Error::NoTarget { fragment: fragment.name().into() }),
        }
    }
}

/// Finds the places of all fragments whose target the base has by now.
pub(super) fn locate(base: DeviceTree<'_>, fragments: &mut [Fragment<'_>]) {
    let (mut starts, mut phandles) = (Vec::new(), Vec::new());
    for (index, fragment) in fragments.iter_mut().enumerate() {
        fragment.place = None;
        match fragment.target {
            Target::Phandle(phandle) => phandles.push((phandle, index)),
            Target::Path(path) => starts.extend(find(base, path).map(|node| (node.start, index))),
        }
    }
    sort_by_key(&mut starts, |(start, _)| *start);
    sort_by_key(&mut phandles, |(phandle, _)| *phandle);
    base.visit(|path, node| {
        let phandle = if phandles.is_empty() { None } else { node.phandle() };
        let by_phandle = phandle.into_iter().flat_map(|phandle| with_key(&phandles, phandle));
        for index in with_key(&starts, node.start).chain(by_phandle) {
            let place = || Place { start: node.start, path: path.into() };
            fragments[index].place.get_or_insert_with(place);
        }
    });
}

/// The node at a path, which may begin with an alias.
fn find<'b>(base: DeviceTree<'b>, path: &str) -> Option<Node<'b>> {
    if path.starts_with('/') {
        return base.find(path);
    }
    let (alias, rest) = path.split_once('/').unwrap_or((path, ""));
    let start = base.find("/aliases")?.property(alias).and_then(Property::as_str)?;
    base.find(&format!("{start}/{rest}"))
}
