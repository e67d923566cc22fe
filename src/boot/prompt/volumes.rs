//! What the prompt can look into: every volume of every device, under a name that a person can type.
//!
//! `sd1` is partition 1 of the device whose name begins with "SD", `sd` a card without partitions.
//! Devices are opened anew: a card may have been changed since the menu was made.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    block::{
        BLOCK_SIZE, BlockDevice, SharedDevice,
        partition::{self, Partition, TableKind},
        volume::Volume as BlockVolume,
    },
    boot::{Catalogue, Problem, session::Machine},
    error::Coded,
    fs::{self, DirEntry, ErrorKind, File, FileSystem, Metadata},
    memory::Size,
    nixos::Access,
};

/// Characters of a device's name that are typed.
const MAX_NAME: usize = 8;

/// All that was found, and the volume that is meant when a path names none.
pub(super) struct Volumes {
    drives: Vec<Drive>,
    current: Option<String>,
}

/// A device.
struct Drive {
    /// What it is, or why it cannot be read.
    description: String,
    volumes: Vec<Volume>,
    /// Who may look into them, as the configuration on them says.
    access: Access,
}

/// A partition, or a card without partitions.
struct Volume {
    name: String,
    description: String,
    file_system: Option<Box<dyn FileSystem>>,
}

impl Volumes {
    /// Opens all devices, and all that is on them.
    pub(super) fn open(machine: &mut impl Machine) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut drives = Vec::new();
        while let Some(device) = machine.open_device(drives.len()) {
            drives.push(match device {
                Err(error) => Drive {
                    description: format!("[{}] {error}", error.code()),
                    volumes: Vec::new(),
                    access: Access::Free,
                },
                Ok(device) => {
                    let name = unused(&names, short_name(device.borrow().name()));
                    let drive = Drive::open(&device, &name);
                    names.push(name);
                    drive
                }
            });
        }
        let volumes = Self { drives, current: None };
        let current = volumes.names().next().map(String::from);
        Self { current, ..volumes }
    }

    /// Who may look into files, as each device says; devices that the search for something to boot did
    /// not come to, or could not read then, say it here for the first time.
    pub(super) fn accesses(&self) -> impl Iterator<Item = &Access> {
        self.drives.iter().map(|drive| &drive.access)
    }

    /// A line for each device and each volume.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.drives.iter().flat_map(|drive| {
            let volumes = drive.volumes.iter().map(|volume| {
                format!("  {:10}{}\n", format!("{}:", volume.name), volume.description)
            });
            core::iter::once(format!("{}\n", drive.description)).chain(volumes)
        })
    }

    /// The names of the volumes that can be read.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.readable().map(|volume| volume.name.as_str())
    }

    /// The path `NAME:/FILE` that is meant by `typed`. Its volume is the one that is meant from now on
    /// when no name is typed.
    pub(super) fn locate(&mut self, typed: &str) -> Result<String, String> {
        let (name, path) = match split(typed) {
            (Some(name), path) => (name, path),
            (None, path) => match &self.current {
                Some(name) => (name.as_str(), path),
                None => return Err("nothing that can be read was found; see devices".into()),
            },
        };
        if !self.names().any(|known| known == name) {
            let names = self.names().collect::<Vec<_>>().join(", ");
            return Err(format!("{name}: can be read are {names}; see devices"));
        }
        let name = name.to_string();
        let located = format!("{name}:/{}", path.trim_start_matches('/'));
        self.current = Some(name);
        Ok(located)
    }

    fn readable(&self) -> impl Iterator<Item = &Volume> {
        let all = self.drives.iter().flat_map(|drive| &drive.volumes);
        all.filter(|volume| volume.file_system.is_some())
    }

    /// Does something with the volume and the path on it that `located` means.
    fn on<T>(
        &mut self,
        located: &str,
        action: impl FnOnce(&mut dyn FileSystem, &str) -> Result<T, fs::Error>,
    ) -> Result<T, fs::Error> {
        let (name, path) = split(located);
        let mut all = self.drives.iter_mut().flat_map(|drive| &mut drive.volumes);
        let volume = all.find(|volume| Some(volume.name.as_str()) == name);
        let Some(file_system) = volume.and_then(|volume| volume.file_system.as_mut()) else {
            return Err(fs::Error { kind: ErrorKind::NotFound, path: located.into() });
        };
        action(&mut **file_system, path)
            .map_err(|error| fs::Error { path: located.into(), ..error })
    }
}

