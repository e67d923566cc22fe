//! The state record on a card: written through [`Store`], a power cut at any moment of a write leaves
//! the old or the new record and the same or the next decision, and whatever a card does, the boot
//! goes on.

#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

mod torn;

use std::{cell::RefCell, collections::BTreeMap, num::NonZeroU8, rc::Rc};

use firn::{
    block::{BLOCK_SIZE, BlockDevice, Error, ErrorKind, SharedDevice, cache::Cache},
    boot::{Location, Store},
    error::Code,
    state::{
        Identity, RECORD_SIZE, Record,
        copies::{Copy, Source},
        counter::{BLANK, Counter, Words},
        place::GAP_OFFSETS,
        policy::{Candidate, Decision, Situation, decide},
    },
};
use torn::Torn;

const SECTORS: usize = RECORD_SIZE / BLOCK_SIZE;
const BLOCKS: u64 = 1 << 16;
const FIRST_COPY: u64 = GAP_OFFSETS[0] / BLOCK_SIZE as u64;
const SECOND_COPY: u64 = GAP_OFFSETS[1] / BLOCK_SIZE as u64;

type Block = [u8; BLOCK_SIZE];

// --- a card ------------------------------------------------------------------------------------

/// How the card takes the next write.
#[derive(Clone, Copy, Debug, Default)]
enum Writes {
    #[default]
    Kept,
    /// The power goes when it has kept so many bytes.
    CutAfter(usize),
    /// The power goes; these sectors are torn, the others old or new.
    TornSectors {
        set: usize,
        kind: Torn,
        others_new: bool,
    },
    /// It says that it has kept them.
    Forgotten,
    /// It keeps them with one bit turned.
    Altered,
    Refused(ErrorKind),
}

/// What stays when the power is gone.
#[derive(Clone, Default)]
struct Medium {
    blocks: BTreeMap<u64, Block>,
    writes: Writes,
    /// Protected against writing.
    locked: bool,
    unreadable: Vec<u64>,
    written: Vec<u64>,
}

impl Medium {
    /// One Linux partition behind `first` blocks.
    fn with_partition_at(first: u32) -> Self {
        let mut boot = [0; BLOCK_SIZE];
        boot[446 + 4] = 0x83;
        boot[446 + 8..446 + 12].copy_from_slice(&first.to_le_bytes());
        boot[446 + 12..446 + 16].copy_from_slice(&1000u32.to_le_bytes());
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        Self { blocks: BTreeMap::from([(0, boot)]), ..Self::default() }
    }

    fn block(&self, number: u64) -> Block {
        self.blocks.get(&number).copied().unwrap_or([0; BLOCK_SIZE])
    }

    fn fill(&mut self, first: u64, byte: u8) {
        (first..first + SECTORS as u64).for_each(|at| {
            self.blocks.insert(at, [byte; BLOCK_SIZE]);
        });
    }

    fn put(&mut self, first: u64, source: &[u8], byte: impl Fn(usize, u8, u8) -> u8) {
        for (sector, new) in source.chunks_exact(BLOCK_SIZE).enumerate() {
            let number = first + sector as u64;
            let mut block = self.block(number);
            for (within, (old, &new)) in block.iter_mut().zip(new).enumerate() {
                *old = byte(sector * BLOCK_SIZE + within, *old, new);
            }
            self.blocks.insert(number, block);
        }
    }
}

#[derive(Clone)]
struct Card(Rc<RefCell<Medium>>);

impl Card {
    fn new(medium: Medium) -> Self {
        Self(Rc::new(RefCell::new(medium)))
    }

    /// With room in front of its partition.
    fn blank() -> Self {
        Self::new(Medium::with_partition_at(16384))
    }

    /// The same contents, on a card of its own that behaves.
    fn after_power_up(&self) -> Self {
        let Medium { blocks, .. } = self.0.borrow().clone();
        Self::new(Medium { blocks, ..Medium::default() })
    }

    fn behind_a_cache(&self) -> SharedDevice {
        Rc::new(RefCell::new(Cache::new(self.clone())))
    }

    fn store(&self) -> Store {
        Store::open(&self.behind_a_cache(), None)
    }

    fn record(&self) -> Record {
        self.store().record().clone()
    }

