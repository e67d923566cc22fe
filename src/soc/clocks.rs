//! The clock tree of a first stage: a list of steps as data, and what works through it.
//!
//! Relies on what the boot ROM leaves: SYS PLL1 at 800 MHz and SYS PLL2 at 1 GHz, running.

#![forbid(unsafe_code)]

use crate::{mmio::Bus, time::Clock};

use super::{
    analog::{self, IntegerPll, Outputs, Unlocked},
    ccm,
};

/// One step.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Opens the gate with this number.
    Open(u32),
    /// Shuts it.
    Shut(u32),
    /// Gives the root slice with this number this target.
    Root(u32, u32),
    /// Enables outputs of a running PLL.
    Outputs(Outputs),
    /// Starts a PLL, then gives root slices that it feeds their targets.
    Pll {
        /// The PLL.
        pll: IntegerPll,
        /// Root slices and targets.
        feeds: &'static [(u32, u32)],
    },
}

/// Works through `steps`. What a PLL that does not lock should feed stays at the clock that it has,
/// slower but running, and the other steps are taken; the first such PLL is the error.
pub fn set_up(bus: &impl Bus, clock: &impl Clock, steps: &[Step]) -> Result<(), Unlocked> {
    let mut outcome = Ok(());
    for step in steps {
        match step {
            Step::Open(gate) => ccm::open(bus, *gate),
            Step::Shut(gate) => ccm::shut(bus, *gate),
            Step::Root(root, target) => ccm::set_root(bus, *root, *target),
            Step::Outputs(outputs) => analog::enable(bus, outputs),
            Step::Pll { pll, feeds } => match analog::start(bus, clock, pll) {
                Ok(()) => feeds.iter().for_each(|&(root, to)| ccm::set_root(bus, root, to)),
                Err(unlocked) => outcome = outcome.and(Err(unlocked)),
            },
        }
    }
    outcome
}

/// What every i.MX 8M Plus gets before DRAM, at the voltages that any PMIC starts it with.
///
/// Source: i.MX 8M Plus reference manual, chapter 5 (root slices, gates, PLLs); values as mainline
/// U-Boot's `clock_init` (`arch/arm/mach-imx/imx8m/clock_imx8mm.c`) writes them.
pub const IMX8MP: &[Step] = &[
    // Main outputs and all divided ones, from 1/2 to 1/20.
    Step::Outputs(Outputs { control: 0x3036_0094, enables: SYSTEM_OUTPUTS }),
    Step::Outputs(Outputs { control: 0x3036_0104, enables: SYSTEM_OUTPUTS }),
    // ARM_A53 from SYS_PLL2_500M; the cores move to the ARM PLL, 1200 MHz, once it runs.
    Step::Root(0, 0x1200_0000),
    Step::Pll {
        pll: IntegerPll { name: "ARM PLL", control: 0x3036_0084, dividers: (300, 3, 1) },
        feeds: &[(CORE_SELECT, 0x0100_0000)],
    },
    // 600 MHz, for NOC_IO.
    Step::Pll {
        pll: IntegerPll { name: "SYS PLL3", control: 0x3036_0114, dividers: (300, 3, 2) },
        feeds: &[(27, 0x1200_0000)],
    },
    // NAND_USDHC_BUS: SYS_PLL1_266M.
    Step::Root(18, 0x1100_0000),
    // DRAM_ALT and DRAM_APB: SYS_PLL1_800M.
    Step::Shut(5),
    Step::Root(64, 0x1100_0000),
    Step::Root(65, 0x1100_0000),
    Step::Open(5),
    // WDOG: the crystal.
    Step::Shut(83),
    Step::Shut(84),
    Step::Shut(85),
    Step::Root(114, 0x1000_0000),
    Step::Open(83),
    Step::Open(84),
    Step::Open(85),
    // Temperature sensor, debug; fuses, which BL31 reads too.
    Step::Open(98),
    Step::Open(60),
    Step::Open(34),
];

/// GIC from SYS_PLL2_500M. Needs VDD_SOC at its overdrive voltage, 0.95 V.
pub const GIC_500_MHZ: &[Step] = &[Step::Shut(92), Step::Root(100, 0x1500_0000), Step::Open(92)];

/// Selects between the A53's root slice and the ARM PLL itself.
const CORE_SELECT: u32 = 49;
const SYSTEM_OUTPUTS: u32 = 0x0aaa_a800;
