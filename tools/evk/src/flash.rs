//! A flash.bin for the emulated board: its first stage gets dummies of NXP's training firmware.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use firn::{
    board::BOARD,
    error::Coded as _,
    image::{
        build::{self, Input, Piece},
        container::PartKind,
        training,
    },
};

use crate::assets::{self, Assets};

/// What a flash.bin is made of.
#[derive(Clone, Debug)]
pub struct Flash {
    spl: Vec<u8>,
    training: [Vec<u8>; 4],
    parts: Vec<(PartKind, Vec<u8>)>,
}

impl Flash {
    /// The first and second stage that `cargo xtask build` made, and the BL31 that set-up brought.
    ///
    /// # Errors
    /// Names the file that is not there.
    pub fn of_this_tree(assets: &Assets) -> Result<Self> {
        let release = BOARD.image.training_release;
        Ok(Self {
            spl: read(&assets::firmware("firn-spl.bin")?)?,
            training: training::KINDS.map(|kind| training::dummy(kind, release)),
            parts: vec![
                (PartKind::Bl31, read(&assets.bl31)?),
                (PartKind::Loader, read(&assets::firmware("firn.bin")?)?),
            ],
        })
    }

    /// With another first stage.
    #[must_use]
    pub fn spl(mut self, code: Vec<u8>) -> Self {
        self.spl = code;
        self
    }

    /// With these training files, in the order of [`training::KINDS`].
    #[must_use]
    pub fn training(mut self, files: [Vec<u8>; 4]) -> Self {
        self.training = files;
        self
    }

    /// With a part, instead of the one of its kind if there is one.
    #[must_use]
    pub fn part(mut self, kind: PartKind, bytes: Vec<u8>) -> Self {
        match self.parts.iter_mut().find(|(there, _)| *there == kind) {
            Some(part) => part.1 = bytes,
            None => self.parts.push((kind, bytes)),
        }
        self
    }

    /// Puts it together, as `firn image build` does.
    ///
    /// # Errors
    /// What does not fit.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let pieces: Vec<_> =
            self.parts.iter().map(|(kind, bytes)| Piece { kind: *kind, bytes }).collect();
        let training = self.training.each_ref().map(Vec::as_slice);
        let input = Input { spl: &self.spl, training, pieces: &pieces };
        build::image(BOARD.image, &input).map_err(|error| anyhow!("[{}] {error}", error.code()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}
