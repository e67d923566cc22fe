//! The first stage's way to memory: the training firmware behind it, then a few attempts.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use evk::models::ddr::{Fault, bench::Bench, blobs::Blobs};
use firn::{
    board::{BOARD, MEMORY},
    ddr::{check::Cells, saved},
    error::{Code, Coded as _},
    handoff::HandOff,
    image::{
        build::{self, Input, Piece},
        container::PartKind,
        rom, training,
    },
    spl::{
        dram::{self, Ready},
        training_firmware,
    },
};

/// Memory whose dead lines read as 0.
#[derive(Default)]
struct Lines {
    cells: RefCell<BTreeMap<u64, u32>>,
    dead: u32,
}

impl Cells for Lines {
    fn read(&self, address: u64) -> u32 {
        self.cells.borrow().get(&address).copied().unwrap_or(0)
    }

    fn write(&self, address: u64, value: u32) {
        self.cells.borrow_mut().insert(address, value & !self.dead);
    }
}

/// Brings memory up; what each failed attempt said, after which the bench has `later` faults.
fn bring_up(
    bench: &Bench,
    lines: &Lines,
    later: &[Fault],
) -> (Result<Ready, dram::Error>, Vec<String>) {
    let blobs = Blobs::raw();
    let mut room = vec![0; saved::words(MEMORY.timing)];
    let mut failures = Vec::new();
    let ready = dram::bring_up(
        (bench, bench, lines),
        MEMORY.timing,
        blobs.firmware().unwrap(),
        &mut room,
        |error| {
            failures.push(format!("[{}] {error}", error.code()));
            bench.set_faults(later);
        },
    );
    (ready, failures)
}

#[test]
fn good_memory_is_ready_at_the_first_attempt_and_the_second_stage_is_told() {
    let (ready, failures) = bring_up(&Bench::new(&[]), &Lines::default(), &[]);
    let ready = ready.unwrap();
    assert!(failures.is_empty());
    let text = ready.to_string();
    assert!(text.starts_with("DRAM: 6.0 GiB at 4000 MT/s, trained in "), "{text}");
    assert!(!text.contains("attempt"), "{text}");

    let mut record = HandOff::default();
    ready.tell(&mut record, Duration::from_millis(300));
    let banks: Vec<_> = record.banks.iter().flatten().map(|b| (b.start(), b.end())).collect();
    assert_eq!(banks, [(0x4000_0000, 0x1_0000_0000), (0x1_0000_0000, 0x1_c000_0000)]);
    assert_eq!(record.training.unwrap().rate, 4000);
    assert_eq!(record.times.dram, Duration::from_millis(300));
}

#[test]
fn what_fails_once_is_tried_again_and_the_attempts_are_told() {
    let bench = Bench::new(&[Fault::Fails(0)]);
    let (ready, failures) = bring_up(&bench, &Lines::default(), &[]);
    let ready = ready.unwrap();
    assert_eq!(ready.training.attempts, 2);
    assert!(ready.to_string().ends_with(", attempt 2"), "{ready}");
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0].starts_with("[E805] DRAM: training, run 0 (1D at 4000 MT/s)"),
        "{failures:?}"
    );
    // Memory begins with a reset, whatever state the attempt before left.
    assert_eq!(bench.broken_rules(), Vec::<String>::new());
}

#[test]
fn memory_that_never_trains_is_given_up_after_three_attempts_within_the_deadlines() {
    // Seconds for each attempt; slow accesses, so that the host sees the end of long waits.
    for (fault, code, limit) in [
        (Fault::Fails(3), Code::DramTrainingFailed, 5),
        (Fault::Silent(0), Code::DramTrainingSilent, 5 + 5),
        (Fault::Endless(0), Code::DramTrainingSilent, 30 + 5),
        (Fault::StuckBit(7), Code::DramFirmwareDamaged, 5),
        (Fault::NoLock, Code::DramClock, 1),
        (Fault::NoHandshake, Code::DramController, 1),
    ] {
        let bench = Bench::with_access_time(&[fault], Duration::from_micros(50));
        let (ready, failures) = bring_up(&bench, &Lines::default(), &[fault]);
        assert_eq!(ready.unwrap_err().code(), code, "{fault:?}");
        assert_eq!(failures.len(), usize::from(dram::ATTEMPTS) - 1, "{fault:?}");
        let limit = Duration::from_secs(limit) * dram::ATTEMPTS.into();
        assert!(bench.elapsed() < limit, "{fault:?}: {:?}", bench.elapsed());
    }
}

