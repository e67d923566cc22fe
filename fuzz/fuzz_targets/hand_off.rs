//! The first stage's record, made of entries of any tags and sizes: what is read of it can be written
//! and read again, and nothing of a damaged one is believed.
#![no_main]

use crc::{CRC_32_ISO_HDLC, Crc};
use firn::handoff::HandOff;
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 24;
const CRC_AT: usize = 16;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

fuzz_target!(|data: &[u8]| {
    let _ = HandOff::decode(data).map_err(|error| error.to_string());
    let mut input = Input(data);
    let flags = input.byte();
    let mut record = record(&mut input, flags);
    let Ok(Some(told)) = HandOff::decode(&record) else { return };
    for note in told.notes.iter().flatten() {
        assert!(!note.text().contains('\0'), "{note:?}");
        let _ = note.to_string();
    }
    assert!(told.banks.iter().flatten().all(|bank| bank.end() >= bank.start()));
    let mut told = told;
    // A text ends with its first zero.
    for note in told.notes.iter_mut().flatten() {
        let size = note.text.iter().position(|&byte| byte == 0).unwrap_or(note.text.len());
        note.text[size..].fill(0);
    }
    let mut written = [0; 4096];
    told.encode(&mut written).expect("what was read has room");
    assert_eq!(HandOff::decode(&written), Ok(Some(told)));
    // Where its checksum does not hold, it counts for nothing.
    if flags & 32 != 0 {
        return;
    }
    let place = HEADER.max(usize::from(input.u16()) % record.len());
    if let Some(byte) = record.get_mut(place) {
        *byte ^= 1;
        assert!(HandOff::decode(&record).is_err(), "byte {place} does not matter");
    }
});

/// A record whose header and checksum are right, unless `flags` say otherwise.
fn record(input: &mut Input<'_>, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for _ in 0..flags % 32 {
        let (tag, size) = (u16::from(input.byte() % 12), usize::from(input.byte()));
        bytes.extend(tag.to_le_bytes());
        bytes.extend((size as u16).to_le_bytes());
        bytes.extend([0; 4]);
        let value = input.take(size);
        bytes.extend(value);
        bytes.resize((bytes.len() + size - value.len()).next_multiple_of(8), 0);
    }
    bytes[..8].copy_from_slice(b"FIRNTOLD");
    let size = bytes.len() as u32 ^ if flags & 32 != 0 { u32::from(input.u16()) } else { 0 };
    let header = if flags & 64 != 0 { input.u16() } else { HEADER as u16 };
    bytes[8..10].copy_from_slice(&1u16.to_le_bytes());
    bytes[10..12].copy_from_slice(&header.to_le_bytes());
    bytes[12..16].copy_from_slice(&size.to_le_bytes());
    let covered = &bytes[..bytes.len().min(size as usize).max(HEADER)];
    let sum = CRC.checksum(&[&covered[..CRC_AT], &covered[CRC_AT + 4..]].concat());
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&sum.to_le_bytes());
    bytes
}
