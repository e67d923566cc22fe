//! NXP i.MX 8M Plus EVK (8MPLUSLPD4-EVK): 6 GiB LPDDR4, SD slot on uSDHC2, eMMC on uSDHC3.
//!
//! Sources: i.MX 8M Plus reference manual (memory map, IOMUXC, CCM), Linux `imx8mp-evk.dts`.

pub(super) mod dram;
pub(super) mod first_stage;

use super::{Board, CardKind, CardSlot, SlotPower};
use crate::{
    driver::{
        gpio::Line,
        sd::{BusWidth, Limits, ModeLimit, Signalling, Timing},
        usdhc::Sampling,
    },
    image::{
        container::PartKind,
        flexspi::Flash,
        target::{Room, RoomFit, Target},
    },
    memory::Region,
    soc::{boot_rom, ccm::Clock, iomuxc::Pad},
};

/// The board.
pub static BOARD: Board = Board {
    name: "NXP i.MX8MPlus EVK board",
    device_tree: "freescale/imx8mp-evk.dtb",
    compatible: "fsl,imx8mp-evk",
    dram_banks: &[(0x4000_0000, 0xc000_0000), (0x1_0000_0000, 0xc000_0000)],
    console_uart: 0x3089_0000,
    console_setup: &[
        // UART2 pads: function, input select, then pull and drive strength.
        (0x3033_0228, 0),
        (0x3033_05f0, 6),
        (0x3033_0488, 0x140),
        (0x3033_022c, 0),
        (0x3033_048c, 0x140),
        // Its clock: the 24 MHz crystal, on; its gate open.
        (0x3038_af80, 0x1000_0000),
        (0x3038_44a4, 3),
    ],
    watchdog: 0x3028_0000,
    // AIPS-1, 2, 3 and 5; the DRAM controller, which tells how much memory there is.
    registers: &[(0x3000_0000, 0x0100_0000), (0x3d40_0000, 0x4000)],
    fixups: &[],
    // They are in the SoC's fuses.
    addresses: None,
    cards: &[SD_CARD, EMMC],
    // Below the second stage.
    hand_off: Region::new(0x401f_e000, 0x2000),
    scratch: Region::new(0x401c_0000, 0x2_0000),
    image: &IMAGE,
};

/// Load addresses are those that TF-A's port is built for (`plat/imx/imx8m/imx8mp/include/
/// platform_def.h`: BL31 in the last 128 KiB of on-chip memory, BL33 at 0x40200000, OP-TEE at
/// 0x56000000, whose last 4 MiB are shared memory).
static IMAGE: Target = Target {
    board: "imx8mp-evk",
    entry: boot_rom::ENTRY,
    load_max: boot_rom::LOAD_MAX,
    spl_max: 96 << 10,
    container_at: 0x4_0000,
    fit_at: 0x5_8000,
    // From 32 KiB to the state record.
    image_max: 0x3e_0000 - 0x8000,
    rooms: &[
        (PartKind::Bl31, program(0x97_0000, 128 << 10)),
        (PartKind::Tee, program(0x5600_0000, 28 << 20)),
        (PartKind::Loader, program(0x4020_0000, 16 << 20)),
        (PartKind::Kernel, RECOVERY),
        (PartKind::Initrd, RECOVERY),
        (PartKind::DeviceTree, RECOVERY),
        (PartKind::CommandLine, RECOVERY),
    ],
    training_release: "_202006",
    // As large as anything that is soldered in its place; the ROM does not use the other two.
    flexspi: Flash { size: 256 << 20, page_size: 256, sector_size: 64 << 10 },
};

/// Behind OP-TEE, up to the end of the smallest memory that the module is sold with (2 GiB).
const RECOVERY: Room = Room { start: 0x5800_0000, size: 0x6800_0000, fit: RoomFit::Anywhere };

const fn program(start: u64, size: u64) -> Room {
    Room { start, size, fit: RoomFit::AtStart }
}

const SD_CARD: CardSlot = CardSlot {
    name: "SD card (uSDHC2)",
    usdhc: 0x30b5_0000,
    kind: CardKind::Sd,
    clock: Clock { roots: &[(89, PLL1_400M), BUS], hertz: 400_000_000, gate: 82 },
    pads: SD_PADS,
    control_pads: SD_CONTROL_PADS,
    limits: Limits {
        width: BusWidth::Four,
        signalling: Signalling::Switchable,
        modes: &[
            limit(Timing::Default, 25_000_000),
            limit(Timing::HighSpeed, 50_000_000),
            limit(Timing::Sdr25, 50_000_000),
            limit(Timing::Sdr50, 100_000_000),
            limit(Timing::Sdr104, 200_000_000),
        ],
    },
    // GPIO2_IO19 switches VSD_3V3, which needs 20 ms to fall (Linux's device tree) and 2 ms to rise
    // (U-Boot).
    power: Some(SlotPower {
        line: Line { block: GPIO2, number: 19, active_low: false },
        off_us: 20_000,
        on_us: 2_000,
    }),
    // The slot's switch pulls GPIO2_IO12 down.
    detect: Some(Line { block: GPIO2, number: 12, active_low: true }),
    // The slot is for microSD cards, which have no lock.
    protect: false,
    // The PMIC's LDO5 follows the VSELECT pin.
    voltage_settle_us: 10_000,
    sampling: SAMPLING,
};

