//! From a linked ELF file to the bytes that lie in memory.

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSegment as _};

/// Larger than any firmware: a stray address must not make a file of gigabytes.
const LARGEST: u64 = 64 << 20;

/// A flat binary and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat {
    /// Address of the first byte.
    pub address: u64,
    /// From the first loaded byte to the last that the file holds; gaps are zeros, BSS is left out.
    pub bytes: Vec<u8>,
}

/// Flattens the loadable segments of `elf` by their addresses.
pub fn flatten(elf: &[u8]) -> Result<Flat> {
    let file = object::File::parse(elf).context("not an ELF file")?;
    let mut pieces = Vec::new();
    for segment in file.segments() {
        let data = segment.data().context("a segment outside the file")?;
        if !data.is_empty() {
            pieces.push((segment.address(), data));
        }
    }
    let start = pieces.iter().map(|(at, _)| *at).min().context("nothing to load in the file")?;
    let end = pieces
        .iter()
        .map(|(at, data)| at.checked_add(data.len() as u64).context("a segment wraps around"))
        .try_fold(start, |end, next| next.map(|next| end.max(next)))?;
    let length = end - start;
    ensure!(length <= LARGEST, "the segments span {length} bytes");
    let mut bytes = vec![0; usize::try_from(length)?];
    for (at, data) in pieces {
        let from = usize::try_from(at - start)?;
        bytes[from..from + data.len()].copy_from_slice(data);
    }
    Ok(Flat { address: start, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(flatten(b"#!/bin/sh\n").is_err());
        assert!(flatten(b"").is_err());
    }
}
