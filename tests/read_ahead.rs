//! Reads that go on while the processor does something else: on the strict model of controller and
//! cards, with everything that may happen between their start and their end.

use std::{cell::RefCell, rc::Rc, time::Duration};

use evk::models::usdhc::{
    Bench, Card as Model, Controller, Emmc, EmmcKind, Fault as Injected, Pattern, SdCard, SdKind,
    Weakness,
};
use firn::{
    block::{BlockDevice as _, ErrorKind, SharedDevice, cache::Cache, volume::Volume},
    board::{BOARD, CardSlot},
    dma::Buffer,
    driver::{
        gpio::Pin,
        sd::{Card, Error, Fault},
        usdhc::{self, Buffers, Usdhc},
    },
};
use proptest::{collection, prelude::*};

const SD_SLOT: &CardSlot = &BOARD.cards[0];
const EMMC: &CardSlot = &BOARD.cards[1];

/// 1 GiB and 64 GiB, in blocks.
const SMALL: u64 = 2 << 20;
const LARGE: u64 = 128 << 20;
/// Where tests read, and how much.
const FIRST: u64 = 1000;
const BLOCKS: usize = 1024;

type Driver<'a> = Card<Usdhc<'a, &'a Bench, &'a Bench, &'a Bench, Pin<&'a Bench>>>;

struct Subject {
    name: &'static str,
    slot: &'static CardSlot,
    card: fn() -> Box<dyn Model>,
}

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "SDSC 1.01",
        slot: SD_SLOT,
        card: || Box::new(SdCard::new(SdKind::StandardV1, SMALL)),
    },
    Subject {
        name: "SDXC without CMD23",
        slot: SD_SLOT,
        card: || Box::new(SdCard::new(SdKind::Sdr104, LARGE).with_set_block_count(false)),
    },
    Subject { name: "SDXC", slot: SD_SLOT, card: sdxc },
    Subject {
        name: "eMMC 4.3",
        slot: EMMC,
        card: || Box::new(Emmc::new(EmmcKind::ByteAddressed, SMALL)),
    },
    Subject {
        name: "eMMC 5.1",
        slot: EMMC,
        card: || Box::new(Emmc::new(EmmcKind::EnhancedStrobe, LARGE)),
    },
];

fn sdxc() -> Box<dyn Model> {
    Box::new(SdCard::new(SdKind::Sdr104, LARGE))
}

