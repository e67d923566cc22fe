//! The emulated board itself, without the loader: Linux entered by QEMU reaches userspace, and the
//! stub kernel sees what QEMU promises.

mod common;

use std::fs;

use common::{LINUX, SOON, assets, device_tree, guests, kernel_entry};
use evk::{
    qemu::{Entry, Machine},
    userspace::Userspace,
};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_and_reports_how_it_was_booted() {
    let assets = assets();
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    fs::write(&initrd, Userspace::new(7).initrd(&assets).unwrap()).unwrap();
    let command_line = "init=/nix/store/x-nixos/init console=ttymxc1,115200 loglevel=4";
    let machine = Machine::new(Entry::Kernel {
        image: assets.kernel.clone(),
        device_tree: device_tree(),
        initrd: Some(initrd),
        command_line: Some(command_line.into()),
    });
    let mut session = machine.memory("1G").start(&assets).unwrap();
    let report = session.expect_userspace(LINUX).unwrap();
    assert_eq!(report.command_line, command_line);
    assert_eq!(report.toplevel(), Some("/nix/store/x-nixos"));
    assert_eq!(report.initrd_generation, "7");
    assert_eq!(report.tree_generation, "");
    assert_eq!(report.model, "NXP i.MX8MPlus EVK board");
    assert_eq!(report.memory, [(0x4000_0000, 1 << 30)]);
    assert_eq!(report.cpus, 4);
    assert_eq!(report.kernel, assets.kernel_version);
    session.expect_power_off(SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_stub_kernel_sees_the_state_that_the_boot_protocol_asks_for() {
    let assets = assets();
    let machine = Machine::new(kernel_entry(guests().stub_kernel)).memory("3G");
    let mut session = machine.start(&assets).unwrap();
    let report = session.expect_stub(SOON).unwrap();
    assert_eq!(report.number("exception level").unwrap(), 2);
    assert_eq!(report.number("DAIF").unwrap(), 0x3c0);
    assert_eq!(report.text("MMU").unwrap(), "off");
    assert_eq!(report.text("D-cache").unwrap(), "off");
    assert_eq!(report.text("/ model").unwrap(), "NXP i.MX8MPlus EVK board");
    assert_eq!(report.text("initrd").unwrap(), "none");
    assert_eq!(report.memory().unwrap(), [(0x4000_0000, 3 << 30)]);
    for register in ["x1", "x2", "x3"] {
        assert_eq!(report.number(register).unwrap(), 0, "{register}");
    }
    session.expect_power_off(SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_real_bl31_enters_its_next_stage_at_el2_and_powers_off() {
    let assets = assets();
    let guests = guests();
    let machine = Machine::new(Entry::Bl31 {
        first_stage: guests.el3_stub,
        bl31: assets.bl31.clone(),
        bl33: guests.stub_kernel,
    });
    let mut session = machine.start(&assets).unwrap();
    session.expect("NOTICE:  BL31:", SOON).unwrap();
    let report = session.expect_stub(SOON).unwrap();
    assert_eq!(report.number("exception level").unwrap(), 2);
    assert_eq!(report.number("base").unwrap(), 0x4020_0000);
    assert_eq!(report.number("x0").unwrap(), 0);
    assert_eq!(report.text("device tree").unwrap(), "none");
    session.expect_power_off(SOON).unwrap();
}
