//! The bare-metal target's standard library: from rustup, else built from Debian's `rust-src` of
//! exactly the compiler's version and put where rustup would have put it. Where Debian has no such
//! version (any more), the last resort is a compiler and sources of Debian's own, for the firmware
//! only.
//!
//! What was built here is marked, so that it can be replaced when the compiler is updated: rustup
//! does not know of it and leaves the old files behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evk::assets::find_tool;

use super::apt::{self, Archive, Package};
use super::launcher::Launcher;
use super::{Step, Workshop, progress, remove_directory};
use crate::process;

pub(super) const STEP: Step = Step { name: "bare-metal target", present, provide };

/// The target that the firmware is built for.
pub(crate) const TRIPLE: &str = "aarch64-unknown-none";

/// Needs all of the libraries.
const PROBE: &str = "#![no_std]\nextern crate alloc;\n";

/// Lies beside the libraries that were built here; holds what they were built from.
const MARK: &str = "built-by-firn-setup";

/// Suites that have, or had, a `rust-src`; the second row's lists are large.
const SUITES: [&[&str]; 2] = [&["trixie", "trixie-backports"], &["testing", "unstable"]];

const QUERY_DEADLINE: Duration = Duration::from_secs(30);
/// A reachable server needs seconds for the 20 MB; an unreachable one must not hold anybody up.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(120);
const BUILD_DEADLINE: Duration = Duration::from_secs(900);

/// Debian's own compiler, unpacked.
const LAUNCHER: Launcher =
    Launcher { name: "rustc", options: &[("--sysroot", "usr")], variable: None };
/// Where it is unpacked to, below the cache.
const DEBIAN_COMPILER: &str = "rustc";

/// A compiler.
pub(crate) struct Compiler {
    program: PathBuf,
    /// For example `1.95.0`.
    release: String,
    /// What it was made from; Debian's tells none.
    commit: Option<String>,
    /// Where its libraries are.
    sysroot: PathBuf,
    /// For example `x86_64-unknown-linux-gnu`.
    host: String,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The compiler that cargo uses here.
    User,
    /// The last resort.
    Debian,
}

impl Compiler {
    /// The compiler that can build the firmware, if there is one: cargo's own is preferred.
    ///
    /// # Errors
    /// Cargo's own can't be asked.
    pub(crate) fn for_firmware() -> Result<Option<Self>> {
        Self::with_target(&evk::assets::cache_dir()?)
    }

    fn with_target(cache: &Path) -> Result<Option<Self>> {
        let own = Self::own()?;
        if own.builds_for(TRIPLE, PROBE) {
            return Ok(Some(own));
        }
        let launcher = cache.join(DEBIAN_COMPILER).join(LAUNCHER.name);
        if !launcher.is_file() {
            return Ok(None);
        }
        let debian = Self::ask(launcher, Owner::Debian).ok();
        Ok(debian.filter(|debian| debian.builds_for(TRIPLE, PROBE)))
    }

    /// The compiler that cargo uses here.
    pub(super) fn own() -> Result<Self> {
        let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Self::ask(program.into(), Owner::User)
    }

    fn ask(program: PathBuf, owner: Owner) -> Result<Self> {
        let ask = |arguments: &[&str]| {
            process::output(Command::new(&program).args(arguments), QUERY_DEADLINE)
        };
        let version = ask(&["-vV"])?;
        let value = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name));
            value.map(str::to_owned).with_context(|| format!("`rustc -vV` answers {version:?}"))
        };
        let (release, host) = (value("release: ")?, value("host: ")?);
        let commit = value("commit-hash: ").ok().filter(|commit| commit != "unknown");
        let sysroot = ask(&["--print", "sysroot"])?.trim().into();
        Ok(Self { program, release, commit, sysroot, host, owner })
    }

    /// Makes cargo use it.
    pub(crate) fn configure(&self, cargo: &mut Command) {
        if self.owner == Owner::User {
            return;
        }
        cargo.env("RUSTC", &self.program);
        // Debian's comes without a linker for bare metal; any version of it will do.
        let lld = Self::own().map(|own| own.rustlib().join(own.host).join("bin/rust-lld"));
        if let Some(lld) = lld.ok().filter(|lld| lld.is_file()) {
            cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER", lld);
        }
    }

    /// Whether the user's own tools (clippy, say) know the bare-metal target too.
    pub(crate) fn is_own(&self) -> bool {
        self.owner == Owner::User
    }

    /// Whether it can build `probe` for `triple`, with libraries of its own version.
    pub(super) fn builds_for(&self, triple: &str, probe: &str) -> bool {
        if !self.rustlib().join(triple).is_dir() {
            return false;
        }
        let Ok(directory) = tempfile::tempdir() else { return false };
        let source = directory.path().join("probe.rs");
        if fs::write(&source, probe).is_err() {
            return false;
        }
        let mut rustc = Command::new(&self.program);
        rustc.args(["--crate-type=rlib", "--emit=metadata", "--target", triple, "--out-dir"]);
        rustc.arg(directory.path()).arg(&source);
        process::output(&mut rustc, QUERY_DEADLINE).is_ok()
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    fn target_directory(&self) -> PathBuf {
        self.rustlib().join(TRIPLE)
    }

    /// Names the library's sources as rustup's libraries do, in panic messages for example.
    fn remap(&self) -> String {
        let sources = self.rustlib().join("src/rust");
        let name = self.commit.as_ref().unwrap_or(&self.release);
        format!("--remap-path-prefix={}=/rustc/{name}", sources.display())
    }

    /// Marks its libraries for the target as ours.
    fn mark(&self, text: &str) -> Result<()> {
        let mark = self.target_directory().join(MARK);
        fs::create_dir_all(self.target_directory().join("lib"))
            .and_then(|()| fs::write(&mark, format!("{text}\n")))
            .with_context(|| format!("cannot write {}", mark.display()))
    }

    /// For example `1.95.0`.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    fn origin(&self) -> String {
        let mark = fs::read_to_string(self.target_directory().join(MARK));
        let from = mark.map_or("rustup".to_owned(), |mark| mark.trim().to_owned());
        let whose = if self.is_own() { "" } else { "Debian's " };
        format!("{TRIPLE} of {whose}rustc {} ({from})", self.release)
    }
}

