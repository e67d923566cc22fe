//! Standing in for a load or store: what the stopped instruction would have done, done with a model.

use anyhow::{Result, bail, ensure};

use super::{
    Bus, Machine,
    decode::{self, Access, Base, Offset},
    rsp::Registers,
};
use crate::access::Width;

/// An access that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) load: bool,
    pub(super) address: u64,
    pub(super) width: Width,
    /// What was stored, or what the device answered.
    pub(super) value: u64,
}

/// Does with `bus` what the instruction `word` would do, and tells of each access in `seen`.
pub(super) fn execute(
    word: u32,
    registers: &mut Registers,
    bus: &mut Bus,
    machine: &mut dyn Machine,
    seen: &mut impl FnMut(Seen),
) -> Result<()> {
    let access = decode::decode(word)?;
    let base = match access.base {
        Base::Register(number) => registers.general(number),
        Base::StackPointer => registers.sp(),
    };
    let moved = match access.offset {
        Offset::Immediate(bytes) => base.wrapping_add_signed(bytes),
        Offset::Register(index) => base.wrapping_add(index.value(registers.general(index.number))),
    };
    let start = if access.post_index { base } else { moved };
    transfer(registers, bus, machine, &access, start, seen)?;
    if access.write_back {
        match access.base {
            Base::Register(number) => registers.set_general(number, moved),
            Base::StackPointer => registers.set_sp(moved),
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
    seen: &mut impl FnMut(Seen),
) -> Result<()> {
    let (width, bytes) = (access.width, access.width.bytes());
    ensure!(start.is_multiple_of(bytes), "unaligned access to a device at {start:#x}");
    for (index, &register) in access.registers.iter().flatten().enumerate() {
        let address = start.wrapping_add(index as u64 * bytes);
        let (device, offset) = bus.device(address)?;
        let value = if access.load {
            let value = device.read(offset, width, machine);
            registers.set_general(register, access.extend(value));
            value
        } else {
            let value = registers.general(register) & width.mask();
            device.write(offset, width, value, machine);
            value
        };
        if let Some(refusal) = device.refusal() {
            bail!(refusal);
        }
        seen(Seen { load: access.load, address, width, value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::{Device, NoMachine};

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
        let outcome = execute(word, &mut registers, &mut bus, &mut NoMachine, &mut |_| {});
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
