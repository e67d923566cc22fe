//! QEMU's GDB port as a bus: devices that QEMU lacks, answered from the host.
//!
//! QEMU reads zeros where it has no device. An access watchpoint over such a region stops it
//! *before* each access; the client then decodes the load or store at the program counter, asks
//! its own model, writes the loaded register and continues behind the instruction. Neither QEMU nor
//! the binary under test is changed. Watchpoints count in virtual addresses, so this serves
//! firmware that maps devices where they are, and ends with Linux, which does not.

pub mod decode;
pub mod gpc;
mod rsp;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use decode::{Access, Base, Offset, Width};
use rsp::{Client, Registers, Stop};

/// Long enough for QEMU to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The machine around a device, which stands still while the device answers.
pub trait Machine {
    /// How long it has run, without the time in which it stood still: never less than what has
    /// passed for its own clocks.
    fn now(&self) -> Duration;
    /// Reads memory at a physical address, as a bus master does.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Writes memory at a physical address, as a bus master does.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()>;
}

/// A device that stands in for one that QEMU lacks.
pub trait Device: Send {
    /// What a load of `width` bytes at `offset` from the region's start sees.
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn Machine) -> u64;
    /// What a store does.
    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn Machine);
}

/// A region of addresses with the device behind it.
struct Region {
    start: u64,
    length: u64,
    device: Box<dyn Device>,
}

/// The devices that stand beside QEMU's own.
#[derive(Default)]
pub struct Bus {
    regions: Vec<Region>,
}

impl Bus {
    /// What BL31 needs of an i.MX 8M Plus and QEMU lacks.
    pub fn imx8mp() -> Self {
        Self::default().with(gpc::BASE, gpc::LENGTH, gpc::Gpc::default())
    }

    /// With a device at `start`, `length` bytes long.
    #[must_use]
    pub fn with(mut self, start: u64, length: u64, device: impl Device + 'static) -> Self {
        self.regions.push(Region { start, length, device: Box::new(device) });
        self
    }

    fn device(&mut self, address: u64) -> Result<(&mut (dyn Device + 'static), u64)> {
        self.regions
            .iter_mut()
            .find_map(|region| {
                let offset = address.checked_sub(region.start)?;
                (offset < region.length).then_some((region.device.as_mut(), offset))
            })
            .with_context(|| format!("no device model at {address:#x}"))
    }
}

/// How far a machine is accompanied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until this address is about to be executed.
    Executes(u64),
    /// As long as there is firmware. A watched address that is accessed below EL2 is some other
    /// program's virtual one.
    Linux,
}

/// Lets the machine behind the GDB port at `socket` run with the bus's devices as far as `until`
/// says, then lets it run alone at full speed.
pub fn serve(socket: &Path, mut bus: Bus, until: Until) -> Result<()> {
    let mut machine = Client::connect(socket, PATIENCE)?;
    for region in &bus.regions {
        machine.watch(region.start, region.length)?;
    }
    if let Until::Executes(address) = until {
        machine.set_breakpoint(address)?;
    }
    loop {
        match machine.resume()? {
            Stop::Watchpoint(_) => {
                if !answer(&mut machine, &mut bus)? {
                    break;
                }
            }
            Stop::Breakpoint => break,
            // It powered off, was reset by a watchdog for good, or was ended by its user.
            Stop::Gone => return Ok(()),
        }
    }
    if let Until::Executes(address) = until {
        machine.clear_breakpoint(address)?;
    }
    for region in &bus.regions {
        machine.unwatch(region.start, region.length)?;
    }
    machine.detach()
}

/// Does what the stopped instruction would have done, and steps over it; or finds that it is not
/// the firmware's.
fn answer(machine: &mut Client, bus: &mut Bus) -> Result<bool> {
    let mut registers = machine.registers()?;
    if registers.exception_level() < 2 {
        return Ok(false);
    }
    let at = registers.pc;
    let word = machine.instruction(at)?;
    execute(word, &mut registers, bus, machine)
        .with_context(|| format!("cannot stand in for the instruction {word:#010x} at {at:#x}"))?;
    registers.pc = at.wrapping_add(4);
    machine.set_registers(&registers)?;
    Ok(true)
}

fn execute(
    word: u32,
    registers: &mut Registers,
    bus: &mut Bus,
    machine: &mut dyn Machine,
) -> Result<()> {
    let access = decode::decode(word)?;
    let base = match access.base {
        Base::Register(number) => registers.general(number),
        Base::StackPointer => registers.sp,
    };
    let moved = match access.offset {
        Offset::Immediate(bytes) => base.wrapping_add_signed(bytes),
        Offset::Register(index) => base.wrapping_add(index.value(registers.general(index.number))),
    };
    let start = if access.post_index { base } else { moved };
    transfer(registers, bus, machine, &access, start)?;
    if access.write_back {
        match access.base {
            Base::Register(number) => registers.set_general(number, moved),
            Base::StackPointer => registers.sp = moved,
        }
    }
    Ok(())
}

