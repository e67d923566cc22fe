//! Boards: what differs between them, as data.
//!
//! A board is a folder under `board/` and the one line here that names it.

#[path = "../board/imx8mp-evk/board.rs"]
mod imx8mp_evk;

pub use imx8mp_evk::BOARD;

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
    /// uSDHC instances to search, in this order.
    pub cards: &'static [CardSlot],
}

/// A card slot or soldered eMMC behind a uSDHC controller.
#[derive(Debug)]
pub struct CardSlot {
    /// What a user calls it.
    pub name: &'static str,
    /// Base address of the controller.
    pub usdhc: u32,
    /// What is behind it.
    pub kind: CardKind,
}

/// What is behind a uSDHC controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardKind {
    /// A slot for SD cards.
    Sd,
    /// A soldered eMMC.
    Emmc,
}
