//! The first stage's record: what is written is read, and nothing else is believed.

#![forbid(unsafe_code)]

use std::time::Duration;

use firn::{
    entropy::Secret,
    error::{Code, Coded},
    handoff::{
        Boot, Error, HandOff, MAX_BANKS, MAX_NOTES, NOTE_TEXT, Recovery, ResetCause, Times,
        Training,
    },
    memory::Region,
    soc::boot_rom::BootDevice,
};
use proptest::prelude::*;

fn written(record: &HandOff) -> Vec<u8> {
    let mut room = vec![0xa5; 8192];
    let size = record.encode(&mut room).unwrap();
    assert!(size <= 2048 && size.is_multiple_of(8), "{size}");
    room
}

fn random() -> [u8; 64] {
    let mut bytes = [7; 64];
    bytes[2] = 4;
    bytes
}

/// A record with everything in it.
fn full() -> HandOff {
    let mut record = HandOff {
        boot: Some(Boot { device: BootDevice::Emmc(2), image_offset: 0x40_8000, secondary: true }),
        banks: [
            Some(Region::new(0x4000_0000, 0xc000_0000)),
            Some(Region::new(0x1_0000_0000, 0xc000_0000)),
            None,
            None,
        ],
        reset: Some(ResetCause { src: 0x11, watchdog: 2, pmic: Some(0x80) }),
        times: Times {
            entered: Duration::from_millis(120),
            dram: Duration::from_millis(420),
            loaded: Duration::from_millis(600),
            left: Duration::from_micros(601_234),
        },
        training: Some(Training { rate: 4000, attempts: 2, firmware: 0x202 }),
        notes: [None; MAX_NOTES],
        recovery: Recovery {
            kernel: Some(Region::new(0x5800_0000, 44_000_000)),
            initrd: Some(Region::new(0x5b00_0000, 300_000_000)),
            device_tree: Some(Region::new(0x7000_0000, 60_000)),
            command_line: Some(Region::new(0x7020_0000, 14)),
        },
        entropy: Secret::take(&mut random()),
    };
    record.note(Code::PmicSilent, format_args!("0x25 on I2C1 does not answer"));
    record.note(Code::DramTrainingFailed, format_args!("{}", "ä".repeat(NOTE_TEXT)));
    record
}

#[test]
fn everything_that_is_written_is_read() {
    for record in [full(), HandOff::default()] {
        assert_eq!(HandOff::decode(&written(&record)), Ok(Some(record)));
    }
    let notes = full().notes.map(|note| note.map(|note| note.text().to_owned()));
    assert_eq!(notes[0].as_deref(), Some("0x25 on I2C1 does not answer"));
    // Cut between characters.
    assert_eq!(notes[1].as_deref(), Some("ä".repeat(NOTE_TEXT / 2).as_str()));
}

#[test]
fn what_was_told_reads_as_a_person_would_say_it() {
    let told = full();
    assert_eq!(told.boot.unwrap().to_string(), "eMMC (uSDHC3), secondary image at 0x408000");
    let usb = Boot { device: BootDevice::Usb, image_offset: 0, secondary: false };
    assert_eq!(usb.to_string(), "USB serial download");
    assert_eq!(
        told.training.unwrap().to_string(),
        "DRAM trained for 4000 MT/s by firmware 0x202 at attempt 2"
    );
    assert_eq!(told.notes[0].unwrap().to_string(), "[E1003] 0x25 on I2C1 does not answer");
}

#[test]
fn the_largest_record_fits() {
    let mut record = full();
    record.banks = [Some(Region::new(1 << 32, 1)); MAX_BANKS];
    for _ in 0..MAX_NOTES {
        record.note(Code::PmicSilent, format_args!("{}", "x".repeat(200)));
    }
    assert_eq!(HandOff::decode(&written(&record)), Ok(Some(record.clone())));
    for room in 0..1024 {
        assert_eq!(record.encode(&mut vec![0; room]), Err(Error::Size));
    }
}

