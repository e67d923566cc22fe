//! The boot ROM's header.

use firn::image::{ErrorKind, rom::Header};

use crate::{Files, assert_complaints, target};

/// Made by `mkimage -T imx8mimage` of first stages of so many bytes, see `tests/fixtures/README.md`.
pub(crate) const MADE_BY_MKIMAGE: [(u32, &[u8; 64]); 4] = [
    (1, include_bytes!("../fixtures/image/header-1.bin")),
    (448, include_bytes!("../fixtures/image/header-448.bin")),
    (449, include_bytes!("../fixtures/image/header-449.bin")),
    (200_000, include_bytes!("../fixtures/image/header-200000.bin")),
];

#[test]
fn the_header_is_the_one_that_mkimage_makes() {
    for (size, wanted) in MADE_BY_MKIMAGE {
        let header = Header::new(target().entry, size).unwrap();
        assert_eq!(header.to_bytes(), *wanted, "{size} bytes");
        assert_eq!(Header::parse(wanted, 0), Ok(header));
        assert_eq!(header.check(target().entry, 0), Ok(()));
    }
}

#[test]
fn a_first_stage_beyond_the_end_of_addresses_has_no_header() {
    assert_eq!(Header::new(target().entry, u32::MAX), None);
    assert_eq!(Header::new(0, 1), None);
}

#[test]
fn each_field_that_the_rom_would_refuse_is_named_with_its_offset() {
    let image = Files::small().image();
    let with = |offset: usize, value: u32| {
        let mut image = image.clone();
        image[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        image
    };
    let complaint = |offset: usize, value: u32| {
        let header = Header::parse(&with(offset, value), 0).unwrap();
        header.check(target().entry, 0).unwrap_err()
    };
    let cases = [
        (4, "entry"),
        (0xc, "device configuration pointer"),
        (0x10, "boot data pointer"),
        (0x14, "self pointer"),
        (0x18, "signature pointer"),
        (0x20, "load address"),
        (0x24, "load length"),
        (0x28, "plugin flag"),
    ];
    for (offset, name) in cases {
        let error = complaint(offset, 1);
        assert_eq!(error.offset, offset as u64);
        let ErrorKind::RomHeader { field, found, .. } = error.kind else { panic!("{error}") };
        assert_eq!((field, found), (name, 1));
    }
    assert_complaints(
        &with(4, 0x7e_1000),
        &[
            "[E903] the boot ROM's header has entry 0x007e1000 where 0x00920000 belongs, at \
             offset 0x4",
            "[E904] what the boot ROM loads does not have its digest, at offset 0x0",
        ],
    );
}

#[test]
fn more_than_the_rom_can_load_is_told() {
    let mut image = Files::small().image();
    image[0x24..0x28].copy_from_slice(&0x7000_0000u32.to_le_bytes());
    let told = crate::complaints(&image);
    assert!(
        told[0].starts_with("[E908] the boot ROM is told to load 0x70000000 bytes"),
        "{told:?}"
    );
    assert!(told[1].starts_with("[E902] truncated: "), "{told:?}");
}
