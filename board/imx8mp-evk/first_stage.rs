//! What the first stage does to the board: clocks, supplies, pads.
//!
//! Sources: Linux `imx8mp-evk.dts` and `imx8mp-pinfunc.h` (pads), mainline U-Boot
//! `board/nxp/imx8mp_evk/spl.c` (`power_init_board`), PCA9450 data sheet.

use crate::{
    board::FirstStage,
    driver::{
        gpio::Line,
        i2c::{Recovery, Wiring},
        pca9450::{Pmic, Setting, buck1_to_3},
    },
    soc::{ccm, clocks, iomuxc::Pad},
};

/// The board's part of the first stage.
pub static FIRST_STAGE: FirstStage = FirstStage {
    clocks: clocks::IMX8MP,
    fast_clocks: clocks::GIC_500_MHZ,
    watchdog_pads: &[
        // GPIO1_IO02: WDOG1_WDOG_B
        Pad {
            mux: 0x3033_001c,
            alternate: 1,
            select_input: None,
            control: 0x3033_027c,
            value: 0x166,
        },
    ],
    pmic_bus: Wiring {
        // I2C1
        base: 0x30a2_0000,
        // The crystal, divided by 60: 400 kHz.
        clock: ccm::Clock { roots: &[(90, 0x1000_0000)], hertz: 24_000_000, gate: 23 },
        divider: 0x06,
        // I2C1_SCL, I2C1_SDA
        pads: [SCL, SDA],
        recovery: Some(Recovery {
            // GPIO5_IO14, GPIO5_IO15
            pads: [as_gpio(SCL), as_gpio(SDA)],
            scl: Line { block: GPIO5, number: 14, active_low: true },
            sda: Line { block: GPIO5, number: 15, active_low: true },
        }),
    },
    pmic_pads: &[
        // GPIO1_IO03: the PMIC's interrupt
        Pad {
            mux: 0x3033_0020,
            alternate: 0,
            select_input: None,
            control: 0x3033_0280,
            value: 0x1c0,
        },
    ],
    // PCA9450C
    pmic: Pmic { address: 0x25, chip: 3, settings: PMIC_SETTINGS },
};

const PMIC_SETTINGS: &[Setting] = &[
    // RESET_CTRL: the watchdog's pin cycles all supplies but LDO1 and LDO2, so that DRAM and cards
    // begin anew as well.
    Setting { register: 0x08, mask: 0xc0, value: 0x80 },
    // BUCK123_DVS: BUCK1, 2 and 3 follow their own registers.
    whole(0x0c, 0x29),
    // BUCK1OUT_DVS0: VDD_SOC 0.95 V, for DRAM at 4000 MT/s and the GIC at 500 MHz.
    whole(0x11, buck1_to_3(9500)),
    // BUCK1OUT_DVS1: VDD_SOC 0.85 V in standby.
    whole(0x12, buck1_to_3(8500)),
    // BUCK1CTRL: on with PMIC_ON_REQ; the standby pin chooses between the two.
    whole(0x10, 0x59),
    // BUCK2OUT_DVS0: VDD_ARM 0.95 V.
    whole(0x14, buck1_to_3(9500)),
];

const GPIO5: u32 = 0x3024_0000;

/// Input path on: the controller listens to its own lines.
const SCL: Pad = Pad {
    mux: 0x3033_0200,
    alternate: 0x10,
    select_input: Some((0x3033_05a4, 2)),
    control: 0x3033_0460,
    value: 0x1c2,
};
const SDA: Pad = Pad {
    mux: 0x3033_0204,
    alternate: 0x10,
    select_input: Some((0x3033_05a8, 2)),
    control: 0x3033_0464,
    value: 0x1c2,
};

const fn as_gpio(pad: Pad) -> Pad {
    Pad { alternate: 5, select_input: None, ..pad }
}

const fn whole(register: u8, value: u8) -> Setting {
    Setting { register, mask: u8::MAX, value }
}
