//! The state in which a kernel is entered, and the memory that it is told of.

use std::fs;

use evk::{
    qemu::{Entry, Machine, Slot},
    stub,
};

use crate::{
    LINUX, SOON, assets, boot_small,
    common::{device_tree, guests, kernel_entry},
    fat_card, finish_linux, finish_small, generation_of, loader, path, real, small, start,
};

const MIB: u64 = 1 << 20;

fn range(report: &stub::Report, start: &str, size: u64) -> std::ops::Range<u64> {
    let start = report.number(start).unwrap();
    start..start + size
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_is_entered_as_the_arm64_boot_protocol_asks() {
    let report = boot_small(&fat_card(&small()));
    assert_eq!(report.number("exception level").unwrap(), 2);
    assert_eq!(report.text("MMU").unwrap(), "off");
    assert_eq!(report.text("D-cache").unwrap(), "off");
    assert_eq!(report.number("DAIF").unwrap(), 0x3c0, "interrupts are masked");
    for register in ["x1", "x2", "x3", "other registers"] {
        assert_eq!(report.number(register).unwrap(), 0, "{register}");
    }
    assert_eq!(report.number("base").unwrap() % (2 * MIB), 0);
    assert_eq!(report.number("x0").unwrap() % 8, 0);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_that_fails_before_it_has_exception_vectors_does_so_with_a_report() {
    let system = small().with(42, |newest| newest.parameters += " stub=fault");
    let mut session = start(&fat_card(&system));
    let report = session.expect_stub(SOON).unwrap();
    session.expect("stopped; reset the board", SOON).unwrap();
    let text = session.text();
    assert!(text.contains("firn: [E701] the kernel failed: undefined instruction\n"), "{text}");
    let place = text.split_once("  at      0x").unwrap().1.split_once(": not its own").unwrap().0;
    let place = u64::from_str_radix(place, 16).unwrap();
    assert!(range(&report, "base", 2 * MIB).contains(&place), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn kernel_initrd_and_device_tree_lie_in_memory_and_apart() {
    let report = boot_small(&fat_card(&small()));
    let memory = report.memory().unwrap();
    let size = report.number("device tree size").unwrap();
    let tree = range(&report, "x0", size);
    // The stub kernel asks for less than 2 MiB.
    let kernel = range(&report, "base", 2 * MIB);
    let initrd = range(&report, "initrd start", report.number("initrd size").unwrap());
    for piece in [&tree, &kernel, &initrd] {
        assert!(
            memory.iter().any(|(start, size)| *start <= piece.start && piece.end <= start + size),
            "{piece:x?} is not in {memory:x?}"
        );
    }
    for (one, other) in [(&tree, &kernel), (&tree, &initrd), (&kernel, &initrd)] {
        assert!(one.end <= other.start || other.end <= one.start, "{one:x?} {other:x?}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_initrd_arrives_whole_and_chosen_says_so() {
    let system = small();
    let mut system_with_long_initrd = system.clone();
    let initrd: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    system_with_long_initrd.generations[0].initrd = evk::tree::Content::bytes(initrd.clone());
    let report = boot_small(&fat_card(&system_with_long_initrd));
    assert_eq!(report.number("initrd size").unwrap(), initrd.len() as u64);
    assert_eq!(report.number("initrd sum").unwrap(), stub::sum(&initrd));
    assert_eq!(
        report.text("/chosen stdout-path").unwrap(),
        "/soc@0/bus@30800000/spba-bus@30800000/serial@30890000"
    );
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_has_all_memory_and_all_cpus_of_boards_with_1_2_and_3_gib() {
    let system = evk::nixos::System { timeout: evk::nixos::Timeout::Seconds(0), ..real() };
    let card = path(&fat_card(&system));
    for gib in 1..=3u64 {
        let machine = Machine::new(kernel_entry(loader())).memory(&format!("{gib}G"));
        let mut session = machine.card(Slot::Sd, &card).start(&assets()).unwrap();
        let report = finish_linux(&mut session);
        assert_eq!(report.memory, [(0x4000_0000, gib << 30)]);
        assert_eq!(report.cpus, 4, "of {gib} GiB");
        // The kernel keeps some for itself.
        let total = report.memory_total << 10;
        assert!(total > (gib << 30) * 9 / 10, "{total} of {gib} GiB");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn entered_by_the_real_bl31_it_boots_linux_with_the_boards_memory() {
    let assets = assets();
    let system = evk::nixos::System { timeout: evk::nixos::Timeout::Seconds(0), ..real() };
    let machine = Machine::new(Entry::Bl31 {
        first_stage: guests().el3_stub,
        bl31: assets.bl31.clone(),
        bl33: loader(),
    });
    let mut session = machine.card(Slot::Sd, path(&fat_card(&system))).start(&assets).unwrap();
    session.expect("NOTICE:  BL31:", LINUX).unwrap();
    let report = finish_linux(&mut session);
    assert_eq!(report.initrd_generation, "42");
    assert_eq!(report.memory, [(0x4000_0000, 3 << 30), (0x1_0000_0000, 3 << 30)]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn two_runs_with_counted_time_are_the_same_to_the_byte() {
    let card = path(&fat_card(&small()));
    let run = || {
        let machine = Machine::new(kernel_entry(loader())).memory("1G").cpus(1).counted_time();
        let mut session = machine.card(Slot::Sd, &card).start(&assets()).unwrap();
        let report = finish_small(&mut session);
        assert_eq!(generation_of(&small(), &report), 42);
        // One tick of the 8 MHz counter is 125 instructions.
        let instructions = report.number("counter").unwrap() * 125;
        println!("instructions from reset to the kernel's first: {instructions}");
        session.bytes()
    };
    assert_eq!(String::from_utf8(run()), String::from_utf8(run()));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_device_tree_handed_to_the_loader_is_not_what_a_generations_own_tree_becomes() {
    // The mark is only in the generation's tree.
    let tree = fs::read(device_tree()).unwrap();
    assert!(!tree.windows(9).any(|window| window == b"firn-test"));
    let mut session = start(&fat_card(&small()));
    assert_eq!(finish_small(&mut session).text("/firn-test generation").unwrap(), "42");
}
