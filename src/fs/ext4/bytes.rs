//! Numbers and checksums as ext4 and its journal write them.

/// 16 bits in little-endian; what lies behind the end of `bytes` reads as zero.
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(bytes, at))
}

/// 32 bits in little-endian; what lies behind the end of `bytes` reads as zero.
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(bytes, at))
}

/// 16 bits in big-endian; what lies behind the end of `bytes` reads as zero.
pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}

/// 32 bits in big-endian; what lies behind the end of `bytes` reads as zero.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(take(bytes, at))
}

/// A number in two halves.
pub(super) fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// CRC-32C, not inverted at the end, so that one can be the seed of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crc32c(pub(super) u32);

impl Crc32c {
    /// Before any byte.
    pub(super) const START: Self = Self(!0);

    /// After `bytes`.
    pub(super) fn over(self, bytes: &[u8]) -> Self {
        static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
        let mut digest = CRC.digest_with_initial(self.0.reverse_bits());
        digest.update(bytes);
        Self(!digest.finalize())
    }

    /// After `bytes`, with zeros in the place of the four at `hole`: where the checksum itself is.
    pub(super) fn over_all_but(self, bytes: &[u8], hole: usize) -> Self {
        let before = bytes.get(..hole).unwrap_or(bytes);
        let behind = bytes.get(hole.saturating_add(4)..).unwrap_or(&[]);
        self.over(before).over(&[0; 4]).over(behind)
    }
}
