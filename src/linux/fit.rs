//! FIT images: kernel, initrd and device trees in one file, put together by configurations.
//!
//! A FIT image is a device tree whose properties hold the files, so it may be as large as they are
//! together. [`Outline`] is what is left of it without them: read in one pass, small, with a
//! reference in place of each file. [`Fit`] understands it; what it gives are ranges of the file
//! and what is promised of their bytes. Whoever loads them checks the promises ([`Digest`]).
//!
//! What is not looked at: addresses (`load`, `entry`; the kernel's own header and the planner know
//! better), `loadables` and `firmware` (what runs beneath Linux runs already), and signatures.
//!
//! Source: the Flattened Image Tree specification (fitspec.osfw.foundation, which was U-Boot's
//! `doc/usage/fit/source_file_format.rst`); the choice among configurations as U-Boot's
//! `boot/image-fit.c` makes it.

#![forbid(unsafe_code)]

mod digest;
mod error;
mod outline;

pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Problem};
pub use outline::{MAX_OUTLINE, Outline};

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::{fmt, ops::Range};

use super::compression::Compression;
use crate::devicetree::{DeviceTree, Node};

/// Configurations that are looked at; a build for every board of the kernel has some hundred.
pub const MAX_CONFIGURATIONS: usize = 1024;
/// Digests of one image; a further one is no use to anybody.
const MAX_DIGESTS: usize = 8;
/// Device tree and overlays of one configuration.
const MAX_DEVICE_TREES: usize = 64;

/// What an outline says.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    images: Node<'a>,
    configurations: Node<'a>,
    /// Where the file data begins that is not in the tree, in bytes of the file.
    external: u64,
    file_size: u64,
}

/// Files that boot together.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    node: Node<'a>,
    /// Its name.
    pub name: &'a str,
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The kernel.
    Kernel,
    /// The initrd, which the kernel unpacks by itself.
    Ramdisk,
    /// A device tree or an overlay.
    DeviceTree,
}

/// One file in a FIT image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The name of its node.
    pub name: String,
    /// Its bytes in the FIT's file.
    pub data: Range<u64>,
    /// What they are packed with, if the loader is to unpack them.
    pub compression: Option<Compression>,
    /// What is known of the bytes as they are stored.
    pub digests: Vec<Digest>,
    /// Names of digests that are not known here.
    pub unknown_digests: Vec<String>,
}

/// Why a configuration was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked for by name.
    Named,
    /// It is for the board.
    Compatible(String),
    /// It is the image's default.
    Default,
    /// There is no other.
    Only,
}

/// What is to be booted out of a FIT image.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The configuration.
    pub configuration: Configuration<'a>,
    /// Why this one.
    pub reason: Reason,
    /// Configurations whose device trees are overlays for it.
    pub extensions: Vec<Configuration<'a>>,
}

impl<'a> Fit<'a> {
    /// Understands the tree of an outline.
    fn new(tree: DeviceTree<'a>, external: u64, file_size: u64) -> Result<Self, Error> {
        let images = tree.root().child("images").ok_or(Error::NoFit)?;
        let configurations = tree.root().child("configurations").ok_or(Error::NoConfigurations)?;
        Ok(Self { images, configurations, external, file_size })
    }

