//! The oscillator: SHA-256 of a counter, with a key that is the host's randomness or a test's.

use std::{fs::File, io::Read as _};

use sha2::{Digest as _, Sha256};

/// A source of random bytes.
#[derive(Clone)]
pub(super) struct Random {
    key: [u8; 32],
    count: u64,
}

impl Random {
    /// The one that belongs to `seed`, or one that nobody has seen.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let mut key = [0; 32];
        match seed {
            Some(seed) => key[..8].copy_from_slice(&seed.to_le_bytes()),
            None => File::open("/dev/urandom")
                .and_then(|mut file| file.read_exact(&mut key))
                .expect("the host is random"),
        }
        Self { key, count: 0 }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(self.key);
            hash.update(self.count.to_le_bytes());
            self.count += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
    }
}
