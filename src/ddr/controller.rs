//! The memory controller (uMCTL2): its registers, from reset to normal mode.
//!
//! Source: i.MX 8M Plus reference manual, chapter "DDR Controller (DDRC)".

use crate::{mmio::Bus, time::Clock};

use super::{
    error::Cause,
    ports::{HANDSHAKE, Ports, SCRUB, START},
    spacing::Spacing,
    timing::{ControllerWrite, ScrubRange},
};

/// Base address; the registers of set points 1, 2 and 3 are at +0x2000, +0x3000 and +0x4000.
pub(super) const BASE: u32 = 0x3d40_0000;
pub(super) const MSTR: u32 = BASE;
pub(super) const MSTR_LPDDR4: u32 = 1 << 5;
const MSTR_SET_POINTS: u32 = 1 << 29;
const STAT: u32 = BASE + 0x004;
const STAT_MODE: u32 = 3;
const STAT_NORMAL: u32 = 1;
const MSTR2: u32 = BASE + 0x028;
const MSTR2_SET_POINT: u32 = 3;
const PWRCTL: u32 = BASE + 0x030;
const PWRCTL_SELF_REFRESH_WHEN_IDLE: u32 = 1 << 0;
const PWRCTL_SELF_REFRESH_NOW: u32 = 1 << 5;
/// Self-refresh by software, and LPDDR4's by hardware off.
const PWRCTL_DURING_TRAINING: u32 = 0xa0;
const RFSHCTL3: u32 = BASE + 0x060;
const RFSHCTL3_NO_AUTO_REFRESH: u32 = 1;
pub(super) const ECCCFG0: u32 = BASE + 0x070;
pub(super) const ECCCFG0_MODE: u32 = 7;
const ECCCFG1: u32 = BASE + 0x074;
const ECCCFG1_PARITY_LOCKED: u32 = 1 << 4;
pub(super) const ECCERRCNT: u32 = BASE + 0x080;
const RANKCTL: u32 = BASE + 0x0f4;
const DRAMTMG2: u32 = BASE + 0x108;
const DFIMISC: u32 = BASE + 0x1b0;
const DFIMISC_COMPLETE: u32 = 1 << 0;
const DFIMISC_START: u32 = 1 << 5;
const DFIMISC_SET_POINT: u32 = 0x1f << 8;
const DFISTAT: u32 = BASE + 0x1bc;
const DFISTAT_COMPLETE: u32 = 1;
/// Address map registers 0 to 8.
pub(super) const ADDRMAP: u32 = BASE + 0x200;
const DBG1: u32 = BASE + 0x304;
const SWCTL: u32 = BASE + 0x320;
const SWCTL_DONE: u32 = 1;
const SWSTAT: u32 = BASE + 0x324;
const SWSTAT_ACKNOWLEDGED: u32 = 1;
const PCTRL_0: u32 = BASE + 0x490;
const SBRCTL: u32 = BASE + 0xf24;
const SBRCTL_ENABLE: u32 = 1;
/// Writing, as fast as it goes.
const SBRCTL_FILL: u32 = 0x14;
/// Reading and correcting, a burst from time to time.
const SBRCTL_CHECK: u32 = 0x100;
const SBRSTAT: u32 = BASE + 0xf28;
const SBRSTAT_BUSY: u32 = 1 << 0;
const SBRSTAT_DONE: u32 = 1 << 1;
const SBRWDATA0: u32 = BASE + 0xf2c;
const SBRSTART0: u32 = BASE + 0xf38;
const SBRRANGE0: u32 = BASE + 0xf40;
/// What memory holds before somebody writes to it.
const FILL_PATTERN: u32 = 0x55aa_55aa;
/// DDR subsystem, outside of the controller: memory type.
const SUBSYSTEM_GPR0: u32 = 0x3d00_0000;
const SUBSYSTEM_LPDDR4: u32 = 1;
/// Reset controller: DDRC_RCR, and the bits that let all domains use it.
const RESET: u32 = 0x3039_1000;
const RESET_DOMAINS: u32 = 0x8f00_0000;

/// What is held in reset.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Reset {
    /// Everything; bit 4, of which no source tells more, is for the very first store.
    AllAtFirst = 0x1f,
    /// Register port (bit 0), core (1), PHY (2), and the PHY's word that power is good (3).
    All = 0x0f,
    /// Core and PHY: the registers can be written.
    CoreAndPhy = 0x06,
    /// The PHY.
    Phy = 0x04,
    /// Nothing.
    None = 0x00,
}

/// The controller.
pub(super) struct Controller<'a, B, C>(pub(super) Ports<'a, B, C>);

