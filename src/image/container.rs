//! Containers: which parts an image has, where they lie, where they go, and their digests.
//!
//! The same format serves twice. One container lies in on-chip memory right behind the first stage
//! and tells it where the training firmware is; the other lies at a fixed place of the image and
//! lists what is loaded once there is DRAM. Offsets count from the start of the image, whichever
//! medium it lies on. Format and the rules for later versions: docs/flash-image.md.
//!
//! Nothing here allocates. [`Container::parse`] checks all that can be checked from the header
//! alone; a part's bytes go through its [`Verifier`] as they stream in.

use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{Digest, Error, ErrorKind, le16, le32, le64};
use crate::release;

/// What a container begins with.
pub const MAGIC: [u8; 8] = *b"FIRNBOOT";
/// The version of the format that is read and written.
pub const VERSION: u16 = 1;
/// No container is larger, in bytes: what a reader has to buffer.
pub const MAX_SIZE: usize = 2048;
/// What one may list.
pub const MAX_PARTS: usize = 16;
/// Bytes of a board's name.
pub const BOARD_SIZE: usize = 32;
/// Bytes that each header has; a later compatible one may be larger.
pub const HEADER_SIZE: u16 = 80;
/// Bytes of a header that also tells the version of the firmware.
pub const VERSIONED_HEADER_SIZE: u16 = HEADER_SIZE + release::SIZE;
/// Bytes of an entry of this version; likewise.
pub const ENTRY_SIZE: u16 = 64;
/// Bytes of the digest that ends a container.
pub const DIGEST_SIZE: usize = 32;

/// Header sizes and entry sizes are multiples of this.
const GRAIN: u16 = 8;
const BOARD_AT: usize = 48;
/// A part that whoever loads the image must understand.
const FLAG_ESSENTIAL: u16 = 1;
/// Stands in for the part that it is called after, and does not do its work.
const FLAG_DUMMY: u16 = 2;

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Behind the first stage in on-chip memory: what came there with it.
    FirstStage = 1,
    /// On the medium: what the first stage loads.
    Image = 2,
}

macro_rules! part_kinds {
    ($($number:literal $name:ident $text:literal $id:literal;)*) => {
        /// What a part is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each variant's text is its own")]
        pub enum PartKind { $(#[doc = $text] $name = $number,)* }

        impl PartKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The one with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The number that stands in a container.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// What a program calls it.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
        }

        impl fmt::Display for PartKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

part_kinds! {
    0x01 Loaded "what the boot ROM loads" "boot-rom-part";
    0x02 Spl "the first stage" "spl";
    0x10 Training1dImem "the 1D training firmware (IMEM)" "ddr-1d-imem";
    0x11 Training1dDmem "the 1D training firmware (DMEM)" "ddr-1d-dmem";
    0x12 Training2dImem "the 2D training firmware (IMEM)" "ddr-2d-imem";
    0x13 Training2dDmem "the 2D training firmware (DMEM)" "ddr-2d-dmem";
    0x20 Bl31 "BL31" "bl31";
    0x21 Tee "OP-TEE" "tee";
    0x22 Loader "the second stage" "loader";
    0x30 Kernel "the kernel" "kernel";
    0x31 Initrd "the initrd" "initrd";
    0x32 DeviceTree "the device tree" "device-tree";
    0x33 CommandLine "the command line" "command-line";
}

/// One part, all of it in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Whether it only stands in for the real one.
    pub dummy: bool,
    /// Where it lies, in bytes from the start of the image.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// The address that it is loaded to.
    pub load: u64,
    /// The address that it is entered at; 0 for data.
    pub entry: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Part {
    /// Where it ends in the image.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.size)
    }

    /// Checks bytes that are all there.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut verifier = self.verifier();
        verifier.update(bytes);
        verifier.finish()
    }

    /// Checks bytes as they come in.
    pub fn verifier(&self) -> Verifier {
        Verifier { part: *self, rest: self.size as usize, hasher: Sha256::new() }
    }

    /// Writes its entry.
    pub(super) fn to_bytes(self) -> [u8; ENTRY_SIZE as usize] {
        let mut bytes = [0; ENTRY_SIZE as usize];
        let flags = FLAG_ESSENTIAL | if self.dummy { FLAG_DUMMY } else { 0 };
        bytes[0..2].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.load.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.entry.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.digest);
        bytes
    }
}

/// Takes a part's bytes in order and tells in the end whether they are the right ones.
#[derive(Clone)]
pub struct Verifier {
    part: Part,
    rest: usize,
    hasher: Sha256,
}

