//! Loads one generation into memory.
//!
//! Every piece is judged before it is loaded and placed by the planner; a generation that cannot be
//! loaded leaves nothing behind but its error.

mod error;
mod initrds;
mod kernel;
mod tree;

pub use error::LoadError;

use alloc::{borrow::ToOwned, vec::Vec};
use core::time::Duration;

use self::{initrds::Initrds, kernel::Kernel, tree::BaseTree};
use super::{recovery::Recovery, trial};
use crate::{
    board::Board,
    devicetree::{
        DeviceTree,
        chosen::{Boot, Chosen, Seeds},
        memory as tree_memory,
    },
    fs::FileSystem,
    handoff::ResetCause,
    linux::{Dram, Mapping, Plan, Request},
    memory::{Region, Size},
    nixos::Generation,
    soc,
};

/// What is known about the machine before anything is loaded.
pub struct Facts<'a> {
    /// The board.
    pub board: &'a Board,
    /// The memory that there is.
    pub dram: Dram,
    /// What of it is taken, by whom, and whether the kernel may map it.
    pub taken: Vec<(Region, &'static str, Mapping)>,
    /// The tree that the stage before handed over, validated.
    pub firmware_tree: Option<DeviceTree<'a>>,
    /// The part that the board has.
    pub part: soc::Part,
    /// A system that is in memory already; its memory is `taken`.
    pub recovery: Option<Recovery>,
    /// Why the board was reset.
    pub reset: Option<ResetCause>,
    /// When the steps so far were reached, since the system counter started.
    pub times: Vec<(&'static str, Duration)>,
}

/// DRAM that pieces are loaded to.
pub trait LoadMemory {
    /// The bytes of `region`, which stay claimed until [`LoadMemory::release`].
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable>;
    /// Takes back all that was claimed.
    fn release(&mut self);
}

/// A region that the planner chose is not to be had: a contradiction within the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable(pub Region);

/// A kernel that is ready to be entered: the regions that hold it and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The kernel with its BSS; its first instruction is at the start.
    pub kernel: Region,
    /// The device tree.
    pub device_tree: Region,
    /// The initrds; one that was in memory already is where it was.
    pub initrd: Option<Region>,
    /// What the watchdog is to be started with.
    pub watchdog: Option<Duration>,
}

/// Bytes of the command line that an arm64 kernel keeps (`COMMAND_LINE_SIZE` less the zero).
const COMMAND_LINE_MAX: usize = 2047;

/// What to load, and from where.
pub struct Job<'a> {
    /// The generation.
    pub generation: &'a Generation,
    /// The file system that holds its files.
    pub file_system: &'a mut dyn FileSystem,
    /// Instead of the generation's own command line.
    pub command_line: Option<&'a str>,
    /// How it came to this boot; what the generation tells of itself is filled in.
    pub boot: Boot<'a>,
}

/// Loads a generation so that its kernel can be entered.
pub fn load(
    job: Job<'_>,
    facts: &Facts<'_>,
    memory: &mut impl LoadMemory,
) -> Result<HandOver, LoadError> {
    memory.release();
    let Job { generation, file_system, command_line, boot } = job;
    if let Some(broken) = &generation.broken {
        return Err(LoadError::Broken(broken.clone()));
    }
    let files = &generation.files;
    let mut kernel = Kernel::open(file_system, &files.kernel)?;
    let mut initrds = Initrds::open(file_system, &files.initrds)?;
    let tree = BaseTree::read(file_system, &files.device_tree, facts)?;
    let (mut tree, map) = facts.prepare(tree.validate()?)?;

    let seeds = facts.firmware_tree.map(Seeds::of);
    let command_line = command_line.unwrap_or(&files.command_line);
    let watchdog = boot.attempt.is_some().then_some(trial::WATCHDOG);
    let command_line = match watchdog {
        Some(_) => trial::command_line(command_line),
        None => command_line.to_owned(),
    };
    let mut chosen = Chosen {
        command_line: &command_line,
        initrd: None,
        seeds: seeds.as_ref(),
        boot: account(generation, boot),
    };
    if chosen.command_line.len() > COMMAND_LINE_MAX {
        log::warn!(
            "the command line has {} bytes, of which the kernel reads {COMMAND_LINE_MAX}",
            chosen.command_line.len()
        );
    }
    let device_tree = (tree.size() + chosen.room()) as u64;
    let in_place = initrds.in_place(&map);
    let initrd_size = if in_place.is_some() { 0 } else { initrds.layout.size };
    let request = Request { kernel: kernel.image, initrd: initrd_size, device_tree };
    let plan = Plan::new(&map, &request)?;
    log::debug!("memory map\n{plan}");

    kernel.read_into(memory.claim(plan.kernel)?)?;
    match (in_place, plan.initrd) {
        (Some(place), _) => log::info!("initrd {}, where it is", Size(place.size())),
        (None, Some(region)) => initrds.read_into(memory.claim(region)?)?,
        (None, None) => {}
    }
    let initrd = in_place.or(plan.initrd);
    chosen.initrd = initrd;
    chosen.write(&mut tree).map_err(tree_memory::Error::from)?;
    tree.write_to(memory.claim(plan.device_tree)?).map_err(tree_memory::Error::from)?;
    Ok(HandOver { kernel: plan.kernel, device_tree: plan.device_tree, initrd, watchdog })
}

/// The account of this boot, with what the generation tells.
fn account<'a>(generation: &'a Generation, boot: Boot<'a>) -> Boot<'a> {
    Boot {
        version: env!("CARGO_PKG_VERSION"),
        generation: &generation.id,
        source: generation.source.name(),
        number: generation.number,
        profile: generation.profile.as_deref().unwrap_or_default(),
        specialisation: generation.specialisation.as_deref().unwrap_or_default(),
        ..boot
    }
}
