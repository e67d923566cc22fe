//! DRAM bring-up on the model of controller and PHY.

use std::{fmt::Write, time::Duration};

use evk::{
    access::Store,
    models::ddr::{Fault, bench::Bench, blobs::Blobs},
};
use firn::{
    board::MEMORIES,
    ddr::{self, Error, Findings, Spacing, saved, timing::Timing},
    error::{Code, Coded},
    memory::Region,
};
use sha2::{Digest, Sha256};

/// Every store of mainline U-Boot; `B16` stands for a copy of firmware. See fixtures/README.md.
const REFERENCE: &str = include_str!("fixtures/ddr/trace.txt");
/// The PLL's control register, and the bit of it that software cannot write.
const PLL: &str = "W 0x30360050";
const PLL_LOCKED: u32 = 1 << 31;

fn timing(name: &str) -> &'static Timing {
    MEMORIES.iter().find(|memory| memory.name == name).expect("a memory of the board").timing
}

/// A bring-up on a fresh bench.
struct Attempt {
    bench: Bench,
    saved: Vec<u32>,
    outcome: Result<(ddr::Dram, Findings), Error>,
}

fn attempt(timing: &'static Timing, blobs: &Blobs, faults: &[Fault]) -> Attempt {
    attempt_on(Bench::new(faults), timing, blobs)
}

fn attempt_on(bench: Bench, timing: &'static Timing, blobs: &Blobs) -> Attempt {
    let mut room = vec![0xdead_beef; saved::words(timing)];
    let saved = saved::Saved::new(saved::ADDRESS, &mut room, timing).expect("room enough");
    let firmware = blobs.firmware().expect("blobs of possible sizes");
    let outcome = ddr::bring_up(&bench, &bench, timing, firmware, saved)
        .map(|online| (online.dram(), *online.findings()));
    Attempt { bench, saved: room, outcome }
}

fn text(stores: &[Store]) -> Vec<String> {
    stores.iter().map(|store| masked(&store.to_string())).collect()
}

/// A line without the bit that the PLL sets by itself.
fn masked(line: &str) -> String {
    let value = line.strip_prefix(PLL).and_then(|rest| rest.trim().strip_prefix("0x"));
    match value.and_then(|value| u32::from_str_radix(value, 16).ok()) {
        Some(value) => format!("{PLL} {:#010x}", value & !PLL_LOCKED),
        None => line.to_owned(),
    }
}

/// The reference's stores, with `blobs` where it copies firmware.
fn reference(blobs: &Blobs) -> Vec<String> {
    let mut copies =
        [[&blobs.one_d_imem, &blobs.one_d_dmem], [&blobs.two_d_imem, &blobs.two_d_dmem]]
            .into_iter();
    let mut lines = Vec::new();
    for line in REFERENCE.lines() {
        if line.starts_with("W ") {
            lines.push(masked(line));
        } else if line.starts_with("B16 ") {
            let parts = copies.next().expect("two copies");
            for (base, bytes) in [0x3c14_0000, 0x3c15_0000].into_iter().zip(parts) {
                for (address, half) in (base..).step_by(4).zip(bytes.chunks(2)) {
                    lines.push(format!(
                        "W16 {address:#010x} {:#06x}",
                        u16::from_le_bytes([half[0], half[1]])
                    ));
                }
            }
        }
    }
    lines
}

/// The first difference, with what stands around it.
#[track_caller]
fn assert_same(engine: &[String], expected: &[String]) {
    let differs = engine.iter().zip(expected).position(|(one, other)| one != other);
    let at = differs.unwrap_or(engine.len().min(expected.len()));
    if differs.is_some() || engine.len() != expected.len() {
        let around = at.saturating_sub(3)..at + 3;
        let lines = |side: &[String]| {
            side.get(around.start..around.end.min(side.len())).map(|s| s.join("\n  "))
        };
        panic!(
            "line {} of {} and {}:\n engine\n  {}\n expected\n  {}",
            at + 1,
            engine.len(),
            expected.len(),
            lines(engine).unwrap_or_default(),
            lines(expected).unwrap_or_default()
        );
    }
}

