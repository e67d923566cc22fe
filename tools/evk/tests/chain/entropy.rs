//! The kernel's random numbers, on the whole board: from the part's generator to the device tree.

use evk::{
    gdb::Hardware,
    models::caam::{Caam, Fault},
    stub::Report,
};
use firn::error::Code;

use crate::{SOON, sound, start_with_system, tag};

/// What the kernel of a board with this generator gets, and what came over the serial line.
fn boot(caam: Caam) -> (Report, String) {
    let mut session = start_with_system(Hardware { caam, ..sound() });
    let report = session.expect_stub(SOON).unwrap();
    session.expect_power_off(SOON).unwrap();
    assert_eq!(session.witness().broken_rules(), [""; 0]);
    (report, session.text())
}

/// The seeds in `/chosen`, as digits.
fn seeds(report: &Report) -> [String; 2] {
    ["kaslr-seed", "rng-seed"].map(|name| report.text(&format!("/chosen {name}")).unwrap().into())
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn two_boots_of_a_board_have_different_seeds() {
    let [first, second] = [(); 2].map(|()| boot(Caam::new()));
    let [[kaslr, rng], others] = [&first, &second].map(|(report, _)| seeds(report));
    assert_eq!((kaslr.len(), rng.len()), (16, 128));
    assert_ne!([kaslr, rng], others);
    assert!(!first.1.contains("[E"), "{}", first.1);
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_whose_generator_does_not_answer_says_so_and_boots_without_seeds() {
    let (report, text) = boot(Caam::new().with(Fault::Absent));
    for name in ["kaslr-seed", "rng-seed"] {
        assert!(report.text(&format!("/chosen {name}")).is_err(), "{name}");
    }
    // The first stage, what it told the second one, and that itself.
    assert_eq!(text.matches(&tag(Code::NoEntropy)).count(), 3, "{text}");
    assert!(text.contains("the kernel gets none"), "{text}");
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_the_first_stage_could_draw_is_enough() {
    // After it, the ring stays the secure world's.
    let (report, text) = boot(Caam::new().with(Fault::Foreign));
    let [_, rng] = seeds(&report);
    assert_eq!(rng.len(), 128);
    assert!(text.contains("; the kernel gets those of the first stage\n"), "{text}");
    assert_eq!(text.matches(&tag(Code::NoEntropy)).count(), 1, "{text}");
}
