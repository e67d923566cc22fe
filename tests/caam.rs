//! The CAAM's driver on the model: what it draws, what it leaves behind, and how each way to fail
//! ends.

#![forbid(unsafe_code)]

use std::{collections::HashSet, time::Duration};

use evk::models::caam::{Bench, Caam, Fault};
use firn::{
    entropy::Secret,
    error::{Code, Coded},
    soc::caam::{self, Access, Buffers, Error, Status},
};

/// Draws once. Whatever comes of it, the module's rules are kept.
fn draw(bench: &Bench, access: Access) -> Result<Secret, Error> {
    let buffers = Box::leak(Box::new(Buffers::new()));
    let outcome = caam::draw(bench, bench, bench, buffers, access);
    assert_eq!(bench.broken_rules(), [""; 0], "{outcome:?}");
    outcome
}

/// Draws from a module that draws well, and leaves it as it should be left.
fn drawn(bench: &Bench, access: Access) -> Secret {
    let secret = draw(bench, access).unwrap();
    assert!(bench.model(|model| model.is_at_rest()), "the ring is not as after a reset");
    assert_eq!(bench.model(|model| model.draws()), 1);
    secret
}

/// Why nothing can be drawn from `caam`, what a person reads, and how long that took.
fn failure(caam: Caam, access: Access) -> (Error, String, Duration) {
    let bench = Bench::new(caam);
    let error = draw(&bench, access).unwrap_err();
    assert_eq!(error.code(), Code::NoEntropy);
    (error, error.to_string(), bench.elapsed())
}

fn after_bl31() -> Caam {
    Caam::new().given_to_the_normal_world()
}

const TRNG_CONTROL: u32 = 0x600;
const SAMPLE: u32 = 0x610;
const SECURITY_CONFIGURATION: u32 = 0x0c;

#[test]
fn the_first_stage_takes_the_ring_seeds_both_handles_and_draws() {
    let bench = Bench::new(Caam::new());
    drawn(&bench, Access::Secure);
    bench.model(|model| {
        assert_eq!((model.handles(), model.resistant_handles()), (0b11, 0b11));
        assert_eq!(model.sample(), 3200);
    });
    // Ring 1 is the secure world's; BL31 gives it away.
    assert_eq!(bench.stored(0x18), [0x8011]);
    // Pointers of 32 bits, and writes as U-Boot's first stage makes them.
    assert_eq!(bench.stored(0x04), [0x200]);
    // Into program mode with the old samples dropped, and back with raw samples.
    assert_eq!(bench.stored(TRNG_CONTROL), [0x0001_0020, 1]);
    assert_eq!(bench.stored(SAMPLE), [3200 << 16 | 512]);
    assert_eq!(bench.stored(SECURITY_CONFIGURATION), [1 << 10; 2]);
    assert!(bench.elapsed() < Duration::from_millis(40), "{:?}", bench.elapsed());
}

#[test]
fn behind_bl31_nothing_is_assigned_and_what_is_seeded_stays_as_it_is() {
    let bench = Bench::new(after_bl31().instantiated(0b11));
    drawn(&bench, Access::Normal);
    for register in [0x04, 0x18, TRNG_CONTROL, SAMPLE, SECURITY_CONFIGURATION] {
        assert_eq!(bench.stored(register), [0; 0], "{register:#x}");
    }
    // No new seed is waited for.
    assert!(bench.elapsed() < Duration::from_millis(1), "{:?}", bench.elapsed());
}

#[test]
fn behind_bl31_and_an_unknown_first_stage_the_generator_is_seeded() {
    let bench = Bench::new(after_bl31());
    drawn(&bench, Access::Normal);
    assert_eq!(bench.model(|model| model.resistant_handles()), 0b11);
}

#[test]
fn a_tees_registers_are_not_touched() {
    let bench = Bench::new(Caam::new().behind_a_tee());
    drawn(&bench, Access::Ring);
}

#[test]
fn a_handle_that_others_seeded_stays_and_the_other_one_is_seeded() {
    for handles in [0b01, 0b10] {
        let bench = Bench::new(after_bl31().instantiated(handles));
        drawn(&bench, Access::Normal);
        assert_eq!(bench.model(|model| model.handles()), 0b11);
        assert_eq!(bench.stored(SAMPLE), [0; 0], "its samples have passed the tests");
    }
}

#[test]
fn no_two_draws_are_the_same() {
    let draw_from = |caam: Caam| *drawn(&Bench::new(caam), Access::Secure).bytes();
    let draws: HashSet<_> = (0..8).map(|_| draw_from(Caam::new())).collect();
    assert_eq!(draws.len(), 8);
    // And what is drawn is what the module gave.
    assert_eq!(draw_from(Caam::new().seeded(7)), draw_from(Caam::new().seeded(7)));
}

