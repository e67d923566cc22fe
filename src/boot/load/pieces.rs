//! Where each piece of a generation comes from: files of their own, or the kernel's file.
//!
//! An entry's own initrds and device tree go before those of a FIT image, as with U-Boot; naming
//! the FIT image as initrd or device tree as well means those in it, likewise.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{Facts, LoadError, kernel::Kernel, stored::Stored};
use crate::{
    devicetree::DeviceTree,
    fs::FileSystem,
    linux::{
        fit::{self, Fit, Image, Outline},
        image,
        package::Package,
        placement::DEVICE_TREE_MAX,
    },
    nixos::{BootFiles, DeviceTreeFile},
};

/// The pieces of a generation, found and opened, but for a device tree in a file of its own.
pub(super) struct Pieces {
    /// What there is to say of them when they are loaded.
    pub(super) notes: Vec<(log::Level, String)>,
    pub(super) kernel: Kernel,
    pub(super) initrds: Vec<Stored>,
    pub(super) device_tree: Option<FitTree>,
}

/// The device tree that came with the kernel.
pub(super) struct FitTree {
    pub(super) base: Stored,
    pub(super) overlays: Vec<Stored>,
}

/// Bytes that are read of device trees to find out what configurations are for: each may be 2 MiB.
const MAX_SEARCH: u64 = 64 << 20;

impl Pieces {
    pub(super) fn open(
        file_system: &mut dyn FileSystem,
        files: &BootFiles,
        facts: &Facts<'_>,
    ) -> Result<Self, LoadError> {
        let mut initrds = Vec::new();
        for path in files.initrds.iter().filter(|path| !files.is_kernel(path)) {
            initrds.push(Stored::open(file_system, path)?);
        }
        let mut stored = Stored::open(file_system, &files.kernel)?;
        let size = stored.size();
        let head = stored.peek(image::HEAD_SIZE)?;
        let package = Package::recognise(&head, size)
            .map_err(|error| LoadError::Kernel(files.kernel.clone(), error))?;
        let (kernel, told_size) = match package {
            Package::None => (stored, None),
            Package::Compressed(compression) => (stored.part(0..size, Some(compression)), None),
            Package::Zboot(zboot) => {
                let mut told_size = [0; 4];
                stored.file().read_at(zboot.size_at, &mut told_size)?;
                let told_size = u32::from_le_bytes(told_size).into();
                (stored.part(zboot.payload, Some(zboot.compression)), Some(told_size))
            }
            Package::Fit => return Self::open_fit(file_system, files, stored, initrds, facts),
        };
        let kernel = Kernel::inspect(kernel, told_size)?;
        Ok(Self { notes: Vec::new(), kernel, initrds, device_tree: None })
    }

    fn open_fit(
        file_system: &mut dyn FileSystem,
        files: &BootFiles,
        mut stored: Stored,
        mut initrds: Vec<Stored>,
        facts: &Facts<'_>,
    ) -> Result<Self, LoadError> {
        let path = &files.kernel;
        let failed = |error| LoadError::Fit(path.clone(), error);
        let outline = Outline::read(stored.file()).map_err(failed)?;
        let fit = outline.fit().map_err(failed)?;
        let mut part = |image: Image| image_of(file_system, path, image);

        let chosen = choose(fit, files.configuration.as_deref(), facts, &mut part);
        let fit::Choice { configuration, reason, extensions } = chosen.map_err(failed)?;
        let text = format!("FIT image {path}: configuration {}, {reason}", configuration.name);
        let mut notes = Vec::from([(log::Level::Info, text)]);
        let mut warn = |what: String| {
            notes.push((log::Level::Warn, format!("FIT image {path}: {what} not checked")));
        };
        if fit.is_signed() {
            warn("its signatures are".to_owned());
        }
        let mut part = |image: Image| {
            for name in &image.unknown_digests {
                warn(format!("the {} of {} is", name.escape_debug(), image.name));
            }
            part(image)
        };

        let kernel = Kernel::inspect(part(fit.kernel(configuration).map_err(failed)?)?, None)?;
        if initrds.is_empty()
            && let Some(ramdisk) = fit.ramdisk(configuration).map_err(failed)?
        {
            initrds.push(part(ramdisk)?);
        }
        let device_tree = match &files.device_tree {
            DeviceTreeFile::File(file) if !files.is_kernel(file) => None,
            _ => {
                let mut trees = fit.device_trees(configuration).map_err(failed)?;
                for extension in extensions {
                    trees.extend(fit.device_trees(extension).map_err(failed)?);
                }
                let mut trees = trees.into_iter().map(part);
                match trees.next() {
                    Some(base) => {
                        Some(FitTree { base: base?, overlays: trees.collect::<Result<_, _>>()? })
                    }
                    None => None,
                }
            }
        };
        Ok(Self { notes, kernel, initrds, device_tree })
    }
}

/// An image of the FIT image at `path`.
fn image_of(
    file_system: &mut dyn FileSystem,
    path: &str,
    image: Image,
) -> Result<Stored, LoadError> {
    let mut stored = Stored::open(file_system, path)?;
    stored.name = format!("{path} ({})", image.name);
    Ok(stored.part(image.data, image.compression).with_digests(image.digests))
}

/// Chooses a configuration of a FIT image for this board.
fn choose<'a>(
    fit: Fit<'a>,
    named: Option<&str>,
    facts: &Facts<'_>,
    part: &mut impl FnMut(Image) -> Result<Stored, LoadError>,
) -> Result<fit::Choice<'a>, fit::Error> {
    let root = facts.firmware_tree.map(DeviceTree::root);
    let compatible = root.and_then(|root| root.property("compatible"));
    let more = compatible.iter().flat_map(|list| list.strings());
    let board: Vec<&str> = core::iter::once(facts.board.compatible).chain(more).collect();
    let mut left = MAX_SEARCH;
    fit.choose(named, &board, |image| {
        let size = image.data.end - image.data.start;
        if size > left.min(DEVICE_TREE_MAX) {
            return Vec::new();
        }
        left -= size;
        compatible_of(image.clone(), part).unwrap_or_default()
    })
}

/// What the root of a device tree in a FIT image is compatible with.
fn compatible_of(
    image: Image,
    part: &mut impl FnMut(Image) -> Result<Stored, LoadError>,
) -> Option<Vec<String>> {
    // What is wrong with it is said when it is needed.
    let bytes = part(image).ok()?.read_all(DEVICE_TREE_MAX).ok()?;
    let tree = DeviceTree::validate(&bytes).ok()?;
    Some(tree.root().property("compatible")?.strings().map(String::from).collect())
}
