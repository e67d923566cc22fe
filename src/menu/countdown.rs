//! The countdown to the default.
//!
//! A board without a keyboard has to come up some day, whatever was on its serial line: a stopped
//! countdown starts again when nobody presses a key any more. Only a configured "wait for ever"
//! waits for ever.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::nixos::Timeout;

/// Without a key for this long, a stopped countdown starts again.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// However many keys come, a stopped countdown starts again after this long: stray bytes may look
/// like keys, and a person needs one key to stop it again.
const LONGEST_STOP: Duration = Duration::from_secs(30 * 60);

/// Length of a countdown that starts again.
const SECOND_CHANCE: Duration = Duration::from_secs(60);

/// Seconds that are announced on a terminal where each announcement stays.
const ANNOUNCED: [u32; 14] = [1, 2, 3, 4, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800];

/// Counts down, stops, starts again.
#[derive(Debug)]
pub(super) enum Countdown {
    /// There is nothing to wait for.
    Off,
    /// Ends at `deadline`.
    Running {
        /// When the default is booted.
        deadline: Duration,
    },
    /// Somebody is there.
    Stopped {
        /// When it starts again.
        until: Duration,
        /// When it starts again at the latest.
        latest: Duration,
    },
}

impl Countdown {
    /// A countdown of the configured length.
    pub(super) fn new(timeout: Timeout, now: Duration) -> Self {
        match timeout {
            Timeout::Never => Self::Off,
            Timeout::Immediate => Self::Running { deadline: now },
            Timeout::After(tenths) => {
                let wait = Duration::from_millis(u64::from(tenths) * 100);
                Self::Running { deadline: now.saturating_add(wait) }
            }
        }
    }

    /// A key was pressed.
    pub(super) fn stop(&mut self, now: Duration) {
        *self = match *self {
            Self::Off => Self::Off,
            Self::Running { .. } => Self::Stopped {
                until: now.saturating_add(IDLE),
                latest: now.saturating_add(LONGEST_STOP),
            },
            Self::Stopped { latest, .. } => {
                Self::Stopped { until: latest.min(now.saturating_add(IDLE)), latest }
            }
        };
    }

    /// Starts again with `wait` to go, if it was stopped.
    pub(super) fn restart(&mut self, wait: Duration, now: Duration) {
        if matches!(self, Self::Stopped { .. }) {
            *self = Self::Running { deadline: now.saturating_add(wait) };
        }
    }

    /// Lets time pass; gives whether the end has come.
    pub(super) fn poll(&mut self, now: Duration) -> bool {
        if let Self::Stopped { until, .. } = *self
            && now >= until
        {
            self.restart(SECOND_CHANCE, now);
        }
        matches!(*self, Self::Running { deadline } if now >= deadline)
    }

    /// Seconds to go, rounded up, if it runs.
    pub(super) fn remaining(&self, now: Duration) -> Option<u32> {
        let Self::Running { deadline } = *self else { return None };
        let left = deadline.saturating_sub(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// Whether `seconds` to go are worth a word that stays.
pub(super) fn is_announced(seconds: u32) -> bool {
    ANNOUNCED.contains(&seconds) || (seconds >= 3600 && seconds.is_multiple_of(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_ends_when_its_time_has_passed() {
        let mut countdown = Countdown::new(Timeout::After(50), seconds(10));
        assert!(!countdown.poll(Duration::from_millis(14_999)));
        assert!(countdown.poll(seconds(15)));
    }

    #[test]
    fn seconds_to_go_are_rounded_up() {
        let countdown = Countdown::new(Timeout::After(50), seconds(10));
        assert_eq!(countdown.remaining(seconds(10)), Some(5));
        assert_eq!(countdown.remaining(Duration::from_millis(10_001)), Some(5));
        assert_eq!(countdown.remaining(seconds(11)), Some(4));
        assert_eq!(countdown.remaining(seconds(99)), Some(0));
    }

    #[test]
    fn a_stopped_one_starts_again_after_five_minutes_without_a_key() {
        let mut countdown = Countdown::new(Timeout::After(50), seconds(0));
        countdown.stop(seconds(1));
        countdown.stop(seconds(100));
        assert!(!countdown.poll(seconds(399)));
        assert_eq!(countdown.remaining(seconds(399)), None);
        assert!(!countdown.poll(seconds(400)));
        assert_eq!(countdown.remaining(seconds(400)), Some(60));
        assert!(countdown.poll(seconds(460)));
    }

    #[test]
    fn keys_for_ever_do_not_stop_it_for_ever() {
        let mut countdown = Countdown::new(Timeout::After(50), seconds(0));
        let started_again = (1..10_000).step_by(100).map(seconds).find(|&now| {
            countdown.poll(now);
            let runs = now > seconds(1) && countdown.remaining(now).is_some();
            if !runs {
                countdown.stop(now);
            }
            runs
        });
        assert_eq!(started_again, Some(seconds(1801)));
    }

    #[test]
    fn waiting_for_ever_is_for_ever() {
        let mut countdown = Countdown::new(Timeout::Never, seconds(0));
        countdown.stop(seconds(1));
        countdown.restart(seconds(1), seconds(1));
        assert!(!countdown.poll(Duration::MAX));
    }

    #[test]
    fn long_waits_are_announced_rarely() {
        let announced = (1..=86_400).filter(|&seconds| is_announced(seconds)).count();
        assert_eq!(announced, 14 + 24);
    }
}
