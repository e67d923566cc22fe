//! Time and deadlines.
//!
//! Pure: a [`Clock`] says what time it is; hardware's is the generic timer (`arch`), a test's is a
//! model that moves on at every look, so that a wait for something that never comes ends there too.

#![forbid(unsafe_code)]

use core::time::Duration;

/// Where time comes from.
pub trait Clock {
    /// Time since an arbitrary fixed moment; never goes back.
    fn now(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Duration {
        (**self).now()
    }
}

/// A wait ran into its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

/// A moment after which waiting is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Duration);

impl Deadline {
    /// The moment `wait` from now.
    pub fn after(clock: &(impl Clock + ?Sized), wait: Duration) -> Self {
        Self(clock.now().saturating_add(wait))
    }

    /// Whether the moment has passed.
    pub fn passed(&self, clock: &(impl Clock + ?Sized)) -> bool {
        clock.now() >= self.0
    }
}

/// Polls `ready` until it gives a value, at most for `wait`; looks once more after the deadline, so
/// that a long interruption between two looks is not taken for a silent device.
pub fn poll<T>(
    clock: &(impl Clock + ?Sized),
    wait: Duration,
    ready: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    poll_until(clock, Deadline::after(clock, wait), ready)
}

/// Like [`poll`], until a deadline that was set before: when it has passed already, one look is
/// left.
pub fn poll_until<T>(
    clock: &(impl Clock + ?Sized),
    deadline: Deadline,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    loop {
        let last_look = deadline.passed(clock);
        if let Some(value) = ready() {
            return Ok(value);
        }
        if last_look {
            return Err(TimedOut);
        }
    }
}

/// Spends `wait`.
pub fn delay(clock: &(impl Clock + ?Sized), wait: Duration) {
    let deadline = Deadline::after(clock, wait);
    while !deadline.passed(clock) {
        core::hint::spin_loop();
    }
}

/// `embedded-hal`'s delay over a [`Clock`].
pub struct Delay<C>(pub C);

impl<C: Clock> embedded_hal::delay::DelayNs for Delay<C> {
    fn delay_ns(&mut self, ns: u32) {
        delay(&self.0, Duration::from_nanos(u64::from(ns)));
    }
}