fn transfer(
    registers: &mut Registers,
    bus: &mut Bus,
    machine: &mut dyn Machine,
    access: &Access,
    start: u64,
) -> Result<()> {
    let bytes = access.width.bytes();
    ensure!(start.is_multiple_of(bytes), "unaligned access to a device at {start:#x}");
    for (index, &register) in access.registers.iter().flatten().enumerate() {
        let address = start.wrapping_add(index as u64 * bytes);
        let (device, offset) = bus.device(address)?;
        if access.load {
            let value = access.extend(device.read(offset, access.width, machine));
            registers.set_general(register, value);
        } else {
            let value = registers.general(register) & access.width.mask();
            device.write(offset, access.width, value, machine);
        }
    }
    Ok(())
}

/// Around a device that needs nothing of it.
#[cfg(test)]
pub(crate) struct NoMachine;

#[cfg(test)]
impl Machine for NoMachine {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn read(&mut self, address: u64, _: &mut [u8]) -> Result<()> {
        anyhow::bail!("no memory at {address:#x}")
    }

    fn write(&mut self, address: u64, _: &[u8]) -> Result<()> {
        anyhow::bail!("no memory at {address:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as the offset in its low byte, and keeps what was written last.
    #[derive(Clone, Default)]
    struct Probe(std::sync::Arc<std::sync::Mutex<Vec<(u64, u64)>>>);

    impl Device for Probe {
        fn read(&mut self, offset: u64, _: Width, _: &mut dyn Machine) -> u64 {
            0x1234_5600 | offset
        }

        fn write(&mut self, offset: u64, _: Width, value: u64, _: &mut dyn Machine) {
            self.0.lock().unwrap().push((offset, value));
        }
    }

    const DEVICE: u64 = 0x3000_0000;

    /// Executes `word` with x1 at the device's start plus 0x10, and x2 and x3 told apart.
    fn run(word: u32) -> (Result<()>, Registers, Vec<(u64, u64)>) {
        let probe = Probe::default();
        let mut bus = Bus::default().with(DEVICE, 0x100, probe.clone());
        let mut registers = Registers::default();
        for (number, value) in [(1, DEVICE + 0x10), (2, 0xaaaa_bbbb_cccc_dddd), (3, 3)] {
            registers.set_general(number, value);
        }
        let outcome = execute(word, &mut registers, &mut bus, &mut NoMachine);
        let written = probe.0.lock().unwrap().clone();
        (outcome, registers, written)
    }

    #[test]
    fn a_load_changes_its_register_and_nothing_else() {
        // ldr w0, [x1, #4]
        let (outcome, registers, written) = run(0xb940_0420);
        outcome.unwrap();
        assert_eq!(registers.general(0), 0x1234_5614);
        assert_eq!(registers.general(1), DEVICE + 0x10);
        assert!(written.is_empty());
    }

    #[test]
    fn a_store_carries_as_many_bits_as_it_is_wide() {
        // strh w2, [x1]
        assert_eq!(run(0x7900_0022).2, [(0x10, 0xdddd)]);
        // str wzr, [x1]
        assert_eq!(run(0xb900_003f).2, [(0x10, 0)]);
    }

    #[test]
    fn post_index_accesses_first_and_pre_index_moves_first() {
        // str w3, [x1], #4
        let (_, registers, written) = run(0xb800_4423);
        assert_eq!((written, registers.general(1)), (vec![(0x10, 3)], DEVICE + 0x14));
        // str w3, [x1, #4]!
        let (_, registers, written) = run(0xb800_4c23);
        assert_eq!((written, registers.general(1)), (vec![(0x14, 3)], DEVICE + 0x14));
    }

    #[test]
    fn a_pair_is_two_accesses() {
        // stp w3, w2, [x1]
        assert_eq!(run(0x2900_0823).2, [(0x10, 3), (0x14, 0xcccc_dddd)]);
    }

    #[test]
    fn an_access_beside_the_models_or_unaligned_is_an_error() {
        // ldr w0, [x1, #0xf0] is behind the region; ldur w0, [x1, #1] is unaligned.
        for word in [0xb940_f020, 0xb840_1020] {
            assert!(run(word).0.is_err(), "{word:#x}");
        }
    }
}
