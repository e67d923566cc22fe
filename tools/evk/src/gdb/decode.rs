//! AArch64 loads and stores, as far as code for devices uses them.
//!
//! Source: Arm Architecture Reference Manual for A-profile (DDI 0487), C4.1 "A64 instruction set
//! encoding", group "Loads and stores". General-purpose registers only; exclusives, atomics and
//! literals are refused, because no device register is accessed that way.

use anyhow::{Result, bail};

use crate::access::Width;

/// The register that an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// x0 to x30.
    Register(u8),
    /// The stack pointer.
    StackPointer,
}

/// What is added to the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Bytes.
    Immediate(i64),
    /// A register, extended and shifted.
    Register(Index),
}

/// A register as an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// x0 to x30; 31 reads as zero.
    pub number: u8,
    extension: Extension,
    shift: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    UnsignedWord,
    SignedWord,
    Double,
}

impl Index {
    /// What is added to the base when the register holds `value`.
    pub fn value(self, value: u64) -> u64 {
        let extended = match self.extension {
            Extension::UnsignedWord => value & Width::Word.mask(),
            Extension::SignedWord => sign_extend(value, 32).cast_unsigned(),
            Extension::Double => value,
        };
        extended << self.shift
    }
}

/// One load or store of one or two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Loads; otherwise it stores.
    pub load: bool,
    /// Width of the access to each register.
    pub width: Width,
    /// Registers in the order of their addresses; 31 is the zero register.
    pub registers: [Option<u8>; 2],
    /// What the address is counted from.
    pub base: Base,
    /// What is added.
    pub offset: Offset,
    /// The base is accessed as it is, and moved afterwards.
    pub post_index: bool,
    /// The moved base is kept.
    pub write_back: bool,
    /// A load of fewer bits than the register has keeps the sign, up to so many bits.
    sign_extend_to: Option<u32>,
}

impl Access {
    /// What a register holds after loading `value`.
    pub fn extend(&self, value: u64) -> u64 {
        let value = value & self.width.mask();
        let Some(bits) = self.sign_extend_to else { return value };
        let from = u32::try_from(8 * self.width.bytes()).unwrap_or(64);
        sign_extend(value, from).cast_unsigned() & (u64::MAX >> (64 - bits))
    }
}

/// The width that the size field of a load or store names.
fn width_of(size: u32) -> Width {
    match size & 3 {
        0 => Width::Byte,
        1 => Width::Half,
        2 => Width::Word,
        _ => Width::Double,
    }
}

/// Decodes the load or store in `word`. Anything else is an error that says so.
pub fn decode(word: u32) -> Result<Access> {
    if field(word, 26, 1) != 0 {
        bail!("it moves SIMD registers or is no load or store");
    }
    match (field(word, 27, 3), field(word, 24, 2)) {
        (0b111, 0b01) => single(word, unsigned_offset),
        (0b111, 0b00) if field(word, 21, 1) == 0 => single(word, nine_bit_offset),
        (0b111, 0b00) if field(word, 10, 2) == 0b10 => single(word, register_offset),
        (0b101, 0b00 | 0b01) => pair(word),
        _ => bail!("it is no load or store of a kind that devices are accessed with"),
    }
}

type Addressing = fn(u32, Width) -> Result<(Offset, bool, bool)>;

/// One register: size in bits 31:30, kind of access in bits 23:22.
fn single(word: u32, addressing: Addressing) -> Result<Access> {
    let width = width_of(field(word, 30, 2));
    let (load, sign_extend_to) = match (field(word, 22, 2), width) {
        (0b00, _) => (false, None),
        (0b01, _) => (true, None),
        (0b10, Width::Double) => bail!("it is a prefetch"),
        (0b10, _) => (true, Some(64)),
        (0b11, Width::Byte | Width::Half) => (true, Some(32)),
        _ => bail!("its encoding is not allocated"),
    };
    let (offset, post_index, write_back) = addressing(word, width)?;
    Ok(Access {
        load,
        width,
        registers: [Some(register(word, 0)), None],
        base: base(word),
        offset,
        post_index,
        write_back,
        sign_extend_to,
    })
}

fn unsigned_offset(word: u32, width: Width) -> Result<(Offset, bool, bool)> {
    let bytes = i64::from(field(word, 10, 12)) << width.log2();
    Ok((Offset::Immediate(bytes), false, false))
}

/// Unscaled, post-indexed and pre-indexed.
fn nine_bit_offset(word: u32, _: Width) -> Result<(Offset, bool, bool)> {
    let offset = Offset::Immediate(sign_extend(u64::from(field(word, 12, 9)), 9));
    match field(word, 10, 2) {
        0b00 => Ok((offset, false, false)),
        0b01 => Ok((offset, true, true)),
        0b11 => Ok((offset, false, true)),
        _ => bail!("it is an unprivileged access"),
    }
}

fn register_offset(word: u32, width: Width) -> Result<(Offset, bool, bool)> {
    let extension = match field(word, 13, 3) {
        0b010 => Extension::UnsignedWord,
        0b110 => Extension::SignedWord,
        0b011 | 0b111 => Extension::Double,
        _ => bail!("its encoding is not allocated"),
    };
    let shift = if field(word, 12, 1) == 1 { width.log2() } else { 0 };
    let index = Index { number: register(word, 16), extension, shift };
    Ok((Offset::Register(index), false, false))
}

