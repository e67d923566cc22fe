//! ADMA2: the descriptor table, as the controller fetches it.

use super::{controller::Memory, rules::Rules};

/// Attribute bits of a descriptor.
const VALID: u16 = 1 << 0;
const END: u16 = 1 << 1;
const ACTION: u16 = 0b11 << 4;
const TRANSFER: u16 = 0b10 << 4;
const LINK: u16 = 0b11 << 4;
/// More descriptors than any driver has use for: a table without an end.
const MOST: usize = 1 << 16;

/// A piece of memory that takes part in a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) address: u32,
    pub(super) length: usize,
}

/// Fetches the table at `address`; `None` where the controller would report an error.
pub(super) fn fetch(memory: &mut dyn Memory, address: u32, rules: &Rules) -> Option<Vec<Piece>> {
    rules.require(address.is_multiple_of(4), || format!("descriptor table at {address:#x}"));
    let mut pieces = Vec::new();
    let mut next = address;
    for _ in 0..MOST {
        let mut bytes = [0; 8];
        memory.read(next, &mut bytes).ok()?;
        let [a, b, c, d, address @ ..] = bytes;
        let attributes = u16::from_le_bytes([a, b]);
        let length = u16::from_le_bytes([c, d]);
        let address = u32::from_le_bytes(address);
        if attributes & VALID == 0 {
            rules.broken(format!("descriptor at {next:#x} is not valid"));
            return None;
        }
        next = next.wrapping_add(8);
        match attributes & ACTION {
            TRANSFER => {
                rules.require(length != 0, || "descriptor of length 0".into());
                rules.require(length.is_multiple_of(4) && address.is_multiple_of(4), || {
                    format!("descriptor for {length} bytes at {address:#x}")
                });
                pieces.push(Piece { address, length: usize::from(length) });
            }
            LINK => next = address,
            _ => {}
        }
        if attributes & END != 0 {
            rules.require(attributes & ACTION == TRANSFER, || {
                "end marked on a descriptor that moves nothing".into()
            });
            return Some(pieces);
        }
    }
    rules.broken("descriptor table without an end");
    None
}