/// Runs `test` with an identified card, and looks at what it leaves.
fn with_card(
    slot: &'static CardSlot,
    model: Box<dyn Model>,
    test: impl FnOnce(&Bench, &mut Driver<'_>),
) {
    let bench = Bench::new(slot, Some(model));
    let mut buffers = Buffers::new();
    let mut card = usdhc::open(slot, &bench, &bench, &bench, &mut buffers);
    card.identify().expect("a good card");
    test(&bench, &mut card);
    drop(card);
    assert_eq!(bench.broken_rules(), [""; 0]);
    assert_eq!(bench.handed_over(), 0, "memory that the controller may still write");
}

fn buffer() -> Buffer {
    Buffer::new(BLOCKS * 512)
}

#[track_caller]
fn assert_pattern(data: &[u8], first_block: u64) {
    for (block, bytes) in (first_block..).zip(data.chunks(512)) {
        assert!(bytes == Pattern::block(block), "block {block} of a read from {first_block}");
    }
}

#[track_caller]
fn assert_reads(card: &mut Driver<'_>, first_block: u64, blocks: usize) {
    let mut data = vec![0; blocks * 512];
    card.read_blocks(first_block, &mut data).expect("a good card");
    assert_pattern(&data, first_block);
}

/// Commands since `before`, with their blocks.
fn commands(bench: &Bench, before: usize) -> Vec<(u8, u32)> {
    bench.issued()[before..].iter().map(|issued| (issued.index, issued.blocks)).collect()
}

#[test]
fn a_started_read_brings_what_a_read_brings_and_costs_no_more_commands() {
    for subject in SUBJECTS {
        with_card(subject.slot, (subject.card)(), |bench, card| {
            let before = bench.issued().len();
            card.start_read(FIRST, buffer()).expect(subject.name);
            let data = card.finish_read().expect(subject.name);
            assert_pattern(&data, FIRST);
            let started = commands(bench, before);
            let before = bench.issued().len();
            assert_reads(card, FIRST, BLOCKS);
            assert_eq!(started, commands(bench, before), "{}", subject.name);
        });
    }
}

#[test]
fn the_processor_is_free_while_data_moves() {
    with_card(SD_SLOT, sdxc(), |bench, card| {
        let start = bench.elapsed();
        card.start_read(FIRST, buffer()).expect("a good card");
        let started = bench.elapsed() - start;
        assert!(started < Duration::from_micros(100), "{started:?}");
        // Half a megabyte takes 5 ms at 104 MB/s.
        bench.spend(Duration::from_millis(10));
        let end = bench.elapsed();
        card.finish_read().expect("a good card");
        let finished = bench.elapsed() - end;
        // The caches have to be looked after.
        assert!(finished < Duration::from_micros(60), "{finished:?}");
    });
}

#[test]
fn a_processor_that_was_busy_for_minutes_finds_the_data_all_the_same() {
    for subject in SUBJECTS {
        with_card(subject.slot, (subject.card)(), |bench, card| {
            let before = bench.issued().len();
            card.start_read(FIRST, buffer()).expect(subject.name);
            bench.spend(Duration::from_secs(600));
            assert_pattern(&card.finish_read().expect(subject.name), FIRST);
            assert!(commands(bench, before).len() <= 2, "{}: nothing repeated", subject.name);
        });
    }
}

#[test]
fn a_read_that_never_ends_is_repeated_without_a_wait_when_the_processor_was_busy_for_longer() {
    let took = |busy| {
        let mut took = Duration::ZERO;
        with_card(SD_SLOT, sdxc(), |bench, card| {
            card.start_read(FIRST, buffer()).expect("a good card");
            bench.with_controller(Controller::stall);
            bench.spend(busy);
            let start = bench.elapsed();
            assert_pattern(&card.finish_read().expect("the second time"), FIRST);
            took = bench.elapsed() - start;
        });
        took
    };
    let (at_once, later) = (took(Duration::ZERO), took(Duration::from_secs(10)));
    assert!(at_once > Duration::from_secs(2), "its deadline: {at_once:?}");
    assert!(later < Duration::from_millis(100), "the deadline has passed: {later:?}");
}

#[test]
fn a_controller_that_cannot_be_stopped_keeps_its_memory_for_good() {
    let bench = Bench::new(SD_SLOT, Some(sdxc()));
    let mut buffers = Buffers::new();
    let mut card = usdhc::open(SD_SLOT, &bench, &bench, &bench, &mut buffers);
    card.identify().expect("a good card");
    card.start_read(FIRST, buffer()).expect("a good card");
    bench.with_controller(Controller::jam);
    let start = bench.elapsed();
    assert_eq!(card.finish_read().err(), Some(Error::Controller(Fault::Reset)));
    assert!(bench.elapsed() - start < Duration::from_secs(4), "{:?}", bench.elapsed() - start);
    assert_eq!(bench.handed_over(), 2, "buffer and descriptors");
    assert_eq!(bench.broken_rules(), [""; 0]);
}

/// Every fault that may happen to a read.
const FAULTS: &[Injected] = &[
    Injected::CommandLost,
    Injected::ResponseLost,
    Injected::ResponseCrc,
    Injected::ResponseEndBit,
    Injected::ResponseIndex,
    Injected::DataTimeout(0),
    Injected::DataTimeout(100),
    Injected::DataTimeout(u32::MAX),
    Injected::DataCrc(0),
    Injected::DataCrc(100),
    Injected::DataCrc(u32::MAX),
    Injected::DataEndBit(100),
    Injected::AutoStop,
    Injected::Dma(100),
    Injected::StuckBusy,
];

#[test]
fn a_fault_in_a_started_read_is_survived_at_full_speed_wherever_it_is_noticed() {
    for subject in SUBJECTS {
        for &fault in FAULTS {
            for later in 0..2 {
                for noticed_by in ["finish", "read", "second start"] {
                    let place = format!("{}: {fault:?}, {later}, {noticed_by}", subject.name);
                    with_card(subject.slot, (subject.card)(), |bench, card| {
                        let mode = card.mode();
                        bench.inject(bench.issued().len() + later, fault);
                        card.start_read(FIRST, buffer()).expect(&place);
                        bench.spend(Duration::from_millis(3));
                        match noticed_by {
                            "read" => assert_reads(card, 7, 3),
                            "second start" => {
                                card.start_read(0, buffer()).expect_err("one at a time");
                            }
                            _ => {}
                        }
                        assert_pattern(&card.finish_read().expect(&place), FIRST);
                        assert_reads(card, 9, 2);
                        assert_eq!(card.mode(), mode, "{place}");
                        assert_eq!(bench.broken_rules(), [""; 0], "{place}");
                    });
                }
            }
        }
    }
}

#[test]
fn the_next_read_is_started_before_the_last_one_is_looked_at() {
    for subject in SUBJECTS {
        with_card(subject.slot, (subject.card)(), |bench, card| {
            card.start_read(FIRST, buffer()).expect(subject.name);
            let next = FIRST + BLOCKS as u64;
            let (first, started) = card.finish_and_start_read(next, buffer());
            started.expect(subject.name);
            assert_eq!(bench.handed_over(), 2, "the second one's buffer and descriptors");
            assert_pattern(&first.expect(subject.name), FIRST);
            let (second, refused) = card.finish_and_start_read(u64::MAX, buffer());
            refused.expect_err("beyond the end");
            assert_pattern(&second.expect(subject.name), next);
            let (third, refused) = card.finish_and_start_read(FIRST, buffer());
            assert_eq!(third.err(), Some(Error::NoCard), "nothing was started");
            refused.expect_err("nothing is started after an error");
        });
    }
}

#[test]
fn a_fault_in_one_of_two_reads_that_follow_each_other_takes_nothing_from_the_other() {
    for subject in SUBJECTS {
        for &fault in FAULTS {
            for command in 0..4 {
                let place = format!("{}: {fault:?}, {command}", subject.name);
                with_card(subject.slot, (subject.card)(), |bench, card| {
                    let mode = card.mode();
                    bench.inject(bench.issued().len() + command, fault);
                    card.start_read(FIRST, buffer()).expect(&place);
                    let (first, started) = card.finish_and_start_read(9, buffer());
                    assert_pattern(&first.expect(&place), FIRST);
                    if started.is_err() {
                        card.start_read(9, buffer()).expect(&place);
                    }
                    assert_pattern(&card.finish_read().expect(&place), 9);
                    assert_reads(card, 77, 2);
                    assert_eq!(card.mode(), mode, "{place}");
                    assert_eq!(bench.broken_rules(), [""; 0], "{place}");
                });
            }
        }
    }
}

#[test]
fn a_card_that_is_pulled_in_a_started_read_is_reported_as_gone() {
    for subject in SUBJECTS {
        with_card(subject.slot, (subject.card)(), |bench, card| {
            card.start_read(FIRST, buffer()).expect(subject.name);
            bench.spend(Duration::from_millis(1));
            bench.pull();
            let start = bench.elapsed();
            assert_eq!(card.finish_read().err(), Some(Error::Removed), "{}", subject.name);
            assert!(bench.elapsed() - start < Duration::from_secs(5), "{}", subject.name);
        });
    }
}

#[test]
fn a_bad_block_in_a_started_read_is_the_error_of_the_same_read() {
    let weakness = Weakness { bad_block: Some(FIRST + 5), ..Weakness::default() };
    let model = SdCard::new(SdKind::Sdr104, LARGE).with_weakness(weakness);
    with_card(SD_SLOT, Box::new(model), |_, card| {
        card.start(FIRST, buffer()).expect("a good card");
        let error = card.finish().expect_err("a bad block");
        assert_eq!((error.kind, error.block), (ErrorKind::Timeout, FIRST));
        assert_reads(card, FIRST + 6, 10);
    });
}

#[test]
fn what_else_is_asked_of_the_card_comes_after_and_takes_nothing_away() {
    with_card(SD_SLOT, sdxc(), |bench, card| {
        let before = bench.issued().len();
        card.start_read(FIRST, buffer()).expect("a good card");
        assert_reads(card, 5, 4);
        assert_reads(card, 77, 1);
        assert_pattern(&card.finish_read().expect("a good card"), FIRST);
        let expected = [(23, 0), (18, 1024), (23, 0), (18, 4), (17, 1)];
        assert_eq!(commands(bench, before), expected);
        assert_eq!(card.finish_read().err(), Some(Error::NoCard), "given once");

        card.start_read(FIRST, buffer()).expect("a good card");
        card.identify().expect("a good card");
        assert_pattern(&card.finish_read().expect("a good card"), FIRST);
    });
}

#[test]
fn a_second_started_read_is_refused_until_the_first_is_finished() {
    with_card(SD_SLOT, sdxc(), |_, card| {
        card.start_read(FIRST, buffer()).expect("a good card");
        let refused = card.start_read(FIRST, Buffer::new(512)).expect_err("one at a time");
        assert_eq!(refused.len(), 512);
        assert_reads(card, 0, 1);
        card.start_read(FIRST, refused).expect_err("its outcome waits");
        card.finish_read().expect("a good card");
        card.start_read(FIRST, Buffer::new(512)).expect("nothing in the way");
        assert_pattern(&card.finish_read().expect("a good card"), FIRST);
    });
}

#[test]
fn what_cannot_be_read_in_this_way_is_refused_and_read_in_another() {
    with_card(SD_SLOT, sdxc(), |bench, card| {
        let before = bench.issued().len();
        for first in [LARGE, LARGE - 1023, u64::MAX] {
            card.start_read(first, buffer()).expect_err("beyond the end");
        }
        card.start_read(0, Buffer::new(0)).expect_err("nothing");
        card.start_read(0, Buffer::new(65_536 * 512)).expect_err("more than a command asks for");
        assert_eq!(commands(bench, before), []);

        let far = buffer();
        bench.hide(&far);
        let mut far = card.start_read(FIRST, far).expect_err("out of reach");
        card.read_blocks(FIRST, &mut far).expect("a good card");
        assert_pattern(&far, FIRST);
    });
}

#[test]
fn stop_breaks_a_started_read_off_and_leaves_an_idle_controller() {
    for subject in SUBJECTS {
        with_card(subject.slot, (subject.card)(), |bench, card| {
            card.start_read(FIRST, buffer()).expect(subject.name);
            let start = bench.elapsed();
            card.stop();
            assert!(bench.elapsed() - start < Duration::from_millis(300));
            assert_eq!(bench.handed_over(), 0, "{}", subject.name);
            bench.with_controller(|controller| assert!(!controller.is_clock_running()));
            let before = bench.issued().len();
            assert_eq!(card.finish_read().err(), Some(Error::NoCard));
            assert_eq!(commands(bench, before), [], "a stopped card is not asked again");
            assert_reads(card, 3, 4);
        });
    }
}

#[test]
fn a_driver_that_is_dropped_leaves_no_read_behind() {
    for subject in SUBJECTS {
        let bench = Bench::new(subject.slot, Some((subject.card)()));
        let mut buffers = Buffers::new();
        let mut card = usdhc::open(subject.slot, &bench, &bench, &bench, &mut buffers);
        card.identify().expect("a good card");
        card.start_read(FIRST, buffer()).expect(subject.name);
        drop(card);
        assert_eq!(bench.handed_over(), 0, "{}", subject.name);
        assert_eq!(bench.broken_rules(), [""; 0]);
    }
}

#[test]
fn an_abandoned_read_frees_its_buffer_at_once_and_harms_no_other() {
    for subject in SUBJECTS {
        for fault in FAULTS.iter().map(Some).chain([None]) {
            let place = format!("{}: {fault:?}", subject.name);
            with_card(subject.slot, (subject.card)(), |bench, card| {
                let mode = card.mode();
                if let Some(&fault) = fault {
                    bench.inject(bench.issued().len(), fault);
                    bench.inject(bench.issued().len() + 1, fault);
                }
                card.start_read(FIRST, buffer()).expect(&place);
                card.abandon_read();
                assert_eq!(bench.handed_over(), 0, "{place}");
                assert_eq!(card.finish_read().err(), Some(Error::NoCard), "{place}");
                assert_reads(card, 9, 200);
                assert_eq!(card.mode(), mode, "{place}");
                assert_eq!(bench.broken_rules(), [""; 0], "{place}");
            });
        }
    }
}

// Through cache and volume, as a file system sees it.

/// The card of a test that lasts.
fn shared(model: Box<dyn Model>) -> (&'static Bench, SharedDevice) {
    let bench: &'static Bench = Box::leak(Box::new(Bench::new(SD_SLOT, Some(model))));
    let buffers = Box::leak(Box::new(Buffers::new()));
    let mut card = usdhc::open(SD_SLOT, bench, bench, bench, buffers);
    card.identify().expect("a good card");
    (bench, Rc::new(RefCell::new(Cache::new(card))))
}

#[test]
fn a_reading_that_is_dropped_gives_its_memory_back() {
    let (bench, device) = shared(sdxc());
    let volume = Volume::whole(device);
    let reading = volume.start(FIRST * 512, buffer()).expect("a good card");
    assert_eq!(bench.handed_over(), 2, "buffer and descriptors");
    drop(reading);
    assert_eq!(bench.handed_over(), 0);
    let reading = volume.start(FIRST * 512, buffer()).expect("a good card");
    assert_pattern(&reading.finish().expect("a good card"), FIRST);
    assert_eq!(bench.broken_rules(), [""; 0]);
}

#[test]
fn what_is_cached_is_found_while_a_read_goes_on_and_what_is_not_comes_after_it() {
    let (bench, device) = shared(sdxc());
    let volume = Volume::whole(device);
    let mut block = [0; 512];
    volume.read_blocks(5, &mut block).expect("a good card");
    let before = bench.issued().len();
    let reading = volume.start(FIRST * 512, buffer()).expect("a good card");
    volume.read_blocks(7, &mut block).expect("a good card");
    assert_pattern(&block, 7);
    assert_eq!(bench.handed_over(), 2, "it goes on");
    assert_eq!(commands(bench, before), [(23, 0), (18, 1024)]);
    volume.read_blocks(777, &mut block).expect("a good card");
    assert_pattern(&block, 777);
    assert_eq!(bench.handed_over(), 0, "it had to end");
    assert_pattern(&reading.finish().expect("a good card"), FIRST);
    assert_eq!(bench.broken_rules(), [""; 0]);
}

#[test]
fn a_read_of_what_is_no_whole_block_is_refused_by_the_volume() {
    let (bench, device) = shared(sdxc());
    let volume = Volume::whole(device);
    let before = bench.issued().len();
    for (offset, length) in [(1, 65_536), (0, 65_537), (LARGE * 512 - 65_536, 131_072), (0, 0)] {
        volume.start(offset, Buffer::new(length)).expect_err("not in this way");
    }
    volume.start(u64::MAX, Buffer::new(65_536)).expect_err("not in this way");
    assert_eq!(commands(bench, before), []);
}

// Anything, in any order.

#[derive(Clone, Debug)]
enum Step {
    Start(u64, usize),
    Finish,
    FinishAndStart(u64, usize),
    Abandon,
    Read(u64, usize),
    Busy(u64),
    Identify,
    Stop,
    Pull,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5000_u64, 1..400_usize).prop_map(|(block, count)| Step::Start(block, count)),
        4 => Just(Step::Finish),
        8 => (0..5000_u64, 1..400_usize)
            .prop_map(|(block, count)| Step::FinishAndStart(block, count)),
        2 => Just(Step::Abandon),
        3 => (0..5000_u64, 1..400_usize).prop_map(|(block, count)| Step::Read(block, count)),
        4 => (0..20_000_u64).prop_map(Step::Busy),
        1 => Just(Step::Identify),
        1 => Just(Step::Stop),
        1 => Just(Step::Pull),
    ]
}

