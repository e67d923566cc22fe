//! The uSDHC driver on a strict model of controller and cards: which cards it identifies, which
//! modes it takes, how it reads, and what it does when something goes wrong.

use std::{cell::Cell, time::Duration};

use evk::models::usdhc::{
    Bench, Card as Model, Emmc, EmmcKind, Fault as Injected, Pattern, SdCard, SdKind, Weakness,
};
use firn::{
    block::ErrorKind,
    board::{BOARD, CardSlot},
    driver::{
        gpio::Pin,
        sd::{BusWidth, Card, Error, Fault, Limits, Mode, ModeLimit, Signalling, Timing},
        usdhc::{self, Buffers, Usdhc},
    },
    time::Clock,
};
use proptest::{collection, prelude::*};

const SD_SLOT: &CardSlot = &BOARD.cards[0];
const EMMC: &CardSlot = &BOARD.cards[1];

/// 1 GiB and 64 GiB, in blocks.
const SMALL: u64 = 2 << 20;
const LARGE: u64 = 128 << 20;

type Driver<'a> = Card<Usdhc<'a, &'a Bench, &'a Bench, &'a Bench, Pin<&'a Bench>>>;

fn open<'a>(slot: &'static CardSlot, bench: &'a Bench, buffers: &'a mut Buffers) -> Driver<'a> {
    usdhc::open(slot, bench, bench, bench, buffers)
}

fn sd(kind: SdKind, block_count: u64) -> Option<Box<dyn Model>> {
    Some(Box::new(SdCard::new(kind, block_count)))
}

fn emmc(kind: EmmcKind, block_count: u64) -> Option<Box<dyn Model>> {
    Some(Box::new(Emmc::new(kind, block_count)))
}

fn weak_sd(kind: SdKind, weakness: Weakness) -> Option<Box<dyn Model>> {
    Some(Box::new(SdCard::new(kind, SMALL).with_weakness(weakness)))
}

fn weak_emmc(kind: EmmcKind, weakness: Weakness) -> Option<Box<dyn Model>> {
    Some(Box::new(Emmc::new(kind, LARGE).with_weakness(weakness)))
}

/// A slot for the rest of the test.
fn leak(slot: CardSlot) -> &'static CardSlot {
    Box::leak(Box::new(slot))
}

/// Reads and compares with what is on the card.
fn assert_reads(card: &mut Driver<'_>, first_block: u64, blocks: usize) {
    let mut data = vec![0; blocks * 512];
    card.read_blocks(first_block, &mut data).expect("a good card");
    assert_pattern(&data, first_block);
}

fn assert_pattern(data: &[u8], first_block: u64) {
    for (block, bytes) in (first_block..).zip(data.chunks(512)) {
        assert!(bytes == Pattern::block(block), "block {block} of a read from {first_block}");
    }
}

fn assert_no_rule_broken(bench: &Bench) {
    assert_eq!(bench.broken_rules(), [""; 0]);
}

const fn mode(timing: Timing, width: BusWidth) -> Mode {
    Mode { timing, width }
}

#[track_caller]
fn assert_identified(
    slot: &'static CardSlot,
    model: Option<Box<dyn Model>>,
    block_count: u64,
    wanted: Mode,
) {
    use firn::block::BlockDevice as _;
    let bench = Bench::new(slot, model);
    let mut buffers = Buffers::new();
    let mut card = open(slot, &bench, &mut buffers);
    let identified = card.identify();
    assert_eq!(bench.broken_rules(), [""; 0]);
    identified.expect("a good card");
    assert_eq!(card.mode(), Some(wanted));
    assert_eq!(card.block_count(), block_count);
    assert_reads(&mut card, 0, 1);
    assert_reads(&mut card, block_count - 9, 9);
    card.stop();
    assert_no_rule_broken(&bench);
}

#[test]
fn sdsc_card_of_version_1_runs_at_default_speed() {
    let wanted = mode(Timing::Default, BusWidth::Four);
    assert_identified(SD_SLOT, sd(SdKind::StandardV1, SMALL), SMALL, wanted);
}

