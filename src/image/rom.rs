//! The header that the boot ROM reads: image vector table and boot data.
//!
//! 64 bytes in front of the first stage, as `mkimage -T imx8mimage` makes them: entry, where the
//! header itself is loaded to, how much to load, and where the signature block of the high
//! assurance boot (HAB) begins. Sources: U-Boot `tools/imx8mimage.c`, `include/imx8mimage.h`; i.MX 8M
//! Plus reference manual, "Program image" in the chapter on system boot.

use super::{Error, ErrorKind, le32};

/// Bytes of the header.
pub const HEADER_SIZE: u32 = 64;
/// Tag, length 0x20 in big-endian order, version 4.1.
pub const TAG: u32 = 0x4120_00d1;
/// What the ROM loads behind the first stage, for the signature block; zero in an unsigned image.
pub const CSF_ROOM: u32 = 0x2000;

/// What the first stage's end is rounded up to before the signature block follows.
const CSF_ALIGNMENT: u32 = 0x200;
const BOOT_DATA_AT: u32 = 0x20;

/// The header's fields. Addresses are the ROM's: it sees the on-chip memory at these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the ROM jumps to, at EL3.
    pub entry: u32,
    /// Device configuration data, which this chip's images do without: 0.
    pub dcd: u32,
    /// Where the boot data lie.
    pub boot_data: u32,
    /// Where the header lies.
    pub this: u32,
    /// Where the signature block lies.
    pub csf: u32,
    /// First address that is loaded.
    pub start: u32,
    /// Bytes that are loaded, signature block included.
    pub length: u32,
    /// Plugin flag: 0.
    pub plugin: u32,
}

impl Header {
    /// The header for a first stage of `size` bytes that is loaded to, and entered at, `entry`.
    /// `None` if that is more than an address can tell.
    pub fn new(entry: u32, size: u32) -> Option<Self> {
        let this = entry.checked_sub(HEADER_SIZE)?;
        let signed = size.checked_add(HEADER_SIZE)?.checked_next_multiple_of(CSF_ALIGNMENT)?;
        Some(Self {
            entry,
            dcd: 0,
            boot_data: this.checked_add(BOOT_DATA_AT)?,
            this,
            csf: this.checked_add(signed)?,
            start: this,
            length: signed.checked_add(CSF_ROOM)?,
            plugin: 0,
        })
    }

    /// Reads the header at the start of `bytes`, which lie at `offset` of the image. Whether the ROM
    /// would accept it is [`Self::check`]'s question.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, Error> {
        let truncated = ErrorKind::Truncated {
            needed: offset.saturating_add(HEADER_SIZE.into()),
            found: offset.saturating_add(bytes.len() as u64),
        };
        let word = |at| le32(bytes, at).ok_or(Error::at(offset, truncated));
        let tag = word(0)?;
        if tag != TAG {
            return Err(Error::at(offset, ErrorKind::NoRomHeader(tag)));
        }
        Ok(Self {
            entry: word(4)?,
            dcd: word(0xc)?,
            boot_data: word(0x10)?,
            this: word(0x14)?,
            csf: word(0x18)?,
            start: word(0x20)?,
            length: word(0x24)?,
            plugin: word(0x28)?,
        })
    }

    /// Whether the ROM would load what this header describes, given that it enters the first stage
    /// at `entry`; the first field for which it would not. The header lies at `offset` of the image.
    /// NXP's tool rounds other than mkimage, so lengths are checked for sense only.
    pub fn check(&self, entry: u32, offset: u64) -> Result<(), Error> {
        let this = entry.wrapping_sub(HEADER_SIZE);
        let fields = [
            ("entry", 4, self.entry, entry),
            ("device configuration pointer", 0xc, self.dcd, 0),
            ("boot data pointer", 0x10, self.boot_data, this.wrapping_add(BOOT_DATA_AT)),
            ("self pointer", 0x14, self.this, this),
            ("load address", 0x20, self.start, this),
            ("plugin flag", 0x28, self.plugin, 0),
            ("signature pointer", 0x18, self.csf, self.csf.max(entry)),
            ("load length", 0x24, self.length, self.length.max(self.signed_size())),
        ];
        for (field, at, found, wanted) in fields {
            if found != wanted {
                let kind = ErrorKind::RomHeader { field, found, wanted };
                return Err(Error::at(offset.saturating_add(at), kind));
            }
        }
        Ok(())
    }

    /// Bytes from the header's start to the signature block.
    pub fn signed_size(&self) -> u32 {
        self.csf.saturating_sub(self.this)
    }

    /// The header as the ROM reads it.
    pub fn to_bytes(&self) -> [u8; HEADER_SIZE as usize] {
        let fields = [
            (0, TAG),
            (4, self.entry),
            (0xc, self.dcd),
            (0x10, self.boot_data),
            (0x14, self.this),
            (0x18, self.csf),
            (0x20, self.start),
            (0x24, self.length),
            (0x28, self.plugin),
        ];
        let mut bytes = [0; HEADER_SIZE as usize];
        for (at, value) in fields {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}
