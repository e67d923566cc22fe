//! Updates on hardware that fails at any point: whatever is left, the boot ROM finds an intact image.
//!
//! The hardware keeps a journal of what acts on it. A power cut is then every prefix of the journal, with
//! any part of what was not synced lost; a failure is one event that does not happen, whether the
//! hardware says so or not. What a board would do with the rest is asked of `image::inspect::survey` and of the
//! ROM's rule, written down here a second time.

use std::{
    cell::RefCell, collections::BTreeMap, io, path::Path, process::Output, rc::Rc, sync::LazyLock,
};

use firn::{
    board::BOARD,
    image::{inspect::survey, rom},
};

use super::*;
use crate::write::{
    hardware::{Hardware, Medium, Real},
    machine::{MIB, Machine, PRIMARY, SECONDARY, card, emmc_content, release, stand_in, with},
};

const SECTOR: usize = 512;

static OLDER: LazyLock<Vec<u8>> = LazyLock::new(|| release("0.0.9"));
static OLD: LazyLock<Vec<u8>> = LazyLock::new(|| release("0.1.0"));
static NEW: LazyLock<Vec<u8>> = LazyLock::new(|| release("0.2.0"));

// --- hardware that fails -------------------------------------------------------------------------------

/// What acted on the hardware, in its order.
#[derive(Clone, Debug)]
enum Event {
    Write {
        disk: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Sync {
        disk: String,
    },
    /// PARTITION_CONFIG is this from now on.
    Named(u8),
}

/// How an event does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is an error.
    Fails,
    /// Half of it happens, then it is an error.
    Half,
    /// It is said to have happened.
    Vanishes,
}

#[derive(Debug, Default)]
struct Journal {
    events: Vec<Event>,
    /// All that was asked for, done or not.
    count: usize,
    fault: Option<(usize, Fault)>,
}

impl Journal {
    /// Counts an event; whether it is the one that fails.
    fn next(&mut self) -> Option<Fault> {
        let index = self.count;
        self.count += 1;
        self.fault.filter(|(at, _)| *at == index).map(|(_, fault)| fault)
    }
}

#[derive(Debug)]
struct Failing {
    real: Real,
    journal: Rc<RefCell<Journal>>,
}

impl Hardware for Failing {
    fn open(&self, path: &Path, exclusively: bool) -> io::Result<Box<dyn Medium>> {
        let disk = path.file_name().unwrap().to_str().unwrap().to_owned();
        let real = self.real.open(path, exclusively)?;
        Ok(Box::new(Disk { real, disk, journal: self.journal.clone() }))
    }

    fn mmc(&self, words: &[&str], node: &Path) -> io::Result<Output> {
        if words[0] != "bootpart" {
            return self.real.mmc(words, node);
        }
        match self.journal.borrow_mut().next() {
            Some(Fault::Fails | Fault::Half) => return Err(failed()),
            // What it prints when it does nothing, too.
            Some(Fault::Vanishes) => return self.real.mmc(&["extcsd", "read"], node),
            None => {}
        }
        let output = self.real.mmc(words, node)?;
        let config = node.parent().unwrap().parent().unwrap().join("config");
        let config = std::fs::read_to_string(config)?;
        let config = u8::from_str_radix(&config, 16).unwrap();
        self.journal.borrow_mut().events.push(Event::Named(config));
        Ok(output)
    }
}

struct Disk {
    real: Box<dyn Medium>,
    disk: String,
    journal: Rc<RefCell<Journal>>,
}

impl Disk {
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.real.write_at(at, bytes)?;
        let (disk, at) = (self.disk.clone(), usize::try_from(at).unwrap());
        let event = Event::Write { disk, at, bytes: bytes.to_vec() };
        self.journal.borrow_mut().events.push(event);
        Ok(())
    }
}

impl Medium for Disk {
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.real.read_at(at, bytes)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.journal.borrow_mut().next();
        match fault {
            None => self.write(at, bytes),
            Some(Fault::Fails) => Err(failed()),
            Some(Fault::Half) => {
                self.write(at, &bytes[..(bytes.len() / 2).next_multiple_of(SECTOR) % bytes.len()])?;
                Err(failed())
            }
            Some(Fault::Vanishes) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.journal.borrow_mut().next().is_some() {
            return Err(failed());
        }
        // What the test's own disk does is of no interest: the journal is what outlives a cut.
        self.journal.borrow_mut().events.push(Event::Sync { disk: self.disk.clone() });
        Ok(())
    }

