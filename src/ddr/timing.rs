//! A memory configuration as the bring-up engine uses it: tables of registers and values.
//!
//! They are the larger part of what the engine adds to the first stage, so PHY rows are packed into
//! five bytes. They are generated from `board/*/ddr/*.timing`.

use super::clock;

/// A memory configuration of a board.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What a user calls it.
    pub name: &'static str,
    /// Its tables.
    pub timing: &'static Timing,
}

impl Memory {
    /// The one of `memories` that is called `name`, or else `default`.
    ///
    /// # Panics
    /// If there is none; it is evaluated when the firmware is built.
    pub const fn choose(
        memories: &'static [Self],
        name: Option<&'static str>,
        default: &'static str,
    ) -> Self {
        let name = match name {
            Some(name) => name.as_bytes(),
            None => default.as_bytes(),
        };
        let mut index = 0;
        while index < memories.len() {
            if equal(memories[index].name.as_bytes(), name) {
                return memories[index];
            }
            index += 1;
        }
        panic!("FIRN_MEMORY names no memory of this board")
    }
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// All that is specific to one kind of memory on one board.
#[derive(Debug)]
pub struct Timing {
    /// Data rates of the controller's set points, in MT/s.
    pub rates: &'static [u16],
    /// Controller registers, written in this order.
    pub controller: &'static [ControllerWrite],
    /// PHY registers, written before training.
    pub phy: &'static [PhyWrite],
    /// Training runs, in order.
    pub runs: &'static [Run],
    /// The PHY's initialization engine and what is set after training.
    pub pie: &'static [PhyWrite],
    /// Registers that hold what training found.
    pub captured: &'static [PhyRegister],
    /// Inline ECC: what must be written once before it is read.
    pub scrub: &'static [ScrubRange],
    /// Inline ECC: what is read and corrected for ever.
    pub background_scrub: Option<ScrubRange>,
}

impl Timing {
    /// Itself, if the engine can make all its clocks; evaluated when the firmware is built.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub const fn checked(self) -> Self {
        let mut index = 0;
        while index < self.runs.len() {
            assert!(clock::source(self.runs[index].rate).is_some(), "no clock for this data rate");
            index += 1;
        }
        self
    }
}

/// A controller register and what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerWrite {
    /// Physical address.
    pub address: u32,
    /// 32 bits.
    pub value: u32,
}

impl ControllerWrite {
    /// A row.
    pub const fn new(address: u32, value: u32) -> Self {
        Self { address, value }
    }
}

/// Number of a PHY register, in three bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyRegister([u8; 3]);

impl PhyRegister {
    /// Register `number`, below 2^24.
    pub const fn new(number: u32) -> Self {
        let [low, middle, high, none] = number.to_le_bytes();
        assert!(none == 0, "a PHY register has a number of 24 bits");
        Self([low, middle, high])
    }

    /// The number.
    pub const fn number(self) -> u32 {
        let Self([low, middle, high]) = self;
        u32::from_le_bytes([low, middle, high, 0])
    }
}

/// A PHY register and what it gets, in five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyWrite {
    register: PhyRegister,
    value: [u8; 2],
}

impl PhyWrite {
    /// A row.
    pub const fn new(register: u32, value: u16) -> Self {
        Self { register: PhyRegister::new(register), value: value.to_le_bytes() }
    }

    /// Number of the register.
    pub const fn register(self) -> u32 {
        self.register.number()
    }

    /// 16 bits.
    pub const fn value(self) -> u16 {
        u16::from_le_bytes(self.value)
    }
}

/// What a training run finds out. The two kinds have different firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Delays.
    OneD,
    /// Delays and reference voltage.
    TwoD,
}

/// A training run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Data rate in MT/s.
    pub rate: u16,
    /// What it finds out.
    pub kind: Kind,
    /// What the firmware is told: rows of its message block.
    pub message: &'static [PhyWrite],
}

/// A range of memory, in HIF words: 4 bytes each, counted from the start of the DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubRange {
    /// First word.
    pub first: u32,
    /// Last word.
    pub last: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_packed_and_read_back() {
        assert_eq!(size_of::<PhyWrite>(), 5);
        assert_eq!(size_of::<PhyRegister>(), 3);
        let row = PhyWrite::new(0xd_0099, 0xabcd);
        assert_eq!((row.register(), row.value()), (0xd_0099, 0xabcd));
        assert_eq!(PhyRegister::new(0xff_ffff).number(), 0xff_ffff);
    }
}
