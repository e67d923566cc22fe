//! QEMU with the machine `imx8mp-evk` (10.0 or later): the user's own, else Debian's.
//!
//! Debian's is unpacked with all of its libraries, the C library included, and started by its own
//! dynamic linker: it runs on any release, and no library of the machine gets into it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evk::assets::{Key, find_tool};

use super::{Step, Workshop, apt, progress};
use crate::process;

pub(super) const STEP: Step = Step { name: "QEMU", present, provide };

const PROGRAM: &str = "qemu-system-aarch64";
const PACKAGE: &str = "qemu-system-arm";
const MACHINE: &str = "imx8mp-evk";
const DEADLINE: Duration = Duration::from_secs(30);

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let Ok(qemu) = workshop.manifest.existing(Key::Qemu) else { return Ok(None) };
    Ok(has_machine(&qemu).then(|| qemu.display().to_string()))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    let qemu = match find_tool(PROGRAM).filter(|own| has_machine(own)) {
        Some(own) => own,
        None => debian_qemu(workshop)?,
    };
    workshop.manifest.set_path(Key::Qemu, &qemu)
}

fn has_machine(qemu: &Path) -> bool {
    let help = process::output(Command::new(qemu).args(["-machine", "help"]), DEADLINE);
    help.is_ok_and(|text| lists_machine(&text))
}

/// `-machine help`: one machine a line, its name first.
fn lists_machine(help: &str) -> bool {
    help.lines().any(|line| line.split_whitespace().next() == Some(MACHINE))
}

fn debian_qemu(workshop: &Workshop) -> Result<PathBuf> {
    progress(&format!("no {PROGRAM} here has the machine {MACHINE}; taking Debian's"));
    let archive = workshop.archive(&apt::native_architecture()?, &[apt::RELEASE])?;
    let package = archive.newest(PACKAGE)?;
    let root =
        workshop.make_directory("qemu", |root| archive.unpack_with_dependencies(&package, root))?;
    let launcher = root.join(PROGRAM);
    fs::write(&launcher, launcher_script(&root)?)
        .and_then(|()| fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", launcher.display()))?;
    Ok(launcher)
}

/// A shell script that becomes QEMU.
fn launcher_script(root: &Path) -> Result<String> {
    let linker = dynamic_linker(root)?;
    let libraries = library_directory(root)?;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    Ok(format!(
        "#!/bin/sh\n# Debian's QEMU with its own libraries; made by `cargo xtask setup`.\n\
         QEMU_MODULE_DIR={modules}\nexport QEMU_MODULE_DIR\n\
         exec {linker} --library-path {libraries} {program} -L {data} \"$@\"\n",
        modules = quoted(&libraries.join("qemu")),
        linker = quoted(&linker),
        libraries = quoted(&libraries),
        program = quoted(&root.join("usr/bin").join(PROGRAM)),
        data = quoted(&root.join("usr/share/qemu")),
    ))
}

/// `ld-linux-*.so.*`, where Debian's libc6 puts it on amd64 and on arm64.
fn dynamic_linker(root: &Path) -> Result<PathBuf> {
    ["usr/lib64", "lib64", "usr/lib", "lib"]
        .iter()
        .filter_map(|directory| fs::read_dir(root.join(directory)).ok())
        .flatten()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux-"))
        .map(|entry| entry.path())
        .with_context(|| format!("no dynamic linker below {}", root.display()))
}

/// The directory of the architecture's libraries: the one that holds the C library.
fn library_directory(root: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .find(|directory| directory.join("libc.so.6").exists())
        .with_context(|| format!("no C library below {}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_looked_for_by_its_whole_name() {
        let help = "Supported machines are:\nimx8mp-evk           NXP i.MX 8M Plus EVK Board\n";
        assert!(lists_machine(help));
        assert!(!lists_machine("imx8mp-evk2   Another\nimx7d   Not imx8mp-evk\n"));
    }

    #[test]
    fn a_program_that_is_no_qemu_is_not_taken() {
        assert!(!has_machine(Path::new("/bin/true")));
        assert!(!has_machine(Path::new("/nonexistent/qemu")));
    }

    #[test]
    fn the_launcher_uses_nothing_but_the_unpacked_tree() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in ["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        let script = launcher_script(root).unwrap();
        let start = script.lines().last().unwrap();
        let within = format!("'{}/usr/", root.display());
        assert!(start.starts_with(&format!("exec {within}lib64/ld-linux-x86-64.so.2' ")));
        assert_eq!(start.matches(&within).count(), 4, "{start}");
    }
}