    /// All configurations, in the order of the file.
    pub fn configurations(self) -> impl Iterator<Item = Configuration<'a>> {
        self.configurations
            .children()
            .take(MAX_CONFIGURATIONS)
            .map(|node| Configuration { node, name: node.name() })
    }

    /// Whether anything in it is signed.
    pub fn is_signed(self) -> bool {
        let signed =
            |node: Node<'a>| node.children().any(|child| child.name().starts_with("signature"));
        self.images.children().any(signed) || self.configurations.children().any(signed)
    }

    /// Chooses a configuration: the one that `named` says (`configuration`, or
    /// `configuration#extension…`); else the one for the `board`, whose names are given with the
    /// most specific first; else the default; else the only one.
    ///
    /// What a configuration without `compatible` is for, its device tree says, which `compatible_of`
    /// reads.
    pub fn choose(
        self,
        named: Option<&str>,
        board: &[&str],
        mut compatible_of: impl FnMut(&Image) -> Vec<String>,
    ) -> Result<Choice<'a>, Error> {
        if let Some(named) = named {
            let mut names = named.split('#');
            let configuration = self.configuration(names.next().unwrap_or_default())?;
            let extensions =
                names.map(|name| self.configuration(name)).collect::<Result<_, _>>()?;
            return Ok(Choice { configuration, reason: Reason::Named, extensions });
        }
        let alone =
            |configuration, reason| Choice { configuration, reason, extensions: Vec::new() };
        let default = self.configurations.property("default").and_then(|name| name.as_str());
        let mut best: Option<(usize, Configuration<'a>)> = None;
        for configuration in self.configurations() {
            let compatible = self.compatible(configuration, &mut compatible_of);
            let rank = board.iter().position(|name| compatible.iter().any(|entry| entry == name));
            let Some(rank) = rank else { continue };
            let better = match best {
                None => true,
                Some((best, _)) if rank == best => default == Some(configuration.name),
                Some((best, _)) => rank < best,
            };
            if better {
                best = Some((rank, configuration));
            }
        }
        if let Some((rank, configuration)) = best {
            return Ok(alone(configuration, Reason::Compatible(board[rank].to_owned())));
        }
        if let Some(name) = default {
            return Ok(alone(self.configuration(name)?, Reason::Default));
        }
        let mut all = self.configurations();
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(alone(only, Reason::Only)),
            _ => Err(Error::NoChoice { there: self.names() }),
        }
    }

    /// What boards a configuration is for.
    fn compatible(
        self,
        configuration: Configuration<'a>,
        compatible_of: &mut impl FnMut(&Image) -> Vec<String>,
    ) -> Vec<String> {
        if let Some(list) = configuration.node.property("compatible") {
            return list.strings().map(ToOwned::to_owned).collect();
        }
        // A tree that cannot be used says so when it is needed.
        match self.device_trees(configuration).ok().as_deref() {
            Some([tree, ..]) => compatible_of(tree),
            _ => Vec::new(),
        }
    }

    fn configuration(self, name: &str) -> Result<Configuration<'a>, Error> {
        self.configurations()
            .find(|configuration| configuration.name == name)
            .ok_or_else(|| Error::NoSuchConfiguration { name: name.into(), there: self.names() })
    }

    /// The names of the configurations, for a message.
    fn names(self) -> String {
        error::list(self.configurations().map(|configuration| configuration.name))
    }

    /// The kernel of a configuration.
    pub fn kernel(self, configuration: Configuration<'a>) -> Result<Image, Error> {
        self.named(configuration, "kernel", Role::Kernel)?
            .pop()
            .ok_or_else(|| Error::names_none(configuration, Role::Kernel))
    }

    /// The initrd of a configuration, if it has one.
    pub fn ramdisk(self, configuration: Configuration<'a>) -> Result<Option<Image>, Error> {
        Ok(self.named(configuration, "ramdisk", Role::Ramdisk)?.pop())
    }

    /// The device tree of a configuration and overlays for it; none if it has none.
    pub fn device_trees(self, configuration: Configuration<'a>) -> Result<Vec<Image>, Error> {
        self.named(configuration, "fdt", Role::DeviceTree)
    }

    /// The images that a property of a configuration names; of kernels and initrds, the first.
    fn named(
        self,
        configuration: Configuration<'a>,
        property: &str,
        role: Role,
    ) -> Result<Vec<Image>, Error> {
        let most = if role == Role::DeviceTree { MAX_DEVICE_TREES } else { 1 };
        let Some(list) = configuration.node.property(property) else { return Ok(Vec::new()) };
        list.strings()
            .filter(|name| !name.is_empty())
            .take(most)
            .map(|name| self.image(name, role))
            .collect()
    }

    fn image(self, name: &str, role: Role) -> Result<Image, Error> {
        let there = || error::list(self.images.children().map(Node::name));
        let node = self
            .images
            .children()
            .find(|node| node.name() == name)
            .ok_or_else(|| Error::NoSuchImage { name: name.into(), there: there() })?;
        self.describe(node, role).map_err(|problem| Error::Image { name: name.into(), problem })
    }

    fn describe(self, node: Node<'_>, role: Role) -> Result<Image, Problem> {
        check_kind(node, role)?;
        if node.child("cipher").is_some() {
            return Err(Problem::Encrypted);
        }
        let data = self.data(node)?;
        // An initrd is unpacked by the kernel, whatever is said of it.
        let compression = match text(node, "compression") {
            _ if role == Role::Ramdisk => None,
            "" | "none" => None,
            name => Some(
                Compression::from_name(name).ok_or_else(|| Problem::Compression(name.into()))?,
            ),
        };
        let mut image = Image {
            name: node.name().to_owned(),
            data,
            compression,
            digests: Vec::new(),
            unknown_digests: Vec::new(),
        };
        let hashes = node.children().filter(|child| child.name().starts_with("hash"));
        for hash in hashes.take(MAX_DIGESTS) {
            let algorithm = text(hash, "algo");
            let value = hash.property("value").map(|value| value.value()).unwrap_or_default();
            match Algorithm::from_name(algorithm) {
                Some(algorithm) => image.digests.push(Digest::new(algorithm, value)?),
                None => image.unknown_digests.push(algorithm.to_owned()),
            }
        }
        Ok(image)
    }

    /// Where the bytes of an image are.
    fn data(self, node: Node<'_>) -> Result<Range<u64>, Problem> {
        let number = |name| node.property(name).and_then(|property| property.as_u64());
        let position = number("data-position")
            .or_else(|| number("data-offset").and_then(|offset| self.external.checked_add(offset)));
        let (start, size) = match (position, node.property("data")) {
            (Some(position), _) => (position, number("data-size").ok_or(Problem::NoData)?),
            (None, Some(reference)) => {
                outline::reference(reference.value()).ok_or(Problem::NoData)?
            }
            (None, None) => return Err(Problem::NoData),
        };
        if size == 0 {
            return Err(Problem::NoData);
        }
        match start.checked_add(size) {
            Some(end) if end <= self.file_size => Ok(start..end),
            _ => Err(Problem::Outside { start, size, file_size: self.file_size }),
        }
    }
}

/// Whether an image is what it is used for, on this processor.
fn check_kind(node: Node<'_>, role: Role) -> Result<(), Problem> {
    let kind = text(node, "type");
    let fits = match role {
        Role::Kernel => matches!(kind, "kernel" | "kernel_noload"),
        Role::Ramdisk => kind == "ramdisk",
        Role::DeviceTree => kind == "flat_dt",
    };
    if !fits {
        return Err(Problem::Kind { role, found: kind.into() });
    }
    if role == Role::Kernel {
        match (text(node, "arch"), text(node, "os")) {
            ("arm64", "linux") => {}
            ("arm64", os) => return Err(Problem::OperatingSystem(os.into())),
            (arch, _) => return Err(Problem::Architecture(arch.into())),
        }
    }
    Ok(())
}

/// A property that is one string; nothing if it is not.
fn text<'a>(node: Node<'a>, name: &str) -> &'a str {
    node.property(name).and_then(|property| property.as_str()).unwrap_or_default()
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Ramdisk => "ramdisk",
            Self::DeviceTree => "flat_dt",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("as named"),
            Self::Compatible(board) => write!(f, "for {board}"),
            Self::Default => f.write_str("the default"),
            Self::Only => f.write_str("the only one"),
        }
    }
}
