//! The parts of a PE/COFF header that tell of kernels with an EFI stub.
//!
//! Source: the PE/COFF specification (COFF header, section table).

#![forbid(unsafe_code)]

/// The COFF machine type of arm64.
pub(super) const ARM64: u16 = 0xaa64;

/// `N` bytes at `offset`, if there are so many.
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The machine type, if there is a header.
pub(super) fn machine(head: &[u8]) -> Option<u16> {
    let coff = header(head)?;
    Some(u16::from_le_bytes(array(head, coff + 4)?))
}

/// Where the last byte ends that the section table speaks of.
pub(super) fn sections_end(head: &[u8]) -> Option<u64> {
    let coff = header(head)?;
    let sections = u16::from_le_bytes(array(head, coff + 6)?);
    let optional_header_size = u16::from_le_bytes(array(head, coff + 20)?);
    let table = coff + 24 + usize::from(optional_header_size);
    let mut end = 0;
    for section in 0..usize::from(sections) {
        let entry = table + 40 * section;
        let raw_size = u32::from_le_bytes(array(head, entry + 16)?);
        let raw_offset = u32::from_le_bytes(array(head, entry + 20)?);
        end = end.max(u64::from(raw_offset) + u64::from(raw_size));
    }
    (end > 0).then_some(end)
}

/// Offset of `PE\0\0`.
fn header(head: &[u8]) -> Option<usize> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let offset = u32::from_le_bytes(array(head, 0x3c)?) as usize;
    (array(head, offset)? == *b"PE\0\0").then_some(offset)
}

/// The processor that a machine type stands for.
pub(super) fn machine_name(number: u16) -> &'static str {
    match number {
        0x014c => "x86",
        0x01c0 | 0x01c2 | 0x01c4 => "32-bit Arm",
        0x8664 => "x86-64",
        ARM64 => "arm64",
        0x5032 | 0x5064 => "RISC-V",
        0x6232 | 0x6264 => "LoongArch",
        _ => "another processor",
    }
}
