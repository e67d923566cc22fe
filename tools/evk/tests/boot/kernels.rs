//! Real kernels: of each series that Debian has, each with its own device tree.

use evk::{
    assets::{Assets, Series},
    nixos::{System, Timeout},
    qemu::{Machine, Slot},
    userspace::Report,
};

use crate::{common::kernel_entry, fat_card, finish_linux, loader, path};

/// What userspace of the newest generation of `system` tells.
fn boot(assets: &Assets, system: System) -> Report {
    let mut system = System { timeout: Timeout::Seconds(0), ..system };
    for generation in &mut system.generations {
        // QEMU has no timer that runs while a core sleeps, and newer kernels let them sleep.
        generation.parameters += " cpuidle.off=1";
    }
    let machine = Machine::new(kernel_entry(loader())).memory("2G");
    finish_linux(&mut machine.card(Slot::Sd, path(&fat_card(&system))).start(assets).unwrap())
}

fn boot_series(series: Series) {
    let assets = Assets::with_kernel(series).expect("set-up");
    let report = boot(&assets, System::real(&assets).unwrap());
    assert_eq!(report.kernel, assets.kernel_version);
    assert_eq!(report.model, "NXP i.MX8MPlus EVK board");
    assert_eq!((report.tree_generation.as_str(), report.cpus), ("42", 4));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn debians_kernel_6_1_boots_with_its_own_tree() {
    boot_series(Series::Old);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn debians_kernel_6_12_boots_with_its_own_tree() {
    boot_series(Series::LongTerm);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn debians_newest_kernel_boots_with_its_own_tree() {
    boot_series(Series::Newest);
}