#[test]
fn sdsc_card_of_version_2_runs_at_high_speed() {
    let wanted = mode(Timing::HighSpeed, BusWidth::Four);
    assert_identified(SD_SLOT, sd(SdKind::StandardV2, 2 * SMALL), 2 * SMALL, wanted);
}

#[test]
fn sdhc_card_runs_at_high_speed() {
    let wanted = mode(Timing::HighSpeed, BusWidth::Four);
    assert_identified(SD_SLOT, sd(SdKind::HighCapacity, LARGE), LARGE, wanted);
}

#[test]
fn uhs_card_without_sdr104_runs_in_sdr50() {
    let wanted = mode(Timing::Sdr50, BusWidth::Four);
    assert_identified(SD_SLOT, sd(SdKind::Sdr50, LARGE), LARGE, wanted);
}

#[test]
fn uhs_card_runs_in_sdr104() {
    let wanted = mode(Timing::Sdr104, BusWidth::Four);
    assert_identified(SD_SLOT, sd(SdKind::Sdr104, LARGE), LARGE, wanted);
}

/// On lines of 3.3 V, where such a card may be: the EVK's own are fixed at 1.8 V.
#[test]
fn sd_card_in_place_of_the_emmc_is_found() {
    let limits = Limits { signalling: Signalling::Fixed3V3, ..EMMC.limits };
    let slot = leak(CardSlot { limits, ..*EMMC });
    let wanted = mode(Timing::HighSpeed, BusWidth::Four);
    assert_identified(slot, sd(SdKind::HighCapacity, LARGE), LARGE, wanted);
    let wanted = mode(Timing::Default, BusWidth::Four);
    assert_identified(slot, sd(SdKind::StandardV1, SMALL), SMALL, wanted);
}

#[test]
fn byte_addressed_emmc_runs_at_high_speed() {
    let wanted = mode(Timing::HighSpeed, BusWidth::Eight);
    assert_identified(EMMC, emmc(EmmcKind::ByteAddressed, SMALL), SMALL, wanted);
}

#[test]
fn emmc_runs_in_ddr52() {
    let wanted = mode(Timing::Ddr52, BusWidth::Eight);
    assert_identified(EMMC, emmc(EmmcKind::Ddr52, LARGE), LARGE, wanted);
}

#[test]
fn emmc_runs_in_hs200() {
    let wanted = mode(Timing::Hs200, BusWidth::Eight);
    assert_identified(EMMC, emmc(EmmcKind::Hs200, LARGE), LARGE, wanted);
}

#[test]
fn emmc_runs_in_hs400() {
    let wanted = mode(Timing::Hs400, BusWidth::Eight);
    assert_identified(EMMC, emmc(EmmcKind::Hs400, LARGE), LARGE, wanted);
}

#[test]
fn emmc_with_enhanced_strobe_uses_it() {
    let wanted = mode(Timing::Hs400EnhancedStrobe, BusWidth::Eight);
    assert_identified(EMMC, emmc(EmmcKind::EnhancedStrobe, LARGE), LARGE, wanted);
}

// Slots without a usable card.

