//! What an exception means: the syndrome register in words.
//!
//! Source: Arm Architecture Reference Manual for A-profile (DDI 0487), ESR_ELx.

#![forbid(unsafe_code)]

use core::fmt;

/// A value of ESR_ELx. `Display` says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

/// The exception classes that firmware can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An undefined instruction, or one that is disabled here.
    Undefined,
    /// A floating-point or SIMD instruction while these are trapped.
    FloatingPointTrapped,
    /// An exception return to a state that does not exist.
    IllegalState,
    /// SVC, HVC or SMC with nobody to answer.
    Call,
    /// A system register that is trapped.
    SystemRegister,
    /// An instruction could not be fetched.
    InstructionAbort,
    /// The program counter is not a multiple of 4.
    PcAlignment,
    /// A load or store failed.
    DataAbort,
    /// The stack pointer is not a multiple of 16.
    SpAlignment,
    /// An error that arrived after the access that caused it.
    SError,
    /// A breakpoint instruction (`BRK`), which compiled code places where it cannot go on.
    Breakpoint,
    /// Anything else, by number.
    Other(u8),
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The address is beyond what the tables can translate.
    AddressSize,
    /// Nothing is mapped there.
    Translation,
    /// The access flag is clear.
    AccessFlag,
    /// Mapped, but not for this kind of access.
    Permission,
    /// The bus refused it.
    External,
    /// The bus refused a read of the translation tables.
    ExternalOnWalk,
    /// A memory error.
    Ecc,
    /// The address is not aligned for this access or memory.
    Alignment,
    /// An exclusive or atomic access where these do not work.
    Exclusive,
    /// Anything else, by number.
    Other(u8),
}

impl Syndrome {
    /// The exception class.
    pub fn class(self) -> Class {
        match self.field(26, 6) {
            0x00 => Class::Undefined,
            0x07 => Class::FloatingPointTrapped,
            0x0e => Class::IllegalState,
            0x15..=0x17 => Class::Call,
            0x18 => Class::SystemRegister,
            0x20 | 0x21 => Class::InstructionAbort,
            0x22 => Class::PcAlignment,
            0x24 | 0x25 => Class::DataAbort,
            0x26 => Class::SpAlignment,
            0x2f => Class::SError,
            0x3c => Class::Breakpoint,
            other => Class::Other(other),
        }
    }

    /// Of an abort: why.
    pub fn fault(self) -> Option<Fault> {
        if !matches!(self.class(), Class::InstructionAbort | Class::DataAbort) {
            return None;
        }
        Some(match self.field(0, 6) {
            0x00..=0x03 => Fault::AddressSize,
            0x04..=0x07 => Fault::Translation,
            0x08..=0x0b => Fault::AccessFlag,
            0x0c..=0x0f => Fault::Permission,
            0x10 => Fault::External,
            0x14..=0x17 => Fault::ExternalOnWalk,
            0x18 | 0x1c..=0x1f => Fault::Ecc,
            0x21 => Fault::Alignment,
            0x35 => Fault::Exclusive,
            other => Fault::Other(other),
        })
    }

    /// Of a data abort: whether it was a write.
    pub fn is_write(self) -> bool {
        self.class() == Class::DataAbort && self.field(6, 1) == 1
    }

    /// Whether FAR_ELx holds the address.
    pub fn has_address(self) -> bool {
        match self.class() {
            Class::PcAlignment => true,
            Class::InstructionAbort | Class::DataAbort => self.field(10, 1) == 0,
            _ => false,
        }
    }

    fn field(self, shift: u32, bits: u32) -> u8 {
        debug_assert!(bits <= 8);
        u8::try_from(self.0 >> shift & ((1 << bits) - 1)).unwrap_or_default()
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class() {
            Class::Undefined => f.write_str("undefined instruction"),
            Class::FloatingPointTrapped => f.write_str("floating point is disabled"),
            Class::IllegalState => f.write_str("illegal execution state"),
            Class::Call => f.write_str("call to firmware that is not there"),
            Class::SystemRegister => f.write_str("access to a disabled system register"),
            Class::InstructionAbort => f.write_str("instruction fetch failed"),
            Class::PcAlignment => f.write_str("misaligned program counter"),
            Class::DataAbort if self.is_write() => f.write_str("write failed"),
            Class::DataAbort => f.write_str("read failed"),
            Class::SpAlignment => f.write_str("misaligned stack pointer"),
            Class::SError => f.write_str("asynchronous error (SError)"),
            Class::Breakpoint => f.write_str("breakpoint instruction"),
            Class::Other(number) => write!(f, "exception class {number:#04x}"),
        }?;
        match self.fault() {
            None => Ok(()),
            Some(Fault::AddressSize) => f.write_str(": address out of range"),
            Some(Fault::Translation) => f.write_str(": nothing is mapped there"),
            Some(Fault::AccessFlag) => f.write_str(": access flag"),
            Some(Fault::Permission) => f.write_str(": not permitted there"),
            Some(Fault::External) => f.write_str(": refused by the bus"),
            Some(Fault::ExternalOnWalk) => f.write_str(": translation table refused by the bus"),
            Some(Fault::Ecc) => f.write_str(": memory error"),
            Some(Fault::Alignment) => f.write_str(": misaligned address"),
            Some(Fault::Exclusive) => f.write_str(": exclusive access to uncached memory"),
            Some(Fault::Other(number)) => write!(f, ": fault status {number:#04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_write_to_constants_is_told_as_such() {
        // As QEMU reports a store to a read-only page from EL2.
        let syndrome = Syndrome(0x9600_004f);
        assert_eq!(syndrome.class(), Class::DataAbort);
        assert_eq!(syndrome.fault(), Some(Fault::Permission));
        assert!(syndrome.is_write() && syndrome.has_address());
        assert_eq!(syndrome.to_string(), "write failed: not permitted there");
    }

    #[test]
    fn a_read_of_absent_memory_is_told_as_such() {
        assert_eq!(Syndrome(0x9600_0007).to_string(), "read failed: nothing is mapped there");
        assert_eq!(Syndrome(0x9600_0010).to_string(), "read failed: refused by the bus");
    }

    #[test]
    fn an_address_that_the_processor_lost_is_not_shown() {
        assert!(!Syndrome(0x9600_0410).has_address());
        assert!(!Syndrome(0xbe00_0000).has_address());
    }

    #[test]
    fn execution_of_data_is_an_instruction_fetch() {
        assert_eq!(
            Syndrome(0x8600_000f).to_string(),
            "instruction fetch failed: not permitted there"
        );
    }

    #[test]
    fn every_value_has_words() {
        for class in 0..64u64 {
            for status in 0..64u64 {
                assert!(!Syndrome(class << 26 | status).to_string().is_empty());
            }
        }
        assert_eq!(Syndrome(0x3f << 26).to_string(), "exception class 0x3f");
    }
}
