//! The boot ROM in the machine: its work at a reset, its code as breakpoints, its tables as a region.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail, ensure};
use firn::soc::boot_rom::{BootRom as _, EVENT_LOG_POINTER, Question, RECORD_POINTER};

use super::{
    Bus, Device, Machine, dram,
    port::Witness,
    rsp::{Client, Registers},
};
use crate::access::Width;
use crate::models::boot_rom::{BootRom, DOWNLOAD_ENTRY, QUERY_ENTRY};

/// Where the processor starts, and where the ROM ends. Source: i.MX 8M Plus reference manual, memory map.
pub(super) const RESET: u64 = 0;
const END: u32 = 0x3_f000;
/// On-chip memory that a first stage leaves to the ROM, and a piece of it that shows whether it does.
const OWN_MEMORY: std::ops::Range<u32> = 0x90_0000..0x92_0000;
const WITNESS_MARKS: u64 = 0x91_4000;
const MARKS: usize = 256;
const STACK: u64 = 0x91_8000;
/// What registers hold that belong to nobody.
const GARBAGE: u64 = 0xdead_0bad_0bad_0000;
/// x0 to x18: what a call may change.
const SCRATCH_REGISTERS: std::ops::RangeInclusive<u8> = 0..=18;
const LINK: u8 = 30;
/// SCTLR_EL3.C. Source: Arm Architecture Reference Manual.
const DATA_CACHES: u64 = 1 << 2;

/// Code of the ROM that somebody stops at.
pub(super) const BREAKPOINTS: [u64; 3] = [RESET, DOWNLOAD_ENTRY as u64, QUERY_ENTRY as u64];

/// Does what the ROM does at a reset, and returns where the first stage is entered.
pub(super) fn start(
    rom: &BootRom,
    machine: &mut Client,
    registers: &mut Registers,
    witness: &Witness,
) -> Result<u64> {
    let started = rom.start().map_err(|refused| {
        let refused = refused.join("; ");
        anyhow!("the boot ROM finds no flash.bin ({refused}) and waits for a download")
    })?;
    let length = started.bytes.len();
    let from = rom.query(Question::ImageOffset).unwrap_or_default();
    let stage = rom.query(Question::Stage).unwrap_or_default();
    let to = started.address;
    witness.tell(format!("boot ROM: {length:#x} bytes from {from:#x} to {to:#x}, stage {stage}"));
    machine.write(WITNESS_MARKS, &marks())?;
    machine.write(started.address.into(), &started.bytes)?;
    for (address, value) in rom.memory() {
        if OWN_MEMORY.contains(&address) {
            machine.write(address.into(), &value.to_le_bytes())?;
        }
    }
    for number in 0..=LINK {
        registers.set_general(number, GARBAGE | u64::from(number));
    }
    registers.set_sp(STACK);
    Ok(started.entry.into())
}

/// Serves the call of the service at `entry`, and returns where it was called from.
pub(super) fn call(
    rom: &BootRom,
    entry: u64,
    machine: &mut Client,
    registers: &mut Registers,
    bus: &mut Bus,
) -> Result<u64> {
    let argument = |number| u32::try_from(registers.general(number) & 0xffff_ffff).unwrap_or(0);
    let [first, second, third, fourth] = [0, 1, 2, 3].map(argument);
    let mut seen = vec![0; MARKS];
    machine.read(WITNESS_MARKS, &mut seen)?;
    ensure!(seen == marks(), "the boot ROM is called, and its memory was overwritten");
    let cached = machine.system_register("SCTLR_EL3")? & DATA_CACHES != 0;
    ensure!(!cached, "the boot ROM is called, and data caches are on");
    let (outcome, destination, bytes) = match u32::try_from(entry) {
        Ok(DOWNLOAD_ENTRY) => {
            let (outcome, bytes) = rom.download_call(first, second, third, fourth);
            (outcome, first, bytes)
        }
        Ok(QUERY_ENTRY) => {
            let (outcome, word) = rom.query_call(first, second, third);
            (outcome, second, word.map(|word| word.to_le_bytes().to_vec()).unwrap_or_default())
        }
        _ => bail!("the machine stopped at {entry:#x}"),
    };
    if !bytes.is_empty() {
        let to = u64::from(destination)..u64::from(destination) + bytes.len() as u64;
        ensure!(
            to.end <= dram::BASE || !bus.has(dram::BASE),
            "the boot ROM is to write {to:#x?}, and DRAM is not trained"
        );
        machine.write(to.start, &bytes)?;
    }
    let back = registers.general(LINK);
    for number in SCRATCH_REGISTERS {
        registers.set_general(number, GARBAGE | u64::from(number));
    }
    registers.set_general(0, outcome.into());
    Ok(back)
}

fn marks() -> Vec<u8> {
    (0..=u8::MAX).map(|place| place ^ 0x5a).collect()
}

/// Puts the ROM's own memory on `bus`, with or without pointers to its records.
pub(super) fn attach(bus: Bus, rom: &BootRom, records: bool) -> Bus {
    let mut tables = Tables::new(rom);
    if !records {
        tables.words.extend([(EVENT_LOG_POINTER, 0), (RECORD_POINTER, 0)]);
    }
    bus.with(RESET, END.into(), tables)
}

/// The ROM, as far as software may look into it.
struct Tables {
    words: BTreeMap<u32, u32>,
    refusal: Option<String>,
}

impl Tables {
    fn new(rom: &BootRom) -> Self {
        let words = rom.memory().into_iter().filter(|(address, _)| *address < END).collect();
        Self { words, refusal: None }
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.words.get(&u32::try_from(address).ok()?).copied().map(u64::from)
    }
}

impl Device for Tables {
    fn read(&mut self, offset: u64, width: Width, _: &mut dyn Machine) -> u64 {
        let word = self.word(offset & !3);
        if word.is_none() {
            // A null pointer, more likely than a look at the ROM's code.
            self.refusal = Some(format!("boot ROM code at {offset:#x} is read"));
        }
        let high = if width == Width::Double { self.word(offset + 4).unwrap_or(0) } else { 0 };
        (word.unwrap_or(0) | high << 32) >> (8 * (offset % 4)) & width.mask()
    }

    fn write(&mut self, offset: u64, _: Width, _: u64, _: &mut dyn Machine) {
        self.refusal = Some(format!("the boot ROM at {offset:#x} is written"));
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gdb::NoMachine, models::boot_rom::Medium};

    fn tables() -> Tables {
        Tables::new(&BootRom::new(Medium::Usb(Vec::new())))
    }

    #[test]
    fn the_table_of_services_is_read_in_words_and_in_pointers() {
        let mut tables = tables();
        for width in [Width::Word, Width::Double] {
            assert_eq!(tables.read(0x988, width, &mut NoMachine), u64::from(DOWNLOAD_ENTRY));
            assert_eq!(tables.read(0x990, width, &mut NoMachine), u64::from(QUERY_ENTRY));
        }
        assert_eq!(tables.refusal(), None);
    }

    #[test]
    fn null_pointers_are_refused() {
        let mut tables = tables();
        assert_eq!(tables.read(0, Width::Double, &mut NoMachine), 0);
        assert!(tables.refusal().is_some_and(|refusal| refusal.contains("0x0 is read")));
        tables.write(8, Width::Word, 0, &mut NoMachine);
        assert!(tables.refusal().is_some());
    }
}