#[test]
fn empty_slot_is_found_by_silence_in_a_tenth_of_a_second() {
    for slot in [SD_SLOT, EMMC] {
        let bench = Bench::new(slot, None);
        // As in an emulator whose card-detect pin always says "present".
        let blind = leak(CardSlot { detect: None, ..*slot });
        let mut buffers = Buffers::new();
        assert_eq!(open(blind, &bench, &mut buffers).identify(), Err(Error::NoCard));
        assert!(bench.elapsed() < Duration::from_millis(100), "{:?}", bench.elapsed());
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn slot_that_is_open_is_not_asked() {
    let bench = Bench::new(SD_SLOT, None);
    let mut buffers = Buffers::new();
    assert_eq!(open(SD_SLOT, &bench, &mut buffers).identify(), Err(Error::NoCard));
    assert_eq!(bench.issued(), []);
}

#[test]
fn card_put_in_later_is_found() {
    let bench = Bench::new(SD_SLOT, None);
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    assert_eq!(card.identify(), Err(Error::NoCard));
    bench.with_controller(|controller| controller.insert(sd(SdKind::HighCapacity, LARGE)));
    card.identify().expect("a card");
    assert_reads(&mut card, 5, 3);
}

#[test]
fn locked_card_is_named_as_such() {
    let weakness = Weakness { locked: true, ..Weakness::default() };
    for (slot, model) in [
        (SD_SLOT, weak_sd(SdKind::Sdr104, weakness)),
        (EMMC, weak_emmc(EmmcKind::EnhancedStrobe, weakness)),
    ] {
        let bench = Bench::new(slot, model);
        let mut buffers = Buffers::new();
        let found = open(slot, &bench, &mut buffers).identify();
        assert_eq!(found, Err(Error::Unsupported("card is locked by a password")));
    }
}

#[test]
fn card_that_never_powers_up_is_given_up() {
    let weakness = Weakness { never_ready: true, ..Weakness::default() };
    for (slot, model, command) in [
        (SD_SLOT, weak_sd(SdKind::Sdr104, weakness), 41),
        (EMMC, weak_emmc(EmmcKind::EnhancedStrobe, weakness), 1),
    ] {
        let bench = Bench::new(slot, model);
        let mut buffers = Buffers::new();
        assert_eq!(open(slot, &bench, &mut buffers).identify(), Err(Error::Busy(command)));
        assert!(bench.elapsed() < Duration::from_secs(6), "{:?}", bench.elapsed());
    }
}

#[test]
fn dead_controller_is_named_as_such() {
    for slot in [SD_SLOT, EMMC] {
        let bench = Bench::new(slot, sd(SdKind::HighCapacity, LARGE));
        bench.with_controller(evk::models::usdhc::Controller::break_down);
        let mut buffers = Buffers::new();
        let found = open(slot, &bench, &mut buffers).identify();
        assert_eq!(found, Err(Error::Controller(Fault::Clock)));
    }
}

// Modes that card or board cannot carry.

#[track_caller]
fn assert_falls_back(slot: &'static CardSlot, model: Option<Box<dyn Model>>, wanted: Mode) {
    let bench = Bench::new(slot, model);
    let mut buffers = Buffers::new();
    let mut card = open(slot, &bench, &mut buffers);
    card.identify().expect("a slower mode");
    assert_eq!(card.mode(), Some(wanted));
    assert_reads(&mut card, 77, 100);
    assert_no_rule_broken(&bench);
    assert!(bench.elapsed() < Duration::from_secs(3), "{:?}", bench.elapsed());
}

#[test]
fn sd_card_falls_back_to_the_fastest_clock_that_works() {
    for (max_hertz, timing) in
        [(150_000_000, Timing::Sdr50), (99_000_000, Timing::Sdr25), (49_000_000, Timing::Default)]
    {
        let weakness = Weakness { max_hertz: Some(max_hertz), ..Weakness::default() };
        let wanted = mode(timing, BusWidth::Four);
        assert_falls_back(SD_SLOT, weak_sd(SdKind::Sdr104, weakness), wanted);
    }
}

#[test]
fn sd_card_with_one_good_line_is_read_on_it() {
    let weakness = Weakness { max_width: Some(1), ..Weakness::default() };
    for kind in [SdKind::StandardV1, SdKind::HighCapacity, SdKind::Sdr104] {
        assert_falls_back(SD_SLOT, weak_sd(kind, weakness), Mode::START);
    }
}

#[test]
fn card_that_fails_in_the_voltage_switch_is_power_cycled_and_runs_at_3v3() {
    let weakness = Weakness { no_voltage_switch: true, ..Weakness::default() };
    let wanted = mode(Timing::HighSpeed, BusWidth::Four);
    assert_falls_back(SD_SLOT, weak_sd(SdKind::Sdr104, weakness), wanted);
}

#[test]
fn uhs_card_whose_tuning_never_passes_runs_in_sdr25() {
    let weakness = Weakness { no_tuning: true, ..Weakness::default() };
    let wanted = mode(Timing::Sdr25, BusWidth::Four);
    assert_falls_back(SD_SLOT, weak_sd(SdKind::Sdr104, weakness), wanted);
}

#[test]
fn uhs_card_that_refuses_sdr104_runs_in_sdr50() {
    let weakness = Weakness { refused_from: Some(3), ..Weakness::default() };
    let wanted = mode(Timing::Sdr50, BusWidth::Four);
    assert_falls_back(SD_SLOT, weak_sd(SdKind::Sdr104, weakness), wanted);
}

#[test]
fn emmc_falls_back_to_the_fastest_mode_that_works() {
    let good = Weakness::default();
    let max_hertz = |hertz| Weakness { max_hertz: Some(hertz), ..good };
    let single_rate = |hertz| Weakness { no_ddr: true, ..max_hertz(hertz) };
    let enhanced = EmmcKind::EnhancedStrobe;
    for (kind, weakness, timing, width) in [
        (enhanced, single_rate(200_000_000), Timing::Hs200, BusWidth::Eight),
        (enhanced, max_hertz(60_000_000), Timing::Ddr52, BusWidth::Eight),
        (enhanced, single_rate(60_000_000), Timing::HighSpeed, BusWidth::Eight),
        (enhanced, single_rate(26_000_000), Timing::Default, BusWidth::Four),
        (enhanced, Weakness { refused_from: Some(3), ..good }, Timing::Hs200, BusWidth::Eight),
        (enhanced, Weakness { refused_from: Some(2), ..good }, Timing::Ddr52, BusWidth::Eight),
        (enhanced, Weakness { refused_from: Some(1), ..good }, Timing::Default, BusWidth::Four),
        (enhanced, Weakness { max_width: Some(4), ..good }, Timing::Hs200, BusWidth::Four),
        (enhanced, Weakness { max_width: Some(1), ..good }, Timing::Default, BusWidth::One),
        (EmmcKind::Hs400, Weakness { no_tuning: true, ..good }, Timing::Ddr52, BusWidth::Eight),
    ] {
        assert_falls_back(EMMC, weak_emmc(kind, weakness), mode(timing, width));
    }
}

#[test]
fn emmc_whose_strobe_does_not_lock_runs_in_hs200() {
    let bench = Bench::new(EMMC, emmc(EmmcKind::EnhancedStrobe, LARGE));
    bench.with_controller(evk::models::usdhc::Controller::break_strobe);
    let mut buffers = Buffers::new();
    let mut card = open(EMMC, &bench, &mut buffers);
    card.identify().expect("a slower mode");
    assert_eq!(card.mode(), Some(mode(Timing::Hs200, BusWidth::Eight)));
    assert_reads(&mut card, 1, 1);
}

#[test]
fn board_decides_what_is_tried() {
    let limit = |width, signalling, modes| Limits { width, signalling, modes };
    const SDR50: &[ModeLimit] = &[ModeLimit { timing: Timing::Sdr50, hertz: 80_000_000 }];
    const HIGH_SPEED: &[ModeLimit] = &[ModeLimit { timing: Timing::HighSpeed, hertz: 40_000_000 }];
    for (limits, wanted, hertz) in [
        (
            limit(BusWidth::Four, Signalling::Switchable, SDR50),
            mode(Timing::Sdr50, BusWidth::Four),
            80_000_000,
        ),
        (
            limit(BusWidth::Four, Signalling::Fixed3V3, HIGH_SPEED),
            mode(Timing::HighSpeed, BusWidth::Four),
            40_000_000,
        ),
        // UHS-I needs 1.8 V.
        (
            limit(BusWidth::Four, Signalling::Fixed3V3, SDR50),
            mode(Timing::Default, BusWidth::Four),
            25_000_000,
        ),
        (limit(BusWidth::One, Signalling::Switchable, HIGH_SPEED), Mode::START, 25_000_000),
    ] {
        let slot = leak(CardSlot { limits, ..*SD_SLOT });
        let bench = Bench::new(slot, sd(SdKind::Sdr104, LARGE));
        let mut buffers = Buffers::new();
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        assert_eq!(card.mode(), Some(wanted));
        assert_eq!(bench.with_controller(|controller| controller.hertz()), hertz);
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn emmc_on_four_wires_runs_in_hs200_on_them() {
    let limits = Limits { width: BusWidth::Four, ..EMMC.limits };
    let slot = leak(CardSlot { limits, ..*EMMC });
    let wanted = mode(Timing::Hs200, BusWidth::Four);
    assert_identified(slot, emmc(EmmcKind::EnhancedStrobe, LARGE), LARGE, wanted);
}

#[test]
fn slot_without_a_power_switch_stays_at_3v3() {
    let slot = leak(CardSlot { power: None, ..*SD_SLOT });
    let wanted = mode(Timing::HighSpeed, BusWidth::Four);
    assert_identified(slot, sd(SdKind::Sdr104, LARGE), LARGE, wanted);
}

// What comes before and after.

#[test]
fn card_left_in_its_fastest_mode_by_the_stage_before_is_identified() {
    for (slot, model) in
        [(SD_SLOT, sd(SdKind::Sdr104, LARGE)), (EMMC, emmc(EmmcKind::EnhancedStrobe, LARGE))]
    {
        let bench = Bench::new(slot, model);
        let mut buffers = Buffers::new();
        let mut before = open(slot, &bench, &mut buffers);
        before.identify().expect("a good card");
        let mode = before.mode();
        drop(before);
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        assert_eq!(card.mode(), mode);
        assert_reads(&mut card, 3, 4);
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn card_at_its_first_voltage_is_identified_without_losing_its_power() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::HighCapacity, LARGE));
    let mut buffers = Buffers::new();
    open(SD_SLOT, &bench, &mut buffers).identify().expect("a good card");
    let start = bench.elapsed();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let took = bench.elapsed() - start;
    assert!(took < Duration::from_millis(15), "{took:?}");
    assert_reads(&mut card, 3, 4);
    assert_no_rule_broken(&bench);
}

#[test]
fn card_left_at_1v8_by_a_reset_that_it_did_not_notice_loses_its_power_and_runs_in_sdr104() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::Sdr104, LARGE));
    let mut buffers = Buffers::new();
    open(SD_SLOT, &bench, &mut buffers).identify().expect("a good card");
    bench.with_controller(evk::models::usdhc::Controller::reset);
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    assert_eq!(card.mode(), Some(mode(Timing::Sdr104, BusWidth::Four)));
    assert_reads(&mut card, 3, 4);
    let by_the_reset = "lines at 1.8 V: false; card at 1.8 V: true";
    let mut broken = bench.broken_rules();
    broken.retain(|rule| rule != by_the_reset);
    assert_eq!(broken, [""; 0]);
}

