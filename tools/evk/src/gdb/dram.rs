//! DRAM that is not there until it has been trained, and DRAM with a broken line.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};

use super::{Device, Machine};
use crate::access::Width;
use crate::models::ddr::Model;

/// Where DRAM is.
pub(super) const BASE: u64 = 0x4000_0000;
/// Both banks of the board, 6 GiB.
pub(super) const LENGTH: u64 = 0x1_8000_0000;

/// A line between processor and DRAM that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLine {
    /// This bit of each 32-bit word reads 0.
    Data(u32),
    /// This bit of addresses makes no difference.
    Address(u32),
}

/// What stands in front of QEMU's memory.
pub(super) struct Dram {
    model: Arc<Mutex<Model>>,
    dead: Option<DeadLine>,
    refusal: Option<String>,
}

impl Dram {
    pub(super) fn new(model: Arc<Mutex<Model>>, dead: Option<DeadLine>) -> Self {
        Self { model, dead, refusal: None }
    }

    fn is_online(&self) -> bool {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).is_online()
    }

    /// Where the cell at `offset` is.
    fn cell(&self, offset: u64) -> u64 {
        match self.dead {
            Some(DeadLine::Address(bit)) => BASE + (offset & !(1 << bit)),
            _ => BASE + offset,
        }
    }

    /// Looks at or changes the cell at `offset`, if there is one.
    fn access(&mut self, offset: u64, what: &str, access: impl FnOnce(u64) -> Result<()>) {
        let outcome = match self.is_online() {
            true => access(self.cell(offset)),
            false => Err(anyhow!("it is not trained")),
        };
        if let Err(error) = outcome {
            self.refusal = Some(format!("DRAM at {:#x} is {what}: {error:#}", BASE + offset));
        }
    }
}

impl Device for Dram {
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn Machine) -> u64 {
        let mut bytes = [0; 8];
        let count = width.size();
        self.access(offset, "read", |cell| machine.read(cell, &mut bytes[..count]));
        let lost = match self.dead {
            Some(DeadLine::Data(bit)) => 1 << bit | 1 << (bit + 32),
            _ => 0,
        };
        u64::from_le_bytes(bytes) & !lost
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn Machine) {
        let count = width.size();
        self.access(offset, "written", |cell| machine.write(cell, &value.to_le_bytes()[..count]));
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    fn is_done(&self) -> bool {
        self.dead.is_none() && self.is_online()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::models::ddr::Fault;

    #[derive(Default)]
    struct Cells(BTreeMap<u64, u8>);

    impl Machine for Cells {
        fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<()> {
            for (byte, at) in buffer.iter_mut().zip(address..) {
                *byte = self.0.get(&at).copied().unwrap_or(0);
            }
            Ok(())
        }

        fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
            self.0.extend((address..).zip(bytes.iter().copied()));
            Ok(())
        }

        fn now(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn untrained(dead: Option<DeadLine>) -> Dram {
        Dram::new(Arc::new(Mutex::new(Model::new(&[Fault::NoNormalMode]))), dead)
    }

    #[test]
    fn an_access_before_training_is_refused_with_its_address() {
        let mut dram = untrained(None);
        dram.read(0x20_0000, Width::Word, &mut Cells::default());
        let refusal = dram.refusal().unwrap();
        assert!(refusal.contains("0x40200000 is read: it is not trained"), "{refusal}");
        dram.write(0, Width::Word, 1, &mut Cells::default());
        assert!(dram.refusal().is_some() && dram.refusal().is_none());
        assert!(!dram.is_done());
    }

    #[test]
    fn a_dead_address_line_makes_two_addresses_one() {
        let dram = untrained(Some(DeadLine::Address(20)));
        assert_eq!(dram.cell(0x10_0008), dram.cell(8));
        assert_ne!(dram.cell(0x20_0008), dram.cell(8));
    }
}
