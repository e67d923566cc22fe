//! What `firn image build` reads and writes.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use firn::error::Coded;

/// Reads a file that should be of moderate size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    const MAX: u64 = 1 << 30;
    let size = fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    ensure!(size <= MAX, "{} has {size} bytes: not a file for a boot image", path.display());
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file in one step: nobody sees half of it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An error of the library with its code, and the file that it is about.
pub(super) fn coded(file: &Path, error: &impl Coded) -> anyhow::Error {
    anyhow::anyhow!("{}: [{}] {error}", file.display(), error.code())
}
