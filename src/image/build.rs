//! Puts an image together.
//!
//! The same input gives the same bytes: nothing of time, place or user goes in.

use alloc::{vec, vec::Vec};

use sha2::{Digest as _, Sha256};

use super::{
    Error, ErrorKind,
    container::{
        BOARD_SIZE, ENTRY_SIZE, HEADER_SIZE, MAGIC, MAX_PARTS, Part, PartKind, Role, VERSION,
        VERSIONED_HEADER_SIZE,
    },
    rom,
    target::Target,
    training,
};
use crate::release;

/// Parts behind the container start at multiples of this: pages of every medium, and the chunks in
/// which the boot ROM hands out a stream.
pub const PART_ALIGNMENT: usize = 1024;
/// Room for the container and, later, a signature over it.
pub const CONTAINER_ROOM: usize = 4096;
/// Parts in on-chip memory start at multiples of this, a cache line.
pub const FIRST_STAGE_ALIGNMENT: usize = 64;
/// Recovery parts go to multiples of this, so that a kernel need not be moved.
const RECOVERY_ALIGNMENT: u64 = 2 << 20;
/// Zeros at the end: a stream is read in whole units, counted from where the boot ROM stopped, and
/// nobody knows what happens to who asks for more than there is.
const STREAM_TAIL: usize = 4096;
/// From where the boot ROM stops to the end are whole units of a stream, so that nothing is left for
/// which the host would wait (NXP's uuu calls that a timeout: mfgtools issue 416).
const STREAM_UNIT: usize = 1024;

/// A part to be loaded by the first stage.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What it is.
    pub kind: PartKind,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The first stage.
    pub spl: &'a [u8],
    /// The training firmware, in the order of [`training::KINDS`].
    pub training: [&'a [u8]; 4],
    /// BL31, OP-TEE if there is one, the second stage; then what a recovery image brings along.
    pub pieces: &'a [Piece<'a>],
}

/// Makes an image for `target`. Sizes and places are checked, contents as far as a wrong file can
/// be told; [`training::check`] is the caller's to call, which knows what it wants to let through.
pub fn image(target: &Target, input: &Input<'_>) -> Result<Vec<u8>, Error> {
    for kind in [PartKind::Bl31, PartKind::Loader] {
        if !input.pieces.iter().any(|piece| piece.kind == kind) {
            return Err(Error::at(0u64, ErrorKind::Missing(kind)));
        }
    }
    let (mut image, loaded) = loaded_part(target, input)?;
    let behind_unit = image.len() % STREAM_UNIT;
    image.resize(target.container_at as usize + CONTAINER_ROOM, 0);

    let mut parts = vec![loaded];
    let mut recovery_at = 0;
    for piece in input.pieces {
        let part = place(target, piece, image.len(), &mut recovery_at)?;
        target.check_placement(&part)?;
        parts.push(part);
        image.extend_from_slice(piece.bytes);
        image.resize(image.len().next_multiple_of(PART_ALIGNMENT), 0);
    }
    image.resize(image.len() + STREAM_TAIL + behind_unit, 0);
    let size = narrow(image.len())?;
    let loader = input.pieces.iter().find(|piece| piece.kind == PartKind::Loader);
    let version = loader.and_then(|loader| release::of(loader.bytes)).unwrap_or_default();
    let role = HeaderOf::Image { version };
    let container = container(target, role, target.container_at, size, &parts)?;
    let start = target.container_at as usize;
    image[start..start + container.len()].copy_from_slice(&container);
    Ok(image)
}

/// What the boot ROM loads when a first stage is followed by the training firmware as U-Boot's and
/// NXP's expect it: from the next multiple of 4 on, each file padded to the size of its memory.
pub fn padded_first_stage(
    target: &Target,
    spl: &[u8],
    training: [&[u8]; 4],
) -> Result<Vec<u8>, Error> {
    check_program(PartKind::Spl, spl)?;
    let mut image = vec![0; rom::HEADER_SIZE as usize];
    image.extend_from_slice(spl);
    image.resize(image.len().next_multiple_of(4), 0);
    for (kind, bytes) in training::KINDS.into_iter().zip(training) {
        image.extend_from_slice(&training::padded(kind, bytes));
    }
    finish_loaded_part(target, &mut image)?;
    Ok(image)
}

