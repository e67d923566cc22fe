//! The device that a directory is on, and whether the loader can read it: it knows partitions of cards, and
//! nothing that Linux makes of them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{major, minor, statfs};

use super::config::{Config, Source};

/// What statfs(2) calls file systems; ext2 to ext4 are one. Source: Linux, include/uapi/linux/magic.h.
const EXT4: u64 = 0xef53;
const FAT: u64 = 0x4d44;

/// The device of the whole disk that holds `directory`, if that is a partition of one.
pub(super) fn disk_of(root: &Path, directory: &str) -> Option<PathBuf> {
    let disk = in_sysfs(root, directory)?;
    let node = root.join("dev").join(disk.file_name()?);
    (made_of(&disk).is_empty() && node.exists()).then_some(node)
}

/// Sees that the loader finds what is installed below `root`, as far as Linux tells what it lies on.
///
/// # Errors
/// It is neither ext4 nor, in `/boot`, FAT, or not on a partition of a card.
pub(super) fn check(root: &Path, config: &Config) -> Result<()> {
    let directory = config.place();
    let path = below(root, directory);
    if !path.exists() {
        return Ok(());
    }
    let found = statfs(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    let parts = in_sysfs(root, directory).map(|disk| made_of(&disk)).unwrap_or_default();
    judge(config.source, directory, found.f_type.try_into().unwrap_or(0), &parts)
}

/// Whether the loader can read a directory on such a file system, on a disk that is made of `parts`.
fn judge(source: Source, directory: &str, file_system: u64, parts: &[String]) -> Result<()> {
    let (known, advice) = match source {
        Source::Profiles => (&[EXT4][..], "set boot.loader.firn.source = \"extlinux\""),
        Source::Extlinux => (&[EXT4, FAT][..], "it has to be FAT or ext4 on a partition"),
    };
    ensure!(
        known.contains(&file_system),
        "the loader cannot read the file system of {directory} (its type is {file_system:#x}): {advice}"
    );
    ensure!(
        parts.is_empty(),
        "the loader cannot read {directory}, which is on what Linux makes of {} (LUKS, LVM, RAID): {advice}",
        parts.join(", ")
    );
    Ok(())
}

/// What sysfs has of the whole disk that holds `directory`.
fn in_sysfs(root: &Path, directory: &str) -> Option<PathBuf> {
    let device = fs::metadata(below(root, directory)).ok()?.dev();
    let number = format!("{}:{}", major(device), minor(device));
    let partition = fs::canonicalize(root.join("sys/dev/block").join(number)).ok()?;
    match partition.join("partition").exists() {
        true => partition.parent().map(Path::to_owned),
        false => Some(partition),
    }
}

/// The devices that a disk is made of; none for a card.
fn made_of(disk: &Path) -> Vec<String> {
    let slaves = fs::read_dir(disk.join("slaves")).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        slaves.filter_map(|slave| slave.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn below(root: &Path, directory: &str) -> PathBuf {
    root.join(directory.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BTRFS: u64 = 0x9123_683e;

    /// A root whose sysfs says that it is on a partition of the disk `name`, which is made of `parts`.
    fn root(name: &str, parts: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: String| folder.path().join(path);
        for directory in ["nix/store", "dev", "sys/dev/block"] {
            fs::create_dir_all(at(directory.into())).unwrap();
        }
        let disk = format!("sys/devices/{name}");
        fs::create_dir_all(at(format!("{disk}/{name}p2"))).unwrap();
        fs::write(at(format!("{disk}/{name}p2/partition")), "2\n").unwrap();
        for part in parts {
            fs::create_dir_all(at(format!("{disk}/slaves/{part}"))).unwrap();
        }
        fs::write(at(format!("dev/{name}")), "").unwrap();
        let device = fs::metadata(folder.path()).unwrap().dev();
        let link = at(format!("sys/dev/block/{}:{}", major(device), minor(device)));
        symlink(at(format!("{disk}/{name}p2")), link).unwrap();
        folder
    }

    #[test]
    fn the_disk_of_a_directory_is_that_of_its_partition() {
        let card = root("mmcblk1", &[]);
        let disk = disk_of(card.path(), "/nix/store").unwrap();
        assert_eq!(disk, card.path().join("dev/mmcblk1"));
        assert_eq!(disk_of(root("dm-0", &["mmcblk1p2"]).path(), "/nix/store"), None);
    }

    #[test]
    fn what_the_loader_cannot_read_is_refused_with_what_to_do() {
        let refused = |source, file_system, parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
            let judged = judge(source, "/nix/store", file_system, &parts);
            judged.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(Source::Profiles, EXT4, &[]), "");
        assert_eq!(refused(Source::Extlinux, FAT, &[]), "");
        let error = refused(Source::Profiles, BTRFS, &[]);
        assert!(error.contains("(its type is 0x9123683e)") && error.contains("\"extlinux\""));
        assert!(refused(Source::Profiles, FAT, &[]).contains("0x4d44"));
        assert!(refused(Source::Extlinux, BTRFS, &[]).contains("FAT or ext4"));
        let error = refused(Source::Profiles, EXT4, &["mmcblk1p2"]);
        assert!(error.contains("makes of mmcblk1p2 (LUKS, LVM, RAID)"), "{error}");
    }

    #[test]
    fn a_running_system_is_judged_by_what_sysfs_tells() {
        let text = r#"{ "board": "imx8mp-evk", "source": "profiles", "boot": "/boot" }"#;
        let config = Config::parse(text).unwrap();
        let error = check(root("dm-0", &["mmcblk1p2"]).path(), &config).unwrap_err();
        assert!(error.to_string().contains("the loader cannot read"), "{error}");
        // A store that is not there is told by whoever looks for the system in it.
        assert!(check(tempfile::tempdir().unwrap().path(), &config).is_ok());
    }
}
