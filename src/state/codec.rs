//! The record as it lies on the card; `docs/state-record.md` is the reference.
//!
//! A header that no version changes (magic, version, sequence number, checksum over all of the
//! record), then entries of tag, size and value. Entries that this version does not know are kept
//! as long as there is room; a change that an old version must not overlook takes a new version
//! number, and then the record is refused.

use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use super::{
    Booted, Counted, Failure, Identity, MAX_COUNTED, Record, Standing, Unknown, identity::cut,
};
use crate::{
    block::BLOCK_SIZE,
    error::{Code, Coded},
};

/// Bytes of a copy, whatever is in it.
pub const RECORD_SIZE: usize = 4096;
/// Blocks of a copy.
pub const RECORD_BLOCKS: u64 = (RECORD_SIZE / BLOCK_SIZE) as u64;
/// Bytes of a failure's text that are kept.
pub const FAILURE_TEXT: usize = 160;

pub(super) const MAGIC: [u8; 8] = *b"FIRNSTAT";
const VERSION: u16 = 1;
const SIZE_AT: usize = 0x0c;
const SEQUENCE_AT: usize = 0x10;
const CRC_AT: usize = 0x18;
const HEADER_SIZE: usize = 0x20;
/// Bytes in front of an entry's value: tag and size.
const ENTRY_HEAD: usize = 4;
/// Entries are padded to multiples of this.
const GRAIN: usize = 4;

pub(super) const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

mod tag {
    pub(super) const DEFAULT: u16 = 1;
    pub(super) const BOOT_ONCE: u16 = 2;
    pub(super) const LAST_BOOTED: u16 = 3;
    pub(super) const LAST_FAILURE: u16 = 4;
    pub(super) const SEARCHED: u16 = 5;
    pub(super) const COUNTED: u16 = 6;
}

const STANDING_TRYING: u8 = 0;
const STANDING_GOOD: u8 = 1;

/// Why the bytes of a copy are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There are too few bytes: the copy could not be read.
    Size,
    /// It does not begin as a record does.
    Magic,
    /// Its checksum does not match: it was being written when the power went.
    Checksum,
    /// The entry with this tag is not as it must be.
    Entry(u16),
}

impl Coded for Error {
    fn code(&self) -> Code {
        Code::StateDamaged
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("it could not be read"),
            Self::Magic => f.write_str("there is no record"),
            Self::Checksum => f.write_str("its checksum does not match"),
            Self::Entry(tag) => write!(f, "its entry with tag {tag} is damaged"),
        }
    }
}

impl core::error::Error for Error {}

/// A copy that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) sequence: u64,
    pub(super) content: Result<Record, Later>,
}

/// A record of this version, which is not this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Later(pub(super) u16);

/// The bytes of a copy of `record`. What later versions added and what has no room is left out, from
/// the last entry on; what this version knows always fits.
pub(super) fn encode(record: &Record, sequence: u64) -> Box<[u8; RECORD_SIZE]> {
    let mut writer = Writer { bytes: vec![0; HEADER_SIZE] };
    let single = [
        (tag::DEFAULT, &record.default),
        (tag::BOOT_ONCE, &record.boot_once),
        (tag::SEARCHED, &record.searched),
    ];
    for (tag, identity) in single {
        if let Some(identity) = identity {
            writer.entry(tag, &[identity.as_str().as_bytes()]);
        }
    }
    if let Some(Booted { identity, on_trial }) = &record.last_booted {
        writer.entry(tag::LAST_BOOTED, &[&[u8::from(*on_trial)], identity.as_str().as_bytes()]);
    }
    if let Some(Failure { identity, code, text }) = &record.last_failure {
        let identity = identity.as_str().as_bytes();
        // An identity has at most 255 bytes.
        let size = u8::try_from(identity.len()).unwrap_or(u8::MAX);
        let text = cut(text, FAILURE_TEXT);
        writer.entry(tag::LAST_FAILURE, &[&code.to_le_bytes(), &[size], identity, text.as_bytes()]);
    }
    for Counted { identity, standing } in record.counted.iter().take(MAX_COUNTED) {
        let standing = match *standing {
            Standing::Trying { left, done } => [STANDING_TRYING, left, done],
            Standing::Good => [STANDING_GOOD, 0, 0],
        };
        writer.entry(tag::COUNTED, &[&standing, identity.as_str().as_bytes()]);
    }
    for Unknown { tag, value } in &record.unknown {
        writer.entry(*tag, &[value]);
    }
    writer.finish(sequence)
}

