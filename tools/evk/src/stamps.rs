//! Reads what the plugin of `tools/evk/stamp` writes: what went over the serial line and to the cards, and
//! after how many instructions.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::qemu::Slot;

/// A moment of a boot, in instructions since reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Those that were executed.
    pub executed: u64,
    /// Those of them that did nothing but look at the clock.
    pub waited: u64,
}

/// Something that the firmware did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It gave a character to the serial line.
    Sent(u8),
    /// It took one.
    Taken(u8),
    /// It sent a command to a card.
    Command(Slot, Command),
    /// It saw that a card's command or its transfer was complete.
    Complete(Slot),
}

/// A command to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its number.
    pub index: u32,
    /// Its argument.
    pub argument: u32,
    /// How many bytes of data belong to it; 0 without data.
    pub bytes: u64,
    /// Bits of the answer.
    pub answer: u64,
}

/// An event and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub at: Moment,
    /// What.
    pub event: Event,
}

/// The registers' places, as in the plugin.
const URXD: u64 = 0x3089_0000;
const UTXD: u64 = 0x3089_0040;
const USDHC: [(u64, Slot); 2] = [(0x30b5_0000, Slot::Sd), (0x30b6_0000, Slot::Emmc)];
const BLK_ATT: u64 = 0x04;
const CMD_ARG: u64 = 0x08;
const CMD_XFR_TYP: u64 = 0x0c;
const INT_STATUS: u64 = 0x30;

/// Reads a file of stamps.
///
/// # Errors
/// Names the file, or the line that is none.
pub fn read(file: &Path) -> Result<Vec<Stamp>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Stamp>> {
    let mut controllers = [Controller::default(); 2];
    let mut stamps = Vec::new();
    for line in text.lines() {
        let access = Access::parse(line).with_context(|| format!("no stamp: {line:?}"))?;
        let event = access.event(&mut controllers);
        stamps.extend(event.map(|event| Stamp { at: access.at, event }));
    }
    Ok(stamps)
}

/// What a controller was told before its next command.
#[derive(Clone, Copy, Default)]
struct Controller {
    block: u64,
    argument: u32,
}

struct Access {
    at: Moment,
    store: bool,
    address: u64,
    value: u32,
}

impl Access {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[executed, waited, direction, address, value] = words.as_slice() else { return None };
        Some(Self {
            at: Moment { executed: executed.parse().ok()?, waited: waited.parse().ok()? },
            store: direction == ">",
            address: u64::from_str_radix(address, 16).ok()?,
            value: u32::from_str_radix(value, 16).ok()?,
        })
    }

    fn event(&self, controllers: &mut [Controller; 2]) -> Option<Event> {
        let byte = self.value.to_le_bytes()[0];
        match (self.address, self.store) {
            (UTXD, true) => return Some(Event::Sent(byte)),
            (URXD, false) => return Some(Event::Taken(byte)),
            _ => {}
        }
        let place = USDHC.iter().position(|(base, _)| self.address & !0xffff == *base)?;
        let (base, slot) = USDHC[place];
        let controller = &mut controllers[place];
        match self.address - base {
            BLK_ATT => controller.block = self.value.into(),
            CMD_ARG => controller.argument = self.value,
            CMD_XFR_TYP => return Some(Event::Command(slot, controller.command(self.value))),
            INT_STATUS => return Some(Event::Complete(slot)),
            _ => {}
        }
        None
    }
}

impl Controller {
    /// Source: i.MX 8M Plus reference manual, uSDHC: CMD_XFR_TYP (CMDINX, DPSEL, RSPTYP), BLK_ATT.
    fn command(self, typ: u32) -> Command {
        let has_data = typ & 1 << 21 != 0;
        let bytes = (self.block & 0x1fff) * (self.block >> 16);
        let answer = match typ >> 16 & 3 {
            0 => 0,
            1 => 136,
            _ => 48,
        };
        Command {
            index: typ >> 24 & 0x3f,
            argument: self.argument,
            bytes: if has_data { bytes } else { 0 },
            answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_become_events() {
        let text = "10 0 > 30890040 41\n12 0 > 30b50004 80200\n13 0 > 30b50008 2000\n\
                    14 1 > 30b5000c 123a0000\n15 1 < 30b50030 3\n16 9 < 30890000 800d\n";
        let command = Command { index: 0x12, argument: 0x2000, bytes: 8 * 512, answer: 48 };
        let events: Vec<Event> = parse(text).unwrap().iter().map(|stamp| stamp.event).collect();
        assert_eq!(
            events,
            [
                Event::Sent(b'A'),
                Event::Command(Slot::Sd, command),
                Event::Complete(Slot::Sd),
                Event::Taken(b'\r')
            ]
        );
    }

    #[test]
    fn a_command_without_data_has_none_of_the_one_before() {
        let text = "1 0 > 30b60004 80200\n2 0 > 30b6000c 2090000\n";
        let [Stamp { at, event: Event::Command(Slot::Emmc, command) }] = parse(text).unwrap()[..]
        else {
            panic!("one command")
        };
        assert_eq!(at, Moment { executed: 2, waited: 0 });
        assert_eq!((command.index, command.bytes, command.answer), (2, 0, 136));
    }

    #[test]
    fn a_line_that_was_cut_off_is_told() {
        assert!(parse("10 0 > 30890040 41\n11 0 > 30").is_err());
    }
}
