//! An eMMC's two boot partitions: a working image remains at any time.
//!
//! The boot ROM starts the partition that the eMMC's register PARTITION_CONFIG names, and the other
//! one if that is bad. So the other one is written first and named last. The register is reached
//! through mmc-utils; the kernel has no file for it.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Arguments, Which, ask, copy::Copy, destination::Destination, payload::Payload, system::System,
};

/// Writes the partition that is not in use, then switches to it; with `--copy both`, writes the
/// other one, which then is not in use, too.
pub(crate) fn write(
    arguments: &Arguments,
    system: &System,
    payload: &Payload,
    destination: &Destination,
) -> Result<()> {
    let emmc = Emmc::find(system, destination)?;
    let active = emmc.active()?;
    let first = active.map_or(BootPartition::One, BootPartition::other);
    let partitions = match arguments.copy {
        Which::Primary => vec![first],
        Which::Both => vec![first, first.other()],
        Which::Secondary => bail!(
            "--copy secondary is for cards; an eMMC's boot partitions take turns by themselves"
        ),
    };
    for partition in &partitions {
        emmc.check(*partition, payload)?;
    }
    if !arguments.yes {
        let list: Vec<_> = partitions.iter().map(|partition| emmc.name(*partition)).collect();
        ask(&format!(
            "{} replaces the boot image in {}; {} is started now",
            payload.name(),
            list.join(", then in "),
            active.map_or("neither".to_owned(), |active| emmc.name(active))
        ))?;
    }
    for partition in partitions {
        emmc.put(partition, payload)?;
        if partition == first {
            emmc.switch_to(partition)?;
        }
    }
    Ok(())
}

/// What to tell whoever has written to an eMMC's user area while the boot ROM starts something else.
pub(crate) fn started_elsewhere(system: &System, destination: &Destination) -> Option<String> {
    // Most destinations are no eMMC.
    let emmc = Emmc::find(system, destination).ok()?;
    match emmc.active() {
        Ok(active) => active.map(|partition| {
            format!(
                "the board starts {}, not what was written; `mmc bootpart enable 7 1 {}` lets it \
                 start this copy",
                emmc.name(partition),
                emmc.node.display()
            )
        }),
        Err(error) => Some(format!(
            "whether the board starts this copy or a boot partition is not known: {error:#}"
        )),
    }
}

/// Refuses an eMMC whose user area the boot ROM does not start: what is written there would serve nobody.
pub(crate) fn check_starts_user_area(system: &System, destination: &Destination) -> Result<()> {
    // Most destinations are no eMMC.
    let Ok(emmc) = Emmc::find(system, destination) else { return Ok(()) };
    let name = destination.name();
    let active = emmc.active().with_context(|| {
        format!("whether the board starts {name} or a boot partition of it is not known")
    })?;
    match active {
        Some(partition) => bail!(
            "the board starts {}, not {name} itself: say --emmc-boot to write to boot partitions",
            emmc.name(partition)
        ),
        None => Ok(()),
    }
}

/// One of an eMMC's two boot partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootPartition {
    One,
    Two,
}

impl BootPartition {
    fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// As PARTITION_CONFIG counts.
    fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// As the kernel counts.
    fn suffix(self) -> &'static str {
        match self {
            Self::One => "boot0",
            Self::Two => "boot1",
        }
    }
}

/// An eMMC with its boot partitions.
pub(crate) struct Emmc<'a> {
    system: &'a System,
    /// Its user area's node.
    node: PathBuf,
    device: String,
}

impl<'a> Emmc<'a> {
    /// The eMMC that a device is.
    pub(crate) fn find(system: &'a System, destination: &Destination) -> Result<Self> {
        let shown = destination.name();
        let device = destination.device().with_context(|| {
            format!("{shown} is a file; --emmc-boot writes to a device, such as /dev/mmcblk2")
        })?;
        let has_boot_partitions = [BootPartition::One, BootPartition::Two]
            .iter()
            .all(|partition| system.knows(&format!("{device}{}", partition.suffix())));
        ensure!(has_boot_partitions, "{shown} has no boot partitions: it is no eMMC");
        Ok(Self { system, node: destination.path().to_owned(), device: device.to_owned() })
    }

