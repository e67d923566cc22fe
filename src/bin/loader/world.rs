//! The hardware as the boot policy sees it.

use alloc::{
    boxed::Box,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::{cell::RefCell, fmt::Write, mem, time::Duration};

use firn::{
    arch::{
        self, Machine,
        entry::EntryState,
        layout::PAGE,
        memory::{self, Dram, Worker},
    },
    block::{self, SharedDevice, cache::Cache},
    board::{BOARD, CardSlot, FIRST_STAGE},
    boot::{self, Facts, HandOver, LoadMemory, Recovery, Unavailable},
    ddr,
    devicetree::{self, DeviceTree, DeviceTreeBuf, chosen::take_seeds},
    dma,
    driver::{
        gpio::Pin,
        i2c::I2c,
        sd::Card,
        usdhc::{self, Buffers, Usdhc},
    },
    entropy::{Pool, Source},
    error::{Code, Coded},
    ethernet,
    handoff::{HandOff, ResetCause, Times},
    linux::{self, Mapping},
    memory::{Region, Size},
    mmio,
    soc::{
        Part,
        caam::{self, Access},
        reset,
        snvs::GeneralRegisters,
        wdog::Watchdog,
    },
    spl::platform,
    state::counter::Counter,
    time::Clock,
};
use log::{debug, info, warn};

type Slot = Card<
    Usdhc<'static, mmio::Hardware, arch::timer::GenericTimer, dma::Hardware, Pin<mmio::Hardware>>,
>;

/// The tree that the stage before handed over, and the random numbers that were in it for the kernel:
/// those are nowhere else from now on.
pub(crate) fn firmware_tree(entry: &mut EntryState, pool: &mut Pool) -> Option<DeviceTreeBuf> {
    match take_seeds(entry.device_tree.as_deref_mut()?, pool) {
        Ok(tree) => Some(tree.into()),
        Err(error) => {
            warn!("the device tree in x0 is not used: {error}");
            None
        }
    }
}

/// Adds to `pool` the random numbers of the first stage; they, too, are nowhere else from now on.
pub(crate) fn entropy_of_first_stage(entry: &mut EntryState, pool: &mut Pool) {
    let told = entry.hand_off.as_mut().ok().and_then(Option::as_mut);
    if let Some(entropy) = told.and_then(|told| told.entropy.take()) {
        pool.absorb(Source::FirstStage, entropy.bytes());
    }
}

/// What is known before anything is loaded.
pub(crate) fn facts<'a>(
    entry: &'a EntryState,
    machine: &Machine,
    tree: Option<DeviceTree<'a>>,
    entropy: Pool,
) -> Facts<'a> {
    // The loader's own memory is the kernel's after the jump.
    let mut taken = Vec::from([(arch::layout::loader(), "firn", Mapping::Normal)]);
    taken.extend(entry.tee().map(|tee| (tee, "TEE", Mapping::Forbidden)));
    let banks = told(entry).map(|told| told.banks.iter().flatten().copied().collect());
    let witnesses = linux::Witnesses {
        first_stage: banks.unwrap_or_default(),
        controller: ddr::size(&machine.bus).into_iter().flat_map(ddr::Dram::banks).collect(),
        firmware_tree: tree,
    };
    Facts {
        board: &BOARD,
        dram: linux::Dram::find(witnesses, &BOARD, arch::layout::loader()),
        taken,
        firmware_tree: tree,
        part: Part::read(&machine.bus),
        tee: entry.tee(),
        board_addresses: board_addresses(machine),
        entry: entry.to_string(),
        entropy: RefCell::new(entropy),
        recovery: None,
        reset: told(entry).and_then(|told| told.reset).or_else(|| cause_of_reset(machine)),
        times: told(entry).map(|told| times(&told.times)).unwrap_or_default(),
    }
}