/// Puts what a NOR flash behind FlexSPI needs in front of an image: the result lies at the start of
/// the flash.
pub fn for_flexspi(target: &Target, image: &[u8]) -> Vec<u8> {
    use crate::soc::boot_rom::{FLEXSPI_CONFIGURATION_OFFSET, FLEXSPI_OFFSET};
    let mut flash = vec![0; FLEXSPI_OFFSET as usize];
    let at = FLEXSPI_CONFIGURATION_OFFSET as usize;
    let configuration = target.flexspi.configuration();
    flash[at..at + configuration.len()].copy_from_slice(&configuration);
    flash.extend_from_slice(image);
    flash
}

/// Header, first stage, container and training firmware, up to the end of the room for the signature
/// block; and the entry that describes them.
fn loaded_part(target: &Target, input: &Input<'_>) -> Result<(Vec<u8>, Part), Error> {
    check_program(PartKind::Spl, input.spl)?;
    check_size(PartKind::Spl, input.spl.len(), target.spl_max.into())?;
    let spl_at = rom::HEADER_SIZE as usize;
    let container_at = (spl_at + input.spl.len()).next_multiple_of(FIRST_STAGE_ALIGNMENT);
    let entries_end = container_at + container_size(HEADER_SIZE, 1 + training::KINDS.len());

    let mut parts = vec![resident(target, PartKind::Spl, spl_at, input.spl)?];
    parts[0].entry = target.entry.into();
    let mut image = vec![0; entries_end];
    image[spl_at..spl_at + input.spl.len()].copy_from_slice(input.spl);
    for (kind, bytes) in training::KINDS.into_iter().zip(input.training) {
        check_size(kind, bytes.len(), training::memory_size(kind) as u64)?;
        image.resize(image.len().next_multiple_of(FIRST_STAGE_ALIGNMENT), 0);
        let mut part = resident(target, kind, image.len(), bytes)?;
        part.dummy = training::is_dummy(bytes);
        parts.push(part);
        image.extend_from_slice(bytes);
    }
    let size = narrow(image.len())?;
    let container = container(target, HeaderOf::FirstStage, narrow(container_at)?, size, &parts)?;
    image[container_at..container_at + container.len()].copy_from_slice(&container);

    finish_loaded_part(target, &mut image)?;
    let mut loaded = resident(target, PartKind::Loaded, 0, &image[..size as usize])?;
    loaded.entry = target.entry.into();
    loaded.dummy = parts.iter().any(|part| part.dummy);
    Ok((image, loaded))
}

/// Writes the boot ROM's header in front, and makes room for the signature block behind.
fn finish_loaded_part(target: &Target, image: &mut Vec<u8>) -> Result<(), Error> {
    let body = image.len() as u64 - u64::from(rom::HEADER_SIZE);
    let too_large = |size| {
        let room = target.load_max.into();
        Error::at(0u64, ErrorKind::TooLarge { part: Some(PartKind::Loaded), size, room })
    };
    let header = u32::try_from(body).ok().and_then(|body| rom::Header::new(target.entry, body));
    let header = header.ok_or_else(|| too_large(body))?;
    if header.length > target.load_max {
        return Err(too_large(header.length.into()));
    }
    let bytes = header.to_bytes();
    image[..bytes.len()].copy_from_slice(&bytes);
    image.resize(header.length as usize, 0);
    Ok(())
}

/// The entry of a part that the boot ROM brings into memory.
fn resident(target: &Target, kind: PartKind, offset: usize, bytes: &[u8]) -> Result<Part, Error> {
    let load = u64::from(target.load_address()) + offset as u64;
    part(kind, offset, bytes, load, 0)
}

/// The entry of a part that the first stage loads.
fn place(
    target: &Target,
    piece: &Piece<'_>,
    offset: usize,
    recovery_at: &mut u64,
) -> Result<Part, Error> {
    let kind = piece.kind;
    let Some(room) = target.room(kind) else {
        return Err(Error::at(0u64, ErrorKind::Unsuitable(kind, "the board has no place for it")));
    };
    if matches!(kind, PartKind::Bl31 | PartKind::Tee | PartKind::Loader) {
        check_program(kind, piece.bytes)?;
        check_size(kind, piece.bytes.len(), room.size)?;
        return part(kind, offset, piece.bytes, room.start, room.start);
    }
    check_content(kind, piece.bytes)?;
    let load = room.start.max(*recovery_at);
    let left = room.size.saturating_sub(load - room.start);
    check_size(kind, piece.bytes.len(), left)?;
    *recovery_at = (load + piece.bytes.len() as u64).next_multiple_of(RECOVERY_ALIGNMENT);
    part(kind, offset, piece.bytes, load, 0)
}

