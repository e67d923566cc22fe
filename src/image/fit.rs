//! FIT images: what U-Boot's and NXP's first stages load BL31 and the second stage from.
//!
//! A device tree describes the images; their data follow it, so that the first stage loads the tree
//! alone into a buffer. [`Fit`] reads any FIT, [`FitBuf`] makes one for an existing first stage, or
//! puts the second stage into an existing FIT.
//!
//! Sources: U-Boot `doc/usage/fit/source_file_format.rst`, `common/spl/spl_fit.c`; imx-mkimage
//! `iMX8M/mkimage_fit_atf.sh`.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{fmt, ops::Range};

use sha2::{Digest as _, Sha256};

use super::Digest;
use crate::{
    devicetree::{self, DeviceTree, DeviceTreeBuf, Node},
    error::{Code, Coded},
};

/// Data begin at this multiple behind a tree, so that nothing that is read has to be moved.
const DATA_ALIGNMENT: usize = 512;
/// Where data begin at the earliest: a first stage that authenticates by HAB wants a header and two
/// signature blocks behind the tree (imx-mkimage `iMX8M/soc.mak`, FIT_EXTERNAL_POSITION).
const DATA_POSITION: usize = 0x5000;
/// A tree in which there is nothing.
const NOTHING: &[u8] =
    b"\xd0\x0d\xfe\xed\0\0\0\x48\0\0\0\x38\0\0\0\x48\0\0\0\x28\0\0\0\x11\0\0\0\x10\
    \0\0\0\0\0\0\0\0\0\0\0\x10\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x09";

/// A FIT.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    tree: DeviceTree<'a>,
    /// Bytes of the tree by its header.
    tree_size: usize,
}

/// An image of a FIT.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    node: Node<'a>,
    tree_size: usize,
}

/// Where an image's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// In the tree.
    Embedded(&'a [u8]),
    /// In this range of bytes from the start of the FIT on.
    External(Range<u64>),
}

/// Which images belong together.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    node: Node<'a>,
}

impl<'a> Fit<'a> {
    /// Reads the tree at the start of `bytes`. The data behind it need not be there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let tree = DeviceTree::validate(bytes).map_err(Error::Tree)?;
        let tree_size = devicetree::total_size(bytes).map_err(Error::Tree)?;
        tree.find("/images").ok_or(Error::NoImages)?;
        Ok(Self { tree, tree_size })
    }

    /// Its images, in their order.
    pub fn images(self) -> impl Iterator<Item = Image<'a>> {
        let tree_size = self.tree_size;
        let images = self.tree.find("/images");
        let nodes = images.into_iter().flat_map(Node::children);
        nodes.map(move |node| Image { node, tree_size })
    }

    /// The image of this name.
    pub fn image(self, name: &str) -> Option<Image<'a>> {
        self.images().find(|image| image.name() == name)
    }

    /// The configuration that a first stage takes if it cannot decide: the default, else the first.
    pub fn configuration(self) -> Option<Configuration<'a>> {
        let all = self.tree.find("/configurations")?;
        let default = all.property("default").and_then(|name| name.as_str());
        let node = match default {
            Some(name) => all.children().find(|node| node.name() == name)?,
            None => all.children().next()?,
        };
        Some(Configuration { node })
    }

    /// What it says of itself.
    pub fn description(self) -> Option<&'a str> {
        self.tree.root().property("description")?.as_str()
    }

    /// Whether a configuration carries a signature, which no edit survives.
    pub fn is_signed(self) -> bool {
        let configurations = self.tree.find("/configurations").into_iter();
        let mut parts = configurations.flat_map(Node::children).flat_map(Node::children);
        parts.any(|node| node.name().starts_with("signature"))
    }
}

impl<'a> Configuration<'a> {
    /// Its name.
    pub fn name(self) -> &'a str {
        self.node.name()
    }

    /// What is loaded first, and entered if nothing else has an entry.
    pub fn firmware(self) -> Option<&'a str> {
        self.node.property("firmware")?.as_str()
    }

    /// All images that it names: firmware, loadables, device trees.
    pub fn images(self) -> impl Iterator<Item = &'a str> {
        let lists = ["firmware", "loadables", "fdt"];
        let lists = lists.into_iter().filter_map(move |name| self.node.property(name));
        lists.flat_map(|list| list.strings())
    }
}

