//! How much of a load the card is at work, and how long the load takes, on the model of controller and
//! cards with a consumer that takes its time for each byte.

mod disk;

use std::{cell::RefCell, rc::Rc, time::Duration};

use disk::{Image, content, recipes};
use evk::models::usdhc::{Bench, Card as Model, Emmc, EmmcKind, SdCard, SdKind, Storage};
use firn::{
    block::{SharedDevice, cache::Cache, volume::Volume},
    board::{BOARD, CardSlot},
    driver::usdhc::{self, Buffers},
    fs::{Error, File, FileStream, Stream, mount},
};

const SD_SLOT: &CardSlot = &BOARD.cards[0];
const EMMC: &CardSlot = &BOARD.cards[1];

/// How much of the file is loaded.
const SIZE: usize = 12 << 20;
/// What a decompressor takes at a time.
const STEP: usize = 4096;

/// A file system on a modelled card.
struct Stored(Image);

impl Storage for Stored {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        *bytes = self.0.block(block);
    }
}

struct Subject {
    name: &'static str,
    slot: &'static CardSlot,
    card: fn(Stored) -> Box<dyn Model>,
}

/// Blocks of the modelled cards.
const BLOCKS: u64 = 4 << 20;

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "SD, high speed",
        slot: SD_SLOT,
        card: |stored| Box::new(SdCard::new(SdKind::HighCapacity, BLOCKS).with_storage(stored)),
    },
    Subject {
        name: "SD, SDR104",
        slot: SD_SLOT,
        card: |stored| Box::new(SdCard::new(SdKind::Sdr104, BLOCKS).with_storage(stored)),
    },
    Subject {
        name: "eMMC, HS400",
        slot: EMMC,
        card: |stored| Box::new(Emmc::new(EmmcKind::EnhancedStrobe, BLOCKS).with_storage(stored)),
    },
];

/// A file that is only read at once.
struct Plain(Box<dyn File>);

impl File for Plain {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.0.read_at(offset, destination)
    }
}

/// What a load took.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// From the first look at the stream to its end.
    time: Duration,
    /// Of that, the consumer's own.
    work: Duration,
    /// How long the card was at work.
    card: Duration,
    commands: usize,
}

impl Load {
    fn idle(self) -> f64 {
        1.0 - self.card.as_secs_f64() / self.time.as_secs_f64()
    }
}

/// Streams the file from the card of `subject` with so many picoseconds of work for each byte.
fn load(subject: &Subject, picoseconds: u64, ahead: bool) -> Load {
    let card = (subject.card)(Stored(Image::fixture("ext4-large")));
    let bench: &'static Bench = Box::leak(Box::new(Bench::new(subject.slot, Some(card))));
    let buffers = Box::leak(Box::new(Buffers::new()));
    let mut card = usdhc::open(subject.slot, bench, bench, bench, buffers);
    card.identify().expect("a good card");
    let device: SharedDevice = Rc::new(RefCell::new(Cache::new(card)));
    let mut file_system = mount(Volume::whole(device)).expect("a file system");
    let (path, seed, _) = recipes::LARGE;
    let expected = content(seed, SIZE);
    let mut file = file_system.open(path).expect("a kernel");
    if !ahead {
        file = Box::new(Plain(file));
    }

    let card_time = || bench.with_controller(|controller| controller.data_time());
    let (start, card_before, commands) = (bench.elapsed(), card_time(), bench.issued().len());
    let mut work = Duration::ZERO;
    let mut stream = FileStream::new(&mut *file, 0..SIZE as u64);
    let mut read = 0;
    while read < SIZE {
        let bytes = stream.peek().expect("a good card");
        let count = bytes.len().min(STEP);
        assert!(count > 0 && bytes[..count] == expected[read..read + count], "at {read}");
        let step = Duration::from_nanos(count as u64 * picoseconds / 1000);
        bench.spend(step);
        work += step;
        stream.consume(count);
        read += count;
    }
    assert_eq!(bench.broken_rules(), [""; 0]);
    Load {
        time: bench.elapsed() - start,
        work,
        card: card_time() - card_before,
        commands: bench.issued().len() - commands,
    }
}

/// Picoseconds in which the card brings a byte, when it brings one after the other.
fn pace(subject: &Subject) -> u64 {
    let card = load(subject, 0, true).card;
    u64::try_from(card.as_nanos() * 1000 / SIZE as u128).expect("below a second")
}

#[test]
fn the_card_is_idle_for_a_twentieth_of_the_load_if_its_bytes_are_worked_on_as_fast_as_they_come() {
    for subject in SUBJECTS {
        let load = load(subject, pace(subject) * 9 / 10, true);
        assert!(load.idle() <= 0.05, "{}: {:.3}, {load:?}", subject.name, load.idle());
    }
}

#[test]
fn reading_takes_next_to_no_time_of_its_own_where_the_work_on_the_bytes_takes_longer() {
    for subject in SUBJECTS {
        let load = load(subject, pace(subject) * 2, true);
        let lost = load.time.as_secs_f64() / load.work.as_secs_f64() - 1.0;
        assert!(lost <= 0.06, "{}: {lost:.3}, {load:?}", subject.name);
    }
}

#[test]
#[ignore = "prints the figures of docs/performance.md"]
fn figures() {
    println!("| card | work, ns a byte | at once, ms | ahead, ms | card idle | commands |");
    for subject in SUBJECTS {
        let pace = pace(subject);
        for work in [0, pace / 2, pace, pace * 2, 20_000] {
            let (at_once, ahead) = (load(subject, work, false), load(subject, work, true));
            println!(
                "| {} | {:.1} | {:.0} → {:.0} | {:.1} | {:.1} % | {} → {} |",
                subject.name,
                Duration::from_nanos(work).as_secs_f64() * 1e6,
                at_once.time.as_secs_f64() * 1e3,
                ahead.time.as_secs_f64() * 1e3,
                ahead.card.as_secs_f64() * 1e3,
                ahead.idle() * 100.0,
                at_once.commands,
                ahead.commands,
            );
        }
    }
}
