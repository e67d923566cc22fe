//! Overlays: pieces of a tree that are laid over another one.
//!
//! An overlay is a tree whose fragments say which node of the base they are laid over. What it
//! refers to in the base stands in it as labels (`__fixups__`), which the base's `__symbols__` lead
//! to nodes; what it refers to in itself (`__local_fixups__`) is numbered anew, behind the base's
//! highest phandle. Its own `__symbols__` become the base's, for the overlays that follow.
//!
//! It may hold anything. Time is that of a few passes through the base for each round of fragments
//! (those that wait for what an earlier one adds make a further round), of which [`MAX_FRAGMENTS`] is
//! the limit; memory that of the new structure and of a few indices of an overlay of at most
//! [`MAX_OVERLAY_SIZE`].
//!
//! Source: dtc, `Documentation/dt-object-internal.txt` (format) and `fdtoverlay` 1.8 (what comes out
//! of it). Where that tool puts new properties and nodes in front of those that are there, they go
//! behind them here, in the overlay's order.

mod base;
mod merge;
mod references;

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use self::{
    base::{Fragment, Symbols},
    references::References,
};
use super::{DeviceTree, DeviceTreeBuf, MAX_SIZE, Property, edit, excerpt::Excerpt};
use crate::{
    error::{Code, Coded},
    memory::Size,
};

/// The largest overlay that is applied, in bytes: fifty times the largest of Debian's.
pub const MAX_OVERLAY_SIZE: usize = 256 << 10;
/// The most fragments that are applied.
pub const MAX_FRAGMENTS: usize = 256;

/// Lays `overlay` over `base`. After an error `base` is of no use.
pub fn apply(base: &mut DeviceTreeBuf, overlay: DeviceTree<'_>) -> Result<(), Error> {
    let size = overlay.structure.len() + overlay.strings.len();
    if size > MAX_OVERLAY_SIZE {
        return Err(Error::TooLarge(size));
    }
    let mut references = References::of(overlay)?;
    let symbols = Symbols::look_up(base.view(), references.labels());
    references.renumber(symbols.highest_phandle)?;
    references.resolve(&symbols)?;

    let replaced = {
        let mut fragments = Fragment::all(references.overlay())?;
        base::locate(base.view(), &mut fragments);
        merge::coincidences(base.view(), &fragments)
    };
    references.replace(&replaced);

    let overlay = references.overlay();
    let mut fragments = Fragment::all(overlay)?;
    let mut rest = &mut fragments[..];
    while let Some(first) = rest.first() {
        let missing = first.target_missing();
        base::locate(base.view(), rest);
        let found = rest.iter().take_while(|fragment| fragment.place.is_some()).count();
        if found == 0 {
            return Err(missing);
        }
        let (ready, waiting) = rest.split_at_mut(found);
        merge::merge(base, ready)?;
        rest = waiting;
    }
    base.make_index();
    add_symbols(base, overlay, &fragments)
}

