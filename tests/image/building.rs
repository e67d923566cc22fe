//! Building images.

use firn::{
    error::{Code, Coded},
    image::{
        ErrorKind,
        build::{for_flexspi, padded_first_stage},
        container::{Container, PartKind},
        rom::Header,
        training,
    },
};

use crate::{Files, content, target};

/// What is said when `change` has been made to good files.
fn refusal(change: impl FnOnce(&mut Files)) -> (Code, String) {
    let mut files = Files::small();
    change(&mut files);
    let error = files.build().unwrap_err();
    (error.code(), error.to_string())
}

fn replace(files: &mut Files, kind: PartKind, bytes: Vec<u8>) {
    files.pieces.iter_mut().find(|(known, _)| *known == kind).unwrap().1 = bytes;
}

#[test]
fn the_same_files_give_the_same_image() {
    assert_eq!(Files::full().image(), Files::full().image());
}

#[test]
fn the_largest_first_stage_with_padded_firmware_leaves_room_for_a_signature() {
    let image = Files::full().image();
    let header = Header::parse(&image, 0).unwrap();
    assert_eq!(header.check(target().entry, 0), Ok(()));
    assert_eq!(header.csf, header.this + header.length - 0x2000);
    let csf = (header.csf - header.this) as usize;
    assert!(image[csf..csf + 0x2000].iter().all(|&byte| byte == 0));
    assert!(header.length <= 0x3_f000);
    // BL31 is loaded there while the first stage still runs.
    assert!(header.this + header.length < 0x97_0000);
    assert!(image.len() <= 0x3e_0000 - 0x8000);
    assert!(image.len().is_multiple_of(512));
}

#[test]
fn raw_firmware_stays_raw_and_padded_stays_padded() {
    let mut files = Files::small();
    let size = |files: &Files| {
        let image = files.image();
        let at = (64 + files.spl.len()).next_multiple_of(64);
        let container = Container::parse(&image[at..], u32::try_from(at).unwrap()).unwrap();
        container.require(PartKind::Training1dDmem).unwrap().size
    };
    assert_eq!(size(&files), 202);
    files.training[1] = training::padded(PartKind::Training1dDmem, &files.training[1]);
    assert_eq!(size(&files), 0x4000);
}

#[test]
fn what_is_too_large_for_its_room_is_named_with_both_sizes() {
    type Change = fn(&mut Files);
    let cases: [(Change, &str); 4] = [
        (
            |files| files.spl = vec![1; (96 << 10) + 1],
            "the first stage has 98305 bytes, there is room for 98304, at offset 0x0",
        ),
        (
            |files| replace(files, PartKind::Bl31, vec![1; (128 << 10) + 1]),
            "BL31 has 131073 bytes, there is room for 131072, at offset 0x0",
        ),
        (
            |files| replace(files, PartKind::Loader, vec![1; (16 << 20) + 1]),
            "the second stage has 16777217 bytes, there is room for 16777216, at offset 0x0",
        ),
        (
            |files| files.training[3] = vec![1; 0x4002],
            "the 2D training firmware (DMEM) has 16386 bytes, there is room for 16384, at offset \
             0x0",
        ),
    ];
    for (change, text) in cases {
        assert_eq!(refusal(change), (Code::BootImageTooLarge, text.to_owned()));
    }
}

#[test]
fn what_cannot_be_a_part_is_refused() {
    let elf = || [b"\x7fELF".as_slice(), &content(1, 100)].concat();
    let (code, text) = refusal(|files| replace(files, PartKind::Bl31, elf()));
    assert_eq!(code, Code::BootImageInput);
    assert_eq!(text, "not BL31: it is an ELF file; the flat binary (.bin) is wanted");
    let (_, text) = refusal(|files| files.spl = elf());
    assert!(text.starts_with("not the first stage: it is an ELF file"), "{text}");
    let tee = || [b"OPTE\x01".as_slice(), &content(1, 100)].concat();
    let (_, text) = refusal(|files| replace(files, PartKind::Tee, tee()));
    assert_eq!(text, "not OP-TEE: it has OP-TEE's header; tee-raw.bin is wanted");
    let (_, text) = refusal(|files| files.spl = Files::small().image());
    assert_eq!(text, "not the first stage: it is a whole flash.bin");
    let (_, text) = refusal(|files| replace(files, PartKind::Loader, vec![]));
    assert_eq!(text, "not the second stage: it is empty");
}