#[test]
fn the_synthetic_blobs_are_the_ones_that_the_reference_was_recorded_with() {
    let blobs = Blobs::padded();
    let images = [[&blobs.one_d_imem, &blobs.one_d_dmem], [&blobs.two_d_imem, &blobs.two_d_dmem]];
    let copies = REFERENCE.lines().filter(|line| line.starts_with("B16 "));
    for (line, [imem, dmem]) in copies.zip(images) {
        let digest = Sha256::new().chain_update(imem).chain_update(dmem).finalize();
        let digest = digest.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes it");
            text
        });
        assert!(line.ends_with(&format!("sha256={digest}")), "{line} is not {digest}");
    }
}

#[test]
fn every_store_equals_the_reference_in_order() {
    let attempt = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[]);
    let stores = text(&attempt.bench.take_stores());
    assert_same(&stores, &reference(&Blobs::padded()));
    assert_eq!(stores.len(), 50_405);
    attempt.outcome.expect("online");
    assert!(attempt.bench.is_online());
}

#[test]
fn no_rule_of_the_hardware_is_broken() {
    for memory in MEMORIES {
        let attempt = attempt(memory.timing, &Blobs::padded(), &[]);
        attempt.outcome.expect("online");
        assert_eq!(attempt.bench.broken_rules(), Vec::<String>::new(), "{}", memory.name);
    }
}

#[test]
fn bl31_finds_the_tables_and_what_training_found() {
    let timing = timing("lpddr4-4000");
    let saved = attempt(timing, &Blobs::padded(), &[]).saved;
    assert_eq!(4 * saved.len(), 0x32d0);
    let header = [
        [0x18_0060, 0, 109, 0],
        [0x18_03c8, 0, 205, 0],
        [0, 0, 0, 0],
        [0x18_0a30, 0, 719, 0],
        [0x18_20a8, 0, 581, 4000],
        [400, 100, 0, 0],
    ];
    assert_eq!(saved[..24], header.concat());
    let rows: Vec<[u32; 2]> = saved[24..].chunks(2).map(|row| [row[0], row[1]]).collect();
    assert_eq!(rows[0], [0x3d40_0304, 1]);
    assert_eq!(rows[109], [0x1_00a0, 0]);
    assert_eq!(rows[109 + 205], [0x2_00b2, 0x104]);
    // Registers that nobody wrote hold their number in the model.
    let captured = &rows[109 + 205..][..719];
    let untouched = captured.iter().filter(|row| row[1] == row[0] & 0xffff).count();
    assert!(untouched > 600, "{untouched} of 719");
    assert_eq!(rows[109 + 205 + 719], [0xd_0000, 0]);
    assert_eq!(rows.last(), Some(&[0xd_0000, 1]));
}

#[test]
fn rank_to_rank_corrections_follow_the_fields_of_the_message_block() {
    let hex =
        |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number");
    let words = |text: &str| -> Vec<u16> {
        text.split(',').map(|word| u16::try_from(hex(word)).expect("16 bits")).collect()
    };
    let mut vectors = 0;
    for line in include_str!("fixtures/ddr/cdd-vectors.tsv").lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[name, a, b, rr, rw, wr, ww, turnaround, gaps, ..] = columns.as_slice() else {
            panic!("{line}");
        };
        let spacing = Spacing::from_results(
            words(a).try_into().expect("six words"),
            words(b).try_into().expect("seven words"),
        );
        let found =
            [spacing.read_read, spacing.read_write, spacing.write_read, spacing.write_write];
        assert_eq!(found.map(|byte| byte.to_string()), [rr, rw, wr, ww], "{name}");
        assert_eq!(spacing.widen_turnaround(0x0912_1c1c), hex(turnaround), "{name}");
        assert_eq!(spacing.widen_gaps(0x0000_0c99), hex(gaps), "{name}");
        vectors += 1;
    }
    assert_eq!(vectors, 10);
}