fn present(workshop: &Workshop) -> Result<Option<String>> {
    Ok(Compiler::with_target(&workshop.cache)?.map(|compiler| compiler.origin()))
}

fn provide(workshop: &mut Workshop) -> Result<()> {
    let own = Compiler::own()?;
    remove_own_build(&own)?;
    let Err(refused) = from_rustup(TRIPLE) else { return Ok(()) };
    progress(&format!("not through rustup: {refused:#}"));
    from_debian(workshop, &own)
        .with_context(|| format!("`rustup target add {TRIPLE}` does not work either"))
}

fn from_debian(workshop: &Workshop, own: &Compiler) -> Result<()> {
    let because = match own.mark("being built") {
        Ok(()) => match find_source(workshop, &own.release)? {
            Some((archive, source)) => return from_source(workshop, own, &archive, &source),
            None => format!("Debian has no sources of rustc {}", own.release),
        },
        Err(error) => format!("{error:#}"),
    };
    progress(&format!("{because}; taking Debian's own compiler for the firmware"));
    debian_compiler(workshop)
}

/// Libraries of an earlier compiler would only be in the way.
fn remove_own_build(compiler: &Compiler) -> Result<()> {
    let directory = compiler.target_directory();
    if directory.join(MARK).exists() { remove_directory(&directory) } else { Ok(()) }
}

pub(super) fn from_rustup(triple: &str) -> Result<()> {
    let rustup = find_tool("rustup").context("it is not installed")?;
    let mut command = Command::new(rustup);
    command.args(["target", "add", triple]).env("RUST_BACKTRACE", "0");
    process::output(&mut command, RUSTUP_DEADLINE).map(drop)
}

/// Builds the libraries for `compiler` from `package`, which has its sources.
fn from_source(
    workshop: &Workshop,
    compiler: &Compiler,
    archive: &Archive,
    package: &Package,
) -> Result<()> {
    let source = workshop.make_directory("rust-src", |root| archive.unpack(package, root))?;
    let source = source.join(format!("usr/src/rustc-{}", compiler.release));
    ensure!(source.join("library/core").is_dir(), "no library/core below {}", source.display());
    progress("building core and alloc for the bare-metal target (half a minute)");
    let link = SourceLink::make(compiler, &source)?;
    let libraries = build_libraries(workshop, compiler)?;
    drop(link);
    install(compiler, &libraries, package)?;
    remove_directory(&workshop.cache.join("rust-src"))?;
    remove_directory(&workshop.cache.join("rust-std"))
}

fn find_source(workshop: &Workshop, release: &str) -> Result<Option<(Archive, Package)>> {
    for suites in SUITES {
        let archive = workshop.archive(&apt::native_architecture()?, suites, "rust-src")?;
        let versions = archive.versions("rust-src")?;
        if let Some(package) = versions.iter().find(|package| upstream(&package.version) == release)
        {
            return Ok(Some((archive, package.clone())));
        }
    }
    Ok(None)
}

/// Debian's newest compiler with its own sources.
fn debian_compiler(workshop: &Workshop) -> Result<()> {
    let archive = workshop.archive(&apt::native_architecture()?, SUITES[0], "rustc")?;
    let package = archive.newest("rustc")?;
    let source = Package { name: "rust-src".into(), version: package.version.clone() };
    let root = workshop
        .make_directory(DEBIAN_COMPILER, |root| archive.unpack_with_dependencies(&package, root))?;
    let compiler = Compiler::ask(LAUNCHER.write(&root)?, Owner::Debian)?;
    let needed = env!("CARGO_PKG_RUST_VERSION");
    ensure!(
        numbers(&compiler.release) >= numbers(needed),
        "Debian's rustc {} is older than the {needed} that Firn needs; use a compiler of rustup,          with `rustup target add {TRIPLE}`",
        compiler.release
    );
    from_source(workshop, &compiler, &archive, &source)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|number| number.parse().ok()).collect()
}