impl<B: Bus, C: Clock> Controller<'_, B, C> {
    /// Holds `what` in reset, and only that.
    pub(super) fn reset(&self, what: Reset) {
        self.0.write(RESET, RESET_DOMAINS | what as u32);
    }

    /// Writes the board's values.
    pub(super) fn configure(&self, rows: &[ControllerWrite]) {
        for row in rows {
            self.0.write(row.address, row.value);
        }
    }

    /// Keeps the controller off the memory while the PHY trains it.
    pub(super) fn stand_back(&self) -> Result<(), Cause> {
        self.0.write(DBG1, 0);
        self.0.write(RFSHCTL3, RFSHCTL3_NO_AUTO_REFRESH);
        self.0.write(PWRCTL, PWRCTL_DURING_TRAINING);
        let mode = self.0.read(MSTR);
        if mode & MSTR_LPDDR4 != 0 {
            self.0.write(SUBSYSTEM_GPR0, SUBSYSTEM_LPDDR4);
        }
        let set_point = match mode & MSTR_SET_POINTS {
            0 => 0,
            _ => self.0.read(MSTR2) & MSTR2_SET_POINT,
        };
        self.quasi_dynamic(|ports| {
            ports.modify(DFIMISC, DFIMISC_SET_POINT, set_point << 8);
            ports.modify(DFIMISC, DFIMISC_COMPLETE, 0);
        })
    }

    /// Widens the spaces between commands to different ranks, set point by set point, and tells
    /// the PHY to start with what it was trained to.
    pub(super) fn start_phy(&self, spacings: &[Spacing]) -> Result<(), Cause> {
        self.quasi_dynamic(|ports| {
            for (set_point, spacing) in (0..).zip(spacings) {
                let offset = set_point_offset(set_point);
                let turnaround = ports.read(DRAMTMG2 + offset);
                ports.write(DRAMTMG2 + offset, spacing.widen_turnaround(turnaround));
                let gaps = ports.read(RANKCTL + offset);
                ports.write(RANKCTL + offset, spacing.widen_gaps(gaps));
            }
            ports.modify(DFIMISC, 0, DFIMISC_START);
        })?;
        self.0.poll(DFISTAT, DFISTAT_COMPLETE, DFISTAT_COMPLETE, START)
    }

    /// Lets the controller have the memory.
    pub(super) fn take_over(&self) -> Result<(), Cause> {
        self.quasi_dynamic(|ports| {
            ports.modify(DFIMISC, DFIMISC_START, 0);
            ports.modify(DFIMISC, 0, DFIMISC_COMPLETE);
            ports.modify(PWRCTL, PWRCTL_SELF_REFRESH_NOW, 0);
        })?;
        self.0.poll(STAT, STAT_MODE, STAT_NORMAL, START)?;
        self.0.write(RFSHCTL3, 0);
        self.0.write(PCTRL_0, 1);
        Ok(())
    }

    /// Lets idle memory refresh itself: the last step.
    pub(super) fn save_power(&self) {
        self.0.modify(PWRCTL, 0, PWRCTL_SELF_REFRESH_WHEN_IDLE);
    }

    /// Fills `range`, so that its error-correcting codes are right before somebody reads it.
    pub(super) fn fill(&self, range: ScrubRange) -> Result<(), Cause> {
        self.with_ports_shut(|ports| {
            ports.modify(ECCCFG1, 0, ECCCFG1_PARITY_LOCKED);
            ports.write(PCTRL_0, 0);
            ports.write(SBRSTART0, range.first);
            ports.write(SBRRANGE0, range.last);
            ports.write(SBRCTL, SBRCTL_FILL);
            ports.write(SBRWDATA0, FILL_PATTERN);
            ports.modify(SBRCTL, 0, SBRCTL_ENABLE);
            ports.poll(SBRSTAT, SBRSTAT_DONE, SBRSTAT_DONE, SCRUB)?;
            ports.poll(SBRSTAT, SBRSTAT_BUSY, 0, SCRUB)
        })
    }

    /// Reads and corrects `range` for ever from now on.
    pub(super) fn check_for_ever(&self, range: ScrubRange) -> Result<(), Cause> {
        self.with_ports_shut(|ports| {
            ports.write(PCTRL_0, 0);
            ports.write(SBRSTART0, range.first);
            ports.write(SBRRANGE0, range.last);
            Ok(())
        })
    }

    /// Does `work` while nobody uses the memory, then lets the scrubber check.
    fn with_ports_shut(
        &self,
        work: impl FnOnce(&Ports<'_, B, C>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let ports = &self.0;
        ports.write(SWCTL, 0);
        work(ports)?;
        ports.modify(SBRCTL, SBRCTL_ENABLE, 0);
        ports.write(SBRCTL, SBRCTL_CHECK);
        ports.write(SBRCTL, SBRCTL_CHECK | SBRCTL_ENABLE);
        ports.write(PCTRL_0, 1);
        ports.write(SWCTL, SWCTL_DONE);
        ports.poll(SWSTAT, SWSTAT_ACKNOWLEDGED, SWSTAT_ACKNOWLEDGED, HANDSHAKE)
    }

    /// Registers such as DFIMISC, DRAMTMG2 and RANKCTL may only be written between these two
    /// stores while the controller runs.
    fn quasi_dynamic(&self, change: impl FnOnce(&Ports<'_, B, C>)) -> Result<(), Cause> {
        self.0.write(SWCTL, 0);
        change(&self.0);
        self.0.write(SWCTL, SWCTL_DONE);
        self.0.poll(SWSTAT, SWSTAT_ACKNOWLEDGED, SWSTAT_ACKNOWLEDGED, HANDSHAKE)
    }
}

const fn set_point_offset(set_point: u32) -> u32 {
    match set_point {
        0 => 0,
        later => (later + 1) * 0x1000,
    }
}
