//! QEMU's own devices with somebody looking on: each access goes by way of here and is seen.

use anyhow::Result;

use super::{Bus, Device, Machine};
use crate::access::Width;

/// Where there are registers: AIPS-1 to AIPS-3 and the filter in front of DRAM. Source: i.MX 8M Plus
/// reference manual, memory map.
const REGIONS: [(u64, u64); 2] = [(0x3000_0000, 0x0100_0000), (0x32f8_0000, 0x1_0000)];

/// Puts all of them on `bus`, behind what is modelled.
pub(super) fn attach(bus: Bus) -> Bus {
    REGIONS
        .into_iter()
        .fold(bus, |bus, (start, length)| bus.with(start, length, Through { start, refusal: None }))
}

struct Through {
    start: u64,
    refusal: Option<String>,
}

impl Through {
    fn keep(&mut self, outcome: Result<()>) {
        self.refusal = outcome.err().map(|error| format!("QEMU: {error:#}"));
    }
}

impl Device for Through {
    fn read(&mut self, offset: u64, width: Width, machine: &mut dyn Machine) -> u64 {
        let mut bytes = [0; 8];
        let outcome = machine.read(self.start + offset, &mut bytes[..width.size()]);
        self.keep(outcome);
        u64::from_le_bytes(bytes)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn Machine) {
        let bytes = value.to_le_bytes();
        let outcome = machine.write(self.start + offset, &bytes[..width.size()]);
        self.keep(outcome);
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }
}
