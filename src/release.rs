//! Which release of the firmware this is, told by firn.bin's own bytes.
//!
//! [`version`] is what the second stage prints; it reads it from a block that begins with a mark, so that
//! whoever holds a firn.bin finds it there with [`of`]: `firn image build` does, and writes it into the
//! image's container.

#![forbid(unsafe_code)]

use core::hint::black_box;

/// Bytes of a version at most: what a container has room for.
pub const SIZE: u16 = 32;

/// This release.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes of mark and version.
const BLOCK_SIZE: usize = MARK.len() + SIZE as usize;
/// What stands in front of the version; no text, so that none looks like it.
pub const MARK: [u8; 16] = *b"\x7f\xffFIRN RELEASE\xff\x7f";

/// Mark and version, ended by zeros.
static BLOCK: [u8; BLOCK_SIZE] = block();

const fn block() -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    block.split_at_mut(MARK.len()).0.copy_from_slice(&MARK);
    let text = VERSION.as_bytes();
    block.split_at_mut(MARK.len()).1.split_at_mut(text.len()).0.copy_from_slice(text);
    block
}

/// The version of the program that asks.
pub fn version() -> &'static str {
    // As if it could be another one: what is known beforehand would not be kept in the file.
    text(&black_box(&BLOCK)[MARK.len()..]).unwrap_or_default()
}

/// The version of the second stage whose bytes these are; `None` if they do not tell.
pub fn of(firmware: &[u8]) -> Option<&str> {
    let marked = firmware.windows(BLOCK_SIZE).filter(|bytes| bytes.starts_with(&MARK));
    marked.filter_map(|block| text(&block[MARK.len()..])).next()
}

/// The text in a field that zeros fill up, if it may be a version.
pub fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(end);
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    let text = core::str::from_utf8(text).ok()?;
    (plain && rest.iter().all(|&byte| byte == 0)).then_some(text)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// A firn.bin of a release, its block at an odd place.
    fn firmware(version: &[u8]) -> Vec<u8> {
        let mut field = [0; SIZE as usize];
        field[..version.len()].copy_from_slice(version);
        [b"code \x7f\xffFIRN and constants".as_slice(), &MARK, &field, b"data"].concat()
    }

    #[test]
    fn a_firmware_tells_its_version() {
        assert_eq!(version(), VERSION);
        assert_eq!(of(&firmware(b"1.12.0-rc.1+sd")), Some("1.12.0-rc.1+sd"));
        assert_eq!(of(&BLOCK), Some(VERSION));
    }

    #[test]
    fn what_does_not_tell_or_tells_nonsense_has_no_version() {
        for bytes in [&b""[..], b"U-Boot 2026.10", &MARK, &firmware(b""), &firmware(b"1.0 beta")] {
            assert_eq!(of(bytes), None, "{bytes:?}");
        }
        assert_eq!(of(&firmware(b"1.0\0beta")), None);
        assert_eq!(of(&firmware(b"1.\xff")), None);
        let cut = firmware(b"1.0.0");
        assert_eq!(of(&cut[..cut.len() - 5]), None);
    }

    #[test]
    fn nonsense_does_not_hide_what_follows_it() {
        let both = [firmware(b"\n"), firmware(b"2.0.0")].concat();
        assert_eq!(of(&both), Some("2.0.0"));
    }
}
