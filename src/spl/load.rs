//! From the boot medium to parts in memory that are what their container says.
//!
//! Everything is read with the boot ROM's services, from whatever medium it booted: one way for
//! cards, flash and USB, and no driver of our own in the first stage. A part may be entered only
//! once [`load`] has returned: it has looked at each part's place before anything was read, and at
//! its digest after everything was.
//!
//! Reading and checking take turns, because the ROM is called with data caches off only, and
//! digests of many megabytes want them on.

#![forbid(unsafe_code)]

use core::{fmt, mem, ops::Range};

use crate::{
    error::{Code, Coded},
    handoff::{Boot, Recovery},
    image::{
        self,
        container::{self, Container, Part, PartKind, Role},
        target::Target,
    },
    memory::Region,
    soc::boot_rom::{Access, BootRom, ImageCopy, MAX_PAGE_SIZE, Medium, RomFailure},
};

/// Bytes that [`load`] needs besides the parts' own memory: two of the largest pages.
pub const SCRATCH_SIZE: usize = 2 * MAX_PAGE_SIZE as usize;

/// Where the ROM is asked to put something lies at a multiple of this, for its drivers' sake: a line
/// of the cache.
pub const ALIGNMENT: usize = 64;

/// The ROM is asked for at most this much at once, in bytes.
const PIECE: usize = 1 << 20;
/// And for this much at least from a stream, in bytes: U-Boot and barebox ask for no less.
const STREAM_UNIT: u32 = 1024;
/// A container begins at a multiple of this many bytes in a stream, counted from where the ROM
/// stopped reading.
const STREAM_STEP: usize = 64;
/// How far it is looked for there, in bytes.
const STREAM_SEARCH: u64 = 4 << 20;
/// Where the first byte of a stream is counted to be: no image that it holds begins before 0.
const STREAM_START: u64 = 1 << 32;
/// How often a page is asked for before it counts as unreadable.
const ATTEMPTS: usize = 3;

/// What is loaded; the rest of an image is for others.
const WANTED: [PartKind; 7] = [
    PartKind::Bl31,
    PartKind::Tee,
    PartKind::Loader,
    PartKind::Kernel,
    PartKind::Initrd,
    PartKind::DeviceTree,
    PartKind::CommandLine,
];
/// What a boot cannot do without.
const NEEDED: [PartKind; 2] = [PartKind::Bl31, PartKind::Loader];

/// Memory that parts are loaded to.
pub trait Memory {
    /// The bytes of `region`, which is in the room of one part; `None` if not all of it is there.
    fn bytes(&mut self, region: Region) -> Option<&mut [u8]>;

    /// Does `work`, which goes over many bytes and calls nobody, as fast as this memory allows:
    /// the place to turn caches on and off again.
    fn hurry<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        work(self)
    }
}

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where from.
    pub boot: Boot,
    /// Where BL31 is entered.
    pub entry: u64,
    /// Kernel and company, if they came along.
    pub recovery: Recovery,
}

/// Loads what the image on `medium` holds for `target`. A copy that is damaged or cannot be read is
/// told to `report`, and the other one on the same device is loaded, if there is one. `scratch` is
/// memory at a multiple of [`ALIGNMENT`] that is nobody's.
///
/// # Errors
/// What is wrong with the copy that was booted, if no other one was any better. Memory of parts may
/// have been written to.
pub fn load(
    rom: &impl BootRom,
    medium: &Medium,
    target: &Target,
    memory: &mut impl Memory,
    scratch: &mut [u8; SCRATCH_SIZE],
    report: &mut dyn FnMut(&Error),
) -> Result<Loaded, Error> {
    let mut attempt = |copy: Option<ImageCopy>| {
        let image_offset = copy.map_or(0, |copy| copy.offset);
        let boot = Boot {
            device: medium.device,
            image_offset,
            secondary: copy.is_some_and(|copy| copy.secondary),
        };
        Image::open(rom, medium, copy, target, scratch)
            .and_then(|mut image| image.load(target, memory))
            .map(|(entry, recovery)| Loaded { boot, entry, recovery })
            .map_err(|kind| Error { copy, kind })
    };
    let (booted, other) = match medium.access {
        Access::Stream => return attempt(None),
        Access::Seekable { booted, other } => (booted, other),
    };
    attempt(Some(booted)).or_else(|error| {
        let Some(other) = other else { return Err(error) };
        report(&error);
        attempt(Some(other)).map_err(|second| {
            report(&second);
            error
        })
    })
}

