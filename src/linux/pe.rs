//! The parts of a PE/COFF header that tell of kernels with an EFI stub.
//!
//! Source: the PE/COFF specification (COFF header, section table).

#![forbid(unsafe_code)]

/// The first bytes of the header.
const SIGNATURE: [u8; 4] = *b"PE\0\0";
/// Signature and COFF header, in bytes.
const HEADER_SIZE: u64 = 24;
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

/// Where the last byte ends that the headers speak of, section table and sections included; nothing
/// if there are no headers. Of sections whose entries are behind the end of `head`, nothing is known
/// but that.
pub(super) fn sections_end(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let offset = header_offset(head)?;
    let Some(signature) = array(head, offset) else {
        return Some((offset as u64).saturating_add(HEADER_SIZE));
    };
    if signature != SIGNATURE {
        return None;
    }
    let field = |at: usize| array(head, offset + at).map_or(0, u16::from_le_bytes);
    let (sections, optional_header_size) = (field(6), field(20));
    let table = offset + 24 + usize::from(optional_header_size);
    let mut end = (offset as u64).saturating_add(HEADER_SIZE);
    for section in 0..usize::from(sections) {
        let entry = table + 40 * section;
        let number = |at: usize| array(head, entry + at).map(u32::from_le_bytes);
        let (size, start) = (number(16).unwrap_or(0), number(20).unwrap_or(0));
        end = end.max(u64::from(start) + u64::from(size)).max(entry as u64 + 40);
    }
    Some(end)
}

/// Offset of `PE\0\0`.
fn header(head: &[u8]) -> Option<usize> {
    let offset = header_offset(head).filter(|_| head.starts_with(b"MZ"))?;
    (array(head, offset)? == SIGNATURE).then_some(offset)
}

/// Where it should be.
fn header_offset(head: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(array(head, 0x3c)?)).ok()
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
