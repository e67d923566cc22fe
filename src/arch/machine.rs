//! From the entry code to the binary's own function, and what that function gets.

use alloc::boxed::Box;
use core::ops::Range;
use core::{ptr, slice};

use aarch64_cpu::registers::{DAIF, Writeable};
use aarch64_paging::paging::El2;

use super::cache;
use super::entry::{self, EntryState};
use super::exception;
use super::heap;
use super::layout;
use super::memory::{self, Dram};
use super::mmu::{self, Rights, TABLES, Table, Tables};
use super::power::{self, Power};
use super::ranges::{Ranges, start_and_length};
use super::single_core::TakeOnce;
use super::timer::GenericTimer;
use crate::board::BOARD;
use crate::console::{self, Console};
use crate::error::Code;
use crate::handoff::{self, HandOff};
use crate::memory::Region;
use crate::soc::wdog::Watchdog;
use crate::{dma, mmio};

static POOL: TakeOnce<[Table; TABLES]> = TakeOnce::new([const { Table::EMPTY }; TABLES]);

unsafe extern "Rust" {
    /// Defined by the binary, by `entry_point!`.
    safe fn firn_main(entry: EntryState, machine: Machine) -> !;
}

/// The hardware that a stage starts with.
pub struct Machine {
    /// The SoC's registers.
    pub bus: mmio::Hardware,
    /// Memory for its bus masters.
    pub dma: dma::Hardware,
    /// Time since the system counter started, which the boot ROM or the first stage does.
    pub clock: GenericTimer,
    /// The serial line.
    pub console: Console,
    /// Reset and power-off.
    pub power: Power,
    /// Until DRAM is claimed.
    tables: Option<Tables<'static, El2>>,
}

impl Machine {
    /// Takes charge of the memory in `banks` that is nobody's (in `reserved`, or the loader's own).
    /// Works once.
    pub fn claim_dram(
        &mut self,
        banks: impl IntoIterator<Item = Region>,
        reserved: impl IntoIterator<Item = Region>,
    ) -> Result<Dram, memory::Error> {
        let too_many = |_| memory::Error::TooManyRanges;
        let mut usable = memory::usable(banks, reserved)?;
        let image = layout::linked().image();
        usable.remove(&image).map_err(too_many)?;
        let tables = self.tables.take().ok_or(memory::Error::NotFree)?;
        // The pages of the device tree in x0, and of the record, are mapped already, for data like
        // these.
        let mut mapped = Ranges::new();
        for range in tables.mapped().iter() {
            mapped.insert(range).map_err(too_many)?;
        }
        // SAFETY: it is not the loader's image, and this runs once; `start` has turned translation on
        // with these tables, and entry.S has emptied the caches.
        Ok(unsafe { Dram::new(usable, mapped, tables) })
    }
}

/// Entered from entry.S, with translation and caches off.
pub(super) extern "C" fn start(
    x0: u64,
    x1: u64,
    x2: u64,
    x3: u64,
    level: u64,
    loaded_at: u64,
) -> ! {
    // SAFETY: translation is off, and is turned on below with registers as device memory.
    let bus = unsafe { mmio::Hardware::new() };
    let console = console::start(bus);
    if level < 2 {
        refuse(
            Code::WrongExceptionLevel,
            "start it from TF-A's BL31, or by `booti` from a U-Boot that runs at EL2",
        );
    }
    if !GenericTimer::is_running() {
        refuse(Code::ClockStopped, "no wait would end");
    }
    let watchdog = Watchdog(BOARD.watchdog);
    power::attend(bus, watchdog);
    let pending_error = exception::take_pending_error();
    let device_tree = find_device_tree(x0);
    let record = find_hand_off(device_tree.as_ref());
    let tables = map(device_tree.clone(), record);
    // SAFETY: `map` covers the image with its rights and the registers; entry.S has dropped stale
    // lines of variables and tables, and nothing was cached since.
    unsafe { mmu::enable(&tables) };
    // SAFETY: the linker gives this range to nobody else, `map` made it data, and this is the only
    // call.
    unsafe { heap::initialise(layout::linked().heap) };
    // From now on an asynchronous error is our own.
    DAIF.write(DAIF::D::Masked + DAIF::A::Unmasked + DAIF::I::Masked + DAIF::F::Masked);
    console::start_log(console::DEFAULT_LEVEL);
    let entry = EntryState {
        level: (level & 3) as u8,
        arguments: [x0, x1, x2, x3],
        loaded_at,
        device_tree: device_tree.map(|tree| take_over(&tree)),
        pending_error,
        hand_off: record.map_or(Ok(None), take_hand_off),
    };
    let machine = Machine {
        bus,
        dma: dma::Hardware::new(),
        clock: GenericTimer,
        console,
        power: Power::probe(entry.firmware_beneath(), watchdog),
        tables: Some(tables),
    };
    firn_main(entry, machine)
}

