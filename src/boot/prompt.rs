//! The rescue prompt's commands, carried out.

use alloc::vec::Vec;

use super::{
    found::Found,
    session::{Machine, Outcome},
};
use crate::rescue::{self, Command, Prompt};

/// Runs the rescue prompt until it has an outcome; `None` if all devices are to be searched again.
/// `bootable`: whether the menu that was left had something to boot.
pub(super) fn run(machine: &mut impl Machine, seen: &[Found], bootable: bool) -> Option<Outcome> {
    let mut prompt = Prompt::new(bootable, machine.now());
    loop {
        while let Some(byte) = machine.read_byte() {
            let now = machine.now();
            prompt.feed(byte, now);
        }
        let command = prompt.tick(machine.now());
        let outcome = match command {
            None => {
                machine.write(&prompt.draw());
                continue;
            }
            Some(Command::Entries) => {
                let listed = seen.iter().flat_map(|found| &found.catalogue.generations);
                let listed: Vec<_> = listed.cloned().collect();
                prompt.print(&rescue::entries(&listed));
                continue;
            }
            Some(Command::Menu) => None,
            Some(Command::Reset) => Some(Outcome::Reset),
            Some(Command::PowerOff) => Some(Outcome::PowerOff),
        };
        machine.write(&prompt.leave());
        return outcome;
    }
}