/// The copy that `bytes` begin with.
pub(super) fn decode(bytes: &[u8]) -> Result<Whole, Error> {
    let bytes: &[u8; RECORD_SIZE] = bytes.first_chunk().ok_or(Error::Size)?;
    if !bytes.starts_with(&MAGIC) {
        return Err(Error::Magic);
    }
    let header = Value { tag: 0, bytes };
    if checksum(bytes) != header.u32(CRC_AT)? {
        return Err(Error::Checksum);
    }
    let (version, sequence) = (header.u16(0x08)?, header.u64(SEQUENCE_AT)?);
    if version != VERSION {
        return Ok(Whole { sequence, content: Err(Later(version)) });
    }
    let (start, end) = (usize::from(header.u16(0x0a)?), usize::from(header.u16(SIZE_AT)?));
    let entries = bytes.get(start..end).filter(|_| start >= HEADER_SIZE).ok_or(header.error())?;
    Ok(Whole { sequence, content: Ok(read_entries(entries)?) })
}

fn read_entries(mut rest: &[u8]) -> Result<Record, Error> {
    let mut record = Record::default();
    while !rest.is_empty() {
        let head = Value { tag: 0, bytes: rest };
        let (tag, size) = (head.u16(0)?, usize::from(head.u16(2)?));
        let value = rest.get(ENTRY_HEAD..ENTRY_HEAD + size).ok_or(Error::Entry(tag))?;
        record.take(Value { tag, bytes: value })?;
        let next = (ENTRY_HEAD + size).next_multiple_of(GRAIN);
        rest = rest.get(next..).ok_or(Error::Entry(tag))?;
    }
    Ok(record)
}

impl Record {
    /// Takes over what one entry says.
    fn take(&mut self, value: Value<'_>) -> Result<(), Error> {
        match value.tag {
            tag::DEFAULT => value.once(&mut self.default, value.identity(0)?),
            tag::BOOT_ONCE => value.once(&mut self.boot_once, value.identity(0)?),
            tag::SEARCHED => value.once(&mut self.searched, value.identity(0)?),
            tag::LAST_BOOTED => {
                let on_trial = value.u8(0)? != 0;
                let booted = Booted { identity: value.identity(1)?, on_trial };
                value.once(&mut self.last_booted, booted)
            }
            tag::LAST_FAILURE => {
                let failure = value.failure()?;
                value.once(&mut self.last_failure, failure)
            }
            tag::COUNTED => self.take_counted(&value),
            tag => {
                self.unknown.push(Unknown { tag, value: value.bytes.into() });
                Ok(())
            }
        }
    }

    fn take_counted(&mut self, value: &Value<'_>) -> Result<(), Error> {
        let [kind, left, done] = value.array(0)?;
        let standing = match kind {
            STANDING_TRYING => Standing::Trying { left, done },
            STANDING_GOOD => Standing::Good,
            _ => return Err(value.error()),
        };
        let identity = value.identity(3)?;
        if self.counted.len() == MAX_COUNTED || self.standing(&identity).is_some() {
            return Err(value.error());
        }
        self.counted.push(Counted { identity, standing });
        Ok(())
    }
}

fn checksum(bytes: &[u8; RECORD_SIZE]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&bytes[..CRC_AT]);
    digest.update(&bytes[CRC_AT + 4..]);
    digest.finalize()
}