#[test]
fn samples_grow_until_the_oscillator_passes_its_tests() {
    let bench = Bench::new(Caam::new().with(Fault::NeedsSample(5000)));
    drawn(&bench, Access::Secure);
    assert_eq!(bench.stored(SAMPLE), [3200 << 16 | 512, 6400 << 16 | 512]);
}

#[test]
fn an_oscillator_that_never_passes_is_given_up_after_three_lengths() {
    let caam = Caam::new().with(Fault::NeedsSample(u32::MAX));
    let bench = Bench::new(caam.clone());
    assert_eq!(draw(&bench, Access::Secure), Err(Error::Unseeded(Status(0x2000_015b))));
    assert_eq!(bench.stored(SAMPLE), [3200_u32, 6400, 12_800].map(|clocks| clocks << 16 | 512));
    let (_, text, took) = failure(caam, Access::Secure);
    assert!(text.contains("failed its own tests (status 0x2000015b): power the board"), "{text}");
    assert!(took < Duration::from_millis(150), "{took:?}");
}

#[test]
fn one_handle_is_enough_to_draw_from() {
    let bench = Bench::new(Caam::new().with(Fault::OneHandle));
    drawn(&bench, Access::Secure);
    assert_eq!(bench.model(|model| model.handles()), 0b01);
}

#[test]
fn a_module_that_is_not_there_costs_nothing_and_is_not_written_to() {
    for access in [Access::Secure, Access::Normal, Access::Ring] {
        let (error, text, took) = failure(Caam::new().with(Fault::Absent), access);
        assert_eq!(error, Error::Absent);
        assert!(text.contains("not there"), "{text}");
        assert!(took < Duration::from_micros(1), "{took:?}");
    }
}

#[test]
fn a_ring_of_the_secure_world_is_left_alone() {
    let caam = after_bl31().with(Fault::Foreign);
    let (error, text, took) = failure(caam, Access::Normal);
    assert_eq!(error, Error::Foreign);
    assert!(text.contains("update BL31"), "{text}");
    assert!(took < Duration::from_micros(10), "{took:?}");
}

#[test]
fn a_module_that_falls_silent_is_given_up_by_its_deadline() {
    let (error, _, took) = failure(Caam::new().with(Fault::Silent), Access::Secure);
    assert_eq!(error, Error::Silent);
    assert!(took > Duration::from_millis(150), "{took:?}");
    assert!(took < Duration::from_millis(170), "{took:?}");
    let seeded = after_bl31().instantiated(0b11).with(Fault::Silent);
    let (error, text, took) = failure(seeded, Access::Normal);
    assert_eq!(error, Error::Silent);
    assert!(text.contains("no answer: power the board off"), "{text}");
    assert!(took < Duration::from_millis(330), "{took:?}");
}

#[test]
fn a_ring_that_does_not_halt_or_reset_is_given_up_by_its_deadline() {
    for (fault, expected) in [(Fault::NeverHalts, Error::Halt), (Fault::NeverResets, Error::Reset)]
    {
        let (error, text, took) = failure(Caam::new().with(fault), Access::Secure);
        assert_eq!(error, expected);
        assert!(text.contains("ring does not"), "{text}");
        assert!(took < Duration::from_millis(30), "{took:?}");
    }
}

#[test]
fn a_failed_job_is_told_by_what_its_status_means() {
    for (status, meaning) in [
        (0x2000_0054, ": not seeded (status 0x20000154)"),
        (0x2000_005b, ": failed its own tests ("),
        (0x4000_0016, "cannot reach memory"),
        (0x4000_001b, "security state failed"),
        (0x4000_001f, "not the owner"),
        (0x4000_00ff, "job refused"),
        (0x6000_0000, "job ring failed"),
        (0x7000_0000, "job failed"),
    ] {
        let caam = after_bl31().instantiated(0b11).with(Fault::Status(status));
        let (error, text, _) = failure(caam, Access::Normal);
        // The generator's operation is the descriptor's second word.
        assert_eq!(error, Error::Job(Status(status | 0x100)));
        assert!(text.contains(meaning), "{text}");
    }
}

#[test]
fn instantiation_that_changes_nothing_is_an_error() {
    let caam = Caam::new().with(Fault::InstantiatesNothing);
    let (error, text, _) = failure(caam, Access::Secure);
    assert_eq!(error, Error::Unseeded(Status::NOTHING_DONE));
    assert!(text.contains("nothing was done"), "{text}");
}

#[test]
fn bytes_that_are_not_random_are_not_used() {
    for fault in [Fault::Constant(0), Fault::Constant(0xff), Fault::Repeats, Fault::WritesNothing] {
        let (error, text, _) = failure(Caam::new().with(fault), Access::Secure);
        assert_eq!(error, Error::Constant, "{fault:?}");
        assert!(text.contains("not random"), "{text}");
    }
}

#[test]
fn buffers_out_of_reach_are_an_error() {
    let bench = Bench::new(Caam::new()).out_of_reach();
    let error = draw(&bench, Access::Secure).unwrap_err();
    assert!(matches!(error, Error::Memory(_)), "{error:?}");
}