impl<'a> Image<'a> {
    /// Its name.
    pub fn name(self) -> &'a str {
        self.node.name()
    }

    /// What it says of itself.
    pub fn description(self) -> Option<&'a str> {
        self.node.property("description")?.as_str()
    }

    /// `firmware`, `standalone`, `flat_dt`, …
    pub fn image_type(self) -> Option<&'a str> {
        self.node.property("type")?.as_str()
    }

    /// The compression, if there is one.
    pub fn compression(self) -> Option<&'a str> {
        let name = self.node.property("compression")?.as_str()?;
        (name != "none").then_some(name)
    }

    /// The address that it is loaded to.
    pub fn load(self) -> Option<u64> {
        self.node.property("load")?.as_u64()
    }

    /// The address that it is entered at.
    pub fn entry(self) -> Option<u64> {
        self.node.property("entry")?.as_u64()
    }

    /// Where its data are.
    pub fn data(self) -> Result<Data<'a>, Error> {
        if let Some(data) = self.node.property("data") {
            return Ok(Data::Embedded(data.value()));
        }
        let number = |name| self.node.property(name).and_then(|value| value.as_u64());
        let start = match (number("data-position"), number("data-offset")) {
            (Some(position), _) => Some(position),
            (None, Some(offset)) => offset.checked_add(self.tree_size.next_multiple_of(4) as u64),
            (None, None) => None,
        };
        let range = start.and_then(|start| Some(start..start.checked_add(number("data-size")?)?));
        range.map(Data::External).ok_or_else(|| Error::NoData(self.name().to_owned()))
    }

    /// Its SHA-256 digest, if it has one.
    pub fn digest(self) -> Option<Digest> {
        let hashes = self.node.children().filter(|node| node.name().starts_with("hash"));
        let is_sha256 =
            |node: &Node<'_>| node.property("algo").is_some_and(|a| a.as_str() == Some("sha256"));
        let mut values = hashes.filter(is_sha256).filter_map(|node| node.property("value"));
        values.next()?.value().try_into().ok()
    }
}

/// An image for a FIT that is made.
#[derive(Clone, Copy, Debug)]
pub struct NewImage<'a> {
    /// Its name.
    pub name: &'a str,
    /// What a person reads.
    pub description: &'a str,
    /// See [`Image::image_type`].
    pub image_type: &'a str,
    /// The address that it is loaded to.
    pub load: u32,
    /// The address that it is entered at.
    pub entry: Option<u32>,
    /// Its data.
    pub data: &'a [u8],
}

/// A FIT that is made: the tree, and each image's data.
#[derive(Clone, Debug)]
pub struct FitBuf {
    tree: DeviceTreeBuf,
    data: Vec<(String, Vec<u8>)>,
}

impl FitBuf {
    /// A FIT of `images`, as imx-mkimage has U-Boot's first stage load them: the first is the
    /// firmware, which the others, entered before it, are loaded along with.
    pub fn new(description: &str, images: &[NewImage<'_>]) -> Result<Self, Error> {
        let nothing = DeviceTree::validate(NOTHING).map_err(Error::Tree)?;
        let mut fit = Self { tree: nothing.into(), data: Vec::new() };
        let mut root = fit.tree.root_mut();
        root.set_str("description", description)?;
        root.set_u32("#address-cells", 1)?;
        // mkimage's time of day; nothing of that goes into an image.
        root.set_u32("timestamp", 0)?;
        fit.tree.find_or_create("/images")?;
        for image in images {
            fit.add(image)?;
        }
        fit.configure(images)?;
        Ok(fit)
    }

    /// A FIT that is there. `read` fetches an image's data, given where they are.
    pub fn open(
        fit: Fit<'_>,
        mut read: impl FnMut(Range<u64>) -> Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        if fit.is_signed() {
            return Err(Error::Signed);
        }
        let data = |image: Image<'_>| {
            let data = match image.data()? {
                Data::Embedded(data) => data.to_vec(),
                Data::External(range) => {
                    read(range).ok_or_else(|| Error::NoData(image.name().to_owned()))?
                }
            };
            Ok((image.name().to_owned(), data))
        };
        let data = fit.images().map(data).collect::<Result<_, Error>>()?;
        Ok(Self { tree: fit.tree.into(), data })
    }

    /// Puts `new` in the place of the image `name`. Where it goes stays as it is.
    pub fn replace(&mut self, name: &str, description: &str, new: &[u8]) -> Result<(), Error> {
        let data = self.data.iter_mut().find(|(known, _)| known == name);
        let (_, data) = data.ok_or_else(|| Error::NoImage(name.to_owned()))?;
        data.clear();
        data.extend_from_slice(new);
        let path = format!("/images/{name}");
        let mut node = self.tree.find_mut(&path).ok_or_else(|| Error::NoImage(name.to_owned()))?;
        node.set_str("description", description)?;
        node.set_str("compression", "none")?;
        node.retain_children(|child| !child.name().starts_with("hash"));
        self.set_digest(name, new)
    }

