//! Tells what a file, card or flash holds for the boot ROM, and what is wrong with it.
//!
//! Reads this project's images and those of U-Boot and NXP, whose first stage is followed by a FIT.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use sha2::{Digest as _, Sha256};

use super::{
    Digest, Error,
    build::FIRST_STAGE_ALIGNMENT,
    container::{self, Container, Part, PartKind, Role},
    fit::{self, Data, Fit},
    flexspi, rom,
    target::Target,
};
use crate::{
    devicetree,
    error::{Code, Coded},
    soc::boot_rom,
};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// How far behind the first stage a FIT is looked for, in bytes.
const FIT_SEARCH: u64 = 4 << 20;
/// Where a FIT may begin.
const FIT_ALIGNMENT: usize = 512;
/// Images of a FIT that are listed.
const MAX_FIT_IMAGES: usize = 32;

/// What is looked at: a file, a card.
pub trait Source {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Reads bytes from `offset` on. The range lies in the source; an error says why it cannot be
    /// read.
    fn read_at(&self, offset: u64, destination: &mut [u8]) -> Result<(), String>;
}

impl Source for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, destination: &mut [u8]) -> Result<(), String> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.get(start..)?.get(..destination.len()));
        destination.copy_from_slice(bytes.ok_or_else(|| "beyond the end".to_owned())?);
        Ok(())
    }
}

/// An image that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it lies in the source, in bytes.
    pub offset: u64,
    /// What that place is.
    pub place: Place,
    /// Whose it is.
    pub format: Format,
    /// The board that it is for, if it says so.
    pub board: Option<String>,
    /// The version of Firn in it, if it says so.
    pub version: Option<String>,
    /// Bytes from its start to the end of its last part.
    pub size: u64,
    /// Its parts, in the order of their offsets.
    pub parts: Vec<PartReport>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Where an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the start: a file, or an eMMC's boot partition.
    Start,
    /// Where the boot ROM looks on a card.
    Card,
    /// Where it looks if that one is bad.
    CardSecondary,
    /// In a flash behind FlexSPI.
    FlexSpi,
}

impl Place {
    /// What a user calls it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Start => "flash.bin, or an eMMC's boot partition",
            Self::Card => "card, primary copy",
            Self::CardSecondary => "card, secondary copy",
            Self::FlexSpi => "NOR flash behind FlexSPI",
        }
    }

    /// What a program calls it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Card => "card",
            Self::CardSecondary => "card-secondary",
            Self::FlexSpi => "flexspi",
        }
    }
}

/// What follows the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// This project's container.
    Firn,
    /// A FIT, as U-Boot's and NXP's images have it.
    Fit,
    /// Nothing that is known.
    Unknown,
}

impl Format {
    /// What a program calls it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Firn => "firn",
            Self::Fit => "fit",
            Self::Unknown => "unknown",
        }
    }
}

/// A part that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// What a program calls it.
    pub id: String,
    /// What a user calls it.
    pub text: String,
    /// Where it lies in the source, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of what is there; none if it cannot be read.
    pub digest: Option<Digest>,
    /// The address that it is loaded to.
    pub load: Option<u64>,
    /// The address that it is entered at.
    pub entry: Option<u64>,
    /// Whether its bytes are those that it was made of; none if the image does not tell.
    pub intact: Option<bool>,
    /// Whether it is a dummy.
    pub dummy: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code.
    pub code: Code,
    /// What and where.
    pub text: String,
}