/// The corrections in a bring-up whose 1D runs find these differences: DRAMTMG2 and RANKCTL of set
/// point 0, 1 and 2.
fn corrections(a: [u16; 6], b: [u16; 7]) -> Vec<String> {
    let faults = [Fault::Differences(a, b)];
    let attempt = attempt(timing("lpddr4-4000"), &Blobs::smallest(), &faults);
    attempt.outcome.expect("online");
    let stores = text(&attempt.bench.take_stores());
    let start = stores.iter().rposition(|line| line == "W 0x3d4001b0 0x00000030").expect("a start");
    stores[start - 6..start].to_vec()
}

#[test]
fn only_the_correction_differs_from_u_boot_and_only_where_its_mix_up_of_channels_matters() {
    // U-Boot's maxima of RR and WW, where channel B's first and last byte replace channel A's.
    let mut differing = Vec::new();
    for line in include_str!("fixtures/ddr/cdd-vectors.tsv").lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let hex = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16).expect("hex");
        let words = |text: &str| text.split(',').map(hex).collect::<Vec<u16>>();
        let (a, b) = (words(columns[1]), words(columns[2]));
        let found = corrections(a.try_into().expect("six"), b.try_into().expect("seven"));
        let line = |address: &str, value: &str| format!("W {address} {value}");
        assert_eq!(found[0], line("0x3d400108", columns[7]), "{}", columns[0]);
        assert_eq!(found[1], line("0x3d4000f4", columns[8]), "{}", columns[0]);
        if found[1] != line("0x3d4000f4", columns[11]) {
            differing.push((columns[0], columns[8], columns[11]));
        }
    }
    assert_eq!(
        differing,
        [
            ("A.RR(1,0)=16 only", "0x00000cf9", "0x00000c99"),
            ("A.WW(0,1)=8 only", "0x00000f99", "0x00000c99"),
        ]
    );
}

#[test]
fn raw_blobs_are_written_as_long_as_they_are() {
    let attempt = attempt(timing("lpddr4-4000"), &Blobs::raw(), &[]);
    assert_same(&text(&attempt.bench.take_stores()), &reference(&Blobs::raw()));
    attempt.outcome.expect("online");
}

/// Rows of a table as stores.
fn controller_rows(timing: &Timing) -> Vec<String> {
    timing
        .controller
        .iter()
        .map(|row| format!("W {:#010x} {:#010x}", row.address, row.value))
        .collect()
}

fn phy_rows(rows: &[ddr::timing::PhyWrite]) -> Vec<String> {
    let line = |row: &ddr::timing::PhyWrite| {
        format!("W {:#010x} {:#010x}", 0x3c00_0000 + 4 * row.register(), row.value())
    };
    rows.iter().map(line).collect()
}

