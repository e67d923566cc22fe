//! NXP i.MX 8M Plus EVK (8MPLUSLPD4-EVK): 6 GiB LPDDR4, SD slot on uSDHC2, eMMC on uSDHC3.
//!
//! Sources: i.MX 8M Plus reference manual (memory map), Linux `imx8mp-evk.dts`.

use super::{Board, CardKind, CardSlot};

/// The board.
pub static BOARD: Board = Board {
    name: "NXP i.MX8MPlus EVK board",
    device_tree: "freescale/imx8mp-evk.dtb",
    compatible: "fsl,imx8mp-evk",
    dram_banks: &[(0x4000_0000, 0xc000_0000), (0x1_0000_0000, 0xc000_0000)],
    console_uart: 0x3089_0000,
    cards: &[
        CardSlot { name: "SD card (uSDHC2)", usdhc: 0x30b5_0000, kind: CardKind::Sd },
        CardSlot { name: "eMMC (uSDHC3)", usdhc: 0x30b6_0000, kind: CardKind::Emmc },
    ],
};
