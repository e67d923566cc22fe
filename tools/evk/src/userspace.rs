//! What userspace tells about the boot that led to it: the initrds that print it and what else they do,
//! and the reader.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    assets::Assets,
    initrd::Archive,
    tree::{Content, Tree},
};

/// First line of what the initrd prints.
pub const BEGIN: &str = "=== userspace reached ===";
/// Last line of what the initrd prints.
pub const END: &str = "=== end of userspace ===";

/// What `/init` does first: the report.
const REPORT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
# The kernel's own messages must not cut the lines below in two.
echo 1 > /proc/sys/kernel/printk
tree=/proc/device-tree
text() { tr '\0' ' ' < "$1" 2> /dev/null; }
words() { hexdump -v -e '4/1 "%02x" " "' "$1"; }
echo
echo "=== userspace reached ==="
echo "command line: $(cat /proc/cmdline)"
echo "initrd generation: %GENERATION%"
echo "marks: $(echo $(ls /marks))"
echo "tree generation: $(text $tree/firn-test/generation)"
echo "model: $(text $tree/model)"
echo "memory total: $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
for reg in $tree/memory*/reg; do
  echo "memory node: $(hexdump -v -e '8/1 "%02x" " "' "$reg")"
done
for property in $tree/chosen/firn,*; do
  name=${property##*/}
  case $name in
    firn,number|firn,try|firn,times-us) echo "$name: $(words $property)" ;;
    *) echo "$name: $(text $property)" ;;
  esac
done
%TOLD%echo "online CPUs: $(grep -c '^processor' /proc/cpuinfo)"
echo "kernel: $(uname -r)"
echo "=== end of userspace ==="
"#;

/// Names of the nodes of units that not every part has.
const UNITS: &str = "gpu|gpu3d|gpu2d|video-codec|npu|vipsi|isp|dsp|dsi|mipi_dsi|bridge|display-controller|lcd-controller|hdmi";

/// What it reports of the tree besides, which takes a while.
const TOLD: &str = r#"echo "told serial-number: $(text $tree/serial-number)"
for alias in $tree/aliases/ethernet*; do
  node=$(text $alias)
  echo "told ${alias##*/}: $(hexdump -v -e '1/1 "%02x"' $tree${node% }/local-mac-address)"
done
for node in $(find $tree/soc@0 -type d | grep -E "/(%UNITS%)@"); do
  echo "told ${node##*/}: $(text $node/status)"
done
for node in $tree/cpus/cpu@* $tree/reserved-memory/* $tree/firmware/*; do
  [ -d $node ] && echo "told ${node##*/}: there"
done
for trip in $tree/thermal-zones/*/trips/*/temperature; do
  trip=${trip%/temperature}
  zone=${trip%/trips/*}
  echo "told ${zone##*/} $(text $trip/type | sed "s/ .*//"): $((0x$(words $trip/temperature)))"
done
echo "told kernel base: $(sed -n 's/ T _text$//p' /proc/kallsyms)"
"#;

/// What of busybox `/init` uses.
const APPLETS: &[&str] = &[
    "sh",
    "mount",
    "cat",
    "tr",
    "sed",
    "grep",
    "find",
    "hexdump",
    "uname",
    "echo",
    "ls",
    "insmod",
    "sleep",
    "watchdog",
    "poweroff",
    "reboot",
    "mkdir",
    "ln",
    "findfs",
    "switch_root",
];

/// Below `kernel/` of [`Assets::modules`], in the order in which they are loaded.
const CARD_DRIVERS: [&str; 5] = [
    "drivers/regulator/fixed",
    "drivers/mmc/host/cqhci",
    "drivers/mmc/host/sdhci",
    "drivers/mmc/host/sdhci-pltfm",
    "drivers/mmc/host/sdhci-esdhc-imx",
];
const EXT4_DRIVERS: [&str; 5] =
    ["crypto/crc32c_generic", "lib/crc16", "fs/mbcache", "fs/jbd2/jbd2", "fs/ext4/ext4"];
const WATCHDOG_DRIVER: &str = "drivers/watchdog/imx2_wdt";

/// What the first stage of NixOS does: it mounts the root, and /nix if that is a part of it under another
/// name, and starts what `init=` names, which mounts the rest itself.
const ROOT: &str = r"mkdir /mnt-root
while ! root=$(findfs LABEL=%LABEL%); do sleep 1; done
mount -t ext4 $root /mnt-root
[ -d /mnt-root/persist/nix ] && mount -o bind /mnt-root/persist/nix /mnt-root/nix
init=$(sed 's/.*init=\([^ ]*\).*/\1/' /proc/cmdline)
exec switch_root /mnt-root /bin/sh $init";

/// Where Linux finds the card in the SD slot.
pub const CARD: &str = "/dev/mmcblk1";

