//! What the real first stage does to the registers, in the order in which it does it.

use evk::{
    flash::Flash,
    gdb::Hardware,
    models::ddr::{bench::Bench, blobs::Blobs},
};
use firn::{
    board::MEMORY,
    ddr::{
        bring_up,
        saved::{ADDRESS, Saved, words},
    },
};

use crate::{LINUX, PRIMARY, assets, card_with, start};

/// What the DRAM engine writes on the model, in a host test's surroundings, for these blobs.
fn written_on_the_model(blobs: &Blobs) -> Vec<String> {
    let bench = Bench::new(&[]);
    let mut room = vec![0; words(MEMORY.timing)];
    let saved = Saved::new(ADDRESS, &mut room, MEMORY.timing).unwrap();
    assert!(bring_up(&bench, &bench, MEMORY.timing, blobs.firmware().unwrap(), saved).is_ok());
    bench.take_stores().iter().map(|store| comparable(&store.to_string())).collect()
}

/// Bit 31 of the DRAM PLL's control register tells that it has locked, and is written back as read.
fn comparable(line: &str) -> String {
    match line.strip_prefix("W 0x30360050 0x") {
        Some(value) => {
            let value = u32::from_str_radix(value, 16).unwrap() & 0x7fff_ffff;
            format!("W 0x30360050 {value:#010x}")
        }
        None => line.to_owned(),
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_first_stage_brings_memory_up_with_the_stores_of_the_reference() {
    // tests/ddr.rs compares these with the recording.
    let blobs = Blobs::padded();
    let expected = written_on_the_model(&blobs);
    assert_eq!(expected.len(), 50_405);
    let Blobs { one_d_imem, one_d_dmem, two_d_imem, two_d_dmem } = blobs;
    let training = [one_d_imem, one_d_dmem, two_d_imem, two_d_dmem];
    let flash = Flash::of_this_tree(&assets()).unwrap().training(training).bytes().unwrap();
    let hardware = Hardware { trace: true, ..card_with([(PRIMARY, flash)]) };
    let mut session = start(hardware);
    session.expect("firn: booted from", LINUX).unwrap();
    let stores = session.witness().stores();
    let lines: Vec<String> = stores.iter().map(|store| comparable(&store.to_string())).collect();
    let begin = lines.iter().position(|line| *line == expected[0]).expect("a reset of the PHY");
    for (number, (line, expected)) in lines[begin..].iter().zip(&expected).enumerate() {
        assert_eq!(line, expected, "store {number}");
    }
    assert!(lines.len() - begin > expected.len(), "{} stores", lines.len() - begin);
}
