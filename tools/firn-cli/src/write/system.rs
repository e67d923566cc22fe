//! What the kernel tells about devices: `/dev`, `/sys/class/block`, `/proc`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, Result};

use super::hardware::{Hardware, Real};

/// Where the kernel's files are, and the hardware.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// Device nodes: `/dev`.
    pub(crate) dev: PathBuf,
    /// One folder each block device and partition: `/sys/class/block`.
    pub(crate) blocks: PathBuf,
    /// What is mounted: `/proc/self/mountinfo`.
    pub(crate) mounts: PathBuf,
    /// What is swapped to: `/proc/swaps`.
    pub(crate) swaps: PathBuf,
    /// What is written to.
    pub(crate) hardware: Rc<dyn Hardware>,
}

impl System {
    /// The one that runs below `root`: `/`, but for tests.
    pub(crate) fn below(root: &Path) -> Self {
        Self {
            dev: root.join("dev"),
            blocks: root.join("sys/class/block"),
            mounts: root.join("proc/self/mountinfo"),
            swaps: root.join("proc/swaps"),
            hardware: Rc::new(Real { mmc: "mmc".into() }),
        }
    }

    /// A device's attribute, without the line's end.
    pub(crate) fn attribute(&self, device: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.blocks.join(device).join(name)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Whether the kernel knows a block device of this name.
    pub(crate) fn knows(&self, device: &str) -> bool {
        self.blocks.join(device).is_dir()
    }

    /// A device's partitions.
    pub(crate) fn partitions(&self, device: &str) -> Vec<String> {
        let names = names_in(&self.blocks.join(device));
        names.into_iter().filter(|name| self.attribute(name, "partition").is_some()).collect()
    }

    /// Who uses a device: mount points, swap, and devices made of it (LUKS, LVM, RAID).
    pub(crate) fn users(&self, device: &str) -> Result<Vec<String>> {
        let mut users = Vec::new();
        let number = self.attribute(device, "dev");
        for mount in read_lines(&self.mounts)? {
            let Some(mount) = Mount::parse(&mount) else { continue };
            if Some(mount.number) == number.as_deref() || self.is_node(mount.source, device) {
                users.push(format!("{device} is mounted at {}", mount.point));
            }
        }
        for swap in read_lines(&self.swaps)? {
            let path = swap.split_whitespace().next().unwrap_or_default();
            if self.is_node(path, device) {
                users.push(format!("{device} is swapped to"));
            }
        }
        for holder in names_in(&self.blocks.join(device).join("holders")) {
            users.push(format!("{device} is part of {holder}"));
        }
        Ok(users)
    }

    /// Loop devices that show a file as a device.
    pub(crate) fn loops_over(&self, file: &Path) -> Vec<String> {
        let backed_by = |name: &String| {
            let backing = self.attribute(name, "loop/backing_file");
            backing.is_some_and(|backing| Path::new(&backing) == file)
        };
        names_in(&self.blocks).into_iter().filter(backed_by).collect()
    }

    /// Whether `path` leads to the node of `device`.
    fn is_node(&self, path: &str, device: &str) -> bool {
        let node = self.dev.join(device);
        Path::new(path) == node
            || (path.starts_with('/') && fs::canonicalize(path).is_ok_and(|path| path == node))
    }
}

/// A line of mountinfo. Source: `man 5 proc_pid_mountinfo`.
struct Mount<'a> {
    number: &'a str,
    point: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        let (number, point) = (left.next()?, left.nth(1)?);
        Some(Self { number, point, source: right.split(' ').nth(1)? })
    }
}

fn read_lines(path: &Path) -> Result<Vec<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        // A kernel without swap has no list of it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
