//! Whatever is wrong, the serial line says what, and the next candidate is tried.

use evk::{
    card::{Card, FileSystem, Filling, GIB, MIB, Partition, Place, SECTOR, Table},
    models::{caam::Caam, usdhc::Rules},
    nixos::{Generation, System, Timeout},
    qemu::Slot,
    session::Session,
    tree::{Content, Tree},
};
use firn::error::Code;

use crate::{
    BANNER, PROMPT, SOON, assets, board, fat_card, finish_small, generation_of, nixos, path, small,
    start, tag,
};

/// The boot folder of the small system, changed by `change`, which also sees the default
/// generation.
fn changed(change: impl FnOnce(&mut Tree, &Generation)) -> Tree {
    let system = small();
    let mut tree = system.boot_folder();
    change(&mut tree, &system.generations[0]);
    tree
}

fn replaced(path: impl Fn(&Generation) -> String, content: Content) -> Tree {
    changed(|tree, default| tree.insert(path(default), content))
}

/// The default generation of `boot` is refused with `code`, and the next one boots.
fn next_generation_boots(boot: Tree, code: Code) {
    let mut session = start(&nixos::card_with_fat_boot(Table::Gpt, boot));
    let report = finish_small(&mut session);
    said(&session, &[code]);
    assert_eq!(generation_of(&small(), &report), 41);
}

/// What is on the second of two partitions: other generations, because one that is found twice is
/// listed once.
fn second() -> System {
    let mut system = small();
    for generation in &mut system.generations {
        generation.version = generation.version.replacen("25.", "24.", 1);
    }
    system
}

/// A card with two partitions to boot from, `first` and [`second`]'s.
fn with_second_partition(file_system: FileSystem, first: Tree) -> Card {
    let (first_size, other) = match file_system {
        FileSystem::Ext4 => (GIB, FileSystem::Fat32),
        _ => (512 * MIB, FileSystem::Ext4),
    };
    Card::new(Table::Gpt)
        .partition(Partition::new(file_system, "FIRST", first).size(first_size))
        .partition(Partition::new(other, "SECOND", second().boot_folder()).size(GIB))
}

/// The first partition of `card` is refused with one of `codes`, and the second one boots.
fn next_partition_boots(card: &Card, codes: &[Code]) {
    let mut session = start(card);
    let report = finish_small(&mut session);
    said(&session, codes);
    assert_eq!(generation_of(&second(), &report), 42);
}