    fn takes_writes(&self, writes: Writes) {
        self.0.borrow_mut().writes = writes;
    }

    fn error(&self, kind: ErrorKind, block: u64) -> Error {
        Error { kind, device: self.name().into(), block }
    }
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        "test card"
    }

    fn block_count(&self) -> u64 {
        BLOCKS
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let medium = self.0.borrow();
        for (number, block) in (first_block..).zip(destination.chunks_exact_mut(BLOCK_SIZE)) {
            if medium.unreadable.contains(&number) {
                return Err(self.error(ErrorKind::Transfer, number));
            }
            block.copy_from_slice(&medium.block(number));
        }
        Ok(())
    }

    fn is_writable(&self) -> bool {
        !self.0.borrow().locked
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        let mut medium = self.0.borrow_mut();
        let gone = Err(self.error(ErrorKind::Removed, first_block));
        let sectors = (source.len() / BLOCK_SIZE) as u64;
        medium.written.extend(first_block..first_block + sectors);
        match medium.writes {
            Writes::Kept => medium.put(first_block, source, |_, _, new| new),
            Writes::CutAfter(end) => {
                medium.put(first_block, source, |at, old, new| if at < end { new } else { old });
                return gone;
            }
            Writes::TornSectors { set, kind, others_new } => {
                medium.put(first_block, source, |at, old, new| {
                    match set >> (at / BLOCK_SIZE) & 1 {
                        1 => kind.byte(at, old, new),
                        _ if others_new => new,
                        _ => old,
                    }
                });
                return gone;
            }
            Writes::Forgotten => {}
            Writes::Altered => {
                medium.put(first_block, source, |at, _, new| new ^ u8::from(at == 2000));
            }
            Writes::Refused(kind) => return Err(self.error(kind, first_block)),
        }
        Ok(())
    }
}

// --- records and decisions ---------------------------------------------------------------------

fn id(name: &str) -> Identity {
    Identity::new(name)
}

/// A record whose copies differ in every sector from those of other numbers.
fn record(n: usize) -> Record {
    let mut record = Record::default();
    (0..8).for_each(|k| record.bless(id(&format!("/nix/store/{:0>240}", n * 100 + k))));
    record.default = Some(id(&format!("/nix/store/default-{n:0>200}")));
    record
}

/// A boot without a person, of a list with the new 42 and the old 41, of three tries each.
fn next_boot(record: &Record) -> Decision {
    let candidate = |id| Candidate { id, label: id, broken: false, tries: NonZeroU8::new(3) };
    let situation = Situation {
        candidates: &[candidate("42"), candidate("41")],
        link: Some("42"),
        reset: None,
        writable: true,
    };
    decide(record, &situation).unwrap()
}

/// All that can become of a write when the power goes.
fn cuts() -> impl Iterator<Item = Writes> {
    let prefixes = (0..=RECORD_SIZE).map(Writes::CutAfter);
    let sets = (0..1usize << SECTORS).flat_map(|set| {
        Torn::ALL.into_iter().flat_map(move |kind| {
            [false, true].map(|others_new| Writes::TornSectors { set, kind, others_new })
        })
    });
    prefixes.chain(sets)
}

// --- power cuts --------------------------------------------------------------------------------

#[test]
fn a_cut_at_any_byte_or_in_any_sectors_leaves_the_old_or_the_new_record() {
    // Over each copy; what a blank card makes of it, tests/state_copies.rs tells.
    for before in 1..3 {
        let card = Card::blank();
        (1..=before).for_each(|n| card.store().write(&record(n)).unwrap());
        let (old, new) = (card.record(), record(before + 1));
        for cut in cuts() {
            let card = card.after_power_up();
            card.takes_writes(cut);
            let mut store = card.store();
            store.write(&new).unwrap_err();
            assert!(!store.is_writable(), "{cut:?}");

            let card = card.after_power_up();
            let mut store = card.store();
            assert!(*store.record() == old || *store.record() == new, "{before}: {cut:?}");
            store.write(&record(9)).unwrap();
            assert_eq!(card.record(), record(9), "{before}: after {cut:?}");
        }
    }
}

