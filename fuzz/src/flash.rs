//! A small flash.bin, and damage to the fields that its readers believe: digests of containers are
//! made right again, so that what they cover is looked at.

use firn::{
    board::BOARD,
    image::{
        build::{self, Piece},
        container::{self, PartKind},
        target::Target,
    },
};
use sha2::{Digest as _, Sha256};

use crate::input::Input;

/// Damage in more places finds nothing new.
const MOST_PATCHES: usize = 16;

/// Offset and bytes of a container's fields; then those of an entry: kind, flags, offset, size, load
/// address, entry point, digest.
const HEADER: &[(usize, usize)] = &[
    (0, 4),
    (8, 2),
    (10, 2),
    (12, 2),
    (14, 2),
    (16, 2),
    (20, 4),
    (24, 4),
    (28, 4),
    (32, 4),
    (48, 4),
    (60, 4),
    (80, 4),
];
const ENTRY: &[(usize, usize)] =
    &[(0, 2), (2, 2), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 4), (32, 4)];

/// The board that it is for.
pub fn target() -> &'static Target {
    BOARD.image
}

/// An image of small parts of every kind that an image must have, OP-TEE, and a kernel.
pub fn image() -> Vec<u8> {
    let content = |seed: u8, size: usize| -> Vec<u8> {
        (0..size).map(|at| (at as u8).wrapping_mul(5) ^ (at >> 8) as u8 ^ seed).collect()
    };
    let (spl, training) = (content(1, 5000), [3000, 204, 2000, 104].map(|size| content(2, size)));
    let training: [&[u8]; 4] = std::array::from_fn(|index| training[index].as_slice());
    let sizes = [
        (PartKind::Bl31, 4001),
        (PartKind::Tee, 2048),
        (PartKind::Loader, 9000),
        (PartKind::Kernel, 3000),
        (PartKind::CommandLine, 14),
    ];
    let files = sizes.map(|(kind, size)| (kind, content(size as u8, size)));
    let pieces = files.each_ref().map(|(kind, bytes)| Piece { kind: *kind, bytes });
    let input = build::Input { spl: &spl, training, pieces: &pieces };
    build::image(target(), &input).expect("an image of good parts")
}

/// Where the containers of an image are.
pub fn containers(image: &[u8]) -> Vec<usize> {
    let places = (0..image.len()).step_by(64);
    places.filter(|&at| image[at..].starts_with(&container::MAGIC)).collect()
}

/// Changes fields of containers that are at `places`, and words of the `front`, as the input says.
pub fn damage(image: &mut [u8], places: &[usize], front: usize, input: &mut Input<'_>) {
    for _ in 0..MOST_PATCHES {
        if input.is_empty() {
            break;
        }
        let (which, field) = (usize::from(input.byte()), usize::from(input.byte()));
        let (operation, operand) = (input.byte(), input.u32());
        let at = match which % 20 {
            0 if front >= 4 => Some((field * 4 % front / 4 * 4, 4)),
            entry => places.get(which / 20 % places.len().max(1)).map(|place| match entry {
                0 | 1 => (place + HEADER[field % HEADER.len()].0, HEADER[field % HEADER.len()].1),
                entry => {
                    let (offset, size) = ENTRY[field % ENTRY.len()];
                    let header = image.get(place + 12).copied().map_or(0, usize::from);
                    (place + header + (entry - 2) % 16 * 64 + offset, size)
                }
            }),
        };
        let Some(bytes) = at.and_then(|(at, size)| image.get_mut(at..at + size)) else { continue };
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        let number = u32::from_le_bytes(word);
        let number = match operation % 5 {
            0 => operand,
            1 => number.wrapping_add(operand % 4096),
            2 => number.wrapping_sub(operand % 4096),
            3 => number ^ 1 << (operand % 32),
            _ => u32::MAX << (operand % 32),
        };
        bytes.copy_from_slice(&number.to_le_bytes()[..bytes.len()]);
    }
}

/// Makes the digest of the container at `at` right again, of as many entries as it says it has.
pub fn repair(image: &mut [u8], at: usize) {
    let Some(container) = image.get_mut(at..) else { return };
    let number = |at: usize| usize::from(Input(&container[at.min(container.len())..]).u16());
    let end = number(12) + number(14) * number(16);
    if let Some((covered, rest)) = container.split_at_mut_checked(end)
        && let Some(digest) = rest.get_mut(..container::DIGEST_SIZE)
    {
        digest.copy_from_slice(&Sha256::digest(covered));
    }
}
