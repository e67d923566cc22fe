//! How much memory there is, and who says so.
//!
//! A stage before that has trained the DRAM knows best; the board's table is a guess that only
//! serves where nobody knows.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;

use crate::{
    board::Board,
    devicetree::{self, DeviceTree},
    memory::Region,
};

/// No SoC of the family has so many, and the loader's books hold twice as many ranges.
const BANKS_MAX: usize = 16;
/// No SoC of the family has DRAM at 64 GiB and beyond.
const WINDOW_END: u64 = 1 << 36;

/// Who tells how much memory there is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The first stage's record: it has trained and tried that memory.
    FirstStage,
    /// The controller's registers, as whoever trained it has set them up.
    Controller,
    /// The device tree that the stage before handed over.
    FirmwareTree,
    /// The board's table.
    Board,
}

/// The DRAM that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dram {
    /// Banks, as their source lists them; at least one.
    pub banks: Vec<Region>,
    /// Where they come from.
    pub source: Source,
}

/// What each source but the board says: banks, or none.
#[derive(Debug, Default)]
pub struct Witnesses<'a> {
    /// The first stage's record.
    pub first_stage: Vec<Region>,
    /// The controller's registers.
    pub controller: Vec<Region>,
    /// The tree that the stage before handed over.
    pub firmware_tree: Option<DeviceTree<'a>>,
}

impl Dram {
    /// Asks all sources. One is believed if its memory holds `loader`, the memory that this code runs
    /// in: the tree of another board, or one that nobody filled in, does not. And only if all of its
    /// banks can be DRAM: a broken tree may name any number, anywhere.
    pub fn find(witnesses: Witnesses<'_>, board: &Board, loader: Region) -> Self {
        let Witnesses { first_stage, controller, firmware_tree } = witnesses;
        let firmware_tree = firmware_tree.map(devicetree::memory::banks).unwrap_or_default();
        let told = [
            (first_stage, Source::FirstStage),
            (controller, Source::Controller),
            (firmware_tree, Source::FirmwareTree),
        ];
        let start = board.dram_banks.iter().map(|&(start, _)| start).min().unwrap_or(0);
        let window = Region::between(start, WINDOW_END);
        for (banks, source) in told {
            let can_be =
                banks.len() <= BANKS_MAX && banks.iter().all(|&bank| window.contains(bank));
            if can_be && banks.iter().any(|bank| bank.contains(loader)) {
                return Self { banks, source };
            }
        }
        let banks = board.dram_banks.iter().map(|&(start, size)| Region::new(start, size));
        Self { banks: banks.collect(), source: Source::Board }
    }

    /// What the tree that the kernel gets must be patched with: nothing where the board's table,
    /// which knows no more than that tree does, is the source.
    pub fn for_tree(&self) -> Option<&[Region]> {
        match self.source {
            Source::Board => None,
            _ => Some(&self.banks),
        }
    }

    /// What may be loaded to, given the tree that the kernel gets: where that tree is not patched,
    /// only memory that it describes, too, because the kernel uses no other.
    pub fn usable(&self, kernel_tree: DeviceTree<'_>) -> Vec<Region> {
        if self.source != Source::Board {
            return self.banks.clone();
        }
        let described = devicetree::memory::banks(kernel_tree);
        if described.is_empty() {
            return self.banks.clone();
        }
        self.banks
            .iter()
            .flat_map(|bank| described.iter().map(|other| bank.intersection(*other)))
            .filter(|shared| !shared.is_empty())
            .collect()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstStage => "told by the first stage",
            Self::Controller => "as the DRAM controller is set up",
            Self::FirmwareTree => "device tree of the stage before",
            Self::Board => "board default",
        })
    }
}
