//! What a power cut leaves of a sector that was being written.

use firn::block::BLOCK_SIZE;

/// What a card may hold in a sector whose write was cut short, besides the old and the new bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Torn {
    Zeros,
    Ones,
    HalfNew,
    Mixed,
}

impl Torn {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Zeros, Self::Ones, Self::HalfNew, Self::Mixed];

    /// Byte `at` of a torn sector that held `old` and was to hold `new`.
    pub(crate) fn byte(self, at: usize, old: u8, new: u8) -> u8 {
        match self {
            Self::Zeros => 0,
            Self::Ones => 0xff,
            Self::HalfNew if at % BLOCK_SIZE < BLOCK_SIZE / 2 => new,
            Self::HalfNew => old,
            Self::Mixed => old ^ new ^ 0x5a,
        }
    }
}
