//! Generations laid out as NixOS lays them out: in the store with their profiles (see [`profiles`]), as
//! loader entries ([`loader_entries`]), and, in this file, by generic-extlinux-compatible.
//!
//! Source: nixpkgs, nixos/modules/system/boot/loader/generic-extlinux-compatible (what it writes,
//! not how). Names in the store are made up, in the form that Nix gives them.

pub mod loader_entries;
pub mod profiles;
pub mod store;

use std::{
    fs,
    hash::{Hash, Hasher},
};

use anyhow::{Context as _, Result};

use crate::{
    assets::Assets,
    card::{Card, FileSystem, GIB, MIB, Partition, Table, splitmix},
    tool::FDTPUT,
    tree::{Content, Tree},
    userspace::Userspace,
};

/// The board's device tree below a kernel's folder of trees.
pub const DEVICE_TREE: &str = "freescale/imx8mp-evk.dtb";

/// What every generation's command line has besides `init=`.
pub const PARAMETERS: &str = "console=ttymxc1,115200 root=fstab loglevel=4";

/// How `extlinux.conf` names the device tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceTreeKey {
    /// `FDTDIR`, what NixOS writes unless `hardware.deviceTree.name` is set.
    #[default]
    Folder,
    /// `FDT`.
    File,
    /// Neither: the loader's own tree serves.
    None,
}

/// `boot.loader.timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Seconds; 0 boots at once.
    Seconds(u32),
    /// `null`: waits for ever.
    Never,
}

/// One generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// NixOS's version.
    pub version: String,
    /// Date and time of the build, as the menu shows it.
    pub date: String,
    /// The kernel's version, as in its store path.
    pub kernel_version: String,
    /// The kernel.
    pub kernel: Content,
    /// The initrd.
    pub initrd: Content,
    /// The board's device tree.
    pub device_tree: Content,
    /// Initrds besides the first; loader entries and profiles name them, extlinux cannot.
    pub more_initrds: Vec<Content>,
    /// The command line behind `init=`.
    pub parameters: String,
    /// The profile that numbers it, if it is not `system`.
    pub profile: Option<String>,
    /// Its name, if it is a specialisation.
    pub specialisation: Option<String>,
    /// Variants of it, with this number and systems of their own.
    pub specialisations: Vec<Generation>,
    /// How long the menu waits as `boot.json` tells, if not as long as the [`System`] says.
    pub timeout: Option<Timeout>,
    /// How many times it is tried, as `boot.json` tells.
    pub tries: Option<u8>,
    /// Whether its toplevel holds a `boot.json`; NixOS of before 2023 wrote none.
    pub has_boot_json: bool,
}

impl Generation {
    /// It and its specialisations.
    pub fn variants(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(self).chain(&self.specialisations)
    }

    /// A variant of it with a system, a kernel, an initrd and a device tree of its own, which hold the
    /// same.
    #[must_use]
    pub fn specialised(&self, name: &str) -> Generation {
        Generation {
            specialisation: Some(name.into()),
            specialisations: Vec::new(),
            ..self.clone()
        }
    }

    /// The toplevel in the store, with the leading slash.
    pub fn toplevel(&self) -> String {
        let name = format!("nixos-system-imx8mp-{}", self.version);
        format!("/nix/store/{}", self.store_name(&name))
    }

    /// The kernel's path below the boot folder.
    pub fn kernel_path(&self) -> String {
        let name = format!("linux-{}", self.kernel_version);
        format!("nixos/{}-Image", self.store_name(&name))
    }

    /// The initrd's path below the boot folder.
    pub fn initrd_path(&self) -> String {
        let name = format!("initrd-linux-{}", self.kernel_version);
        format!("nixos/{}-initrd", self.store_name(&name))
    }

    /// The path of the folder of device trees below the boot folder.
    pub fn device_trees_path(&self) -> String {
        let name = format!("linux-{}", self.kernel_version);
        format!("nixos/{}-dtbs", self.store_name(&name))
    }

