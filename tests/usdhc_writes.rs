//! Writes of the uSDHC driver on a strict model of controller and cards: what is on the medium
//! afterwards, whatever goes wrong on the way.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use evk::models::usdhc::{
    Bench, Card as Model, Emmc, EmmcKind, Fault as Injected, Issued, Pattern, SdCard, SdKind,
    Storage, Weakness,
};
use firn::{
    block::{self, BlockDevice, ErrorKind, SharedDevice, cache::Cache},
    board::{BOARD, CardSlot},
    boot::Store,
    driver::{
        gpio::Pin,
        sd::{BusWidth, Card, Error, Mode, Timing},
        usdhc::{self, Buffers, Usdhc},
    },
    state::{Identity, Record},
};
use proptest::{collection, prelude::*};

const SD_SLOT: &CardSlot = &BOARD.cards[0];
const EMMC: &CardSlot = &BOARD.cards[1];

/// 1 GiB and 64 GiB, in blocks.
const SMALL: u64 = 2 << 20;
const LARGE: u64 = 128 << 20;

/// Where the tests write, and how much: as a state record, behind the first boot image.
const FIRST: u64 = 0x1f00;
const BLOCKS: usize = 8;

type Driver<'a> = Card<Usdhc<'a, &'a Bench, &'a Bench, &'a Bench, Pin<&'a Bench>>>;

fn open<'a>(slot: &'static CardSlot, bench: &'a Bench, buffers: &'a mut Buffers) -> Driver<'a> {
    usdhc::open(slot, bench, bench, bench, buffers)
}

// --- cards -------------------------------------------------------------------------------------

/// What is on a card, seen from outside: [`Pattern`], and what was written over it.
#[derive(Clone, Default)]
struct Medium(Arc<Mutex<BTreeMap<u64, [u8; 512]>>>);

impl Medium {
    fn block(&self, block: u64) -> [u8; 512] {
        let written = self.0.lock().unwrap();
        written.get(&block).copied().unwrap_or_else(|| Pattern::block(block))
    }

    fn bytes(&self, first_block: u64, blocks: usize) -> Vec<u8> {
        (first_block..).take(blocks).flat_map(|block| self.block(block)).collect()
    }

    fn written(&self) -> Vec<u64> {
        self.0.lock().unwrap().keys().copied().collect()
    }
}

impl Storage for Medium {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        *bytes = self.block(block);
    }

    fn write(&mut self, block: u64, bytes: &[u8; 512]) -> io::Result<()> {
        self.0.lock().unwrap().insert(block, *bytes);
        Ok(())
    }
}

/// What is put in, for a loop over cards.
struct Subject {
    name: &'static str,
    slot: &'static CardSlot,
    card: fn(Medium) -> Box<dyn Model>,
}

fn sd(kind: SdKind, block_count: u64, medium: Medium) -> Box<dyn Model> {
    Box::new(SdCard::new(kind, block_count).with_storage(medium))
}

fn emmc(kind: EmmcKind, block_count: u64, medium: Medium) -> Box<dyn Model> {
    Box::new(Emmc::new(kind, block_count).with_storage(medium))
}

const SUBJECTS: &[Subject] = &[
    Subject { name: "SDSC 1.01", slot: SD_SLOT, card: |m| sd(SdKind::StandardV1, SMALL, m) },
    Subject { name: "SDHC", slot: SD_SLOT, card: |m| sd(SdKind::HighCapacity, LARGE, m) },
    Subject { name: "SDXC SDR104", slot: SD_SLOT, card: |m| sd(SdKind::Sdr104, LARGE, m) },
    Subject { name: "eMMC 4.3", slot: EMMC, card: |m| emmc(EmmcKind::ByteAddressed, SMALL, m) },
    Subject { name: "eMMC 5.0", slot: EMMC, card: |m| emmc(EmmcKind::Hs400, LARGE, m) },
    Subject { name: "eMMC 5.1", slot: EMMC, card: |m| emmc(EmmcKind::EnhancedStrobe, LARGE, m) },
    Subject {
        name: "eMMC without reliable writes",
        slot: EMMC,
        card: |m| {
            let card = Emmc::new(EmmcKind::Hs200, LARGE).with_old_reliable_writes(0);
            Box::new(card.with_storage(m))
        },
    },
    Subject {
        name: "eMMC with a cache",
        slot: EMMC,
        card: |m| {
            let card = Emmc::new(EmmcKind::Hs200, LARGE).with_old_reliable_writes(0).with_cache();
            Box::new(card.with_storage(m))
        },
    },
];