#[test]
fn stop_leaves_an_idle_controller_and_a_card_at_its_first_voltage() {
    for (slot, model, low_voltage) in [
        (SD_SLOT, sd(SdKind::HighCapacity, LARGE), false),
        (SD_SLOT, sd(SdKind::Sdr104, LARGE), false),
        (EMMC, emmc(EmmcKind::EnhancedStrobe, LARGE), true),
    ] {
        let bench = Bench::new(slot, model);
        let mut buffers = Buffers::new();
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        card.stop();
        bench.with_controller(|controller| {
            assert!(!controller.is_clock_running());
            assert_eq!(controller.is_low_voltage(), low_voltage);
        });
        drop(card);
        // An operating system that cannot switch the slot's power finds the card all the same.
        let slot = leak(CardSlot { power: None, ..*slot });
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn stop_of_a_slot_that_was_never_used_takes_no_time() {
    for slot in [SD_SLOT, EMMC] {
        let bench = Bench::new(slot, None);
        let mut buffers = Buffers::new();
        open(slot, &bench, &mut buffers).stop();
        assert_eq!(bench.issued(), []);
        assert!(bench.elapsed() < Duration::from_millis(1), "{:?}", bench.elapsed());
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn card_can_be_used_again_after_stop() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::Sdr104, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    card.stop();
    assert_reads(&mut card, 9, 9);
    assert_no_rule_broken(&bench);
}

// Reads.

#[test]
fn destination_may_lie_anywhere_and_nothing_beside_it_changes() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::Sdr104, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    for blocks in [1, 2, 5] {
        for offset in 0..130 {
            let mut memory = vec![0xee; 130 + blocks * 512 + 130];
            let (before, rest) = memory.split_at_mut(offset);
            let (destination, after) = rest.split_at_mut(blocks * 512);
            card.read_blocks(1000, destination).expect("a good card");
            assert_pattern(destination, 1000);
            assert!(before.iter().chain(&*after).all(|byte| *byte == 0xee), "offset {offset}");
        }
    }
    assert_no_rule_broken(&bench);
}

/// Read commands for a read of `blocks` blocks to an address of that alignment.
fn read_commands(model: Option<Box<dyn Model>>, blocks: usize, offset: usize) -> Vec<(u8, u32)> {
    let bench = Bench::new(SD_SLOT, model);
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let before = bench.issued().len();
    // Aligned to a cache line, then moved on.
    let mut memory = vec![0; 64 + offset + blocks * 512];
    let start = memory.as_ptr().align_offset(64) + offset;
    let destination = &mut memory[start..start + blocks * 512];
    card.read_blocks(12, destination).expect("a good card");
    assert_pattern(destination, 12);
    assert_no_rule_broken(&bench);
    bench.issued()[before..].iter().map(|issued| (issued.index, issued.blocks)).collect()
}

#[test]
fn megabytes_take_one_command_wherever_they_go() {
    for offset in [0, 4, 8, 16, 1, 63] {
        let commands = read_commands(sd(SdKind::Sdr104, LARGE), 8192, offset);
        assert_eq!(commands, [(23, 0), (18, 8192)], "offset {offset}");
    }
}

#[test]
fn one_command_reads_65535_blocks() {
    let commands = read_commands(sd(SdKind::Sdr104, LARGE), 65_535 + 12, 4);
    assert_eq!(commands, [(23, 0), (18, 65_535), (23, 0), (18, 12)]);
}

#[test]
fn card_without_cmd23_is_stopped_by_the_controller() {
    let model = SdCard::new(SdKind::Sdr104, LARGE).with_set_block_count(false);
    assert_eq!(read_commands(Some(Box::new(model)), 1000, 0), [(18, 1000)]);
}

#[test]
fn single_block_takes_the_single_block_command() {
    assert_eq!(read_commands(sd(SdKind::Sdr104, LARGE), 1, 0), [(17, 1)]);
}

#[test]
fn destination_out_of_reach_of_dma_is_read_by_way_of_one_in_reach() {
    let bench = Bench::new(EMMC, emmc(EmmcKind::EnhancedStrobe, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(EMMC, &bench, &mut buffers);
    card.identify().expect("a good card");
    let mut data = vec![0; 100 * 512];
    bench.hide(&data);
    card.read_blocks(40, &mut data).expect("a good card");
    assert_pattern(&data, 40);
    assert_no_rule_broken(&bench);
}

#[test]
fn reads_beyond_the_end_are_refused() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::HighCapacity, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let mut data = [0; 1024];
    for block in [LARGE - 1, LARGE, u64::MAX] {
        assert_eq!(card.read_blocks(block, &mut data), Err(Error::OutOfRange));
    }
    assert_reads(&mut card, LARGE - 2, 2);
}

#[test]
fn block_that_the_card_cannot_read_is_an_error_and_the_others_stay_fast() {
    let weakness = Weakness { bad_block: Some(200), ..Weakness::default() };
    for (slot, model) in [
        (SD_SLOT, weak_sd(SdKind::Sdr104, weakness)),
        (SD_SLOT, weak_sd(SdKind::HighCapacity, weakness)),
        (EMMC, weak_emmc(EmmcKind::EnhancedStrobe, weakness)),
    ] {
        let bench = Bench::new(slot, model);
        let mut buffers = Buffers::new();
        let mut card = open(slot, &bench, &mut buffers);
        card.identify().expect("a good card");
        let mode = card.mode();
        let start = bench.elapsed();
        let mut data = vec![0; 300 * 512];
        let read = card.read_blocks(0, &mut data).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::Timeout));
        assert!(bench.elapsed() - start < Duration::from_secs(4));
        assert_reads(&mut card, 201, 1);
        assert_reads(&mut card, 0, 200);
        assert_eq!(card.mode(), mode);
        assert_no_rule_broken(&bench);
    }
}

#[test]
fn card_that_becomes_worse_is_read_in_a_slower_mode() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::Sdr104, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let weakness = Weakness { max_hertz: Some(100_000_000), ..Weakness::default() };
    bench.with_controller(|controller| controller.weaken(weakness));
    assert_reads(&mut card, 0, 1000);
    assert_eq!(card.mode(), Some(mode(Timing::Sdr50, BusWidth::Four)));
    assert_no_rule_broken(&bench);
}