/// The Ethernet addresses that the board itself keeps.
fn board_addresses(machine: &Machine) -> Vec<[u8; ethernet::LENGTH]> {
    let Some(rom) = &BOARD.addresses else { return Vec::new() };
    let mut i2c = I2c::new(&machine.bus, &machine.clock, rom.bus);
    rom.read(&mut i2c).unwrap_or_else(|error| {
        warn!("[{}] the board's EEPROM: {error}", Code::EthernetAddress);
        Vec::new()
    })
}

/// What the reset controller tells, where no first stage of Firn has asked it.
fn cause_of_reset(machine: &Machine) -> Option<ResetCause> {
    let cause = reset::take_cause(&machine.bus, Watchdog(BOARD.watchdog), None);
    (cause.src != 0).then_some(cause)
}

/// The first stage's steps by their names.
fn times(times: &Times) -> Vec<(&'static str, Duration)> {
    Vec::from([
        ("first stage", times.entered),
        ("DRAM", times.dram),
        ("image loaded", times.loaded),
        ("first stage left", times.left),
    ])
}

/// What the first stage told.
fn told(entry: &EntryState) -> Option<&HandOff> {
    entry.hand_off.as_ref().ok()?.as_ref()
}

/// Says what the first stage told.
pub(crate) fn report(entry: &EntryState) {
    let told = match &entry.hand_off {
        Ok(Some(told)) => told,
        Ok(None) => return,
        Err(error) => return warn!("[{}] {error}", error.code()),
    };
    if let Some(boot) = told.boot {
        info!("booted from {boot}");
    }
    if let Some(cause) = told.reset {
        info!("reset: {cause}");
    }
    if let Some(training) = told.training {
        info!("{training}");
    }
    told.notes.iter().flatten().for_each(|note| warn!("first stage: {note}"));
}

/// Takes charge of the system that came along with the boot image, if there is one; what cannot be
/// had of it is a warning.
pub(crate) fn recovery(
    entry: &EntryState,
    dram: &mut Dram,
    facts: &mut Facts<'_>,
) -> Option<Recovery> {
    let told = told(entry)?;
    let parts = told.recovery;
    let mut whole = true;
    let mut take = |part: Option<Region>| {
        let region = part?;
        let bytes = take_bytes(dram, region);
        match bytes {
            Some(_) => facts.taken.push((region, "boot image", Mapping::Normal)),
            None => {
                warn!("[{}] {region} of the boot image is not memory", Code::HandOffDamaged);
                whole = false;
            }
        }
        bytes
    };
    let recovery = Recovery {
        kernel: take(parts.kernel)?,
        initrd: take(parts.initrd),
        device_tree: take(parts.device_tree),
        command_line: take(parts.command_line),
        device: told.boot.map(|boot| boot.device),
    };
    whole.then_some(recovery)
}

/// The bytes of `region`, whose pages are nobody else's from now on.
fn take_bytes(dram: &mut Dram, region: Region) -> Option<&'static [u8]> {
    let pages = region.outward(PAGE);
    let offset = usize::try_from(region.start() - pages.start()).ok()?;
    let pages = dram.take(pages).ok()?;
    pages.get(offset..)?.get(..usize::try_from(region.size()).ok()?)
}

/// "2.0 GiB (board default)".
pub(crate) fn describe(dram: &linux::Dram) -> String {
    let size = dram.banks.iter().fold(0_u64, |sum, bank| sum.saturating_add(bank.size()));
    format!("{} ({})", Size(size), dram.source)
}

/// Takes charge of the memory that may be loaded to. What the stage before has set going may run in
/// what its tree reserves, so nobody here touches that, unless a broken tree leaves only shreds.
pub(crate) fn claim(machine: &mut Machine, facts: &Facts<'_>) -> Result<Dram, memory::Error> {
    let banks = || facts.dram.banks.iter().copied();
    let taken = || facts.taken.iter().map(|&(region, ..)| region);
    let reserved = facts.firmware_tree.map(devicetree::memory::reservations).unwrap_or_default();
    let kept = || taken().chain(reserved.iter().map(|reservation| reservation.region));
    match memory::usable(banks(), kept()) {
        Ok(usable) if usable.iter().count() <= memory::RANGES / 2 => {
            machine.claim_dram(banks(), kept())
        }
        _ => {
            warn!("the device tree in x0 reserves too much for it to be kept");
            machine.claim_dram(banks(), taken())
        }
    }
}