    fn forget_cache(&self) {
        self.real.forget_cache();
    }
}

fn failed() -> io::Error {
    io::Error::other("the hardware fails here")
}

// --- what a board would do with it -----------------------------------------------------------------------

/// All that outlives the power.
#[derive(Clone)]
struct Board {
    disks: BTreeMap<String, Vec<u8>>,
    /// PARTITION_CONFIG.
    config: u8,
}

impl Board {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { disk, at, bytes } => {
                self.disks.get_mut(disk).unwrap()[*at..*at + bytes.len()].copy_from_slice(bytes);
            }
            Event::Named(config) => self.config = *config,
            Event::Sync { .. } => {}
        }
    }

    /// The image that the boot ROM enters: the first place with a head that it believes.
    fn started(&self) -> Option<(&str, usize)> {
        let places: [(&str, usize); 2] = match self.config >> 3 & 7 {
            1 => [("mmcblk2boot0", 0), ("mmcblk2boot1", 0)],
            2 => [("mmcblk2boot1", 0), ("mmcblk2boot0", 0)],
            _ => {
                let disk = self.disks.keys().next().unwrap();
                [(disk, PRIMARY), (disk, SECONDARY)]
            }
        };
        places.into_iter().find(|(disk, at)| {
            let header = rom::Header::parse(&self.disks[*disk][*at..], 0);
            header.is_ok_and(|header| header.check(BOARD.image.entry, 0).is_ok())
        })
    }

    /// Whether what it enters is intact, and one of the images that were meant.
    fn starts_something_good(&self) -> Result<(), String> {
        let Some((disk, at)) = self.started() else { return Err("nothing".to_owned()) };
        let bytes = &self.disks[disk];
        let images = survey(&&bytes[..], BOARD.image);
        let image = images.iter().find(|image| image.offset == at as u64);
        let image = image.ok_or_else(|| format!("no image at {at:#x} of {disk}"))?;
        if let Some(problem) = image.problems.first() {
            return Err(format!("{disk} at {at:#x}: {}", problem.text));
        }
        let meant = [&*OLDER, &*OLD, &*NEW].iter().any(|image| bytes[at..].starts_with(image));
        meant.then_some(()).ok_or_else(|| format!("{disk} at {at:#x}: a mixture"))
    }

    fn starts(&self, image: &[u8]) -> bool {
        self.started().is_some_and(|(disk, at)| self.disks[disk][at..].starts_with(image))
    }
}

/// Every board that a power cut behind the first `count` events may leave: what was synced is there; of the rest,
/// any write, and any sector of one.
fn left_by_a_cut(before: &Board, events: &[Event], mut take: impl FnMut(&Board)) {
    let mut durable = before.clone();
    let mut pending: Vec<&Event> = Vec::new();
    for event in events {
        match event {
            Event::Write { .. } => pending.push(event),
            // Only what went to the same disk: each has its own cache.
            Event::Sync { disk } => pending.retain(|event| {
                let synced = matches!(event, Event::Write { disk: of, .. } if of == disk);
                if synced {
                    durable.apply(event);
                }
                !synced
            }),
            // An eMMC's register is not cached.
            Event::Named(_) => durable.apply(event),
        }
    }
    assert!(pending.len() <= 2, "so that all of their subsets can be tried");
    for subset in 0..1_u32 << pending.len() {
        let mut board = durable.clone();
        let kept = pending.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1);
        kept.for_each(|(_, event)| board.apply(event));
        take(&board);
    }
    for density in [1, 2, 16, 255] {
        let mut board = durable.clone();
        let mut random = u32::try_from(events.len()).unwrap() * 4 + density;
        for event in &pending {
            let Event::Write { disk, at, bytes } = event else { continue };
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if random >> 24 < density {
                    let (disk, at) = (disk.clone(), at + index * SECTOR);
                    board.apply(&Event::Write { disk, at, bytes: sector.to_vec() });
                }
            }
        }
        take(&board);
    }
}

// --- the updates --------------------------------------------------------------------------------------------

/// A board before its update, and how that is asked for.
struct Case {
    what: &'static str,
    before: Board,
    words: &'static str,
}

