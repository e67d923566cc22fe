//! What the boot ROM of the i.MX 8M Plus takes for granted about an image.
//!
//! Sources: i.MX 8M Plus reference manual, chapter on system boot ("Boot devices", "Program image");
//! U-Boot `doc/board/nxp/imx8mp_evk.rst`, `arch/arm/mach-imx/imx8m/soc.c`; barebox
//! `drivers/mci/imx-esdhc-pbl.c` and its EVK's `flash-header-imx8mp-evk.imxcfg`; imx-mkimage
//! `iMX8M/mkimage_imx8.c`, `scripts/fspi_packer.sh`.

#![forbid(unsafe_code)]

/// Where every loader for this chip is entered: on-chip memory below belongs to the ROM.
pub const ENTRY: u32 = 0x92_0000;
/// The most that the ROM is asked to load, in bytes, header and signature block included.
pub const LOAD_MAX: u32 = 0x3_f000;
/// Where the image lies on an SD card and in an eMMC's user area, in bytes.
pub const CARD_OFFSET: u64 = 0x8000;
/// Where it lies in an eMMC's boot partition.
pub const BOOT_PARTITION_OFFSET: u64 = 0;
/// Where it lies in a NOR flash behind FlexSPI.
pub const FLEXSPI_OFFSET: u32 = 0x1000;
/// Where such a flash tells how it is read.
pub const FLEXSPI_CONFIGURATION_OFFSET: u32 = 0x400;
/// Where the ROM looks on a card when the image at [`CARD_OFFSET`] is bad, with unblown fuses.
pub const SECONDARY_CARD_OFFSET: u64 = CARD_OFFSET + (4 << 20);
