//! NXP's training blobs in a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use evk::models::ddr::blobs::Blobs;
use firn::ddr::firmware::{Firmware, Memory, WrongSize};

/// What firmware-imx calls the blobs of i.MX 8M Plus: there are others for older chips.
const REVISION: &str = "202006";
/// Where firmware-imx has them.
const IN_PACKAGE: &str = "firmware/ddr/synopsys";

/// Reads the four LPDDR4 blobs of `directory`, or of a firmware-imx package there.
pub(super) fn read(directory: &Path) -> anyhow::Result<Blobs> {
    let package = directory.join(IN_PACKAGE);
    let directory = if package.is_dir() { package.as_path() } else { directory };
    let read = |part: [&str; 2]| -> anyhow::Result<(PathBuf, Vec<u8>)> {
        let path = find(directory, part)?;
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok((path, bytes))
    };
    let [one_d_imem, one_d_dmem] = [read(["1d", "imem"])?, read(["1d", "dmem"])?];
    let [two_d_imem, two_d_dmem] = [read(["2d", "imem"])?, read(["2d", "dmem"])?];
    for (imem, dmem) in [(&one_d_imem, &one_d_dmem), (&two_d_imem, &two_d_dmem)] {
        if let Err(WrongSize { memory, size }) = firn::ddr::firmware::Image::new(&imem.1, &dmem.1) {
            let path = if memory == Memory::Imem { &imem.0 } else { &dmem.0 };
            bail!(
                "{}: not a training blob: it has {size} bytes, not 4 to {} in words of 4; copy it \
                 from firmware-imx again",
                path.display(),
                memory.capacity()
            );
        }
    }
    Ok(Blobs {
        one_d_imem: one_d_imem.1,
        one_d_dmem: one_d_dmem.1,
        two_d_imem: two_d_imem.1,
        two_d_dmem: two_d_dmem.1,
    })
}

/// `lpddr4….bin` with both parts in its name, whose order differs between firmware-imx and NXP's DDR
/// tool; where there are several, the one for this chip.
fn find(directory: &Path, [kind, memory]: [&str; 2]) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry.with_context(|| directory.display().to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fits = name.starts_with("lpddr4") && name.ends_with(".bin");
        if fits && name.contains(kind) && name.contains(memory) {
            found.push((name, path));
        }
    }
    if let Some(position) = found.iter().position(|(name, _)| name.contains(REVISION)) {
        found.swap(0, position);
        found.truncate(1);
    }
    match found.len() {
        0 => bail!(
            "{}: no lpddr4_pmu_train_{kind}_{memory}_{REVISION}.bin; give the directory with \
             firmware-imx's blobs",
            directory.display()
        ),
        1 => Ok(found.swap_remove(0).1),
        _ => bail!(
            "{}: several blobs for {kind} {memory}: {}; keep the one for i.MX 8M Plus",
            directory.display(),
            found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The engine's view of blobs whose sizes were looked at.
pub(super) fn firmware(blobs: &Blobs) -> anyhow::Result<Firmware<'_>> {
    blobs.firmware().map_err(|WrongSize { memory, size }| {
        anyhow::anyhow!("{memory:?} blob of {size} bytes is no training firmware")
    })
}