/// Two registers: width in bit 31, addressing in bits 24:23, a 7-bit scaled offset.
fn pair(word: u32) -> Result<Access> {
    let (width, sign_extend_to) = match field(word, 30, 2) {
        0b00 => (Width::Word, None),
        0b01 => (Width::Word, Some(64)),
        0b10 => (Width::Double, None),
        _ => bail!("its encoding is not allocated"),
    };
    let load = field(word, 22, 1) == 1;
    if sign_extend_to.is_some() && !load {
        bail!("its encoding is not allocated");
    }
    let bytes = sign_extend(u64::from(field(word, 15, 7)), 7) << width.log2();
    let (post_index, write_back) = match field(word, 23, 2) {
        0b01 => (true, true),
        0b11 => (false, true),
        _ => (false, false),
    };
    Ok(Access {
        load,
        width,
        registers: [Some(register(word, 0)), Some(register(word, 10))],
        base: base(word),
        offset: Offset::Immediate(bytes),
        post_index,
        write_back,
        sign_extend_to,
    })
}

fn base(word: u32) -> Base {
    match register(word, 5) {
        31 => Base::StackPointer,
        number => Base::Register(number),
    }
}

fn field(word: u32, low: u32, bits: u32) -> u32 {
    (word >> low) & ((1 << bits) - 1)
}

fn register(word: u32, low: u32) -> u8 {
    // Five bits always fit.
    u8::try_from(field(word, low, 5)).unwrap_or(31)
}

fn sign_extend(value: u64, bits: u32) -> i64 {
    let unused = 64 - bits;
    (value << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are what LLVM assembles.
    fn access(word: u32) -> Access {
        decode(word).unwrap()
    }

    fn immediate(access: &Access) -> i64 {
        match access.offset {
            Offset::Immediate(bytes) => bytes,
            Offset::Register(_) => panic!("not an immediate"),
        }
    }

    #[test]
    fn unsigned_offsets_count_in_units_of_the_width() {
        // ldr w1, [x0, #0x190]
        let load = access(0xb941_9001);
        assert!(load.load);
        assert_eq!((load.width, immediate(&load)), (Width::Word, 0x190));
        assert_eq!((load.registers, load.base), ([Some(1), None], Base::Register(0)));
        // strh w3, [sp, #2]
        let store = access(0x7900_07e3);
        assert!(!store.load);
        assert_eq!((store.width, immediate(&store)), (Width::Half, 2));
        assert_eq!(store.base, Base::StackPointer);
    }

    #[test]
    fn pre_and_post_index_move_the_base() {
        // ldr x2, [x1], #-8
        let post = access(0xf85f_8422);
        assert!(post.post_index && post.write_back);
        assert_eq!((post.width, immediate(&post)), (Width::Double, -8));
        // strb w2, [x1, #1]!
        let pre = access(0x3800_1c22);
        assert!(!pre.post_index && pre.write_back && !pre.load);
        assert_eq!((pre.width, immediate(&pre)), (Width::Byte, 1));
    }

    #[test]
    fn an_unscaled_offset_may_be_negative() {
        // ldur w0, [x1, #-4]
        let load = access(0xb85f_c020);
        assert_eq!((immediate(&load), load.write_back), (-4, false));
    }

    #[test]
    fn a_register_offset_is_extended_and_shifted() {
        // ldr w0, [x1, w2, sxtw #2]
        let Offset::Register(index) = access(0xb862_d820).offset else { panic!() };
        assert_eq!(index.value(0xffff_ffff), (-4i64).cast_unsigned());
        // str x0, [x1, x2]
        let Offset::Register(index) = access(0xf822_6820).offset else { panic!() };
        assert_eq!(index.value(8), 8);
    }

    #[test]
    fn pairs_name_two_registers() {
        // ldp w3, w4, [x5, #8]
        let load = access(0x2941_10a3);
        assert_eq!(load.registers, [Some(3), Some(4)]);
        assert_eq!((load.width, immediate(&load), load.load), (Width::Word, 8, true));
        // stp x0, x1, [sp, #-16]!
        let store = access(0xa9bf_07e0);
        assert!(store.write_back && !store.post_index && !store.load);
        assert_eq!((store.width, immediate(&store)), (Width::Double, -16));
    }

    #[test]
    fn signed_loads_keep_the_sign_up_to_the_width_of_the_register() {
        // ldrsb w0, [x1]
        assert_eq!(access(0x39c0_0020).extend(0x80), 0xffff_ff80);
        // ldrsw x0, [x1]
        assert_eq!(access(0xb980_0020).extend(0x8000_0000), 0xffff_ffff_8000_0000);
        // ldrb w0, [x1]
        assert_eq!(access(0x3940_0020).extend(0x80), 0x80);
    }

    #[test]
    fn other_instructions_are_refused() {
        for word in [
            0xd503_201f, // nop
            0x8803_fc20, // stlxr w3, w0, [x1]
            0x885f_fc20, // ldaxr w0, [x1]
            0x3dc0_0020, // ldr q0, [x1]
            0xf980_0020, // prfm pldl1keep, [x1]
            0xb8e0_0020, // ldaddal w0, w0, [x1]
            0x1800_0000, // ldr w0, .
        ] {
            assert!(decode(word).is_err(), "{word:#x}");
        }
    }
}
