//! DRAM bring-up on the model of controller and PHY.

use std::fmt::Write;

use evk::models::ddr::{
    Fault,
    bench::{Bench, Store},
    blobs::Blobs,
};
use firn::{
    board::MEMORIES,
    ddr::{self, Error, Findings, Spacing, saved, timing::Timing},
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
    let bench = Bench::new(faults);
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
