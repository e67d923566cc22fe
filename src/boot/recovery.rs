//! A system that came along with the boot image: kernel and company, in memory already.
//!
//! It goes the way of every other entry: it is listed, a person may edit its command line, and its
//! kernel is judged and placed like one from a card. For that its parts look like files. The initrd
//! stays where it is: that of an installer may fill half of a small board's memory.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use super::catalogue::{Catalogue, Problem, Volume};
use crate::{
    error::Code,
    fs::{self, DirEntry, ErrorKind, File, FileSystem, FileType, Metadata},
    memory::Region,
    nixos::{BootFiles, Broken, DeviceTreeFile, Generation, Settings, Source, Timeout},
    soc::boot_rom::BootDevice,
};

/// Its bytes, as they lie in memory, each part in pages of its own.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// An arm64 Image, or a package of one.
    pub kernel: &'static [u8],
    /// Its initrd.
    pub initrd: Option<&'static [u8]>,
    /// Its device tree.
    pub device_tree: Option<&'static [u8]>,
    /// Its command line.
    pub command_line: Option<&'static [u8]>,
    /// What the boot image came from, if that is known.
    pub device: Option<BootDevice>,
}

const KERNEL: &str = "/kernel";
const INITRD: &str = "/initrd";
const DEVICE_TREE: &str = "/device-tree";

/// Somebody who drives the download by hand may want to edit the command line, in tenths of a
/// second; a host that drives it alone should not wait.
const TIMEOUT: u32 = 30;

impl Recovery {
    /// What there is to boot: one entry.
    pub(super) fn catalogue(&self) -> Catalogue {
        let settings = Settings::new(Timeout::After(TIMEOUT));
        let generation = self.generation();
        let problem = |broken: &Broken| Problem { code: broken.code, text: broken.reason.clone() };
        let problems = generation.broken.iter().map(problem).collect();
        let volume = Volume { name: self.origin().to_owned(), file_system: Box::new(*self) };
        Catalogue::of_one(volume, generation, settings, problems)
    }

    fn origin(&self) -> &'static str {
        match self.device {
            Some(BootDevice::Usb) => "System sent over USB",
            _ => "System in the boot image",
        }
    }

    fn generation(&self) -> Generation {
        let command_line = core::str::from_utf8(self.command_line.unwrap_or_default());
        let broken = command_line.is_err().then(|| Broken {
            code: Code::ConfigurationNotText,
            reason: "the command line in the boot image is not text".to_owned(),
        });
        let device_tree = match self.device_tree {
            Some(_) => DeviceTreeFile::File(DEVICE_TREE.to_owned()),
            None => DeviceTreeFile::FromFirmware,
        };
        Generation {
            id: "recovery".to_owned(),
            source: Source::BootImage,
            name: "recovery".to_owned(),
            title: self.origin().to_owned(),
            number: None,
            profile: None,
            specialisation: None,
            date: None,
            version: None,
            kernel_version: None,
            default: broken.is_none(),
            files: BootFiles {
                kernel: KERNEL.to_owned(),
                configuration: None,
                initrds: self.initrd.iter().map(|_| INITRD.to_owned()).collect(),
                device_tree,
                overlays: Vec::new(),
                // Text files end with a line end.
                command_line: command_line.unwrap_or_default().trim_end().to_owned(),
                ethernet_addresses: Vec::new(),
            },
            // What starts without a card writes to none.
            tries: None,
            unread: false,
            broken,
        }
    }

    fn bytes(&self, path: &str) -> Result<&'static [u8], fs::Error> {
        let bytes = match path {
            KERNEL => Some(self.kernel),
            INITRD => self.initrd,
            DEVICE_TREE => self.device_tree,
            _ => None,
        };
        bytes.ok_or_else(|| fs::Error { kind: ErrorKind::NotFound, path: path.to_owned() })
    }
}

impl FileSystem for Recovery {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, fs::Error> {
        Ok(Box::new(Bytes { path: path.to_owned(), bytes: self.bytes(path)? }))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, fs::Error> {
        let size = self.bytes(path)?.len() as u64;
        Ok(Metadata { file_type: FileType::File, size })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, fs::Error> {
        Err(fs::Error { kind: ErrorKind::NotFound, path: path.to_owned() })
    }

    fn read_link(&mut self, path: &str) -> Result<String, fs::Error> {
        Err(fs::Error { kind: ErrorKind::NotFound, path: path.to_owned() })
    }
}

/// One of its parts.
struct Bytes {
    path: String,
    bytes: &'static [u8],
}

impl File for Bytes {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn in_memory(&self) -> Option<Region> {
        // Addresses are physical ones here.
        Some(Region::new(self.bytes.as_ptr().addr() as u64, self.size()))
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), fs::Error> {
        let start = usize::try_from(offset).ok();
        let source = start.and_then(|start| self.bytes.get(start..)?.get(..destination.len()));
        let Some(source) = source else {
            return Err(fs::Error { kind: ErrorKind::BeyondEnd, path: self.path.clone() });
        };
        destination.copy_from_slice(source);
        Ok(())
    }
}
