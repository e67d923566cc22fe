//! Loads one generation into memory.
//!
//! Every piece is judged before it is loaded and placed by the planner; a generation that cannot be
//! loaded leaves nothing behind but its error.

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{fmt, time::Duration};

use super::{recovery::Recovery, trial};
use crate::{
    board::Board,
    devicetree::{
        self, DeviceTree, DeviceTreeBuf,
        chosen::{Boot, Chosen, Seeds},
        files, memory as tree_memory,
    },
    error::{Code, Coded},
    fs::{self, File, FileSystem},
    handoff::ResetCause,
    linux::{Dram, InitrdLayout, KernelImage, Mapping, MemoryMap, Plan, Request, image, placement},
    memory::{Region, Size},
    nixos::{Broken, DeviceTreeFile, Generation},
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

impl Facts<'_> {
    /// The kernel's tree with the memory that there is, and the map of what may be loaded to.
    fn prepare(&self, tree: DeviceTree<'_>) -> Result<(DeviceTreeBuf, MemoryMap), LoadError> {
        let mut map = MemoryMap::new(self.dram.usable(tree));
        for &(region, owner, mapping) in &self.taken {
            map.reserve(region, owner, mapping);
        }
        map.reserve_tree(tree);
        // What the stage before keeps counts, too.
        if let Some(firmware_tree) = self.firmware_tree {
            map.reserve_tree(firmware_tree);
        }
        let mut tree = DeviceTreeBuf::from(tree);
        if let Some(banks) = self.dram.for_tree() {
            tree_memory::set_banks(&mut tree, banks)?;
        }
        Ok((tree, map))
    }
}

/// A kernel file that was found good by its head.
struct Kernel<'p> {
    path: &'p str,
    file: Box<dyn File>,
    image: KernelImage,
}

impl<'p> Kernel<'p> {
    fn open(file_system: &mut dyn FileSystem, path: &'p str) -> Result<Self, LoadError> {
        let mut file = file_system.open(path)?;
        let size = file.size();
        let head_size = image::HEAD_SIZE.min(usize::try_from(size).unwrap_or(usize::MAX));
        let mut head = vec![0; head_size];
        file.read_at(0, &mut head)?;
        let image = KernelImage::inspect(&head, size)
            .map_err(|error| LoadError::Kernel(path.into(), error))?;
        Ok(Self { path, file, image })
    }

    /// Reads the file to the start of `memory`, which is the kernel's whole region.
    fn read_into(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        log::info!("kernel {}, {}", self.path, Size(self.image.file_size));
        let size = usize::try_from(self.image.file_size).unwrap_or(usize::MAX);
        let region = Region::new(0, memory.len() as u64);
        let file = memory.get_mut(..size).ok_or(Unavailable(region))?;
        self.file.read_at(0, file)?;
        self.image.verify(file).map_err(|error| LoadError::Kernel(self.path.into(), error))
    }
}

/// The initrds of a generation, which the kernel sees as one.
struct Initrds<'p> {
    paths: &'p [String],
    files: Vec<Box<dyn File>>,
    layout: InitrdLayout,
}

impl<'p> Initrds<'p> {
    fn open(file_system: &mut dyn FileSystem, paths: &'p [String]) -> Result<Self, LoadError> {
        let files =
            paths.iter().map(|path| file_system.open(path)).collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<u64> = files.iter().map(|file| file.size()).collect();
        let layout = InitrdLayout::new(&sizes)?;
        Ok(Self { paths, files, layout })
    }

    /// Where the only one lies, if it is in memory: it may be large, and the kernel takes it from
    /// anywhere that is nobody else's.
    fn in_place(&self, map: &MemoryMap) -> Option<Region> {
        let [file] = &*self.files else { return None };
        let place = file.in_memory()?;
        // That it lies there is what one of the reservations says.
        let shared = |taken: Region| taken != place && taken.overlaps(place);
        (!map.reserved().any(shared)).then_some(place)
    }

    fn read_into(&mut self, memory: &mut [u8]) -> Result<(), LoadError> {
        let region = Region::new(0, memory.len() as u64);
        let mut end = 0;
        for ((path, file), &offset) in
            self.paths.iter().zip(&mut self.files).zip(&self.layout.offsets)
        {
            log::info!("initrd {path}, {}", Size(file.size()));
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let next = start.saturating_add(usize::try_from(file.size()).unwrap_or(usize::MAX));
            let Some(piece) = memory.get_mut(end..next) else {
                return Err(Unavailable(region).into());
            };
            let (gap, piece) = piece.split_at_mut(start - end);
            gap.fill(0);
            file.read_at(0, piece)?;
            end = next;
        }
        Ok(())
    }
}

