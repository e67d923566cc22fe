//! CRC-32 as gzip and lzop have it.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Of all of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// Of bytes that come in pieces.
pub(super) fn crc32_digest() -> Digest<'static, u32, Table<1>> {
    CRC.digest()
}
