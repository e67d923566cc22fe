//! A board around the loader's code: its cards, its line, its memory, and what happens to it in the
//! middle of a boot.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    time::Duration,
};

use firn::{
    block::{self, SharedDevice, cache::Cache},
    board::{BOARD, CardSlot},
    boot::{self, Facts, HandOver, LoadMemory, Machine, Outcome, Unavailable},
    console::Lines,
    dma::{self, ALIGNMENT, Dma},
    driver::{
        gpio::Pin,
        sd,
        uart::Uart,
        usdhc::{self, Buffers, Usdhc},
    },
    handoff::ResetCause,
    linux::{self, Mapping},
    memory::Region,
    mmio::Bus,
    soc::Part,
    state::counter::Counter,
    time::Clock,
};

use super::{
    line::{self, Line},
    log,
};
use crate::models::usdhc::{Bench, Controller, Issued};

/// Where memory begins.
const DRAM_START: u64 = 0x4000_0000;
/// What the board has of it, in bytes.
pub(super) const DRAM_SIZE: u64 = 32 << 20;
const LOADER: Region = Region::new(0x4020_0000, 2 << 20);
/// What memory holds that nobody has written to.
const FENCE: u8 = 0xc3;

/// The register that issues a command when it is written.
const COMMAND: u32 = 0x0c;

/// A boot that takes longer hangs.
const HANGS: Duration = Duration::from_secs(3600);
/// After so long, somebody comes to look at a board that waits for a person.
const PATIENCE: Duration = Duration::from_secs(300);

// --- what happens to a card and its controller ----------------------------------------------------

