//! The machine at the GDB port, from its reset on: who answers when it stops.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Bus, Region,
    access::{Seen, execute},
    core::OneCore,
    hardware::Board,
    rom,
    rsp::{Client, Registers, Stop},
    src::Cause,
};
use crate::{access, models::boot_rom::BootRom};

/// Long enough for QEMU to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where BL31 enters the second stage. Source: TF-A, plat/imx/imx8m/imx8mp.
pub(crate) const SECOND_STAGE: u64 = 0x4020_0000;

/// Linux runs below.
const FIRMWARE_LEVEL: u8 = 2;

/// What is answered at the port.
pub(crate) enum Setup {
    /// These devices; QEMU itself loads what runs.
    Devices(Bus),
    /// A whole board, from its boot ROM on, at each reset again.
    Board(Box<Board>),
}

/// Runs the machine behind the GDB port at `socket`, as long as there is something to answer. `emulator`
/// is its process.
pub(crate) fn serve(socket: &Path, emulator: u32, setup: Setup, witness: &Witness) -> Result<()> {
    let machine = Client::connect(socket, PATIENCE)?;
    let (bus, board) = match setup {
        Setup::Devices(bus) => (bus, None),
        Setup::Board(board) => (Bus::default(), Some(board)),
    };
    let mut port = Port {
        machine,
        emulator,
        core: None,
        bus,
        board,
        rom: None,
        witness,
        instructions: HashMap::new(),
        resets: 0,
    };
    let outcome = port.run();
    if outcome.is_err() {
        // Nobody answers it any more.
        port.machine.kill();
    }
    outcome
}

/// What was seen at the GDB port of a board that runs.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    events: Vec<String>,
    broken_rules: Vec<String>,
    stores: Vec<Store>,
    accesses: usize,
}

/// A store of the firmware to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where the instruction is.
    pub pc: u64,
    /// What it does.
    pub access: access::Store,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.access.fmt(f)
    }
}

impl Witness {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // Each change is a single push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: impl Into<String>) {
        self.lock().events.push(event.into());
    }

    fn see(&self, pc: u64, seen: Seen) {
        let mut heard = self.lock();
        heard.accesses += 1;
        if !seen.load {
            let Seen { address, width, value, .. } = seen;
            heard.stores.push(Store { pc, access: access::Store { width, address, value } });
        }
    }

    /// What the first stage did that devices or the boot ROM do not stand, up to the last reset or
    /// the second stage.
    pub fn broken_rules(&self) -> Vec<String> {
        self.lock().broken_rules.clone()
    }

    /// What the boot ROM did, and which stages were reached.
    pub fn events(&self) -> Vec<String> {
        self.lock().events.clone()
    }

    /// All stores to devices that were answered for here, up to the second stage.
    pub fn stores(&self) -> Vec<Store> {
        self.lock().stores.clone()
    }

    /// How many accesses there were to such devices.
    pub fn accesses(&self) -> usize {
        self.lock().accesses
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("events", &self.lock().events).finish_non_exhaustive()
    }
}

/// Where the machine goes on, and with which registers.
type Resumption = (u64, Registers);

struct Port<'a> {
    machine: Client,
    emulator: u32,
    /// While there is something to answer.
    core: Option<OneCore>,
    bus: Bus,
    board: Option<Box<Board>>,
    /// Since the last reset.
    rom: Option<BootRom>,
    witness: &'a Witness,
    /// Instructions that were met: they are read once.
    instructions: HashMap<u64, u32>,
    resets: usize,
}

