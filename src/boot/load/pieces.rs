//! Where each piece of a generation comes from: files of their own, or the kernel's file.
//!
//! An entry's own initrds and device tree go before those of a FIT image, as with U-Boot; naming
//! the FIT image as initrd or device tree as well means those in it, likewise.

use alloc::{format, string::String, vec::Vec};

use log::Level;

use super::{Facts, LoadError, kernel::Kernel, stored::Stored};
use crate::{
    devicetree::DeviceTree,
    fs::FileSystem,
    linux::{
        fit::{self, Choice, Fit, Image, Outline, Role},
        image,
        package::Package,
        placement::DEVICE_TREE_MAX,
    },
    nixos::{BootFiles, DeviceTreeFile},
};

/// The pieces of a generation, found and opened, but for a device tree in a file of its own.
pub(super) struct Pieces {
    /// What there is to say of them when they are loaded.
    pub(super) notes: Vec<(Level, String)>,
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
            Package::Fit => return Self::open_fit(file_system, files, stored, facts),
        };
        let kernel = Kernel::inspect(kernel, told_size)?;
        let initrds = files.initrds.iter().map(|path| Stored::open(file_system, path));
        let initrds = initrds.collect::<Result<_, _>>()?;
        Ok(Self { notes: Vec::new(), kernel, initrds, device_tree: None })
    }

    fn open_fit(
        file_system: &mut dyn FileSystem,
        files: &BootFiles,
        mut stored: Stored,
        facts: &Facts<'_>,
    ) -> Result<Self, LoadError> {
        let path = &files.kernel;
        let failed = |error| LoadError::Fit(path.clone(), error);
        let outline = Outline::read(stored.file()).map_err(failed)?;
        let fit = outline.fit().map_err(failed)?;
        let named = files.configuration.as_deref();
        let chosen = choose(fit, named, facts, |image| image_of(file_system, path, image));
        let choice = chosen.map_err(failed)?;
        let configuration = choice.configuration;

        let kernel = fit.kernel(configuration).map_err(failed)?;
        let ramdisk = fit.ramdisk(configuration).map_err(failed)?;
        let device_trees = device_trees(fit, &choice, files).map_err(failed)?;
        let images = [&kernel].into_iter().chain(&ramdisk).chain(&device_trees);
        let notes = notes(path, fit, &choice, images);

        let kernel = Kernel::inspect(image_of(file_system, path, kernel)?, None)?;
        let mut initrds = Vec::new();
        for file in &files.initrds {
            initrds.push(match &ramdisk {
                _ if !files.is_kernel(file) => Stored::open(file_system, file)?,
                Some(ramdisk) => image_of(file_system, path, ramdisk.clone())?,
                None => return Err(failed(fit::Error::names_none(configuration, Role::Ramdisk))),
            });
        }
        if let (Some(ramdisk), []) = (ramdisk, &*files.initrds) {
            initrds.push(image_of(file_system, path, ramdisk)?);
        }
        let mut device_trees =
            device_trees.into_iter().map(|image| image_of(file_system, path, image));
        let device_tree = match device_trees.next() {
            Some(base) => {
                Some(FitTree { base: base?, overlays: device_trees.collect::<Result<_, _>>()? })
            }
            None => None,
        };
        Ok(Self { notes, kernel, initrds, device_tree })
    }
}

/// The device tree and the overlays out of a FIT image; none if the entry has a tree of its own.
fn device_trees(
    fit: Fit<'_>,
    choice: &Choice<'_>,
    files: &BootFiles,
) -> Result<Vec<Image>, fit::Error> {
    let is_wanted = match &files.device_tree {
        DeviceTreeFile::File(file) if !files.is_kernel(file) => return Ok(Vec::new()),
        DeviceTreeFile::File(_) => true,
        DeviceTreeFile::Directory(_) | DeviceTreeFile::FromFirmware => false,
    };
    let mut trees = fit.device_trees(choice.configuration)?;
    if trees.is_empty() && is_wanted {
        return Err(fit::Error::names_none(choice.configuration, Role::DeviceTree));
    }
    for &extension in &choice.extensions {
        trees.extend(fit.device_trees(extension)?);
    }
    Ok(trees)
}

/// What there is to say of what is taken out of a FIT image.
fn notes<'i>(
    path: &str,
    fit: Fit<'_>,
    Choice { configuration, reason, .. }: &Choice<'_>,
    images: impl Iterator<Item = &'i Image>,
) -> Vec<(Level, String)> {
    let text = format!("FIT image {path}: configuration {}, {reason}", configuration.name);
    let mut notes = Vec::from([(Level::Info, text)]);
    if fit.is_signed() {
        notes.push((Level::Warn, format!("FIT image {path}: its signatures are not checked")));
    }
    for image in images {
        notes.extend(image.unknown_digests.iter().map(|name| {
            let (name, of) = (name.escape_debug(), &image.name);
            (Level::Warn, format!("FIT image {path}: the {name} of {of} is not checked"))
        }));
    }
    notes
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
    mut open: impl FnMut(Image) -> Result<Stored, LoadError>,
) -> Result<Choice<'a>, fit::Error> {
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
        // What is wrong with it is said when it is needed.
        open(image.clone()).ok().and_then(compatible_of).unwrap_or_default()
    })
}

/// What the root of a device tree is compatible with.
fn compatible_of(mut stored: Stored) -> Option<Vec<String>> {
    let bytes = stored.read_all(DEVICE_TREE_MAX).ok()?;
    let tree = DeviceTree::validate(&bytes).ok()?;
    Some(tree.root().property("compatible")?.strings().map(String::from).collect())
}