#[test]
fn exchanged_card_is_not_taken_for_the_one_before() {
    let bench = Bench::new(SD_SLOT, sd(SdKind::HighCapacity, LARGE));
    let mut buffers = Buffers::new();
    let mut card = open(SD_SLOT, &bench, &mut buffers);
    card.identify().expect("a good card");
    let other = SdCard::new(SdKind::HighCapacity, LARGE).with_serial(1);
    bench.with_controller(|controller| controller.insert(Some(Box::new(other))));
    let mut data = [0; 512];
    assert_eq!(card.read_blocks(0, &mut data), Err(Error::Removed));
    assert_eq!(card.read_blocks(0, &mut data), Err(Error::Removed));
    card.identify().expect("the other card");
    assert_reads(&mut card, 0, 1);
}

// Faults on the wires, at every command there is.

/// What is put in, for a loop over cards.
struct Subject {
    name: &'static str,
    slot: &'static CardSlot,
    card: fn() -> Option<Box<dyn Model>>,
}

const SUBJECTS: &[Subject] = &[
    Subject { name: "SDSC 1.01", slot: SD_SLOT, card: || sd(SdKind::StandardV1, SMALL) },
    Subject { name: "SDHC", slot: SD_SLOT, card: || sd(SdKind::HighCapacity, LARGE) },
    Subject { name: "SDXC SDR104", slot: SD_SLOT, card: || sd(SdKind::Sdr104, LARGE) },
    Subject { name: "eMMC 4.3", slot: EMMC, card: || emmc(EmmcKind::ByteAddressed, SMALL) },
    Subject { name: "eMMC 5.0", slot: EMMC, card: || emmc(EmmcKind::Hs400, LARGE) },
    Subject { name: "eMMC 5.1", slot: EMMC, card: || emmc(EmmcKind::EnhancedStrobe, LARGE) },
];

