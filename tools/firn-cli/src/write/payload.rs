//! What is written: a flash.bin or a whole card.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use firn::{
    board::BOARD,
    error::Code,
    image::inspect::{Image, Place, Source as _, survey},
};

use crate::image::FileSource;

/// Blocks of any card.
const BLOCK: u64 = 512;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A boot image.
    Flash,
    /// An image of a card.
    Card,
}

/// A file to be written, which has been looked at.
#[derive(Debug)]
pub(crate) struct Payload {
    path: PathBuf,
    file: File,
    size: u64,
    /// What it holds for the boot ROM; several copies if it is a card.
    images: Vec<Image>,
    kind: Kind,
    has_dummies: bool,
}

impl Payload {
    /// Opens a file and refuses it if it is damaged.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let source = FileSource::open(path)?;
        let images = survey(&source, BOARD.image);
        let shown = path.display();
        let kind = match images.first().map(|image| image.place) {
            Some(Place::Start) => Kind::Flash,
            Some(Place::FlexSpi) => bail!(
                "{shown} is for a NOR flash behind FlexSPI, which `flashcp` writes on the board"
            ),
            Some(Place::Card | Place::CardSecondary) => Kind::Card,
            None if is_card(&source) => Kind::Card,
            None => {
                bail!("[{}] {shown} is neither a flash.bin nor a card image", Code::NotABootImage)
            }
        };
        let problems = || images.iter().flat_map(|image| &image.problems);
        let is_dummy = |code| code == Code::DummyTrainingFirmware;
        if let Some(problem) = problems().find(|problem| !is_dummy(problem.code)) {
            let what = match problem.code {
                Code::BootImageForeign => "is not for this board",
                _ => "is damaged",
            };
            bail!("{shown} {what}: [{}] {}", problem.code, problem.text);
        }
        let has_dummies = problems().next().is_some();
        let size = source.size();
        if kind == Kind::Flash {
            check_size(path, size, &images)?;
        }
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        Ok(Self { path: path.to_owned(), file, size, images, kind, has_dummies })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// In bytes, in whole blocks.
    pub(crate) fn size(&self) -> u64 {
        self.size.next_multiple_of(BLOCK)
    }

    /// What a user calls it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Whether it is the file at a path without links.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path.canonicalize().is_ok_and(|own| own == path)
    }

    /// Fills `buffer` from `offset` on; behind the file's end there are zeros.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(buffer.len());
        let (content, padding) = buffer.split_at_mut(left.min(buffer.len()));
        self.file
            .read_exact_at(content, offset)
            .with_context(|| format!("cannot read {}", self.name()))?;
        padding.fill(0);
        Ok(())
    }

    /// Refuses dummies of the training firmware.
    pub(crate) fn check_is_real(&self) -> Result<()> {
        ensure!(
            !self.has_dummies,
            "[{}] {} has dummies of the DRAM training firmware, with which no board starts; say \
             --dummy-ddr-firmware to write it all the same",
            Code::DummyTrainingFirmware,
            self.name()
        );
        Ok(())
    }

    /// The boot image; refuses a card image.
    pub(crate) fn flash(&self) -> Result<&Image> {
        match (self.kind, self.images.first()) {
            (Kind::Flash, Some(image)) => Ok(image),
            _ => bail!("{} is a card image; a flash.bin is wanted here", self.name()),
        }
    }
}

/// The state record follows on a card, and a boot partition is no larger.
fn check_size(path: &Path, size: u64, images: &[Image]) -> Result<()> {
    let room = u64::from(BOARD.image.image_max);
    let needed = images.iter().map(|image| image.size).max().unwrap_or(0).max(size);
    ensure!(
        needed <= room,
        "[{}] {} has {needed} bytes, there is room for {room}; a larger one can be started over USB \
         only",
        Code::BootImageTooLarge,
        path.display()
    );
    Ok(())
}

/// Whether a file without boot image has a partition table: the mark that MBR and GPT share.
fn is_card(source: &FileSource) -> bool {
    let mut mark = [0; 2];
    source.size() >= BLOCK && source.read_at(510, &mut mark).is_ok() && mark == [0x55, 0xaa]
}
