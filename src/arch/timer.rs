//! Time from the generic timer.

use core::time::Duration;

/// Counts per second of the i.MX 8M's system counter (a third of the 24 MHz crystal), where the
/// stage before left CNTFRQ_EL0 at zero; only EL3 could set it.
pub const DEFAULT_FREQUENCY: u32 = 8_000_000;

/// The time at `count`, of a counter that started at zero and runs at `frequency` Hz.
pub fn duration(count: u64, frequency: u32) -> Duration {
    let frequency = u64::from(if frequency == 0 { DEFAULT_FREQUENCY } else { frequency });
    // The rest is below 2^32, so that the product fits.
    let nanoseconds = (count % frequency) * 1_000_000_000 / frequency;
    Duration::from_secs(count / frequency) + Duration::from_nanos(nanoseconds)
}

/// Looks at a counter before it counts as standing still: many times what a tick takes.
const LOOKS: u32 = 100_000;

/// Whether `count` moves on. Every wait relies on it.
pub fn moves(mut count: impl FnMut() -> u64) -> bool {
    let first = count();
    (0..LOOKS).any(|_| count() != first)
}

/// The generic timer's physical counter. A look at it also serves a running watchdog
/// ([`attend`](super::power::attend)).
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug, Default)]
pub struct GenericTimer;

#[cfg(target_os = "none")]
impl GenericTimer {
    /// Whether the system counter runs.
    pub(super) fn is_running() -> bool {
        use aarch64_cpu::registers::{CNTPCT_EL0, Readable};
        moves(|| CNTPCT_EL0.get())
    }
}

#[cfg(target_os = "none")]
impl crate::time::Clock for GenericTimer {
    fn now(&self) -> Duration {
        use aarch64_cpu::asm::barrier;
        use aarch64_cpu::registers::{CNTFRQ_EL0, CNTPCT_EL0, Readable};
        // The counter may otherwise be read ahead of the accesses that are being timed.
        barrier::isb(barrier::SY);
        let frequency = u32::try_from(CNTFRQ_EL0.get()).unwrap_or(0);
        let now = duration(CNTPCT_EL0.get(), frequency);
        super::power::tick(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_time() {
        assert_eq!(duration(8_000_000, 8_000_000), Duration::from_secs(1));
        assert_eq!(duration(1, 8_000_000), Duration::from_nanos(125));
        assert_eq!(duration(u64::MAX, u32::MAX).as_secs(), u64::MAX / u64::from(u32::MAX));
    }

    #[test]
    fn a_counter_that_stands_still_is_found_out() {
        assert!(!moves(|| 7));
        let mut count = 0;
        let slow = || {
            count += 1;
            count / 1000
        };
        assert!(moves(slow));
    }

    #[test]
    fn an_unset_frequency_is_the_socs() {
        assert_eq!(duration(8, 0), Duration::from_micros(1));
    }
}
