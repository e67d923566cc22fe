//! The General Power Controller, as far as TF-A's BL31 needs it.
//!
//! Source: i.MX 8M Plus Reference Manual, chapter "General Power Controller (GPC)"; which registers
//! BL31 waits for was found by running it.

use super::{Device, Machine};
use crate::access::Width;

/// Where it is.
pub const BASE: u64 = 0x303a_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

/// Power handshake: acknowledgements of the domains, here always given.
const POWER_HANDSHAKE: u64 = 0x190;
/// Requests to power something up or down, which clear themselves when it is done.
const REQUESTS: [u64; 6] = [0xd0, 0xd8, 0xdc, 0xe4, 0xf8, 0xfc];

/// A GPC in which everything happens at once.
#[derive(Debug)]
pub struct Gpc {
    words: Vec<u32>,
}

impl Default for Gpc {
    fn default() -> Self {
        Self { words: vec![0; index(LENGTH)] }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset / 4).unwrap_or(usize::MAX)
}

impl Device for Gpc {
    fn read(&mut self, offset: u64, width: Width, _: &mut dyn Machine) -> u64 {
        let stored = self.words.get(index(offset)).copied().unwrap_or(0);
        let word = match offset & !3 {
            POWER_HANDSHAKE => u32::MAX,
            request if REQUESTS.contains(&request) => 0,
            _ => stored,
        };
        u64::from(word) >> (8 * (offset % 4)) & width.mask()
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut dyn Machine) {
        // Registers of 32 bits: BL31 writes them whole.
        if width != Width::Word {
            return;
        }
        if let (Some(word), Ok(value)) = (self.words.get_mut(index(offset)), u32::try_from(value)) {
            *word = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::NoMachine, *};

    #[test]
    fn stores_are_kept_requests_clear_themselves_and_handshakes_are_given() {
        let mut gpc = Gpc::default();
        for offset in [0x10, 0xd8, 0x190] {
            gpc.write(offset, Width::Word, 0x1234_5678, &mut NoMachine);
        }
        assert_eq!(gpc.read(0x10, Width::Word, &mut NoMachine), 0x1234_5678);
        assert_eq!(gpc.read(0x11, Width::Byte, &mut NoMachine), 0x56);
        assert_eq!(gpc.read(0xd8, Width::Word, &mut NoMachine), 0);
        assert_eq!(gpc.read(0x190, Width::Word, &mut NoMachine), 0xffff_ffff);
    }
}