impl Case {
    fn card(what: &'static str, primary: Option<&[u8]>, secondary: Option<&[u8]>) -> Self {
        let mut bytes = card(9 * MIB, &[(0x83, 8, 1)]);
        for (at, image) in [(PRIMARY, primary), (SECONDARY, secondary)] {
            bytes = with(bytes, at, image.unwrap_or_default());
        }
        let disks = BTreeMap::from([("mmcblk1".to_owned(), bytes)]);
        Self { what, before: Board { disks, config: 0 }, words: "--device dev/mmcblk1" }
    }

    fn emmc(what: &'static str, config: u8, partitions: [Option<&[u8]>; 2], user: &[u8]) -> Self {
        let user = with(card(9 * MIB, &[(0x83, 8, 1)]), PRIMARY, user);
        let [one, two] = partitions.map(|image| with(emmc_content(), 0, image.unwrap_or_default()));
        let names = ["mmcblk2", "mmcblk2boot0", "mmcblk2boot1"].map(str::to_owned);
        let disks = names.into_iter().zip([user, one, two]).collect();
        let words = "--device dev/mmcblk2 --emmc-boot";
        Self { what, before: Board { disks, config }, words }
    }

    /// The machine, its journal, and the hardware that keeps it.
    fn machine(&self) -> (Machine, Rc<RefCell<Journal>>) {
        let mut machine = Machine::new();
        for (number, (disk, bytes)) in (0..).zip(&self.before.disks) {
            machine.device(disk, &format!("179:{}", number * 8), bytes, &[]);
            machine.put(&format!("sys/{disk}/force_ro"), b"1");
        }
        machine.put("flash.bin", &NEW);
        machine.put("config", format!("{:02x}", self.before.config).as_bytes());
        let journal = Rc::<RefCell<Journal>>::default();
        let real = Real { mmc: stand_in() };
        machine.system.hardware = Rc::new(Failing { real, journal: journal.clone() });
        (machine, journal)
    }

    fn update(&self, machine: &Machine) -> Result<()> {
        tests::run(machine, &format!("update flash.bin --yes {}", self.words)).map(|_| ())
    }

    /// What the machine has now.
    fn after(&self, machine: &Machine) -> Board {
        let names = self.before.disks.keys();
        let disks = names.map(|name| (name.clone(), machine.get(&format!("dev/{name}")))).collect();
        let config = String::from_utf8(machine.get("config")).unwrap();
        Board { disks, config: u8::from_str_radix(&config, 16).unwrap() }
    }

    /// The power fails behind each event.
    fn survives_power_cuts(&self) {
        let (machine, journal) = self.machine();
        self.update(&machine).unwrap();
        let events = &journal.borrow().events;
        let mut was_good = self.before.starts_something_good().is_ok();
        let mut boards = 0;
        for count in 0..=events.len() {
            let mut is_good = true;
            left_by_a_cut(&self.before, &events[..count], |board| {
                boards += 1;
                let found = board.starts_something_good();
                is_good &= found.is_ok();
                assert!(!was_good || found.is_ok(), "{}, {count} events: {found:?}", self.what);
            });
            // Where nothing could be started at first, it stays good once it is.
            was_good |= is_good;
        }
        assert!(boards > events.len() && !events.is_empty(), "{}", self.what);
        assert!(self.after(&machine).starts(&NEW), "{}", self.what);
    }

    /// Each event fails once. The power fails then, or somebody tries again.
    fn survives_failures(&self) {
        let (machine, journal) = self.machine();
        self.update(&machine).unwrap();
        let all = journal.borrow().count;
        assert!(self.before.starts_something_good().is_ok());
        for index in 0..all {
            for fault in [Fault::Fails, Fault::Half, Fault::Vanishes] {
                let (machine, journal) = self.machine();
                journal.borrow_mut().fault = Some((index, fault));
                let what = format!("{}, event {index} {fault:?}", self.what);
                let error = self.update(&machine).expect_err(&what);
                assert!(!format!("{error:#}").is_empty());
                left_by_a_cut(&self.before, &journal.borrow().events, |board| {
                    assert_eq!(board.starts_something_good(), Ok(()), "{what}: {error:#}");
                });
                journal.borrow_mut().fault = None;
                self.update(&machine).expect(&what);
                assert!(self.after(&machine).starts(&NEW), "{what}, tried again");
            }
        }
    }
}

