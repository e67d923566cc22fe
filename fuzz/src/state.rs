//! The state record's bytes, made and taken apart as `docs/state-record.md` says, without the code
//! that is tested.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::input::Input;

/// Bytes of a copy.
pub const SIZE: usize = 4096;

const HEADER: usize = 32;
const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// What `parts` says a place on the card holds: nothing, anything, or a copy whose checksum holds.
pub fn place(parts: &mut Input<'_>, name: impl Fn(u8) -> String) -> Vec<u8> {
    match parts.byte() % 8 {
        0 => vec![0; SIZE],
        1 => vec![0xff; SIZE],
        2 => {
            let size = usize::from(parts.u16());
            parts.take(size).to_vec()
        }
        3 => {
            let size = usize::from(parts.u16());
            let sequence = sequence(parts.byte());
            copy(sequence, parts.u16(), parts.take(size))
        }
        _ => {
            let sequence = sequence(parts.byte());
            copy(sequence, 1, &entries(parts, name))
        }
    }
}

/// One near to where the numbers wrap around.
fn sequence(byte: u8) -> u64 {
    u64::from(byte).wrapping_sub(128)
}

/// Entries that are mostly what they should be.
fn entries(parts: &mut Input<'_>, name: impl Fn(u8) -> String) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..parts.byte() % 24 {
        let tag = u16::from(parts.byte() % 12);
        let mut value = match tag {
            3 => parts.take(1).to_vec(),
            4 => parts.take(2).to_vec(),
            6 => vec![parts.byte() % 3, parts.byte(), parts.byte()],
            _ => Vec::new(),
        };
        let identity = name(parts.byte());
        match tag {
            1 | 2 | 3 | 5 | 6 => value.extend(identity.as_bytes()),
            4 => {
                value.push(identity.len().min(255) as u8);
                value.extend(identity.as_bytes());
                value.extend(parts.text().as_bytes());
            }
            _ => {
                let size = usize::from(parts.byte());
                value.extend(parts.take(size).repeat(if tag == 7 { 8 } else { 1 }));
            }
        }
        entries.extend(tag.to_le_bytes());
        entries.extend((value.len() as u16).to_le_bytes());
        entries.extend(value);
        entries.resize(entries.len().next_multiple_of(4), 0);
    }
    entries
}

/// A copy with these entries, and a checksum that matches.
pub fn copy(sequence: u64, version: u16, entries: &[u8]) -> Vec<u8> {
    let entries = &entries[..entries.len().min(SIZE - HEADER)];
    let mut bytes = b"FIRNSTAT".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((HEADER as u16).to_le_bytes());
    bytes.extend(((HEADER + entries.len()) as u16).to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(entries);
    bytes.resize(SIZE, 0);
    let sum = [&bytes[..0x18], &bytes[0x1c..]].concat();
    bytes[0x18..0x1c].copy_from_slice(&CRC.checksum(&sum).to_le_bytes());
    bytes
}

/// The entries of a copy that counts: tag and value.
pub fn take_apart(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (mut at, end) = (usize::from(number(0x0a)), usize::from(number(0x0c)));
    let mut entries = Vec::new();
    while at < end {
        let size = usize::from(number(at + 2));
        entries.push((number(at), &bytes[at + 4..at + 4 + size]));
        at = (at + 4 + size).next_multiple_of(4);
    }
    entries
}

/// Bytes that entries take.
pub fn size(entries: &[(u16, &[u8])]) -> usize {
    HEADER + entries.iter().map(|(_, value)| (4 + value.len()).next_multiple_of(4)).sum::<usize>()
}
