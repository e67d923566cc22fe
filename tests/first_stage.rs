//! What the first stage does around DRAM, on models of the SoC and the PMIC, beside what mainline
//! U-Boot's SPL does.

use std::time::Duration;

use evk::{
    access::Store,
    models::{first_stage::Bench, i2c::Fault, ocotp::Fuses},
};
use firn::{
    board::{BOARD, FIRST_STAGE},
    driver::{pca9450, uart::Uart},
    error::{Code, Coded},
    soc::{analog::Unlocked, counter, reset, wdog::Watchdog},
    spl::platform::{self, PmicError},
};

/// Stores of mainline U-Boot's SPL, see fixtures/ddr/README.md.
const BEFORE_DRAM: &str = include_str!("fixtures/ddr/spl-pre-ddr.txt");
const AFTER_DRAM: &str = include_str!("fixtures/ddr/spl-post-ddr.txt");

/// What `before_dram` and what comes before it make of a board.
struct Outcome {
    hertz: u32,
    clocks: Result<(), Unlocked>,
    pmic: Result<u8, PmicError>,
}

fn before_dram(bench: &Bench) -> Outcome {
    let hertz = counter::start(bench);
    Uart::new(bench, bench, BOARD.console_uart).initialise(BOARD.console_setup);
    let clocks = platform::set_up_soc(bench, bench, &FIRST_STAGE);
    let pmic = platform::before_dram(bench, bench, &FIRST_STAGE);
    Outcome { hertz, clocks, pmic }
}

fn lines(stores: &[Store]) -> Vec<String> {
    stores.iter().map(|store| masked(&store.to_string())).collect()
}

/// A line without the lock bit of a PLL, which software cannot write.
fn masked(line: &str) -> String {
    for pll in ["W 0x30360084 ", "W 0x30360114 "] {
        let value = line.strip_prefix(pll).and_then(|value| value.strip_prefix("0x"));
        if let Some(value) = value.and_then(|value| u32::from_str_radix(value, 16).ok()) {
            return format!("{pll}{:#010x}", value & !(1 << 31));
        }
    }
    line.to_owned()
}