/// Everything that the boot policy touches.
pub(crate) struct World {
    machine: Machine,
    dram: Dram,
    claimed: Vec<(Region, &'static mut [u8])>,
    /// Whether the heap gets what is free of it.
    lending: bool,
    /// How the SoC's generator of random numbers may be asked, until it was.
    generator: Option<Access>,
    /// Which of the board's cards are searched first.
    order: Vec<usize>,
    /// In that order.
    opened: Vec<Rc<RefCell<Cache<Slot>>>>,
}

impl World {
    /// Nothing is opened or claimed yet.
    pub(crate) fn new(entry: &EntryState, machine: Machine, dram: Dram) -> Self {
        let booted = told(entry).and_then(|told| told.boot).map(|boot| boot.device);
        let order = boot::search_order(BOARD.cards, booted);
        let access = if entry.tee().is_some() { Access::Ring } else { Access::Normal };
        Self {
            machine,
            dram,
            claimed: Vec::new(),
            lending: false,
            generator: Some(access),
            order,
            opened: Vec::new(),
        }
    }

    /// Leaves everything quiet and enters the kernel.
    pub(crate) fn enter(mut self, hand_over: &HandOver) -> ! {
        info!("starting the kernel");
        self.quiesce();
        if let Some(time) = hand_over.watchdog {
            let watchdog = Watchdog(BOARD.watchdog);
            platform::reset_after(&self.machine.bus, &FIRST_STAGE, watchdog, time);
        }
        let mut take = |region: Region| {
            let index = self.claimed.iter().position(|(claimed, _)| *claimed == region)?;
            Some(self.claimed.swap_remove(index).1)
        };
        let (Some(kernel), Some(device_tree)) =
            (take(hand_over.kernel), take(hand_over.device_tree))
        else {
            unreachable!("a hand-over names what was claimed for it")
        };
        arch::enter_kernel(kernel, device_tree)
    }

    /// Resets the board.
    pub(crate) fn reset(mut self) -> ! {
        self.quiesce();
        self.machine.power.reset(&self.machine.bus)
    }

    /// Switches the board off; if that cannot be done, stops.
    pub(crate) fn power_off(mut self) -> ! {
        self.quiesce();
        self.machine.power.off();
        warn!("this board cannot be switched off from here; it has stopped");
        self.machine.console.flush();
        arch::stop()
    }

    fn quiesce(&mut self) {
        for device in &self.opened {
            device.borrow_mut().device_mut().stop();
        }
        self.machine.console.flush();
    }

    /// The slot's driver; nothing on the card is touched.
    fn driver(&mut self, index: usize, slot: &'static CardSlot) -> Rc<RefCell<Cache<Slot>>> {
        if let Some(device) = self.opened.get(index) {
            return device.clone();
        }
        let Machine { bus, clock, dma, .. } = self.machine;
        let buffers = Box::leak(Box::new(Buffers::new()));
        let card = usdhc::open(slot, bus, clock, dma, buffers);
        let device = Rc::new(RefCell::new(Cache::new(card)));
        self.opened.push(device.clone());
        device
    }
}

/// The end of what devices reach.
const DEVICES_REACH: u64 = 1 << 32;
/// The largest window that a format asks for, and room to grow into it.
const LENT_MAX: u64 = 256 << 20;

impl World {
    /// Lends the heap a part of the largest free range, out of the way of what is loaded: kernels tend to
    /// the start, initrds to the end of what devices reach.
    fn lend(&mut self) {
        let Some(free) = self.dram.free().max_by_key(|free| free.size()) else { return };
        let size = free.size().min(LENT_MAX);
        let last = free.end() - size;
        let middle = free.start() + (free.size() - size) / 2;
        let start = if last >= DEVICES_REACH { last } else { middle - middle % PAGE };
        let memory = self.dram.take(Region::new(start, size));
        if let Ok(memory) = memory
            && let Err(memory) = arch::heap::lend(memory)
        {
            self.give_back(memory);
        }
    }

