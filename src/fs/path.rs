//! Paths.

use alloc::vec::Vec;

/// The components of `path`, with `.` and `..` resolved by their text alone, as is right where there
/// are no symbolic links. `..` at the root stays there.
pub(super) fn normalised(path: &str) -> Vec<&str> {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn dots_and_double_slashes_vanish_and_the_root_is_its_own_parent() {
        assert_eq!(normalised("/extlinux/.//../nixos/Image"), vec!["nixos", "Image"]);
        assert_eq!(normalised("/../../Image/"), vec!["Image"]);
        assert_eq!(normalised("/"), Vec::<&str>::new());
    }
}