/// The paths are those that [`Volumes::locate`] gives: pieces of one boot may lie on several volumes.
impl FileSystem for Volumes {
    fn kind(&self) -> &'static str {
        "volumes"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, fs::Error> {
        self.on(path, |file_system, path| file_system.open(path))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, fs::Error> {
        self.on(path, |file_system, path| file_system.metadata(path))
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, fs::Error> {
        self.on(path, |file_system, path| file_system.read_dir(path))
    }

    fn read_link(&mut self, path: &str) -> Result<String, fs::Error> {
        self.on(path, |file_system, path| file_system.read_link(path))
    }
}

impl Drive {
    fn open(device: &SharedDevice, name: &str) -> Self {
        let title = title(&*device.borrow());
        let table = match partition::scan(device) {
            Ok(table) => table,
            Err(error) => {
                let description = format!("{title}: [{}] {error}", error.code());
                return Self { description, volumes: Vec::new(), access: Access::Free };
            }
        };
        let kind = match table.kind {
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
            TableKind::Whole => "no partitions",
        };
        let mut description = format!("{title}, {kind}");
        for problem in &table.problems {
            if !matches!(problem, partition::Problem::NoTable) {
                description.push_str(&format!("\n  {}", Problem::at("partition table", problem)));
            }
        }
        let volumes =
            table.partitions.iter().map(|partition| Volume::open(device, name, partition));
        let volumes = volumes.collect();
        let catalogue = Catalogue::survey(device);
        let access = catalogue.settings(catalogue.default_entry()).access;
        Self { description, volumes, access }
    }
}

impl Volume {
    fn open(device: &SharedDevice, device_name: &str, partition: &Partition) -> Self {
        let name = match partition.index {
            0 => device_name.to_string(),
            index => format!("{device_name}{index}"),
        };
        let mounted = fs::mount(BlockVolume::new(device.clone(), partition));
        let mut description = format!("{:>10}  ", size(partition.block_count));
        match &mounted {
            Ok(file_system) => description.push_str(file_system.kind()),
            Err(error) => description.push_str(&format!("[{}] {error}", error.code())),
        }
        let label = mounted.as_ref().ok().and_then(|file_system| file_system.label());
        let partition_name = Some(partition.name.clone()).filter(|name| !name.is_empty());
        for (what, text) in [("label", label), ("partition", partition_name)] {
            if let Some(text) = text {
                description.push_str(&format!(", {what} \"{text}\""));
            }
        }
        Self { name, description, file_system: mounted.ok() }
    }
}

/// The name of a volume and the path on it; no name if there is none in `path`.
fn split(path: &str) -> (Option<&str>, &str) {
    match path.split_once(':') {
        Some((name, path)) if !name.contains('/') => (Some(name), path),
        _ => (None, path),
    }
}

/// "sd" of "SD card (uSDHC2)". Ends in a letter, because a number follows.
fn short_name(name: &str) -> String {
    let word = name.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or("");
    let word = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let short: String = word.chars().take(MAX_NAME).map(|c| c.to_ascii_lowercase()).collect();
    if short.is_empty() { "disk".into() } else { short }
}

/// `name`, or if it is taken already, the first of `nameb`, `namec`, … that is not.
fn unused(taken: &[String], name: String) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let others = ('b'..='z').map(|letter| format!("{name}{letter}"));
    others.into_iter().find(|other| !taken.contains(other)).unwrap_or(name)
}

/// "SD card (uSDHC2), 7.4 GiB, high speed, 4 bit".
fn title(device: &dyn BlockDevice) -> String {
    let title = format!("{}, {}", device.name(), size(device.block_count()));
    device.mode().into_iter().fold(title, |title, mode| format!("{title}, {mode}"))
}

fn size(blocks: u64) -> String {
    Size(blocks.saturating_mul(BLOCK_SIZE as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_name_becomes_one_that_can_be_typed() {
        for (name, short) in [
            ("SD card (uSDHC2)", "sd"),
            ("eMMC (uSDHC3)", "emmc"),
            ("nvme0", "nvme"),
            ("", "disk"),
            ("42", "disk"),
            ("\u{1b}[2J", "disk"),
        ] {
            assert_eq!(short_name(name), short, "{name:?}");
        }
    }

    #[test]
    fn two_devices_of_a_kind_are_told_apart() {
        let taken = ["sd".into(), "sdb".into()];
        assert_eq!(unused(&taken, "sd".into()), "sdc");
        assert_eq!(unused(&taken, "emmc".into()), "emmc");
    }

    #[test]
    fn only_what_stands_in_front_of_the_first_slash_is_a_name() {
        assert_eq!(split("sd1:/a:b"), (Some("sd1"), "/a:b"));
        assert_eq!(split("/a:b"), (None, "/a:b"));
        assert_eq!(split("sd1:"), (Some("sd1"), ""));
        assert_eq!(split("a"), (None, "a"));
    }
}