/// Identifies, reads some, reads one, and stops; data is checked where it comes.
fn use_card(bench: &Bench, slot: &'static CardSlot) -> Result<Mode, Error> {
    use_card_by(bench, bench, slot)
}

/// The same by another clock.
fn use_card_by(clock: impl Clock, bench: &Bench, slot: &'static CardSlot) -> Result<Mode, Error> {
    let mut buffers = Buffers::new();
    let mut card = usdhc::open(slot, bench, clock, bench, &mut buffers);
    card.identify()?;
    let mut some = vec![0; 140 * 512];
    card.read_blocks(1000, &mut some)?;
    assert_pattern(&some, 1000);
    let mut one = [0; 512];
    card.read_blocks(7, &mut one)?;
    assert_pattern(&one, 7);
    let mode = card.mode();
    card.stop();
    Ok(mode.expect("identified"))
}

/// Runs [`use_card`] with `fault` at every command of it, one at a time.
fn inject_everywhere(fault: Injected, mut judge: impl FnMut(&str, Mode, Result<Mode, Error>)) {
    for subject in SUBJECTS {
        let bench = Bench::new(subject.slot, (subject.card)());
        let best = use_card(&bench, subject.slot).expect("a good card");
        assert_no_rule_broken(&bench);
        // The last one is that of stop(), which cannot fail.
        for number in 0..bench.issued().len() - 1 {
            let bench = Bench::new(subject.slot, (subject.card)());
            bench.inject(number, fault);
            let done = use_card(&bench, subject.slot);
            let command = bench.issued()[number];
            let place = format!("{}, {fault:?} at command {number}: {command:?}", subject.name);
            assert!(bench.elapsed() < Duration::from_secs(8), "{place}: {:?}", bench.elapsed());
            assert_eq!(bench.broken_rules(), [""; 0], "{place}");
            judge(&place, best, done);
        }
    }
}