/// `lines` with `to` in the place of `from`, which must be there once.
fn replaced(lines: &[String], from: &[String], to: &[String]) -> Vec<String> {
    let places: Vec<usize> =
        (0..=lines.len() - from.len()).filter(|at| lines[*at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "{} lines from {}", from.len(), from[0]);
    let (before, rest) = lines.split_at(places[0]);
    [before, to, &rest[from.len()..]].concat()
}

fn line(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[test]
fn slower_memory_differs_by_its_tables_clock_and_corrections() {
    let (fast, slow) = (timing("lpddr4-4000"), timing("lpddr4-2400"));
    let mut expected = reference(&Blobs::padded());
    expected = replaced(&expected, &controller_rows(fast), &controller_rows(slow));
    expected = replaced(&expected, &phy_rows(fast.phy), &phy_rows(slow.phy));
    expected = replaced(&expected, &phy_rows(fast.pie), &phy_rows(slow.pie));
    for run in [0, 3] {
        let [from, to] = [fast, slow].map(|timing| phy_rows(timing.runs[run].message));
        expected = replaced(&expected, &from, &to);
    }
    for line in &mut expected {
        // 300 / 3 / 2^2 instead of 250 / 3 / 2.
        if line == "W 0x30360054 0x000fa031" {
            "W 0x30360054 0x0012c032".clone_into(line);
        }
    }
    expected =
        replaced(&expected, &line("W 0x3d400108 0x09122023"), &line("W 0x3d400108 0x060c191b"));
    let attempt = attempt(slow, &Blobs::padded(), &[]);
    assert_same(&text(&attempt.bench.take_stores()), &expected);
    let (dram, _) = attempt.outcome.expect("online");
    assert_eq!(dram.bytes, 6 << 30);
}

#[test]
fn memory_with_codes_is_filled_before_it_saves_power() {
    let (plain, protected) = (timing("lpddr4-4000"), timing("lpddr4-4000-ecc"));
    let expected = reference(&Blobs::padded());
    let mut expected = replaced(&expected, &controller_rows(plain), &controller_rows(protected));
    let last = expected.pop();
    let pieces = (0..7)
        .flat_map(|piece| [0, 0x2000_0000, 0x4000_0000].map(|part| part + piece * 0x400_0000));
    for first in pieces {
        expected.extend(
            [
                (0x320, 0),
                (0x074, 0x7b0),
                (0x490, 0),
                (0xf38, first),
                (0xf40, first + 0x3ff_ffff),
                (0xf24, 0x14),
                (0xf2c, 0x55aa_55aa),
                (0xf24, 0x15),
                (0xf24, 0x14),
                (0xf24, 0x100),
                (0xf24, 0x101),
                (0x490, 1),
                (0x320, 1),
            ]
            .map(|(offset, value)| format!("W {:#010x} {value:#010x}", 0x3d40_0000 + offset)),
        );
    }
    expected.extend(
        [
            (0x320, 0),
            (0x490, 0),
            (0xf38, 0),
            (0xf40, 0x5fff_ffff_u32),
            (0xf24, 0x100),
            (0xf24, 0x100),
            (0xf24, 0x101),
            (0x490, 1),
            (0x320, 1),
        ]
        .map(|(offset, value)| format!("W {:#010x} {value:#010x}", 0x3d40_0000 + offset)),
    );
    expected.extend(last);
    let attempt = attempt(protected, &Blobs::padded(), &[]);
    assert_same(&text(&attempt.bench.take_stores()), &expected);
    let (dram, _) = attempt.outcome.expect("online");
    let usable: u64 = dram.banks().map(Region::size).sum();
    assert_eq!((dram.bytes, usable), (6 << 30, (6 << 30) / 8 * 7));
}

#[test]
fn each_failure_has_its_code_says_where_it_was_and_ends_in_time() {
    let seconds = Duration::from_secs;
    for (fault, code, words, most) in [
        (Fault::NoLock, Code::DramClock, "first clock: register 0x30360050", seconds(1)),
        (Fault::NoHandshake, Code::DramController, "register 0x3d400324 stays 0x0", seconds(1)),
        (
            Fault::StuckBit(1),
            Code::DramFirmwareDamaged,
            "0xbb54 at 0x3c140004, not 0xbb55",
            seconds(1),
        ),
        (Fault::StuckBit(0x4001), Code::DramFirmwareDamaged, "data memory", seconds(1)),
        (Fault::Silent(0), Code::DramTrainingSilent, "run 0 (1D at 4000 MT/s)", seconds(6)),
        (Fault::Silent(2), Code::DramTrainingSilent, "run 2 (1D at 100 MT/s)", seconds(6)),
        (Fault::Deaf(1), Code::DramTrainingSilent, "run 1 (1D at 400 MT/s)", seconds(1)),
        (Fault::Fails(0), Code::DramTrainingFailed, "the last stage 0x01 (end of fine", seconds(1)),
        (Fault::Fails(3), Code::DramTrainingFailed, "run 3 (2D at 4000 MT/s)", seconds(1)),
        (Fault::NoCalibration, Code::DramController, "calibrating the PHY", seconds(2)),
        (Fault::NoPhy, Code::DramController, "starting the PHY", seconds(2)),
        (Fault::NoNormalMode, Code::DramController, "starting the controller", seconds(2)),
        (Fault::NoFill, Code::DramController, "filling memory", seconds(6)),
    ] {
        let attempt = attempt(timing("lpddr4-4000-ecc"), &Blobs::padded(), &[fault]);
        let error = attempt.outcome.expect_err("a fault");
        assert_eq!(error.code(), code, "{fault:?}: {error}");
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert!(attempt.bench.elapsed() < most, "{fault:?}: {:?}", attempt.bench.elapsed());
        assert_eq!(attempt.bench.broken_rules(), Vec::<String>::new(), "{fault:?}");
        assert!(!attempt.bench.is_online(), "{fault:?}");
    }
}

#[test]
fn firmware_that_talks_for_ever_is_stopped() {
    let slow = Bench::with_access_time(&[Fault::Endless(1)], Duration::from_millis(1));
    let attempt = attempt_on(slow, timing("lpddr4-4000"), &Blobs::smallest());
    let error = attempt.outcome.expect_err("no end");
    assert_eq!(error.code(), Code::DramTrainingSilent);
    assert!(
        error.to_string().contains("run 1 (1D at 400 MT/s): the firmware comes to no end"),
        "{error}"
    );
    assert!(attempt.bench.elapsed() < Duration::from_secs(32), "{:?}", attempt.bench.elapsed());
}

#[test]
fn nothing_is_written_after_a_run_that_failed_or_fell_silent() {
    let expected = reference(&Blobs::padded());
    // Where each run's firmware is started.
    let starts: Vec<usize> =
        (0..expected.len() - 1).filter(|at| expected[*at] == "W 0x3c340264 0x00000000").collect();
    assert_eq!(starts.len(), 4);
    for (run, start) in starts.into_iter().enumerate() {
        let silent = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[Fault::Silent(run)]);
        assert_same(&text(&silent.bench.take_stores()), &expected[..=start]);
        // Five words, each acknowledged by two stores.
        let failed = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[Fault::Fails(run)]);
        assert_same(&text(&failed.bench.take_stores()), &expected[..=start + 10]);
    }
}