/// What the tests write.
fn content(blocks: usize) -> Vec<u8> {
    (0..blocks * 512).map(|at| (at ^ at >> 9 ^ 0x5c).to_le_bytes()[0]).collect()
}

#[track_caller]
fn assert_no_rule_broken(bench: &Bench) {
    assert_eq!(bench.broken_rules(), [""; 0]);
}

fn writes(bench: &Bench) -> Vec<Issued> {
    bench.issued().into_iter().filter(|issued| matches!(issued.index, 24 | 25)).collect()
}

// --- what is written ---------------------------------------------------------------------------

#[test]
fn what_is_written_is_on_the_medium_and_nothing_else_is_touched() {
    for subject in SUBJECTS {
        for (first, blocks, offset) in
            [(FIRST, BLOCKS, 0), (3, 1, 0), (5, 3, 0), (FIRST, BLOCKS, 1), (9, 200, 0), (9, 20, 2)]
        {
            let place = format!("{}: {blocks} blocks from {first}, at {offset}", subject.name);
            let medium = Medium::default();
            let bench = Bench::new(subject.slot, Some((subject.card)(medium.clone())));
            let mut buffers = Buffers::new();
            let mut card = open(subject.slot, &bench, &mut buffers);
            card.identify().expect("a good card");
            assert!(card.is_writable(), "{place}");
            let data = content(blocks);
            let mut memory = vec![0; offset];
            memory.extend(&data);
            card.write_blocks(first, &memory[offset..]).expect(&place);

            assert!(medium.bytes(first, blocks) == data, "{place}");
            let touched: Vec<u64> = (first..).take(blocks).collect();
            assert_eq!(medium.written(), touched, "{place}");
            let mut read = vec![0; data.len()];
            card.read_blocks(first, &mut read).expect(&place);
            assert!(read == data, "{place}");
            card.stop();
            assert_eq!(bench.broken_rules(), [""; 0], "{place}");
        }
    }
}

