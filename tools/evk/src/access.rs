//! Accesses to registers: how wide they are, and stores as `firn ddr trace` prints them.

use std::fmt;

/// How wide one access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Double,
}

impl Width {
    /// In bytes, as a length in memory.
    pub fn size(self) -> usize {
        1 << self.log2()
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        1 << self.log2()
    }

    /// The bits that an access of this width carries.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }

    /// The exponent of its bytes, as instructions scale offsets by.
    pub(crate) fn log2(self) -> u32 {
        match self {
            Width::Byte => 0,
            Width::Half => 1,
            Width::Word => 2,
            Width::Double => 3,
        }
    }
}

/// A store to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// How wide.
    pub width: Width,
    /// Where: a physical address.
    pub address: u64,
    /// What.
    pub value: u64,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, address, value } = self;
        let digits = 2 + 2 * width.size();
        let kind = match width {
            Width::Byte => "W8",
            Width::Half => "W16",
            Width::Word => "W",
            Width::Double => "W64",
        };
        write!(f, "{kind} {address:#010x} {value:#0digits$x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_printed_in_the_width_that_it_has() {
        for (width, line) in [
            (Width::Byte, "W8 0x30a20008 0x07"),
            (Width::Half, "W16 0x30a20008 0x0007"),
            (Width::Word, "W 0x30a20008 0x00000007"),
            (Width::Double, "W64 0x30a20008 0x0000000000000007"),
        ] {
            assert_eq!(Store { width, address: 0x30a2_0008, value: 7 }.to_string(), line);
        }
    }
}
