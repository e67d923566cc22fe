//! CRC-32 as gzip, lzop and FIT have it.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

/// 16 bytes at once, with 16 KiB of tables.
type Lookup = Table<16>;

static CRC: Crc<u32, Lookup> = Crc::<u32, Lookup>::new(&CRC_32_ISO_HDLC);

/// Of bytes that come in pieces.
pub(super) type Crc32 = Digest<'static, u32, Lookup>;

/// Of all of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// Of no bytes yet.
pub(super) fn crc32_digest() -> Crc32 {
    CRC.digest()
}
