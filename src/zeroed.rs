//! Memory for bytes that come later.

#![forbid(unsafe_code)]

use alloc::{collections::TryReserveError, vec::Vec};

/// What is copied at once: `Vec::resize` writes byte by byte where the compiler looks for size.
const ZEROS: [u8; 4096] = [0; 4096];

/// `size` bytes, all zero.
///
/// # Errors
/// There is no memory for them.
pub(crate) fn zeroed(size: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    while bytes.len() < size {
        let missing = size - bytes.len();
        bytes.extend_from_slice(&ZEROS[..missing.min(ZEROS.len())]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_zeros_as_were_asked_for() {
        for size in [0, 1, 4095, 4096, 4097, 3 * 4096, 100_000] {
            let bytes = zeroed(size).unwrap();
            assert_eq!(bytes.len(), size);
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn more_than_there_is_memory_for_is_an_error() {
        assert!(zeroed(usize::MAX).is_err());
    }
}
