//! An eMMC behind uSDHC3, which QEMU does not have: a model on its GDB port.

use evk::{
    emmc::Emmc,
    models::usdhc::Rules,
    nixos::{System, Timeout},
    qemu::Entry,
};

use crate::{
    Machine, assets, board, fat_card, finish_linux, finish_small, generation_of, guests, loader,
    path, real, small,
};

/// Boots from an eMMC with `system` in its user area; nothing is in the SD slot.
fn board_with_emmc(machine: Machine, system: &System, rules: &Rules) -> Machine {
    machine.emmc(Emmc::at(path(&fat_card(system))), rules)
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_loader_boots_from_an_emmc_and_breaks_none_of_its_rules() {
    let rules = Rules::default();
    let machine = board_with_emmc(board(), &small(), &rules);
    let mut session = machine.start(&assets()).unwrap();
    assert_eq!(generation_of(&small(), &finish_small(&mut session)), 42);
    assert_eq!(rules.list(), [""; 0]);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn linux_boots_from_an_emmc_under_the_real_bl31() {
    let system = System { timeout: Timeout::Seconds(0), ..real() };
    let bl31 = assets().bl31;
    let entry = Entry::Bl31 { first_stage: guests().el3_stub, bl31, bl33: loader() };
    let rules = Rules::default();
    let machine = board_with_emmc(Machine::new(entry), &system, &rules);
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_linux(&mut session);
    assert!(report.command_line.contains(&system.generations[0].toplevel()));
    assert_eq!(rules.list(), [""; 0]);
}
