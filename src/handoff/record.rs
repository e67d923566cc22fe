//! The record as it lies in memory.
//!
//! All numbers are little endian. The record begins with a header of 24 bytes:
//!
//! | offset | size | |
//! |---|---|---|
//! | 0x00 | 8 | `FIRNTOLD` |
//! | 0x08 | 2 | version: 1 |
//! | 0x0a | 2 | size of this header: 24; a multiple of 8 |
//! | 0x0c | 4 | size of the record, header included |
//! | 0x10 | 4 | CRC-32 (that of Ethernet) of the record without these four bytes |
//! | 0x14 | 4 | 0 |
//!
//! Entries follow, each a tag (2), the size of its value (2), 4 zeros, and the value, with zeros up to
//! a multiple of 8. A reader skips tags that it does not know, and what a value has beyond the bytes
//! that it knows; another meaning of a tag takes another version.
//!
//! | tag | value |
//! |---|---|
//! | 1 | boot device: type (1) and instance (1) as the boot ROM numbers them, secondary (1), 0 (1), image offset (4) |
//! | 2 | a bank of DRAM: start (8), size (8) |
//! | 3 | reset cause: SRC_SRSR (4), WDOG1_WRSR (2), PMIC answered (1), its reason (1) |
//! | 4 | times in nanoseconds (4 × 8) |
//! | 5 | training: MT/s (2), firmware revision (2), attempts (1) |
//! | 6 | a problem: code (2), text |
//! | 7 | recovery part: start (8), size (8), kind as in a container (2) |
//! | 8 | random bytes (64) |

use core::{fmt, time::Duration};

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use super::{Boot, HandOff, NOTE_TEXT, Note, ResetCause, Times, Training};
use crate::{
    entropy::Secret,
    error::{Code, Coded},
    image::container::PartKind,
    memory::Region,
    soc::boot_rom::BootDevice,
};

/// What a record begins with.
const MAGIC: [u8; 8] = *b"FIRNTOLD";
const VERSION: u16 = 1;
const HEADER_FIELD: u16 = 24;
const HEADER_SIZE: usize = HEADER_FIELD as usize;
const CRC_AT: usize = 0x10;
/// Bytes in front of an entry's value.
const ENTRY_HEAD: usize = 8;
/// The record's parts are padded to multiples of this.
const GRAIN: usize = 8;

/// The record is read once; a table would be larger than the record.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

mod tag {
    pub(super) const BOOT: u16 = 1;
    pub(super) const BANK: u16 = 2;
    pub(super) const RESET: u16 = 3;
    pub(super) const TIMES: u16 = 4;
    pub(super) const TRAINING: u16 = 5;
    pub(super) const NOTE: u16 = 6;
    pub(super) const RECOVERY: u16 = 7;
    pub(super) const ENTROPY: u16 = 8;
}

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no room for it, or it is larger than where it lies.
    Size,
    /// It has another version than this program knows.
    Version(u16),
    /// Its checksum does not match.
    Checksum,
    /// An entry with this tag is too short or reaches beyond the end.
    Entry(u16),
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::HandOffDamaged
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the first stage's record is not used: ")?;
        match self {
            Self::Size => f.write_str("it has an impossible size"),
            Self::Version(found) => {
                write!(f, "it has version {found}, this program knows version {VERSION}")
            }
            Self::Checksum => f.write_str("its checksum does not match"),
            Self::Entry(tag) => write!(f, "its entry {tag} is damaged"),
        }
    }
}

impl core::error::Error for Error {}

