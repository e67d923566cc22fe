//! Tells a babbling line from a person.
//!
//! A floating or chattering receive line delivers bytes that no keyboard sends, or text in which
//! few letters mean anything here. Each such byte raises a level that sinks with time; above a
//! threshold nothing that arrives is taken for a key, until the line has calmed down.

#![forbid(unsafe_code)]

use core::time::Duration;

/// Weight of a key that means nothing where it was pressed.
pub(crate) const UNBOUND: u32 = 1;

/// Weight of a byte that no terminal sends.
pub(crate) const GARBAGE: u32 = 2;

/// Weight of what shows by itself that nobody types.
pub(crate) const PROOF: u32 = MAX_LEVEL;

/// A person mistypes less than this many keys in a row.
const BABBLING: u32 = 8;

const CALM: u32 = 4;

const MAX_LEVEL: u32 = 12;

/// The level sinks by one in this time: a stray byte every few seconds keeps it up.
const SINKS_BY_ONE: Duration = Duration::from_secs(5);

/// How much of what arrives makes no sense.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    level: u32,
    sunk_at: Duration,
    babbling: bool,
}

impl Noise {
    /// Takes note of something that makes no sense.
    pub(crate) fn add(&mut self, weight: u32, now: Duration) {
        self.sink(now);
        self.level = (self.level + weight).min(MAX_LEVEL);
        self.babbling |= self.level >= BABBLING;
    }

    /// Whether what arrives is to be ignored.
    pub(crate) fn is_babbling(&mut self, now: Duration) -> bool {
        self.sink(now);
        self.babbling
    }

    fn sink(&mut self, now: Duration) {
        if self.level == 0 {
            self.sunk_at = now;
        }
        while self.level > 0 && now.saturating_sub(self.sunk_at) >= SINKS_BY_ONE {
            self.sunk_at += SINKS_BY_ONE;
            self.level -= 1;
        }
        self.babbling &= self.level >= CALM;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_few_mistyped_keys_are_no_noise() {
        let mut noise = Noise::default();
        for _ in 0..7 {
            noise.add(UNBOUND, seconds(1));
        }
        assert!(!noise.is_babbling(seconds(1)));
    }

    #[test]
    fn a_burst_of_garbage_is_noise_until_some_time_has_passed() {
        let mut noise = Noise::default();
        for _ in 0..100 {
            noise.add(GARBAGE, seconds(1));
        }
        assert!(noise.is_babbling(seconds(40)));
        assert!(!noise.is_babbling(seconds(50)));
    }

    #[test]
    fn a_stray_byte_every_few_seconds_becomes_and_stays_noise() {
        let mut noise = Noise::default();
        for second in (0..60).step_by(3) {
            noise.add(GARBAGE, seconds(second));
        }
        assert!(noise.is_babbling(seconds(60)));
        for second in (60..600).step_by(3) {
            noise.add(GARBAGE, seconds(second));
            assert!(noise.is_babbling(seconds(second + 2)));
        }
    }
}
