//! What NixOS's names tell: labels, menu texts, store paths.
//!
//! Forms as nixpkgs' `extlinux-conf-builder.sh` and `top-level.nix` make them. Everything here is
//! for a person to read; nothing that is booted depends on it.

#![forbid(unsafe_code)]

use core::num::NonZeroU8;

/// Length of the hash in a store path's name.
const HASH_LENGTH: usize = 32;

/// The toplevel's store path, if the command line has an `init=` as NixOS writes it:
/// `/nix/store/<name>/init`.
pub fn toplevel(command_line: &str) -> Option<&str> {
    let init = command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix("init="))?;
    let toplevel = init.strip_suffix("/init")?;
    let name = toplevel.strip_prefix("/nix/store/")?;
    (!name.is_empty() && !name.contains('/')).then_some(toplevel)
}

/// How many times a generation is to be tried, from `firn.tries=N` on its command line: every
/// source carries one, and Linux takes the word for a module's. `None`, as with 0: it is not counted.
pub fn tries(command_line: &str) -> Option<NonZeroU8> {
    let count = |word: &str| word.strip_prefix("firn.tries=")?.parse().ok();
    command_line.split_ascii_whitespace().filter_map(count).next_back().and_then(NonZeroU8::new)
}

/// What a label tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// The profile, if it is not `system`.
    pub profile: Option<&'a str>,
    /// The generation's number.
    pub number: u32,
    /// The specialisation, if it is one.
    pub specialisation: Option<&'a str>,
}

/// A label that NixOS writes, `nixos-42-default`, `nixos-42-<specialisation>`, formerly `nixos-42`; or
/// that `firn install` writes for other profiles, `nixos-<profile>-3-default`.
pub fn numbered_label(label: &str) -> Option<Numbered<'_>> {
    let rest = label.strip_prefix("nixos-")?;
    let mut starts = core::iter::once(0).chain(rest.match_indices('-').map(|(dash, _)| dash + 1));
    starts.find_map(|start| {
        let profile = start.checked_sub(1).map(|dash| &rest[..dash]);
        let (number, specialisation) = match rest[start..].split_once('-') {
            Some((number, name)) => (number, Some(name)),
            // Without a name behind it, it may be part of one.
            None if profile.is_none() => (&rest[start..], None),
            None => return None,
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let specialisation = specialisation.filter(|name| *name != "default");
        Some(Numbered { profile, number: number.parse().ok()?, specialisation })
    })
}

/// Date and version from a menu text that ends in `(2026-11-22 16:07 - 25.11.20260214.9f8e7d6)`.
pub fn date_and_version(title: &str) -> Option<(&str, &str)> {
    let inner = title.trim_end().strip_suffix(')')?.rsplit_once('(')?.1;
    let (date, version) = inner.split_once(" - ")?;
    (is_date(date) && !version.is_empty()).then_some((date, version))
}

/// The NixOS version in a toplevel's name, `<hash>-nixos-system-<host>-25.11.20260214.9f8e7d6`.
pub fn toplevel_version(toplevel: &str) -> Option<&str> {
    let name = without_hash(toplevel.rsplit('/').next()?);
    let rest = name.strip_prefix("nixos-system-")?;
    // A host's name may hold dashes, so look for what a release looks like: two digits, a dot.
    rest.match_indices('-').map(|(dash, _)| &rest[dash + 1..]).find(|tail| {
        let tail = tail.as_bytes();
        tail.len() > 3
            && tail[..2].iter().all(u8::is_ascii_digit)
            && tail[2] == b'.'
            && tail[3].is_ascii_digit()
    })
}

/// The version in a kernel's path: from `<hash>-linux-6.12.63-Image`, `<hash>-linux-6.12.63/Image`
/// or another distribution's `vmlinuz-6.12.63+deb13-arm64`.
pub fn kernel_version(kernel: &str) -> Option<&str> {
    let mut components = kernel.rsplit('/');
    let file = components.next()?;
    version_in(file).or_else(|| version_in(components.next()?))
}