#[test]
fn a_cut_in_the_middle_of_clearing_brings_no_older_record_back() {
    for last in 1..3 {
        let card = Card::blank();
        (1..=last).for_each(|n| card.store().write(&record(n)).unwrap());
        card.takes_writes(Writes::CutAfter(RECORD_SIZE));
        card.store().clear().unwrap_err();
        assert_eq!(card.after_power_up().record(), record(last));
    }
}

#[test]
fn a_cut_in_any_try_of_a_rollback_leaves_the_same_or_the_next_decision() {
    let card = Card::blank();
    let mut good = Record::default();
    good.bless(id("41"));
    card.store().write(&good).unwrap();
    let mut attempts = Vec::new();
    loop {
        let old = card.record();
        let decision = next_boot(&old);
        attempts.push(decision.attempt.map(|attempt| attempt.number));
        let Some(new) = &decision.write else { break };
        let next = next_boot(new);
        for cut in cuts() {
            let card = card.after_power_up();
            card.takes_writes(cut);
            card.store().write(new).unwrap_err();
            let again = next_boot(&card.after_power_up().record());
            assert!(again == decision || again == next, "try {:?}: {cut:?}", attempts.last());
        }
        card.store().write(new).unwrap();
    }
    // Three tries of 42, the boot of 41 that notes the last failure, and one that writes nothing.
    assert_eq!(attempts, [Some(1), Some(2), Some(3), None, None]);
}

// --- writing -----------------------------------------------------------------------------------

#[test]
fn what_is_written_is_the_record_and_found_again() {
    let card = Card::blank();
    let mut store = card.store();
    for n in 1..6 {
        store.write(&record(n)).unwrap();
        assert_eq!(*store.record(), record(n));
        assert_eq!(card.record(), record(n));
    }
    assert_eq!(store.problems(), []);
}