impl Verifier {
    /// The next bytes. What comes after the part's end is ignored: media are read in whole pages.
    pub fn update(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.rest);
        self.hasher.update(&bytes[..taken]);
        self.rest -= taken;
    }

    /// Whether all bytes came and have the part's digest.
    pub fn finish(self) -> Result<(), Error> {
        let Self { part, rest, hasher } = self;
        if rest != 0 {
            let needed = part.end();
            let kind = ErrorKind::Truncated { needed, found: needed - rest as u64 };
            return Err(Error::at(part.offset, kind));
        }
        if hasher.finalize()[..] != part.digest {
            return Err(Error::at(part.offset, ErrorKind::Digest(part.kind)));
        }
        Ok(())
    }
}

/// A container whose header is whole and makes sense.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    bytes: &'a [u8],
    layout: Layout,
    /// What it is for.
    pub role: Role,
    /// Size of the image in bytes; in a container behind the first stage, the end of what the ROM
    /// loads, without the signature block.
    pub image_size: u32,
    /// Where a signature over the container lies in the image, and its size in bytes; 0 and 0
    /// without one.
    pub signature: (u32, u32),
}

/// The sizes that a header tells.
#[derive(Clone, Copy, Debug)]
struct Layout {
    place: u32,
    header_size: usize,
    entry_size: usize,
    entry_count: usize,
}

impl Layout {
    fn read(bytes: &[u8], place: u32) -> Result<Self, Error> {
        let truncated =
            |needed| Error::at(place, ErrorKind::Truncated { needed, found: bytes.len() as u64 });
        let magic: [u8; 8] = *bytes.first_chunk().ok_or_else(|| truncated(HEADER_SIZE.into()))?;
        if magic != MAGIC {
            return Err(Error::at(place, ErrorKind::NoContainer(magic)));
        }
        let field = |at| le16(bytes, at).ok_or_else(|| truncated(HEADER_SIZE.into()));
        let version = field(8)?;
        if version != VERSION {
            return Err(Error::at(place, ErrorKind::Version(version)));
        }
        let size = |at, name, least| {
            let found = field(at)?;
            let usable = found.is_multiple_of(GRAIN) && found >= least;
            let kind = ErrorKind::Container { field: name, found: found.into() };
            if usable { Ok(usize::from(found)) } else { Err(Error::at(place, kind)) }
        };
        let header_size = size(12, "header size", HEADER_SIZE)?;
        let entry_size = size(14, "entry size", ENTRY_SIZE)?;
        let entry_count = usize::from(field(16)?);
        let layout = Self { place, header_size, entry_size, entry_count };
        if entry_count > MAX_PARTS || layout.size() > MAX_SIZE {
            let kind = ErrorKind::Container { field: "number of parts", found: entry_count as u64 };
            return Err(Error::at(place, kind));
        }
        if bytes.len() < layout.size() {
            return Err(truncated(layout.size() as u64));
        }
        Ok(layout)
    }

    fn digest_at(&self) -> usize {
        self.header_size + self.entry_count * self.entry_size
    }

    fn size(&self) -> usize {
        self.digest_at() + DIGEST_SIZE
    }
}

impl<'a> Container<'a> {
    /// Reads the container at the start of `bytes`, which lie at `place` of the image. Of what it
    /// says, everything but the parts' own bytes is checked.
    pub fn parse(bytes: &'a [u8], place: u32) -> Result<Self, Error> {
        let layout = Layout::read(bytes, place)?;
        let (covered, digest) = bytes[..layout.size()].split_at(layout.digest_at());
        if Sha256::digest(covered)[..] != *digest {
            return Err(Error::at(place, ErrorKind::Checksum));
        }
        let word = |at| le32(covered, at).unwrap_or(0);
        let names = word(20);
        if names != place {
            return Err(Error::at(place, ErrorKind::Misplaced(names)));
        }
        let role = match le16(covered, 10).unwrap_or(0) {
            1 => Role::FirstStage,
            2 => Role::Image,
            other => return Err(Error::at(place, ErrorKind::Role(other))),
        };
        let container = Self {
            bytes: covered,
            layout,
            role,
            image_size: word(24),
            signature: (word(28), word(32)),
        };
        container.check_board()?;
        container.check_parts()?;
        Ok(container)
    }