/// The upstream part of a Debian version: `1.95.0` of `1.95.0+dfsg1-2~bpo13+1`.
fn upstream(version: &str) -> &str {
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

/// The sources where `-Zbuild-std` looks for them. Taken away again: rustup's own component
/// `rust-src` would find its place occupied.
struct SourceLink(Option<PathBuf>);

impl SourceLink {
    fn make(compiler: &Compiler, source: &Path) -> Result<Self> {
        let place = compiler.rustlib().join("src/rust");
        if place.join("library/core").is_dir() {
            return Ok(Self(None));
        }
        // A link that an interrupted run left behind leads nowhere.
        let _ = fs::remove_file(&place);
        fs::create_dir_all(compiler.rustlib().join("src"))
            .and_then(|()| std::os::unix::fs::symlink(source, &place))
            .with_context(|| format!("cannot write {}", place.display()))?;
        Ok(Self(Some(place)))
    }
}

impl Drop for SourceLink {
    fn drop(&mut self) {
        if let Some(place) = &self.0 {
            // Nothing depends on it; at worst the next run replaces it.
            let _ = fs::remove_file(place);
        }
    }
}

/// Builds the libraries in a scratch crate; returns the directory that they are in.
fn build_libraries(workshop: &Workshop, compiler: &Compiler) -> Result<PathBuf> {
    let scratch = workshop.make_directory("rust-std", |scratch| {
        fs::create_dir(scratch.join("src"))?;
        fs::write(scratch.join("src/lib.rs"), "#![no_std]\n")?;
        let manifest = "[package]\nname = \"scratch\"\nedition = \"2024\"\n[workspace]\n";
        Ok(fs::write(scratch.join("Cargo.toml"), manifest)?)
    })?;
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--release", "--target", TRIPLE])
        .args(["-Zbuild-std=core,alloc,compiler_builtins"])
        .args(["-Zbuild-std-features=compiler-builtins-mem"])
        .current_dir(&scratch)
        .env("RUSTC_BOOTSTRAP", "1")
        // Bitcode is what fat LTO links; it can't be had together with LTO of this build.
        .env("CARGO_ENCODED_RUSTFLAGS", format!("-Cembed-bitcode=yes\x1f{}", compiler.remap()))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .env_remove("CARGO_BUILD_TARGET");
    compiler.configure(&mut cargo);
    process::output(&mut cargo, BUILD_DEADLINE)?;
    Ok(scratch.join("target").join(TRIPLE).join("release/deps"))
}

/// Puts the libraries where rustup would have put them.
fn install(compiler: &Compiler, built: &Path, package: &Package) -> Result<()> {
    // The mark first: whatever follows is then known to be ours.
    compiler.mark(&format!("built from Debian's {} {}", package.name, package.version))?;
    let libraries = compiler.target_directory().join("lib");
    for name in ["core", "alloc", "compiler_builtins"] {
        let file = find_library(built, name)?;
        let target = libraries.join(file.file_name().context("a library without a name")?);
        fs::copy(&file, &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

fn find_library(directory: &Path, name: &str) -> Result<PathBuf> {
    let prefix = format!("lib{name}-");
    fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&prefix) && file.ends_with(".rlib")
        })
        .with_context(|| format!("the build left no {prefix}*.rlib in {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler_in(sysroot: &Path) -> Compiler {
        Compiler {
            program: "rustc".into(),
            release: "1.95.0".into(),
            commit: None,
            sysroot: sysroot.to_owned(),
            host: "x86_64-unknown-linux-gnu".into(),
            owner: Owner::User,
        }
    }

    #[test]
    fn a_debian_version_is_compared_by_its_upstream_part() {
        assert_eq!(upstream("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(upstream("1.63.0-2"), "1.63.0");
        assert_ne!(upstream("1.95.0+dfsg1-2"), "1.95");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.89"));
        assert!(numbers("1.89.0") >= numbers("1.89"));
        assert!(numbers("1.88.2") < numbers("1.89"));
    }

    #[test]
    fn the_compiler_in_use_tells_its_version_and_sysroot() {
        let compiler = Compiler::own().unwrap();
        assert!(compiler.rustlib().join(&compiler.host).is_dir());
        assert_eq!(compiler.release.split('.').count(), 3);
    }

    #[test]
    fn libraries_of_an_earlier_compiler_go_only_if_they_were_built_here() {
        let directory = tempfile::tempdir().unwrap();
        let compiler = compiler_in(directory.path());
        let libraries = compiler.target_directory();
        fs::create_dir_all(&libraries).unwrap();
        remove_own_build(&compiler).unwrap();
        assert!(libraries.exists(), "rustup's were removed");
        compiler.mark("built here").unwrap();
        remove_own_build(&compiler).unwrap();
        assert!(!libraries.exists());
    }

    #[test]
    fn the_link_to_the_sources_does_not_outlive_the_build() {
        let directory = tempfile::tempdir().unwrap();
        let compiler = compiler_in(directory.path());
        let link = SourceLink::make(&compiler, Path::new("/")).unwrap();
        let place = compiler.rustlib().join("src/rust");
        assert!(place.is_symlink());
        drop(link);
        assert!(!place.is_symlink());
    }
}