fn version_in(name: &str) -> Option<&str> {
    let name = without_hash(name);
    let name = ["-Image", "-Image.gz", "-vmlinuz.efi"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    name.match_indices('-').map(|(dash, _)| &name[dash + 1..]).find(|tail| {
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && tail.as_bytes().get(digits) == Some(&b'.')
    })
}

fn without_hash(name: &str) -> &str {
    match name.split_at_checked(HASH_LENGTH) {
        Some((hash, rest)) if hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            rest.strip_prefix('-').unwrap_or(name)
        }
        _ => name,
    }
}

fn is_date(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00 00:00";
    text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, &shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            separator => byte == separator,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPLEVEL: &str =
        "/nix/store/b7d0f3h6j9l2n5p8r1x4v7x0z3a6c9a2-nixos-system-my-host-25.11.20260214.9f8e7d6";

    #[test]
    fn the_toplevel_is_where_init_lies() {
        let line = alloc::format!("quiet init={TOPLEVEL}/init root=fstab");
        assert_eq!(toplevel(&line), Some(TOPLEVEL));
        assert_eq!(toplevel("init=/bin/sh"), None);
        assert_eq!(toplevel("init=/nix/store//init"), None);
        assert_eq!(toplevel("init=/nix/store/a/b/init"), None);
        assert_eq!(toplevel("xinit=/nix/store/a/init"), None);
    }

    #[test]
    fn the_last_word_about_tries_counts() {
        let tries = |line| tries(line).map(NonZeroU8::get);
        assert_eq!(tries("quiet firn.tries=3 root=fstab"), Some(3));
        assert_eq!(tries("firn.tries=3 firn.tries=5"), Some(5));
        assert_eq!(tries("firn.tries=3 firn.tries=0"), None);
        assert_eq!(tries("firn.tries=many firn.tries=256"), None);
        assert_eq!(tries("quiet"), None);
    }

    #[test]
    fn labels_give_profile_number_and_specialisation() {
        let told = |label| {
            numbered_label(label).map(|told| (told.profile, told.number, told.specialisation))
        };
        assert_eq!(told("nixos-42-default"), Some((None, 42, None)));
        assert_eq!(told("nixos-42"), Some((None, 42, None)));
        assert_eq!(told("nixos-42-no-gpu"), Some((None, 42, Some("no-gpu"))));
        assert_eq!(told("nixos-known-good-3-default"), Some((Some("known-good"), 3, None)));
        assert_eq!(told("nixos-known-good-3-tiny"), Some((Some("known-good"), 3, Some("tiny"))));
        assert_eq!(told("nixos-known-good-3"), None);
        assert_eq!(told("nixos-default"), None);
        assert_eq!(told("nixos-+42"), None);
        assert_eq!(told("nixos-99999999999"), None);
        assert_eq!(told("debian-42"), None);
    }

    #[test]
    fn menu_texts_give_date_and_version() {
        assert_eq!(
            date_and_version("NixOS - Configuration 42-a (b) (2026-11-22 16:07 - 25.11.2026.9f8)"),
            Some(("2026-11-22 16:07", "25.11.2026.9f8"))
        );
        assert_eq!(date_and_version("NixOS - Default"), None);
        assert_eq!(date_and_version("Debian (yesterday - 12)"), None);
    }

    #[test]
    fn toplevels_give_the_version_behind_a_host_name_with_dashes() {
        assert_eq!(toplevel_version(TOPLEVEL), Some("25.11.20260214.9f8e7d6"));
        assert_eq!(toplevel_version("/nix/store/x-nixos-system-host-custom"), None);
    }

    #[test]
    fn kernel_paths_give_the_version() {
        let hash = "5c0m6z8sxlqk1b3rp4yf2w9ajv7nhd6i";
        for (path, version) in [
            (alloc::format!("/boot/nixos/{hash}-linux-6.12.63-Image"), Some("6.12.63")),
            (alloc::format!("/nix/store/{hash}-linux-6.12.63/Image"), Some("6.12.63")),
            (alloc::format!("/nix/store/{hash}-linux-imx-6.6.36/Image"), Some("6.6.36")),
            (alloc::format!("/nixos/{hash}-linux-6.18-rc3-Image"), Some("6.18-rc3")),
            ("/vmlinuz-6.12.63+deb13-arm64".into(), Some("6.12.63+deb13-arm64")),
            ("/boot/Image".into(), None),
            ("Image".into(), None),
        ] {
            assert_eq!(kernel_version(&path), version, "{path}");
        }
    }
}
