//! How a record names a generation.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::fmt::{self, Write};

use sha2::{Digest, Sha256};

/// Bytes of the longest identity: `/nix/store/`, a hash of 32 characters, a dash and a name, which Nix
/// limits to 211 (Nix, `MaxPathLen` of store paths).
pub const MAX_IDENTITY: usize = 255;

/// Begins an identity of which only a digest is known.
const DIGEST_ONLY: &str = "digest:";

/// A generation's identity ([`Generation::id`](crate::nixos::Generation::id)) in a form that fits a
/// record: the whole of it, so that a person can read what a record means without the card it
/// belongs to. What is longer than any store path, empty or holds control characters is named by
/// its digest, `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// The identity of the generation that the list knows as `id`.
    pub fn new(id: &str) -> Self {
        Self::whole(id).unwrap_or_else(|| Self(digest(id)))
    }

    /// `id`, if it fits as it is.
    pub(super) fn whole(id: &str) -> Option<Self> {
        let fits = (1..=MAX_IDENTITY).contains(&id.len()) && !id.chars().any(char::is_control);
        fits.then(|| Self(id.to_owned()))
    }

    /// The generation of which only this is known: a register has room for no more.
    pub(super) fn of_digest(digest: u32) -> Self {
        Self(format!("{DIGEST_ONLY}{digest:08x}"))
    }

    /// The first four bytes of its SHA-256.
    pub(super) fn digest(&self) -> u32 {
        let known = self.0.strip_prefix(DIGEST_ONLY);
        known.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_else(|| {
            let [a, b, c, d, ..] = Sha256::digest(&self.0).0;
            u32::from_be_bytes([a, b, c, d])
        })
    }

    /// Whether both name the same generation, as far as it is known: of either, there may be a digest
    /// only.
    pub fn matches(&self, other: &Self) -> bool {
        let is_short = |identity: &Self| identity.0.starts_with(DIGEST_ONLY);
        self == other || is_short(self) != is_short(other) && self.digest() == other.digest()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn digest(id: &str) -> String {
    let mut text = "sha256:".to_string();
    for byte in Sha256::digest(id) {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The start of `text` that fits into `size` bytes, and without control characters.
pub(super) fn cut(text: &str, size: usize) -> String {
    let ends = (0..=size.min(text.len())).rev();
    let end = ends.into_iter().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_store_path_stands_for_itself() {
        let path = format!("/nix/store/{}-{}", "a".repeat(32), "n".repeat(211));
        assert_eq!(path.len(), MAX_IDENTITY);
        assert_eq!(Identity::new(&path).as_str(), path);
    }

    #[test]
    fn what_does_not_fit_is_told_apart_by_its_digest() {
        let longer = "x".repeat(MAX_IDENTITY + 1);
        let identity = Identity::new(&longer);
        assert!(identity.as_str().len() <= MAX_IDENTITY);
        assert_ne!(identity, Identity::new(&format!("{longer}x")));
        assert_eq!(
            Identity::new("").as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(Identity::new("a\x1b[2J").as_str().starts_with("sha256:"));
    }

    #[test]
    fn a_digest_matches_what_it_is_of_and_nothing_else() {
        let identity = Identity::new("/nix/store/a");
        let short = Identity::of_digest(identity.digest());
        assert!(short.matches(&identity) && identity.matches(&short) && short.matches(&short));
        assert_eq!(short.digest(), identity.digest());
        assert!(!short.matches(&Identity::new("/nix/store/b")));
        assert!(!identity.matches(&Identity::new("/nix/store/b")));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aää", 4), "aä");
        assert_eq!(cut("a\nb", 10), "a b");
    }
}
