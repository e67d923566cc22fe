//! A card behind a modelled uSDHC on QEMU's GDB port: an eMMC, because QEMU's own controllers have SD cards
//! only, or a card with which something goes wrong.
//!
//! Descriptors come from and blocks go to the machine's memory while it stands still. Time is the
//! machine's, and skips ahead to whatever somebody waits for: a transfer takes no longer than it
//! takes to move the bytes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firn::board::{BOARD, CardKind, CardSlot};

use super::{
    card::Card,
    controller::{BusError, Controller, Memory, SYS_CTRL},
    fault::Fault,
    rules::Rules,
};
use crate::{
    access::Width,
    gdb::{self, Bus, Device},
    qemu::Slot,
};

/// Room for one uSDHC. Source: i.MX 8M Plus reference manual, memory map of AIPS-3.
const LENGTH: u64 = 0x1_0000;
/// The clock controller's root slices. Source: i.MX 8M Plus reference manual, chapter 5.
const ROOTS: u64 = 0x3038_8000;
const ROOT_STRIDE: u64 = 0x80;
/// More is not held back before it goes to the machine's memory.
const MOST_HELD: usize = 1 << 20;

/// What happens to a card at a command, counted from 0.
pub enum Incident {
    /// Something goes wrong with the command.
    Wire {
        /// Which one.
        command: usize,
        /// What goes wrong.
        fault: Fault,
    },
    /// Before it, somebody has pulled the card and put in this one.
    Swap {
        /// Which one.
        command: usize,
        /// The other card, or none.
        card: Option<Box<dyn Card>>,
    },
}

/// Puts `card` behind the board's eMMC controller on `bus`. Rules that the firmware breaks are
/// written down in `rules`.
///
/// # Panics
/// If the board has no eMMC.
#[must_use]
pub fn attach(bus: Bus, card: impl Card + 'static, rules: &Rules) -> Bus {
    attach_with(bus, Slot::Emmc, Box::new(card), rules, Vec::new(), Arc::default())
}

/// Puts `card` behind the controller of `slot`, and lets the `incidents` happen to it. How many commands
/// there were is kept in `commands`.
///
/// # Panics
/// If the board has no such slot.
#[must_use]
pub fn attach_with(
    bus: Bus,
    slot: Slot,
    card: Box<dyn Card>,
    rules: &Rules,
    incidents: Vec<Incident>,
    commands: Arc<AtomicUsize>,
) -> Bus {
    let kind = match slot {
        Slot::Sd => CardKind::Sd,
        Slot::Emmc => CardKind::Emmc,
    };
    let slot = BOARD.cards.iter().find(|slot| slot.kind == kind);
    let slot = slot.expect("the board has such a slot");
    let mut controller = Controller::new(Some(card), rules.clone());
    let mut swap = None;
    for incident in incidents {
        match incident {
            Incident::Wire { command, fault } => controller.inject(command, fault),
            Incident::Swap { command, card } => swap = Some((command, card)),
        }
    }
    let (skipped, rules) = (Duration::ZERO, rules.clone());
    let window = Window { slot, controller, swap, commands, skipped, rules };
    bus.with_staying(slot.usdhc.into(), LENGTH, window)
}

struct Window {
    slot: &'static CardSlot,
    controller: Controller,
    swap: Option<(usize, Option<Box<dyn Card>>)>,
    commands: Arc<AtomicUsize>,
    /// How far the card's time is ahead of the machine's.
    skipped: Duration,
    rules: Rules,
}

impl Window {
    fn now(&self, machine: &dyn gdb::Machine) -> Duration {
        machine.now() + self.skipped
    }

    /// The clock that comes in: QEMU keeps what is written to the clock controller.
    fn root_hertz(&self, machine: &mut dyn gdb::Machine) -> u32 {
        let (root, wanted) = self.slot.clock.roots[0];
        let mut target = [0; 4];
        match machine.read(ROOTS + u64::from(root) * ROOT_STRIDE, &mut target) {
            Ok(()) if u32::from_le_bytes(target) == wanted => self.slot.clock.hertz,
            _ => 0,
        }
    }

    /// Lets somebody change the card when its time has come: during the command before.
    fn change_card(&mut self, now: Duration) {
        let issued = self.controller.issued().len();
        if let Some((_, card)) = self.swap.take_if(|(command, _)| issued >= *command) {
            self.controller.pull(now);
            self.controller.insert(card);
        }
    }

