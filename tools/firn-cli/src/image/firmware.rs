//! The four files of DRAM training firmware in a user's directory.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use firn::image::training::{self, Leniency};

use super::files::{coded, read};

/// Where the files are in an unpacked firmware-imx.
const IN_FIRMWARE_IMX: &str = "firmware/ddr/synopsys";

/// Reads and checks the four files, in the order of [`training::KINDS`].
pub(super) fn load(directory: &Path, release: &str, lenient: Leniency) -> Result<[Vec<u8>; 4]> {
    ensure!(
        directory.is_dir(),
        "[E910] there is no directory {} with the training firmware",
        directory.display()
    );
    let mut files = Vec::new();
    let mut complaints = Vec::new();
    for kind in training::KINDS {
        let checked = find(directory, training::file_stem(kind), release).and_then(|path| {
            let bytes = read(&path)?;
            match training::check(kind, &bytes, release, lenient) {
                Ok(()) => Ok(bytes),
                Err(error) => Err(coded(&path, &error)),
            }
        });
        match checked {
            Ok(bytes) => files.push(bytes),
            Err(error) => complaints.push(format!("{error:#}")),
        }
    }
    // All at once: whoever has one file of the wrong release has four of them.
    <[Vec<u8>; 4]>::try_from(files).map_err(|_| {
        anyhow!("{}", complaints.join("\n       "))
            .context(format!("the training firmware in {} cannot be used", directory.display()))
    })
}

/// The file of this name, with or without the release.
fn find(directory: &Path, stem: &str, release: &str) -> Result<PathBuf> {
    let names = [format!("{stem}{release}.bin"), format!("{stem}.bin")];
    let places = [directory.to_owned(), directory.join(IN_FIRMWARE_IMX)];
    let candidates = places.iter().flat_map(|place| names.iter().map(|name| place.join(name)));
    let [name, plain] = &names;
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("[E910] neither {name} nor {plain} is there, nor below {IN_FIRMWARE_IMX}")
    })
}
