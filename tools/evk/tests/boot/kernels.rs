//! Real kernels: of each series that Debian has, each with its own device tree, and in each form in
//! which people have them.

use evk::{
    assets::{Assets, Series},
    card::Table,
    nixos::{self, System, Timeout},
    packing::{Compression, Fit, Packing},
    qemu::{Machine, Slot},
    tree::Content,
    userspace::Report,
};

use crate::{
    assets, boot_small,
    common::{kernel_entry, target},
    fat_card, finish_linux, generation_of, loader, path, real, small, start,
};

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

/// The kernel of the newest generation in another form.
fn packed(system: System, packing: Packing) -> System {
    system.with(42, |generation| {
        let image = generation.kernel.read().unwrap().unwrap();
        generation.kernel = Content::File(packing.pack(&image, &target().join("kernels")).unwrap());
    })
}

fn boots_linux(packing: Packing) {
    let report = boot(&assets(), packed(real(), packing));
    assert_eq!(report.kernel, assets().kernel_version);
    assert_eq!((report.initrd_generation.as_str(), report.tree_generation.as_str()), ("42", "42"));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_gzip() {
    boots_linux(Packing::Compressed(Compression::Gzip));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_zstd() {
    boots_linux(Packing::Compressed(Compression::Zstd));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_lz4_in_the_frame_that_its_own_build_writes() {
    boots_linux(Packing::Compressed(Compression::Lz4Legacy));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_lz4_in_its_present_frame() {
    boots_linux(Packing::Compressed(Compression::Lz4));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_xz() {
    boots_linux(Packing::Compressed(Compression::Xz));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_zboot_with_gzip() {
    boots_linux(Packing::Zboot(Compression::Gzip));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_zboot_with_the_largest_window_of_zstd() {
    boots_linux(Packing::Zboot(Compression::Zstd));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_zboot_with_filtered_xz() {
    boots_linux(Packing::Zboot(Compression::Xz));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_boots_from_every_compression_alone_and_in_zboot() {
    for compression in Compression::ALL {
        for packing in [Packing::Compressed(compression), Packing::Zboot(compression)] {
            let system = packed(small(), packing);
            assert_eq!(generation_of(&system, &boot_small(&fat_card(&system))), 42, "{packing:?}");
        }
    }
}

/// A card whose only entry names a FIT image and nothing else.
fn fit_card(external: bool) -> evk::card::Card {
    let system = real();
    let generation = system.numbered(42);
    let read = |content: &Content| content.read().unwrap().unwrap();
    let fit = Fit {
        image: &read(&generation.kernel),
        initrd: &read(&generation.initrd),
        device_tree: &read(&generation.device_tree),
        external,
        compressed: true,
        hashed: true,
    };
    let entry = format!(
        "DEFAULT fit\nTIMEOUT 1\nLABEL fit\n  LINUX ../system.itb\n  APPEND {} cpuidle.off=1\n",
        generation.command_line()
    );
    let boot = evk::tree::Tree::new()
        .with("extlinux/extlinux.conf", Content::bytes(entry))
        .with("system.itb", Content::bytes(fit.make().unwrap()));
    nixos::card_with_fat_boot(Table::Gpt, boot)
}

fn boots_linux_from_fit(external: bool) {
    let report = finish_linux(&mut start(&fit_card(external)));
    assert_eq!(report.kernel, assets().kernel_version);
    // Of the configuration for this board, though another one's is the default.
    assert_eq!((report.initrd_generation.as_str(), report.tree_generation.as_str()), ("42", "42"));
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_a_fit_image_with_its_initrd_and_tree() {
    boots_linux_from_fit(false);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_a_fit_image_whose_pieces_lie_behind_it() {
    boots_linux_from_fit(true);
}
