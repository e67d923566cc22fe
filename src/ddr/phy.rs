//! The PHY's registers.
//!
//! 16-bit registers, each in a 32-bit word: number r is at 0x3c000000 + 4 * r. Those with numbers
//! 0xd00yy always answer; all others belong to the PHY's microcontroller while `MicroContMuxSel` is
//! set. Bits 23:20 of a number are the set point.

use crate::{mmio::Bus, time::Clock};

use super::{
    error::Cause,
    ports::{Ports, START},
    spacing::{CHANNEL_A, CHANNEL_B, Spacing},
    timing::{PhyRegister, PhyWrite},
};

const BASE: u32 = 0x3c00_0000;
/// Who has the registers: 0 the processor, 1 the microcontroller.
const MICRO_CONT_MUX_SEL: u32 = 0xd_0000;
/// Reset (bit 3) and stall (bit 0) of the microcontroller.
const MICRO_RESET: u32 = 0xd_0099;
/// Clocks of the microcontroller (bit 0) and of the register bus (bit 1).
const UCCLK_HCLK_ENABLES: u32 = 0xc_0080;
/// Set while the impedance calibrator works; may be read by the processor at all times.
const CAL_BUSY: u32 = 0x2_0097;
/// Message block: revision of the firmware, and (high byte) ranks that failed.
const REVISION: u32 = 0x5_4001;
const FAILED_RANKS: u32 = 0x5_4007;

/// Where a register is.
pub(super) const fn address(register: u32) -> u32 {
    BASE + 4 * register
}

/// The PHY.
pub(super) struct Phy<'a, B, C>(pub(super) Ports<'a, B, C>);

impl<B: Bus, C: Clock> Phy<'_, B, C> {
    fn write(&self, register: u32, value: u16) {
        self.0.write(address(register), u32::from(value));
    }

    fn read(&self, register: u32) -> u16 {
        (self.0.read(address(register)) & 0xffff) as u16
    }

    /// Writes rows in order.
    pub(super) fn apply(&self, rows: &[PhyWrite]) {
        for row in rows {
            self.write(row.register(), row.value());
        }
    }

    /// Takes the registers from the microcontroller.
    pub(super) fn open(&self) {
        self.write(MICRO_CONT_MUX_SEL, 0);
    }

    /// Gives them back.
    pub(super) fn close(&self) {
        self.write(MICRO_CONT_MUX_SEL, 1);
    }

    /// Starts the firmware from its beginning.
    pub(super) fn start_firmware(&self) {
        self.close();
        self.write(MICRO_RESET, 9);
        self.write(MICRO_RESET, 1);
        self.write(MICRO_RESET, 0);
    }

    /// Stops it where it is.
    pub(super) fn halt_firmware(&self) {
        self.write(MICRO_RESET, 1);
    }

    /// What a 1D run found out about the ranks. Registers must be open.
    pub(super) fn spacing(&self) -> Spacing {
        let mut a = [0; 6];
        for (register, word) in (CHANNEL_A..).zip(&mut a) {
            *word = self.read(register);
        }
        let mut b = [0; 7];
        for (register, word) in (CHANNEL_B..).zip(&mut b) {
            *word = self.read(register);
        }
        Spacing::from_results(a, b)
    }

    /// The firmware's revision and a bit for each rank that it failed on. Registers must be open.
    pub(super) fn verdict(&self) -> (u16, u8) {
        let [_, failed_ranks] = self.read(FAILED_RANKS).to_le_bytes();
        (self.read(REVISION), failed_ranks)
    }

    /// Hands each of `registers` to `keep`, by its place in the list.
    pub(super) fn capture(&self, registers: &[PhyRegister], mut keep: impl FnMut(usize, u16)) {
        self.open();
        self.write(UCCLK_HCLK_ENABLES, 3);
        for (index, register) in registers.iter().enumerate() {
            keep(index, self.read(register.number()));
        }
        self.write(UCCLK_HCLK_ENABLES, 2);
        self.close();
    }

    /// Waits for the calibration that the PIE section starts.
    pub(super) fn await_calibration(&self) -> Result<(), Cause> {
        self.0.poll(address(CAL_BUSY), 1, 0, START)
    }
}