/// Makes the overlay's symbols the base's.
fn add_symbols(
    base: &mut DeviceTreeBuf,
    overlay: DeviceTree<'_>,
    fragments: &[Fragment<'_>],
) -> Result<(), Error> {
    let Some(symbols) = overlay.root().children().find(|node| node.name() == SYMBOLS) else {
        return Ok(());
    };
    let mut added = Vec::new();
    let mut size = 0_usize;
    for symbol in symbols.properties() {
        let Some(path) = path_of_symbol(symbol, fragments)? else { continue };
        size = size.saturating_add(path.len());
        if size > MAX_SIZE {
            return Err(edit::Error::NoRoom { needed: size, room: MAX_SIZE }.into());
        }
        added.push((symbol.name(), path));
    }
    let added = added.iter().map(|(name, path)| (*name, path.as_bytes()));
    Ok(base.find_or_create("/__symbols__")?.set_all(added, &[])?)
}

/// Where in the base the node is that the overlay calls by this symbol, with the zero that ends it;
/// nowhere if it is none that is laid over the base.
fn path_of_symbol(
    symbol: Property<'_>,
    fragments: &[Fragment<'_>],
) -> Result<Option<String>, Error> {
    let bad = || Error::BadSymbol { symbol: symbol.name().into() };
    let path = symbol.as_str().and_then(|path| path.strip_prefix('/')).ok_or_else(bad)?;
    let Some((fragment, path)) = path.split_once('/') else { return Ok(None) };
    let Some(path) = path.strip_prefix(OVERLAY) else { return Ok(None) };
    if !(path.is_empty() || path.starts_with('/')) {
        return Ok(None);
    }
    let fragment = fragments.iter().find(|one| one.name == fragment).ok_or_else(bad)?;
    let target = fragment.place.as_ref().map_or("/", |place| &place.path);
    Ok(Some(match (target, path) {
        ("/", "" | "/") => "/\0".into(),
        ("/", path) => format!("{path}\0"),
        (target, path) => format!("{}{}\0", target, path.trim_end_matches('/')),
    }))
}

/// Nodes of an overlay's root that are no fragments.
const SYMBOLS: &str = "__symbols__";
const FIXUPS: &str = "__fixups__";
const LOCAL_FIXUPS: &str = "__local_fixups__";
/// What a fragment holds.
const OVERLAY: &str = "__overlay__";

/// Why an overlay cannot be applied. Names are the overlay's or the base's and are cut when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Larger than [`MAX_OVERLAY_SIZE`]; its size.
    TooLarge(usize),
    /// More than [`MAX_FRAGMENTS`]; how many.
    TooManyFragments(usize),
    /// No node holds an `__overlay__`.
    NoFragment,
    /// A fragment does not say what it is laid over.
    NoTarget {
        /// The fragment.
        fragment: String,
    },
    /// Its `target` is no phandle, or its `target-path` no path.
    BadTarget {
        /// The fragment.
        fragment: String,
    },
    /// The base has no such node.
    TargetMissing {
        /// The fragment.
        fragment: String,
        /// The node as the fragment calls it.
        target: String,
    },
    /// The base has no symbols at all.
    NoSymbols {
        /// One that is needed.
        symbol: String,
        /// By whom: `/fragment@0:target:0`.
        reference: String,
    },
    /// The base does not have this symbol.
    SymbolMissing {
        /// The symbol.
        symbol: String,
        /// Who needs it.
        reference: String,
    },
    /// The base's symbol leads to no node that can be referred to.
    SymbolAstray {
        /// The symbol.
        symbol: String,
        /// Where it leads.
        path: String,
    },
    /// An entry of `__fixups__` or `__local_fixups__` names no place in the overlay.
    BadReference {
        /// The node or label, and the entry.
        reference: String,
    },
    /// A `phandle` that is no number of 32 bits.
    BadPhandle {
        /// The node.
        node: String,
    },
    /// One of the overlay's own symbols leads to no fragment.
    BadSymbol {
        /// The symbol.
        symbol: String,
    },
    /// The phandles of both together exceed 32 bits.
    NoPhandleLeft,
    /// Nodes would be in each other beyond what Linux takes.
    TooDeep {
        /// The node that would be.
        node: String,
    },
    /// The base cannot be edited.
    Edit(edit::Error),
}

impl From<edit::Error> for Error {
    fn from(error: edit::Error) -> Self {
        Self::Edit(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::OverlayUnusable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code().summary())?;
        match self {
            Self::TooLarge(size) => write!(
                f,
                "{} is too large for an overlay, at most {}",
                Size(*size as u64),
                Size(MAX_OVERLAY_SIZE as u64)
            ),
            Self::TooManyFragments(count) => {
                write!(f, "it has {count} fragments, at most {MAX_FRAGMENTS} are applied")
            }
            Self::NoFragment => f.write_str(
                "no node holds an __overlay__, so this is no overlay; its source begins with \
                 /dts-v1/; /plugin/;",
            ),
            Self::NoTarget { fragment } => {
                write!(f, "{} has neither target nor target-path", Excerpt(fragment))
            }
            Self::BadTarget { fragment } => write!(
                f,
                "the target of {} is neither a path nor a label's number; build the overlay with \
                 dtc -@",
                Excerpt(fragment)
            ),
            Self::TargetMissing { fragment, target } => write!(
                f,
                "the device tree has no {}, which {} is for; is the overlay for this board?",
                Excerpt(target),
                Excerpt(fragment)
            ),
            Self::NoSymbols { symbol, reference } => write!(
                f,
                "the device tree has no symbols, and {} needs \"{}\"; build the tree with dtc -@",
                Excerpt(reference),
                Excerpt(symbol)
            ),
            Self::SymbolMissing { symbol, reference } => write!(
                f,
                "the device tree has no symbol \"{}\", which {} needs; is the overlay for this \
                 board and kernel?",
                Excerpt(symbol),
                Excerpt(reference)
            ),
            Self::SymbolAstray { symbol, path } => write!(
                f,
                "the device tree's symbol \"{}\" leads to {}, which is no node with a phandle; \
                 build the tree with dtc -@",
                Excerpt(symbol),
                Excerpt(path)
            ),
            Self::BadReference { reference } => write!(
                f,
                "its reference {} leads nowhere; build the overlay again",
                Excerpt(reference)
            ),
            Self::BadPhandle { node } => {
                write!(
                    f,
                    "the phandle of {} is not one cell; build the overlay again",
                    Excerpt(node)
                )
            }
            Self::BadSymbol { symbol } => write!(
                f,
                "its symbol \"{}\" leads to no fragment; build the overlay again",
                Excerpt(symbol)
            ),
            Self::NoPhandleLeft => f.write_str("the phandles of tree and overlay exceed 32 bits"),
            Self::TooDeep { node } => {
                write!(f, "{} would be too deep within other nodes", Excerpt(node))
            }
            Self::Edit(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}
