//! QEMU with the machine `imx8mp-evk` (10.0 or later): the user's own, else Debian's, unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evk::assets::{Key, find_tool};

use super::launcher::Launcher;
use super::{Step, Workshop, apt, progress};
use crate::process;

pub(super) const STEP: Step = Step { name: "QEMU", present, provide };

const PROGRAM: &str = "qemu-system-aarch64";
const PACKAGE: &str = "qemu-system-arm";
const MACHINE: &str = "imx8mp-evk";
const LAUNCHER: Launcher = Launcher {
    name: PROGRAM,
    options: &[("-L", "usr/share/qemu")],
    variable: Some(("QEMU_MODULE_DIR", "qemu")),
};
const DEADLINE: Duration = Duration::from_secs(30);

fn present(workshop: &Workshop) -> Result<Option<String>> {
    let Ok(qemu) = workshop.manifest.existing(Key::Qemu) else { return Ok(None) };
    Ok(has_machine(&qemu).then(|| qemu.display().to_string()))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    let qemu = match find_tool(PROGRAM).filter(|own| has_machine(own)) {
        Some(own) => own,
        None => debian_qemu(workshop)
            .with_context(|| format!("install QEMU 10.0 or later with the machine {MACHINE}"))?,
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
    let archive = workshop.archive(&apt::native_architecture()?, &[apt::RELEASE], PACKAGE)?;
    let package = archive.newest(PACKAGE)?;
    let root =
        workshop.make_directory("qemu", |root| archive.unpack_with_dependencies(&package, root))?;
    LAUNCHER.write(&root)
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
}
