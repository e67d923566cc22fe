//! What the emulated EVK needs from outside of the tree: QEMU, a kernel, BL31, busybox, file-system
//! tools. `cargo xtask setup` puts them into a cache and notes their places in its manifest;
//! everybody else finds them here.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What a user is told when something is missing.
pub const ADVICE: &str = "run `cargo xtask setup`";

/// Directories in which distributions keep what only root has in `PATH`.
const SYSTEM_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Places of everything that set-up provides; each exists when it was located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// `qemu-system-aarch64` with the machine `imx8mp-evk`; needs no further environment or `-L`.
    pub qemu: PathBuf,
    /// An arm64 Linux `Image`, uncompressed.
    pub kernel: PathBuf,
    /// The kernel's release as `uname -r` prints it.
    pub kernel_version: String,
    /// The kernel's device trees: the directory that holds `freescale/imx8mp-evk.dtb`.
    pub dtbs: PathBuf,
    /// The kernel's modules: the directory that holds `modules.dep` or `kernel/`.
    pub modules: PathBuf,
    /// TF-A's BL31 for the i.MX 8M Plus, a flat binary for 0x970000.
    pub bl31: PathBuf,
    /// A static arm64 busybox.
    pub busybox: PathBuf,
}

impl Assets {
    /// Finds everything in the cache of this user.
    ///
    /// # Errors
    /// Names what is missing and the command that provides it.
    pub fn locate() -> Result<Self> {
        Self::with_kernel(Series::LongTerm)
    }

    /// Finds everything in the cache of this user, with the kernel of `series`.
    ///
    /// # Errors
    /// Names what is missing and the command that provides it.
    pub fn with_kernel(series: Series) -> Result<Self> {
        Self::from_manifest(&Manifest::load(&cache_dir()?)?, series)
    }

    /// Finds everything at the places that `manifest` notes.
    ///
    /// # Errors
    /// Names the first thing that is not noted, or that is no longer where it was.
    pub fn from_manifest(manifest: &Manifest, series: Series) -> Result<Self> {
        Ok(Self {
            qemu: manifest.existing(Key::Qemu)?,
            kernel: manifest.existing(Key::Kernel(series))?,
            kernel_version: manifest.text(Key::KernelVersion(series))?.to_owned(),
            dtbs: manifest.existing(Key::Dtbs(series))?,
            modules: manifest.existing(Key::Modules(series))?,
            bl31: manifest.existing(Key::Bl31)?,
            busybox: manifest.existing(Key::Busybox)?,
        })
    }

    /// A command that runs the file-system or device-tree tool `name` (`mke2fs`, `mkfs.vfat`,
    /// `mcopy`, `sfdisk`, `dtc`, …). A missing tool is told when the command is started.
    #[must_use]
    pub fn tool(&self, name: &str) -> Command {
        Command::new(find_tool(name).unwrap_or_else(|| PathBuf::from(name)))
    }
}

/// The emulator alone, which a card that brings everything else with it needs: that of set-up, else one in
/// `PATH`, whose version nobody has looked at.
///
/// # Errors
/// There is none.
pub fn emulator() -> Result<PathBuf> {
    const QEMU: &str = "qemu-system-aarch64";
    let noted = cache_dir().and_then(|cache| Manifest::load(&cache)?.existing(Key::Qemu));
    noted.or_else(|_| {
        find_tool(QEMU).with_context(|| format!("there is no {QEMU} (10.0 or later): {ADVICE}"))
    })
}

/// The series of Debian's kernels that are booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// 6.1.
    Old,
    /// 6.12, with which all is tested that does not ask for another.
    LongTerm,
    /// The newest that Debian has for its stable release.
    Newest,
}

impl Series {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Old, Self::LongTerm, Self::Newest];

    /// What the manifest's names for it end in.
    fn suffix(self) -> &'static str {
        match self {
            Self::Old => "-old",
            Self::LongTerm => "",
            Self::Newest => "-newest",
        }
    }
}

/// One thing that the manifest notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// See [`Assets::qemu`].
    Qemu,
    /// See [`Assets::kernel`].
    Kernel(Series),
    /// See [`Assets::kernel_version`].
    KernelVersion(Series),
    /// See [`Assets::dtbs`].
    Dtbs(Series),
    /// See [`Assets::modules`].
    Modules(Series),
    /// See [`Assets::bl31`].
    Bl31,
    /// See [`Assets::busybox`].
    Busybox,
}

impl Key {
    /// The places of a kernel.
    #[must_use]
    pub fn of_kernel(series: Series) -> [Self; 4] {
        [
            Self::Kernel(series),
            Self::KernelVersion(series),
            Self::Dtbs(series),
            Self::Modules(series),
        ]
    }

