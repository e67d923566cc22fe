//! The emulated board itself, without the loader: Linux entered by QEMU reaches userspace, and the
//! stub kernel sees what QEMU promises.

mod common;

use std::fs;

use common::{LINUX, SOON, assets, device_tree};
use evk::{
    qemu::{Entry, Machine},
    userspace,
};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_reaches_userspace_and_reports_how_it_was_booted() {
    let assets = assets();
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    fs::write(&initrd, userspace::initrd(&assets.busybox, 7).unwrap()).unwrap();
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