fn any_fault() -> impl Strategy<Value = Injected> {
    (0..FAULTS.len()).prop_map(|index| FAULTS[index])
}

/// What has come is what was started.
fn assert_is(finished: Result<Buffer, Error>, started: Option<(u64, usize)>) {
    if let Ok(data) = finished {
        let (block, count) = started.expect("a read that was started");
        assert_eq!(data.len(), count * 512);
        assert_pattern(&data, block);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_comes_between_start_and_end_the_data_is_good_or_there_is_an_error(
        subject in 0..SUBJECTS.len(),
        steps in collection::vec(any_step(), 0..40),
        faults in collection::vec((0..150_usize, any_fault()), 0..12),
    ) {
        let subject = &SUBJECTS[subject];
        let bench = Bench::new(subject.slot, Some((subject.card)()));
        let mut buffers = Buffers::new();
        let mut card = usdhc::open(subject.slot, &bench, &bench, &bench, &mut buffers);
        card.identify().expect("a good card");
        let before = bench.issued().len();
        for (number, fault) in faults {
            bench.inject(before + number, fault);
        }
        let mut started = None;
        for step in steps {
            match step {
                Step::Start(block, count) => {
                    if card.start_read(block, Buffer::new(count * 512)).is_ok() {
                        prop_assert_eq!(started, None);
                        started = Some((block, count));
                    }
                }
                Step::Finish => assert_is(card.finish_read(), started.take()),
                Step::FinishAndStart(block, count) => {
                    let next = Buffer::new(count * 512);
                    let (finished, next) = card.finish_and_start_read(block, next);
                    prop_assert!(finished.is_ok() || next.is_err());
                    assert_is(finished, started.take());
                    started = next.is_ok().then_some((block, count));
                }
                Step::Abandon => {
                    card.abandon_read();
                    started = None;
                    prop_assert_eq!(bench.handed_over(), 0);
                }
                Step::Read(block, count) => {
                    let mut data = vec![0; count * 512];
                    if card.read_blocks(block, &mut data).is_ok() {
                        assert_pattern(&data, block);
                    }
                }
                Step::Busy(microseconds) => bench.spend(Duration::from_micros(microseconds)),
                Step::Identify => {
                    let _ = card.identify();
                }
                Step::Stop => {
                    card.stop();
                    prop_assert_eq!(bench.handed_over(), 0);
                }
                Step::Pull => bench.pull(),
            }
        }
        drop(card);
        prop_assert_eq!(bench.handed_over(), 0);
        prop_assert_eq!(bench.broken_rules(), [""; 0]);
    }
}