impl HandOff {
    /// Writes the record to the start of `room`; its size.
    ///
    /// # Errors
    /// [`Error::Size`] if it does not fit. 2 KiB are enough for any.
    pub fn encode(&self, room: &mut [u8]) -> Result<usize, Error> {
        let mut writer = Writer { room, end: HEADER_SIZE };
        if let Some(Boot { device, image_offset, secondary }) = self.boot {
            let (kind, instance) = device.numbers();
            let device = [kind, instance, u8::from(secondary), 0];
            writer.entry(tag::BOOT, &[&device, &image_offset.to_le_bytes()])?;
        }
        for bank in self.banks.iter().flatten() {
            let [start, size] = [bank.start(), bank.size()].map(u64::to_le_bytes);
            writer.entry(tag::BANK, &[&start, &size])?;
        }
        if let Some(ResetCause { src, watchdog, pmic }) = self.reset {
            let pmic = [u8::from(pmic.is_some()), pmic.unwrap_or(0)];
            writer.entry(tag::RESET, &[&src.to_le_bytes(), &watchdog.to_le_bytes(), &pmic])?;
        }
        let Times { entered, dram, loaded, left } = self.times;
        let [entered, dram, loaded, left] = [entered, dram, loaded, left]
            .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        writer.entry(tag::TIMES, &[&entered, &dram, &loaded, &left])?;
        if let Some(Training { rate, attempts, firmware }) = self.training {
            let value: [&[u8]; 3] = [&rate.to_le_bytes(), &firmware.to_le_bytes(), &[attempts]];
            writer.entry(tag::TRAINING, &value)?;
        }
        for note in self.notes.iter().flatten() {
            writer.entry(tag::NOTE, &[&note.code.to_le_bytes(), note.bytes()])?;
        }
        for (kind, region) in self.recovery.parts() {
            let Some(region) = region else { continue };
            let [start, size] = [region.start(), region.size()].map(u64::to_le_bytes);
            writer.entry(tag::RECOVERY, &[&start, &size, &kind.number().to_le_bytes()])?;
        }
        if let Some(entropy) = &self.entropy {
            writer.entry(tag::ENTROPY, &[entropy.bytes()])?;
        }
        writer.finish()
    }

    /// Reads the record at the start of `bytes`; `None` if there is none, which is no error.
    ///
    /// # Errors
    /// The record is damaged or of another version. Nothing of it is to be believed then.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if !bytes.starts_with(&MAGIC) {
            return Ok(None);
        }
        let header = Value { tag: 0, bytes };
        let [version, header_size] = [header.u16(8)?, header.u16(10)?];
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let (start, end) = (usize::from(header_size), header.u32(12)? as usize);
        let record = bytes.get(..end).ok_or(Error::Size)?;
        let rest = record.get(start..).ok_or(Error::Size)?;
        if start < HEADER_SIZE || start % GRAIN != 0 {
            return Err(Error::Size);
        }
        if checksum(record) != header.u32(CRC_AT)? {
            return Err(Error::Checksum);
        }
        let mut told = Self::default();
        let mut entries = Entries { rest };
        while let Some(value) = entries.next()? {
            told.take(&value)?;
        }
        Ok(Some(told))
    }

    /// Takes over what one entry says.
    fn take(&mut self, value: &Value<'_>) -> Result<(), Error> {
        match value.tag {
            tag::BOOT => {
                let [kind, instance, secondary] = [value.u8(0)?, value.u8(1)?, value.u8(2)?];
                let image_offset = value.u32(4)?;
                self.boot = BootDevice::from_numbers(kind, instance).map(|device| Boot {
                    device,
                    image_offset,
                    secondary: secondary != 0,
                });
            }
            tag::BANK => put(&mut self.banks, Region::new(value.u64(0)?, value.u64(8)?)),
            tag::RESET => {
                let pmic = value.u8(7)?;
                self.reset = Some(ResetCause {
                    src: value.u32(0)?,
                    watchdog: value.u16(4)?,
                    pmic: (value.u8(6)? != 0).then_some(pmic),
                });
            }
            tag::TIMES => {
                let time = |at| value.u64(at).map(Duration::from_nanos);
                self.times =
                    Times { entered: time(0)?, dram: time(8)?, loaded: time(16)?, left: time(24)? };
            }
            tag::TRAINING => {
                let (rate, firmware, attempts) = (value.u16(0)?, value.u16(2)?, value.u8(4)?);
                self.training = Some(Training { rate, attempts, firmware });
            }
            tag::NOTE => {
                let code = value.u16(0)?;
                let mut text = [0; NOTE_TEXT];
                for (to, from) in text.iter_mut().zip(&value.bytes[2..]) {
                    *to = *from;
                }
                put(&mut self.notes, Note { code, text });
            }
            tag::RECOVERY => {
                let region = Region::new(value.u64(0)?, value.u64(8)?);
                let kind = PartKind::from_number(value.u16(16)?);
                if let Some(part) = kind.and_then(|kind| self.recovery.part_mut(kind)) {
                    *part = Some(region);
                }
            }
            tag::ENTROPY => self.entropy = Secret::take(&mut value.array(0)?),
            _ => {}
        }
        Ok(())
    }
}