    /// The FIT as it lies on a medium.
    pub fn to_bytes(mut self) -> Result<Vec<u8>, Error> {
        // Positions have a fixed size, so that the tree does not grow when they change.
        let positions = self.lay_out(0)?;
        let start = self.tree.size().next_multiple_of(DATA_ALIGNMENT).max(DATA_POSITION);
        self.lay_out(start)?;
        let mut bytes = self.tree.to_vec(0)?;
        for ((_, data), position) in self.data.iter().zip(positions) {
            bytes.resize(start + position, 0);
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    }

    /// Notes where the data lie if the first of them lie at `start`. Returns their distances from
    /// there.
    fn lay_out(&mut self, start: usize) -> Result<Vec<usize>, Error> {
        let mut distance = 0;
        let mut distances = Vec::new();
        for (name, data) in &self.data {
            let narrow =
                |number: usize| u32::try_from(number).map_err(|_| Error::NoData(name.to_owned()));
            let path = format!("/images/{name}");
            let mut node =
                self.tree.find_mut(&path).ok_or_else(|| Error::NoImage(name.to_owned()))?;
            node.remove("data");
            node.remove("data-offset");
            node.set_u32("data-position", narrow(start.saturating_add(distance))?)?;
            node.set_u32("data-size", narrow(data.len())?)?;
            distances.push(distance);
            distance = distance.saturating_add(data.len()).next_multiple_of(DATA_ALIGNMENT);
        }
        Ok(distances)
    }

    fn add(&mut self, image: &NewImage<'_>) -> Result<(), Error> {
        let mut node = self.tree.find_or_create(&format!("/images/{}", image.name))?;
        node.set_str("description", image.description)?;
        node.set_str("type", image.image_type)?;
        node.set_str("arch", "arm64")?;
        node.set_str("compression", "none")?;
        node.set_u32("load", image.load)?;
        if let Some(entry) = image.entry {
            node.set_u32("entry", entry)?;
        }
        self.set_digest(image.name, image.data)?;
        self.data.push((image.name.to_owned(), image.data.to_vec()));
        Ok(())
    }

    fn set_digest(&mut self, name: &str, data: &[u8]) -> Result<(), Error> {
        let mut node = self.tree.find_or_create(&format!("/images/{name}/hash-1"))?;
        node.set("value", &Sha256::digest(data))?;
        node.set_str("algo", "sha256")?;
        Ok(())
    }

    fn configure(&mut self, images: &[NewImage<'_>]) -> Result<(), Error> {
        let Some((firmware, others)) = images.split_first() else { return Ok(()) };
        let loadables: String = others.iter().flat_map(|image| [image.name, "\0"]).collect();
        self.tree.find_or_create("/configurations")?.set_str("default", "config-1")?;
        let mut node = self.tree.find_or_create("/configurations/config-1")?;
        node.set_str("description", firmware.description)?;
        node.set_str("firmware", firmware.name)?;
        node.set("loadables", loadables.as_bytes())?;
        Ok(())
    }
}

/// Why something is no FIT, or cannot be made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Its tree is damaged.
    Tree(devicetree::Error),
    /// A device tree without images.
    NoImages,
    /// There is no image of this name.
    NoImage(String),
    /// The image of this name has no data, or they lie where nothing is.
    NoData(String),
    /// It is signed.
    Signed,
    /// The tree cannot be edited.
    Edit(devicetree::edit::Error),
}

impl From<devicetree::edit::Error> for Error {
    fn from(error: devicetree::edit::Error) -> Self {
        Self::Edit(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Tree(_) => Code::BootImageHeader,
            Self::NoImages => Code::NotABootImage,
            Self::NoImage(_) => Code::BootImageIncomplete,
            Self::NoData(_) => Code::BootImagePlacement,
            Self::Signed | Self::Edit(_) => Code::BootImageInput,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(error) => write!(f, "the FIT cannot be read: {error}"),
            Self::NoImages => f.write_str("a device tree, but no FIT: it has no /images"),
            Self::NoImage(name) => write!(f, "the FIT has no image {name}"),
            Self::NoData(name) => {
                write!(f, "the data of the FIT's image {name} are not where it says")
            }
            Self::Signed => f.write_str(
                "the FIT is signed, and with another second stage its signature would be wrong",
            ),
            Self::Edit(error) => write!(f, "the FIT cannot be made: {error}"),
        }
    }
}

impl core::error::Error for Error {}
