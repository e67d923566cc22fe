//! What a volume holds, by its content.

use alloc::{boxed::Box, format, string::String, vec};

use super::{Error, ErrorKind, FileSystem, ext4::Ext4, fat::Fat};
use crate::block::{self, volume::Volume};

/// Where the superblock of ext2, ext3 and ext4 has its magic number.
const EXT_MAGIC: Signature = Signature::new(0x438, &[0x53, 0xef], "ext4");

/// What else a volume may hold, so that the user is told so. From the formats' own documentation
/// and the kernel's `include/uapi/linux/magic.h`.
const FOREIGN: &[Signature] = &[
    Signature::new(0, b"LUKS\xba\xbe", "LUKS (encrypted)"),
    Signature::new(0, b"XFSB", "XFS"),
    Signature::new(0, b"hsqs", "squashfs"),
    Signature::new(3, b"EXFAT   ", "exFAT"),
    Signature::new(3, b"NTFS    ", "NTFS"),
    Signature::new(0x200, b"LABELONE", "an LVM physical volume"),
    Signature::new(0x400, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    Signature::new(0x400, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    Signature::new(0x406, &[0x34, 0x34], "NILFS2"),
    Signature::new(0xff6, b"SWAPSPACE2", "swap space"),
    Signature::new(0xfff6, b"SWAPSPACE2", "swap space"),
    Signature::new(0x1000, &[0xfc, 0x4e, 0x2b, 0xa9], "a Linux RAID member"),
    Signature::new(
        0x1018,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        "bcachefs",
    ),
    Signature::new(
        0x1018,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
        "bcachefs",
    ),
    Signature::new(0x8001, b"CD001", "ISO 9660"),
    Signature::new(0x10040, b"_BHRfS_M", "btrfs"),
];

/// ZFS's ring of uberblocks: where it is, the distance and the magic of its members.
const ZFS_RING_AT: u64 = 0x20000;
const ZFS_RING_SIZE: usize = 0x20000;
const ZFS_STEP: usize = 1024;
const ZFS_MAGIC: [u8; 8] = 0x00ba_b10c_u64.to_le_bytes();

struct Signature {
    offset: u64,
    magic: &'static [u8],
    name: &'static str,
}

impl Signature {
    const fn new(offset: u64, magic: &'static [u8], name: &'static str) -> Self {
        Self { offset, magic, name }
    }

    /// Whether `volume` has it. A volume that ends before has not.
    fn matches(&self, volume: &Volume) -> Result<bool, block::Error> {
        let mut found = [0; 16];
        let found = &mut found[..self.magic.len()];
        if self.offset + found.len() as u64 > volume.size() {
            return Ok(false);
        }
        volume.read_at(self.offset, found)?;
        Ok(found == self.magic)
    }
}

/// Mounts what `volume` holds, read-only.
pub fn mount(volume: Volume) -> Result<Box<dyn FileSystem>, Error> {
    let damaged_fat = match Fat::mount(&volume) {
        Ok(Some(fat)) => return Ok(Box::new(fat)),
        Err(error @ Error { kind: ErrorKind::Device(_), .. }) => return Err(error),
        Err(error) => Some(error),
        Ok(None) => None,
    };
    // The first sector of a boot loader in front of ext4 may look like a damaged FAT.
    if EXT_MAGIC.matches(&volume).map_err(device_error)? {
        return Ok(Box::new(Ext4::mount(volume)?));
    }
    if let Some(error) = damaged_fat {
        return Err(error);
    }
    let kind = ErrorKind::Unknown(describe(&volume).map_err(device_error)?);
    Err(Error { kind, path: String::new() })
}

fn describe(volume: &Volume) -> Result<String, block::Error> {
    for signature in FOREIGN {
        if signature.matches(volume)? {
            return Ok(format!("this is {}", signature.name));
        }
    }
    if is_zfs(volume)? {
        return Ok("this is ZFS".into());
    }
    Ok("its content is not known".into())
}

fn is_zfs(volume: &Volume) -> Result<bool, block::Error> {
    let mut ring = vec![0; ZFS_RING_SIZE];
    if volume.size() < ZFS_RING_AT + ring.len() as u64 {
        return Ok(false);
    }
    volume.read_at(ZFS_RING_AT, &mut ring)?;
    Ok(ring.chunks(ZFS_STEP).any(|uberblock| uberblock.starts_with(&ZFS_MAGIC)))
}

fn device_error(error: block::Error) -> Error {
    Error { kind: ErrorKind::Device(error), path: String::new() }
}
