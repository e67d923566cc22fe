//! UART2 whose transmitter stops: its FIFO fills, and nothing leaves it.
//!
//! What the processor would have sent is kept, so that a test sees who spoke, and that it went on.
//!
//! Source: i.MX 8M Plus reference manual, "Universal Asynchronous Receiver/Transmitter (UART)".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    access::Width,
    gdb::{Bus, Device, Machine},
};

/// UART2, the console.
const BASE: u64 = 0x3089_0000;
const LENGTH: u64 = 0x1_0000;
const UTXD: u64 = 0x40;
const UCR2: u64 = 0x84;
const USR2: u64 = 0x98;
const UTS: u64 = 0xb4;
const UCR2_NOT_RESET: u32 = 1 << 0;
const UTS_TX_FULL: u32 = 1 << 4;
const UTS_RX_EMPTY: u32 = 1 << 5;
/// Characters in a FIFO.
const FIFO: usize = 32;

/// A line that takes no characters, and those that were sent into it all the same.
#[derive(Clone, Debug, Default)]
pub struct StuckLine(Arc<Mutex<Vec<u8>>>);

impl StuckLine {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // Each change is a single push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written to a FIFO that had no room.
    pub fn lost(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }
}

/// Puts the UART on `bus`, in front of QEMU's.
#[must_use]
pub(crate) fn attach(bus: Bus, line: &StuckLine) -> Bus {
    bus.with_staying(BASE, LENGTH, Uart { line: line.clone(), filled: 0, registers: Vec::new() })
}

struct Uart {
    line: StuckLine,
    filled: usize,
    /// What was written last, by offset.
    registers: Vec<(u64, u32)>,
}

impl Device for Uart {
    fn read(&mut self, offset: u64, _: Width, _: &mut dyn Machine) -> u64 {
        let written = self.registers.iter().find(|(at, _)| *at == offset);
        let value = written.map_or(0, |(_, value)| *value);
        u64::from(match offset {
            // A reset of the UART takes no time.
            UCR2 => value | UCR2_NOT_RESET,
            UTS if self.filled >= FIFO => UTS_TX_FULL | UTS_RX_EMPTY,
            UTS => UTS_RX_EMPTY,
            // Never done.
            USR2 => 0,
            _ => value,
        })
    }

    fn write(&mut self, offset: u64, _: Width, value: u64, _: &mut dyn Machine) {
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
        match offset {
            UTXD if self.filled < FIFO => self.filled += 1,
            UTXD => self.line.lock().push(value.to_le_bytes()[0]),
            UCR2 if value & UCR2_NOT_RESET == 0 => self.filled = 0,
            _ => {
                self.registers.retain(|(at, _)| *at != offset);
                self.registers.push((offset, value));
            }
        }
    }
}