fn said(session: &Session, codes: &[Code]) {
    let text = session.text();
    assert!(codes.iter().any(|code| text.contains(&tag(*code))), "none of {codes:?} in\n{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_missing_kernel_is_named_and_the_next_generation_boots() {
    let boot = changed(|tree, default| tree.remove(&default.kernel_path()).unwrap());
    next_generation_boots(boot, Code::NotFound);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_truncated_kernel_is_refused_and_the_next_generation_boots() {
    let kernel = Content::File(assets().kernel);
    let size = kernel.read().unwrap().unwrap().len();
    for length in [size - 4096, size / 2, 100_000] {
        let boot = replaced(Generation::kernel_path, kernel.truncated(length).unwrap());
        next_generation_boots(boot, Code::KernelTruncated);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_that_is_not_for_arm64_is_refused_and_the_next_generation_boots() {
    let boot = replaced(Generation::kernel_path, Content::bytes(b"MZ not a kernel ".repeat(1000)));
    next_generation_boots(boot, Code::KernelNotArm64);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_larger_than_memory_is_refused_and_the_next_generation_boots() {
    let mut kernel = small().generations[0].kernel.read().unwrap().unwrap().to_vec();
    // image_size of the header. Source: Linux documentation, arch/arm64/booting.
    kernel[16..24].copy_from_slice(&(2u64 << 30).to_le_bytes());
    let boot = replaced(Generation::kernel_path, Content::bytes(kernel));
    next_generation_boots(boot, Code::DoesNotFit);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_missing_initrd_is_named_and_the_next_generation_boots() {
    let boot = changed(|tree, default| tree.remove(&default.initrd_path()).unwrap());
    next_generation_boots(boot, Code::NotFound);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_empty_initrd_is_refused_and_the_next_generation_boots() {
    next_generation_boots(replaced(Generation::initrd_path, Content::bytes("")), Code::InitrdEmpty);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_corrupt_device_tree_is_refused_and_the_next_generation_boots() {
    let tree = small().generations[0].device_tree.read().unwrap().unwrap();
    let mut noise = tree.to_vec();
    noise[64..].fill(0xa5);
    for damaged in [tree[..tree.len() / 2].to_vec(), noise, b"no tree".to_vec()] {
        let boot = replaced(Generation::device_tree_path, Content::bytes(damaged));
        next_generation_boots(boot, Code::DeviceTreeCorrupt);
    }
}

fn bad_configuration(content: Vec<u8>, code: Code) {
    let boot = replaced(|_| "extlinux/extlinux.conf".into(), Content::bytes(content));
    next_partition_boots(&with_second_partition(FileSystem::Fat32, boot), &[code]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn an_empty_configuration_is_reported_and_the_next_partition_boots() {
    bad_configuration(Vec::new(), Code::ConfigurationEmpty);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_binary_configuration_is_reported_and_the_next_partition_boots() {
    let noise = (0..5000u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
    bad_configuration(noise, Code::ConfigurationNotText);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_configuration_of_1_mb_is_reported_and_the_next_partition_boots() {
    let long = small().extlinux_conf().into_bytes().repeat(600);
    assert!(long.len() > 1_000_000);
    bad_configuration(long, Code::ConfigurationTooLarge);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_corrupt_fat_is_reported_and_the_next_partition_boots() {
    let card = with_second_partition(FileSystem::Fat32, small().boot_folder());
    // The tables; the first sector still says what it is, and folders have their names.
    let card = card.damaged(Place::Partition(0, 32 * SECTOR), MIB - 64 * SECTOR, Filling::Noise(4));
    next_partition_boots(&card, &[Code::FileSystemCorrupt]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_corrupt_ext4_is_reported_and_the_next_partition_boots() {
    // A superblock whose checksum is wrong; all that follows it and tells where files are.
    for (offset, length) in [(1024 + 8, 40), (4096, 4 * MIB)] {
        let card = with_second_partition(FileSystem::Ext4, small().boot_folder());
        let card = card.damaged(Place::Partition(0, offset), length, Filling::Noise(5));
        next_partition_boots(&card, &[Code::FileSystemCorrupt]);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_partition_of_noise_is_reported_where_nothing_else_boots() {
    for offset in [0, 1024] {
        let card = fat_card(&small()).damaged(Place::Partition(0, 0), MIB, Filling::Noise(6));
        let card = card.damaged(Place::Partition(1, offset), MIB, Filling::Noise(7));
        let mut session = start(&card);
        session.expect(PROMPT, SOON).unwrap();
        said(&session, &[Code::UnknownFileSystem]);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_kernel_that_cannot_be_read_is_reported_and_the_next_generation_boots() {
    let mut kernel = small().generations[0].kernel.read().unwrap().unwrap().to_vec();
    // In a reserved field of the header, so that this kernel's first sector is known.
    kernel[32..40].copy_from_slice(b"unlikely");
    let boot = replaced(Generation::kernel_path, Content::bytes(kernel.clone()));
    let image = nixos::card_with_fat_boot(Table::Gpt, boot).make(&crate::cards()).unwrap();
    let sector = image.sector_beginning_with(&kernel[..64]).unwrap();
    let machine = board().failing_card(Slot::Sd, image.path(), sector..sector + 8);
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_small(&mut session);
    // QEMU's card does not report the error: it sends what it read before.
    said(&session, &[Code::KernelNotArm64, Code::KernelTruncated, Code::CardTransfer]);
    assert_eq!(generation_of(&small(), &report), 41);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_that_is_pulled_is_reported_for_every_generation_and_ends_at_the_prompt() {
    let system = System { timeout: Timeout::Seconds(3), ..small() };
    let mut session = start(&fat_card(&system));
    session.expect("Enter boot", SOON).unwrap();
    session.remove_card(Slot::Sd).unwrap();
    session.expect(PROMPT, SOON).unwrap();
    said(&session, &[Code::CardRemoved]);
    for generation in &system.generations {
        assert!(session.text().contains(&generation.kernel_path()), "{}", session.text());
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_destroyed_partition_table_is_reported_and_ends_at_the_prompt() {
    let card = fat_card(&small());
    let noise = card.clone().damaged(Place::Card(0), 17 * 1024, Filling::Noise(1));
    let noise = noise.damaged(Place::End(17 * 1024), 17 * 1024, Filling::Noise(2));
    for card in [card.without_table(), noise] {
        let mut session = start(&card);
        session.expect(PROMPT, SOON).unwrap();
        said(&session, &[Code::NoPartitions, Code::PartitionTableCorrupt]);
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_with_nothing_to_boot_is_reported_and_the_other_card_boots() {
    let machine = board().card(Slot::Sd, path(&fat_card(&small()).without_table()));
    let machine = machine.card(Slot::Emmc, path(&fat_card(&small())));
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_small(&mut session);
    said(&session, &[Code::NoPartitions]);
    assert_eq!(generation_of(&small(), &report), 42);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_gpt_whose_first_copy_is_gone_boots_by_its_second() {
    let card = fat_card(&small()).damaged(Place::Card(512), 33 * 512, Filling::Noise(3));
    let mut session = start(&card);
    let report = finish_small(&mut session);
    said(&session, &[Code::PartitionTableCorrupt]);
    assert_eq!(generation_of(&small(), &report), 42);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_a_card_a_prompt_helps_and_the_board_does_not_reset_by_itself() {
    let mut session = board().start(&assets()).unwrap();
    session.expect(PROMPT, SOON).unwrap();
    said(&session, &[Code::NoCard]);
    session.send("help\r").unwrap();
    for command in ["help", "entries", "reset"] {
        session.expect(command, SOON).unwrap();
    }
    session.expect(PROMPT, SOON).unwrap();
    session.send("entries\r").unwrap();
    session.expect(PROMPT, SOON).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(session.text().matches(BANNER).count(), 1, "{}", session.text());
    session.send("reset\r").unwrap();
    session.expect(BANNER, SOON).unwrap();
    session.expect(PROMPT, SOON).unwrap();
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_card_on_which_no_generation_can_be_booted_ends_at_the_prompt_with_every_reason() {
    let system = small();
    let mut tree = system.boot_folder();
    for generation in &system.generations {
        tree.remove(&generation.kernel_path()).unwrap();
    }
    let mut session = start(&nixos::card_with_fat_boot(Table::Gpt, tree));
    session.expect(PROMPT, SOON).unwrap();
    let text = session.text();
    for generation in &system.generations {
        assert!(text.contains(&generation.kernel_path()), "{text}");
    }
}

/// The rest of the module would not notice it if every generation were the same.
#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_card_without_damage_boots_its_default_without_a_complaint() {
    let system = small();
    let caam = Caam::new().given_to_the_normal_world();
    let machine = board().card(Slot::Sd, path(&fat_card(&system))).caam(caam, &Rules::default());
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_small(&mut session);
    assert_eq!(generation_of(&system, &report), 42);
    assert!(!session.text().contains("[E"), "{}", session.text());
}
