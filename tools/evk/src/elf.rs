//! From a linked ELF file to the flat binary that the stage before loads: what objcopy does, with
//! the checks that matter here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use object::LittleEndian;
use object::elf::{EM_AARCH64, FileHeader64, PT_INTERP, PT_LOAD, ProgramHeader64, SHT_SYMTAB};
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};

/// A stray segment must not make a file of gigabytes.
const LARGEST: u64 = 64 << 20;

type Header = FileHeader64<LittleEndian>;

/// The bytes of all loadable segments of `elf` at their distances from the lowest physical
/// address, gaps zeroed. What only memory holds (BSS, stack, heap) is not in the file.
///
/// # Errors
/// Not a linked arm64 ELF file, its entry is not its first byte, segments that overlap or lie too
/// far apart.
pub fn flatten(elf: &[u8]) -> Result<Vec<u8>> {
    let header = Header::parse(elf).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("not a little-endian ELF file")?;
    ensure!(header.e_machine(endian) == EM_AARCH64, "not for arm64");
    let segments = loaded(header, endian, elf)?;
    let base = segments.first().context("no segment to load")?.address;
    ensure!(
        header.e_entry(endian) == base,
        "the entry {:#x} is not the first byte, {base:#x}: what jumps there would miss it",
        header.e_entry(endian)
    );
    let mut image = Vec::new();
    for Segment { address, bytes } in segments {
        let offset = address - base;
        ensure!(offset <= LARGEST, "a segment lies at {address:#x}, far from {base:#x}");
        let offset = usize::try_from(offset)?;
        ensure!(offset >= image.len(), "segments overlap at {address:#x}");
        image.resize(offset, 0);
        image.extend_from_slice(bytes);
    }
    Ok(image)
}

/// The addresses of all symbols that have a name.
///
/// # Errors
/// Not an ELF file, or a broken one.
pub fn symbols(elf: &[u8]) -> Result<BTreeMap<String, u64>> {
    let header = Header::parse(elf).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("not a little-endian ELF file")?;
    let sections = header.sections(endian, elf).context("broken section headers")?;
    let symbols = sections.symbols(endian, elf, SHT_SYMTAB).context("broken symbols")?;
    let named = symbols.iter().filter_map(|symbol| {
        let name = symbol.name(endian, symbols.strings()).ok()?;
        Some((String::from_utf8_lossy(name).into_owned(), symbol.st_value(endian)))
    });
    Ok(named.filter(|(name, _)| !name.is_empty()).collect())
}

/// Whether an arm64 program runs without a dynamic linker.
///
/// # Errors
/// Not an arm64 ELF file, or a broken one.
pub fn is_static(elf: &[u8]) -> Result<bool> {
    let header = Header::parse(elf).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("not a little-endian ELF file")?;
    ensure!(header.e_machine(endian) == EM_AARCH64, "not for arm64");
    let programs = header.program_headers(endian, elf).context("broken program headers")?;
    Ok(!programs.iter().any(|program| program.p_type(endian) == PT_INTERP))
}

struct Segment<'a> {
    /// Physical address of its first byte.
    address: u64,
    bytes: &'a [u8],
}

/// The segments with bytes in the file, by address.
fn loaded<'a>(header: &Header, endian: LittleEndian, elf: &'a [u8]) -> Result<Vec<Segment<'a>>> {
    let mut segments = Vec::new();
    for program in header.program_headers(endian, elf).context("broken program headers")? {
        let program: &ProgramHeader64<_> = program;
        if program.p_type(endian) == PT_LOAD && program.p_filesz(endian) > 0 {
            let address = program.p_paddr(endian);
            let bytes = program.data(endian, elf).ok();
            let bytes = bytes.with_context(|| format!("segment {address:#x} is cut off"))?;
            segments.push(Segment { address, bytes });
        }
    }
    segments.sort_by_key(|segment| segment.address);
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x4020_0000;

    /// An ELF file as a linker writes it: `(type, physical address, bytes, size in memory)`.
    fn elf(entry: u64, segments: &[(u32, u64, &[u8], u64)]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
        let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
        let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
        half(&mut file, 2); // executable
        half(&mut file, 183); // AArch64
        word(&mut file, 1);
        long(&mut file, entry);
        long(&mut file, 64); // program headers follow this one
        long(&mut file, 0);
        word(&mut file, 0);
        for value in [64, 56, u16::try_from(segments.len()).unwrap(), 64, 0, 0] {
            half(&mut file, value);
        }
        let mut offset = 64 + 56 * segments.len() as u64;
        for (kind, address, bytes, memory) in segments {
            word(&mut file, *kind);
            word(&mut file, 5);
            // Virtual addresses are others: the file is laid out by physical ones.
            for value in
                [offset, *address + 0x8000_0000, *address, bytes.len() as u64, *memory, 4096]
            {
                long(&mut file, value);
            }
            offset += bytes.len() as u64;
        }
        segments.iter().for_each(|(_, _, bytes, _)| file.extend_from_slice(bytes));
        file
    }

    #[test]
    fn segments_land_at_their_distance_with_gaps_zeroed() {
        let file = elf(BASE, &[(1, BASE + 6, b"data", 4), (1, BASE, b"code", 4)]);
        assert_eq!(flatten(&file).unwrap(), b"code\0\0data");
    }

    #[test]
    fn memory_that_has_no_bytes_in_the_file_adds_none() {
        let file = elf(BASE, &[(1, BASE, b"code", 4), (1, BASE + 0x1000, b"", 1 << 30)]);
        assert_eq!(flatten(&file).unwrap(), b"code");
    }

    #[test]
    fn only_loadable_segments_count() {
        let file = elf(BASE, &[(4, 0, b"note", 4), (1, BASE, b"code", 4)]);
        assert_eq!(flatten(&file).unwrap(), b"code");
    }

    #[test]
    fn an_entry_that_is_not_the_first_byte_is_refused() {
        let error = flatten(&elf(BASE + 4, &[(1, BASE, b"code", 4)])).unwrap_err().to_string();
        assert!(error.contains("0x40200004"), "{error}");
    }

    #[test]
    fn overlapping_or_stray_segments_are_refused() {
        let overlap = elf(BASE, &[(1, BASE, b"code", 4), (1, BASE + 2, b"data", 4)]);
        assert!(flatten(&overlap).unwrap_err().to_string().contains("overlap"));
        let stray = elf(BASE, &[(1, BASE, b"code", 4), (1, BASE + LARGEST + 1, b"data", 4)]);
        assert!(flatten(&stray).unwrap_err().to_string().contains("far from"));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error_not_a_panic() {
        let file = elf(BASE, &[(1, BASE, b"code", 4), (1, BASE + 8, b"data", 4)]);
        for length in 0..file.len() {
            assert!(flatten(&file[..length]).is_err(), "{length} bytes were accepted");
        }
    }

    #[test]
    fn other_machines_binaries_are_refused() {
        let mut file = elf(BASE, &[(1, BASE, b"code", 4)]);
        file[18] = 62;
        assert_eq!(flatten(&file).unwrap_err().to_string(), "not for arm64");
    }

    #[test]
    fn a_program_that_names_a_dynamic_linker_is_not_static() {
        let alone = elf(BASE, &[(1, BASE, b"code", 4)]);
        assert!(is_static(&alone).unwrap());
        let linked = elf(BASE, &[(3, 0, b"/lib/ld.so", 10), (1, BASE, b"code", 4)]);
        assert!(!is_static(&linked).unwrap());
        assert!(is_static(b"#!/bin/sh").is_err());
    }
}