    fn offset(&self, offset: u64, width: Width) -> Option<u32> {
        let whole = width == Width::Word;
        self.rules.require(whole, || format!("{width:?} access to the controller at {offset:#x}"));
        u32::try_from(offset).ok().filter(|_| whole)
    }
}

impl Device for Window {
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn gdb::Machine) -> u64 {
        let Some(offset) = self.offset(offset, width) else { return 0 };
        let now = self.now(machine);
        let value = self.controller.read(offset, now);
        // Whoever looks waits for something: the next look finds it done.
        if let Some(at) = self.controller.next_change() {
            self.skipped += at.saturating_sub(now);
        }
        value.into()
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn gdb::Machine) {
        let Some(offset) = self.offset(offset, width) else { return };
        if offset == SYS_CTRL {
            self.controller.set_root_hertz(self.root_hertz(machine));
        }
        let now = self.now(machine);
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
        self.change_card(now);
        let mut memory = Gathered { machine, start: 0, bytes: Vec::new() };
        self.controller.write(offset, value, now, &mut memory);
        let done = memory.flush();
        self.commands.store(self.controller.issued().len(), Ordering::Relaxed);
        self.rules.require(done.is_ok(), || "DMA to where no memory is".into());
    }
}

/// The machine's memory, to which neighbouring writes go together.
struct Gathered<'a> {
    machine: &'a mut dyn gdb::Machine,
    start: u32,
    bytes: Vec<u8>,
}

impl Gathered<'_> {
    fn flush(&mut self) -> Result<(), BusError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let done = self.machine.write(self.start.into(), &self.bytes);
        self.bytes.clear();
        done.map_err(|_| BusError)
    }
}

impl Memory for Gathered<'_> {
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), BusError> {
        self.flush()?;
        self.machine.read(address.into(), bytes).map_err(|_| BusError)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusError> {
        let follows = u64::from(self.start) + self.bytes.len() as u64 == u64::from(address);
        if !follows || self.bytes.len() >= MOST_HELD {
            self.flush()?;
            self.start = address;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Result, ensure};

    use super::*;

    /// Notes the writes that reach it. There is memory below 0x1000.
    #[derive(Default)]
    struct Written(Vec<(u64, Vec<u8>)>);

    impl gdb::Machine for Written {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn read(&mut self, _: u64, bytes: &mut [u8]) -> Result<()> {
            bytes.fill(self.0.len().to_le_bytes()[0]);
            Ok(())
        }

        fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
            ensure!(address < 0x1000, "no memory");
            self.0.push((address, bytes.to_vec()));
            Ok(())
        }
    }

    #[test]
    fn neighbouring_writes_reach_the_machine_together_and_before_any_read() {
        let mut machine = Written::default();
        let mut memory = Gathered { machine: &mut machine, start: 0, bytes: Vec::new() };
        for (address, byte) in [(0x100, 1), (0x102, 2), (0x200, 3)] {
            memory.write(address, &[byte; 2]).unwrap();
        }
        let mut read = [0];
        memory.read(0x200, &mut read).unwrap();
        assert_eq!(read, [2], "writes before it");
        assert_eq!(machine.0, [(0x100, vec![1, 1, 2, 2]), (0x200, vec![3, 3])]);
    }

    #[test]
    fn a_write_to_where_no_memory_is_is_told() {
        let mut machine = Written::default();
        let mut memory = Gathered { machine: &mut machine, start: 0, bytes: Vec::new() };
        memory.write(0x2000, &[1]).unwrap();
        assert_eq!(memory.flush(), Err(BusError));
    }

    #[test]
    fn an_access_of_another_width_breaks_a_rule_and_does_nothing() {
        let slot = BOARD.cards.iter().find(|slot| slot.kind == CardKind::Emmc).unwrap();
        let rules = Rules::default();
        let controller = Controller::new(None, rules.clone());
        let mut window = Window {
            slot,
            controller,
            swap: None,
            commands: Arc::default(),
            skipped: Duration::ZERO,
            rules: rules.clone(),
        };
        let mut machine = Written::default();
        window.write(0x28, Width::Half, 0xffff, &mut machine);
        assert_eq!(window.read(0x28, Width::Byte, &mut machine), 0);
        assert_eq!(rules.list().len(), 2);
        assert_eq!(window.read(0x28, Width::Word, &mut machine), 0x0880_0020, "as after power-up");
    }
}
