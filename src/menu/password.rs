//! Checks a password against its crypt(5) hash.
//!
//! The hash comes from a card, so a check is bounded: kinds, rounds and lengths are looked at before
//! anything is computed. What cannot be checked is never taken for right.

#![forbid(unsafe_code)]

use alloc::string::String;
use core::fmt;

use sha_crypt::{PasswordVerifier, ShaCrypt, password_hash};

/// Most rounds of a hash that is checked. One hashes some hundred bytes, which takes a Cortex-A53
/// microseconds: the menu stands still for a few seconds at most.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// Longest password in bytes.
pub const MAX_PASSWORD: usize = 128;

/// Characters of salt that SHA-crypt uses (crypt(5)).
const MAX_SALT: usize = 16;

/// Why a password cannot be checked, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Made by a method that is not known here; its prefix.
    UnknownKind(String),
    /// Not what `mkpasswd` writes.
    Malformed,
    /// Checking it would take too long.
    TooManyRounds(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => {
                write!(f, "a password hash of the kind {kind} cannot be checked")?;
            }
            Self::Malformed => f.write_str("the password hash is damaged")?,
            Self::TooManyRounds(rounds) => {
                write!(f, "the password hash has {rounds} rounds, of at most {MAX_ROUNDS}")?;
            }
        }
        f.write_str("; mkpasswd -m sha-512 makes one that can be checked")
    }
}

impl core::error::Error for Error {}

/// Whether `password` is the one that `hash` was made of, compared in constant time. Takes as long
/// as the rounds of the hash want: seconds with [`MAX_ROUNDS`], no time to speak of with the five
/// thousand that `mkpasswd` takes.
///
/// # Errors
/// As [`validate`]; then no password is right.
pub fn check(hash: &str, password: &[u8]) -> Result<bool, Error> {
    validate(hash)?;
    if password.len() > MAX_PASSWORD {
        return Ok(false);
    }
    match ShaCrypt::SHA512.verify_password(password, hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(Error::Malformed),
    }
}

/// Whether passwords can be checked against `hash` at all.
///
/// # Errors
/// If it is not a SHA-crypt hash (`$5$` or `$6$`), is damaged or has too many rounds.
pub fn validate(hash: &str) -> Result<(), Error> {
    let mut fields = hash.split('$');
    let (Some(""), Some(kind)) = (fields.next(), fields.next()) else {
        return Err(Error::Malformed);
    };
    let digest_length = match kind {
        "5" => 43,
        "6" => 86,
        _ => return Err(Error::UnknownKind(shown(kind))),
    };
    let mut salt = fields.next().ok_or(Error::Malformed)?;
    if let Some(rounds) = salt.strip_prefix("rounds=") {
        let rounds = rounds.parse().map_err(|_| Error::Malformed)?;
        if rounds > MAX_ROUNDS {
            return Err(Error::TooManyRounds(rounds));
        }
        salt = fields.next().ok_or(Error::Malformed)?;
    }
    let digest = fields.next().ok_or(Error::Malformed)?;
    let is_whole = salt.len() <= MAX_SALT && digest.len() == digest_length;
    (is_whole && fields.next().is_none()).then_some(()).ok_or(Error::Malformed)
}

/// A prefix that may be anything, for a message.
fn shown(kind: &str) -> String {
    let kind = super::text::shortened(&super::text::ascii(kind), 8);
    alloc::format!("${kind}$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    /// Made with `mkpasswd -m sha-512 -R 1000 "correct horse" saltsalt` and the like.
    const SHA_512: &str = "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";
    const SHA_256: &str = "$5$rounds=1000$saltsalt$R6e4P8ccT9iMqkYg7Z8YtpId/lfsIfnuPkp8WXposU8";

    #[test]
    fn the_password_that_a_hash_was_made_of_is_right_and_others_are_not() {
        for hash in [SHA_512, SHA_256] {
            assert_eq!(check(hash, b"correct horse"), Ok(true));
            for wrong in
                [&b"correct hors"[..], b"Correct horse", b"correct horse ", b"", &[b'x'; 999]]
            {
                assert_eq!(check(hash, wrong), Ok(false), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_hash_without_its_number_of_rounds_has_five_thousand() {
        assert_eq!(
            check(
                "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0",
                b"correct horse"
            ),
            Ok(true)
        );
    }

    #[test]
    fn kinds_that_are_not_known_say_what_to_do() {
        let hash = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";
        let error = check(hash, b"").expect_err("not known");
        assert_eq!(
            error.to_string(),
            "a password hash of the kind $y$ cannot be checked; \
             mkpasswd -m sha-512 makes one that can be checked"
        );
        let error = check("$\x1b[2Jabcdefghijklmnopq$", b"").expect_err("not known");
        assert!(error.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn more_rounds_than_can_be_waited_for_are_refused_at_once() {
        let hash = SHA_512.replace("rounds=1000", "rounds=1000001");
        assert_eq!(check(&hash, b"correct horse"), Err(Error::TooManyRounds(1_000_001)));
        let hash = SHA_512.replace("rounds=1000", "rounds=99999999999");
        assert_eq!(check(&hash, b"correct horse"), Err(Error::Malformed));
    }

    #[test]
    fn what_is_no_hash_opens_nothing() {
        let cut = &SHA_512[..SHA_512.len() - 1];
        let more = format!("{SHA_512}$x");
        let salt = SHA_512.replace("saltsalt", "saltsaltsaltsaltsalt");
        for hash in ["", "x", "!", "*", "$6$", "$6$salt", "$6$salt$", cut, &more, &salt] {
            assert!(check(hash, b"").is_err(), "{hash}");
            assert!(check(hash, b"correct horse").is_err(), "{hash}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_damaged_hash_never_panics_and_never_opens(
            place in 0..SHA_256.len(), byte in b' '..=b'~', password in ".{0,20}"
        ) {
            let mut hash = SHA_256.as_bytes().to_vec();
            hash[place] = byte;
            let hash = std::string::String::from_utf8(hash).expect("ASCII");
            prop_assert_ne!(check(&hash, password.as_bytes()), Ok(true));
            if hash != SHA_256 {
                prop_assert_ne!(check(&hash, b"correct horse"), Ok(true));
            }
        }
    }
}
