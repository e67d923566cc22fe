//! The memory subsystem: DRAM controller, PHY with its training firmware, their clocks and resets.
//!
//! It knows the order in which things must be done and notes what is not. Whatever software waits
//! for comes at the third look. Training always finds the same, see [`pmu`].
//!
//! Sources: i.MX 8M Plus reference manual; docs/ddr.md for what the manual leaves out.

pub mod bench;
pub mod blobs;
mod clocks;
mod controller;
mod phy;
mod pmu;
pub mod window;

use crate::access::Width;
use clocks::Clocks;
use controller::Controller;
use phy::Phy;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Training run with this number, from 0 on, fails with its fifth word.
    Fails(usize),
    /// The firmware says nothing in this run.
    Silent(usize),
    /// The firmware does not see the first acknowledgement in this run.
    Deaf(usize),
    /// The firmware announces stages for ever in this run.
    Endless(usize),
    /// A halfword of the firmware's memory, counted from the instruction memory's first, has bit 0
    /// stuck at 0.
    StuckBit(u32),
    /// The PLL never locks.
    NoLock,
    /// The controller never accepts quasi-dynamic registers.
    NoHandshake,
    /// The PHY's calibration never ends.
    NoCalibration,
    /// The PHY never starts after training.
    NoPhy,
    /// The controller never reaches normal mode.
    NoNormalMode,
    /// Filling memory never ends.
    NoFill,
    /// The 1D runs find these differences between the ranks: the registers from 0x54013 and from
    /// 0x5402c on.
    Differences([u16; 6], [u16; 7]),
}

/// The subsystem.
pub struct Model {
    clocks: Clocks,
    controller: Controller,
    phy: Phy,
    rules: Rules,
}

/// Rules that software broke.
#[derive(Debug, Default)]
struct Rules(Vec<String>);

impl Rules {
    fn require(&mut self, kept: bool, rule: impl FnOnce() -> String) {
        // Software that breaks rules may do so for ever.
        if !kept && self.0.len() < 100 {
            self.0.push(rule());
        }
    }
}

/// Becomes true at the third look.
#[derive(Clone, Copy, Debug, Default)]
struct Patience(u8);

impl Patience {
    fn look(&mut self) -> bool {
        let done = self.0 >= 2;
        self.0 = self.0.saturating_add(1);
        done
    }
}

impl Model {
    /// As the boot ROM leaves it, with these faults.
    pub fn new(faults: &[Fault]) -> Self {
        Self {
            clocks: Clocks::new(faults),
            controller: Controller::new(faults),
            phy: Phy::new(faults),
            rules: Rules::default(),
        }
    }

    /// Leaves clocks and power to somebody else.
    fn assume_clocks(&mut self) {
        self.clocks.assume();
    }

    /// With these faults from now on.
    pub fn set_faults(&mut self, faults: &[Fault]) {
        self.clocks.set_faults(faults);
        self.controller.set_faults(faults);
        self.phy.set_faults(faults);
    }

    /// What a load sees.
    pub fn read(&mut self, address: u32, width: Width) -> u32 {
        let rules = &mut self.rules;
        match address {
            clocks::GPC..clocks::END if self.clocks.has(address) => self.clocks.read(address),
            phy::BASE..phy::END => {
                self.check_phy_reset(address);
                self.phy.read(address, width, &mut self.rules)
            }
            controller::SUBSYSTEM..controller::END => {
                rules.require(width == Width::Word, || format!("16-bit load from {address:#x}"));
                self.controller.read(address, self.phy.is_initialized(), rules)
            }
            _ => {
                rules.require(false, || format!("load from {address:#x}"));
                0
            }
        }
    }

    /// What a store does.
    pub fn write(&mut self, address: u32, width: Width, value: u32) {
        let rules = &mut self.rules;
        match address {
            controller::RESET => {
                self.controller.reset(value, rules);
                self.phy.reset(value);
            }
            clocks::GPC..clocks::END if self.clocks.has(address) => {
                self.clocks.write(address, value);
            }
            phy::BASE..phy::END => {
                self.check_phy_reset(address);
                let rate = self.clocks.rate();
                self.phy.write(address, width, value, rate, &mut self.rules);
            }
            controller::SUBSYSTEM..controller::END => {
                rules.require(width == Width::Word, || format!("16-bit store to {address:#x}"));
                rules.require(self.clocks.is_powered(), || "subsystem has no power".into());
                self.controller.write(address, value, rules);
            }
            _ => rules.require(false, || format!("store to {address:#x}")),
        }
    }

