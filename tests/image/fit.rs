//! FITs of U-Boot and NXP, and those that are made for their first stages.

use firn::{
    error::{Code, Coded},
    image::fit::{Data, Error, Fit, FitBuf, NewImage},
};
use sha2::{Digest, Sha256};

use crate::content;

/// Made by mkimage of the same source: data at a given position, behind the tree, in the tree.
pub(crate) const MADE_BY_MKIMAGE: [&[u8]; 3] = [
    include_bytes!("../fixtures/image/fit-position.itb"),
    include_bytes!("../fixtures/image/fit-offset.itb"),
    include_bytes!("../fixtures/image/fit-embedded.itb"),
];

/// What an image of a FIT holds.
fn data_of(fit: &[u8], name: &str) -> Vec<u8> {
    let image = Fit::parse(fit).unwrap().image(name).unwrap();
    match image.data().unwrap() {
        Data::Embedded(data) => data.to_vec(),
        Data::External(range) => {
            let at = |offset| usize::try_from(offset).unwrap();
            fit[at(range.start)..at(range.end)].to_vec()
        }
    }
}

fn open(fit: &[u8]) -> Result<FitBuf, Error> {
    let read = |range: core::ops::Range<u64>| {
        let at = |offset| usize::try_from(offset).ok();
        Some(fit.get(at(range.start)?..at(range.end)?)?.to_vec())
    };
    FitBuf::open(Fit::parse(fit)?, read)
}

fn made() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (loader, bl31) = (content(1, 3000), content(2, 700));
    let image = |name, image_type, load, entry, data| NewImage {
        name,
        description: "what a person reads",
        image_type,
        load,
        entry,
        data,
    };
    let images = [
        image("firn", "standalone", 0x4020_0000, None, loader.as_slice()),
        image("atf", "firmware", 0x97_0000, Some(0x97_0000), &bl31),
    ];
    (FitBuf::new("test", &images).unwrap().to_bytes().unwrap(), loader, bl31)
}

#[test]
fn data_are_found_wherever_mkimage_puts_them() {
    for fit in MADE_BY_MKIMAGE {
        assert_eq!(data_of(fit, "uboot-1"), b"the second stage of somebody else\0");
        assert_eq!(data_of(fit, "tee-1"), b"OP-TEE\0");
        let atf = Fit::parse(fit).unwrap().image("atf-1").unwrap();
        assert_eq!((atf.load(), atf.entry()), (Some(0x97_0000), Some(0x97_0000)));
        // The first hash is a CRC.
        assert_eq!(atf.digest(), Some(Sha256::digest(b"TF-A's BL31\0").into()));
    }
}

#[test]
fn the_default_configuration_names_what_is_loaded() {
    let configuration = Fit::parse(MADE_BY_MKIMAGE[0]).unwrap().configuration().unwrap();
    assert_eq!(configuration.firmware(), Some("uboot-1"));
    assert_eq!(configuration.images().collect::<Vec<_>>(), ["uboot-1", "atf-1", "tee-1", "fdt-1"]);
}

#[test]
fn a_fit_that_is_made_has_what_a_first_stage_looks_for() {
    let (bytes, loader, bl31) = made();
    let fit = Fit::parse(&bytes).unwrap();
    let configuration = fit.configuration().unwrap();
    assert_eq!(configuration.firmware(), Some("firn"));
    assert_eq!(configuration.images().collect::<Vec<_>>(), ["firn", "atf"]);
    assert_eq!(data_of(&bytes, "firn"), loader);
    assert_eq!(data_of(&bytes, "atf"), bl31);
    let firn = fit.image("firn").unwrap();
    // BL31 is entered first: the firmware must not have an entry of its own.
    assert_eq!((firn.load(), firn.entry()), (Some(0x4020_0000), None));
    assert_eq!(firn.digest(), Some(Sha256::digest(&loader).into()));
    let Data::External(range) = firn.data().unwrap() else { panic!("in the tree") };
    // Signature blocks for HAB fit between the tree and the data.
    assert_eq!(range.start, 0x5000);
    assert_eq!(made().0, bytes);
}

#[test]
fn the_second_stage_is_put_into_an_existing_fit_and_all_else_stays() {
    for fit in MADE_BY_MKIMAGE {
        let mut edited = open(fit).unwrap();
        let firn = content(1, 100_000);
        edited.replace("uboot-1", "Firn", &firn).unwrap();
        let bytes = edited.to_bytes().unwrap();
        assert_eq!(data_of(&bytes, "uboot-1"), firn);
        for name in ["fdt-1", "atf-1", "tee-1"] {
            assert_eq!(data_of(&bytes, name), data_of(fit, name));
        }
        let image = Fit::parse(&bytes).unwrap().image("uboot-1").unwrap();
        assert_eq!(image.load(), Some(0x4020_0000));
        assert_eq!(image.description(), Some("Firn"));
        assert_eq!(image.digest(), Some(Sha256::digest(&firn).into()));
    }
}

#[test]
fn an_image_that_is_not_there_cannot_be_replaced() {
    let error = open(MADE_BY_MKIMAGE[0]).unwrap().replace("firn", "", b"x").unwrap_err();
    assert_eq!(error, Error::NoImage("firn".into()));
    assert_eq!(error.code(), Code::BootImageIncomplete);
}

#[test]
fn a_fit_whose_data_are_missing_cannot_be_opened() {
    let cut = &MADE_BY_MKIMAGE[0][..0x810];
    assert_eq!(open(cut).unwrap_err(), Error::NoData("uboot-1".into()));
}

#[test]
fn a_signed_fit_is_left_alone() {
    let tree = firn::devicetree::DeviceTree::validate(MADE_BY_MKIMAGE[0]).unwrap();
    let mut tree = firn::devicetree::DeviceTreeBuf::from(tree);
    tree.find_or_create("/configurations/config-1/signature-1").unwrap();
    let signed = tree.to_vec(0).unwrap();
    let error = open(&signed).unwrap_err();
    assert_eq!(error, Error::Signed);
    assert_eq!(error.code(), Code::BootImageInput);
}

#[test]
fn a_device_tree_of_a_board_is_no_fit() {
    let tree = include_bytes!("../fixtures/devicetree/smallest.dtb");
    assert_eq!(Fit::parse(tree).unwrap_err(), Error::NoImages);
}