/// Puts `value` into the first free place; with all places taken, there is no room for it.
fn put<T>(places: &mut [Option<T>], value: T) {
    if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
        *place = Some(value);
    }
}

/// The checksum of a record, which has a header.
fn checksum(record: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&record[..CRC_AT]);
    digest.update(&record[CRC_AT + 4..]);
    digest.finalize()
}

/// Writes entries one behind the other.
struct Writer<'a> {
    room: &'a mut [u8],
    end: usize,
}

impl Writer<'_> {
    /// An entry whose value is `pieces`, one behind the other.
    fn entry(&mut self, tag: u16, pieces: &[&[u8]]) -> Result<(), Error> {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        let narrow = u16::try_from(size).map_err(|_| Error::Size)?;
        let next = (self.end + ENTRY_HEAD + size).next_multiple_of(GRAIN);
        let entry = self.room.get_mut(self.end..next).ok_or(Error::Size)?;
        entry.fill(0);
        entry[..2].copy_from_slice(&tag.to_le_bytes());
        entry[2..4].copy_from_slice(&narrow.to_le_bytes());
        let mut rest = &mut entry[ENTRY_HEAD..];
        for piece in pieces {
            let (place, behind) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = behind;
        }
        self.end = next;
        Ok(())
    }

    /// The header, now that everything behind it is known.
    fn finish(self) -> Result<usize, Error> {
        let record = self.room.get_mut(..self.end).ok_or(Error::Size)?;
        let size = u32::try_from(self.end).map_err(|_| Error::Size)?;
        record[..HEADER_SIZE].fill(0);
        record[..8].copy_from_slice(&MAGIC);
        record[8..10].copy_from_slice(&VERSION.to_le_bytes());
        record[10..12].copy_from_slice(&HEADER_FIELD.to_le_bytes());
        record[12..16].copy_from_slice(&size.to_le_bytes());
        let checksum = checksum(record);
        record[CRC_AT..CRC_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        Ok(self.end)
    }
}

/// The entries of a record.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<Value<'a>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let head = Value { tag: 0, bytes: self.rest };
        let (tag, size) = (head.u16(0)?, usize::from(head.u16(2)?));
        let value = self.rest.get(ENTRY_HEAD..ENTRY_HEAD + size).ok_or(Error::Entry(tag))?;
        let next = (ENTRY_HEAD + size).next_multiple_of(GRAIN);
        self.rest = self.rest.get(next..).ok_or(Error::Entry(tag))?;
        Ok(Some(Value { tag, bytes: value }))
    }
}

/// The value of an entry.
struct Value<'a> {
    tag: u16,
    bytes: &'a [u8],
}

impl Value<'_> {
    fn array<const SIZE: usize>(&self, at: usize) -> Result<[u8; SIZE], Error> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(Error::Entry(self.tag))
    }

    fn u8(&self, at: usize) -> Result<u8, Error> {
        self.array(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Result<u16, Error> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_le_bytes)
    }
}