    /// The path of the board's device tree below the boot folder.
    pub fn device_tree_path(&self) -> String {
        format!("{}/{DEVICE_TREE}", self.device_trees_path())
    }

    /// The whole command line.
    pub fn command_line(&self) -> String {
        format!("init={}/init {}", self.toplevel(), self.parameters)
    }

    fn store_name(&self, name: &str) -> String {
        let Self { number, profile, specialisation, .. } = self;
        let of = [profile, specialisation].map(|of| of.as_deref().unwrap_or_default());
        format!("{}-{name}", store_hash(&format!("{number} {} {} {name}", of[0], of[1])))
    }

    fn entry(&self, label: &str, title: &str, key: DeviceTreeKey) -> String {
        let mut entry = format!(
            "\nLABEL {label}\n  MENU LABEL {title}\n  LINUX ../{}\n  INITRD ../{}\n  APPEND {}\n",
            self.kernel_path(),
            self.initrd_path(),
            self.command_line()
        );
        match key {
            DeviceTreeKey::Folder => {
                entry += &format!("  FDTDIR ../{}\n", self.device_trees_path());
            }
            DeviceTreeKey::File => entry += &format!("  FDT ../{}\n", self.device_tree_path()),
            DeviceTreeKey::None => {}
        }
        entry
    }
}

/// 32 characters of Nix's alphabet (which leaves out e, o, u and t), the same for the same name.
fn store_hash(name: &str) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    let mut state = hasher.finish();
    (0..32).map(|_| char::from(ALPHABET[(splitmix(&mut state) % 32) as usize])).collect()
}

/// A system with its generations, newest first.
#[derive(Clone, Debug)]
pub struct System {
    /// Newest first, as NixOS lists them.
    pub generations: Vec<Generation>,
    /// Index of the one that boots by default.
    pub default: usize,
    /// How long the menu waits.
    pub timeout: Timeout,
    /// How the device tree is named.
    pub device_tree_key: DeviceTreeKey,
}

impl System {
    /// Three generations with a real kernel, its device tree (each with a mark that userspace can
    /// read) and the reporting initrd, each its own.
    pub fn real(assets: &Assets) -> Result<Self> {
        // The distribution's suffix (`+deb13-arm64`) is not in the names of NixOS's kernels.
        let release = assets.kernel_version.split(['+', '-']).next().unwrap_or_default();
        let tree = fs::read(assets.dtbs.join(DEVICE_TREE))
            .with_context(|| format!("reading {DEVICE_TREE}"))?;
        Self::new(|number| {
            Ok(Pieces {
                kernel_version: release.into(),
                kernel: Content::File(assets.kernel.clone()),
                initrd: Content::bytes(Userspace::new(number).initrd(assets)?),
                device_tree: Content::bytes(marked_device_tree(&tree, number)?),
            })
        })
    }

    /// With kernels that leave the other CPUs off: under BL31, QEMU has no power controller to switch them
    /// on with, and Linux would wait five seconds for each.
    #[must_use]
    pub fn on_one_cpu(mut self) -> Self {
        for generation in &mut self.generations {
            generation.parameters += " maxcpus=1";
        }
        self
    }

    /// Three generations with a kernel of a few KiB in place of Linux: for what the loader does.
    pub fn small(assets: &Assets, stub_kernel: &[u8]) -> Result<Self> {
        let tree = fs::read(assets.dtbs.join(DEVICE_TREE))
            .with_context(|| format!("reading {DEVICE_TREE}"))?;
        Self::new(|number| {
            Ok(Pieces {
                kernel_version: format!("6.12.{number}"),
                kernel: Content::bytes(stub_kernel),
                initrd: Content::bytes(format!("initrd of generation {number}\n")),
                device_tree: Content::bytes(marked_device_tree(&tree, number)?),
            })
        })
    }