/// How a userspace ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It switches the board off.
    #[default]
    PowerOff,
    /// It starts the board again.
    Reboot,
    /// The first process ends, and the kernel panics.
    Exit,
    /// It does nothing any more.
    Hang,
    /// It finds no root file system, and asks for a person.
    EmergencyShell,
}

/// What an initrd does: it reports how it was booted, does what it is told to, and ends.
#[derive(Clone, Debug, Default)]
pub struct Userspace {
    generation: u32,
    tells_tree: bool,
    modules: Vec<(&'static str, &'static str)>,
    programs: Vec<(String, PathBuf)>,
    commands: Vec<String>,
    ending: Ending,
}

impl Userspace {
    /// One that reports that its initrd is that of `generation`, and switches off.
    pub fn new(generation: u32) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Which fills [`Report::told`].
    #[must_use]
    pub fn telling_the_tree(self) -> Self {
        Self { tells_tree: true, ..self }
    }

    /// With another end.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// With the driver of the watchdog. It takes 128 s, which the loader sets: what QEMU's watchdog can't
    /// do is to be set again.
    #[must_use]
    pub fn with_watchdog_driver(self) -> Self {
        self.loading(WATCHDOG_DRIVER, "timeout=128")
    }

    /// With the drivers of the SD slot. The card is [`CARD`], once it is there.
    #[must_use]
    pub fn with_card(self) -> Self {
        let loading = CARD_DRIVERS.into_iter().fold(self, |this, module| this.loading(module, ""));
        loading.doing(&format!("while [ ! -b {CARD} ]; do sleep 1; done"))
    }

    /// Which goes on with `init=` on the ext4 file system of this label, on the card: the second stage.
    #[must_use]
    pub fn with_root(self, label: &str) -> Self {
        let with_card = self.with_card();
        let loading =
            EXT4_DRIVERS.into_iter().fold(with_card, |this, module| this.loading(module, ""));
        loading.doing(&ROOT.replace("%LABEL%", label))
    }

    /// With a static program of the host's as `/bin/NAME`.
    #[must_use]
    pub fn with_program(mut self, name: &str, program: &Path) -> Self {
        self.programs.push((name.into(), program.into()));
        self
    }

    /// Which runs `command` in the shell, behind the report.
    #[must_use]
    pub fn doing(mut self, command: &str) -> Self {
        self.commands.push(command.into());
        self
    }

    fn loading(mut self, module: &'static str, options: &'static str) -> Self {
        self.modules.push((module, options));
        let name = module.rsplit('/').next().unwrap_or(module);
        self.doing(&format!("insmod /lib/{name}.ko.xz {options}"))
    }

    /// The initrd, gzip-compressed.
    pub fn initrd(&self, assets: &Assets) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        for folder in ["bin", "dev", "lib", "marks", "proc", "sys", "run", "tmp"] {
            archive.folder(folder)?;
        }
        archive.character_device("dev/console", (5, 1))?;
        archive.file("bin/busybox", 0o755, &read(&assets.busybox)?)?;
        for applet in APPLETS {
            archive.link(&format!("bin/{applet}"), "busybox")?;
        }
        for (module, _) in &self.modules {
            let name = module.rsplit('/').next().unwrap_or(module);
            let file = assets.modules.join(format!("kernel/{module}.ko.xz"));
            archive.file(&format!("lib/{name}.ko.xz"), 0o644, &read(&file)?)?;
        }
        for (name, program) in &self.programs {
            archive.file(&format!("bin/{name}"), 0o755, &read(program)?)?;
        }
        archive.file("marks/first", 0o644, &[])?;
        archive.file("init", 0o755, self.init().as_bytes())?;
        archive.finish_gzip()
    }

    fn init(&self) -> String {
        let mut script = REPORT
            .replace("%GENERATION%", &self.generation.to_string())
            .replace("%TOLD%", if self.tells_tree { TOLD } else { "" })
            .replace("%UNITS%", UNITS);
        for command in &self.commands {
            script += &format!("{command}\n");
        }
        script
            + match self.ending {
                Ending::PowerOff => "poweroff -f\n",
                Ending::Reboot => "reboot -f\n",
                Ending::Exit => "exit 1\n",
                Ending::Hang => "while :; do sleep 1000; done\n",
                Ending::EmergencyShell => {
                    "while ! mount -t ext4 /dev/disk/by-label/NIXOS_SD /mnt-root; do\n\
                   echo 'An error occurred in stage 1 of the boot process.'\n  read answer\ndone\n"
                }
            }
    }
}

/// `/bin` of a root file system whose second stage is a script.
pub fn programs(assets: &Assets) -> Tree {
    let busybox = Content::File(assets.busybox.clone());
    APPLETS.iter().fold(Tree::new().with("bin/busybox", busybox), |tree, applet| {
        tree.with(format!("bin/{applet}"), Content::Link("busybox".into()))
    })
}

