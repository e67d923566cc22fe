//! What the engine reaches hardware through: registers, and the time that passes between looks.

use core::time::Duration;

use crate::{mmio::Bus, time};

use super::error::Cause;

/// How long the PLL may take to lock; it takes well below a millisecond.
pub(super) const PLL_LOCK: Duration = Duration::from_millis(100);
/// How long the controller may take to accept quasi-dynamic registers: a few of its clocks.
pub(super) const HANDSHAKE: Duration = Duration::from_millis(100);
/// How long controller and PHY may take to start after training.
pub(super) const START: Duration = Duration::from_secs(1);
/// How long one range of 256 MiB may take to be filled; at full speed it takes 30 ms.
pub(super) const SCRUB: Duration = Duration::from_secs(5);
/// How long the training firmware may be silent. No source tells how long a step takes; TF-A's
/// driver for the same PHY on Layerscape allows as much.
pub(super) const MAIL: Duration = Duration::from_secs(5);
/// How long the firmware may take to see an acknowledgement. As above.
pub(super) const ACKNOWLEDGE: Duration = Duration::from_millis(500);
/// How long a training run may take, however much the firmware has to tell.
pub(super) const RUN: Duration = Duration::from_secs(30);

/// Registers and time.
pub(super) struct Ports<'a, B, C> {
    pub(super) bus: &'a B,
    pub(super) clock: &'a C,
}

impl<B, C> Clone for Ports<'_, B, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, C> Copy for Ports<'_, B, C> {}

impl<B: Bus, C: time::Clock> Ports<'_, B, C> {
    pub(super) fn read(&self, register: u32) -> u32 {
        self.bus.read32(register)
    }

    pub(super) fn write(&self, register: u32, value: u32) {
        self.bus.write32(register, value);
    }

    pub(super) fn modify(&self, register: u32, clear: u32, set: u32) {
        self.bus.modify32(register, clear, set);
    }

    /// Reads `register` until the bits of `mask` are `want`, at most for `deadline`.
    pub(super) fn poll(
        &self,
        register: u32,
        mask: u32,
        want: u32,
        deadline: Duration,
    ) -> Result<(), Cause> {
        let mut read = 0;
        time::poll(self.clock, deadline, || {
            read = self.read(register);
            (read & mask == want).then_some(())
        })
        .map_err(|_| Cause::NoAnswer { register, mask, want, read })
    }

    pub(super) fn delay(&self, wait: Duration) {
        time::delay(self.clock, wait);
    }
}