    fn device_of(&self, partition: BootPartition) -> String {
        format!("{}{}", self.device, partition.suffix())
    }

    /// A partition's node.
    pub(crate) fn path(&self, partition: BootPartition) -> PathBuf {
        self.system.dev.join(self.device_of(partition))
    }

    /// What a user calls a partition.
    pub(crate) fn name(&self, partition: BootPartition) -> String {
        self.path(partition).display().to_string()
    }

    /// Refuses a partition that is too small or in use.
    pub(crate) fn check(&self, partition: BootPartition, payload: &Payload) -> Result<()> {
        let device = self.device_of(partition);
        let blocks = self.system.attribute(&device, "size").and_then(|size| size.parse().ok());
        let size = blocks.map(|blocks: u64| blocks.saturating_mul(512));
        let size = size.with_context(|| format!("the size of {device} is not known"))?;
        let (name, needed) = (self.name(partition), payload.size());
        ensure!(needed <= size, "{name} is too small: it has {size} bytes, {needed} are needed");
        let users = self.system.users(&device)?;
        ensure!(users.is_empty(), "{name} is in use: {}", users.join(", "));
        Ok(())
    }

    /// Writes one partition, for which its write protection is lifted.
    pub(crate) fn put(&self, partition: BootPartition, payload: &Payload) -> Result<()> {
        let lock = self.system.blocks.join(self.device_of(partition)).join("force_ro");
        let set = |value| {
            fs::write(&lock, value).with_context(|| format!("cannot write to {}", lock.display()))
        };
        set("0")?;
        let written = self.write_unlocked(partition, payload);
        let locked = set("1");
        written.and(locked)
    }

    fn write_unlocked(&self, partition: BootPartition, payload: &Payload) -> Result<()> {
        let path = self.path(partition);
        let file = self.system.hardware.open(&path, false);
        let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
        Copy { payload, file: &*file, offset: 0, name: self.name(partition) }.run()
    }

    /// The partition that the boot ROM starts; none if it starts the user area, or nothing.
    pub(crate) fn active(&self) -> Result<Option<BootPartition>> {
        let text = self.mmc(&["extcsd", "read"])?;
        let config = partition_config(&text).with_context(|| {
            format!("`mmc extcsd read {}` does not tell PARTITION_CONFIG", self.node.display())
        })?;
        // Source: JEDEC JESD84-B51, 7.4.69: BOOT_PARTITION_ENABLE is bits 5:3.
        Ok(match config >> 3 & 7 {
            1 => Some(BootPartition::One),
            2 => Some(BootPartition::Two),
            _ => None,
        })
    }

    /// Has the boot ROM start `partition` from the next reset on.
    pub(crate) fn switch_to(&self, partition: BootPartition) -> Result<()> {
        self.mmc(&["bootpart", "enable", &partition.number().to_string(), "1"])?;
        let name = self.name(partition);
        ensure!(
            self.active()? == Some(partition),
            "the eMMC does not switch to {name}; what it starts has not changed"
        );
        println!("{name} is started from now on");
        Ok(())
    }

    /// Runs mmc-utils on the eMMC; returns what it prints.
    fn mmc(&self, words: &[&str]) -> Result<String> {
        let output = match self.system.hardware.mmc(words, &self.node) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the program `mmc` is missing: install mmc-utils")
            }
            output => output.context("cannot run `mmc`")?,
        };
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`mmc {} {}` failed: {}",
            words.join(" "),
            self.node.display(),
            told.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The register's value in what `mmc extcsd read` prints: `… [PARTITION_CONFIG: 0x08]`.
fn partition_config(text: &str) -> Option<u8> {
    let (_, rest) = text.split_once("PARTITION_CONFIG: 0x")?;
    u8::from_str_radix(rest.get(..2)?, 16).ok()
}
