//! Paths as text: absolute, normalised, without links.
//!
//! Lexical on purpose, like the loaders that these files are written for: `..` takes away the
//! component before it, whether or not that is a link.

#![forbid(unsafe_code)]

use alloc::string::String;

/// `path` as seen from `directory`, absolute and without `.`, `..` and empty components. An
/// absolute `path` stands for itself; `..` never leaves the root.
pub fn resolve(directory: &str, path: &str) -> String {
    let mut resolved = String::with_capacity(directory.len() + path.len() + 1);
    if !path.starts_with('/') {
        push(&mut resolved, directory);
    }
    push(&mut resolved, path);
    if resolved.is_empty() {
        resolved.push('/');
    }
    resolved
}

/// The directory that holds the file `path`.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

fn push(resolved: &mut String, path: &str) {
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
            name => {
                resolved.push('/');
                resolved.push_str(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn relative_paths_start_at_the_directory() {
        assert_eq!(resolve("/extlinux", "../nixos/kernel"), "/nixos/kernel");
        assert_eq!(resolve("/boot/extlinux", "../nixos/kernel"), "/boot/nixos/kernel");
        assert_eq!(resolve("/boot/extlinux/", "Image"), "/boot/extlinux/Image");
    }

    #[test]
    fn absolute_paths_stand_for_themselves() {
        assert_eq!(resolve("/extlinux", "/nix/store/a-linux/Image"), "/nix/store/a-linux/Image");
    }

    #[test]
    fn dots_and_doubled_slashes_vanish() {
        assert_eq!(resolve("/a", ".//b/./c/"), "/a/b/c");
    }

    #[test]
    fn dot_dot_never_leaves_the_root() {
        assert_eq!(resolve("/a", "../../../etc"), "/etc");
        assert_eq!(resolve("/", ".."), "/");
    }

    #[test]
    fn the_parent_of_a_file_in_the_root_is_the_root() {
        assert_eq!(parent("/boot/extlinux/extlinux.conf"), "/boot/extlinux");
        assert_eq!(parent("/extlinux.conf"), "/");
        assert_eq!(parent("extlinux.conf"), "/");
    }

    proptest! {
        #[test]
        fn any_path_becomes_absolute_and_normal(directory in "[/a.]{0,12}", path in "[/a.]{0,12}") {
            let resolved = resolve(&directory, &path);
            prop_assert!(resolved.starts_with('/'));
            prop_assert_eq!(resolve("/", &resolved), resolved.clone());
            prop_assert!(resolved == "/"
                || resolved[1..].split('/').all(|name| !matches!(name, "" | "." | "..")));
        }
    }
}
