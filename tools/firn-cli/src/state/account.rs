//! What the loader tells the running system: `firn,*` in `/chosen` of its device tree.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use firn::nixos::Source;

/// What is booted from these is no generation that could boot again.
const UNLISTED: [Source; 2] = [Source::BootImage, Source::Prompt];

/// Where Linux shows the node.
const CHOSEN: &str = "proc/device-tree/chosen";

/// The loader's account of this boot (`devicetree::chosen::Boot` wrote it).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) version: String,
    /// Identity of the generation that was booted; none if a person or the boot image brought a kernel of
    /// their own, which no list has.
    pub(crate) generation: Option<String>,
    pub(super) source: Option<String>,
    pub(super) number: Option<u32>,
    pub(super) profile: Option<String>,
    pub(super) specialisation: Option<String>,
    /// The number of this try, and how many there are in all.
    pub(super) attempt: Option<[u32; 2]>,
    pub(super) reset_cause: Option<String>,
    pub(super) last_failure: Option<String>,
    /// When each step of the boot was reached, in microseconds since the system counter started.
    pub(super) times: Vec<(String, u64)>,
    state_device: Option<String>,
}

impl Account {
    /// Reads it from the running system below `root`.
    ///
    /// # Errors
    /// It was not booted by Firn.
    pub(super) fn read(root: &Path) -> Result<Self> {
        Self::find(root)?.with_context(|| {
            let chosen = root.join(CHOSEN);
            format!(
                "this system was not booted by Firn ({} has no firn,version); name a card with --card",
                chosen.display()
            )
        })
    }

    /// Reads it from the running system below `root`; `None` if that was not booted by Firn.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn find(root: &Path) -> Result<Option<Self>> {
        let chosen = Chosen(root.join(CHOSEN));
        let Some(version) = chosen.text("firn,version")? else { return Ok(None) };
        let times = chosen.cells("firn,times-us")?.unwrap_or_default();
        let times =
            times.chunks_exact(2).map(|cells| u64::from(cells[0]) << 32 | u64::from(cells[1]));
        let source = chosen.text("firn,source")?;
        let generation =
            chosen.text("firn,generation")?.filter(|_| !is_unlisted(source.as_deref()));
        Ok(Some(Self {
            version,
            generation,
            source,
            number: chosen.cells("firn,number")?.and_then(|cells| cells.first().copied()),
            profile: chosen.text("firn,profile")?,
            specialisation: chosen.text("firn,specialisation")?,
            attempt: chosen.cells("firn,try")?.and_then(|cells| cells.try_into().ok()),
            reset_cause: chosen.text("firn,reset-cause")?,
            last_failure: chosen.text("firn,last-failure")?,
            times: chosen.texts("firn,time-names")?.into_iter().zip(times).collect(),
            state_device: chosen.text("firn,state-device")?,
        }))
    }

    /// Whether there is nothing that could be blessed: no list has what was booted.
    pub(crate) fn is_unlisted(&self) -> bool {
        is_unlisted(self.source.as_deref())
    }

    /// The device of the card that the loader keeps the record on; `None` if it has no place on one.
    ///
    /// # Errors
    /// Linux does not know it.
    pub(crate) fn card(&self, root: &Path) -> Result<Option<PathBuf>> {
        let Some(controller) = self.state_device.as_deref() else { return Ok(None) };
        let blocks = root.join("sys/class/block");
        let mut names: Vec<_> = fs::read_dir(&blocks)
            .with_context(|| format!("cannot list {}", blocks.display()))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_whole_card(name) && is_behind(&blocks.join(name), controller))
            .collect();
        names.sort();
        match &names[..] {
            [name] => {
                let node = root.join("dev").join(name);
                ensure!(node.exists(), "{} is not there; is /dev mounted?", node.display());
                Ok(Some(node))
            }
            [] => bail!(
                "no card behind {controller}, where the loader keeps the state record: was it pulled, or is \
                 its driver missing (dmesg tells)?"
            ),
            several => bail!(
                "several cards behind {controller}: {}; name one with --card",
                several.join(", ")
            ),
        }
    }
}

fn is_unlisted(source: Option<&str>) -> bool {
    UNLISTED.iter().any(|of| source == Some(of.name()))
}

/// The toplevel that NixOS has booted, by its own account.
pub(crate) fn booted_system(root: &Path) -> Option<String> {
    let link = fs::read_link(root.join("run/booted-system")).ok()?;
    link.into_os_string().into_string().ok()
}

/// `mmcblk1`: neither a partition (`mmcblk1p2`) nor one of an eMMC's own (`mmcblk1boot0`).
fn is_whole_card(name: &str) -> bool {
    let number = name.strip_prefix("mmcblk").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the way to a device leads through `controller`.
fn is_behind(device: &Path, controller: &str) -> bool {
    let way = fs::canonicalize(device).unwrap_or_default();
    way.components().any(|component| component.as_os_str() == controller)
}

/// A node of the device tree as a folder, its properties as files.
struct Chosen(PathBuf);

impl Chosen {
    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let bytes = self.bytes(name)?.unwrap_or_default();
        let texts = bytes.split(|&byte| byte == 0).filter(|text| !text.is_empty());
        Ok(texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        Ok(self.texts(name)?.into_iter().next())
    }

    fn cells(&self, name: &str) -> Result<Option<Vec<u32>>> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        let (cells, rest) = bytes.as_chunks();
        let path = self.0.join(name);
        ensure!(rest.is_empty(), "{}: {} bytes are no cells", path.display(), bytes.len());
        Ok(Some(cells.iter().map(|cell| u32::from_be_bytes(*cell)).collect()))
    }
}