    /// The board that the image is for.
    pub fn board(&self) -> &'a str {
        core::str::from_utf8(self.board_bytes()).unwrap_or_default()
    }

    fn board_bytes(&self) -> &'a [u8] {
        let field = &self.bytes[BOARD_AT..BOARD_AT + BOARD_SIZE];
        field.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// Refuses an image for another board than `board`, and a container of another role.
    pub fn expect(&self, role: Role, board: &str) -> Result<(), Error> {
        if self.role != role {
            return Err(Error::at(self.layout.place, ErrorKind::Role(self.role as u16)));
        }
        // As bytes: a first stage has no room for judging text.
        if self.board_bytes() != board.as_bytes() {
            return Err(Error::at(self.layout.place, ErrorKind::Board));
        }
        Ok(())
    }

    /// The version of the second stage in the image, if the header has room for it and it is known.
    pub fn version(&self) -> Option<&'a str> {
        let known = self.layout.header_size >= usize::from(VERSIONED_HEADER_SIZE);
        let field = self.bytes.get(usize::from(HEADER_SIZE)..usize::from(VERSIONED_HEADER_SIZE));
        field.filter(|_| known).and_then(release::text)
    }

    /// Bytes of the container itself.
    pub fn size(&self) -> usize {
        self.layout.size()
    }

    /// What a signature signs: the container without its own digest.
    pub fn signed_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The parts, in their order. What is of no known kind, and not essential, is left out.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<'a> {
        let Self { bytes, layout, .. } = *self;
        (0..layout.entry_count).filter_map(move |index| Entry::at(bytes, &layout, index).part())
    }

    /// The part of this kind.
    pub fn find(&self, kind: PartKind) -> Option<Part> {
        self.parts().find(|part| part.kind == kind)
    }

    /// The part of this kind, which has to be there.
    pub fn require(&self, kind: PartKind) -> Result<Part, Error> {
        self.find(kind).ok_or(Error::at(self.layout.place, ErrorKind::Missing(kind)))
    }

    fn check_board(&self) -> Result<(), Error> {
        let name = self.board_bytes();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            let found = u64::from(name.first().copied().unwrap_or(0));
            let kind = ErrorKind::Container { field: "board", found };
            return Err(Error::at(self.layout.place, kind));
        }
        Ok(())
    }

    fn check_parts(&self) -> Result<(), Error> {
        for index in 0..self.layout.entry_count {
            let entry = Entry::at(self.bytes, &self.layout, index);
            match entry.part() {
                Some(part) => self.check_part(&part)?,
                None if entry.flags & FLAG_ESSENTIAL != 0 => {
                    let kind = ErrorKind::UnknownPart(entry.kind);
                    return Err(Error::at(self.layout.place, kind));
                }
                None => {}
            }
        }
        for (index, one) in self.parts().enumerate() {
            for other in self.parts().skip(index + 1) {
                self.check_pair(&one, &other)?;
            }
        }
        Ok(())
    }

    fn check_part(&self, part: &Part) -> Result<(), Error> {
        let fail = |kind| Err(Error::at(self.layout.place, kind));
        let own_end = u64::from(self.layout.place) + self.layout.size() as u64;
        let over_container =
            u64::from(part.offset) < own_end && part.end() > u64::from(self.layout.place);
        if part.size == 0 || part.end() > u64::from(self.image_size) || over_container {
            return fail(ErrorKind::PartOutside(part.kind));
        }
        let Some(end) = part.load.checked_add(part.size.into()) else {
            return fail(ErrorKind::Placement { part: part.kind, address: part.load });
        };
        if part.entry != 0 && !(part.load..end).contains(&part.entry) {
            return fail(ErrorKind::Placement { part: part.kind, address: part.entry });
        }
        Ok(())
    }

    fn check_pair(&self, one: &Part, other: &Part) -> Result<(), Error> {
        let fail = |kind| Err(Error::at(self.layout.place, kind));
        if one.kind == other.kind {
            return fail(ErrorKind::Duplicate(one.kind));
        }
        let in_image = u64::from(one.offset) < other.end() && u64::from(other.offset) < one.end();
        // No sum overflows: check_part has looked at each.
        let in_memory = one.load < other.load + u64::from(other.size)
            && other.load < one.load + u64::from(one.size);
        if in_image || in_memory {
            return fail(ErrorKind::Overlap(one.kind, other.kind));
        }
        Ok(())
    }
}

/// An entry as it stands there.
struct Entry<'a> {
    kind: u16,
    flags: u16,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry with an index that `layout` has.
    fn at(covered: &'a [u8], layout: &Layout, index: usize) -> Self {
        let start = layout.header_size + index * layout.entry_size;
        let bytes = &covered[start..start + usize::from(ENTRY_SIZE)];
        Self { kind: le16(bytes, 0).unwrap_or(0), flags: le16(bytes, 2).unwrap_or(0), bytes }
    }

    fn part(&self) -> Option<Part> {
        Some(Part {
            kind: PartKind::from_number(self.kind)?,
            dummy: self.flags & FLAG_DUMMY != 0,
            offset: le32(self.bytes, 4)?,
            size: le32(self.bytes, 8)?,
            load: le64(self.bytes, 16)?,
            entry: le64(self.bytes, 24)?,
            digest: *self.bytes.last_chunk()?,
        })
    }
}