#[test]
fn an_examined_failure_names_the_firmware_and_the_ranks() {
    let attempt = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[Fault::Fails(0)]);
    let error = attempt.outcome.expect_err("a failure");
    attempt.bench.take_stores();
    let error = ddr::examine(error, &attempt.bench, &attempt.bench);
    assert!(error.to_string().ends_with("firmware revision 0x2020, failed ranks 0x03"), "{error}");
    assert_eq!(
        text(&attempt.bench.take_stores()),
        ["W 0x3c340264 0x00000001", "W 0x3c340000 0x00000000", "W 0x3c340000 0x00000001"]
    );
    assert_eq!(attempt.bench.broken_rules(), Vec::<String>::new());
}

#[test]
fn a_second_attempt_begins_from_reset_and_does_all_again() {
    // The PLL's control register is read before it is written, and is not reset.
    let without_pll = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.starts_with(PLL)).collect()
    };
    let expected = without_pll(reference(&Blobs::padded()));
    for fault in
        [Fault::NoLock, Fault::StuckBit(7), Fault::Fails(1), Fault::Silent(3), Fault::NoPhy]
    {
        let first = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[fault]);
        first.outcome.expect_err("a fault");
        first.bench.set_faults(&[]);
        first.bench.take_stores();
        let second = attempt_on(first.bench, timing("lpddr4-4000"), &Blobs::padded());
        second.outcome.expect("online");
        assert_same(&without_pll(text(&second.bench.take_stores())), &expected);
        assert_eq!(second.bench.broken_rules(), Vec::<String>::new(), "{fault:?}");
    }
}

#[test]
fn findings_tell_of_each_run() {
    let attempt = attempt(timing("lpddr4-4000"), &Blobs::padded(), &[]);
    let (_, findings) = attempt.outcome.expect("online");
    let runs: Vec<String> = findings.runs().map(|finding| finding.run.to_string()).collect();
    assert_eq!(
        runs,
        [
            "run 0 (1D at 4000 MT/s)",
            "run 1 (1D at 400 MT/s)",
            "run 2 (1D at 100 MT/s)",
            "run 3 (2D at 4000 MT/s)"
        ]
    );
    assert!(findings.runs().all(|finding| finding.evidence.revision == 0x2020));
    let words: Vec<u32> = findings.runs().map(|finding| finding.heard.words).collect();
    assert_eq!(words, [15, 15, 15, 10]);
    assert_eq!(findings.spacings().len(), 3);
}
