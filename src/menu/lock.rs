//! Who may change what is booted, and how often a password may be tried.

#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use super::password;
use crate::nixos::Access;

/// Wrong passwords without a pause behind them.
const FREE_MISSES: u32 = 2;

/// The first pause; each one is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Without a key for this long the password is asked for again: somebody else may have come.
const OPEN_FOR: Duration = Duration::from_secs(5 * 60);

/// A lock that a password opens, or nothing.
pub(crate) struct Lock {
    access: Access,
    misses: u32,
    /// No password is taken until then.
    paused_until: Duration,
    open_until: Option<Duration>,
}

/// What is to be done for somebody who wants to change something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// Ask for the password.
    Ask,
    /// Say why not.
    Closed(String),
}

impl Lock {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, misses: 0, paused_until: Duration::ZERO, open_until: None }
    }

    /// Takes in what another device says of the same: the strictest counts, and of those that want a
    /// password the first.
    pub(crate) fn tighten(&mut self, access: &Access) {
        match (&self.access, access) {
            (_, Access::Nobody) | (Access::Free, _) => self.access = access.clone(),
            (Access::Nobody | Access::Password(_), _) => {}
        }
    }

    /// Whether some keys need a password, or are locked for good.
    pub(crate) fn is_there(&self) -> bool {
        self.access != Access::Free
    }

    /// Somebody is there still.
    pub(crate) fn key(&mut self, now: Duration) {
        self.open_until =
            self.open_until.filter(|&until| now < until).map(|_| now.saturating_add(OPEN_FOR));
    }

    pub(crate) fn gate(&self, now: Duration) -> Gate {
        let hash = match &self.access {
            Access::Free => return Gate::Open,
            Access::Nobody => {
                return Gate::Closed("Locked: the configuration lets nobody do this.".into());
            }
            Access::Password(hash) => hash,
        };
        if self.open_until.is_some_and(|until| now < until) {
            return Gate::Open;
        }
        if let Err(error) = password::validate(hash) {
            return Gate::Closed(format!("Locked: {error}"));
        }
        match self.pause(now) {
            Some(pause) => Gate::Closed(pause),
            None => Gate::Ask,
        }
    }

    /// Tries a password; says what is wrong with it. Takes as long as the hash wants.
    pub(crate) fn open(&mut self, password: &[u8], now: Duration) -> Result<(), String> {
        let Access::Password(hash) = &self.access else { return Ok(()) };
        match password::check(hash, password) {
            Ok(true) => {
                self.misses = 0;
                self.open_until = Some(now.saturating_add(OPEN_FOR));
                Ok(())
            }
            Ok(false) => {
                self.misses = self.misses.saturating_add(1);
                let doublings = self.misses.checked_sub(FREE_MISSES + 1);
                let pause = doublings.map_or(Duration::ZERO, |doublings| {
                    LONGEST_PAUSE.min(FIRST_PAUSE * (1 << doublings.min(6)))
                });
                self.paused_until = now.saturating_add(pause);
                let pause = self.pause(now).unwrap_or_default();
                Err(format!("Wrong password. {pause}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Why no password is taken at present.
    fn pause(&self, now: Duration) -> Option<String> {
        let left = self.paused_until.saturating_sub(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        (seconds > 0).then(|| format!("After {} wrong ones, wait {seconds} s.", self.misses))
    }
}
