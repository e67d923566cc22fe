//! The device tree: which one it is, and what is told in it.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{Facts, LoadError, fixups::Report, overlays, pieces::FitTree, stored::Stored};
use crate::{
    devicetree::{DeviceTree, DeviceTreeBuf, files, memory as tree_memory},
    fs::{self, FileSystem},
    linux::{MemoryMap, placement},
    nixos::{BootFiles, DeviceTreeFile},
};

/// The device tree that the kernel's is made of.
pub(super) enum BaseTree<'a> {
    /// As read from a file, not validated yet.
    File {
        path: String,
        bytes: Vec<u8>,
    },
    Firmware(DeviceTree<'a>),
}

impl<'a> BaseTree<'a> {
    /// The tree, and overlays for it that came with it. What there is to say of it goes to `notes`.
    pub(super) fn read(
        file_system: &mut dyn FileSystem,
        wanted: &DeviceTreeFile,
        with_kernel: Option<FitTree>,
        facts: &Facts<'a>,
        notes: &mut Vec<(log::Level, String)>,
    ) -> Result<(Self, Vec<Stored>), LoadError> {
        let missing = match wanted {
            DeviceTreeFile::File(path) if with_kernel.is_none() => {
                return Ok((Self::read_file(file_system, path)?, Vec::new()));
            }
            DeviceTreeFile::File(path) => format!("{path} is the kernel's file"),
            DeviceTreeFile::Directory(directory) => {
                for path in files::candidates(directory, facts.board) {
                    match Self::read_file(file_system, &path) {
                        Err(LoadError::File(fs::Error {
                            kind: fs::ErrorKind::NotFound, ..
                        })) => {}
                        outcome => return Ok((outcome?, Vec::new())),
                    }
                }
                format!("{directory} holds no {}", facts.board.device_tree)
            }
            DeviceTreeFile::FromFirmware => "the entry names none".to_string(),
        };
        if let Some(FitTree { mut base, overlays }) = with_kernel {
            let bytes = base.read_all(placement::DEVICE_TREE_MAX)?;
            return Ok((Self::File { path: base.name, bytes }, overlays));
        }
        let Some(tree) = facts.firmware_tree else {
            return Err(LoadError::NoDeviceTree(missing));
        };
        let note =
            format!("device tree: {missing}; the one that the loader was started with serves");
        notes.push((log::Level::Info, note));
        Ok((Self::Firmware(tree), Vec::new()))
    }

    fn read_file(file_system: &mut dyn FileSystem, path: &str) -> Result<Self, LoadError> {
        let mut file = file_system.open(path)?;
        let size = file.size();
        if size > placement::DEVICE_TREE_MAX {
            return Err(LoadError::DeviceTreeTooLarge(path.into(), size));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(Self::File { path: path.into(), bytes })
    }

    pub(super) fn validate(&self) -> Result<DeviceTree<'_>, LoadError> {
        match self {
            Self::File { path, bytes } => DeviceTree::validate(bytes)
                .map_err(|error| LoadError::DeviceTree(path.clone(), error)),
            Self::Firmware(tree) => Ok(*tree),
        }
    }
}

impl Facts<'_> {
    /// The kernel's tree, but for `/chosen`, which tells of what is not known yet; and what is to be
    /// said of it.
    pub(super) fn prepare(
        &self,
        tree: DeviceTree<'_>,
        overlays: Vec<Stored>,
        files: &BootFiles,
    ) -> Result<(DeviceTreeBuf, Report), LoadError> {
        let mut tree = DeviceTreeBuf::from(tree);
        overlays::apply(&mut tree, overlays)?;
        if let Some(banks) = self.dram.for_tree() {
            tree_memory::set_banks(&mut tree, banks)?;
        }
        let report = self.fit(&mut tree, &files.ethernet_addresses)?;
        Ok((tree, report))
    }

    /// The map of what may be loaded to, given the kernel's tree and command line.
    pub(super) fn memory_map(&self, tree: DeviceTree<'_>, command_line: &str) -> MemoryMap {
        let mut map = MemoryMap::new(self.dram.usable(tree));
        for &(region, owner, mapping) in &self.taken {
            map.reserve(region, owner, mapping);
        }
        map.reserve_tree(tree);
        // What the stage before keeps counts, too.
        if let Some(firmware_tree) = self.firmware_tree {
            map.reserve_tree(firmware_tree);
        }
        map.leave_room(tree);
        map.obey(command_line);
        map
    }
}