/// Writes entries one behind the other.
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An entry whose value is `pieces`, one behind the other; nothing if there is no room for it.
    fn entry(&mut self, tag: u16, pieces: &[&[u8]]) {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        let end = (self.bytes.len() + ENTRY_HEAD + size).next_multiple_of(GRAIN);
        let Some(narrow) = u16::try_from(size).ok().filter(|_| end <= RECORD_SIZE) else { return };
        self.bytes.extend(tag.to_le_bytes());
        self.bytes.extend(narrow.to_le_bytes());
        pieces.iter().for_each(|piece| self.bytes.extend(*piece));
        self.bytes.resize(end, 0);
    }

    /// The header, now that everything behind it is known, and zeros up to the end.
    fn finish(self, sequence: u64) -> Box<[u8; RECORD_SIZE]> {
        let mut record = Box::new([0; RECORD_SIZE]);
        record[..self.bytes.len()].copy_from_slice(&self.bytes);
        // Both are below 4096.
        let [header_size, size] =
            [HEADER_SIZE, self.bytes.len()].map(|size| u16::try_from(size).unwrap_or(u16::MAX));
        record[..8].copy_from_slice(&MAGIC);
        record[0x08..0x0a].copy_from_slice(&VERSION.to_le_bytes());
        record[0x0a..0x0c].copy_from_slice(&header_size.to_le_bytes());
        record[SIZE_AT..SIZE_AT + 2].copy_from_slice(&size.to_le_bytes());
        record[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&sequence.to_le_bytes());
        let checksum = checksum(&record);
        record[CRC_AT..CRC_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        record
    }
}

/// The value of an entry.
#[derive(Clone, Copy)]
struct Value<'a> {
    tag: u16,
    bytes: &'a [u8],
}

impl Value<'_> {
    fn error(&self) -> Error {
        Error::Entry(self.tag)
    }

    /// Puts `value` where there is nothing yet: which of two is meant, nobody knows.
    fn once<T>(&self, place: &mut Option<T>, value: T) -> Result<(), Error> {
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.error()),
        }
    }

    /// The identity that begins at `at` and ends with the value.
    fn identity(&self, at: usize) -> Result<Identity, Error> {
        self.bytes.get(at..).and_then(identity).ok_or(self.error())
    }

    fn failure(&self) -> Result<Failure, Error> {
        let (code, size) = (self.u16(0)?, usize::from(self.u8(2)?));
        let (name, text) =
            self.bytes.get(3..).and_then(|rest| rest.split_at_checked(size)).ok_or(self.error())?;
        let text = str::from_utf8(text).map_err(|_| self.error())?;
        let text: String = cut(text, FAILURE_TEXT);
        Ok(Failure { identity: identity(name).ok_or(self.error())?, code, text })
    }

    fn array<const SIZE: usize>(&self, at: usize) -> Result<[u8; SIZE], Error> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(self.error())
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