/// An image whose container was found.
struct Image<'a, R> {
    reader: Reader<'a, R>,
    /// Where its first byte is, as the reader counts.
    start: u64,
    container: [u8; container::MAX_SIZE],
}

impl<'a, R: BootRom> Image<'a, R> {
    fn open(
        rom: &'a R,
        medium: &Medium,
        copy: Option<ImageCopy>,
        target: &Target,
        scratch: &'a mut [u8; SCRATCH_SIZE],
    ) -> Result<Self, ErrorKind> {
        let mut reader = Reader::new(rom, medium.page_size, copy.is_none(), scratch);
        let place = u64::from(target.container_at);
        let start = match copy {
            Some(copy) => copy.offset.into(),
            None => reader.find_container(target)?.saturating_sub(place),
        };
        let mut container = [0; container::MAX_SIZE];
        reader.read(start + place, &mut container)?;
        Ok(Self { reader, start, container })
    }

    /// Reads all parts, then checks them; where BL31 is entered, and what else there is to boot.
    fn load(
        &mut self,
        target: &Target,
        memory: &mut impl Memory,
    ) -> Result<(u64, Recovery), ErrorKind> {
        let Self { reader, start, container } = self;
        let container = Container::parse(container, target.container_at)?;
        container.expect(Role::Image, target.board)?;
        for kind in NEEDED {
            container.require(kind)?;
        }
        let loader_start = u64::from(target.container_at) + container.size() as u64;
        for part in in_order(&container) {
            // A stream does not come back to what lies in front.
            if u64::from(part.offset) < loader_start {
                let kind = image::ErrorKind::PartOutside(part.kind);
                return Err(image::Error { kind, offset: part.offset.into() }.into());
            }
            target.check_placement(&part)?;
            bytes_of(&part, memory)?;
        }
        for part in in_order(&container) {
            reader.read(*start + u64::from(part.offset), bytes_of(&part, memory)?)?;
        }
        reader.drain(*start + u64::from(container.image_size));
        memory.hurry(|memory| {
            in_order(&container)
                .try_for_each(|part| part.verify(bytes_of(&part, memory)?).map_err(ErrorKind::from))
        })?;
        let region = |kind| container.find(kind).map(|part| region_of(&part));
        let recovery = Recovery {
            kernel: region(PartKind::Kernel),
            initrd: region(PartKind::Initrd),
            device_tree: region(PartKind::DeviceTree),
            command_line: region(PartKind::CommandLine),
        };
        Ok((container.require(PartKind::Bl31)?.entry, recovery))
    }
}

/// The parts that are loaded, in the order of their offsets: a stream has no other.
fn in_order<'a>(container: &Container<'a>) -> impl Iterator<Item = Part> + use<'a> {
    let container = *container;
    let mut behind = 0;
    core::iter::from_fn(move || {
        let wanted = |part: &Part| WANTED.contains(&part.kind) && u64::from(part.offset) >= behind;
        let next = container.parts().filter(wanted).min_by_key(|part| part.offset)?;
        // Parts have bytes and do not overlap: this goes forward and leaves none out.
        behind = next.end();
        Some(next)
    })
}

fn region_of(part: &Part) -> Region {
    Region::new(part.load, part.size.into())
}