impl Port<'_> {
    fn run(&mut self) -> Result<()> {
        let mut next = if self.board.is_some() {
            rom::BREAKPOINTS.into_iter().try_for_each(|at| self.machine.set_breakpoint(at))?;
            Some(self.start_over()?)
        } else {
            self.watch()?;
            let registers = self.machine.registers()?;
            Some((registers.pc(), registers))
        };
        while let Some((at, registers)) = &next {
            next = match self.machine.resume_at(*at, registers)? {
                Stop::Watchpoint(_) => self.access()?,
                Stop::Breakpoint => self.reached()?,
                // It powered off, or was ended by its user.
                Stop::Gone => return Ok(()),
            };
        }
        self.machine.detach()
    }

    /// Watches all devices of the bus, and waits for the second stage.
    fn watch(&mut self) -> Result<()> {
        for region in &self.bus.regions {
            self.machine.watch(region.start, region.length)?;
        }
        if self.core.is_none() {
            self.core = OneCore::of(self.emulator);
        }
        self.machine.set_breakpoint(SECOND_STAGE)
    }

    /// Takes devices off the bus.
    fn remove(&mut self, gone: impl Fn(&Region) -> bool) -> Result<()> {
        for region in self.bus.regions.extract_if(.., |region| gone(region)) {
            self.machine.unwatch(region.start, region.length)?;
        }
        if self.bus.regions.is_empty() {
            self.core = None;
        }
        Ok(())
    }

    /// A reset: devices as they are when power comes, and the boot ROM's work.
    fn start_over(&mut self) -> Result<Resumption> {
        self.note_broken_rules();
        let board = self.board.as_mut().context("a reset, and no boot ROM")?;
        let cause = if self.resets == 0 { Cause::PowerOn } else { board.cause_of_reset() };
        self.resets += 1;
        self.instructions.clear();
        let mut registers = self.machine.registers()?;
        let rom = board.rom()?;
        let entry = rom::start(&rom, &mut self.machine, &mut registers, self.witness)?;
        let bus = rom::attach(board.reset(cause)?, &rom, !board.hardware.no_rom_records);
        self.rom = Some(rom);
        self.remove(|_| true)?;
        self.bus = bus;
        self.watch()?;
        Ok((entry, registers))
    }

    /// Asks the devices what the firmware did wrong since the last reset.
    fn note_broken_rules(&self) {
        let broken = self.board.as_ref().map(|board| board.broken_rules());
        let rom = self.rom.as_ref().map(BootRom::broken_rules);
        self.witness.lock().broken_rules.extend([broken, rom].into_iter().flatten().flatten());
    }

    /// Does what the stopped instruction would have done, and steps over it.
    fn access(&mut self) -> Result<Option<Resumption>> {
        let mut registers = self.machine.registers()?;
        let at = registers.pc();
        if registers.exception_level() < FIRMWARE_LEVEL {
            // Some other program's virtual address: there is no firmware any more.
            self.remove(|_| true)?;
            return Ok(self.board.is_some().then_some((at, registers)));
        }
        let word = match self.instructions.get(&at) {
            Some(word) => *word,
            None => {
                let word = self.machine.instruction(at)?;
                self.instructions.insert(at, word);
                word
            }
        };
        let seen = &mut |seen| self.witness.see(at, seen);
        execute(word, &mut registers, &mut self.bus, &mut self.machine, seen).with_context(
            || format!("cannot stand in for the instruction {word:#010x} at {at:#x}"),
        )?;
        if self.bus.regions.iter().any(|region| region.device.is_done()) {
            self.remove(|region| region.device.is_done())?;
        }
        Ok(Some((at.wrapping_add(4), registers)))
    }

    /// A breakpoint: the reset vector, the boot ROM's services, or the second stage.
    fn reached(&mut self) -> Result<Option<Resumption>> {
        let mut registers = self.machine.registers()?;
        match registers.pc() {
            SECOND_STAGE => {
                self.machine.clear_breakpoint(SECOND_STAGE)?;
                self.note_broken_rules();
                self.witness.tell("the second stage is entered");
                self.remove(|region| !region.stays)?;
                let needed = self.board.is_some() || !self.bus.regions.is_empty();
                Ok(needed.then_some((SECOND_STAGE, registers)))
            }
            rom::RESET => self.start_over().map(Some),
            service => {
                // What it loads may be firmware.
                self.instructions.clear();
                let rom = self.rom.as_ref().with_context(|| format!("stopped at {service:#x}"))?;
                let (machine, bus) = (&mut self.machine, &mut self.bus);
                let back = rom::call(rom, service, machine, &mut registers, bus)?;
                Ok(Some((back, registers)))
            }
        }
    }
}