/// What an update leaves that was cut while it wrote.
fn headless(image: &[u8]) -> Vec<u8> {
    [&[0; SECTOR], &image[SECTOR..]].concat()
}

fn damaged(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[0x4_1000] ^= 1;
    image
}

fn cards() -> Vec<Case> {
    let (older, old, new) = (Some(&OLDER[..]), Some(&OLD[..]), Some(&NEW[..]));
    vec![
        Case::card("only a primary copy", old, None),
        Case::card("only a secondary copy", None, old),
        Case::card("both copies", old, old),
        Case::card("copies of different releases", old, older),
        Case::card("an update that was cut: the secondary copy is new", old, new),
        Case::card(
            "an update that was cut: the primary copy has no head",
            Some(&headless(&NEW)),
            new,
        ),
        Case::card("a damaged secondary copy", old, Some(&damaged(&OLD))),
        Case::card(
            "a damaged primary copy, which the boot ROM believes",
            Some(&damaged(&OLD)),
            old,
        ),
    ]
}

fn emmcs() -> Vec<Case> {
    let (older, old, new) = (Some(&OLDER[..]), Some(&OLD[..]), Some(&NEW[..]));
    vec![
        Case::emmc("both partitions, the first one named", 0x48, [old, older], &[]),
        Case::emmc("both partitions, the second one named", 0x50, [older, old], &[]),
        Case::emmc("only the one that is named", 0x48, [old, None], &[]),
        Case::emmc("only the one that is not named", 0x48, [None, old], &[]),
        Case::emmc("only the one that is not named, cut", 0x50, [old, Some(&headless(&NEW))], &[]),
        Case::emmc("written and not yet named", 0x48, [old, new], &[]),
        Case::emmc("the user area is started", 0x38, [None, None], &OLD),
    ]
}

#[test]
fn a_power_cut_at_any_point_of_a_cards_update_leaves_what_the_boot_rom_can_start() {
    cards().iter().for_each(Case::survives_power_cuts);
}

#[test]
fn a_power_cut_at_any_point_of_an_emmcs_update_leaves_what_the_boot_rom_can_start() {
    emmcs().iter().for_each(Case::survives_power_cuts);
}

#[test]
fn a_write_to_a_card_that_fails_or_vanishes_is_told_and_the_next_update_finishes() {
    for case in &cards()[..3] {
        case.survives_failures();
    }
}

#[test]
fn a_write_to_an_emmc_that_fails_or_vanishes_is_told_and_the_next_update_finishes() {
    for case in [0, 3, 5, 6] {
        emmcs()[case].survives_failures();
    }
}

#[test]
fn a_card_has_the_new_image_twice_in_the_end_and_an_emmc_keeps_the_old_one() {
    for case in cards() {
        let (machine, _) = case.machine();
        case.update(&machine).unwrap();
        let card = &case.after(&machine).disks["mmcblk1"];
        assert!(card[PRIMARY..].starts_with(&NEW) && card[SECONDARY..].starts_with(&NEW));
        let untouched = |range: std::ops::Range<usize>| {
            card[range.clone()] == case.before.disks["mmcblk1"][range]
        };
        assert!(untouched(0..PRIMARY) && untouched(PRIMARY + NEW.len()..SECONDARY));
        assert!(untouched(SECONDARY + NEW.len()..card.len()));
    }
    let case = &emmcs()[0];
    let (machine, _) = case.machine();
    case.update(&machine).unwrap();
    let board = case.after(&machine);
    assert!(board.disks["mmcblk2boot0"] == case.before.disks["mmcblk2boot0"]);
    assert!(board.disks["mmcblk2"] == case.before.disks["mmcblk2"]);
}

/// That the checks above would notice: the order of `firn write`, which replaces the copy in use first.
#[test]
fn a_primary_copy_that_is_replaced_first_would_be_noticed() {
    let case = &cards()[0];
    let events = [
        Event::Write { disk: "mmcblk1".into(), at: PRIMARY, bytes: vec![0; SECTOR] },
        Event::Sync { disk: "mmcblk1".into() },
    ];
    let mut lost = 0;
    left_by_a_cut(&case.before, &events, |board| {
        lost += usize::from(board.starts_something_good().is_err());
    });
    assert!(lost > 0);
}