impl Problem {
    fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Looks for images at all places where the boot ROM does. None may be there.
pub fn survey(source: &dyn Source, target: &Target) -> Vec<Image> {
    let tag_at = |offset| word_at(source, offset).is_some_and(|word| word == rom::TAG);
    let image_at = |(offset, place)| {
        let window = Window { source, start: offset };
        Inspection::new(window, place, target).run()
    };
    if tag_at(0) {
        return vec![image_at((0, Place::Start))];
    }
    let configuration = word_at(source, boot_rom::FLEXSPI_CONFIGURATION_OFFSET.into());
    if configuration == Some(u32::from_le_bytes(flexspi::TAG)) {
        return vec![image_at((boot_rom::FLEXSPI_OFFSET.into(), Place::FlexSpi))];
    }
    let places = [
        (boot_rom::CARD_OFFSET, Place::Card),
        (boot_rom::SECONDARY_CARD_OFFSET, Place::CardSecondary),
    ];
    places.into_iter().filter(|(offset, _)| tag_at(*offset)).map(image_at).collect()
}

fn word_at(source: &dyn Source, offset: u64) -> Option<u32> {
    let mut word = [0; 4];
    Window { source, start: 0 }.read(offset, &mut word).ok()?;
    Some(u32::from_le_bytes(word))
}

/// A source from an image's start on.
#[derive(Clone, Copy)]
struct Window<'a> {
    source: &'a dyn Source,
    start: u64,
}

impl Window<'_> {
    fn size(&self) -> u64 {
        self.source.size().saturating_sub(self.start)
    }

    fn read(&self, offset: u64, destination: &mut [u8]) -> Result<(), Problem> {
        let end = offset.checked_add(destination.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            let text = format!(
                "the source ends at {:#x}, {:#x} bytes at {:#x} are wanted",
                self.source.size(),
                destination.len(),
                self.start.saturating_add(offset)
            );
            return Err(Problem::new(Code::BootImageTruncated, text));
        }
        let at = self.start + offset;
        self.source.read_at(at, destination).map_err(|reason| {
            Problem::new(Code::BootImageTruncated, format!("cannot read at {at:#x}: {reason}"))
        })
    }

    /// The bytes of a range, as far as there are any.
    fn head(&self, offset: u64, size: usize) -> Result<Vec<u8>, Problem> {
        let left = self.size().saturating_sub(offset);
        let size = usize::try_from(left).unwrap_or(size).min(size);
        let mut bytes = vec![0; size];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn digest(&self, offset: u64, size: u64) -> Result<Digest, Problem> {
        let mut hasher = Sha256::new();
        self.for_each_chunk(offset, size, |_, chunk| {
            hasher.update(chunk);
            true
        })?;
        Ok(hasher.finalize().into())
    }

    /// Hands out a range in pieces, each with its offset, until `take` has enough.
    fn for_each_chunk(
        &self,
        offset: u64,
        size: u64,
        mut take: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Problem> {
        if offset.checked_add(size).is_none_or(|end| end > self.size()) {
            // Known without reading what is there of a part that may claim gigabytes.
            let mut beyond = [0];
            return self.read(offset.saturating_add(size).saturating_sub(1), &mut beyond);
        }
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < size {
            let length = usize::try_from(size - done).unwrap_or(CHUNK).min(CHUNK);
            self.read(offset + done, &mut buffer[..length])?;
            if !take(offset + done, &buffer[..length]) {
                return Ok(());
            }
            done += length as u64;
        }
        Ok(())
    }
}

/// One image, as far as it has been looked at.
struct Inspection<'a> {
    window: Window<'a>,
    target: &'a Target,
    image: Image,
}

impl<'a> Inspection<'a> {
    fn new(window: Window<'a>, place: Place, target: &'a Target) -> Self {
        let image = Image {
            offset: window.start,
            place,
            format: Format::Unknown,
            board: None,
            version: None,
            size: 0,
            parts: Vec::new(),
            problems: Vec::new(),
        };
        Self { window, target, image }
    }

    fn run(mut self) -> Image {
        match self.inspect() {
            Ok(()) => {}
            Err(problem) => self.image.problems.push(problem),
        }
        self.image.parts.sort_by_key(|part| part.offset);
        let ends = self.image.parts.iter().map(|part| part.offset.saturating_add(part.size));
        self.image.size = ends.max().unwrap_or(0).saturating_sub(self.image.offset);
        self.image
    }