#[test]
fn an_image_without_bl31_or_second_stage_is_refused() {
    for kind in [PartKind::Bl31, PartKind::Loader] {
        let mut files = Files::small();
        files.pieces.retain(|(known, _)| *known != kind);
        assert_eq!(files.build().unwrap_err().kind, ErrorKind::Missing(kind));
    }
}

#[test]
fn recovery_parts_lie_behind_each_other_in_memory_that_every_board_has() {
    let mut files = Files::small();
    let recovery = [
        (PartKind::Kernel, content(1, 5 << 20)),
        (PartKind::Initrd, content(2, 3 << 20)),
        (PartKind::DeviceTree, content(3, 70_000)),
        (PartKind::CommandLine, b"console=ttymxc1".to_vec()),
    ];
    files.pieces.extend(recovery);
    let image = files.image();
    let at = target().container_at as usize;
    let container = Container::parse(&image[at..], target().container_at).unwrap();
    let load = |kind| container.require(kind).unwrap().load;
    assert_eq!(load(PartKind::Kernel), 0x5800_0000);
    assert_eq!(load(PartKind::Initrd), 0x5860_0000);
    assert_eq!(load(PartKind::DeviceTree), 0x58a0_0000);
    assert_eq!(load(PartKind::CommandLine), 0x58c0_0000);
    for part in container.parts().skip(1) {
        assert_eq!(target().check_placement(&part), Ok(()));
    }
}

#[test]
fn an_image_for_flexspi_begins_with_how_the_flash_is_read() {
    let image = Files::small().image();
    let flash = for_flexspi(target(), &image);
    assert_eq!(flash[0x1000..], image);
    let block = &flash[0x400..0x600];
    // Where bytes are not zero, as imx-mkimage's scripts/fspi_header has them.
    let bytes: &[(usize, &[u8])] = &[
        (0x000, b"FCFB"),
        (0x004, &[0, 0, 1, 0x56]),
        (0x00c, &[0, 3, 3, 0]),
        (0x044, &[1, 1, 2, 0]),
        (0x050, &[0, 0, 0, 0x10]),
        (0x080, &[0x0b, 4, 0x18, 8, 8, 0x30, 4, 0x24]),
        (0x1c0, &[0, 1, 0, 0]),
        (0x1c4, &[0, 0, 1, 0]),
    ];
    let mut wanted = [0; 512];
    for (offset, bytes) in bytes {
        wanted[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    assert_eq!(block, wanted);
    assert!(flash[..0x400].iter().chain(&flash[0x600..0x1000]).all(|&byte| byte == 0));
}

#[test]
fn a_first_stage_of_u_boot_finds_its_firmware_where_it_expects_it() {
    let files = Files::small();
    let spl = content(1, 5001);
    let first_stage = padded_first_stage(target(), &spl, files.training()).unwrap();
    assert_eq!(first_stage[64..64 + 5001], spl);
    // From the next multiple of 4 behind it on; IMEM 32 KiB, DMEM 16 KiB each.
    let mut at = 64 + 5004;
    for (bytes, room) in files.training.iter().zip([0x8000, 0x4000, 0x8000, 0x4000]) {
        assert_eq!(first_stage[at..at + bytes.len()], *bytes);
        assert!(first_stage[at + bytes.len()..at + room].iter().all(|&byte| byte == 0));
        at += room;
    }
    let header = Header::parse(&first_stage, 0).unwrap();
    assert_eq!(header, Header::new(target().entry, u32::try_from(at - 64).unwrap()).unwrap());
    assert_eq!(first_stage.len(), header.length as usize);
}
