//! A power cut at any moment of a write leaves the old or the new record, and nothing that the card
//! holds stops a boot.

#![forbid(unsafe_code)]

mod torn;

use firn::{
    block::BLOCK_SIZE,
    error::{Code, Coded},
    state::{
        Error, Identity, RECORD_SIZE, Record,
        copies::{Copy, Ground, Refusal, Source, Stored, Write, choose},
    },
};
use proptest::{collection, prelude::*};
use torn::Torn;

const SECTORS: usize = RECORD_SIZE / BLOCK_SIZE;

/// Both places of a card.
#[derive(Clone)]
struct Card {
    ground: Ground,
    places: [Vec<u8>; 2],
}

impl Card {
    fn blank(ground: Ground) -> Self {
        Self { ground, places: [vec![0; RECORD_SIZE], vec![0; RECORD_SIZE]] }
    }

    fn read(&self) -> Stored {
        choose(self.ground, &self.places[0], &self.places[1])
    }

    fn write(&mut self, record: Record) {
        let (write, _) = self.read().plan(record).unwrap();
        self.places[write.copy.index()] = write.bytes.to_vec();
    }

    /// After `writes` writes, each of another record.
    fn after(ground: Ground, writes: usize) -> Self {
        let mut card = Self::blank(ground);
        (1..=writes).for_each(|n| card.write(record(n)));
        card
    }
}

/// The record of write number `n`: full, so that each sector differs from write to write.
fn record(n: usize) -> Record {
    let mut record = Record::default();
    if n > 0 {
        let name = |k: usize| Identity::new(&format!("/nix/store/{:0>240}", n * 100 + k));
        (0..8).for_each(|k| record.bless(name(k)));
        record.set_default(name(0), None);
        record.boot_once = Some(name(8));
    }
    record
}

/// A card that holds record `n`, and the write of record `n + 1`.
struct Writing {
    card: Card,
    write: Write,
    n: usize,
}

impl Writing {
    /// On blank ground of both kinds, and with each of the copies the older one.
    fn all() -> impl Iterator<Item = Self> {
        [(Ground::Own, 0), (Ground::Gap, 0), (Ground::Gap, 1), (Ground::Gap, 2)].into_iter().map(
            |(ground, n)| {
                let card = Card::after(ground, n);
                let (write, _) = card.read().plan(record(n + 1)).unwrap();
                Self { card, write, n }
            },
        )
    }

    /// Checks that the old or the new record is there, and that the next write works, if each byte
    /// becomes what `torn` makes of its place, old and new value.
    fn cut(&self, what: &str, torn: impl Fn(usize, u8, u8) -> u8) {
        let mut card = self.card.clone();
        let place = &mut card.places[self.write.copy.index()];
        for (at, (old, &new)) in place.iter_mut().zip(self.write.bytes.iter()).enumerate() {
            *old = torn(at, *old, new);
        }
        let n = self.n;
        let read = card.read();
        let is_one = read.record == record(n) || read.record == record(n + 1);
        assert!(is_one, "write {}: {what}", n + 1);
        let (write, _) = read.plan(record(n + 2)).unwrap();
        card.places[write.copy.index()] = write.bytes.to_vec();
        assert_eq!(card.read().record, record(n + 2), "after write {}: {what}", n + 1);
    }
}

#[test]
fn writes_alternate_between_the_copies_and_the_newest_counts() {
    for n in 1..9 {
        let read = Card::after(Ground::Gap, n).read();
        let copy = if n % 2 == 1 { Copy::A } else { Copy::B };
        assert_eq!((read.source, read.record), (Source::Copy(copy), record(n)));
    }
}

#[test]
fn a_cut_after_any_byte_of_a_write_leaves_the_old_or_the_new_record() {
    for writing in Writing::all() {
        for end in 0..=RECORD_SIZE {
            let what = format!("cut after {end} bytes");
            writing.cut(&what, |at, old, new| if at < end { new } else { old });
        }
    }
}

#[test]
fn any_set_of_sectors_torn_in_any_way_leaves_the_old_or_the_new_record() {
    for writing in Writing::all() {
        for set in 0..1usize << SECTORS {
            let is_in = |at: usize| set >> (at / BLOCK_SIZE) & 1 == 1;
            let what = format!("sectors {set:#010b}");
            for kind in Torn::ALL {
                // The others are old, or new: cards write in any order.
                for others_new in [false, true] {
                    writing.cut(&what, |at, old, new| match is_in(at) {
                        true => kind.byte(at, old, new),
                        false if others_new => new,
                        false => old,
                    });
                }
            }
        }
    }
}

