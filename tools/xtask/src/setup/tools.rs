//! Tools of the machine itself: file systems, partitions, device trees, boot images, compression.

use std::io::IsTerminal as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use evk::assets::find_tool;

use super::{Step, Workshop, progress};
use crate::process;

pub(super) const STEP: Step = Step { name: "file-system tools", present, provide };

/// Programs that cards and boot images are made and checked with, and Debian's packages for them.
const TOOLS: [(&str, &str); 20] = [
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("fakeroot", "fakeroot"),
    ("mkfs.vfat", "dosfstools"),
    ("fsck.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mmd", "mtools"),
    ("sfdisk", "fdisk"),
    ("dtc", "device-tree-compiler"),
    ("fdtdump", "device-tree-compiler"),
    ("truncate", "coreutils"),
    ("mkimage", "u-boot-tools"),
    ("dumpimage", "u-boot-tools"),
    ("gzip", "gzip"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("xz", "xz-utils"),
    ("lzma", "xz-utils"),
    ("lzop", "lzop"),
];

const LISTS_DEADLINE: Duration = Duration::from_secs(300);
const INSTALL_DEADLINE: Duration = Duration::from_secs(900);

fn present(_: &Workshop) -> Result<Option<String>> {
    Ok(missing_packages(|tool| find_tool(tool).is_some()).is_empty().then(|| "all there".into()))
}

/// From the machine's own suites, with its own configuration.
fn provide(_: &mut Workshop) -> Result<()> {
    let packages = missing_packages(|tool| find_tool(tool).is_some());
    let Some(become_root) = way_to_root() else {
        bail!("these packages have to be installed first: {}", advice(&packages));
    };
    let apt = |arguments: &[&str], deadline| {
        let words: Vec<&str> =
            become_root.iter().chain(&["apt-get"]).chain(arguments).copied().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
        process::output(&mut command, deadline)
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    progress(&format!("installing {}", packages.join(" ")));
    if apt(&install, INSTALL_DEADLINE).is_ok() {
        return Ok(());
    }
    // The lists may be old or, in a container, absent. Another source's failure is none of ours.
    progress("apt-get update");
    let updated = apt(&["update"], LISTS_DEADLINE);
    if let Err(error) = apt(&install, INSTALL_DEADLINE) {
        let error = updated.err().unwrap_or(error);
        return Err(error.context(format!("install by hand: {}", advice(&packages))));
    }
    Ok(())
}

/// The words in front of a command that make it run as root, if there is a way.
fn way_to_root() -> Option<&'static [&'static str]> {
    find_tool("apt-get")?;
    let user = process::output(Command::new("id").arg("-u"), Duration::from_secs(5)).ok()?;
    if user.trim() == "0" {
        return Some(&[]);
    }
    find_tool("sudo")?;
    if std::io::stdin().is_terminal() {
        return Some(&["sudo"]);
    }
    let mut quiet = Command::new("sudo");
    process::output(quiet.args(["-n", "true"]), Duration::from_secs(5)).ok()?;
    Some(&["sudo", "-n"])
}

fn missing_packages(there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let missing = TOOLS.iter().filter(|(tool, _)| !there(tool)).map(|(_, package)| *package);
    let mut packages: Vec<_> = missing.collect();
    packages.dedup();
    packages
}

fn advice(packages: &[&str]) -> String {
    let list = packages.join(" ");
    if find_tool("apt-get").is_some() {
        format!("sudo apt-get install {list}")
    } else {
        format!("{list} (Debian's names) with this system's package manager")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_asked_for_once() {
        let packages = missing_packages(|tool| !["mcopy", "mmd", "dtc"].contains(&tool));
        assert_eq!(packages, ["mtools", "device-tree-compiler"]);
    }

    #[test]
    fn nothing_is_asked_for_when_everything_is_there() {
        assert!(missing_packages(|_| true).is_empty());
    }
}
