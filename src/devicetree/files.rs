//! Device tree files: which one of a directory is the board's.

use alloc::{format, string::String};

use crate::board::Board;

/// Paths of the board's tree in `directory` (an FDTDIR, a kernel's `dtbs`), the likeliest first:
/// with the vendor's folder, as the kernel installs arm64 trees, and without, as some distributions
/// copy them.
pub fn candidates(directory: &str, board: &Board) -> impl Iterator<Item = String> {
    let directory = String::from(directory.trim_end_matches('/'));
    let with_folder = board.device_tree;
    let without_folder = with_folder.rsplit_once('/').map(|(_, file)| file);
    [Some(with_folder), without_folder]
        .into_iter()
        .flatten()
        .map(move |file| format!("{directory}/{file}"))
}