    fn give_back(&mut self, memory: &'static mut [u8]) {
        let size = Size(memory.len() as u64);
        if let Err(error) = self.dram.give_back(memory) {
            warn!("{size} of memory are lost until the next reset: {error}");
        }
    }

    fn claim_for(&mut self, worker: Worker, region: Region) -> Result<&mut [u8], Unavailable> {
        let pages = Region::between(region.start(), region.outward(PAGE).end());
        self.take_heap_back();
        let memory = self.dram.take_for(worker, pages);
        if self.lending {
            self.lend();
        }
        self.claimed.push((region, memory.map_err(|_| Unavailable(region))?));
        self.claimed.last_mut().map(|(_, memory)| &mut **memory).ok_or(Unavailable(region))
    }

    fn take_heap_back(&mut self) {
        if let Some(memory) = arch::heap::take_back() {
            self.give_back(memory);
        }
    }
}

impl LoadMemory for World {
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        self.claim_for(Worker::Processor, region)
    }

    fn claim_for_device(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        self.claim_for(Worker::Device, region)
    }

    fn release(&mut self) {
        self.lending = false;
        self.take_heap_back();
        // What could not be booted is not the next kernel's to read.
        for (_, memory) in mem::take(&mut self.claimed) {
            memory.fill(0);
            self.give_back(memory);
        }
    }

    fn lend_heap(&mut self) {
        self.lending = true;
        self.lend();
    }
}

impl boot::Machine for World {
    fn open_device(&mut self, index: usize) -> Option<Result<SharedDevice, block::Error>> {
        let device = self.driver(index, BOARD.cards.get(*self.order.get(index)?)?);
        let identified = usdhc::identify(&mut device.borrow_mut());
        Some(identified.map(|()| device as SharedDevice))
    }

    fn linux_name(&self, index: usize) -> Option<String> {
        let slot = BOARD.cards.get(*self.order.get(index)?)?;
        Some(format!("{:x}.mmc", slot.usdhc))
    }

    fn gather_entropy(&mut self, pool: &mut Pool) {
        let Some(access) = self.generator.take() else { return };
        let Machine { bus, clock, dma, .. } = &self.machine;
        let drawn = caam::draw(bus, clock, dma, Box::leak(Box::default()), access);
        drawn.iter().for_each(|drawn| pool.absorb(Source::Generator, drawn.bytes()));
        let sources: Vec<_> = pool.sources().map(Source::name).collect();
        let sources = sources.join(", ");
        match drawn {
            Ok(_) => debug!("random numbers for the kernel from {sources}"),
            Err(error) if sources.is_empty() => {
                warn!("[{}] {error}; the kernel gets none", error.code());
            }
            Err(error) => warn!("[{}] {error}; the kernel gets those of {sources}", error.code()),
        }
    }

    fn is_unattended(&mut self) {
        arch::restart_on_failure(self.machine.bus, Watchdog(BOARD.watchdog));
    }

    fn counter(&mut self) -> Option<Box<dyn Counter>> {
        Some(Box::new(GeneralRegisters::open(self.machine.bus)))
    }

    fn now(&self) -> Duration {
        self.machine.clock.now()
    }

    fn read_byte(&mut self) -> Option<u8> {
        self.machine.console.read()
    }

    fn write(&mut self, bytes: &[u8]) {
        // What cannot be written has nowhere else to go.
        let _ = self.machine.console.write_str(&String::from_utf8_lossy(bytes));
    }

    fn heap(&self) -> Option<(usize, usize)> {
        Some(arch::heap::usage())
    }
}