    fn check_phy_reset(&mut self, address: u32) {
        let released = self.controller.is_released();
        self.rules.require(released, || format!("PHY in reset: access to {address:#x}"));
    }

    /// Whether memory can be used.
    pub fn is_online(&self) -> bool {
        self.controller.is_online()
    }

    /// Rules that software broke, in order.
    pub fn broken_rules(&self) -> &[String] {
        &self.rules.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUX_SEL: u32 = phy::BASE + 4 * 0xd_0000;
    const MICRO_RESET: u32 = phy::BASE + 4 * 0xd_0099;
    const IMEM: u32 = phy::BASE + 4 * 0x5_0000;

    /// A model that is out of reset, and what it says of these stores.
    fn broken_by(stores: &[(u32, Width, u32)]) -> Vec<String> {
        let mut model = Model::new(&[]);
        model.assume_clocks();
        for resets in [0x8f00_000f, 0x8f00_0006, 0x8f00_0000] {
            model.write(controller::RESET, Width::Word, resets);
        }
        for (address, width, value) in stores {
            model.write(*address, *width, *value);
        }
        model.broken_rules().to_vec()
    }

    #[test]
    fn each_broken_rule_is_noticed() {
        let word = |address, value| (address, Width::Word, value);
        for (stores, rule) in [
            (&[word(0x3d40_0000, 1)][..], "static register 0x3d400000"),
            (&[word(0x3d40_01b0, 1)], "0x3d4001b0 while SWCTL is set"),
            (&[(0x3d40_0320, Width::Half, 0)], "16-bit store to 0x3d400320"),
            (&[(phy::BASE, Width::Half, 0)], "16-bit access to PHY register 0x0"),
            (&[word(MUX_SEL, 1), word(IMEM, 0)], "0x50000 belongs to the microcontroller"),
            (&[word(MUX_SEL, 1), word(MICRO_RESET, 0)], "started without a reset"),
            (&[word(MICRO_RESET, 9), word(MICRO_RESET, 0)], "started without its registers"),
            (
                &[word(MUX_SEL, 1), word(MICRO_RESET, 9), word(MICRO_RESET, 0)],
                "without its firmware",
            ),
            (&[word(controller::RESET, 0x8f00_0004), word(MUX_SEL, 0)], "PHY in reset"),
            (&[word(controller::RESET, 0)], "without domains"),
            (&[word(0x3000_0000, 0)], "store to 0x30000000"),
        ] {
            let broken = broken_by(stores).join("\n");
            assert!(broken.contains(rule), "{rule}: {broken:?}");
        }
        assert_eq!(broken_by(&[]), Vec::<String>::new());
        assert_eq!(broken_by(&[word(MUX_SEL, 0), (IMEM, Width::Half, 0)]), Vec::<String>::new());
    }

    #[test]
    fn without_power_or_with_another_clock_a_rule_is_broken() {
        let mut model = Model::new(&[]);
        model.write(controller::RESET, Width::Word, 0x8f00_0006);
        model.write(0x3d40_0000, Width::Word, 0);
        assert_eq!(model.broken_rules(), ["subsystem has no power"]);
        model.write(controller::RESET, Width::Word, 0x8f00_0000);
        for (address, width, value) in [
            (IMEM, Width::Half, 1),
            (phy::BASE + 4 * 0x5_4003, Width::Word, 4000),
            (MUX_SEL, Width::Word, 1),
            (MICRO_RESET, Width::Word, 9),
            (MICRO_RESET, Width::Word, 0),
        ] {
            model.write(address, width, value);
        }
        let last = model.broken_rules().last().cloned().unwrap_or_default();
        assert!(last.contains("trained for 4000"), "{last}");
    }
}
