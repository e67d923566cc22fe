//! What userspace tells about the boot that led to it: the initrd that prints it, and the reader.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::initrd::Archive;

/// First line of what the initrd prints.
pub const BEGIN: &str = "=== userspace reached ===";
/// Last line of what the initrd prints.
pub const END: &str = "=== end of userspace ===";

/// What the initrd's `/init` does. `%GENERATION%` is filled in for each generation.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# The kernel's own messages must not cut the lines below in two.
echo 1 > /proc/sys/kernel/printk
tree=/proc/device-tree
text() { tr '\0' ' ' < "$1" 2> /dev/null; }
echo
echo "=== userspace reached ==="
echo "command line: $(cat /proc/cmdline)"
echo "initrd generation: %GENERATION%"
echo "tree generation: $(text $tree/firn-test/generation)"
echo "model: $(text $tree/model)"
echo "memory total: $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
for reg in $tree/memory*/reg; do
  echo "memory node: $(hexdump -v -e '8/1 "%02x" " "' "$reg")"
done
echo "online CPUs: $(grep -c '^processor' /proc/cpuinfo)"
echo "kernel: $(uname -r)"
echo "=== end of userspace ==="
poweroff -f
"#;

const APPLETS: &[&str] =
    &["sh", "mount", "cat", "tr", "sed", "grep", "hexdump", "uname", "echo", "poweroff"];

/// An initrd, gzip-compressed, that prints the report and powers off.
///
/// `busybox` is a static arm64 busybox, `generation` what the report says of the initrd.
pub fn initrd(busybox: &Path, generation: u32) -> Result<Vec<u8>> {
    let busybox = fs::read(busybox).with_context(|| format!("reading {}", busybox.display()))?;
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "proc", "sys"] {
        archive.folder(folder)?;
    }
    archive.character_device("dev/console", (5, 1))?;
    archive.file("bin/busybox", 0o755, &busybox)?;
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox")?;
    }
    archive.file(
        "init",
        0o755,
        INIT.replace("%GENERATION%", &generation.to_string()).as_bytes(),
    )?;
    archive.finish_gzip()
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
             memory node: 0000000040000000 0000000080000000 \nonline CPUs: 4\nkernel: 6.12\n",
        )
        .unwrap();
        assert_eq!(report.toplevel(), Some("/nix/store/a-nixos"));
        assert_eq!(report.memory, [(0x4000_0000, 0x8000_0000)]);
        assert_eq!((report.cpus, report.memory_total), (4, 2013460));
        assert_eq!(report.tree_generation, "42");
        assert_eq!(report.model, "NXP i.MX8MPlus EVK board");
    }

    #[test]
    fn half_a_memory_range_is_an_error() {
        assert!(Report::parse("memory node: 0000000040000000").is_err());
    }
}
