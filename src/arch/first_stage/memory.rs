//! The first stage's memory: caches for a while, and DRAM once it is up.

use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable};
use aarch64_paging::paging::El3;
use core::{ptr, slice};

use super::{SCTLR_CACHED, SCTLR_RUNNING};
use crate::arch::layout::{self, PAGE};
use crate::arch::mmu::{self, MEMORY_ATTRIBUTES, Rights, TRANSLATION_CONTROL, Table, Tables};
use crate::arch::ranges::{Ranges, start_and_length};
use crate::board::BOARD;
use crate::ddr;
use crate::image::container::PartKind;
use crate::memory::Region;
use crate::mmio::Uncached;
use crate::spl::load;

unsafe extern "C" {
    fn caches_on(root: u64, attributes: u64, control: u64, sctlr: u64);
    fn caches_off(sctlr: u64);
    fn leave_first_stage(entry: u64) -> !;
}

/// On-chip memory, and tables with which it can be cached.
pub struct OnChip {
    tables: Tables<'static, El3>,
}

impl OnChip {
    /// Tables of the image, of what lies `behind` it, and of the registers.
    pub(super) fn new(pool: &'static mut [Table], behind: &[u8]) -> Self {
        let mut tables = Tables::new(pool, El3);
        let bounds = behind.as_ptr_range();
        let behind = (bounds.start.addr() as u64).next_multiple_of(PAGE)..bounds.end.addr() as u64;
        let registers = BOARD.registers.iter().map(|&(start, size)| {
            let start = u64::from(start);
            (start..start + u64::from(size), Rights::Device)
        });
        let image = mmu::image_regions(&layout::linked()).into_iter();
        for (range, rights) in image.chain([(behind, Rights::Constants)]).chain(registers) {
            assert!(tables.map(range, rights).is_ok(), "first tables");
        }
        Self { tables }
    }

    /// Runs `work` with translation and data caches on. The boot ROM is not mapped meanwhile: a call
    /// of it is an exception.
    pub fn with_caches<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: the tables hold the image with its rights, all of its stacks, what lies behind it
        // and the registers; no other core caches anything.
        unsafe { with_caches(self.tables.root(), work) }
    }

    /// Takes charge of the memory that parts of an image are loaded to: DRAM up to its second bank,
    /// and BL31's room of the on-chip memory. It is tried, hence no more `cells`.
    ///
    /// # Panics
    /// If the controller's idea of the memory is one that tables cannot have.
    pub fn with_dram(self, dram: ddr::Dram, _: Uncached) -> Memory {
        let Self { mut tables } = self;
        let bl31 = BOARD.image.room(PartKind::Bl31).map(|room| Region::new(room.start, room.size));
        let mut own = Ranges::new();
        // DRAM last: it may take tables of its own.
        for region in bl31.into_iter().chain(dram.banks().next()) {
            let range = region.start()..region.end();
            let mapped = tables.map(range.clone(), Rights::Data).is_ok();
            assert!(mapped && own.insert(range).is_ok(), "tables for {region}");
        }
        Memory { tables, own }
    }
}

/// The memory that parts of an image are loaded to.
pub struct Memory {
    tables: Tables<'static, El3>,
    own: Ranges<8>,
}

impl Memory {
    /// Gives `region` away for good; `None` if not all of it is this memory.
    pub fn take(&mut self, region: Region) -> Option<&'static mut [u8]> {
        let range = region.start()..region.end();
        if range.is_empty() || !self.own.contains(&range) || self.own.remove(&range).is_err() {
            return None;
        }
        let (start, length) = start_and_length(&range);
        // SAFETY: memory that holds nothing of the first stage, mapped for data or not translated,
        // and any bytes; it is in `own` no longer, so that nobody else gets it.
        Some(unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(start), length) })
    }

    /// Starts the next stage at `entry`: EL3, translation and data caches off, x0 to x3 = 0.
    ///
    /// # Panics
    /// If that is not in this memory, or if the stack has overflown on the way here.
    pub fn enter(self, entry: u64) -> ! {
        assert!(self.own.contains(&(entry..entry.saturating_add(4))), "no code at {entry:#x}");
        assert!(super::stack_left().is_some(), "stack overflow");
        // SAFETY: no Rust code runs after this; the next stage owns the machine.
        unsafe { leave_first_stage(entry) }
    }
}

impl load::Memory for Memory {
    fn bytes(&mut self, region: Region) -> Option<&mut [u8]> {
        let range = region.start()..region.end();
        if range.is_empty() || !self.own.contains(&range) {
            return None;
        }
        let (start, length) = start_and_length(&range);
        // SAFETY: `own` is memory that holds nothing of the first stage, mapped for data or not
        // translated, and any bytes; the slice borrows all of it.
        Some(unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(start), length) })
    }

    fn hurry<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let root = self.tables.root();
        // SAFETY: as for `OnChip::with_caches`, and `own` is mapped for data. Nothing but
        // `OnChip::with_dram` changes the tables.
        unsafe { with_caches(root, || work(self)) }
    }
}

/// Runs `work` with translation and data caches on.
///
/// # Safety
/// At `root` there must be tables that hold the running code, its stacks and all that `work` touches,
/// each with its rights, and no other core may cache anything.
unsafe fn with_caches<T>(root: u64, work: impl FnOnce() -> T) -> T {
    let physical_size = ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange);
    let control = TRANSLATION_CONTROL | physical_size << 16;
    // SAFETY: the caller's promise; every address is itself with translation and without.
    unsafe { caches_on(root, MEMORY_ATTRIBUTES, control, SCTLR_CACHED) };
    let result = work();
    // SAFETY: as above.
    unsafe { caches_off(SCTLR_RUNNING) };
    result
}
