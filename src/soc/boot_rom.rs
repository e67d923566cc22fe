//! What the boot ROM of the i.MX 8M Plus takes for granted about an image, and what it tells about
//! the one that it has started.
//!
//! The ROM is asked ([`BootRom`]), and it leaves records in on-chip memory, which are read over a
//! [`Bus`]. Both are taken for input like any other: whatever they hold, [`find`] ends with a
//! [`Medium`] or an error.
//!
//! Sources: i.MX 8M Plus reference manual, chapter on system boot ("Boot devices", "Program image");
//! U-Boot `doc/board/nxp/imx8mp_evk.rst`, `arch/arm/mach-imx/imx8m/soc.c`, `arch/arm/mach-imx/
//! romapi.c`, `spl_imx_romapi.c`; barebox `drivers/mci/imx-esdhc-pbl.c`, `arch/arm/mach-imx/boot.c`
//! and its EVK's `flash-header-imx8mp-evk.imxcfg`; imx-mkimage `iMX8M/mkimage_imx8.c`,
//! `scripts/fspi_packer.sh`.

#![forbid(unsafe_code)]

use core::{fmt, ops::Range};

use crate::{
    error::{Code, Coded},
    mmio::Bus,
};

/// Where every loader for this chip is entered: on-chip memory below belongs to the ROM.
pub const ENTRY: u32 = 0x92_0000;
/// The most that the ROM is asked to load, in bytes, header and signature block included.
pub const LOAD_MAX: u32 = 0x3_f000;
/// Where the image lies on an SD card and in an eMMC's user area, in bytes.
pub const CARD_OFFSET: u64 = FIRST_COPY as u64;
const FIRST_COPY: u32 = 0x8000;
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

impl BootDevice {
    /// The device with these numbers; `None` for what the ROM says where there is none.
    pub const fn from_numbers(kind: u8, instance: u8) -> Option<Self> {
        match kind {
            0 | 0xff => None,
            1 => Some(Self::Sd(instance)),
            2 => Some(Self::Emmc(instance)),
            4 => Some(Self::FlexSpi),
            0xe => Some(Self::Usb),
            _ => Some(Self::Other(kind, instance)),
        }
    }

    /// The registers of the uSDHC that it is behind, if it is behind one.
    pub const fn usdhc(self) -> Option<u32> {
        match self {
            Self::Sd(instance @ 0..3) | Self::Emmc(instance @ 0..3) => {
                Some(0x30b4_0000 + 0x1_0000 * instance as u32)
            }
            _ => None,
        }
    }

    /// Type and instance as the ROM numbers them; the inverse of [`Self::from_numbers`].
    pub const fn numbers(self) -> (u8, u8) {
        match self {
            Self::Sd(instance) => (1, instance),
            Self::Emmc(instance) => (2, instance),
            Self::FlexSpi => (4, 0),
            Self::Usb => (0xe, 0),
            Self::Other(kind, instance) => (kind, instance),
        }
    }
}

impl fmt::Display for BootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Sd(instance) => write!(f, "SD card (uSDHC{})", u32::from(instance) + 1),
            Self::Emmc(instance) => write!(f, "eMMC (uSDHC{})", u32::from(instance) + 1),
            Self::FlexSpi => f.write_str("NOR flash (FlexSPI)"),
            Self::Usb => f.write_str("USB serial download"),
            Self::Other(kind, instance) => write!(f, "boot device {kind:#x}, instance {instance}"),
        }
    }
}

impl fmt::Display for RomFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent => f.write_str("the boot ROM has no table of services"),
            Self::Refused(answer) => write!(f, "the boot ROM answers {answer:#x}"),
        }
    }
}

/// The largest page that is believed, in bytes.
pub const MAX_PAGE_SIZE: u32 = 64 << 10;