fn identity(bytes: &[u8]) -> Option<Identity> {
    Identity::whole(str::from_utf8(bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::{collection::vec as many, option, prelude::*};

    use super::{super::MAX_IDENTITY, *};

    fn any_identity() -> impl Strategy<Value = Identity> {
        prop_oneof!["[a-z]{1,3}", "/nix/store/[a-z0-9]{32}-[a-z]{1,211}", "ä{1,127}"]
            .prop_map(|text| Identity::new(&text))
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            Just(Standing::Good),
            any::<(u8, u8)>().prop_map(|(left, done)| Standing::Trying { left, done }),
        ]
    }

    prop_compose! {
        fn any_record()(
            (default, boot_once, searched) in (
                option::of(any_identity()), option::of(any_identity()), option::of(any_identity())),
            booted in option::of((any_identity(), any::<bool>())),
            failure in option::of((any_identity(), any::<u16>(), "[a-zä ]{0,80}")),
            counted in many((any_identity(), any_standing()), 0..=MAX_COUNTED),
            unknown in many((7u16.., many(any::<u8>(), 0..40)), 0..8),
        ) -> Record {
            let mut record = Record {
                default,
                boot_once,
                searched,
                last_booted: booted.map(|(identity, on_trial)| Booted { identity, on_trial }),
                last_failure: failure
                    .map(|(identity, code, text)| Failure { identity, code, text }),
                counted: Vec::new(),
                brief: false,
                unknown: unknown.into_iter().map(|(tag, value)| Unknown { tag, value }).collect(),
            };
            for (identity, standing) in counted {
                if record.standing(&identity).is_none() {
                    record.counted.push(Counted { identity, standing });
                }
            }
            record
        }
    }

    fn read(bytes: &[u8]) -> Result<Record, Error> {
        match decode(bytes)?.content {
            Ok(record) => Ok(record),
            Err(Later(version)) => panic!("version {version}"),
        }
    }

    /// `bytes` with the checksum that belongs to them.
    fn signed(mut bytes: Box<[u8; RECORD_SIZE]>) -> Box<[u8; RECORD_SIZE]> {
        let checksum = checksum(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Every field as long as it may be.
    fn largest() -> Record {
        let name = |n: usize| Identity::new(&format!("{n:0>MAX_IDENTITY$}"));
        Record {
            default: Some(name(1)),
            boot_once: Some(name(2)),
            searched: Some(name(3)),
            last_booted: Some(Booted { identity: name(4), on_trial: true }),
            last_failure: Some(Failure {
                identity: name(5),
                code: u16::MAX,
                text: "x".repeat(FAILURE_TEXT),
            }),
            counted: (0..MAX_COUNTED)
                .map(|n| Counted { identity: name(n), standing: Standing::Good })
                .collect(),
            unknown: Vec::new(),
            brief: false,
        }
    }

    #[test]
    fn the_largest_record_fits() {
        assert_eq!(read(&*encode(&largest(), 1)), Ok(largest()));
    }

    #[test]
    fn a_later_versions_entries_give_way_to_what_this_version_knows() {
        let small = Unknown { tag: 99, value: vec![1; 8] };
        let large = Unknown { tag: 98, value: vec![2; 3000] };
        let record = Record { unknown: vec![small.clone(), large], ..largest() };
        let kept = Record { unknown: vec![small], ..largest() };
        assert_eq!(read(&*encode(&record, 1)), Ok(kept));
    }

    #[test]
    fn a_failures_text_is_cut() {
        let failure =
            Failure { identity: Identity::new("a"), code: 1, text: "ä".repeat(FAILURE_TEXT) };
        let record = Record { last_failure: Some(failure), ..Record::default() };
        let text = read(&*encode(&record, 1)).unwrap().last_failure.unwrap().text;
        assert_eq!(text, "ä".repeat(FAILURE_TEXT / 2));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = encode(&largest(), 7);
        bytes[8] = 2;
        let later = Whole { sequence: 7, content: Err(Later(2)) };
        assert_eq!(decode(&*signed(bytes)), Ok(later));
    }

    #[test]
    fn an_entry_that_contradicts_another_is_refused() {
        for (tag, value) in [
            (tag::DEFAULT, &b"a"[..]),
            (tag::COUNTED, b"\x01\x00\x00a"),
            (tag::LAST_BOOTED, b"\x00a"),
        ] {
            let mut writer = Writer { bytes: vec![0; HEADER_SIZE] };
            writer.entry(tag, &[value]);
            writer.entry(tag, &[value]);
            assert_eq!(read(&*writer.finish(1)), Err(Error::Entry(tag)));
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let bytes = encode(&largest(), 1);
        for at in 0..RECORD_SIZE {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(read(&*damaged).is_err(), "byte {at}");
        }
    }

    proptest! {
        // Each case checksums kilobytes in a debug build.
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_written_is_read(record in any_record(), sequence: u64) {
            let whole = Whole { sequence, content: Ok(record.clone()) };
            prop_assert_eq!(decode(&*encode(&record, sequence)), Ok(whole));
        }

        #[test]
        fn any_bytes_behind_a_header_that_holds_are_a_record_or_an_error(
            body in many(prop_oneof![0u8..9, any::<u8>()], 0..RECORD_SIZE - 8),
            header in any::<bool>(),
        ) {
            let mut bytes = Box::new([0; RECORD_SIZE]);
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..8 + body.len()].copy_from_slice(&body);
            if header {
                let whole = encode(&Record::default(), 1);
                bytes[..HEADER_SIZE].copy_from_slice(&whole[..HEADER_SIZE]);
                bytes[SIZE_AT..SIZE_AT + 2].copy_from_slice(&0x1000u16.to_le_bytes());
            }
            // What is read can be written.
            if let Ok(Whole { content: Ok(record), .. }) = decode(&*signed(bytes)) {
                prop_assert!(read(&*encode(&record, 1)).is_ok());
            }
        }

        #[test]
        fn a_mutated_record_with_its_checksum_put_right_is_a_record_or_an_error(
            record in any_record(),
            changes in many((8..RECORD_SIZE / 8, any::<u8>()), 1..4),
        ) {
            let mut bytes = encode(&record, 1);
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            if let Ok(Whole { content: Ok(record), .. }) = decode(&*signed(bytes)) {
                prop_assert!(read(&*encode(&record, 1)).is_ok());
            }
        }
    }
}
