//! Loads one generation into memory.
//!
//! Every piece is judged before it is loaded and placed by the planner; a generation that cannot be
//! loaded leaves nothing behind but its error.

mod error;
mod fixups;
mod initrds;
mod kernel;
mod overlays;
mod pieces;
mod stored;
mod tree;

pub use error::LoadError;

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{cell::RefCell, time::Duration};

use self::{initrds::Initrds, kernel::Kernel, pieces::Pieces, tree::BaseTree};
use super::{recovery::Recovery, trial};
use crate::{
    board::Board,
    devicetree::{
        DeviceTree, DeviceTreeBuf,
        chosen::{Boot, Chosen, put_seeds},
        memory as tree_memory,
    },
    entropy::Pool,
    ethernet,
    fs::FileSystem,
    handoff::ResetCause,
    linux::{Dram, Mapping, Plan, Request},
    memory::{Region, Size},
    nixos::Generation,
    release, soc,
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
    /// The memory of the TEE that BL31 tells of; it is `taken`.
    pub tee: Option<Region>,
    /// Ethernet addresses in the board's own memory, by the interfaces' numbers; as they were read.
    pub board_addresses: Vec<[u8; ethernet::LENGTH]>,
    /// How the loader was entered.
    pub entry: String,
    /// Random numbers for the kernel; each that is loaded gets others.
    pub entropy: RefCell<Pool>,
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
    /// Like [`LoadMemory::claim`], for bytes that a device puts there and nobody here looks at much.
    fn claim_for_device(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        self.claim(region)
    }
    /// Takes back all that was claimed, which is wiped, and what the heap was lent.
    fn release(&mut self);
    /// From now on until [`LoadMemory::release`], lets the heap have free memory for what is large: a
    /// decompressor's window. It gets out of the way of [`LoadMemory::claim`]; nothing in it may be in
    /// use then.
    fn lend_heap(&mut self) {}
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
    memory.lend_heap();
    let mut prepared = Prepared::new(job, facts)?;
    let Prepared { notes, kernel, initrds, in_place, plan, .. } = &mut prepared;
    notes.iter().for_each(|(level, note)| log::log!(*level, "{note}"));
    log::debug!("memory map\n{plan}");
    plan.warnings().for_each(|warning| log::warn!("{warning}"));

    kernel.load(claim(memory, plan.kernel, kernel.comes_untouched())?)?;
    match (*in_place, plan.initrd) {
        (Some(place), _) => log::info!("initrd {}, where it is", Size(place.size())),
        (None, Some(region)) => initrds.load(claim(memory, region, initrds.come_untouched())?)?,
        (None, None) => {}
    }
    prepared.write_tree(facts, memory)?;
    Ok(prepared.hand_over())
}

/// Memory for what comes from a card `untouched`, or is worked on.
fn claim(
    memory: &mut impl LoadMemory,
    region: Region,
    untouched: bool,
) -> Result<&mut [u8], Unavailable> {
    if untouched { memory.claim_for_device(region) } else { memory.claim(region) }
}

/// Where a generation would go. Nothing is loaded: of its files, only what they are judged by is
/// read.
pub fn plan(job: Job<'_>, facts: &Facts<'_>) -> Result<Plan, LoadError> {
    Ok(Prepared::new(job, facts)?.plan)
}

/// A generation whose files were found good, with a place for each and nothing loaded yet.
struct Prepared<'a> {
    /// What there is to say of where the files come from.
    notes: Vec<(log::Level, String)>,
    kernel: Kernel,
    initrds: Initrds,
    /// Where the initrd lies that is in memory already.
    in_place: Option<Region>,
    tree: DeviceTreeBuf,
    command_line: String,
    boot: Boot<'a>,
    watchdog: Option<Duration>,
    plan: Plan,
}

impl<'a> Prepared<'a> {
    fn new(job: Job<'a>, facts: &Facts<'_>) -> Result<Self, LoadError> {
        let Job { generation, file_system, command_line, boot } = job;
        if let Some(broken) = &generation.broken {
            return Err(LoadError::Broken(broken.clone()));
        }
        let files = &generation.files;
        let Pieces { mut notes, kernel, initrds, device_tree } =
            Pieces::open(file_system, files, facts)?;
        let initrds = Initrds::new(initrds)?;
        let (tree, with_kernel) =
            BaseTree::read(file_system, &files.device_tree, device_tree, facts, &mut notes)?;
        let overlays = overlays::open(file_system, &files.overlays, with_kernel)?;
        notes.extend(overlays::notes(&overlays));
        let (tree, report) = facts.prepare(tree.validate()?, overlays, files)?;
        notes.extend(report.notes());

        let watchdog = boot.attempt.is_some().then_some(trial::WATCHDOG);
        let command_line = command_line.unwrap_or(&files.command_line);
        let command_line = match watchdog {
            Some(_) => trial::command_line(command_line),
            None => command_line.to_owned(),
        };
        if command_line.len() > COMMAND_LINE_MAX {
            let note = format!(
                "the command line has {} bytes, of which the kernel reads {COMMAND_LINE_MAX}",
                command_line.len()
            );
            notes.push((log::Level::Warn, note));
        }
        let boot = account(generation, boot);
        let chosen = Chosen { command_line: &command_line, initrd: None, seeds: None, boot };
        let device_tree = (tree.size() + chosen.room()) as u64;
        let map = facts.memory_map(tree.view(), &command_line);
        let in_place = initrds.in_place(&map);
        let initrd = if in_place.is_some() { 0 } else { initrds.layout.size };
        let plan = Plan::new(&map, &Request { kernel: kernel.image, initrd, device_tree })?;
        Ok(Self { notes, kernel, initrds, in_place, tree, command_line, boot, watchdog, plan })
    }

    fn initrd(&self) -> Option<Region> {
        self.in_place.or(self.plan.initrd)
    }

    /// Tells the kernel's tree about this boot, and puts it to its place.
    fn write_tree(
        &mut self,
        facts: &Facts<'_>,
        memory: &mut impl LoadMemory,
    ) -> Result<(), LoadError> {
        let seeds = facts.entropy.borrow_mut().draw();
        let chosen = Chosen {
            command_line: &self.command_line,
            initrd: self.initrd(),
            seeds: seeds.as_ref(),
            boot: self.boot,
        };
        chosen.write(&mut self.tree).map_err(tree_memory::Error::from)?;
        let place = memory.claim(self.plan.device_tree)?;
        self.tree.write_to(place).map_err(tree_memory::Error::from)?;
        let kept = seeds.is_none_or(|seeds| put_seeds(&self.tree, place, &seeds).is_some());
        if kept { Ok(()) } else { Err(Unavailable(self.plan.device_tree).into()) }
    }

    fn hand_over(&self) -> HandOver {
        HandOver {
            kernel: self.plan.kernel,
            device_tree: self.plan.device_tree,
            initrd: self.initrd(),
            watchdog: self.watchdog,
        }
    }
}

/// The account of this boot, with what the generation tells.
fn account<'a>(generation: &'a Generation, boot: Boot<'a>) -> Boot<'a> {
    Boot {
        version: release::version(),
        generation: &generation.id,
        source: generation.source.name(),
        number: generation.number,
        profile: generation.profile.as_deref().unwrap_or_default(),
        specialisation: generation.specialisation.as_deref().unwrap_or_default(),
        ..boot
    }
}
