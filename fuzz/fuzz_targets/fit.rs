//! A FIT image: its outline is read once and stays small, and what it gives lies in the file.
#![no_main]

use firn::{
    fs::{Error, ErrorKind, File},
    linux::fit::{Image, MAX_OUTLINE, Outline},
};
use libfuzzer_sys::fuzz_target;

/// A file that counts what is read of it.
struct Bytes<'b> {
    bytes: &'b [u8],
    read: usize,
}

impl File for Bytes<'_> {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.bytes.get(start..)?.get(..destination.len()));
        let beyond = || Error { kind: ErrorKind::BeyondEnd, path: "/kernel".into() };
        destination.copy_from_slice(bytes.ok_or_else(beyond)?);
        self.read += destination.len();
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut file = Bytes { bytes: data, read: 0 };
    let outline = Outline::read(&mut file);
    // Each `data` may cost one piece that is looked at for a few words.
    assert!(file.read <= data.len() + data.len() / 24 * 4096 + MAX_OUTLINE);
    let outline = match outline {
        Ok(outline) => outline,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let fit = match outline.fit() {
        Ok(fit) => fit,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let lies_in_file = |image: &Image| {
        assert!(image.data.start < image.data.end && image.data.end <= data.len() as u64);
    };
    for configuration in fit.configurations() {
        let chosen = fit.choose(Some(configuration.name), &[], |_| Vec::new());
        assert!(chosen.is_ok() || configuration.name.contains('#'), "{configuration:?}");
        fit.kernel(configuration).iter().for_each(lies_in_file);
        fit.ramdisk(configuration).iter().flatten().for_each(lies_in_file);
        fit.device_trees(configuration).iter().flatten().for_each(lies_in_file);
    }
    let board = ["fsl,imx8mp-evk", "fsl,imx8mp"];
    match fit.choose(None, &board, |image| {
        lies_in_file(image);
        vec!["fsl,imx8mp".into()]
    }) {
        // A name with a `#` reads as two: such a configuration is only found by its board.
        Ok(choice) => {
            let name = choice.configuration.name;
            let by_name = fit.choose(Some(name), &[], |_| Vec::new());
            assert!(by_name.is_ok() || name.contains('#'), "{name:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
