//! What `firn image inspect` finds and says.

use firn::image::{
    build::{for_flexspi, padded_first_stage},
    container::PartKind,
    inspect::{Format, Image, Place, survey},
    training::{KINDS, dummy},
};
use sha2::{Digest, Sha256};

use crate::{Files, assert_complaints, complaints, content, fit, inspect, target};

/// A flash.bin as U-Boot's and NXP's tools make it, with a FIT at this offset.
fn u_boot(fit: &[u8], at: usize) -> Vec<u8> {
    let files = Files::small();
    let mut image = padded_first_stage(target(), &files.spl, files.training()).unwrap();
    image.resize(at, 0);
    image.extend_from_slice(fit);
    image
}

fn ids(image: &Image) -> Vec<&str> {
    image.parts.iter().map(|part| part.id.as_str()).collect()
}

fn found(image: &Image, id: &str) -> (u64, u64, Option<u64>, Option<u64>) {
    let part = image.parts.iter().find(|part| part.id == id).unwrap();
    (part.offset, part.size, part.load, part.entry)
}

/// Where a part of a built image lies.
fn offset_of(bytes: &[u8], kind: PartKind) -> usize {
    let image = inspect(bytes);
    let part = image.parts.iter().find(|part| part.id == kind.id()).unwrap();
    usize::try_from(part.offset).unwrap()
}

#[test]
fn every_part_is_listed_with_place_size_digest_and_address() {
    let files = Files::small();
    let bytes = files.image();
    let image = inspect(&bytes);
    assert_eq!((image.format, image.place, image.offset), (Format::Firn, Place::Start, 0));
    assert_eq!(image.board.as_deref(), Some("imx8mp-evk"));
    assert_eq!(image.problems, []);
    assert_eq!(
        ids(&image),
        [
            "rom-header",
            "boot-rom-part",
            "spl",
            "spl-container",
            "ddr-1d-imem",
            "ddr-1d-dmem",
            "ddr-2d-imem",
            "ddr-2d-dmem",
            "container",
            "bl31",
            "tee",
            "loader"
        ]
    );
    assert_eq!(found(&image, "spl"), (64, 5000, Some(0x92_0000), Some(0x92_0000)));
    assert_eq!(found(&image, "bl31"), (0x4_1000, 4001, Some(0x97_0000), Some(0x97_0000)));
    assert_eq!(found(&image, "loader").2, Some(0x4020_0000));
    for part in &image.parts {
        let at = usize::try_from(part.offset).unwrap();
        let bytes = &bytes[at..][..usize::try_from(part.size).unwrap()];
        assert_eq!(part.digest, Some(Sha256::digest(bytes).into()), "{}", part.id);
    }
    assert!(image.parts.iter().skip(1).all(|part| part.intact == Some(true)));
}

#[test]
fn a_wrong_bit_in_any_part_is_told_with_the_part_and_its_offset() {
    let bytes = Files::small().image();
    let loaded = "[E904] what the boot ROM loads does not have its digest, at offset 0x0";
    for kind in [PartKind::Bl31, PartKind::Tee, PartKind::Loader, PartKind::Spl, KINDS[2]] {
        let at = offset_of(&bytes, kind);
        let mut broken = bytes.clone();
        broken[at + 100] ^= 1;
        let own = format!("[E904] {kind} does not have its digest, at offset {at:#x}");
        let in_first_stage = kind == PartKind::Spl || KINDS.contains(&kind);
        let wanted: &[&str] = if in_first_stage { &[loaded, &own] } else { &[&own] };
        assert_complaints(&broken, wanted);
    }
}

#[test]
fn a_truncated_image_is_told_with_what_is_missing() {
    let bytes = Files::small().image();
    let size = bytes.len();
    // Behind the last part are 4 KiB of zeros.
    let told = complaints(&bytes[..size - 5120]);
    assert_eq!(told[0], format!("[E902] truncated: {} bytes of {size}", size - 5120));
    assert!(told[1].starts_with("[E902] truncated: "), "{told:?}");
    assert!(told[1].ends_with(&format!("at offset {:#x}", offset_of(&bytes, PartKind::Loader))));
    let told = complaints(&bytes[..0x3000]);
    assert!(told[0].contains("that the boot ROM loads"), "{told:?}");
    assert!(told.last().unwrap().contains("neither a container at 0x40000 nor a FIT"), "{told:?}");
    for size in [4, 63, 64, 65] {
        assert!(!complaints(&bytes[..size]).is_empty(), "{size} bytes");
    }
}

#[test]
fn a_damaged_container_is_told() {
    let mut bytes = Files::small().image();
    bytes[0x4_0019] ^= 1;
    let text = "[E903] the container's header does not have its digest, at offset 0x40000";
    assert_complaints(&bytes, &[text]);
}

#[test]
fn dummies_are_called_dummies() {
    let training = KINDS.map(|kind| dummy(kind, "_202006"));
    let image = inspect(&Files { training, ..Files::small() }.image());
    let told: Vec<_> = image.problems.iter().map(|problem| problem.text.as_str()).collect();
    let wanted =
        KINDS.map(|kind| format!("{kind} is a dummy, which trains nothing on a real board"));
    assert_eq!(told, wanted);
    let dummies = image.parts.iter().filter(|part| part.dummy).count();
    assert_eq!(dummies, 5, "the four and the whole that holds them");
}