    fn inspect(&mut self) -> Result<(), Problem> {
        let header = self.rom_header()?;
        match self.container()? {
            Some(bytes) => self.firn(&bytes, &header),
            None => self.first_stage_and_fit(&header),
        }
    }

    /// The boot ROM's header, and what it says of the signature block.
    fn rom_header(&mut self) -> Result<rom::Header, Problem> {
        let bytes = self.window.head(0, rom::HEADER_SIZE as usize)?;
        let header = rom::Header::parse(&bytes, 0).map_err(|error| self.problem(error))?;
        if let Err(error) = header.check(self.target.entry, 0) {
            self.fail(error);
        }
        let length = u64::from(header.length);
        if length > self.target.load_max.into() {
            let max = self.target.load_max;
            let text =
                format!("the boot ROM is told to load {length:#x} bytes, more than {max:#x}");
            self.image.problems.push(Problem::new(Code::BootImageTooLarge, text));
        }
        if length > self.window.size() {
            let found = self.window.size();
            let text = format!("truncated: {found} bytes of {length} that the boot ROM loads");
            self.image.problems.push(Problem::new(Code::BootImageTruncated, text));
        }
        self.add("rom-header", "the boot ROM's header", 0..rom::HEADER_SIZE.into()).load =
            Some(header.this.into());
        self.signature_block(&header);
        Ok(header)
    }

    /// A block for HAB begins with the tag 0xd4 and a length; an unsigned image has zeros there.
    fn signature_block(&mut self, header: &rom::Header) {
        let start = u64::from(header.signed_size());
        let Ok(head) = self.window.head(start, 4) else { return };
        if head.first() == Some(&0xd4) {
            let end = u64::from(header.length).max(start);
            self.add("hab-signature", "the signature block for HAB", start..end).load =
                Some(header.csf.into());
        }
    }