fn bytes_of<'m>(part: &Part, memory: &'m mut impl Memory) -> Result<&'m mut [u8], ErrorKind> {
    let region = region_of(part);
    memory.bytes(region).ok_or(ErrorKind::NoMemory(part.kind, region))
}

/// Reads any bytes of a medium that is read in units. What is no whole unit goes by way of
/// `scratch`, so that nothing is written beside the destination.
struct Reader<'a, R> {
    rom: &'a R,
    unit: usize,
    /// Where the next unit of a stream is; `None` where any unit can be had.
    next: Option<u64>,
    scratch: &'a mut [u8; SCRATCH_SIZE],
    /// What `scratch` begins with.
    held: Range<u64>,
}

impl<'a, R: BootRom> Reader<'a, R> {
    fn new(rom: &'a R, page_size: u32, stream: bool, scratch: &'a mut [u8; SCRATCH_SIZE]) -> Self {
        let unit = if stream { page_size.max(STREAM_UNIT) } else { page_size };
        let next = stream.then_some(STREAM_START);
        Self { rom, unit: unit as usize, next, scratch, held: 0..0 }
    }

    /// Fills `destination` with what is at `position`; in a stream, that lies ahead.
    fn read(&mut self, mut position: u64, mut destination: &mut [u8]) -> Result<(), ErrorKind> {
        while !destination.is_empty() {
            let whole = destination.len().min(PIECE) / self.unit * self.unit;
            let count = if self.held.contains(&position) {
                let held = &self.scratch[distance(self.held.start, position)..];
                let left = distance(position, self.held.end);
                let count = destination.len().min(left);
                destination[..count].copy_from_slice(&held[..count]);
                count
            } else if whole > 0 && is_aligned(destination) && self.is_unit(position) {
                download(self.rom, &mut self.next, position, &mut destination[..whole])?;
                whole
            } else {
                self.fetch(position)?;
                0
            };
            position += count as u64;
            destination = &mut mem::take(&mut destination)[count..];
        }
        Ok(())
    }

    /// Whether a unit begins at `position` that can be asked for.
    fn is_unit(&self, position: u64) -> bool {
        self.next.map_or(position.is_multiple_of(self.unit as u64), |next| next == position)
    }

    /// Gets the unit that holds `position`, or, in a stream, the next one.
    fn fetch(&mut self, position: u64) -> Result<(), ErrorKind> {
        let start = self.next.unwrap_or(position - position % self.unit as u64);
        if start > position {
            // It has passed; whoever reads in order never gets here.
            return Err(ErrorKind::StreamEnded(RomFailure::Absent));
        }
        self.held = 0..0;
        download(self.rom, &mut self.next, start, &mut self.scratch[..self.unit])?;
        self.held = start..start + self.unit as u64;
        Ok(())
    }

    /// Finds the container in a stream, and makes sure that it and what comes behind can be read.
    /// How much of the image the ROM has taken for itself is not known. The first stage has a
    /// container, too, which is passed over.
    fn find_container(&mut self, target: &Target) -> Result<u64, ErrorKind> {
        let mut damaged = None;
        let mut looked = 0;
        while self.held.end < STREAM_START + STREAM_SEARCH {
            self.fetch_more(looked).map_err(|error| damaged.unwrap_or(error))?;
            looked = 0;
            let held = &self.scratch[..distance(self.held.start, self.held.end)];
            while let Some(bytes) = held.get(looked..looked + container::MAX_SIZE) {
                if bytes.starts_with(&container::MAGIC) {
                    match Container::parse(bytes, target.container_at) {
                        Ok(_) => return Ok(self.held.start + looked as u64),
                        Err(error) => damaged = damaged.or(Some(ErrorKind::Image(error))),
                    }
                }
                looked += STREAM_STEP;
            }
        }
        Err(damaged.unwrap_or(ErrorKind::NoContainer))
    }