#[track_caller]
fn assert_survived(fault: Injected) {
    inject_everywhere(fault, |place, best, done| assert_eq!(done, Ok(best), "{place}"));
}

#[test]
fn lost_command_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::CommandLost);
}

#[test]
fn lost_response_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::ResponseLost);
}

#[test]
fn damaged_response_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::ResponseCrc);
    assert_survived(Injected::ResponseEndBit);
    assert_survived(Injected::ResponseIndex);
}

#[test]
fn missing_data_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::DataTimeout(0));
    assert_survived(Injected::DataTimeout(100));
    assert_survived(Injected::DataTimeout(u32::MAX));
}

#[test]
fn damaged_data_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::DataCrc(0));
    assert_survived(Injected::DataCrc(100));
    assert_survived(Injected::DataCrc(u32::MAX));
    assert_survived(Injected::DataEndBit(0));
}

#[test]
fn failing_bus_master_anywhere_is_survived_at_full_speed() {
    assert_survived(Injected::Dma(0));
    assert_survived(Injected::Dma(100));
}

#[test]
fn unanswered_stop_of_the_controller_is_survived_at_full_speed() {
    assert_survived(Injected::AutoStop);
}

#[test]
fn refused_mode_switch_is_survived_at_full_speed() {
    assert_survived(Injected::SwitchError);
}