    fn new(pieces: impl Fn(u32) -> Result<Pieces>) -> Result<Self> {
        let generations = [
            (42, "25.11.20260214.9f8e7d6", "2026-02-14 18:42"),
            (41, "25.11.20260110.d1c2e3f", "2026-01-10 09:07"),
            (40, "25.05.20251203.4b5a697", "2025-12-03 22:15"),
        ]
        .into_iter()
        .map(|(number, version, date)| {
            let Pieces { kernel_version, kernel, initrd, device_tree } = pieces(number)?;
            Ok(Generation {
                number,
                version: version.into(),
                date: date.into(),
                kernel_version,
                kernel,
                initrd,
                device_tree,
                more_initrds: Vec::new(),
                parameters: PARAMETERS.into(),
                profile: None,
                specialisation: None,
                specialisations: Vec::new(),
                timeout: None,
                tries: None,
                has_boot_json: true,
            })
        })
        .collect::<Result<_>>()?;
        Ok(Self {
            generations,
            default: 0,
            timeout: Timeout::Seconds(5),
            device_tree_key: DeviceTreeKey::Folder,
        })
    }

    /// `extlinux.conf` as NixOS writes it.
    pub fn extlinux_conf(&self) -> String {
        let mut text = "# Generated file, all changes will be lost on nixos-rebuild!\n\n\
            # Change this to e.g. nixos-42 to temporarily boot to an older configuration.\n\
            DEFAULT nixos-default\n\n"
            .to_owned();
        let rule = "-".repeat(60);
        text += &match self.timeout {
            Timeout::Seconds(0) => "TIMEOUT 1\n".to_owned(),
            Timeout::Seconds(seconds) => format!("TIMEOUT {}\nMENU TITLE {rule}\n", seconds * 10),
            Timeout::Never => format!("TIMEOUT 0\nMENU TITLE {rule}\n"),
        };
        let key = self.device_tree_key;
        if let Some(default) = self.generations.get(self.default) {
            text += &default.entry("nixos-default", "NixOS - Default", key);
        }
        for generation in self.own().flat_map(Generation::variants) {
            let Generation { number, date, version, specialisation, .. } = generation;
            let name = specialisation.as_deref().unwrap_or("default");
            text += &generation.entry(
                &format!("nixos-{number}-{name}"),
                &format!("NixOS - Configuration {number}-{name} ({date} - {version})"),
                key,
            );
        }
        text
    }

    /// The generations of the profile `system`: extlinux knows no others.
    fn own(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().filter(|generation| generation.profile.is_none())
    }

    /// With `change` made to the generation of that number.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn with(mut self, number: u32, change: impl FnOnce(&mut Generation)) -> Self {
        let found = self.generations.iter_mut().find(|generation| generation.number == number);
        change(found.expect("a generation of that number"));
        self
    }

    /// The generation of that number.
    ///
    /// # Panics
    /// There is none.
    pub fn numbered(&self, number: u32) -> &Generation {
        let found = self.generations.iter().find(|generation| generation.number == number);
        found.expect("a generation of that number")
    }

    /// What the boot folder holds: `extlinux/` and `nixos/`.
    pub fn boot_folder(&self) -> Tree {
        let mut tree =
            Tree::new().with("extlinux/extlinux.conf", Content::bytes(self.extlinux_conf()));
        for generation in self.own().flat_map(Generation::variants) {
            tree.insert(generation.kernel_path(), generation.kernel.clone());
            tree.insert(generation.initrd_path(), generation.initrd.clone());
            tree.insert(generation.device_tree_path(), generation.device_tree.clone());
        }
        tree
    }
}

struct Pieces {
    kernel_version: String,
    kernel: Content,
    initrd: Content,
    device_tree: Content,
}

/// A root file system without anything to boot.
pub fn empty_root() -> Tree {
    ["boot", "etc", "nix/store", "var"]
        .into_iter()
        .fold(Tree::new(), |tree, folder| tree.with(folder, Content::Folder))
        .with("etc/NIXOS", Content::bytes(""))
}

/// A card with a FAT32 partition for /boot and an ext4 root.
pub fn card_with_fat_boot(table: Table, boot: Tree) -> Card {
    Card::new(table)
        .partition(Partition::new(FileSystem::Fat32, "BOOT", boot).size(512 * MIB))
        .partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", empty_root()))
}

