//! What a volume that cannot be mounted is told to be.

mod disk;

use disk::{Disk, Image};
use firn::{
    block::ErrorKind as BlockErrorKind,
    error::{Code, Coded},
    fs::{Error, ErrorKind, mount},
};

fn error_of(image: Image) -> Error {
    mount(Disk::new(image).volume()).err().expect("nothing that can be mounted")
}

#[test]
fn other_file_systems_are_named() {
    let cases: [(u64, &[u8], &str); 11] = [
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0, b"XFSB", "XFS"),
        (0, b"LUKS\xba\xbe\0\x02", "LUKS (encrypted)"),
        (0, b"hsqs", "squashfs"),
        (3, b"EXFAT   ", "exFAT"),
        (3, b"NTFS    ", "NTFS"),
        (0x400, &0xf2f5_2010_u32.to_le_bytes(), "F2FS"),
        (4086, b"SWAPSPACE2", "swap space"),
        (0x8001, b"CD001", "ISO 9660"),
        (0x20000 + 5 * 4096, &0x00ba_b10c_u64.to_le_bytes(), "ZFS"),
        (512, b"LABELONE", "an LVM physical volume"),
    ];
    for (at, magic, name) in cases {
        let mut image = Image::blank(2048);
        image.write(at, magic);
        let error = error_of(image);
        assert_eq!(error.kind, ErrorKind::Unknown(format!("this is {name}")));
        assert_eq!(error.code(), Code::UnknownFileSystem);
        assert_eq!(error.to_string(), format!("not a FAT or ext4 file system: this is {name}"));
    }
}

#[test]
fn blank_and_tiny_volumes_hold_nothing_known() {
    for blocks in [1, 2, 3, 8, 1000] {
        let error = error_of(Image::blank(blocks));
        assert_eq!(error.kind, ErrorKind::Unknown("its content is not known".into()));
    }
}

#[test]
fn an_unreadable_volume_is_a_device_error_and_not_an_unknown_file_system() {
    for block in [0, 2] {
        let disk =
            Disk::new(Image::fixture("ext4")).with_bad_block(block, BlockErrorKind::Transfer);
        let error = mount(disk.volume()).err().expect("a bad block");
        assert_eq!(error.code(), Code::CardTransfer, "{block}");
    }
}

#[test]
fn a_fat_that_was_cut_short_is_named_so() {
    let mut image = Image::fixture("fat32");
    image.block_count /= 2;
    let error = error_of(image);
    assert_eq!(error.code(), Code::FileSystemCorrupt);
    let text = "the file system is damaged: volume is larger than the device";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_boot_sector_in_front_of_ext4_does_not_hide_it() {
    let boot_sector = Image::fixture("fat32").read(0, 512);
    for damage in [13, 14, 16] {
        let mut image = Image::fixture("ext4");
        image.write(0, &boot_sector);
        image.write(damage, &[0]);
        let fs = mount(Disk::new(image).volume()).expect("ext4");
        assert_eq!(fs.kind(), "ext4");
    }
}