/// The device tree that the kernel's is made of.
enum BaseTree<'a> {
    /// As read from a file, not validated yet.
    File {
        path: String,
        bytes: Vec<u8>,
    },
    Firmware(DeviceTree<'a>),
}

impl<'a> BaseTree<'a> {
    fn read(
        file_system: &mut dyn FileSystem,
        wanted: &DeviceTreeFile,
        facts: &Facts<'a>,
    ) -> Result<Self, LoadError> {
        let missing = match wanted {
            DeviceTreeFile::File(path) => return Self::read_file(file_system, path),
            DeviceTreeFile::Directory(directory) => {
                for path in files::candidates(directory, facts.board) {
                    match Self::read_file(file_system, &path) {
                        Err(LoadError::File(fs::Error {
                            kind: fs::ErrorKind::NotFound, ..
                        })) => {}
                        outcome => return outcome,
                    }
                }
                format!("{directory} holds no {}", facts.board.device_tree)
            }
            DeviceTreeFile::FromFirmware => "the entry names none".to_string(),
        };
        let Some(tree) = facts.firmware_tree else {
            return Err(LoadError::NoDeviceTree(missing));
        };
        log::info!("device tree: {missing}; the one that the loader was started with serves");
        Ok(Self::Firmware(tree))
    }

    fn read_file(file_system: &mut dyn FileSystem, path: &str) -> Result<Self, LoadError> {
        let mut file = file_system.open(path)?;
        let size = file.size();
        if size > placement::DEVICE_TREE_MAX {
            return Err(LoadError::DeviceTreeTooLarge(path.into(), size));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(Self::File { path: path.into(), bytes })
    }

    fn validate(&self) -> Result<DeviceTree<'_>, LoadError> {
        match self {
            Self::File { path, bytes } => DeviceTree::validate(bytes)
                .map_err(|error| LoadError::DeviceTree(path.clone(), error)),
            Self::Firmware(tree) => Ok(*tree),
        }
    }
}

/// Why a generation cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The entry itself says that it is broken.
    Broken(Broken),
    /// A file cannot be found or read; the error names it.
    File(fs::Error),
    /// The kernel file is not a kernel that can be started.
    Kernel(String, image::Error),
    /// An initrd is empty, or there is no room.
    Placement(placement::Error),
    /// The tree cannot be used; the text names the file.
    DeviceTree(String, devicetree::Error),
    /// The tree's file is larger than any tree may be, in bytes.
    DeviceTreeTooLarge(String, u64),
    /// The tree cannot take what the kernel has to be told.
    Patch(tree_memory::Error),
    /// Neither the generation nor the stage before brings a tree; the text says where one was
    /// looked for.
    NoDeviceTree(String),
    /// Contradiction within the loader.
    Unavailable(Unavailable),
}

impl Coded for LoadError {
    fn code(&self) -> Code {
        match self {
            Self::Broken(broken) => broken.code,
            Self::File(error) => error.code(),
            Self::Kernel(_, error) => error.code(),
            Self::Placement(error) => error.code(),
            Self::DeviceTree(_, error) => error.code(),
            Self::Patch(error) => error.code(),
            Self::DeviceTreeTooLarge(..) => Code::DeviceTreeCorrupt,
            Self::NoDeviceTree(_) => Code::DeviceTreeMissing,
            Self::Unavailable(_) => Code::DoesNotFit,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Kernel(path, error) => write!(f, "{path}: {error}"),
            Self::Placement(error) => error.fmt(f),
            Self::DeviceTree(path, error) => write!(f, "{path}: {error}"),
            Self::DeviceTreeTooLarge(path, size) => write!(
                f,
                "{path}: {} is too large for a device tree, at most {}",
                Size(*size),
                Size(placement::DEVICE_TREE_MAX)
            ),
            Self::Patch(error) => error.fmt(f),
            Self::NoDeviceTree(places) => {
                write!(
                    f,
                    "no device tree: {places}, and the stage before the loader handed none over; \
                     set hardware.deviceTree.name"
                )
            }
            Self::Unavailable(Unavailable(region)) => {
                write!(f, "{region} was planned for but is taken")
            }
        }
    }
}

impl core::error::Error for LoadError {}

impl From<fs::Error> for LoadError {
    fn from(error: fs::Error) -> Self {
        Self::File(error)
    }
}

impl From<placement::Error> for LoadError {
    fn from(error: placement::Error) -> Self {
        Self::Placement(error)
    }
}

impl From<tree_memory::Error> for LoadError {
    fn from(error: tree_memory::Error) -> Self {
        Self::Patch(error)
    }
}

impl From<Unavailable> for LoadError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}