#[test]
fn what_is_planned_is_what_is_read_once_it_is_written() {
    let mut card = Card::after(Ground::Gap, 3);
    let (write, stored) = card.read().plan(record(9)).unwrap();
    card.places[write.copy.index()] = write.bytes.to_vec();
    assert_eq!(card.read(), stored);
}

#[test]
fn two_copies_lost_are_an_empty_record() {
    let mut card = Card::after(Ground::Own, 4);
    card.places.iter_mut().for_each(|place| place[700] ^= 1);
    let read = card.read();
    let damaged = Source::Lost([Error::Checksum; 2]);
    assert_eq!((read.source, read.record), (damaged, Record::default()));
    let problem = read.source.problem().unwrap();
    assert_eq!(problem.code(), Code::StateDamaged);
    assert!(problem.to_string().contains("second copy: its checksum does not match"));
    card.write(record(1));
    assert_eq!(card.read().record, record(1));
}

#[test]
fn copies_that_cannot_be_read_are_an_empty_record() {
    for ground in [Ground::Own, Ground::Gap] {
        assert_eq!(choose(ground, &[], &[]).record, Record::default());
    }
    let card = Card::after(Ground::Gap, 2);
    let read = choose(Ground::Gap, &card.places[0], &[]);
    assert_eq!((read.source, &read.record), (Source::Copy(Copy::A), &record(1)));
    assert_eq!(read.plan(record(3)).unwrap().0.copy, Copy::B);
}

#[test]
fn an_erased_place_is_blank_and_can_be_written() {
    for byte in [0, 0xff] {
        let place = [byte; RECORD_SIZE];
        let read = choose(Ground::Gap, &place, &place);
        assert_eq!((read.source, read.source.problem()), (Source::Blank, None));
        assert_eq!(read.check_writable(), Ok(()));
    }
}

#[test]
fn what_is_not_ours_in_a_gap_is_never_written_over() {
    let foreign = [0x42; RECORD_SIZE];
    let read = choose(Ground::Gap, &foreign, &foreign);
    assert_eq!(read.record, Record::default());
    assert_eq!(read.plan(record(1)).unwrap_err(), Refusal::Foreign);
    assert_eq!(Refusal::Foreign.code(), Code::StateForeign);

    let blank = [0; RECORD_SIZE];
    let (write, _) = choose(Ground::Gap, &foreign, &blank).plan(record(1)).unwrap();
    assert_eq!(write.copy, Copy::B);
    assert!(choose(Ground::Own, &foreign, &foreign).plan(record(1)).is_ok());
}

/// `copy` as a later version would have written it.
fn of_a_later_version(copy: &[u8]) -> Vec<u8> {
    let mut copy = copy.to_vec();
    copy[8] = 2;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    digest.update(&copy[..0x18]);
    digest.update(&copy[0x1c..]);
    let checksum = digest.finalize();
    copy[0x18..0x1c].copy_from_slice(&checksum.to_le_bytes());
    copy
}

#[test]
fn a_later_versions_record_is_left_alone() {
    let mut card = Card::after(Ground::Own, 2);
    card.places[1] = of_a_later_version(&card.places[1]);
    let read = card.read();
    assert_eq!((read.source, &read.record), (Source::Later(2), &Record::default()));
    let refusal = read.plan(record(1)).unwrap_err();
    assert_eq!((refusal, refusal.code()), (Refusal::Later(2), Code::StateVersion));
}

#[test]
fn a_record_newer_than_a_later_versions_counts() {
    let mut card = Card::after(Ground::Own, 2);
    card.places[0] = of_a_later_version(&card.places[0]);
    assert_eq!(card.read().record, record(2));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_empty_one(
        a in collection::vec(any::<u8>(), 0..2 * RECORD_SIZE),
        b in collection::vec(any::<u8>(), 0..2 * RECORD_SIZE),
    ) {
        let read = choose(Ground::Gap, &a, &b);
        prop_assert_eq!(read.record, Record::default());
    }

    #[test]
    fn a_history_of_cut_writes_never_goes_back(
        cuts in collection::vec((0..=RECORD_SIZE, any::<bool>()), 1..20),
    ) {
        let mut card = Card::after(Ground::Gap, 1);
        let mut last = 1;
        for (n, (end, later_first)) in (1..).zip(cuts) {
            let (write, _) = card.read().plan(record(n + 1)).unwrap();
            let place = &mut card.places[write.copy.index()];
            match later_first {
                true => place[RECORD_SIZE - end..].copy_from_slice(&write.bytes[RECORD_SIZE - end..]),
                false => place[..end].copy_from_slice(&write.bytes[..end]),
            }
            let read = card.read().record;
            match read == record(n + 1) {
                true => last = n + 1,
                false => prop_assert_eq!(read, record(last)),
            }
        }
    }
}