#[test]
fn a_dead_data_line_is_named_although_training_passed() {
    let lines = Lines { dead: 1 << 13, ..Lines::default() };
    let (ready, failures) = bring_up(&Bench::new(&[]), &lines, &[]);
    let error = ready.unwrap_err();
    assert_eq!(error.code(), Code::DramData);
    assert!(error.to_string().contains("bits 0x00002000"), "{error}");
    assert_eq!(failures.len(), 2);
}

/// Start and end of a memory region of the first stage's linker script.
fn region(name: &str) -> (u64, u64) {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.strip_suffix('K').unwrap().parse::<u64>().unwrap() << 10,
    };
    let script = include_str!("../linker/spl.ld");
    let line = script.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    let (origin, length) =
        line.split_once("ORIGIN = ").unwrap().1.split_once(", LENGTH = ").unwrap();
    (number(origin), number(origin) + number(length))
}

#[test]
fn nothing_in_on_chip_memory_overlaps_with_the_largest_first_stage_and_padded_firmware() {
    let image = BOARD.image;
    let (file, variables) = (region("IMAGE"), region("RAM"));
    assert_eq!(file, (image.entry.into(), u64::from(image.entry + image.spl_max)));

    let padded = Blobs::padded();
    let firmware = [padded.one_d_imem, padded.one_d_dmem, padded.two_d_imem, padded.two_d_dmem];
    let header = rom::Header::parse(&flash(image.spl_max as usize, &firmware), 0).unwrap();
    let loaded_end = u64::from(header.start) + u64::from(header.length);
    assert!(file.1 <= loaded_end && loaded_end <= variables.0, "{loaded_end:#x}");

    let bl31 = image.room(PartKind::Bl31).unwrap();
    assert_eq!(variables.1, bl31.start);
}

/// An image with a first stage of `spl` bytes and this firmware.
fn flash(spl: usize, firmware: &[Vec<u8>; 4]) -> Vec<u8> {
    let program = vec![0x14; 64];
    let input = Input {
        spl: &vec![0x14; spl],
        training: firmware.each_ref().map(Vec::as_slice),
        pieces: &[
            Piece { kind: PartKind::Bl31, bytes: &program },
            Piece { kind: PartKind::Loader, bytes: &program },
        ],
    };
    build::image(BOARD.image, &input).unwrap()
}

/// What the boot ROM loads of it behind the first stage, and where that lies in the image.
fn loaded(spl: usize, firmware: &[Vec<u8>; 4]) -> (Vec<u8>, u32) {
    let image = flash(spl, firmware);
    let place = (64 + spl).next_multiple_of(64);
    (image[place..BOARD.image.container_at as usize].to_vec(), u32::try_from(place).unwrap())
}

fn dummies() -> [Vec<u8>; 4] {
    training::KINDS.map(|kind| training::dummy(kind, BOARD.image.training_release))
}

fn find(loaded: &[u8], place: u32) -> Result<(), training_firmware::Error> {
    training_firmware::find(loaded, place, BOARD.image.board).map(|_| ())
}

#[test]
fn the_training_firmware_is_found_behind_a_first_stage_of_any_size() {
    for spl in [64, 4096, 90_000, 96 << 10] {
        let (loaded, place) = loaded(spl, &dummies());
        assert_eq!(find(&loaded, place), Ok(()), "{spl}");
    }
}

#[test]
fn damaged_training_firmware_is_never_used() {
    let (good, place) = loaded(4096, &dummies());
    let end = good.iter().rposition(|&byte| byte != 0).unwrap();
    for at in (0..end).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        // Padding between the parts is nobody's.
        let Err(error) = find(&bad, place) else { continue };
        let code = error.code().number();
        assert!((900..1000).contains(&code), "{at:#x}: {error}");
        assert!(error.to_string().starts_with("training firmware: "), "{error}");
    }
    let mut damaged = good.clone();
    damaged[0x1000] ^= 1;
    assert_eq!(find(&damaged, place).unwrap_err().code(), Code::BootImageDigest);
}

#[test]
fn training_firmware_that_is_cut_off_missing_or_elsewhere_is_an_error() {
    let (good, place) = loaded(4096, &dummies());
    for length in (0..good.len().min(0xf000)).step_by(509) {
        assert!(find(&good[..length], place).is_err(), "{length:#x} bytes");
    }
    assert!(find(&good, place + 64).is_err(), "it says where it belongs");
    assert_eq!(find(&[0; 4096], place).unwrap_err().code(), Code::NotABootImage);
    let foreign = training_firmware::find(&good, place, "another-board").unwrap_err();
    assert_eq!(foreign.code(), Code::BootImageForeign);
}
