//! What the first stage leaves in on-chip memory: nothing that it had on its stack, where the random numbers
//! for the second stage were.

use std::fs;

use evk::{
    elf::symbols,
    qemu::{Entry, Machine, Slot},
};

use firn::board::BOARD;

use crate::{SOON, assets, card_of, small, sound};

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn the_first_stages_stack_is_wiped_before_anybody_else_runs() {
    let mut system = small();
    for generation in &mut system.generations {
        generation.parameters += " stub=hang";
    }
    let board = Machine::new(Entry::BootRom(sound()));
    let mut session = board.card(Slot::Sd, card_of(&system)).start(&assets()).unwrap();
    session.expect_stub(SOON).unwrap();
    let elf = fs::read(evk::assets::firmware("firn-spl.elf").unwrap()).unwrap();
    let symbols = symbols(&elf).unwrap();
    let (start, end) = (symbols["__stack_start"], symbols["__stack_end"]);
    let stack = session.memory(start, end - start).unwrap();
    assert!(stack.len() > 0x4000);
    assert!(stack.iter().all(|byte| *byte == 0));
    let record = session.memory(BOARD.hand_off.start(), BOARD.hand_off.size()).unwrap();
    assert!(record.iter().all(|byte| *byte == 0), "the record, by whoever has read it");
}
