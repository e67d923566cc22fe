//! What Linux is told of the part that it runs on, as its userspace finds it.

use evk::{
    models::ocotp::{Fuses, Grade, Part, Unit},
    nixos::{System, Timeout},
    qemu::{Machine, Slot},
    tree::Content,
    userspace::{Report, Userspace},
};

use crate::{assets, common::kernel_entry, fat_card, finish_linux, loader, path, real};

/// A board with such fuses, and 2 GiB.
fn boot(fuses: Fuses) -> Report {
    let initrd = Userspace::new(42).telling_the_tree().initrd(&assets()).unwrap();
    let system = System { timeout: Timeout::Seconds(0), ..real() };
    let system = system.with(42, |generation| generation.initrd = Content::bytes(initrd));
    let machine = Machine::new(kernel_entry(loader())).memory("2G").fuses(fuses);
    finish_linux(&mut machine.card(Slot::Sd, path(&fat_card(&system))).start(&assets()).unwrap())
}

/// The status of a unit's node; none means that it is in use.
fn status<'r>(report: &'r Report, node: &str) -> &'r str {
    report.told.get(node).map_or("", String::as_str)
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_finds_all_units_of_a_full_part_and_what_its_fuses_tell() {
    let fuses = Fuses::of(Part::Quad)
        .addressed([0x00, 0x04, 0x9f, 1, 2, 3], [0x00, 0x04, 0x9f, 1, 2, 4])
        .unique_id(0x0123_4567_89ab_cdef);
    let report = boot(fuses);
    assert_eq!(report.memory, [(0x4000_0000, 2 << 30)]);
    assert_eq!(report.told["ethernet0"], "00049f010203");
    assert_eq!(report.told["ethernet1"], "00049f010204");
    assert_eq!(report.told["serial-number"].to_lowercase(), "0123456789abcdef");
    for node in ["gpu@38000000", "gpu@38008000", "npu@38500000", "video-codec@38300000"] {
        assert_ne!(status(&report, node), "disabled", "{node}");
    }
    assert_eq!(report.told["cpu-thermal critical"], "95000");
    assert_eq!(report.cpus, 4);
    assert!(!report.told.contains_key("optee"), "no TEE runs");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_does_not_look_for_units_that_an_ultra_lite_part_lacks() {
    let report = boot(Fuses::of(Part::UltraLite).graded(Grade::Industrial));
    let nodes = [
        "gpu@38000000",
        "gpu@38008000",
        "npu@38500000",
        "video-codec@38300000",
        "video-codec@38310000",
        "dsi@32e60000",
        "bridge@5c",
        "isp@32e10000",
    ];
    for node in nodes {
        assert_eq!(status(&report, node), "disabled", "{node}");
    }
    assert_eq!(report.told["cpu-thermal critical"], "105000");
    assert_eq!(report.told["cpu-thermal passive"], "95000");
    assert_eq!(report.cpus, 4);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_starts_two_cores_of_a_dual_core_part() {
    let report = boot(Fuses::of(Part::Dual).without(&[Unit::Dsp]));
    assert_eq!(report.cpus, 2);
    assert!(!report.told.contains_key("cpu@2") && report.told.contains_key("cpu@1"));
    assert_eq!(status(&report, "dsp@3b6e8000"), "disabled");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_without_addresses_in_its_fuses_keeps_the_ones_that_it_makes_up() {
    let boot = || {
        let report = boot(Fuses::new().unique_id(0x1122_3344_5566_7788));
        ["ethernet0", "ethernet1"].map(|alias| report.told[alias].clone())
    };
    let [first, second] = boot();
    assert_ne!(first, second);
    for address in [&first, &second] {
        let byte = u8::from_str_radix(&address[..2], 16).unwrap();
        assert_eq!(byte & 3, 2, "{address} is locally administered and one interface's");
    }
    assert_eq!(boot(), [first, second]);
}
