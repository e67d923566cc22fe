//! The kernel's random numbers, where the loader is started by something else than Firn's first stage.

use evk::{
    models::{caam::Caam, usdhc::Rules},
    qemu::Slot,
};
use firn::error::Code;

use crate::{assets, board, fat_card, finish_small, path, small, start, tag};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_loader_asks_the_generator_that_bl31_gave_to_the_normal_world() {
    let caam = Caam::new().given_to_the_normal_world();
    let rules = Rules::default();
    let machine = board().card(Slot::Sd, path(&fat_card(&small()))).caam(caam, &rules);
    let mut session = machine.start(&assets()).unwrap();
    let report = finish_small(&mut session);
    assert_eq!(report.text("/chosen kaslr-seed").unwrap().len(), 16);
    assert_eq!(report.text("/chosen rng-seed").unwrap().len(), 128);
    assert_eq!(rules.list(), [""; 0]);
    assert!(!session.text().contains(&tag(Code::NoEntropy)), "{}", session.text());
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn without_a_generator_the_kernel_gets_no_seeds_and_the_log_says_so_once() {
    let mut session = start(&fat_card(&small()));
    let report = finish_small(&mut session);
    for name in ["kaslr-seed", "rng-seed"] {
        assert!(report.text(&format!("/chosen {name}")).is_err(), "{name}");
    }
    let text = session.text();
    assert_eq!(text.matches(&tag(Code::NoEntropy)).count(), 1, "{text}");
    assert!(text.contains("the kernel gets none"), "{text}");
}