#[test]
fn a_card_is_searched_for_both_copies() {
    let bytes = Files::small().image();
    let mut card = vec![0; 8 << 20];
    assert_eq!(survey(&card.as_slice(), target()), []);
    card[0x8000..0x8000 + bytes.len()].copy_from_slice(&bytes);
    card[0x40_8000..0x40_8000 + bytes.len()].copy_from_slice(&bytes);
    card[0x40_8000 + 70] ^= 1;
    let images = survey(&card.as_slice(), target());
    assert_eq!(images.len(), 2);
    assert_eq!((images[0].place, images[0].offset), (Place::Card, 0x8000));
    assert_eq!(images[0].problems, []);
    assert_eq!(found(&images[0], "bl31").0, 0x4_9000);
    assert_eq!((images[1].place, images[1].offset), (Place::CardSecondary, 0x40_8000));
    // Offsets in messages count from the card's start.
    assert!(images[1].problems[0].text.ends_with("at offset 0x408000"));
}

#[test]
fn a_flash_behind_flexspi_is_known_by_its_configuration() {
    let flash = for_flexspi(target(), &Files::small().image());
    let image = inspect(&flash);
    assert_eq!((image.place, image.offset), (Place::FlexSpi, 0x1000));
    assert_eq!(image.problems, []);
}

#[test]
fn fits_are_found_where_u_boot_and_nxp_put_them() {
    // U-Boot everywhere; NXP for FlexSPI and for eMMC boot partitions.
    for at in [0x5_8000, 0x5_f000, 0x6_0000] {
        for made in fit::MADE_BY_MKIMAGE {
            let image = inspect(&u_boot(made, at));
            assert_eq!(image.format, Format::Fit);
            assert_eq!(image.problems, []);
            assert_eq!(found(&image, "fit").0, at as u64);
            assert_eq!(found(&image, "fit:uboot-1").1, 34);
            let atf = found(&image, "fit:atf-1");
            assert_eq!((atf.1, atf.2, atf.3), (12, Some(0x97_0000), Some(0x97_0000)));
            let digest = |id: &str| {
                let part = image.parts.iter().find(|part| part.id == id).unwrap();
                (part.digest, part.intact)
            };
            let bl31 = Sha256::digest(b"TF-A's BL31\0").into();
            assert_eq!(digest("fit:atf-1"), (Some(bl31), Some(true)));
            let tee = Sha256::digest(b"OP-TEE\0").into();
            assert_eq!(digest("fit:tee-1"), (Some(tee), None), "no digest to compare with");
            assert_eq!(found(&image, "first-stage").0, 64);
        }
    }
}

#[test]
fn what_is_wrong_with_a_fit_is_told() {
    let good = u_boot(fit::MADE_BY_MKIMAGE[0], 0x5_8000);
    let mut wrong_bit = good.clone();
    wrong_bit[0x5_8800] ^= 1;
    let text = "[E904] the FIT's image uboot-1 does not have its digest";
    assert_complaints(&wrong_bit, &[text]);
    let cut = &good[..0x5_8834];
    let truncated = |name| format!("[E902] the FIT's image {name} is truncated");
    let wanted = [truncated("atf-1"), truncated("tee-1")];
    assert_complaints(cut, &wanted.each_ref().map(String::as_str));
    let mut token = good.clone();
    token[0x5_8038 + 3] = 7;
    let told = complaints(&token);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("[E903] the FIT cannot be read: "), "{told:?}");
    assert!(told[0].ends_with("of the FIT at 0x58000"), "{told:?}");
    let mut name = good.clone();
    let at = name.windows(7).rposition(|window| window == b"tee-1\0\0").unwrap();
    name[at] = b'b';
    let text = "[E907] the FIT's configuration config-1 names bee-1, which is not there";
    assert_complaints(&name, &[text]);
}

#[test]
fn a_magic_number_in_front_of_the_fit_does_not_hide_it() {
    let mut image = u_boot(fit::MADE_BY_MKIMAGE[1], 0x5_8000);
    image[0x5_0000..0x5_0004].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed]);
    assert_complaints(&image, &[]);
}

#[test]
fn an_image_with_nothing_behind_its_first_stage_is_told() {
    let files = Files::small();
    let mut image = padded_first_stage(target(), &files.spl, files.training()).unwrap();
    image.extend_from_slice(&content(3, 0x6_0000));
    let text = "[E901] neither a container at 0x40000 nor a FIT behind the first stage";
    assert_complaints(&image, &[text]);
}

#[test]
fn a_signature_block_for_hab_is_shown() {
    let mut image = u_boot(fit::MADE_BY_MKIMAGE[0], 0x5_8000);
    let csf = usize::try_from(found(&inspect(&image), "first-stage").1).unwrap() + 64;
    image[csf..csf + 4].copy_from_slice(&[0xd4, 0, 0x50, 0x43]);
    let signature = found(&inspect(&image), "hab-signature");
    assert_eq!((signature.0, signature.1), (csf as u64, 0x2000));
}