/// Something that happens when a command has just been issued.
pub(super) type Event = Box<dyn FnOnce(&'static Bench)>;

/// A controller's surroundings and what happens to them. Lives as long as the process: what the
/// loader takes for the board's slots, it takes for ever.
pub(super) struct Slot {
    pub(super) card: &'static CardSlot,
    pub(super) bench: &'static Bench,
    events: RefCell<BTreeMap<usize, Event>>,
    /// The processor runs no longer.
    dead: Cell<bool>,
    /// Time that was jumped over.
    jumped: Cell<Duration>,
    /// How many broken rules were told.
    told_rules: Cell<usize>,
    /// How many commands there were before this boot.
    earlier: Cell<usize>,
}

impl Slot {
    /// `bench`, which is around `card`.
    pub(super) fn new(card: &'static CardSlot, bench: Bench) -> &'static Self {
        Box::leak(Box::new(Self {
            card,
            bench: Box::leak(Box::new(bench)),
            events: RefCell::default(),
            dead: Cell::new(false),
            jumped: Cell::default(),
            told_rules: Cell::default(),
            earlier: Cell::default(),
        }))
    }

    /// Commands that were issued so far.
    pub(super) fn commands(&self) -> usize {
        self.bench.with_controller(|controller| controller.issued().len())
    }

    /// Commands of this boot.
    pub(super) fn issued(&self) -> Vec<Issued> {
        self.bench.issued().split_off(self.earlier.get())
    }

    /// Rules that were broken since the last question.
    pub(super) fn broken_rules(&self) -> Vec<String> {
        let mut rules = self.bench.broken_rules();
        let told = self.told_rules.replace(rules.len());
        rules.split_off(told)
    }

    /// Lets `event` happen at the command with that number, counted from 0.
    pub(super) fn at(&self, command: usize, event: Event) {
        self.events.borrow_mut().insert(command, event);
    }

    /// Time goes on by `time` at once.
    pub(super) fn jump(&self, time: Duration) {
        self.bench.spend(time);
        self.jumped.set(self.jumped.get() + time);
    }

    /// Ends the boot here and now.
    pub(super) fn die(&self) -> ! {
        self.dead.set(true);
        resume_unwind(Box::new(Died))
    }

    /// Begins another boot of a board that was reset.
    pub(super) fn reset(&self) {
        self.dead.set(false);
        self.earlier.set(self.commands());
        self.events.borrow_mut().clear();
        self.bench.with_controller(Controller::clear_faults);
        self.bench.reset();
        // What the boot ROM and the first stage take.
        self.bench.spend(Duration::from_millis(200));
    }

    fn command_issued(&self) {
        let issued = self.commands();
        let event = issued.checked_sub(1).and_then(|last| self.events.borrow_mut().remove(&last));
        if let Some(event) = event {
            event(self.bench);
        }
    }
}

/// The board has lost its power, or was reset.
struct Died;

/// A slot as the driver sees it.
#[derive(Clone, Copy)]
struct Wires(&'static Slot);

impl Bus for Wires {
    fn read16(&self, address: u32) -> u16 {
        self.0.bench.read16(address)
    }

    fn write16(&self, address: u32, value: u16) {
        self.0.bench.write16(address, value);
    }

    fn read32(&self, address: u32) -> u32 {
        if self.0.dead.get() { 0 } else { self.0.bench.read32(address) }
    }

    fn write32(&self, address: u32, value: u32) {
        if self.0.dead.get() {
            return;
        }
        self.0.bench.write32(address, value);
        if address == self.0.card.usdhc + COMMAND {
            self.0.command_issued();
        }
    }
}

impl Clock for Wires {
    fn now(&self) -> Duration {
        let now = self.0.bench.now();
        let waited = self.0.bench.elapsed().saturating_sub(self.0.jumped.get());
        assert!(waited < HANGS, "the driver hangs");
        now
    }
}

impl Dma for Wires {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, dma::Error> {
        self.0.bench.begin_receive(buffer)
    }

    fn end_receive(&self, buffer: &mut [u8], bus_address: u32) {
        if !self.0.dead.get() {
            self.0.bench.end_receive(buffer, bus_address);
        }
    }

    fn begin_send(&self, buffer: &[u8]) -> Result<u32, dma::Error> {
        self.0.bench.begin_send(buffer)
    }

    fn end_send(&self, buffer: &[u8], bus_address: u32) {
        if !self.0.dead.get() {
            self.0.bench.end_send(buffer, bus_address);
        }
    }
}

type Driver = sd::Card<Usdhc<'static, Wires, Wires, Wires, Pin<Wires>>>;

// --- memory ---------------------------------------------------------------------------------------

/// The board's memory, which one boot after the other uses.
pub(super) struct Memory {
    bytes: Vec<u8>,
    /// Where in it the first byte lies, so that cache lines are where they are on the board.
    start: usize,
}

impl Default for Memory {
    fn default() -> Self {
        let bytes = vec![0; usize::try_from(DRAM_SIZE).expect("a 64-bit host") + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start }
    }
}

impl Memory {
    fn at(&mut self, region: Region) -> &mut [u8] {
        let start = usize::try_from(region.start() - DRAM_START).expect("a 64-bit host");
        let size = usize::try_from(region.size()).expect("a 64-bit host");
        &mut self.bytes[self.start + start..][..size]
    }
}

// --- the board ------------------------------------------------------------------------------------

/// How a boot ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A kernel is entered.
    Kernel(HandOver),
    /// The rescue prompt stands.
    Prompt,
    /// Something waits for a person, who cannot see what: the line is broken.
    Waits,
    /// What somebody typed resets the board or switches it off.
    Asked,
    /// The board died.
    Died,
    /// The loader panicked.
    Panic(String),
}

/// A boot that has ended.
pub(super) struct Ended {
    pub(super) end: End,
    /// What stands on the line.
    pub(super) line: String,
    /// How long it took until a person could see how it ended.
    pub(super) took: Duration,
}

/// What a boot begins with.
pub(super) struct Start<'a> {
    /// In the order in which they are searched.
    pub(super) slots: &'a [&'static Slot],
    pub(super) line: Line,
    /// Bytes of memory that the board has.
    pub(super) memory: u64,
    pub(super) reset: Option<ResetCause>,
}

struct Board<'a> {
    slots: &'a [&'static Slot],
    opened: Vec<Rc<RefCell<Cache<Driver>>>>,
    line: &'static Line,
    port: log::Port,
    memory: &'a mut Memory,
    banks: Region,
    claimed: Vec<Region>,
    started: Duration,
    idle: Cell<u32>,
    prompt_at: Option<Duration>,
    looked_at: Option<Duration>,
}