#[test]
fn random_bytes_that_are_none_are_not_believed() {
    for bytes in [[0; 64], [0xff; 64]] {
        let entry = [&[8, 0, 64, 0, 0, 0, 0, 0][..], &bytes].concat();
        let told = HandOff::decode(&with_entries(24, &entry)).unwrap().unwrap();
        assert_eq!(told.entropy, None);
    }
}

#[test]
fn random_bytes_are_not_printed() {
    let record = full();
    let bytes = record.entropy.as_ref().unwrap().bytes();
    assert_eq!(bytes[2], 4);
    assert!(format!("{record:?}").ends_with("entropy: Some(Secret) }"));
}

#[test]
fn memory_without_a_record_is_no_error() {
    for memory in [&[0; 8192][..], &[0xff; 8192], b"FIRNTOL", b""] {
        assert_eq!(HandOff::decode(memory), Ok(None));
    }
}

#[test]
fn a_record_with_any_bit_changed_is_damaged_or_none() {
    let good = written(&full());
    let size = usize::from(u16::from_le_bytes([good[12], good[13]]));
    for bit in 0..8 * size {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match HandOff::decode(&bad) {
            Ok(None) => assert!(bit < 64, "bit {bit}"),
            Ok(Some(_)) => panic!("bit {bit} does not matter"),
            Err(error) => assert_eq!(error.code(), Code::HandOffDamaged),
        }
    }
    for end in 8..size {
        assert!(HandOff::decode(&good[..end]).is_err(), "cut at {end}");
    }
    let mut newer = good;
    newer[8] = 2;
    let error = HandOff::decode(&newer).unwrap_err();
    assert_eq!(
        format!("[{}] {error}", error.code()),
        "[E1007] the first stage's record is not used: it has version 2, this program knows \
         version 1"
    );
}

/// A record with these entries, whose checksum holds.
fn with_entries(header_size: u16, entries: &[u8]) -> Vec<u8> {
    let size = usize::from(header_size) + entries.len();
    let mut record = b"FIRNTOLD\x01\0".to_vec();
    record.extend(header_size.to_le_bytes());
    record.extend(u32::try_from(size).unwrap().to_le_bytes());
    record.resize(usize::from(header_size).max(24), 0);
    record.extend(entries);
    record.truncate(size.max(24));
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    digest.update(&record[..16]);
    digest.update(&record[20..]);
    record[16..20].copy_from_slice(&digest.finalize().to_le_bytes());
    record
}

#[test]
fn a_later_writer_may_say_more() {
    // A tag that nobody knows, a longer value, a longer header.
    let entries = [
        &[0x99, 0, 5, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0][..],
        &[5, 0, 8, 0, 0, 0, 0, 0, 0xa0, 0x0f, 2, 2, 1, 0xff, 0xff, 0xff],
    ]
    .concat();
    for header_size in [24, 64] {
        let told = HandOff::decode(&with_entries(header_size, &entries)).unwrap().unwrap();
        let training = Training { rate: 4000, attempts: 1, firmware: 0x202 };
        assert_eq!(told, HandOff { training: Some(training), ..HandOff::default() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_lies_there_ends_with_a_record_or_an_error(
        header_size in prop_oneof![Just(24_u16), any::<u16>()],
        entries in prop::collection::vec(
            (0..10_u16, 0..120_u16, prop::collection::vec(any::<u8>(), 0..112)), 0..12),
    ) {
        let mut bytes = Vec::new();
        for (tag, size, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(value);
        }
        if let Ok(Some(told)) = HandOff::decode(&with_entries(header_size, &bytes)) {
            // What was believed can be told again; texts that are none are cut.
            let again = HandOff::decode(&written(&told)).unwrap().unwrap();
            prop_assert_eq!(again.banks, told.banks);
            prop_assert_eq!(again.recovery, told.recovery);
        }
    }

    #[test]
    fn any_bytes_end_with_a_record_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = HandOff::decode(&bytes);
        if let Some(magic) = bytes.get_mut(..10) {
            magic.copy_from_slice(b"FIRNTOLD\x01\0");
        }
        let _ = HandOff::decode(&bytes);
    }
}