/// The shortest way from one list to the other: lines with `-` and `+`, and an empty one between
/// places.
fn difference(from: &[String], to: &[String]) -> Vec<String> {
    let (rows, columns) = (from.len(), to.len());
    let mut common = vec![vec![0; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if from[row] == to[column] {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut out) = (0, 0, Vec::<String>::new());
    while row < rows || column < columns {
        if row < rows && column < columns && from[row] == to[column] {
            if out.last().is_some_and(|line| !line.is_empty()) {
                out.push(String::new());
            }
            (row, column) = (row + 1, column + 1);
        } else if row < rows
            && (column == columns || common[row + 1][column] >= common[row][column + 1])
        {
            out.push(format!("-{}", from[row]));
            row += 1;
        } else {
            out.push(format!("+{}", to[column]));
            column += 1;
        }
    }
    out
}

/// Fails with the difference if it is not the listed one; each entry is what differs in one place.
fn assert_differs(reference: &str, stores: &[Store], listed: &[&str]) {
    let reference: Vec<String> = reference.lines().map(masked).collect();
    let found = difference(&reference, &lines(stores)).join("\n");
    let listed: Vec<String> = listed
        .iter()
        .map(|place| place.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|place| place.replace(" +", "\n+").replace(" -", "\n-"))
        .collect();
    assert_eq!(found.trim(), listed.join("\n\n"), "\nfound:\n{found}");
}

/// docs/first-stage-registers.md tells the reasons.
const DIFFERS_BEFORE_DRAM: &[&str] = &[
    // UART2 comes first, to say what goes wrong. Its gate by the register that sets bits; registers
    // that hold their reset values are left alone; 115,385 instead of 114,286 baud; set up once.
    "+W 0x30330228 0x00000000 +W 0x303305f0 0x00000006 +W 0x30330488 0x00000140
     +W 0x3033022c 0x00000000 +W 0x3033048c 0x00000140 +W 0x3038af80 0x10000000
     +W 0x303844a4 0x00000003 +W 0x30890080 0x00000000 +W 0x30890084 0x00000000
     +W 0x30890088 0x00000784 +W 0x3089008c 0x00008000 +W 0x308900b4 0x00000000
     +W 0x30890090 0x00000a01 +W 0x308900a4 0x0000000f +W 0x308900a8 0x00000067
     +W 0x30890084 0x00004027 +W 0x30890080 0x00000001",
    // The fuses' gate is opened.
    "+W 0x30384224 0x00000003",
    // Where U-Boot sets UART2 up.
    "-W 0x30330228 0x00000000 -W 0x303305f0 0x00000006 -W 0x30330488 0x00000140
     -W 0x3033022c 0x00000000 -W 0x3033048c 0x00000140 -W 0x3038af80 0x10000000
     -W 0x303844a0 0x00000003 -W 0x30890080 0x00000000 -W 0x30890084 0x00000000
     -W 0x30890088 0x00000784 -W 0x30890088 0x00000784 -W 0x3089008c 0x00008000
     -W 0x3089009c 0x0000002b -W 0x308900a0 0x00000000 -W 0x308900b4 0x00000000
     -W 0x30890090 0x00000a01 -W 0x308900a4 0x0000000f -W 0x308900a8 0x00000068
     -W 0x30890084 0x00004027 -W 0x30890088 0x00000784 -W 0x30890080 0x00000001
     -W 0x30890090 0x00000a01 -W 0x308900a4 0x0000000f -W 0x308900a8 0x00000068
     -W 0x30890084 0x00004027 -W 0x30890088 0x00000784 -W 0x30890080 0x00000001",
    // I2C1: its gate is shut while the clock changes, and opened by the register that sets bits.
    "+W 0x30384178 0x00000003",
    "-W 0x30384170 0x00000003 +W 0x30384174 0x00000003",
    // The PMIC is asked for its name (register 0) and its power-on reason (5) first. Stores of the
    // additional transactions stand where the two sequences part.
    "-W8 0x30a20010 0x08 +W8 0x30a20010 0x00",
    "+W8 0x30a2000c 0x00 +W8 0x30a20008 0xa8 +W8 0x30a20008 0xb8 +W8 0x30a2000c 0x00
     +W8 0x30a20010 0x4a +W8 0x30a2000c 0x00 +W8 0x30a20010 0x05 +W8 0x30a20008 0xbc
     +W8 0x30a2000c 0x00 +W8 0x30a20010 0x4b +W8 0x30a20008 0xa8 +W8 0x30a2000c 0x00",
    "+W8 0x30a2000c 0x00 +W8 0x30a2000c 0x00 +W8 0x30a20008 0xa8 +W8 0x30a20008 0xb8
     +W8 0x30a2000c 0x00 +W8 0x30a20010 0x4a +W8 0x30a2000c 0x00 +W8 0x30a20010 0x08
     +W8 0x30a20008 0xbc +W8 0x30a2000c 0x00 +W8 0x30a20010 0x4b +W8 0x30a20008 0xa8
     +W8 0x30a2000c 0x00",
    "+W8 0x30a2000c 0x00",
];

const DIFFERS_AFTER_DRAM: &[&str] = &[
    // The counter already runs; the watchdog stays off; the random number generator is left to
    // Linux. The cause of the reset is cleared once it is read.
    "-W 0x306c0000 0x00000103 -W 0x3033001c 0x00000001 -W 0x3033027c 0x00000166
     -W16 0x30280000 0x773f -W16 0x30280002 0x5555 -W16 0x30280002 0xaaaa
     -W 0x30900004 0x00000200 -W 0x30900018 0x00008011 -W 0x3090206c 0x00000001
     -W 0x3090206c 0x00000001 -W 0x30902000 0x00000000 -W 0x30902004 0x0095e280
     -W 0x30902020 0x00000000 -W 0x30902024 0x0095e2c0 -W 0x3090202c 0x00000004
     -W 0x3090200c 0x00000004 -W 0x30902054 0x00000001 -W 0x30900600 0x00010000
     -W 0x30900610 0x0c800000 -W 0x30900618 0x00000320 -W 0x3090061c 0x00100000
     -W 0x30900600 0x00010001 -W 0x30900600 0x00000001 -W 0x3090201c 0x00000001
     -W16 0x30280002 0x5555 -W16 0x30280002 0xaaaa -W 0x30902034 0x00000001
     -W 0x3090201c 0x00000001 -W 0x30902034 0x00000001 -W 0x3090000c 0x00000400
     +W 0x3039005c 0x00000001",
];

#[test]
fn before_dram_the_registers_get_what_u_boot_writes_but_for_listed_differences() {
    let bench = Bench::new();
    let outcome = before_dram(&bench);
    assert_eq!((outcome.hertz, outcome.clocks, outcome.pmic), (8_000_000, Ok(()), Ok(0x80)));
    assert_eq!(bench.broken_rules(), [""; 0]);
    assert_differs(BEFORE_DRAM, &bench.take_stores(), DIFFERS_BEFORE_DRAM);
}

#[test]
fn after_dram_the_registers_get_what_u_boot_writes_but_for_listed_differences() {
    let bench = Bench::new();
    before_dram(&bench);
    bench.take_stores();
    let cause = reset::take_cause(&bench, Watchdog(BOARD.watchdog), Some(0x80));
    assert_eq!(platform::after_dram(&bench, &bench, &FIRST_STAGE), Ok(()));
    assert_eq!(cause.to_string(), "power-on");
    assert_eq!(bench.broken_rules(), [""; 0]);
    assert_differs(AFTER_DRAM, &bench.take_stores(), DIFFERS_AFTER_DRAM);
}

#[test]
fn the_supplies_are_those_that_dram_at_4000_mts_needs() {
    let bench = Bench::new();
    before_dram(&bench).pmic.unwrap();
    let pmic = bench.pmic();
    // Units of 0.1 mV; 0x14 is 0.85 V in standby, 0x80 of reset control "cycle the supplies".
    assert_eq!((pmic.vdd_soc(), pmic.vdd_arm(), pmic.register(0x12)), (9500, 9500, 0x14));
    assert_eq!(pmic.register(0x08), 0xa1);
}

#[test]
fn without_its_voltage_the_gic_is_not_to_run_at_500_mhz() {
    let bench = Bench::new().without_pmic();
    before_dram(&bench);
    let _ = platform::after_dram(&bench, &bench, &FIRST_STAGE);
    assert_eq!(bench.broken_rules(), ["GIC at 500 MHz with 8500 * 0.1 mV"]);
}

#[test]
fn clocks_and_supplies_are_ready_within_two_milliseconds() {
    let bench = Bench::new();
    counter::start(&bench);
    let start = bench.elapsed();
    platform::set_up_soc(&bench, &bench, &FIRST_STAGE).unwrap();
    let clocks = bench.elapsed() - start;
    let (stores, loads) = (bench.take_stores().len(), bench.loads());
    println!("clocks: {clocks:?}, {stores} stores, {loads} loads");
    platform::before_dram(&bench, &bench, &FIRST_STAGE).unwrap();
    let supplies = bench.elapsed() - start - clocks;
    let (stores, loads) = (bench.take_stores().len(), bench.loads() - loads);
    println!("filter and supplies: {supplies:?}, {stores} stores, {loads} loads");
    assert!(clocks + supplies < Duration::from_millis(2), "{clocks:?}, {supplies:?}");
}

#[test]
fn a_missing_pmic_costs_a_millisecond() {
    let bench = Bench::new().without_pmic();
    counter::start(&bench);
    let start = bench.elapsed();
    let error = platform::before_dram(&bench, &bench, &FIRST_STAGE).unwrap_err();
    let cost = bench.elapsed() - start;
    println!("missing PMIC: {cost:?}");
    assert_eq!(error.code(), Code::PmicSilent);
    assert_eq!(
        error.to_string(),
        "PMIC at 0x25, register 0x00: no device acknowledges the address"
    );
    assert!(cost < Duration::from_millis(1), "{cost:?}");
    assert_eq!(bench.broken_rules(), [""; 0]);
}

#[test]
fn another_chip_in_the_pmics_place_is_left_alone() {
    let bench = Bench::new();
    bench.pmic().set(0, 0x11);
    let error = before_dram(&bench).pmic.unwrap_err();
    assert_eq!(error, pca9450::Error::Foreign { address: 0x25, device: 0x11 });
    assert_eq!(error.code(), Code::PmicSilent);
    assert_eq!(bench.pmic().writes(), []);
}

/// Bytes that go over the bus when nothing fails.
fn bytes() -> usize {
    let bench = Bench::new();
    before_dram(&bench).pmic.unwrap();
    bench.bytes_sent()
}

#[test]
fn a_byte_that_is_lost_once_is_sent_again() {
    let undisturbed = Bench::new();
    before_dram(&undisturbed).pmic.unwrap();
    let whole = undisturbed.pmic().writes().to_vec();
    for fault in (0..bytes()).flat_map(|byte| [Fault::Refused(byte), Fault::Collision(byte)]) {
        let bench = Bench::new().with_faults(&[fault]);
        assert_eq!(before_dram(&bench).pmic, Ok(0x80), "{fault:?}");
        assert_eq!(bench.broken_rules(), [""; 0], "{fault:?}");
        // A byte that the PMIC took may be written twice, to the same effect.
        let mut writes = bench.pmic().writes().to_vec();
        writes.dedup();
        assert_eq!(writes, whole, "{fault:?}");
    }
}

#[test]
fn a_pmic_that_falls_silent_at_any_byte_is_told_within_two_milliseconds() {
    for byte in 0..bytes() {
        let bench = Bench::new().with_faults(&[Fault::Deaf(byte)]);
        counter::start(&bench);
        let start = bench.elapsed();
        let error = platform::before_dram(&bench, &bench, &FIRST_STAGE).unwrap_err();
        assert_eq!(error.code(), Code::PmicSilent, "byte {byte}: {error}");
        let cost = bench.elapsed() - start;
        assert!(cost < Duration::from_millis(2), "byte {byte}: {cost:?}");
        assert_eq!(bench.broken_rules(), [""; 0], "byte {byte}");
    }
}

#[test]
fn a_clock_line_that_is_held_down_at_any_byte_is_told_within_its_deadline() {
    for byte in 0..bytes() {
        let bench = Bench::new().with_faults(&[Fault::ClockDown(byte)]);
        let error = before_dram(&bench).pmic.unwrap_err();
        assert_eq!(error.code(), Code::I2cBus, "byte {byte}: {error}");
        assert!(bench.elapsed() < Duration::from_millis(20), "byte {byte}: {:?}", bench.elapsed());
    }
}

#[test]
fn a_device_that_holds_the_data_line_is_clocked_until_it_lets_go() {
    for clocks in 1..=9 {
        let bench = Bench::new().with_faults(&[Fault::DataDown(clocks)]);
        assert_eq!(before_dram(&bench).pmic, Ok(0x80), "{clocks} clocks");
        assert_eq!(bench.pmic().vdd_soc(), 9500);
        // The pads belong to the controller again.
        assert_eq!((bench.register(0x3033_0200), bench.register(0x3033_0204)), (0x10, 0x10));
    }
}

#[test]
fn a_data_line_that_stays_down_is_told_within_its_deadline() {
    let bench = Bench::new().with_faults(&[Fault::DataDown(u32::MAX)]);
    let error = before_dram(&bench).pmic.unwrap_err();
    assert_eq!(error.code(), Code::I2cBus);
    assert_eq!(error.to_string(), "PMIC at 0x25, register 0x00: a line of the bus is held down");
    assert!(bench.elapsed() < Duration::from_millis(10), "{:?}", bench.elapsed());
}

const ARM_PLL: u32 = 0x3036_0084;
const SYS_PLL3: u32 = 0x3036_0114;
const CORE_SELECT: u32 = 0x3038_9880;
const NOC_IO: u32 = 0x3038_8d80;

#[test]
fn what_a_pll_that_never_locks_should_feed_stays_at_its_clock() {
    for (pll, name, user, others) in
        [(ARM_PLL, "ARM PLL", CORE_SELECT, NOC_IO), (SYS_PLL3, "SYS PLL3", NOC_IO, CORE_SELECT)]
    {
        let bench = Bench::new().without_lock(pll);
        let outcome = before_dram(&bench);
        let error = outcome.clocks.unwrap_err();
        assert_eq!((error.code(), error.name), (Code::PllUnlocked, name));
        assert!(error.to_string().contains("does not lock: register"), "{error}");
        let stores = bench.take_stores();
        let wrote = |register: u32| stores.iter().any(|store| store.address == u64::from(register));
        assert!(!wrote(user) && wrote(others), "{name}");
        // The PLL stays bypassed, and the boot goes on.
        assert_ne!(bench.register(pll) & 1 << 4, 0);
        assert_eq!(outcome.pmic, Ok(0x80));
        assert!(bench.elapsed() < Duration::from_millis(13), "{:?}", bench.elapsed());
        assert_eq!(bench.broken_rules(), [""; 0]);
    }
}

#[test]
fn only_a_part_with_two_cores_has_the_others_powered_down() {
    let power = |fuses| {
        let bench = Bench::new().with_fuses(fuses);
        before_dram(&bench);
        assert_eq!(bench.broken_rules(), [""; 0]);
        let stores = bench.take_stores().into_iter();
        let power = stores.filter(|store| store.address & 0xffff_f000 == 0x303a_0000);
        lines(&power.collect::<Vec<_>>())
    };
    assert_eq!(power(Fuses::new()), [""; 0]);
    assert_eq!(
        power(Fuses::new().dual_core()),
        ["W 0x303a0880 0x00000001", "W 0x303a08c0 0x00000001", "W 0x303a00fc 0x0000000c"]
    );
}

#[test]
fn stopping_sets_up_the_watchdogs_pad_before_it_runs() {
    let bench = Bench::new();
    let watchdog = Watchdog(BOARD.watchdog);
    platform::reset_after(&bench, &FIRST_STAGE, watchdog, Duration::from_secs(10));
    assert_eq!(
        lines(&bench.take_stores()),
        [
            "W 0x3033001c 0x00000001",
            "W 0x3033027c 0x00000166",
            "W16 0x30280000 0x133f",
            "W16 0x30280002 0x5555",
            "W16 0x30280002 0xaaaa",
        ]
    );
}

#[test]
fn the_cause_of_a_reset_is_cleared_once_it_is_read() {
    let bench = Bench::new();
    let take = || reset::take_cause(&bench, Watchdog(BOARD.watchdog), None).to_string();
    assert_eq!((take(), take()), ("power-on".into(), "unknown".into()));
}
