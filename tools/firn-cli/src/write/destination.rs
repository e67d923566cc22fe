//! Where it is written to: a whole device, or a file that stands for one.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{hardware::Medium, system::System};

/// A device or image, not yet opened for writing.
#[derive(Debug)]
pub(crate) struct Destination {
    path: PathBuf,
    size: u64,
    /// The kernel's name, `sdb`; none for a file.
    device: Option<String>,
    /// What it is, for somebody who is about to overwrite it.
    description: String,
}

impl Destination {
    /// What `path` leads to.
    pub(crate) fn find(system: &System, path: &Path) -> Result<Self> {
        let shown = path.display();
        let path = fs::canonicalize(path).with_context(|| format!("cannot find {shown}"))?;
        let kind = fs::metadata(&path)?.file_type();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let is_node = path.parent() == Some(system.dev.as_path()) && system.knows(&name);
        if !is_node && !kind.is_block_device() {
            ensure!(kind.is_file(), "{shown} is neither a device nor a file");
            let size = size(&path)?;
            return Ok(Self { path, size, device: None, description: "a file".to_owned() });
        }
        ensure!(system.knows(&name), "{shown} is a device that the kernel has no name for");
        check_is_whole(system, &name, &shown.to_string())?;
        let size = size(&path)?;
        ensure!(size > 0, "{shown} is empty: is there a card in it?");
        let description = describe(system, &name, size);
        Ok(Self { path, size, device: Some(name), description })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a user calls it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn is_device(&self) -> bool {
        self.device.is_some()
    }

    /// The kernel's name of the device.
    pub(crate) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Who uses it, or one of its partitions.
    pub(crate) fn users(&self, system: &System) -> Result<Vec<String>> {
        let devices = match &self.device {
            Some(device) => vec![device.clone()],
            None => system.loops_over(&self.path),
        };
        let mut users = Vec::new();
        for device in devices {
            users.extend(system.users(&device)?);
            for partition in system.partitions(&device) {
                users.extend(system.users(&partition)?);
            }
        }
        Ok(users)
    }

    /// Opens it. A device is claimed, so that the kernel refuses what is in use and was not noticed; not
    /// so if it may be in use.
    pub(crate) fn open(&self, system: &System, in_use: bool) -> Result<Box<dyn Medium>> {
        let exclusively = self.is_device() && !in_use;
        let opened = system.hardware.open(&self.path, exclusively);
        opened.with_context(|| format!("cannot write to {}", self.name()))
    }
}

/// A partition or an eMMC's boot partition has no room for a card's layout.
fn check_is_whole(system: &System, name: &str, shown: &str) -> Result<()> {
    if system.attribute(name, "partition").is_some() {
        bail!("{shown} is a partition; name the whole device");
    }
    if let Some((whole, _)) = name.split_once("boot").filter(|_| name.starts_with("mmcblk")) {
        let whole = system.dev.join(whole);
        bail!("{shown} is an eMMC's boot partition; name {} and say --emmc-boot", whole.display());
    }
    ensure!(system.attribute(name, "ro").as_deref() != Some("1"), "{shown} is write-protected");
    Ok(())
}

fn describe(system: &System, name: &str, size: u64) -> String {
    let model = ["device/model", "device/name"].into_iter().find_map(|a| system.attribute(name, a));
    let megabytes = size / 1_000_000;
    match model {
        Some(model) => format!("{}, {megabytes} MB", model.trim()),
        None => format!("{megabytes} MB"),
    }
}

/// Block devices have no length in their metadata; seeking to the end works for both.
fn size(path: &Path) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(file.seek(SeekFrom::End(0))?)
}