/// A card as NixOS's sd-image makes it: a small FAT partition for the board's firmware, and /boot
/// inside the ext4 root.
pub fn card_with_ext4_boot(table: Table, boot: Tree) -> Card {
    card_with_root(table, empty_root().merged(boot.below("boot")))
}

/// The same with this root, which may hold a store.
pub fn card_with_root(table: Table, root: Tree) -> Card {
    firmware_card(table).partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", root))
}

/// The same with /nix on a partition of its own, the third.
pub fn card_with_nix_partition(table: Table, root: Tree, store: Tree) -> Card {
    firmware_card(table)
        .partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", root).size(GIB / 2))
        .partition(Partition::new(FileSystem::Ext4, "nix", store.inside("nix")))
}

fn firmware_card(table: Table) -> Card {
    let firmware = Partition::new(FileSystem::Fat16, "FIRMWARE", Tree::new()).size(30 * MIB);
    Card::new(table).size(2 * GIB).partition(firmware)
}

/// The board's device tree with a mark that kernels report in place of a generation's number.
pub fn device_tree_marked(assets: &Assets, mark: &str) -> Result<Content> {
    let tree = fs::read(assets.dtbs.join(DEVICE_TREE))
        .with_context(|| format!("reading {DEVICE_TREE}"))?;
    Ok(Content::bytes(marked_device_tree(&tree, mark)?))
}

/// The tree with a node that tells which generation it belongs to.
fn marked_device_tree(tree: &[u8], generation: impl ToString) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), tree)?;
    FDTPUT
        .call()
        .args(["-p", "-t", "s"])
        .arg(file.path())
        .args(["/firn-test", "generation", &generation.to_string()])
        .run()?;
    Ok(fs::read(file.path())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn system() -> System {
        System::new(|number| {
            Ok(Pieces {
                kernel_version: "6.12.63".into(),
                kernel: Content::bytes("kernel"),
                initrd: Content::bytes("initrd"),
                device_tree: Content::bytes(format!("tree {number}")),
            })
        })
        .unwrap()
    }

    #[test]
    fn the_default_comes_first_and_then_all_generations_newest_first() {
        let text = system().extlinux_conf();
        let labels: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("LABEL ")).collect();
        assert_eq!(
            labels,
            ["nixos-default", "nixos-42-default", "nixos-41-default", "nixos-40-default"]
        );
        assert!(text.contains("\nTIMEOUT 50\nMENU TITLE -----"));
    }

    #[test]
    fn every_file_that_the_configuration_names_is_in_the_boot_folder() {
        for key in [DeviceTreeKey::File, DeviceTreeKey::Folder] {
            let system = System { device_tree_key: key, ..system() };
            let folder = system.boot_folder();
            let text = system.extlinux_conf();
            let named: Vec<_> = text.lines().filter_map(|line| line.split_once(" ../")).collect();
            assert_eq!(named.len(), 12);
            for (_, path) in named {
                assert!(folder.paths().any(|there| there.starts_with(path)), "{path}");
            }
        }
    }

    #[test]
    fn generations_share_no_file() {
        assert_eq!(system().boot_folder().paths().count(), 1 + 3 * 3);
    }

    #[test]
    fn timeouts_are_written_as_nixos_writes_them() {
        let at_once = System { timeout: Timeout::Seconds(0), ..system() }.extlinux_conf();
        assert!(at_once.contains("TIMEOUT 1\n") && !at_once.contains("MENU TITLE"));
        let never = System { timeout: Timeout::Never, ..system() }.extlinux_conf();
        assert!(never.contains("TIMEOUT 0\nMENU TITLE"));
    }

    #[test]
    fn store_names_look_like_nix_ones() {
        let toplevel = system().generations[0].toplevel();
        let name = toplevel.strip_prefix("/nix/store/").unwrap();
        assert_eq!(name.find('-'), Some(32));
        assert!(!name[..32].contains(['e', 'o', 'u', 't']));
    }
}