/// Where the ROM's table of services lies.
pub const SERVICES: u32 = 0x980;
/// What points to the ROM's log of events.
pub const EVENT_LOG_POINTER: u32 = 0x9e0;
/// What points to the ROM's record of what it booted from.
pub const RECORD_POINTER: u32 = 0x9e8;
/// The fuses that tell the distance of the secondary copy: OCOTP, bank 2, word 1. The block's clock
/// must run.
pub const SECONDARY_FUSES: u32 = 0x3035_0490;
/// SRC_SBMR2: how the boot mode switches stand.
pub const BOOT_MODE: u32 = 0x3039_0070;
/// What the ROM logs when it starts the secondary copy.
pub const EVENT_SECONDARY: u32 = 0x51;

/// On-chip memory: the ROM's records can lie nowhere else.
const ON_CHIP_MEMORY: Range<u32> = 0x90_0000..0x99_0000;
/// Words of the log that are looked at.
const EVENT_LOG_WORDS: u32 = 128;
/// [`BOOT_MODE`], bits 27 to 24: serial download.
const MODE_SERIAL: u32 = 1;
/// [`Question::Stage`]: the secondary copy was started.
const STAGE_SECONDARY: u32 = 9;
/// State of an eMMC that pours its boot partition out without being asked for blocks.
const STATE_FAST_BOOT: u32 = 1;
/// Types from this one on cannot be read twice.
const FIRST_STREAM: u8 = 0xe;

/// What the image was booted from, and how more of it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The device.
    pub device: BootDevice,
    /// The unit of transfers in bytes, a power of two of at most [`MAX_PAGE_SIZE`].
    pub page_size: u32,
    /// How it is read.
    pub access: Access,
}

/// How a medium is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// What comes next is all that can be had.
    Stream,
    /// Any page can be asked for.
    Seekable {
        /// The copy that was booted.
        booted: ImageCopy,
        /// Another one on the same device.
        other: Option<ImageCopy>,
    },
}

/// One copy of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageCopy {
    /// Where it starts on the device, or on its boot partition, in bytes.
    pub offset: u32,
    /// Whether it is the one that the boot ROM falls back to.
    pub secondary: bool,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)?;
        match self.access {
            Access::Seekable { booted: ImageCopy { offset, secondary: false }, .. } => {
                write!(f, ", image at {offset:#x}")
            }
            Access::Seekable { booted: ImageCopy { offset, secondary: true }, .. } => {
                write!(f, ", secondary image at {offset:#x}")
            }
            Access::Stream => f.write_str(", as a stream"),
        }
    }
}

