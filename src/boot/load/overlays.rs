//! The generation's overlays, which are part of its device tree: a tree with some of them is another
//! machine's.

use alloc::{format, string::String, vec::Vec};

use super::{LoadError, stored::Stored};
use crate::{
    devicetree::{
        DeviceTree, DeviceTreeBuf,
        overlay::{self, MAX_OVERLAY_SIZE},
    },
    fs::FileSystem,
};

/// Adds the overlays in files to those that came with the kernel.
pub(super) fn open(
    file_system: &mut dyn FileSystem,
    paths: &[String],
    with_kernel: Vec<Stored>,
) -> Result<Vec<Stored>, LoadError> {
    let mut overlays = with_kernel;
    for path in paths {
        overlays.push(Stored::open(file_system, path)?);
    }
    Ok(overlays)
}

/// What there is to say of them.
pub(super) fn notes(overlays: &[Stored]) -> Vec<(log::Level, String)> {
    let note = |overlay: &Stored| (log::Level::Info, format!("overlay {}", overlay.name));
    overlays.iter().map(note).collect()
}

/// Lays them over the tree, one after the other.
pub(super) fn apply(tree: &mut DeviceTreeBuf, overlays: Vec<Stored>) -> Result<(), LoadError> {
    for mut stored in overlays {
        let bytes = read(&mut stored)?;
        let name = || stored.name.clone();
        let overlay =
            DeviceTree::validate(&bytes).map_err(|error| LoadError::DeviceTree(name(), error))?;
        overlay::apply(tree, overlay).map_err(|error| LoadError::Overlay(name(), error))?;
    }
    Ok(())
}

fn read(stored: &mut Stored) -> Result<Vec<u8>, LoadError> {
    stored.read_all(MAX_OVERLAY_SIZE as u64).map_err(|error| match error {
        LoadError::DeviceTreeTooLarge(name, size) => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            LoadError::Overlay(name, overlay::Error::TooLarge(size))
        }
        error => error,
    })
}