/// Says why nothing can work here, and stops.
fn refuse(code: Code, hint: &str) -> ! {
    use core::fmt::Write;
    let mut console = Console;
    // Whether it can be written or not, this is the end.
    let _ = write!(console, "\nfirn: [{code}] {}: {hint}\n", code.summary());
    console.flush();
    super::stop()
}

/// The device tree at `address`, if there is one.
fn find_device_tree(address: u64) -> Option<Range<u64>> {
    let image = layout::linked().image();
    if !entry::may_hold_device_tree(address, BOARD.dram_banks, &image) {
        return None;
    }
    // SAFETY: a multiple of 8 in what can only be DRAM or nothing; reading either is harmless.
    let magic = unsafe { exception::try_read32(address) }?;
    // SAFETY: as above; the next word.
    let size = unsafe { exception::try_read32(address + 4) }?;
    entry::device_tree_extent(address, magic, size, &image)
}

/// What lies in `tree`, so that its memory can be used. Nothing of it stays there: it may hold seeds.
fn take_over(tree: &Range<u64>) -> Box<[u8]> {
    let (start, length) = start_and_length(tree);
    let start = ptr::with_exposed_provenance_mut(start);
    // SAFETY: `find_device_tree` has read its start, `map` has made it data, and nobody else knows of it
    // before `claim_dram`.
    let bytes: &mut [u8] = unsafe { slice::from_raw_parts_mut(start, length) };
    let taken = Box::from(&*bytes);
    bytes.fill(0);
    taken
}

/// The pages of a device tree.
fn pages_of(tree: &Range<u64>) -> Region {
    Region::between(tree.start, tree.end).outward(layout::PAGE)
}

/// Where the first stage's record lies if there is one: not where a device tree does.
fn find_hand_off(device_tree: Option<&Range<u64>>) -> Option<Region> {
    let tree = device_tree.map_or(Region::new(0, 0), pages_of);
    (!BOARD.hand_off.overlaps(tree)).then_some(BOARD.hand_off)
}

/// Reads the record, and wipes it: DRAM survives a reset, and it is not to be taken for the next
/// boot's.
fn take_hand_off(place: Region) -> Result<Option<HandOff>, handoff::Error> {
    let (start, length) = start_and_length(&(place.start()..place.end()));
    // SAFETY: memory of the board right below the image, which runs from memory; `map` has made it
    // data. Nobody else knows of it before `claim_dram`.
    let bytes =
        unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut::<u8>(start), length) };
    let told = HandOff::decode(bytes);
    if told != Ok(None) {
        bytes.fill(0);
        cache::clean(bytes);
    }
    told
}

/// The first tables: the image, the registers, the device tree, the first stage's record.
fn map(device_tree: Option<Range<u64>>, record: Option<Region>) -> Tables<'static, El2> {
    let Some(pool) = POOL.take() else { unreachable!("entered twice") };
    let mut tables = Tables::new(pool, El2);
    let mut add = |range: Range<u64>, rights| {
        tables.map(range, rights).unwrap_or_else(|error| panic!("first tables: {error}"));
    };
    for (range, rights) in mmu::image_regions(&layout::linked()) {
        add(range, rights);
    }
    for &(start, size) in BOARD.registers {
        let start = u64::from(start);
        add(start..start + u64::from(size), Rights::Device);
    }
    for data in device_tree.as_ref().map(pages_of).into_iter().chain(record) {
        add(data.start()..data.end(), Rights::Data);
    }
    tables
}
