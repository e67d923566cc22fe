//! The host's programs that cards are made with, and how they are run.

use std::{
    ffi::OsString,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::assets::{ADVICE, find_tool};

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    name: &'static str,
    package: &'static str,
}

pub(crate) const SFDISK: Tool = Tool { name: "sfdisk", package: "fdisk" };
pub(crate) const MKFS_FAT: Tool = Tool { name: "mkfs.fat", package: "dosfstools" };
pub(crate) const MCOPY: Tool = Tool { name: "mcopy", package: "mtools" };
pub(crate) const MKE2FS: Tool = Tool { name: "mke2fs", package: "e2fsprogs" };
pub(crate) const DEBUGFS: Tool = Tool { name: "debugfs", package: "e2fsprogs" };
pub(crate) const E2FSCK: Tool = Tool { name: "e2fsck", package: "e2fsprogs" };
pub(crate) const FDTPUT: Tool = Tool { name: "fdtput", package: "device-tree-compiler" };
pub(crate) const MKIMAGE: Tool = Tool { name: "mkimage", package: "u-boot-tools" };
pub(crate) const GZIP: Tool = Tool { name: "gzip", package: "gzip" };
pub(crate) const ZSTD: Tool = Tool { name: "zstd", package: "zstd" };
pub(crate) const LZ4: Tool = Tool { name: "lz4", package: "lz4" };
pub(crate) const XZ: Tool = Tool { name: "xz", package: "xz-utils" };
pub(crate) const LZMA: Tool = Tool { name: "lzma", package: "xz-utils" };
pub(crate) const LZOP: Tool = Tool { name: "lzop", package: "lzop" };

impl Tool {
    fn locate(self) -> Result<PathBuf> {
        find_tool(self.name).with_context(|| {
            format!(
                "the program `{}` is missing: {ADVICE}, or install the package `{}`",
                self.name, self.package
            )
        })
    }

    /// A call of the program, to be run with [`Call::run`].
    pub(crate) fn call(self) -> Call {
        Call {
            tool: self,
            arguments: Vec::new(),
            environment: Vec::new(),
            input: Vec::new(),
            input_file: None,
        }
    }
}

/// One call of a [`Tool`].
pub(crate) struct Call {
    tool: Tool,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    input_file: Option<PathBuf>,
}

impl Call {
    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, all: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(all.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Instead of a short input: a file of any size.
    pub(crate) fn input_file(mut self, file: &Path) -> Self {
        self.input_file = Some(file.into());
        self
    }

    /// Runs the program to its end and returns what it printed. Failure carries its own words.
    pub(crate) fn run(self) -> Result<Vec<u8>> {
        self.run_to(&[0])
    }

    /// The same for a program that is content if it exits with one of `codes`.
    pub(crate) fn run_to(self, codes: &[i32]) -> Result<Vec<u8>> {
        let program = self.tool.locate()?;
        let output = self.output(&program).with_context(|| format!("running {program:?}"))?;
        if !output.status.code().is_some_and(|code| codes.contains(&code)) {
            bail!(
                "{} {:?} failed ({}): {}",
                self.tool.name,
                self.arguments,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output.stdout)
    }

    fn output(&self, program: &Path) -> Result<Output> {
        let input = match &self.input_file {
            Some(file) => Stdio::from(File::open(file)?),
            None => Stdio::piped(),
        };
        let mut child = Command::new(program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // Inputs are shorter than a pipe's buffer, so writing all before reading cannot block.
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(&self.input)?;
        }
        Ok(child.wait_with_output()?)
    }
}
