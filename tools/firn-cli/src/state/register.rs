//! The SoC's registers that count boots where no card can be written to, as Linux shows them.
//!
//! Source: Linux `drivers/nvmem/snvs_lpgpr.c`: four words at `/sys/bus/nvmem/devices/*snvs-lpgpr*/nvmem`.

use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use firn::{
    block::{BlockDevice, Error, SharedDevice},
    boot::Store,
    state::counter::{Counter, Words},
};

const DEVICES: &str = "sys/bus/nvmem/devices";
const NAME: &str = "snvs-lpgpr";

/// The registers' file, if this Linux has their driver.
pub(super) fn find(root: &Path) -> Option<PathBuf> {
    let devices = fs::read_dir(root.join(DEVICES)).ok()?.flatten();
    let mut devices = devices.filter(|device| device.file_name().to_string_lossy().contains(NAME));
    Some(devices.next()?.path().join("nvmem")).filter(|file| file.exists())
}

/// The record that they hold.
pub(super) fn store(path: &Path) -> Store {
    let device: SharedDevice = Rc::new(RefCell::new(NoCard));
    Store::open(&device, Some(Box::new(Registers { path: path.to_owned() })))
}

struct Registers {
    path: PathBuf,
}

impl Counter for Registers {
    fn read(&mut self) -> Option<Words> {
        let mut bytes = [0; 16];
        File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, 0)).ok()?;
        let mut words = Words::default();
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(words)
    }

    fn write(&mut self, words: Words) {
        let bytes = words.map(u32::to_le_bytes);
        // Whether it worked, reading shows.
        let _ = File::options()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.write_all_at(bytes.as_flattened(), 0));
    }
}

/// The loader found no place on its card: here it is one without a partition table.
struct NoCard;

impl BlockDevice for NoCard {
    fn name(&self) -> &str {
        "the card"
    }

    fn block_count(&self) -> u64 {
        64
    }

    fn read(&mut self, _: u64, destination: &mut [u8]) -> Result<(), Error> {
        destination.fill(0);
        Ok(())
    }
}