#[test]
fn card_stuck_anywhere_is_reset_and_read() {
    assert_survived(Injected::StuckBusy);
}

#[test]
fn card_pulled_anywhere_is_reported_as_gone() {
    for fault in [Injected::Removal, Injected::Death] {
        inject_everywhere(fault, |place, _, done| {
            assert!(matches!(done, Err(Error::NoCard | Error::Removed)), "{place}: {done:?}");
        });
    }
}

/// A clock that is an hour on when it has been looked at so often since this command; the card has had no
/// time for it.
struct Jumping<'a> {
    bench: &'a Bench,
    command: usize,
    looks_left: Cell<u32>,
}

impl Clock for Jumping<'_> {
    fn now(&self) -> Duration {
        let now = self.bench.now();
        let issued = self.bench.with_controller(|controller| controller.issued().len());
        if issued <= self.command {
            return now;
        }
        match self.looks_left.get().checked_sub(1) {
            Some(left) => {
                self.looks_left.set(left);
                now
            }
            None => now + Duration::from_secs(3600),
        }
    }
}

#[test]
fn time_that_jumps_by_an_hour_within_any_wait_is_survived_at_full_speed() {
    for subject in SUBJECTS {
        let sound = Bench::new(subject.slot, (subject.card)());
        let best = use_card(&sound, subject.slot).expect("a good card");
        for (command, looks) in (0..sound.issued().len()).flat_map(|n| [(n, 0), (n, 1), (n, 2)]) {
            let bench = Bench::new(subject.slot, (subject.card)());
            let clock = Jumping { bench: &bench, command, looks_left: Cell::new(looks) };
            let mode = use_card_by(clock, &bench, subject.slot);
            assert_eq!(mode, Ok(best), "{}, command {command}, look {looks}", subject.name);
            assert_no_rule_broken(&bench);
            assert!(bench.elapsed() < sound.elapsed() + Duration::from_secs(5));
        }
    }
}

fn any_fault() -> impl Strategy<Value = Injected> {
    prop_oneof![
        Just(Injected::CommandLost),
        Just(Injected::ResponseLost),
        Just(Injected::ResponseCrc),
        Just(Injected::ResponseEndBit),
        Just(Injected::ResponseIndex),
        (0..200_u32).prop_map(Injected::DataTimeout),
        (0..200_u32).prop_map(Injected::DataCrc),
        (0..200_u32).prop_map(Injected::DataEndBit),
        Just(Injected::AutoStop),
        (0..200_u32).prop_map(Injected::Dma),
        Just(Injected::StuckBusy),
        Just(Injected::Removal),
        Just(Injected::Death),
        Just(Injected::SwitchError),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_goes_wrong_ends_in_good_data_or_an_error(
        subject in 0..SUBJECTS.len(),
        faults in collection::vec((0..120_usize, any_fault()), 0..40),
    ) {
        let subject = &SUBJECTS[subject];
        let bench = Bench::new(subject.slot, (subject.card)());
        for (number, fault) in faults {
            bench.inject(number, fault);
        }
        // The data is checked there.
        let _ = use_card(&bench, subject.slot);
        prop_assert_eq!(bench.broken_rules(), [""; 0]);
        prop_assert!(bench.elapsed() < Duration::from_secs(60), "{:?}", bench.elapsed());
    }
}
