//! The few bits of the SoC that keep the boot counting where no card can.

#![forbid(unsafe_code)]

/// What a [`Counter`] holds.
pub type Words = [u32; 4];

/// Registers that keep what they hold over a reset, not over a loss of power.
pub trait Counter {
    /// What they hold; `None` if they cannot be read.
    fn read(&mut self) -> Option<Words>;
    /// Makes them hold `words`. Whether they do, reading them shows.
    fn write(&mut self, words: Words);
}
