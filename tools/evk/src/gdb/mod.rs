//! QEMU's GDB port as a bus: devices that QEMU lacks, answered from the host.
//!
//! QEMU reads zeros where it has no device. An access watchpoint over such a region stops it
//! *before* each access; the client then decodes the load or store at the program counter, asks
//! its own model, writes the loaded register and continues behind the instruction. Neither QEMU nor
//! the binary under test is changed. Watchpoints count in virtual addresses, so this serves
//! firmware that maps devices where they are, and ends before Linux.

pub mod decode;
pub mod gpc;
mod rsp;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use decode::{Access, Base, Offset, Width};
use rsp::{Client, Stop};

/// Long enough for QEMU to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device that stands in for one that QEMU lacks.
pub trait Device: Send {
    /// What a load of `width` bytes at `offset` from the region's start sees.
    fn read(&mut self, offset: u64, width: Width) -> u64;
    /// What a store does.
    fn write(&mut self, offset: u64, width: Width, value: u64);
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

/// Lets the machine behind the GDB port at `socket` run with the bus's devices until `address` is
/// about to be executed, then lets it run alone at full speed.
pub fn serve_until(socket: &Path, mut bus: Bus, address: u64) -> Result<()> {
    let mut machine = Client::connect(socket, PATIENCE)?;
    for region in &bus.regions {
        machine.watch(region.start, region.length)?;
    }
    machine.set_breakpoint(address)?;
    loop {
        match machine.resume()? {
            Stop::Watchpoint(_) => serve(&mut machine, &mut bus)?,
            Stop::Breakpoint => break,
            // It powered off, was reset by a watchdog for good, or was ended by its user.
            Stop::Gone => return Ok(()),
        }
    }
    machine.clear_breakpoint(address)?;
    for region in &bus.regions {
        machine.unwatch(region.start, region.length)?;
    }
    machine.detach()
}

/// Does what the stopped instruction would have done, and steps over it.
fn serve(machine: &mut Client, bus: &mut Bus) -> Result<()> {
    let mut registers = machine.registers()?;
    let word = machine.instruction(registers.pc)?;
    let at = registers.pc;
    let access = decode::decode(word)
        .with_context(|| format!("cannot stand in for the instruction {word:#010x} at {at:#x}"))?;
    let base = match access.base {
        Base::Register(number) => registers.general(number),
        Base::StackPointer => registers.sp,
    };
    let moved = match access.offset {
        Offset::Immediate(bytes) => base.wrapping_add_signed(bytes),
        Offset::Register(index) => base.wrapping_add(index.value(registers.general(index.number))),
    };
    let start = if access.post_index { base } else { moved };
    transfer(&mut registers, bus, &access, start)?;
    if access.write_back {
        match access.base {
            Base::Register(number) => registers.set_general(number, moved),
            Base::StackPointer => registers.sp = moved,
        }
    }
    registers.pc = at.wrapping_add(4);
    machine.set_registers(&registers)
}

fn transfer(
    registers: &mut rsp::Registers,
    bus: &mut Bus,
    access: &Access,
    start: u64,
) -> Result<()> {
    let bytes = access.width.bytes();
    ensure!(start.is_multiple_of(bytes), "unaligned access to a device at {start:#x}");
    for (index, &register) in access.registers.iter().flatten().enumerate() {
        let address = start.wrapping_add(index as u64 * bytes);
        let (device, offset) = bus.device(address)?;
        if access.load {
            let value = access.extend(device.read(offset, access.width));
            registers.set_general(register, value);
        } else {
            let value = registers.general(register) & access.width.mask();
            device.write(offset, access.width, value);
        }
    }
    if access.registers.iter().flatten().next().is_none() {
        bail!("an access without registers");
    }
    Ok(())
}
