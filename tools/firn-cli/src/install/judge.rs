//! Whether the loader can boot a generation, judged by its own code: kernel, initrds, device tree and
//! overlays are found, are what they should be, and have a place in the board's memory.

use std::cell::RefCell;

use anyhow::{Context as _, Result};
use firn::{
    board::{BOARD, Board},
    boot::{Facts, Job, plan},
    devicetree::chosen::Boot,
    error::Coded as _,
    fs::FileSystem,
    linux::{Dram, dram},
    memory::Region,
    nixos::Generation,
    soc::Part,
};

/// The board of this name.
///
/// # Errors
/// It is not known.
pub(super) fn board(name: &str) -> Result<&'static Board> {
    let known = [&BOARD];
    let found = known.into_iter().find(|board| board.image.board == name);
    found.with_context(|| {
        let names: Vec<_> = known.iter().map(|board| board.image.board).collect();
        format!("board {name:?} is not known; this firn knows {}", names.join(", "))
    })
}

/// Goes through all that the loader does with a generation before it loads it.
///
/// # Errors
/// It cannot be booted, with the code to look up.
pub(super) fn judge(
    tree: &mut dyn FileSystem,
    generation: &Generation,
    board: &'static Board,
) -> Result<()> {
    let banks = board.dram_banks.iter().map(|&(start, size)| Region::new(start, size));
    let facts = Facts {
        board,
        dram: Dram { banks: banks.collect(), source: dram::Source::Board },
        taken: Vec::new(),
        firmware_tree: None,
        part: Part::default(),
        tee: None,
        board_addresses: Vec::new(),
        entry: String::new(),
        entropy: RefCell::default(),
        recovery: None,
        reset: None,
        times: Vec::new(),
    };
    let job = Job { generation, file_system: tree, command_line: None, boot: Boot::default() };
    match plan(job, &facts) {
        Ok(_) => Ok(()),
        Err(error) => {
            anyhow::bail!("{} cannot be booted: [{}] {error}", generation.id, error.code())
        }
    }
}