/// Boots.
pub(super) fn boot(start: Start<'_>, memory: &mut Memory) -> Ended {
    let Start { slots, line, memory: size, reset } = start;
    let line: &'static Line = Box::leak(Box::new(line));
    let port = Rc::new(RefCell::new(Lines::new(Uart::new(line, line, line::BASE))));
    port.borrow_mut().inner().initialise(&[]);
    log::to(Some(port.clone()));
    let banks = Region::new(DRAM_START, size);
    let mut board = Board {
        slots,
        opened: Vec::new(),
        line,
        port,
        memory,
        banks,
        claimed: Vec::new(),
        started: Duration::ZERO,
        idle: Cell::default(),
        prompt_at: None,
        looked_at: None,
    };
    board.started = board.total();
    let facts = Facts {
        board: &BOARD,
        dram: linux::Dram { banks: vec![banks], source: linux::dram::Source::Controller },
        taken: vec![(LOADER, "firn", Mapping::Normal)],
        firmware_tree: None,
        part: Part::default(),
        tee: None,
        board_addresses: Vec::new(),
        entry: "EL2".into(),
        entropy: RefCell::default(),
        recovery: None,
        reset,
        times: Vec::new(),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let outcome = boot::run(&mut board, &facts);
        board.opened.iter().for_each(|device| device.borrow_mut().device_mut().stop());
        outcome
    }));
    log::to(None);
    let took = board.prompt_at.unwrap_or_else(|| board.total()) - board.started;
    let end = match outcome {
        Ok(Outcome::Kernel(hand_over)) => End::Kernel(hand_over),
        Ok(_) if board.prompt_at.is_some() => End::Prompt,
        Ok(_) if board.looked_at.is_some() => End::Waits,
        Ok(_) => End::Asked,
        Err(payload) => told(&*payload),
    };
    Ended { end, line: line.sent(), took }
}

/// Why a boot was left.
fn told(payload: &dyn Any) -> End {
    if payload.is::<Died>() {
        return End::Died;
    }
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
    End::Panic(format!("{}{}", text.unwrap_or_default(), log::take_place()))
}

/// What `region` holds after a boot.
pub(super) fn loaded(memory: &mut Memory, region: Region) -> &[u8] {
    memory.at(region)
}

impl Board<'_> {
    /// Time since the power came, without what was jumped over.
    fn total(&self) -> Duration {
        let slots = self.slots.iter().map(|slot| slot.bench.elapsed() - slot.jumped.get());
        self.line.elapsed() + slots.sum::<Duration>()
    }

    /// Somebody ends what waits for a person.
    fn attend(&mut self) {
        if self.line.babbles() || !self.line.has_typed() {
            return;
        }
        let now = self.total();
        if self.line.ends_with("\n> ") && self.prompt_at.is_none() {
            self.prompt_at = Some(now);
            self.line.type_keys("reset\r");
        } else if now > self.looked_at.unwrap_or(self.started) + PATIENCE {
            self.line.type_keys(if self.looked_at.is_none() { "\r" } else { "\rreset\r" });
            self.looked_at = Some(now);
        }
    }
}

impl LoadMemory for Board<'_> {
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        assert!(self.banks.contains(region), "{region} is not memory");
        assert!(!LOADER.overlaps(region), "{region} is the loader's");
        if self.claimed.iter().any(|claimed| claimed.overlaps(region)) {
            return Err(Unavailable(region));
        }
        self.claimed.push(region);
        let bytes = self.memory.at(region);
        bytes.fill(FENCE);
        Ok(bytes)
    }

    fn release(&mut self) {
        self.claimed.clear();
    }
}

impl Machine for Board<'_> {
    fn open_device(&mut self, index: usize) -> Option<Result<SharedDevice, block::Error>> {
        let slot = *self.slots.get(index)?;
        if self.opened.len() <= index {
            let (wires, buffers) = (Wires(slot), Box::leak(Box::new(Buffers::new())));
            let card = usdhc::open(slot.card, wires, wires, wires, buffers);
            self.opened.push(Rc::new(RefCell::new(Cache::new(card))));
        }
        let device = self.opened[index].clone();
        let identified = usdhc::identify(&mut device.borrow_mut());
        Some(identified.map(|()| device as SharedDevice))
    }

    fn linux_name(&self, index: usize) -> Option<String> {
        Some(format!("{:x}.mmc", self.slots.get(index)?.card.usdhc))
    }

    fn counter(&mut self) -> Option<Box<dyn Counter>> {
        None
    }

    fn is_unattended(&mut self) {}

    fn now(&self) -> Duration {
        self.line.now();
        assert!(self.total() < self.started + HANGS, "an hour without an outcome");
        let jumped: Duration = self.slots.iter().map(|slot| slot.jumped.get()).sum();
        self.total() + jumped
    }

    fn read_byte(&mut self) -> Option<u8> {
        let byte = self.port.borrow_mut().inner().read();
        if byte.is_some() {
            self.idle.set(0);
            return byte;
        }
        // A long wait costs the host little.
        let idle = self.idle.get() + 1;
        self.idle.set(idle);
        self.line.spend((Duration::from_micros(50) * idle).min(Duration::from_millis(20)));
        self.attend();
        None
    }

    fn write(&mut self, bytes: &[u8]) {
        use std::fmt::Write as _;
        if !bytes.is_empty() {
            self.idle.set(0);
            let text = String::from_utf8_lossy(bytes);
            self.port.borrow_mut().write_str(&text).expect("a line that takes everything");
        }
    }
}
