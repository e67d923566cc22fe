//! An eMMC for the emulated board: files for its partitions.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    gdb::Bus,
    models::usdhc::{self, EmmcKind, Image, Rules},
};

/// PARTITION_CONFIG with boot partition 1 for the boot ROM. Source: JESD84-B51, 7.4.69.
const BOOT_1: u8 = 1 << 3;

/// An eMMC of the newest kind, behind uSDHC3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emmc {
    /// What is in the user area, as large as it is.
    pub user: PathBuf,
    /// What is in boot partitions 1 and 2; without a file they are empty.
    pub boot: [Option<PathBuf>; 2],
    /// PARTITION_CONFIG of the EXT_CSD: bits 5:3 tell which partition the boot ROM starts: 1 and 2
    /// the boot partitions, 7 the user area, 0 none.
    pub partition_config: u8,
    /// What is written goes to the files; otherwise it is forgotten.
    pub writable: bool,
}

impl Emmc {
    /// An eMMC with `image` in its user area and, where they exist, `image.boot0` and `image.boot1`
    /// in its boot partitions, the first of which is for the boot ROM then.
    pub fn at(image: impl Into<PathBuf>) -> Self {
        let user = image.into();
        let boot = [".boot0", ".boot1"].map(|end| beside(&user, end));
        let partition_config = if boot[0].is_some() { BOOT_1 } else { 0 };
        Self { user, boot, partition_config, writable: false }
    }

    /// Puts it on `bus`; what the firmware does wrong is written to `rules`.
    ///
    /// # Errors
    /// Names a file that cannot be opened or has no possible size.
    pub fn attach(&self, bus: Bus, rules: &Rules) -> Result<Bus> {
        let user = self.open(&self.user)?;
        let size = user.metadata().with_context(|| self.user.display().to_string())?.len();
        ensure!(
            size > 0 && size.is_multiple_of(512),
            "{} holds {size} bytes: an eMMC has whole blocks of 512",
            self.user.display()
        );
        let mut card = usdhc::Emmc::new(EmmcKind::EnhancedStrobe, size / 512)
            .with_storage(Image::new(user, self.writable))
            .with_partition_config(self.partition_config);
        for (number, path) in self.boot.iter().enumerate() {
            card = card.with_boot(number, self.boot_partition(path.as_deref())?);
        }
        Ok(usdhc::attach(bus, card, rules))
    }

    fn boot_partition(&self, path: Option<&Path>) -> Result<Image> {
        let Some(path) = path else { return Ok(Image::default()) };
        let file = self.open(path)?;
        let size = file.metadata().with_context(|| path.display().to_string())?.len();
        let room = usdhc::Emmc::BOOT_BLOCKS * 512;
        ensure!(size <= room, "{} is larger than a boot partition of {room} bytes", path.display());
        Ok(Image::new(file, self.writable))
    }

    fn open(&self, path: &Path) -> Result<File> {
        let file = OpenOptions::new().read(true).write(self.writable).open(path);
        file.with_context(|| path.display().to_string())
    }
}

fn beside(image: &Path, end: &str) -> Option<PathBuf> {
    let mut name = OsString::from(image);
    name.push(end);
    Some(PathBuf::from(name)).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_the_image_are_its_boot_partitions() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("emmc.img");
        assert_eq!(Emmc::at(&image).boot, [None, None]);
        assert_eq!(Emmc::at(&image).partition_config, 0);
        let first = folder.path().join("emmc.img.boot0");
        std::fs::write(&first, []).unwrap();
        let emmc = Emmc::at(&image);
        assert_eq!((emmc.boot, emmc.partition_config), ([Some(first), None], 0b1000));
    }

    #[test]
    fn a_file_that_cannot_be_an_emmc_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("emmc.img");
        let refusal = |emmc: &Emmc| {
            format!("{:#}", emmc.attach(Bus::default(), &Rules::default()).err().unwrap())
        };
        assert!(refusal(&Emmc::at(&image)).contains("emmc.img: No such file"));
        std::fs::write(&image, [0; 700]).unwrap();
        assert!(refusal(&Emmc::at(&image)).contains("emmc.img holds 700 bytes"));
        std::fs::write(&image, [0; 1024]).unwrap();
        let large = folder.path().join("emmc.img.boot1");
        File::create(&large).unwrap().set_len((4 << 20) + 1).unwrap();
        assert!(refusal(&Emmc::at(&image)).contains("emmc.img.boot1 is larger"));
    }
}