#[test]
fn nothing_but_the_two_copies_is_written() {
    let card = Card::blank();
    (1..4).for_each(|n| card.store().write(&record(n)).unwrap());
    let mut written = card.0.borrow().written.clone();
    written.sort_unstable();
    written.dedup();
    let copies = [FIRST_COPY, SECOND_COPY].map(|first| first..first + SECTORS as u64);
    assert_eq!(written, copies.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn a_cache_that_holds_the_old_copy_is_not_asked() {
    let card = Card::blank();
    let device = card.behind_a_cache();
    let mut old = [0; RECORD_SIZE];
    device.borrow_mut().read(FIRST_COPY, &mut old).unwrap();
    Store::open(&device, None).write(&record(1)).unwrap();
    assert_eq!(*Store::open(&device, None).record(), record(1));
    let mut new = [0; RECORD_SIZE];
    device.borrow_mut().read(FIRST_COPY, &mut new).unwrap();
    assert!(new.starts_with(b"FIRNSTAT"));

    // Somebody else wrote meanwhile.
    card.store().write(&record(2)).unwrap();
    assert_eq!(*Store::open(&device, None).record(), record(2));
}

#[test]
fn a_card_that_does_not_keep_what_it_says_is_found_out() {
    for writes in [Writes::Forgotten, Writes::Altered] {
        let card = Card::blank();
        card.store().write(&record(1)).unwrap();
        card.takes_writes(writes);
        let mut store = card.store();
        let problem = store.write(&record(2)).unwrap_err();
        assert_eq!(problem.code, Code::StateWrite);
        assert!(problem.text.contains("something else than what was written"), "{problem}");
        assert!(!store.is_writable());
        assert_eq!((store.record(), store.problems()), (&record(1), &[problem][..]));
        // Nothing is tried a second time.
        let written = card.0.borrow().written.len();
        store.write(&record(3)).unwrap_err();
        assert_eq!(card.0.borrow().written.len(), written);
        assert_eq!(card.after_power_up().record(), record(1));
    }
}

#[test]
fn a_write_that_fails_says_why_and_ends_all_writing() {
    for kind in [ErrorKind::ReadOnly, ErrorKind::Timeout, ErrorKind::Transfer] {
        let card = Card::blank();
        card.takes_writes(Writes::Refused(kind));
        let mut store = card.store();
        assert!(store.is_writable());
        let problem = store.write(&record(1)).unwrap_err();
        let cause = card.error(kind, FIRST_COPY).to_string();
        assert!(problem.code == Code::StateWrite && problem.text.contains(&cause), "{problem}");
        assert!(!store.is_writable());
    }
}

#[test]
fn a_locked_cards_record_counts_but_cannot_be_written() {
    let card = Card::blank();
    card.store().write(&record(1)).unwrap();
    card.0.borrow_mut().locked = true;
    let mut store = card.store();
    assert_eq!(*store.record(), record(1));
    assert!(!store.is_writable());
    assert_eq!(store.problems()[0].code, Code::ReadOnly);
    store.write(&record(2)).unwrap_err();
    assert_eq!(card.record(), record(1));
}

// --- the SoC's registers, where the card cannot be written to -----------------------------------

/// What the registers of a board do.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Everything,
    /// As in QEMU.
    Nothing,
}

/// Registers that outlive the boots of a test.
#[derive(Clone)]
struct Registers(Rc<RefCell<(Words, Keeps)>>);

impl Registers {
    fn new(words: Words, keeps: Keeps) -> Self {
        Self(Rc::new(RefCell::new((words, keeps))))
    }

    fn words(&self) -> Words {
        self.0.borrow().0
    }

    fn store(&self, card: &Card) -> Store {
        Store::open(&card.behind_a_cache(), Some(Box::new(self.clone())))
    }
}

impl Counter for Registers {
    fn read(&mut self) -> Option<Words> {
        Some(self.words())
    }

    fn write(&mut self, words: Words) {
        let mut registers = self.0.borrow_mut();
        if registers.1 == Keeps::Everything {
            registers.0 = words;
        }
    }
}

fn without_a_place() -> Card {
    Card::new(Medium::with_partition_at(2048))
}

fn locked() -> Card {
    let card = Card::blank();
    card.0.borrow_mut().locked = true;
    card
}

fn foreign() -> Card {
    let card = Card::blank();
    for copy in [FIRST_COPY, SECOND_COPY] {
        card.0.borrow_mut().fill(copy, 0x42);
    }
    card
}

#[test]
fn registers_roll_back_where_the_card_cannot_be_written_to() {
    for card in [without_a_place(), locked(), foreign()] {
        let registers = Registers::new(BLANK, Keeps::Everything);
        let mut good = registers.store(&card).record().clone();
        good.bless(id("41"));
        registers.store(&card).write(&good).unwrap();
        let mut attempts = Vec::new();
        for _ in 0..5 {
            let mut store = registers.store(&card);
            assert_eq!((store.place(), store.is_writable()), (Location::Register, true));
            let decision = next_boot(store.record());
            attempts.push((decision.index, decision.attempt.map(|attempt| attempt.number)));
            if let Some(record) = &decision.write {
                store.write(record).unwrap();
                assert_eq!(store.record(), record);
            }
        }
        let tries = [(0, Some(1)), (0, Some(2)), (0, Some(3)), (1, None), (1, None)];
        assert_eq!(attempts, tries);
        assert_eq!(card.0.borrow().written, []);
    }
}

#[test]
fn the_menu_says_that_only_registers_serve() {
    for (card, code) in [
        (without_a_place(), Code::StatePlace),
        (locked(), Code::ReadOnly),
        (foreign(), Code::StateForeign),
    ] {
        let store = Registers::new(BLANK, Keeps::Everything).store(&card);
        let [problem] = store.problems() else { panic!("{:?}", store.problems()) };
        assert_eq!(problem.code, code);
        assert!(problem.text.ends_with("which forget them without power"), "{problem}");
        let store = card.store();
        let [problem] = store.problems() else { panic!("{:?}", store.problems()) };
        assert!(problem.text.ends_with("; no boot is counted"), "{problem}");
    }
}

#[test]
fn registers_that_keep_nothing_or_somebody_elses_are_left_alone() {
    // U-Boot's boot counter.
    let foreign = [0xb001_0003, 0, 0, 0];
    for (words, keeps) in [(BLANK, Keeps::Nothing), (foreign, Keeps::Everything)] {
        let registers = Registers::new(words, keeps);
        let mut store = registers.store(&without_a_place());
        assert_eq!((store.place(), store.is_writable()), (Location::Nowhere, false));
        assert!(store.problems()[0].text.ends_with("; no boot is counted"));
        store.write(&record(1)).unwrap_err();
        assert_eq!(registers.words(), words);
    }
}

#[test]
fn looking_leaves_blank_registers_blank() {
    let registers = Registers::new(BLANK, Keeps::Everything);
    registers.store(&without_a_place());
    assert_eq!(registers.words(), BLANK);
}

#[test]
fn registers_that_stop_keeping_are_found_out() {
    let registers = Registers::new(BLANK, Keeps::Everything);
    let mut store = registers.store(&without_a_place());
    registers.0.borrow_mut().1 = Keeps::Nothing;
    let mut record = store.record().clone();
    record.bless(id("41"));
    assert_eq!(store.write(&record).unwrap_err().code, Code::StateWrite);
    assert!(!store.is_writable());
}

#[test]
fn a_default_cannot_be_chosen_where_only_registers_serve_but_counting_goes_on() {
    let registers = Registers::new(BLANK, Keeps::Everything);
    let mut store = registers.store(&locked());
    let mut record = store.record().clone();
    record.set_default(id("41"), None);
    let problem = store.write(&record).unwrap_err();
    assert_eq!(problem.code, Code::StatePlace);
    assert!(problem.text.contains("not for a default"), "{problem}");
    assert_eq!(registers.words(), BLANK);
    assert!(store.is_writable());
}

#[test]
fn a_locked_cards_default_is_honoured_and_its_boot_once_is_not() {
    let card = Card::blank();
    let mut on_card = Record::default();
    on_card.set_default(id("41"), Some(id("41")));
    on_card.boot_once = Some(id("42"));
    card.store().write(&on_card).unwrap();
    card.0.borrow_mut().locked = true;
    let registers = Registers::new(BLANK, Keeps::Everything);
    let store = registers.store(&card);
    let decision = next_boot(store.record());
    assert_eq!((decision.index, decision.write), (1, None));
    let once = store.problems().iter().find(|problem| problem.text.contains("booted once"));
    assert!(once.is_some(), "{:?}", store.problems());
}

#[test]
fn a_card_that_can_be_written_again_counts_alone() {
    let registers = Registers::new(BLANK, Keeps::Everything);
    let mut record = registers.store(&locked()).record().clone();
    record.bless(id("41"));
    registers.store(&locked()).write(&record).unwrap();
    assert_ne!(registers.words(), BLANK);
    let store = registers.store(&Card::blank());
    assert_eq!((store.record(), registers.words()), (&Record::default(), BLANK));
}

#[test]
fn clearing_makes_registers_and_places_blank() {
    let card = foreign();
    let registers = Registers::new(BLANK, Keeps::Everything);
    let mut store = registers.store(&card);
    let mut record = store.record().clone();
    record.bless(id("41"));
    store.write(&record).unwrap();
    store.clear().unwrap();
    assert_eq!((registers.words(), store.problems()), (BLANK, &[][..]));
    assert!(matches!(store.place(), Location::Card { source: Source::Blank, .. }));
}

// --- what a card may hold ----------------------------------------------------------------------

#[test]
fn a_blank_card_has_an_empty_record_and_no_problem() {
    let store = Card::blank().store();
    assert_eq!((store.record(), store.problems()), (&Record::default(), &[][..]));
    assert!(store.is_writable());
    assert!(matches!(store.place(), Location::Card { source: Source::Blank, .. }));
}

#[test]
fn a_card_without_a_place_is_told_and_never_written() {
    let card = Card::new(Medium::with_partition_at(2048));
    let mut store = card.store();
    assert_eq!((store.place(), store.is_writable()), (Location::Nowhere, false));
    let problem = store.write(&record(1)).unwrap_err();
    assert_eq!(problem.code, Code::StatePlace);
    assert!(problem.text.starts_with("test card: no place"), "{problem}");
    assert_eq!(store.problems(), [problem]);
    store.clear().unwrap_err();
    assert_eq!(card.0.borrow().written, []);
}

#[test]
fn foreign_bytes_in_the_gap_are_told_and_left_until_somebody_clears_them() {
    let card = Card::blank();
    for copy in [FIRST_COPY, SECOND_COPY] {
        card.0.borrow_mut().fill(copy, 0x42);
    }
    let mut store = card.store();
    assert!(!store.is_writable());
    assert_eq!(store.problems().iter().map(|p| p.code).collect::<Vec<_>>(), [Code::StateForeign]);
    assert_eq!(store.write(&record(1)).unwrap_err().code, Code::StateForeign);
    assert_eq!(card.0.borrow().written, []);

    store.clear().unwrap();
    assert!(store.is_writable() && store.problems().is_empty());
    store.write(&record(1)).unwrap();
    assert_eq!(card.record(), record(1));
}

#[test]
fn a_later_versions_record_is_told_and_left() {
    let card = Card::blank();
    card.store().write(&record(1)).unwrap();
    {
        let mut medium = card.0.borrow_mut();
        let mut copy: Vec<u8> =
            (0..SECTORS as u64).flat_map(|at| medium.block(FIRST_COPY + at)).collect();
        copy[8] = 2;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let mut digest = crc.digest();
        digest.update(&copy[..0x18]);
        digest.update(&copy[0x1c..]);
        let checksum = digest.finalize();
        copy[0x18..0x1c].copy_from_slice(&checksum.to_le_bytes());
        medium.put(FIRST_COPY, &copy, |_, _, new| new);
    }
    let mut store = card.store();
    assert_eq!(store.problems().iter().map(|p| p.code).collect::<Vec<_>>(), [Code::StateVersion]);
    assert_eq!((store.record(), store.is_writable()), (&Record::default(), false));
    assert_eq!(store.write(&record(2)).unwrap_err().code, Code::StateVersion);
}

#[test]
fn two_damaged_copies_are_told_and_written_anew() {
    let card = Card::blank();
    (1..3).for_each(|n| card.store().write(&record(n)).unwrap());
    for copy in [FIRST_COPY, SECOND_COPY] {
        let mut medium = card.0.borrow_mut();
        let mut block = medium.block(copy + 3);
        block[7] ^= 1;
        medium.blocks.insert(copy + 3, block);
    }
    let mut store = card.store();
    assert_eq!(store.problems().iter().map(|p| p.code).collect::<Vec<_>>(), [Code::StateDamaged]);
    assert_eq!(*store.record(), Record::default());
    store.write(&record(3)).unwrap();
    assert_eq!(card.record(), record(3));
}

#[test]
fn a_copy_that_cannot_be_read_gives_way_to_the_other_and_is_written_over() {
    let card = Card::blank();
    (1..3).for_each(|n| card.store().write(&record(n)).unwrap());
    card.0.borrow_mut().unreadable = vec![SECOND_COPY + 1];
    let mut store = card.store();
    assert_eq!(*store.record(), record(1));
    assert_eq!(store.problems().iter().map(|p| p.code).collect::<Vec<_>>(), [Code::CardTransfer]);
    let Location::Card { source, .. } = store.place() else { panic!("no place") };
    assert_eq!(source, Source::Copy(Copy::A));
    // Writing makes a flash cell readable again, on this card.
    card.0.borrow_mut().unreadable.clear();
    store.write(&record(3)).unwrap();
    assert_eq!(card.record(), record(3));
}

#[test]
fn two_copies_that_cannot_be_read_may_be_whole_and_are_left_alone() {
    let card = Card::blank();
    (1..3).for_each(|n| card.store().write(&record(n)).unwrap());
    card.0.borrow_mut().unreadable = vec![FIRST_COPY, SECOND_COPY + 7];
    let mut store = card.store();
    assert!(!store.is_writable());
    assert_eq!(*store.record(), Record::default());
    assert_eq!(store.write(&record(3)).unwrap_err().code, Code::CardTransfer);
    assert_eq!(card.after_power_up().record(), record(2));
}

#[test]
fn a_card_that_cannot_be_read_at_all_is_told() {
    let card = Card::blank();
    card.0.borrow_mut().unreadable = vec![0];
    let store = card.store();
    assert_eq!((store.place(), store.is_writable()), (Location::Nowhere, false));
    assert_eq!(store.problems()[0].code, Code::CardTransfer);
}

#[test]
fn the_place_reads_as_a_person_would_say_it() {
    let card = Card::blank();
    card.store().write(&record(1)).unwrap();
    assert_eq!(
        card.store().place().to_string(),
        "the gap before the first partition, copies at blocks 7936 and 16128, the first one counts"
    );
}
