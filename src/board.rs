//! Boards: what differs between them, as data.
//!
//! A board is a folder under `board/` and the one line here that names it.

#[path = "../board/imx8mp-evk/board.rs"]
mod imx8mp_evk;

pub use imx8mp_evk::{
    BOARD,
    dram::{MEMORIES, MEMORY},
    first_stage::FIRST_STAGE,
};

use alloc::{vec, vec::Vec};

use embedded_hal::i2c::I2c;

use crate::{
    driver::{
        eeprom::{self, Offset},
        gpio::Line,
        i2c::Wiring,
        pca9450::Pmic,
        sd::Limits,
        usdhc::Sampling,
    },
    ethernet,
    image::target::Target,
    memory::Region,
    soc::{ccm::Clock, clocks::Step, fixups::Row, iomuxc::Pad},
};

/// A board, as the second stage needs to know it.
#[derive(Debug)]
pub struct Board {
    /// What a user calls it.
    pub name: &'static str,
    /// Path of its device tree below a kernel's `dtbs` directory.
    pub device_tree: &'static str,
    /// `compatible` of its device tree's root, the most specific string.
    pub compatible: &'static str,
    /// DRAM banks, if nothing else tells: start and size in bytes.
    pub dram_banks: &'static [(u64, u64)],
    /// Base address of the console's UART.
    pub console_uart: u32,
    /// Register writes that give this UART its pads and a clock of 24 MHz: address and value.
    pub console_setup: &'static [(u32, u32)],
    /// Base address of the watchdog that resets the board.
    pub watchdog: u32,
    /// Registers that the second stage may touch: start and size in bytes.
    pub registers: &'static [(u32, u32)],
    /// What the kernel's tree is told besides what the SoC's table says.
    pub fixups: &'static [Row],
    /// Where the board keeps its Ethernet addresses, if not in the SoC's fuses.
    pub addresses: Option<AddressRom>,
    /// uSDHC instances to search, in this order.
    pub cards: &'static [CardSlot],
    /// Where the first stage leaves its record for the second one: DRAM that BL31 and OP-TEE leave
    /// alone.
    pub hand_off: Region,
    /// DRAM that the first stage may use until it ends.
    pub scratch: Region,
    /// Where the parts of its flash.bin go.
    pub image: &'static Target,
}

/// An EEPROM that holds Ethernet addresses, one behind the other.
#[derive(Debug)]
pub struct AddressRom {
    /// The I2C bus that it is on.
    pub bus: &'static Wiring,
    /// Its address there.
    pub device: u8,
    /// Where the first address begins.
    pub offset: Offset,
    /// How many there are.
    pub count: usize,
}

impl AddressRom {
    /// Reads the addresses, whatever they are.
    pub fn read<I: I2c>(&self, i2c: &mut I) -> Result<Vec<[u8; ethernet::LENGTH]>, I::Error> {
        let mut addresses = vec![[0; ethernet::LENGTH]; self.count];
        eeprom::read(i2c, self.device, self.offset, addresses.as_flattened_mut())?;
        Ok(addresses)
    }
}

/// What the first stage does to the SoC and its supplies on a board.
#[derive(Debug)]
pub struct FirstStage {
    /// Clocks that the SoC can run at with the voltages that it starts with.
    pub clocks: &'static [Step],
    /// Clocks that need the PMIC's settings.
    pub fast_clocks: &'static [Step],
    /// Pads of the watchdog's pin.
    pub watchdog_pads: &'static [Pad],
    /// The I2C bus with the PMIC.
    pub pmic_bus: Wiring,
    /// The PMIC's other pads.
    pub pmic_pads: &'static [Pad],
    /// The PMIC.
    pub pmic: Pmic,
}

/// A card slot or soldered eMMC behind a uSDHC controller.
#[derive(Clone, Copy, Debug)]
pub struct CardSlot {
    /// What a user calls it.
    pub name: &'static str,
    /// Base address of the controller.
    pub usdhc: u32,
    /// What is behind it.
    pub kind: CardKind,
    /// The clock that the card clock is divided from.
    pub clock: Clock,
    /// Clock, command, data and strobe lines, whose drive follows the clock.
    pub pads: &'static [Pad],
    /// The slot's other pads.
    pub control_pads: &'static [Pad],
    /// What the board allows on the lines.
    pub limits: Limits,
    /// The slot's power switch.
    pub power: Option<SlotPower>,
    /// Says whether a card is in the slot.
    pub detect: Option<Line>,
    /// Whether the slot's write-protect switch is wired to the controller's WP pin.
    pub protect: bool,
    /// Time that the lines take from 3.3 V to 1.8 V, in microseconds.
    pub voltage_settle_us: u32,
    /// Where tuning begins, and the strobe's delay.
    pub sampling: Sampling,
}

/// The power switch of a card slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotPower {
    /// On at the level that means "on".
    pub line: Line,
    /// How long it stays off, so that the card forgets everything, in microseconds.
    pub off_us: u32,
    /// From switching on to the first clock, in microseconds.
    pub on_us: u32,
}

/// What is behind a uSDHC controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardKind {
    /// A slot for SD cards.
    Sd,
    /// A soldered eMMC.
    Emmc,
}
