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

/// The boot ROM's services (its API at 0x980), for as long as a first stage leaves its memory alone.
pub trait BootRom {
    /// Asks one question.
    fn query(&self, question: Question) -> Result<u32, RomFailure>;
    /// Fills `destination` from the boot device: from byte `offset` of it, or of the boot partition,
    /// or with what comes next in a stream, where `offset` is 0. Offset and length are multiples of
    /// the page size that [`Question::PageSize`] tells.
    fn download(&self, destination: &mut [u8], offset: u32) -> Result<(), RomFailure>;
}

/// What the boot ROM can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Question {
    /// Its version.
    Version = 1,
    /// The boot device: type in bits 23:16, instance in 15:8, state in 7:0.
    BootDevice = 2,
    /// The unit of transfers, in bytes.
    PageSize = 3,
    /// Where the header that was booted lies on the device, in bytes.
    HeaderOffset = 4,
    /// Which attempt this is: 6 primary, 9 secondary, 0xa recovery, 5 USB.
    Stage = 5,
    /// Where the image that was booted starts on the device, in bytes.
    ImageOffset = 6,
}

/// The boot ROM did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RomFailure {
    /// Its table of services is not there.
    Absent,
    /// It answered with this code instead of 0xf0.
    Refused(u32),
}

/// What the boot ROM loaded the image from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// An SD card behind the uSDHC with this number, counted from 0.
    Sd(u8),
    /// An eMMC behind the uSDHC with this number, counted from 0.
    Emmc(u8),
    /// A NOR flash behind FlexSPI.
    FlexSpi,
    /// USB serial download.
    Usb,
    /// Another one: type and instance as the boot ROM numbers them.
    Other(u8, u8),
}