    fn all() -> impl Iterator<Item = Self> {
        let kernels = Series::ALL.into_iter().flat_map(Self::of_kernel);
        [Self::Qemu, Self::Bl31, Self::Busybox].into_iter().chain(kernels)
    }

    /// The name that stands in the manifest.
    #[must_use]
    pub fn name(self) -> String {
        let (name, series) = match self {
            Self::Qemu => ("qemu", None),
            Self::Kernel(series) => ("kernel", Some(series)),
            Self::KernelVersion(series) => ("kernel-version", Some(series)),
            Self::Dtbs(series) => ("dtbs", Some(series)),
            Self::Modules(series) => ("modules", Some(series)),
            Self::Bl31 => ("bl31", None),
            Self::Busybox => ("busybox", None),
        };
        format!("{name}{}", series.map_or("", Series::suffix))
    }
}

/// The cache's table of contents: a text file of `name = value` lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Manifest(BTreeMap<Key, String>);

impl Manifest {
    /// The file's name inside of the cache.
    pub const FILE: &str = "manifest";

    /// Reads the manifest of `cache`; a cache without one is an empty cache.
    ///
    /// # Errors
    /// Tells when the file is there and can't be read.
    pub fn load(cache: &Path) -> Result<Self> {
        let file = cache.join(Self::FILE);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Lines that this version does not know are skipped: set-up then provides what is missing.
    fn parse(text: &str) -> Self {
        let known = |name: &str| Key::all().find(|key| key.name() == name);
        Self(
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .filter_map(|(name, value)| Some((known(name)?, value.to_owned())))
                .collect(),
        )
    }

    /// Writes the manifest of `cache` in one step: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// Names the file that can't be written.
    pub fn save(&self, cache: &Path) -> Result<()> {
        let file = cache.join(Self::FILE);
        let partial = cache.join("manifest.partial");
        let text: String =
            self.0.iter().map(|(key, value)| format!("{} = {value}\n", key.name())).collect();
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Notes a place or a text.
    pub fn set(&mut self, key: Key, value: impl Into<String>) {
        self.0.insert(key, value.into());
    }

    /// Notes a place.
    ///
    /// # Errors
    /// A path that is not UTF-8, or that has a line break in it, can't be noted.
    pub fn set_path(&mut self, key: Key, path: &Path) -> Result<()> {
        let text = path.to_str().filter(|text| !text.contains('\n'));
        let text = text.with_context(|| format!("{path:?} is no path of plain text"))?;
        self.set(key, text);
        Ok(())
    }

    /// The noted text.
    ///
    /// # Errors
    /// It is not noted.
    pub fn text(&self, key: Key) -> Result<&str> {
        let text = self.0.get(&key).map(String::as_str);
        text.with_context(|| format!("{} is not set up: {ADVICE}", key.name()))
    }

    /// The noted place, which exists.
    ///
    /// # Errors
    /// It is not noted, or it is gone.
    pub fn existing(&self, key: Key) -> Result<PathBuf> {
        let path = PathBuf::from(self.text(key)?);
        if !path.exists() {
            bail!("{} is gone from {}: {ADVICE}", key.name(), path.display());
        }
        Ok(path)
    }
}

/// The root of the tree that this program was built from.
#[must_use]
pub fn tree() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Where `cargo xtask build` puts the firmware: `firn.bin` and `firn.elf`.
#[must_use]
pub fn firmware_dir() -> PathBuf {
    tree().join("target/firn/imx8mp-evk")
}

/// A file of the firmware, for example `firn.bin`.
///
/// # Errors
/// It has not been built.
pub fn firmware(name: &str) -> Result<PathBuf> {
    let file = firmware_dir().join(name);
    if !file.exists() {
        bail!("{} is not there: run `cargo xtask build`", file.display());
    }
    Ok(file)
}

/// Where `cargo xtask build` puts the running target's `firn`, a static arm64 Linux program.
#[must_use]
pub fn target_command_file() -> PathBuf {
    tree().join("target/firn/firn-aarch64-linux")
}

/// The running target's `firn`.
///
/// # Errors
/// It has not been built.
pub fn target_command() -> Result<PathBuf> {
    let file = target_command_file();
    if !file.exists() {
        bail!("{} is not there: run `cargo xtask build`", file.display());
    }
    Ok(file)
}

/// Where downloads and what is made of them are kept: `$FIRN_CACHE`, else `$XDG_CACHE_HOME/firn`,
/// else `~/.cache/firn`. The directory may not exist yet.
///
/// # Errors
/// None of the three variables is set.
pub fn cache_dir() -> Result<PathBuf> {
    cache_dir_from(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
        .context("no place for the cache: set FIRN_CACHE or HOME")
}

fn cache_dir_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let here = |path: PathBuf| {
        if path.is_absolute() { path } else { env::current_dir().unwrap_or_default().join(path) }
    };
    variable("FIRN_CACHE")
        .map(here)
        // The XDG base directory specification has relative paths ignored.
        .or_else(|| Some(variable("XDG_CACHE_HOME").filter(absolute)?.join("firn")))
        .or_else(|| Some(variable("HOME")?.join(".cache/firn")))
}

/// Finds a program in `PATH` or in the system directories that only root has in `PATH`.
#[must_use]
pub fn find_tool(name: &str) -> Option<PathBuf> {
    find_tool_in(name, env::split_paths(&env::var_os("PATH").unwrap_or_default()))
}

fn find_tool_in(name: &str, path: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    path.into_iter()
        .chain(SYSTEM_DIRS.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<PathBuf> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
    }

    #[test]
    fn the_cache_is_where_the_user_said_then_xdg_then_home() {
        let home = ("HOME", "/home/u");
        let xdg = ("XDG_CACHE_HOME", "/var/xdg");
        let own = ("FIRN_CACHE", "/big/disk");
        let place = |set: &[_]| cache_dir_from(variables(set));
        assert_eq!(place(&[home, xdg, own]), Some("/big/disk".into()));
        assert_eq!(place(&[home, xdg]), Some("/var/xdg/firn".into()));
        assert_eq!(place(&[home]), Some("/home/u/.cache/firn".into()));
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn the_firmware_is_looked_for_in_the_tree() {
        assert!(tree().join("tools/evk/src/assets.rs").is_file());
        assert_eq!(firmware_dir(), tree().join("target/firn/imx8mp-evk"));
        let error = firmware("no-such.bin").unwrap_err().to_string();
        assert!(error.contains("no-such.bin") && error.contains("cargo xtask build"), "{error}");
    }

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let set = [("HOME", "/home/u"), ("XDG_CACHE_HOME", "cache")];
        assert_eq!(cache_dir_from(variables(&set)), Some("/home/u/.cache/firn".into()));
    }

    #[test]
    fn a_relative_own_directory_counts_from_the_current_one() {
        let place = cache_dir_from(variables(&[("FIRN_CACHE", "cache")])).unwrap();
        assert_eq!(place, env::current_dir().unwrap().join("cache"));
    }

    #[test]
    fn what_set_up_notes_is_what_is_located() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut manifest = Manifest::default();
        for key in Key::all() {
            manifest.set_path(key, here).unwrap();
        }
        manifest.set(Key::KernelVersion(Series::LongTerm), "6.12.1-arm64");
        manifest.set(Key::KernelVersion(Series::Old), "6.1.1-arm64");
        let directory = tempfile::tempdir().unwrap();
        manifest.save(directory.path()).unwrap();
        let manifest = Manifest::load(directory.path()).unwrap();
        let assets = Assets::from_manifest(&manifest, Series::LongTerm).unwrap();
        assert_eq!(assets.kernel_version, "6.12.1-arm64");
        let assets = Assets::from_manifest(&manifest, Series::Old).unwrap();
        assert_eq!(assets.kernel_version, "6.1.1-arm64");
        assert_eq!(assets.qemu, here);
    }

    #[test]
    fn an_empty_cache_names_the_command_that_fills_it() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = Manifest::load(directory.path()).unwrap();
        let error = Assets::from_manifest(&manifest, Series::LongTerm).unwrap_err().to_string();
        assert!(error.contains("not set up") && error.contains("cargo xtask setup"), "{error}");
    }

    #[test]
    fn a_file_that_is_gone_is_named_with_its_place() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut manifest = Manifest::default();
        for key in Key::all() {
            manifest.set_path(key, here).unwrap();
        }
        manifest.set_path(Key::Dtbs(Series::LongTerm), Path::new("/nonexistent/dtbs")).unwrap();
        let error = Assets::from_manifest(&manifest, Series::LongTerm).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/dtbs") && error.contains("cargo xtask setup"));
    }

    #[test]
    fn lines_of_another_version_are_skipped() {
        let manifest = Manifest::parse("flux = 1\nqemu = /bin/qemu\ngarbage\n");
        assert_eq!(manifest.text(Key::Qemu).unwrap(), "/bin/qemu");
    }

    #[test]
    fn tools_outside_of_the_users_path_are_found_in_system_directories() {
        // Every Linux machine has one of these there.
        let found =
            ["fsck", "init", "ldconfig", "useradd", "ip"].map(|name| find_tool_in(name, []));
        assert!(found.iter().any(Option::is_some));
        assert_eq!(find_tool_in("no-such-tool-here", []), None);
    }
}
