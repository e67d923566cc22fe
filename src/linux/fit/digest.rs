//! What is promised of the bytes of an image.

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::Problem;
use crate::linux::checksum::{Crc32, crc32_digest};

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The CRC of gzip and Ethernet.
    Crc32,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Crc32, Self::Sha256, Self::Sha384, Self::Sha512];

    /// What FIT images call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Bytes of a digest.
    fn size(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest that bytes should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Digest {
    pub(super) fn new(algorithm: Algorithm, value: &[u8]) -> Result<Self, Problem> {
        if value.len() != algorithm.size() {
            return Err(Problem::DigestSize { algorithm, size: value.len() });
        }
        Ok(Self { algorithm, value: value.into() })
    }
}

enum State {
    Crc32(Crc32),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

/// Makes the digests of bytes as they come, and compares.
pub struct Hasher<'d> {
    digests: &'d [Digest],
    states: Vec<State>,
}

impl<'d> Hasher<'d> {
    /// For bytes that should have all these digests.
    pub fn new(digests: &'d [Digest]) -> Self {
        let state = |digest: &Digest| match digest.algorithm {
            Algorithm::Crc32 => State::Crc32(crc32_digest()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { digests, states: digests.iter().map(state).collect() }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for state in &mut self.states {
            match state {
                State::Crc32(state) => state.update(bytes),
                State::Sha256(state) => state.update(bytes),
                State::Sha384(state) => state.update(bytes),
                State::Sha512(state) => state.update(bytes),
            }
        }
    }

    /// Compares; there are no more bytes.
    pub fn finish(self) -> Result<(), Problem> {
        for (digest, state) in self.digests.iter().zip(self.states) {
            let same = match state {
                State::Crc32(state) => state.finalize().to_be_bytes()[..] == digest.value,
                State::Sha256(state) => state.finalize()[..] == digest.value,
                State::Sha384(state) => state.finalize()[..] == digest.value,
                State::Sha512(state) => state.finalize()[..] == digest.value,
            };
            if !same {
                return Err(Problem::Digest(digest.algorithm));
            }
        }
        Ok(())
    }
}