const EMMC: CardSlot = CardSlot {
    name: "eMMC (uSDHC3)",
    usdhc: 0x30b6_0000,
    kind: CardKind::Emmc,
    clock: Clock { roots: &[(121, PLL1_400M), BUS], hertz: 400_000_000, gate: 94 },
    pads: EMMC_PADS,
    control_pads: &[],
    limits: Limits {
        width: BusWidth::Eight,
        signalling: Signalling::Fixed1V8,
        modes: &[
            limit(Timing::Default, 25_000_000),
            limit(Timing::HighSpeed, 50_000_000),
            limit(Timing::Ddr52, 52_000_000),
            limit(Timing::Hs200, 200_000_000),
            limit(Timing::Hs400, 200_000_000),
            limit(Timing::Hs400EnhancedStrobe, 200_000_000),
        ],
    },
    power: None,
    detect: None,
    protect: false,
    voltage_settle_us: 0,
    sampling: SAMPLING,
};

const GPIO2: u32 = 0x3021_0000;

/// `fsl,tuning-start-tap`, `fsl,tuning-step` of the board's device tree; the strobe's delay is the
/// controller's default.
const SAMPLING: Sampling = Sampling { start_tap: 20, step: 2, strobe_delay: 7 };

const fn limit(timing: Timing, hertz: u32) -> ModeLimit {
    ModeLimit { timing, hertz }
}

/// Root slice on, from its source 1: SYS_PLL1_400M.
const PLL1_400M: u32 = 0x1100_0000;

/// NAND_USDHC_BUS, from its source 1: SYS_PLL1_266M.
const BUS: (u32, u32) = (18, 0x1100_0000);

const fn pad(
    mux: u32,
    alternate: u32,
    select_input: Option<(u32, u32)>,
    control: u32,
    value: u32,
) -> Pad {
    Pad { mux, alternate, select_input, control, value }
}

/// Clock, command and data lines of the slot, at the slowest drive.
const SD_PADS: &[Pad] = &[
    // SD2_CLK: USDHC2_CLK
    pad(0x3033_00c0, 0, None, 0x3033_0320, 0x190),
    // SD2_CMD: USDHC2_CMD
    pad(0x3033_00c4, 0, None, 0x3033_0324, 0x1d0),
    // SD2_DATA0: USDHC2_DATA0
    pad(0x3033_00c8, 0, None, 0x3033_0328, 0x1d0),
    // SD2_DATA1: USDHC2_DATA1
    pad(0x3033_00cc, 0, None, 0x3033_032c, 0x1d0),
    // SD2_DATA2: USDHC2_DATA2
    pad(0x3033_00d0, 0, None, 0x3033_0330, 0x1d0),
    // SD2_DATA3: USDHC2_DATA3
    pad(0x3033_00d4, 0, None, 0x3033_0334, 0x1d0),
];

/// Voltage select, power switch and card detection of the slot.
const SD_CONTROL_PADS: &[Pad] = &[
    // GPIO1_IO04: USDHC2_VSELECT
    pad(0x3033_0024, 1, None, 0x3033_0284, 0xc0),
    // SD2_RESET_B: GPIO2_IO19
    pad(0x3033_00d8, 5, None, 0x3033_0338, 0x40),
    // SD2_CD_B: GPIO2_IO12
    pad(0x3033_00bc, 5, None, 0x3033_031c, 0x1c4),
];

/// Clock, command, data and strobe lines of the eMMC, at the slowest drive.
const EMMC_PADS: &[Pad] = &[
    // NAND_WE_B: USDHC3_CLK
    pad(0x3033_0124, 2, Some((0x3033_0604, 1)), 0x3033_0384, 0x190),
    // NAND_WP_B: USDHC3_CMD
    pad(0x3033_0128, 2, Some((0x3033_060c, 1)), 0x3033_0388, 0x1d0),
    // NAND_DATA04: USDHC3_DATA0
    pad(0x3033_0108, 2, Some((0x3033_0610, 1)), 0x3033_0368, 0x1d0),
    // NAND_DATA05: USDHC3_DATA1
    pad(0x3033_010c, 2, Some((0x3033_0614, 1)), 0x3033_036c, 0x1d0),
    // NAND_DATA06: USDHC3_DATA2
    pad(0x3033_0110, 2, Some((0x3033_0618, 1)), 0x3033_0370, 0x1d0),
    // NAND_DATA07: USDHC3_DATA3
    pad(0x3033_0114, 2, Some((0x3033_061c, 1)), 0x3033_0374, 0x1d0),
    // NAND_RE_B: USDHC3_DATA4
    pad(0x3033_011c, 2, Some((0x3033_0620, 1)), 0x3033_037c, 0x1d0),
    // NAND_CE2_B: USDHC3_DATA5
    pad(0x3033_00ec, 2, Some((0x3033_0624, 1)), 0x3033_034c, 0x1d0),
    // NAND_CE3_B: USDHC3_DATA6
    pad(0x3033_00f0, 2, Some((0x3033_0628, 1)), 0x3033_0350, 0x1d0),
    // NAND_CLE: USDHC3_DATA7
    pad(0x3033_00f4, 2, Some((0x3033_062c, 1)), 0x3033_0354, 0x1d0),
    // NAND_CE1_B: USDHC3_STROBE
    pad(0x3033_00e8, 2, Some((0x3033_0630, 1)), 0x3033_0348, 0x190),
];