/// An initrd to be loaded behind another one, which is seen in the report's marks by its name.
pub fn further_initrd(mark: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.folder("marks")?;
    archive.file(&format!("marks/{mark}"), 0o644, &[])?;
    archive.finish_gzip()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// What userspace reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `/proc/cmdline`.
    pub command_line: String,
    /// The generation whose initrd ran.
    pub initrd_generation: String,
    /// The generation whose device tree the kernel got; empty where the tree names none.
    pub tree_generation: String,
    /// The device tree's model.
    pub model: String,
    /// MemTotal in KiB.
    pub memory_total: u64,
    /// The memory nodes' ranges: start and size in bytes.
    pub memory: Vec<(u64, u64)>,
    /// CPUs that Linux brought up.
    pub cpus: u32,
    /// Kernel release.
    pub kernel: String,
    /// What each of the initrds left.
    pub marks: Vec<String>,
    /// `/chosen/firn,*` by name; numbers in words of eight digits.
    pub chosen: BTreeMap<String, String>,
    /// What else the device tree tells, if asked to ([`Userspace::telling_the_tree`]): `serial-number`; `ethernetN`, its MAC address in digits; the
    /// status of units (`npu@38500000`); which CPUs, reserved ranges and firmwares are `there`; trip
    /// temperatures (`cpu-thermal critical`). And the `kernel base`, which is another one at each boot.
    pub told: BTreeMap<String, String>,
}

impl Report {
    /// Reads the lines between [`BEGIN`] and [`END`]; others are left alone.
    pub fn parse(text: &str) -> Result<Self> {
        let mut report = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once(": ")) {
            report.take(key, value.trim()).with_context(|| format!("{key}: {value}"))?;
        }
        Ok(report)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "command line" => self.command_line = value.into(),
            "initrd generation" => self.initrd_generation = value.into(),
            "tree generation" => self.tree_generation = value.into(),
            "model" => self.model = value.into(),
            "memory total" => {
                self.memory_total = value.trim_end_matches("kB").trim().parse()?;
            }
            "memory node" => self.memory.extend(ranges(value)?),
            "online CPUs" => self.cpus = value.parse()?,
            "kernel" => self.kernel = value.into(),
            "marks" => self.marks = value.split_whitespace().map(ToOwned::to_owned).collect(),
            name if name.starts_with("told ") => {
                self.told.insert(name.trim_start_matches("told ").into(), value.into());
            }
            name if name.starts_with("firn,") => drop(self.chosen.insert(key.into(), value.into())),
            _ => {}
        }
        Ok(())
    }

    /// The toplevel that `init=` names, without `/init`.
    pub fn toplevel(&self) -> Option<&str> {
        self.command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("init="))
            .map(|path| path.strip_suffix("/init").unwrap_or(path))
    }
}

/// Pairs of start and size; the tree of this board counts both in two cells.
fn ranges(words: &str) -> Result<Vec<(u64, u64)>> {
    let numbers = words
        .split_whitespace()
        .map(|word| Ok(u64::from_str_radix(word, 16)?))
        .collect::<Result<Vec<_>>>()?;
    numbers
        .chunks(2)
        .map(|pair| match pair {
            [start, size] => Ok((*start, *size)),
            _ => anyhow::bail!("a memory range without size"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_from_between_other_lines() {
        let report = Report::parse(
            "[    1.0] something: else\ncommand line: init=/nix/store/a-nixos/init quiet\r\n\
             initrd generation: 42\ntree generation: 42 \nmodel: NXP i.MX8MPlus EVK board \n\
             memory total: 2013460 kB\n\
             told serial-number: 00112233 \ntold npu@38500000: disabled \ntold dsp@3b6e8000:\n\
             marks: first second\nfirn,try: 00000001 00000003 \nfirn,profile: known-good \n\
             memory node: 0000000040000000 0000000080000000 \nonline CPUs: 4\nkernel: 6.12\n",
        )
        .unwrap();
        assert_eq!(report.toplevel(), Some("/nix/store/a-nixos"));
        assert_eq!(report.memory, [(0x4000_0000, 0x8000_0000)]);
        assert_eq!((report.cpus, report.memory_total), (4, 2013460));
        assert_eq!(report.tree_generation, "42");
        assert_eq!(report.marks, ["first", "second"]);
        assert_eq!(report.told["serial-number"], "00112233");
        assert_eq!(report.told["npu@38500000"], "disabled");
        assert!(!report.told.contains_key("dsp@3b6e8000"), "it has no status");
        assert_eq!(report.chosen["firn,try"], "00000001 00000003");
        assert_eq!(report.chosen["firn,profile"], "known-good");
        assert_eq!(report.model, "NXP i.MX8MPlus EVK board");
    }

    #[test]
    fn half_a_memory_range_is_an_error() {
        assert!(Report::parse("memory node: 0000000040000000").is_err());
    }
}