    /// Takes what is left of a stream that ends at `end`, so that the host has nothing to wait for.
    fn drain(&mut self, end: u64) {
        while let Some(next) = self.next
            && next + self.unit as u64 <= end
            // Whoever stops sending before the end has sent what was wanted.
            && self.fetch(next).is_ok()
        {}
    }

    /// Gets the next unit of a stream behind what is held, of which the first `done` bytes go.
    fn fetch_more(&mut self, done: usize) -> Result<(), ErrorKind> {
        let next = self.next.unwrap_or(STREAM_START);
        if self.held.is_empty() {
            self.held = next..next;
        }
        let filled = distance(self.held.start, self.held.end);
        self.scratch.copy_within(done..filled, 0);
        self.held.start += done as u64;
        let place = filled - done..filled - done + self.unit;
        download(self.rom, &mut self.next, next, &mut self.scratch[place])?;
        self.held.end += self.unit as u64;
        Ok(())
    }
}

fn is_aligned(memory: &[u8]) -> bool {
    memory.as_ptr().addr().is_multiple_of(ALIGNMENT)
}

/// From `start` to `end`, which both lie in what is held.
fn distance(start: u64, end: u64) -> usize {
    usize::try_from(end - start).unwrap_or(usize::MAX)
}

/// Asks the ROM for whole units: those at `position`, or the `next` ones of a stream.
fn download(
    rom: &impl BootRom,
    next: &mut Option<u64>,
    position: u64,
    destination: &mut [u8],
) -> Result<(), ErrorKind> {
    if let Some(next) = next {
        // Nobody can ask a second time.
        rom.download(destination, 0).map_err(ErrorKind::StreamEnded)?;
        *next += destination.len() as u64;
        return Ok(());
    }
    let unreadable = |failure| ErrorKind::Unreadable { position, failure };
    let Ok(offset) = u32::try_from(position) else {
        return Err(unreadable(RomFailure::Refused(0)));
    };
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = rom.download(destination, offset);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map_err(unreadable)
}

/// Why an image cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The copy; `None` in a stream.
    pub copy: Option<ImageCopy>,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What can be wrong with an image that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The image itself.
    Image(image::Error),
    /// There is no container in a stream.
    NoContainer,
    /// The device cannot be read.
    Unreadable {
        /// Bytes from its start, or from that of its boot partition.
        position: u64,
        /// What the boot ROM says.
        failure: RomFailure,
    },
    /// A stream has no more bytes; what the boot ROM says.
    StreamEnded(RomFailure),
    /// There is no memory where a part goes.
    NoMemory(PartKind, Region),
}

impl From<image::Error> for ErrorKind {
    fn from(error: image::Error) -> Self {
        Self::Image(error)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.kind {
            ErrorKind::Image(error) => error.code(),
            ErrorKind::NoContainer => Code::NotABootImage,
            ErrorKind::Unreadable { .. } => Code::BootDeviceRead,
            ErrorKind::StreamEnded(_) => Code::StreamEnded,
            ErrorKind::NoMemory(..) => Code::BootImageTooLarge,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.copy {
            None => f.write_str("image: "),
            Some(ImageCopy { offset, secondary: false }) => write!(f, "image at {offset:#x}: "),
            Some(ImageCopy { offset, secondary: true }) => {
                write!(f, "secondary image at {offset:#x}: ")
            }
        }?;
        match self.kind {
            ErrorKind::Image(error) => error.fmt(f),
            ErrorKind::NoContainer => {
                write!(f, "no container in {} MiB of the download", STREAM_SEARCH >> 20)
            }
            ErrorKind::Unreadable { position, failure } => {
                write!(f, "the device cannot be read at {position:#x}: {failure}")
            }
            ErrorKind::StreamEnded(failure) => {
                write!(f, "the download ended too early: {failure}")
            }
            ErrorKind::NoMemory(part, region) => {
                write!(f, "{part} goes to {region}, where there is no memory")
            }
        }
    }
}

impl core::error::Error for Error {}
