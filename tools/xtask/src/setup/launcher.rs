//! Starting a program of Debian that was unpacked with all of its libraries, the C library
//! included: by its own dynamic linker, so that it runs on any release and no library of the
//! machine gets into it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A shell script that becomes a program.
pub(super) struct Launcher<'a> {
    /// The program, in `usr/bin`, and the launcher, in the root itself.
    pub(super) name: &'a str,
    /// Options that come first, each with its value: a path below the root.
    pub(super) options: &'a [(&'a str, &'a str)],
    /// A variable, and the path below the library directory that it is set to.
    pub(super) variable: Option<(&'a str, &'a str)>,
}

impl Launcher<'_> {
    /// Writes the launcher of a program that was unpacked into `root`.
    ///
    /// # Errors
    /// The C library or its dynamic linker is not there.
    pub(super) fn write(&self, root: &Path) -> Result<PathBuf> {
        let file = root.join(self.name);
        fs::write(&file, self.script(root)?)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    fn script(&self, root: &Path) -> Result<String> {
        let libraries = library_directory(root)?;
        let mut script = "#!/bin/sh\n# Made by `cargo xtask setup`.\n".to_owned();
        if let Some((name, below)) = self.variable {
            script += &format!("{name}={}\nexport {name}\n", quoted(&libraries.join(below)));
        }
        script += &format!(
            "exec {} --library-path {} {}",
            quoted(&dynamic_linker(root)?),
            quoted(&libraries),
            quoted(&root.join("usr/bin").join(self.name))
        );
        for (option, below) in self.options {
            script += &format!(" {option} {}", quoted(&root.join(below)));
        }
        Ok(script + " \"$@\"\n")
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
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
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::process;

    const LAUNCHER: Launcher =
        Launcher { name: "tool", options: &[("-L", "usr/share/tool")], variable: Some(("T", "t")) };

    fn root() -> tempfile::TempDir {
        let directory = tempfile::Builder::new().prefix("it's a root").tempdir().unwrap();
        for file in ["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            // Stands for the dynamic linker: says what it was started with.
            fs::write(&file, "#!/bin/sh\necho T=\"$T\"; printf '%s\\n' \"$@\"\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    #[test]
    fn the_program_gets_nothing_but_the_unpacked_tree_and_its_arguments() {
        let root = root();
        let launcher = LAUNCHER.write(root.path()).unwrap();
        let mut command = Command::new(launcher);
        command.args(["-machine", "two words"]);
        let said = process::output(&mut command, Duration::from_secs(20)).unwrap();
        let root = root.path().display();
        let expected = format!(
            "T={root}/usr/lib/x86_64-linux-gnu/t\n--library-path\n{root}/usr/lib/x86_64-linux-gnu\n\
             {root}/usr/bin/tool\n-L\n{root}/usr/share/tool\n-machine\ntwo words\n"
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn an_unpacked_tree_without_a_c_library_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = LAUNCHER.write(root.path()).unwrap_err().to_string();
        assert!(error.contains("no C library"), "{error}");
    }
}