fn part(kind: PartKind, offset: usize, bytes: &[u8], load: u64, entry: u64) -> Result<Part, Error> {
    Ok(Part {
        kind,
        dummy: false,
        offset: narrow(offset)?,
        size: narrow(bytes.len())?,
        load,
        entry,
        digest: Sha256::digest(bytes).into(),
    })
}

/// Refuses what is certainly not the flat binary that such a part is.
pub fn check_program(kind: PartKind, bytes: &[u8]) -> Result<(), Error> {
    let unsuitable = |why| Err(Error::at(0u64, ErrorKind::Unsuitable(kind, why)));
    check_content(kind, bytes)?;
    if bytes.starts_with(b"\x7fELF") {
        return unsuitable("it is an ELF file; the flat binary (.bin) is wanted");
    }
    // OP-TEE's own header, which nobody on the way to BL31 takes off.
    if bytes.starts_with(b"OPTE") {
        return unsuitable("it has OP-TEE's header; tee-raw.bin is wanted");
    }
    if bytes.starts_with(&rom::TAG.to_le_bytes()) {
        return unsuitable("it is a whole flash.bin");
    }
    Ok(())
}

fn check_content(kind: PartKind, bytes: &[u8]) -> Result<(), Error> {
    match bytes {
        [] => Err(Error::at(0u64, ErrorKind::Unsuitable(kind, "it is empty"))),
        _ => Ok(()),
    }
}

fn check_size(kind: PartKind, size: usize, room: u64) -> Result<(), Error> {
    let size = size as u64;
    if size > room {
        return Err(Error::at(0u64, ErrorKind::TooLarge { part: Some(kind), size, room }));
    }
    Ok(())
}

fn narrow(number: usize) -> Result<u32, Error> {
    let (size, room) = (number as u64, u32::MAX.into());
    u32::try_from(number)
        .map_err(|_| Error::at(0u64, ErrorKind::TooLarge { part: None, size, room }))
}

const fn container_size(header_size: u16, parts: usize) -> usize {
    header_size as usize + parts * ENTRY_SIZE as usize + super::container::DIGEST_SIZE
}

/// Which of the two containers is made, and what only its header tells.
#[derive(Clone, Copy)]
enum HeaderOf<'a> {
    FirstStage,
    /// The version is empty if the second stage does not tell it.
    Image {
        version: &'a str,
    },
}

impl HeaderOf<'_> {
    fn role(self) -> Role {
        match self {
            Self::FirstStage => Role::FirstStage,
            Self::Image { .. } => Role::Image,
        }
    }

    fn size(self) -> u16 {
        match self {
            // The first stage has no room to spare, and nobody asks it for a version.
            Self::FirstStage => HEADER_SIZE,
            Self::Image { .. } => VERSIONED_HEADER_SIZE,
        }
    }

    /// What follows the fields that both have.
    fn rest(self) -> Vec<u8> {
        let version = match self {
            Self::FirstStage => "",
            Self::Image { version } => version,
        };
        let mut rest = version.as_bytes().to_vec();
        rest.resize(usize::from(self.size() - HEADER_SIZE), 0);
        rest
    }
}

/// A container's bytes.
fn container(
    target: &Target,
    header: HeaderOf<'_>,
    place: u32,
    image_size: u32,
    parts: &[Part],
) -> Result<Vec<u8>, Error> {
    let count = u16::try_from(parts.len()).ok().filter(|&count| usize::from(count) <= MAX_PARTS);
    let count = count.ok_or(Error::at(
        place,
        ErrorKind::Container { field: "number of parts", found: parts.len() as u64 },
    ))?;
    let mut board = [0; BOARD_SIZE];
    for (byte, letter) in board.iter_mut().zip(target.board.bytes()) {
        *byte = letter;
    }
    let mut bytes = Vec::with_capacity(container_size(header.size(), parts.len()));
    bytes.extend_from_slice(&MAGIC);
    for field in [VERSION, header.role() as u16, header.size(), ENTRY_SIZE, count, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for field in [place, image_size, 0, 0, 0, 0, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&board);
    bytes.extend_from_slice(&header.rest());
    for part in parts {
        bytes.extend_from_slice(&part.to_bytes());
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}