    /// The bytes of the container at its place, if there is one.
    fn container(&self) -> Result<Option<Vec<u8>>, Problem> {
        let bytes = self.window.head(self.target.container_at.into(), container::MAX_SIZE);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(_) => return Ok(None),
        };
        Ok(bytes.starts_with(&container::MAGIC).then_some(bytes))
    }

    fn firn(&mut self, bytes: &[u8], header: &rom::Header) -> Result<(), Problem> {
        self.image.format = Format::Firn;
        let place = self.target.container_at;
        let container = Container::parse(bytes, place).map_err(|error| self.problem(error))?;
        self.image.board = Some(container.board().to_owned());
        self.image.version = container.version().map(ToOwned::to_owned);
        self.note_container("container", "the container", place, &container);
        let expected = container.expect(Role::Image, self.target.board);
        let for_this_board = expected.is_ok();
        if let Err(error) = expected {
            self.fail(error);
        }
        if u64::from(container.image_size) > self.window.size() {
            let (size, found) = (container.image_size, self.window.size());
            let text = format!("truncated: {found} bytes of {size}");
            self.image.problems.push(Problem::new(Code::BootImageTruncated, text));
        }
        for kind in [PartKind::Loaded, PartKind::Bl31, PartKind::Loader] {
            if let Err(error) = container.require(kind) {
                self.fail(error);
            }
        }
        for part in container.parts() {
            if for_this_board
                && part.kind != PartKind::Loaded
                && let Err(error) = self.target.check_placement(&part)
            {
                self.fail(error);
            }
            self.part(&part);
        }
        self.first_stage_container(header)
    }

    /// What the container behind the first stage lists.
    fn first_stage_container(&mut self, header: &rom::Header) -> Result<(), Problem> {
        let loaded =
            self.window.head(0, header.signed_size().min(self.target.load_max) as usize)?;
        let places = (0..loaded.len()).step_by(FIRST_STAGE_ALIGNMENT);
        let marked = places.filter(|&at| loaded[at..].starts_with(&container::MAGIC));
        // It lies below load_max, which is 32 bits wide.
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        let mut found = marked.map(|at| (narrow(at), Container::parse(&loaded[at..], narrow(at))));
        // The first stage holds the mark itself, which may be aligned.
        let parsed = found.clone().find(|(_, parsed)| parsed.is_ok()).or_else(|| found.next_back());
        let Some((place, container)) = parsed else {
            let text = "no container behind the first stage, which would not find its training \
                        firmware";
            return Err(Problem::new(Code::BootImageIncomplete, text));
        };
        let container = container.map_err(|error| self.problem(error))?;
        if let Err(error) = container.expect(Role::FirstStage, self.target.board) {
            self.fail(error);
        }
        let text = "the first stage's container";
        self.note_container("spl-container", text, place, &container);
        for part in container.parts() {
            let load = u64::from(header.this) + u64::from(part.offset);
            if part.load != load {
                let kind = super::ErrorKind::Placement { part: part.kind, address: part.load };
                self.fail(Error::at(part.offset, kind));
            }
            self.part(&part);
            if part.dummy {
                let text =
                    format!("{} is a dummy, which trains nothing on a real board", part.kind);
                self.image.problems.push(Problem::new(Code::DummyTrainingFirmware, text));
            }
        }
        Ok(())
    }

    /// U-Boot's and NXP's images: nothing tells where the first stage's parts are.
    fn first_stage_and_fit(&mut self, header: &rom::Header) -> Result<(), Problem> {
        let header_size = u64::from(rom::HEADER_SIZE);
        let end = u64::from(header.signed_size()).max(header_size);
        let text = "the first stage, with its training firmware";
        let part = self.add("first-stage", text, header_size..end);
        (part.load, part.entry) = (Some(header.entry.into()), Some(header.entry.into()));
        let fit_at = self.find_fit(end)?;
        let Some(fit_at) = fit_at else {
            let text = format!(
                "neither a container at {:#x} nor a FIT behind the first stage",
                self.image.offset.saturating_add(self.target.container_at.into())
            );
            return Err(Problem::new(Code::NotABootImage, text));
        };
        self.image.format = Format::Fit;
        let bytes = self.window.head(fit_at, devicetree::MAX_SIZE)?;
        match Fit::parse(&bytes) {
            Ok(fit) => self.fit(fit, fit_at, &bytes),
            Err(error) => {
                let at = self.image.offset.saturating_add(fit_at);
                Err(Problem::new(error.code(), format!("{error}, of the FIT at {at:#x}")))
            }
        }
    }

    /// Where a FIT begins: the first tree that can be read, else the first that cannot.
    fn find_fit(&self, from: u64) -> Result<Option<u64>, Problem> {
        let magic = 0xd00d_feed_u32.to_be_bytes();
        let from = from.next_multiple_of(FIT_ALIGNMENT as u64);
        let size = self.window.size().saturating_sub(from).min(FIT_SEARCH);
        let mut found = Vec::new();
        self.window.for_each_chunk(from, size, |offset, chunk| {
            let starts = (offset..).step_by(FIT_ALIGNMENT).zip(chunk.chunks(FIT_ALIGNMENT));
            let trees = starts.filter(|(_, bytes)| bytes.starts_with(&magic));
            found.extend(trees.map(|(at, _)| at));
            found.len() < MAX_FIT_IMAGES
        })?;
        let readable = |at: &&u64| {
            let bytes = self.window.head(**at, devicetree::MAX_SIZE);
            bytes.is_ok_and(|bytes| Fit::parse(&bytes).is_ok())
        };
        Ok(found.iter().find(readable).or(found.first()).copied())
    }

    fn fit(&mut self, fit: Fit<'_>, at: u64, bytes: &[u8]) -> Result<(), Problem> {
        let size = devicetree::total_size(bytes).unwrap_or(0) as u64;
        self.add("fit", fit.description().unwrap_or("FIT"), at..at.saturating_add(size));
        for image in fit.images().take(MAX_FIT_IMAGES) {
            if let Err(problem) = self.fit_image(image, at, bytes) {
                self.image.problems.push(problem);
            }
        }
        if fit.images().nth(MAX_FIT_IMAGES).is_some() {
            let text = format!("the FIT has more than {MAX_FIT_IMAGES} images");
            self.image.problems.push(Problem::new(Code::BootImageTooLarge, text));
        }
        let Some(configuration) = fit.configuration() else {
            let text = "the FIT has no default configuration";
            return Err(Problem::new(Code::BootImageIncomplete, text));
        };
        for name in configuration.images().take(MAX_FIT_IMAGES) {
            if fit.image(name).is_none() {
                let of = configuration.name();
                let text = format!("the FIT's configuration {of} names {name}, which is not there");
                self.image.problems.push(Problem::new(Code::BootImageIncomplete, text));
            }
        }
        Ok(())
    }

    fn fit_image(&mut self, image: fit::Image<'_>, at: u64, fit: &[u8]) -> Result<(), Problem> {
        let data = image.data().map_err(|error| Problem::new(error.code(), error.to_string()))?;
        let range = match data {
            Data::External(range) => at.saturating_add(range.start)..at.saturating_add(range.end),
            Data::Embedded(data) => {
                let start = at.saturating_add(offset_in(fit, data));
                start..start.saturating_add(data.len() as u64)
            }
        };
        let wanted = image.digest();
        let id = format!("fit:{}", image.name());
        let part = self.add(&id, image.description().unwrap_or(image.name()), range);
        (part.load, part.entry) = (image.load(), image.entry());
        part.intact = part.digest.zip(wanted).map(|(found, wanted)| found == wanted);
        let (readable, intact) = (part.digest.is_some(), part.intact != Some(false));
        let problem = |code, text: &str| {
            Err(Problem::new(code, format!("the FIT's image {} {text}", image.name())))
        };
        if !readable {
            return problem(Code::BootImageTruncated, "is truncated");
        }
        if !intact {
            return problem(Code::BootImageDigest, "does not have its digest");
        }
        Ok(())
    }

    fn part(&mut self, part: &Part) {
        let range = part.offset.into()..part.end();
        let report = self.add(part.kind.id(), &part.kind.to_string(), range);
        report.load = Some(part.load);
        report.entry = (part.entry != 0).then_some(part.entry);
        report.dummy = part.dummy;
        report.intact = Some(report.digest == Some(part.digest));
        if report.digest.is_none() {
            let needed = part.end();
            let kind = super::ErrorKind::Truncated { needed, found: self.window.size() };
            self.fail(Error::at(part.offset, kind));
        } else if report.intact == Some(false) {
            self.fail(Error::at(part.offset, super::ErrorKind::Digest(part.kind)));
        }
    }

    fn note_container(&mut self, id: &str, text: &str, place: u32, container: &Container<'_>) {
        let start = u64::from(place);
        self.add(id, text, start..start + container.size() as u64).intact = Some(true);
    }

    /// Notes a part; the range counts from the image's start.
    fn add(&mut self, id: &str, text: &str, range: core::ops::Range<u64>) -> &mut PartReport {
        let size = range.end.saturating_sub(range.start);
        self.image.parts.push(PartReport {
            id: id.to_owned(),
            text: text.to_owned(),
            offset: self.image.offset.saturating_add(range.start),
            size,
            digest: self.window.digest(range.start, size).ok(),
            load: None,
            entry: None,
            intact: None,
            dummy: false,
        });
        let last = self.image.parts.len() - 1;
        &mut self.image.parts[last]
    }

    /// `error` with its offset as the source counts.
    fn problem(&self, error: Error) -> Problem {
        let offset = self.image.offset.saturating_add(error.offset);
        Problem::new(error.code(), Error { offset, ..error }.to_string())
    }

    fn fail(&mut self, error: Error) {
        let problem = self.problem(error);
        self.image.problems.push(problem);
    }
}

/// Where `part`, a piece of `whole`, begins in it.
fn offset_in(whole: &[u8], part: &[u8]) -> u64 {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize) as u64
}