/// Why nothing can be read from what was booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Neither the ROM's answers nor its record nor the switches name a device.
    NobodyTells,
    /// The ROM does not tell its page size.
    NoPageSize(RomFailure),
    /// The ROM tells a page size that cannot be.
    PageSize(u32),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::NobodyTells => Code::NoBootDevice,
            Self::NoPageSize(_) | Self::PageSize(_) => Code::BootDeviceRead,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyTells => f.write_str("the boot ROM does not tell what it booted from"),
            Self::NoPageSize(failure) => {
                write!(f, "the boot device cannot be read: asked for its page size, {failure}")
            }
            Self::PageSize(size) => write!(
                f,
                "the boot device cannot be read: the boot ROM says that its pages have {size} bytes"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// Finds out what was booted from. What the ROM answers counts more than what it recorded: it is its
/// own idea of the device that it goes on reading from.
///
/// # Errors
/// Nobody tells the device, or the ROM no page size to read it with.
pub fn find(bus: &impl Bus, rom: &impl BootRom) -> Result<Medium, Error> {
    let answer = rom.query(Question::BootDevice).unwrap_or(0);
    let [state, instance, kind, _] = answer.to_le_bytes();
    let device = BootDevice::from_numbers(kind, instance)
        .or_else(|| recorded_device(bus))
        .or_else(|| is_serial_download(bus).then_some(BootDevice::Usb))
        .ok_or(Error::NobodyTells)?;
    let page_size = rom.query(Question::PageSize).map_err(Error::NoPageSize)?;
    if !page_size.is_power_of_two() || page_size > MAX_PAGE_SIZE {
        return Err(Error::PageSize(page_size));
    }
    let fast_boot = u32::from(state) & STATE_FAST_BOOT != 0;
    let stream = match device {
        BootDevice::Usb => true,
        BootDevice::Emmc(_) => fast_boot,
        BootDevice::Other(kind, _) => kind >= FIRST_STREAM,
        BootDevice::Sd(_) | BootDevice::FlexSpi => false,
    };
    let access = if stream { Access::Stream } else { copies(bus, rom, device) };
    Ok(Medium { device, page_size, access })
}

/// Where the copies of the image lie on a device that is not a stream.
fn copies(bus: &impl Bus, rom: &impl BootRom, device: BootDevice) -> Access {
    let told = rom.query(Question::ImageOffset).ok();
    let secondary = is_secondary(bus, rom);
    let at = |offset, secondary| ImageCopy { offset, secondary };
    let (booted, other) = match device {
        BootDevice::Sd(_) | BootDevice::Emmc(_) => {
            let first = at(FIRST_COPY, false);
            let second = secondary_offset(bus).map(|offset| at(offset, true));
            match (told.unwrap_or(first.offset), second) {
                // Should the ROM tell the first copy's place of the second one, too, its log decides.
                (offset, Some(second))
                    if offset == second.offset || offset == first.offset && secondary =>
                {
                    (second, Some(first))
                }
                (offset, _) if offset == first.offset => (first, second),
                // A boot partition, of which the ROM has chosen one; or a place that only it knows.
                (offset, _) => (at(offset, secondary), None),
            }
        }
        BootDevice::FlexSpi => {
            let usual = at(FLEXSPI_OFFSET, secondary);
            let booted = at(told.unwrap_or(usual.offset), secondary);
            (booted, (booted != usual).then_some(usual))
        }
        BootDevice::Usb | BootDevice::Other(..) => (at(told.unwrap_or(0), secondary), None),
    };
    Access::Seekable { booted, other }
}

/// The device that the ROM's record names.
fn recorded_device(bus: &impl Bus) -> Option<BootDevice> {
    let record = pointer(bus, RECORD_POINTER)?;
    let [_, instance, kind, _] = bus.read32(record).to_le_bytes();
    BootDevice::from_numbers(kind, instance)
}

fn is_serial_download(bus: &impl Bus) -> bool {
    bus.read32(BOOT_MODE) >> 24 & 0xf == MODE_SERIAL
}

/// Whether the ROM fell back to the secondary copy.
fn is_secondary(bus: &impl Bus, rom: &impl BootRom) -> bool {
    rom.query(Question::Stage) == Ok(STAGE_SECONDARY) || has_logged(bus, EVENT_SECONDARY)
}

/// Whether the ROM's log holds `wanted`. Events are words, the number in bits 31 to 24, some with
/// words of their own behind.
fn has_logged(bus: &impl Bus, wanted: u32) -> bool {
    let Some(log) = pointer(bus, EVENT_LOG_POINTER) else { return false };
    let mut index = 0;
    while index < EVENT_LOG_WORDS {
        let address = log + 4 * index;
        if !ON_CHIP_MEMORY.contains(&address) {
            return false;
        }
        index += match bus.read32(address) >> 24 {
            0 => return false,
            event if event == wanted => return true,
            0x80..=0x82 | 0x8f..=0x91 | 0x9f => 2,
            0xa0 | 0xc0 => 3,
            _ => 1,
        };
    }
    false
}

/// What the word at `place` points to, if a record of the ROM can lie there.
fn pointer(bus: &impl Bus, place: u32) -> Option<u32> {
    let pointer = bus.read32(place);
    (pointer.is_multiple_of(4) && ON_CHIP_MEMORY.contains(&pointer)).then_some(pointer)
}

/// Where the secondary copy lies on a card; `None` if fuses say that there is none.
fn secondary_offset(bus: &impl Bus) -> Option<u32> {
    const MIB: u32 = 1 << 20;
    let distance = match bus.read32(SECONDARY_FUSES) >> 19 & 0xf {
        0 => 4 * MIB,
        1 => 2 * MIB,
        2 => MIB,
        exponent @ 3..=10 => MIB << exponent,
        _ => return None,
    };
    Some(FIRST_COPY + distance)
}
