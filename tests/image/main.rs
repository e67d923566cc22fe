//! flash.bin: what is built, what is read back, and what is said about broken ones.

mod building;
mod container;
mod fit;
mod hostile;
mod inspecting;
mod peers;
mod rom;
mod training;

use firn::{
    board::BOARD,
    image::{
        build::{self, Input, Piece},
        container::PartKind,
        inspect::{self, Image},
        target::Target,
        training::KINDS,
    },
};

/// The board that images are built for.
fn target() -> &'static Target {
    BOARD.image
}

/// Bytes that differ from file to file and from place to place.
fn content(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// The files that an image is made of.
struct Files {
    spl: Vec<u8>,
    training: [Vec<u8>; 4],
    pieces: Vec<(PartKind, Vec<u8>)>,
}

impl Files {
    /// Small ones of every kind that an image must have, and OP-TEE.
    fn small() -> Self {
        Self {
            spl: content(1, 5000),
            training: [content(2, 3000), content(3, 202), content(4, 2000), content(5, 102)],
            pieces: vec![
                (PartKind::Bl31, content(6, 4001)),
                (PartKind::Tee, content(7, 2048)),
                (PartKind::Loader, content(8, 9000)),
            ],
        }
    }

    /// As large as the real ones are, blobs padded.
    fn full() -> Self {
        let sizes = [0x8000, 0x4000, 0x8000, 0x4000];
        Self {
            spl: content(1, 96 << 10),
            training: std::array::from_fn(|index| content(2, sizes[index])),
            pieces: vec![
                (PartKind::Bl31, content(6, 128 << 10)),
                (PartKind::Loader, content(8, 700_000)),
            ],
        }
    }

    fn training(&self) -> [&[u8]; 4] {
        std::array::from_fn(|index| self.training[index].as_slice())
    }

    fn build(&self) -> Result<Vec<u8>, firn::image::Error> {
        let pieces: Vec<_> =
            self.pieces.iter().map(|(kind, bytes)| Piece { kind: *kind, bytes }).collect();
        let input = Input { spl: &self.spl, training: self.training(), pieces: &pieces };
        build::image(target(), &input)
    }

    fn image(&self) -> Vec<u8> {
        self.build().unwrap()
    }

    /// The file of this kind.
    fn of(&self, kind: PartKind) -> &[u8] {
        if kind == PartKind::Spl {
            return &self.spl;
        }
        if let Some(index) = KINDS.iter().position(|known| *known == kind) {
            return &self.training[index];
        }
        &self.pieces.iter().find(|(known, _)| *known == kind).unwrap().1
    }
}

/// What is found in `bytes`, which hold one image.
fn inspect(bytes: &[u8]) -> Image {
    let mut images = inspect::survey(&bytes, target());
    assert_eq!(images.len(), 1);
    images.remove(0)
}

/// What is said to be wrong with `bytes`, as a user reads it.
fn complaints(bytes: &[u8]) -> Vec<String> {
    inspect(bytes).problems.iter().map(|p| format!("[{}] {}", p.code, p.text)).collect()
}

/// Asserts that exactly this is said to be wrong.
#[track_caller]
fn assert_complaints(bytes: &[u8], wanted: &[&str]) {
    assert_eq!(complaints(bytes), wanted);
}