#[test]
fn memory_that_the_bus_master_cannot_reach_is_written_all_the_same() {
    for subject in SUBJECTS {
        let medium = Medium::default();
        let bench = Bench::new(subject.slot, Some((subject.card)(medium.clone())));
        let mut buffers = Buffers::new();
        let mut card = open(subject.slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        let data = content(20);
        bench.hide(&data);
        card.write_blocks(FIRST, &data).expect(subject.name);
        assert!(medium.bytes(FIRST, 20) == data, "{}", subject.name);
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn an_emmc_gets_one_reliable_write_and_an_sd_card_one_that_is_stopped() {
    let issued = |slot, card: Box<dyn Model>| {
        let bench = Bench::new(slot, Some(card));
        let mut buffers = Buffers::new();
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        let before = bench.issued().len();
        card.write_blocks(FIRST, &content(BLOCKS)).expect("a good card");
        let issued = bench.issued().split_off(before);
        issued.into_iter().map(|command| (command.index, command.argument)).collect::<Vec<_>>()
    };
    let commands = issued(EMMC, emmc(EmmcKind::Hs400, LARGE, Medium::default()));
    assert_eq!(commands, [(23, 1 << 31 | 8), (25, 0x1f00), (13, 1 << 16)]);
    let commands = issued(SD_SLOT, sd(SdKind::HighCapacity, LARGE, Medium::default()));
    assert_eq!(commands, [(25, 0x1f00), (13, 0xaaaa_0000)]);
}

#[test]
fn an_older_emmc_gets_reliable_writes_of_the_sizes_that_it_takes() {
    for (unit, first, pieces) in [
        (1, FIRST, &[1, 1, 1, 1, 1, 1, 1, 1][..]),
        (4, FIRST, &[4, 4]),
        (8, FIRST, &[8]),
        (16, FIRST, &[1, 1, 1, 1, 1, 1, 1, 1]),
        (4, FIRST + 2, &[1, 1, 4, 1, 1]),
    ] {
        let medium = Medium::default();
        let model = Emmc::new(EmmcKind::ByteAddressed, SMALL).with_old_reliable_writes(unit);
        let bench = Bench::new(EMMC, Some(Box::new(model.with_storage(medium.clone()))));
        let mut buffers = Buffers::new();
        let mut card = open(EMMC, &bench, &mut buffers);
        card.identify().expect("a good card");
        card.write_blocks(first, &content(BLOCKS)).expect("a good card");
        let blocks: Vec<u32> = writes(&bench).iter().map(|issued| issued.blocks).collect();
        assert_eq!(blocks, pieces, "unit {unit}, from {first}");
        assert!(medium.bytes(first, BLOCKS) == content(BLOCKS));
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn writing_beyond_the_end_is_refused_before_the_card_hears_of_it() {
    let bench = Bench::new(SD_SLOT, Some(sd(SdKind::Sdr104, LARGE, Medium::default())));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    for first in [LARGE, LARGE - 7, u64::MAX] {
        assert_eq!(card.write_blocks(first, &content(BLOCKS)), Err(Error::OutOfRange));
    }
    assert_eq!(writes(&bench), []);
}

// --- protection --------------------------------------------------------------------------------

#[test]
fn a_card_that_is_protected_by_its_csd_is_not_written_to() {
    for bits in 1..4 {
        let sd = SdCard::new(SdKind::Sdr104, LARGE).with_protection(bits);
        let emmc = Emmc::new(EmmcKind::Hs400, LARGE).with_protection(bits);
        let models: [(_, Box<dyn Model>); 2] = [(SD_SLOT, Box::new(sd)), (EMMC, Box::new(emmc))];
        for (slot, model) in models {
            let bench = Bench::new(slot, Some(model));
            let mut buffers = Buffers::new();
            let mut card = open(slot, &bench, &mut buffers);
            card.identify().expect("a good card");
            assert!(!card.is_writable());
            let error = BlockDevice::write(&mut card, FIRST, &content(BLOCKS)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ReadOnly);
            assert_eq!(writes(&bench), []);
        }
    }
}

#[test]
fn a_card_whose_lock_is_set_is_not_written_to_where_the_switch_is_wired() {
    let slot: &CardSlot = Box::leak(Box::new(CardSlot { protect: true, ..*SD_SLOT }));
    let medium = Medium::default();
    let bench = Bench::new(slot, Some(sd(SdKind::Sdr104, LARGE, medium.clone())));
    let mut buffers = Buffers::new();
    let mut card = open(slot, &bench, &mut buffers);
    card.identify().expect("a good card");
    assert!(card.is_writable());
    bench.with_controller(|controller| controller.lock(true));
    assert!(!card.is_writable());
    assert_eq!(card.write_blocks(FIRST, &content(BLOCKS)), Err(Error::WriteProtected));
    assert_eq!(medium.written(), [0; 0]);
    bench.with_controller(|controller| controller.lock(false));
    card.write_blocks(FIRST, &content(BLOCKS)).expect("a card that is not locked");
    assert_no_rule_broken(&bench);
}

#[test]
fn a_switch_that_is_not_wired_says_nothing() {
    let bench = Bench::new(SD_SLOT, Some(sd(SdKind::Sdr104, LARGE, Medium::default())));
    bench.with_controller(|controller| controller.lock(true));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    assert!(card.is_writable());
}

/// [`Pattern`] keeps nothing, which its card calls WP_VIOLATION.
#[test]
fn a_card_that_calls_the_blocks_protected_is_asked_once() {
    let models: [(_, Box<dyn Model>); 3] = [
        (SD_SLOT, Box::new(SdCard::new(SdKind::StandardV1, SMALL))),
        (SD_SLOT, Box::new(SdCard::new(SdKind::Sdr104, LARGE))),
        (EMMC, Box::new(Emmc::new(EmmcKind::EnhancedStrobe, LARGE))),
    ];
    for (slot, model) in models {
        let bench = Bench::new(slot, Some(model));
        let mut buffers = Buffers::new();
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        let mode = card.mode();
        assert_eq!(card.write_blocks(FIRST, &content(BLOCKS)), Err(Error::WriteProtected));
        assert_eq!(writes(&bench).len(), 1);
        // It reads as well as before.
        let mut data = [0; 512];
        card.read_blocks(FIRST, &mut data).expect("a good card");
        assert_eq!((data, card.mode()), (Pattern::block(FIRST), mode));
        assert_no_rule_broken(&bench);
    }
}

// --- cards that fail ---------------------------------------------------------------------------

#[test]
fn a_block_that_the_card_cannot_write_is_an_error_and_no_slower_mode_is_tried() {
    let weakness = Weakness { bad_block: Some(FIRST + 3), ..Weakness::default() };
    for subject in SUBJECTS {
        let bench = Bench::new(subject.slot, Some((subject.card)(Medium::default())));
        bench.with_controller(|controller| controller.weaken(weakness));
        let mut buffers = Buffers::new();
        let mut card = open(subject.slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        let mode = card.mode();
        let written = card.write_blocks(FIRST, &content(BLOCKS)).map_err(|error| error.kind());
        assert_eq!(written, Err(ErrorKind::Transfer), "{}", subject.name);
        assert_eq!(card.mode(), mode, "{}", subject.name);
        card.write_blocks(FIRST + 4, &content(4)).expect("good blocks");
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn a_card_that_becomes_worse_is_written_in_a_slower_mode() {
    let medium = Medium::default();
    let bench = Bench::new(SD_SLOT, Some(sd(SdKind::Sdr104, LARGE, medium.clone())));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let weakness = Weakness { max_hertz: Some(100_000_000), ..Weakness::default() };
    bench.with_controller(|controller| controller.weaken(weakness));
    card.write_blocks(FIRST, &content(BLOCKS)).expect("a slower mode");
    assert_eq!(card.mode(), Some(Mode { timing: Timing::Sdr50, width: BusWidth::Four }));
    assert!(medium.bytes(FIRST, BLOCKS) == content(BLOCKS));
    assert_no_rule_broken(&bench);
}

#[test]
fn a_card_that_is_stuck_after_every_write_is_given_up_within_ten_seconds() {
    for subject in SUBJECTS {
        let bench = Bench::new(subject.slot, Some((subject.card)(Medium::default())));
        let mut buffers = Buffers::new();
        let mut card = open(subject.slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        for number in bench.issued().len()..30_000 {
            bench.inject(number, Injected::StuckBusy);
        }
        let start = bench.elapsed();
        let written = card.write_blocks(FIRST, &content(BLOCKS)).map_err(|error| error.kind());
        let took = bench.elapsed() - start;
        assert!(written.is_err(), "{}", subject.name);
        assert!(took < Duration::from_secs(10), "{}: {took:?}", subject.name);
    }
}

#[test]
fn an_exchanged_card_is_not_written_to() {
    let bench = Bench::new(SD_SLOT, Some(sd(SdKind::HighCapacity, LARGE, Medium::default())));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let medium = Medium::default();
    let other = SdCard::new(SdKind::HighCapacity, LARGE).with_serial(1);
    let other = other.with_storage(medium.clone());
    bench.with_controller(|controller| controller.insert(Some(Box::new(other))));
    assert_eq!(card.write_blocks(FIRST, &content(BLOCKS)), Err(Error::Removed));
    assert_eq!(card.write_blocks(FIRST, &content(BLOCKS)), Err(Error::Removed));
    assert_eq!(medium.written(), [0; 0]);
}

// --- faults on the wires, at every command -----------------------------------------------------

/// Identifies, writes a record's worth and one block, reads both back and stops.
fn use_card(bench: &Bench, subject: &Subject) -> Result<Mode, Error> {
    let mut buffers = Buffers::new();
    let mut card = open(subject.slot, bench, &mut buffers);
    card.identify()?;
    card.write_blocks(FIRST, &content(BLOCKS))?;
    card.write_blocks(77, &content(1))?;
    let mut read = vec![0; BLOCKS * 512];
    card.read_blocks(FIRST, &mut read)?;
    assert!(read == content(BLOCKS), "what was read is not what was written");
    let mode = card.mode();
    card.stop();
    Ok(mode.expect("identified"))
}

/// Every block holds what it held or what was to be written, and no other block was touched.
fn assert_old_or_new(medium: &Medium, place: &str) {
    for (block, bytes) in medium.0.lock().unwrap().iter() {
        let new = match block {
            77 => content(1),
            _ => (FIRST..)
                .zip(content(BLOCKS).chunks(512))
                .find_map(|(number, bytes)| (number == *block).then(|| bytes.to_vec()))
                .unwrap_or_else(|| panic!("{place}: block {block} was written")),
        };
        assert!(new == bytes, "{place}: block {block}");
    }
}

/// Runs [`use_card`] with `fault` at every command of it, one at a time.
fn inject_everywhere(
    fault: Injected,
    mut judge: impl FnMut(&str, Mode, Result<Mode, Error>, &Medium),
) {
    for subject in SUBJECTS {
        let bench = Bench::new(subject.slot, Some((subject.card)(Medium::default())));
        let best = use_card(&bench, subject).expect("a good card");
        assert_no_rule_broken(&bench);
        // The last one is that of stop(), which cannot fail.
        for number in 0..bench.issued().len() - 1 {
            let medium = Medium::default();
            let bench = Bench::new(subject.slot, Some((subject.card)(medium.clone())));
            bench.inject(number, fault);
            let done = use_card(&bench, subject);
            let command = bench.issued()[number];
            let place = format!("{}, {fault:?} at command {number}: {command:?}", subject.name);
            assert!(bench.elapsed() < Duration::from_secs(15), "{place}: {:?}", bench.elapsed());
            assert_eq!(bench.broken_rules(), [""; 0], "{place}");
            assert_old_or_new(&medium, &place);
            judge(&place, best, done, &medium);
        }
    }
}

#[track_caller]
fn assert_survived(fault: Injected) {
    inject_everywhere(fault, |place, best, done, medium| {
        assert_eq!(done, Ok(best), "{place}");
        assert!(medium.bytes(FIRST, BLOCKS) == content(BLOCKS), "{place}");
        assert!(medium.bytes(77, 1) == content(1), "{place}");
    });
}

#[test]
fn lost_commands_and_responses_anywhere_are_survived_at_full_speed() {
    assert_survived(Injected::CommandLost);
    assert_survived(Injected::ResponseLost);
}

#[test]
fn damaged_responses_anywhere_are_survived_at_full_speed() {
    assert_survived(Injected::ResponseCrc);
    assert_survived(Injected::ResponseEndBit);
    assert_survived(Injected::ResponseIndex);
}

#[test]
fn blocks_that_the_card_does_not_get_anywhere_are_sent_again_at_full_speed() {
    assert_survived(Injected::DataTimeout(0));
    assert_survived(Injected::DataTimeout(5));
    assert_survived(Injected::DataTimeout(u32::MAX));
}

#[test]
fn blocks_that_the_card_refuses_anywhere_are_sent_again_at_full_speed() {
    assert_survived(Injected::DataCrc(0));
    assert_survived(Injected::DataCrc(5));
    assert_survived(Injected::DataCrc(u32::MAX));
    assert_survived(Injected::DataEndBit(0));
    assert_survived(Injected::DataEndBit(u32::MAX));
}

#[test]
fn a_failing_bus_master_and_an_unanswered_stop_anywhere_are_survived_at_full_speed() {
    assert_survived(Injected::Dma(0));
    assert_survived(Injected::Dma(5));
    assert_survived(Injected::AutoStop);
}

#[test]
fn a_card_stuck_anywhere_is_reset_and_written() {
    assert_survived(Injected::StuckBusy);
}

#[test]
fn a_card_pulled_anywhere_is_reported_as_gone() {
    for fault in [Injected::Removal, Injected::Death] {
        inject_everywhere(fault, |place, _, done, _| {
            assert!(matches!(done, Err(Error::NoCard | Error::Removed)), "{place}: {done:?}");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_goes_wrong_each_block_is_old_or_new(
        subject in 0..SUBJECTS.len(),
        faults in collection::vec((0..80_usize, prop_oneof![
            Just(Injected::CommandLost),
            Just(Injected::ResponseLost),
            Just(Injected::ResponseCrc),
            (0..9_u32).prop_map(Injected::DataTimeout),
            (0..9_u32).prop_map(Injected::DataCrc),
            (0..9_u32).prop_map(Injected::DataEndBit),
            Just(Injected::AutoStop),
            (0..9_u32).prop_map(Injected::Dma),
            Just(Injected::StuckBusy),
            Just(Injected::Death),
        ]), 0..20),
    ) {
        let subject = &SUBJECTS[subject];
        let medium = Medium::default();
        let bench = Bench::new(subject.slot, Some((subject.card)(medium.clone())));
        for (number, fault) in faults {
            bench.inject(number, fault);
        }
        let done = use_card(&bench, subject);
        assert_old_or_new(&medium, subject.name);
        if done.is_ok() {
            prop_assert!(medium.bytes(FIRST, BLOCKS) == content(BLOCKS));
        }
        prop_assert_eq!(bench.broken_rules(), [""; 0]);
        prop_assert!(bench.elapsed() < Duration::from_secs(120), "{:?}", bench.elapsed());
    }
}

// --- power cuts, all the way down ---------------------------------------------------------------

/// A driver that owns its surroundings, as a store wants it.
struct Slot(Driver<'static>);

impl BlockDevice for Slot {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn block_count(&self) -> u64 {
        self.0.block_count()
    }
    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        self.0.read(first_block, destination)
    }
    fn is_writable(&self) -> bool {
        self.0.is_writable()
    }
    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), block::Error> {
        self.0.write(first_block, source)
    }
}

/// The card after power-up, behind a cache.
fn power_up(subject: &Subject, medium: &Medium) -> (&'static Bench, SharedDevice) {
    let bench = Bench::new(subject.slot, Some((subject.card)(medium.clone())));
    let bench: &'static Bench = Box::leak(Box::new(bench));
    let mut card = open(subject.slot, bench, Box::leak(Box::new(Buffers::new())));
    card.identify().expect("a good card");
    (bench, Rc::new(RefCell::new(Cache::new(Slot(card)))))
}

/// A card with one partition behind 8 MiB and blank places for the record.
fn partitioned() -> Medium {
    let mut boot = [0; 512];
    boot[446 + 4] = 0x83;
    boot[446 + 8..446 + 12].copy_from_slice(&16384u32.to_le_bytes());
    boot[446 + 12..446 + 16].copy_from_slice(&1000u32.to_le_bytes());
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let blocks = [0x1f00, 0x3f00].into_iter().flat_map(|first| first..first + 8);
    let mut written: BTreeMap<u64, [u8; 512]> = blocks.map(|block| (block, [0; 512])).collect();
    written.insert(0, boot);
    Medium(Arc::new(Mutex::new(written)))
}

fn record(n: usize) -> Record {
    let mut record = Record::default();
    (0..8).for_each(|k| record.bless(Identity::new(&format!("/nix/store/{:0>240}", n * 100 + k))));
    record
}

#[test]
fn a_power_cut_at_any_moment_of_a_write_leaves_the_old_or_the_new_record() {
    for subject in SUBJECTS {
        let before = partitioned();
        let (bench, device) = power_up(subject, &before);
        let commands = bench.issued().len();
        let mut store = Store::open(&device, None);
        store.write(&record(1)).expect("a good card");
        store.write(&record(2)).expect("a good card");
        drop(store);
        assert_no_rule_broken(bench);

        // At each command of the next write; tests/state_record.rs tries every byte.
        let (bench, device) = power_up(subject, &before);
        let mut store = Store::open(&device, None);
        let from = bench.issued().len();
        let copy = Medium(Arc::new(Mutex::new(before.0.lock().unwrap().clone())));
        store.write(&record(3)).expect("a good card");
        let to = bench.issued().len();
        assert!(commands < from && from < to);
        for number in from..to {
            for bytes in [0, 1, 511, 512, 513, 1536, 2047, 3072, 4095, 4096] {
                let medium = Medium(Arc::new(Mutex::new(copy.0.lock().unwrap().clone())));
                let (bench, device) = power_up(subject, &medium);
                bench.inject(number, Injected::PowerCut(bytes));
                let mut store = Store::open(&device, None);
                assert_eq!(*store.record(), record(2));
                let written = store.write(&record(3));
                let place = format!("{}, cut after {bytes} at {number}", subject.name);
                assert_eq!(store.is_writable(), written.is_ok(), "{place}");

                let (_, device) = power_up(subject, &medium);
                let mut store = Store::open(&device, None);
                let found = store.record().clone();
                assert!(found == record(2) || found == record(3), "{place}");
                assert!(written.is_err() || found == record(3), "{place}");
                store.write(&record(4)).expect(&place);
            }
        }
    }
}
