//! Address translation: every address is itself; the tables only say what may be done there.
//!
//! Invariants:
//! * No page is both writable and executable (and SCTLR_EL2.WXN says it a second time).
//! * A page is mapped once and never changes its rights, so that a live table needs no
//!   invalidation: hardware does not cache that something is not mapped.
//! * What is not known to exist is not mapped: the processor may read normal memory ahead of the
//!   program, and a look at absent DRAM or a TEE's may abort.
//!
//! Tables come from a fixed pool, because the heap is only usable after the caches are on.

use core::fmt;
use core::mem;
use core::ops::Range;
use core::ptr::NonNull;

use aarch64_paging::descriptor::{El23Attributes, PhysicalAddress};
use aarch64_paging::paging::{
    Constraints, MemoryRegion, PageTable, RootTable, Translation, TranslationRegime,
};

use super::layout::{Layout, PAGE};
use super::ranges::Ranges;

/// Translation tables in the pool, 4 KiB each.
pub const TABLES: usize = 32;

/// Level of the root: 39 bits of address, 512 entries of 1 GiB.
const ROOT_LEVEL: usize = 1;

/// First address that the tables cannot hold.
const END: u64 = 1 << 39;

/// What one call of [`Tables::map`] can take from the pool: at each end of a range a level-2 and a
/// level-3 table.
const TABLES_PER_RANGE: usize = 4;

/// MAIR: attribute 0 is device memory without gathering and reordering but with early write
/// acknowledgement (nGnRE); attribute 1 is normal memory, write-back, read and write allocating;
/// attribute 2 is normal memory that no cache holds.
pub const MEMORY_ATTRIBUTES: u64 = 0x44_ff_04;

/// TCR of EL2 and EL3 without the physical address size: reserved ones (31, 23), 4 KiB pages, tables read
/// through inner-shareable, write-back caches (13:12, 11:10, 9:8), and the size of an address.
pub const TRANSLATION_CONTROL: u64 =
    1 << 31 | 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | (64 - END.ilog2()) as u64;

/// What may be done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read and executed.
    Code,
    /// Read.
    Constants,
    /// Read and written.
    Data,
    /// Read and written past the caches: what a device writes there needs no maintenance.
    Uncached,
    /// Registers: read and written, in order, uncached.
    Device,
}

impl Rights {
    fn attributes(self) -> El23Attributes {
        const BASE: El23Attributes = El23Attributes::VALID
            .union(El23Attributes::ACCESSED)
            // AP[1] is reserved and one in a regime without EL0.
            .union(El23Attributes::USER_RES1);
        const NORMAL: El23Attributes =
            BASE.union(El23Attributes::ATTRIBUTE_INDEX_1).union(El23Attributes::INNER_SHAREABLE);
        match self {
            Self::Code => NORMAL | El23Attributes::READ_ONLY,
            Self::Constants => NORMAL | El23Attributes::READ_ONLY | El23Attributes::XN,
            Self::Data => NORMAL | El23Attributes::XN,
            Self::Uncached => BASE | El23Attributes::ATTRIBUTE_INDEX_2 | El23Attributes::XN,
            Self::Device => BASE | El23Attributes::ATTRIBUTE_INDEX_0 | El23Attributes::XN,
        }
    }
}

/// Why memory cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A bound is not a multiple of [`PAGE`].
    Unaligned,
    /// Beyond 512 GiB.
    OutOfRange,
    /// (Partly) mapped already.
    Overlap,
    /// The pool of tables, or the list of ranges, is used up.
    TooManyRanges,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "not a multiple of 4 KiB",
            Self::OutOfRange => "beyond 512 GiB",
            Self::Overlap => "mapped already",
            Self::TooManyRanges => "too many separate ranges",
        })
    }
}

impl core::error::Error for Error {}

/// The loader's own memory and what may be done with each part of it.
pub fn image_regions(layout: &Layout) -> [(Range<u64>, Rights); 7] {
    let data = layout.data.start..layout.data.end.next_multiple_of(PAGE);
    [
        (layout.text.clone(), Rights::Code),
        (layout.rodata.clone(), Rights::Constants),
        (data, Rights::Data),
        (layout.bss.clone(), Rights::Data),
        (layout.stack.clone(), Rights::Data),
        (layout.fault_stack.clone(), Rights::Data),
        (layout.heap.clone(), Rights::Data),
    ]
}

/// A table of the pool.
pub type Table = PageTable<El23Attributes>;

/// Tables that are not in use.
struct Pool<'p>(&'p mut [Table]);

impl Translation<El23Attributes> for Pool<'_> {
    fn allocate_table(&mut self) -> (NonNull<Table>, PhysicalAddress) {
        // `Tables::map` has counted.
        let Some((table, rest)) = mem::take(&mut self.0).split_first_mut() else {
            panic!("translation tables used up");
        };
        self.0 = rest;
        let pointer = NonNull::from(table);
        (pointer, PhysicalAddress(pointer.as_ptr().expose_provenance()))
    }

    unsafe fn deallocate_table(&mut self, _: NonNull<Table>) {
        // Nothing is ever unmapped.
    }

    fn physical_to_virtual(&self, address: PhysicalAddress) -> NonNull<Table> {
        let pointer = core::ptr::with_exposed_provenance_mut(address.0);
        NonNull::new(pointer).unwrap_or_else(|| unreachable!("a table at address 0"))
    }
}

/// An exception level whose tables look like this: EL2 or EL3.
pub trait Regime: TranslationRegime<Attributes = El23Attributes, VaRange = ()> {}

impl<R: TranslationRegime<Attributes = El23Attributes, VaRange = ()>> Regime for R {}

/// The tables of an exception level, and what they map.
pub struct Tables<'p, R: Regime> {
    root: RootTable<R, Pool<'p>>,
    mapped: Ranges<32>,
}

impl<'p, R: Regime> Tables<'p, R> {
    /// Nothing mapped. `pool` must not be empty, must be zero, and mapped at its own address as
    /// long as the tables are in use.
    pub fn new(pool: &'p mut [Table], regime: R) -> Self {
        Self { root: RootTable::new(Pool(pool), ROOT_LEVEL, regime), mapped: Ranges::new() }
    }

    /// Maps `range` to itself.
    pub fn map(&mut self, range: Range<u64>, rights: Rights) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        if !range.start.is_multiple_of(PAGE) || !range.end.is_multiple_of(PAGE) {
            return Err(Error::Unaligned);
        }
        if self.mapped.intersects(&range) {
            return Err(Error::Overlap);
        }
        let (start, end) = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if range.end <= END => (start, end),
            _ => return Err(Error::OutOfRange),
        };
        if self.root.translation().0.len() < TABLES_PER_RANGE {
            return Err(Error::TooManyRanges);
        }
        let mut mapped = self.mapped.clone();
        mapped.insert(range).map_err(|_| Error::TooManyRanges)?;
        self.root
            .map_range(
                &MemoryRegion::new(start, end),
                PhysicalAddress(start),
                rights.attributes(),
                Constraints::empty(),
            )
            .map_err(|_| Error::OutOfRange)?;
        self.mapped = mapped;
        Ok(())
    }

    /// What is mapped, whatever its rights.
    pub fn mapped(&self) -> &Ranges<32> {
        &self.mapped
    }

    /// The root's address, for TTBR0.
    pub fn root(&self) -> u64 {
        self.root.to_physical().0 as u64
    }
}

/// Maps memory while the stage runs.
pub trait Map {
    /// Maps `range` to itself.
    fn map(&mut self, range: Range<u64>, rights: Rights) -> Result<(), Error>;
}

impl<R: Regime> Map for Tables<'_, R> {
    fn map(&mut self, range: Range<u64>, rights: Rights) -> Result<(), Error> {
        Tables::map(self, range, rights)?;
        #[cfg(target_os = "none")]
        {
            use aarch64_cpu::asm::barrier;
            // The tables must be written before the first access through them.
            barrier::dsb(barrier::ISHST);
            barrier::isb(barrier::SY);
        }
        Ok(())
    }
}

/// Turns translation and caches on, at EL2.
///
/// # Safety
/// `tables` must map the running code, its stack and all data in use, at their own addresses with
/// sufficient rights, and stay in place for good. The cache must hold no stale line of them.
#[cfg(target_os = "none")]
pub unsafe fn enable(tables: &Tables<'static, aarch64_paging::paging::El2>) {
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{
        ID_AA64MMFR0_EL1, MAIR_EL2, Readable, SCTLR_EL2, TCR_EL2, TTBR0_EL2, Writeable,
    };
    let physical_size = ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange);
    MAIR_EL2.set(MEMORY_ATTRIBUTES);
    TCR_EL2.set(TRANSLATION_CONTROL | physical_size << 16);
    TTBR0_EL2.set_baddr(tables.root());
    // SAFETY: drops translations and instructions that a stage before may have left behind.
    unsafe {
        core::arch::asm!(
            "dsb sy",
            "tlbi alle2",
            "ic iallu",
            "dsb sy",
            "isb",
            options(nostack, preserves_flags)
        );
    }
    SCTLR_EL2.set(super::entry::SCTLR_EL2_ON);
    barrier::isb(barrier::SY);
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec::Vec;

    use aarch64_paging::descriptor::Descriptor;
    use aarch64_paging::paging::El2;

    use super::*;
    use crate::arch::layout::tests::example;

    fn pool(tables: usize) -> Box<[Table]> {
        core::iter::repeat_with(Table::default).take(tables).collect()
    }

    /// The attributes of the page or block at `address`.
    fn attributes(tables: &Tables<'_, El2>, address: u64) -> Option<El23Attributes> {
        let start = usize::try_from(address).unwrap();
        let mut found = None;
        tables
            .root
            .walk_range(
                &MemoryRegion::new(start, start + 1),
                &mut |_: &MemoryRegion, entry: &Descriptor<El23Attributes>, _: usize| {
                    found = entry.is_valid().then(|| entry.flags());
                    Ok(())
                },
            )
            .unwrap();
        found
    }

    fn loaded(pool: &mut [Table]) -> Tables<'_, El2> {
        let mut tables = Tables::new(pool, El2);
        for (range, rights) in image_regions(&example()) {
            tables.map(range, rights).unwrap();
        }
        tables
    }

    #[test]
    fn nothing_is_both_writable_and_executable() {
        let mut pool = pool(TABLES);
        let mut tables = loaded(&mut pool);
        tables.map(0x3000_0000..0x3100_0000, Rights::Device).unwrap();
        tables.map(0x4200_0000..0x1_0000_0000, Rights::Data).unwrap();
        let mut leaves = 0;
        tables
            .root
            .walk_range(
                &MemoryRegion::new(0, 1 << 39),
                &mut |_: &MemoryRegion, entry: &Descriptor<El23Attributes>, _: usize| {
                    if entry.is_valid() {
                        leaves += 1;
                        let flags = entry.flags();
                        let writable = !flags.contains(El23Attributes::READ_ONLY);
                        let executable = !flags.contains(El23Attributes::XN);
                        assert!(!(writable && executable), "{flags:?}");
                    }
                    Ok(())
                },
            )
            .unwrap();
        assert!(leaves > 100);
    }

    #[test]
    fn the_image_has_its_rights_and_its_gaps() {
        let mut pool = pool(TABLES);
        let tables = loaded(&mut pool);
        let layout = example();
        let code = attributes(&tables, layout.text.start).unwrap();
        assert!(code.contains(El23Attributes::READ_ONLY) && !code.contains(El23Attributes::XN));
        let constants = attributes(&tables, layout.rodata.start).unwrap();
        assert!(constants.contains(El23Attributes::READ_ONLY | El23Attributes::XN));
        let data = attributes(&tables, layout.data.start).unwrap();
        assert!(!data.contains(El23Attributes::READ_ONLY) && data.contains(El23Attributes::XN));
        assert_eq!(attributes(&tables, 0), None, "null page");
        for gap in [layout.guard.start, layout.guard.end - 1, layout.stack.end] {
            assert_eq!(attributes(&tables, gap), None, "{gap:#x}");
        }
        assert_eq!(attributes(&tables, layout.heap.end), None, "DRAM not yet known");
    }

    #[test]
    fn devices_are_neither_cached_nor_executable() {
        let mut pool = pool(TABLES);
        let mut tables = Tables::new(&mut pool, El2);
        tables.map(0x3000_0000..0x3100_0000, Rights::Device).unwrap();
        let device = attributes(&tables, 0x3089_0000).unwrap();
        assert!(device.contains(El23Attributes::XN));
        assert!(!device.intersects(El23Attributes::ATTRIBUTE_INDEX_MASK));
    }

    #[test]
    fn memory_for_devices_is_normal_memory_that_no_cache_holds() {
        let mut pool = pool(TABLES);
        let mut tables = Tables::new(&mut pool, El2);
        tables.map(0x4800_0000..0x4900_0000, Rights::Uncached).unwrap();
        let memory = attributes(&tables, 0x4880_0000).unwrap();
        assert!(memory.contains(El23Attributes::XN | El23Attributes::ATTRIBUTE_INDEX_2));
        assert!(!memory.contains(El23Attributes::ATTRIBUTE_INDEX_1));
        // Normal memory, not cached: unlike a device's, it may be read unaligned.
        assert_eq!(MEMORY_ATTRIBUTES >> 16 & 0xff, 0x44);
    }

    #[test]
    fn memory_is_mapped_once() {
        let mut pool = pool(TABLES);
        let mut tables = loaded(&mut pool);
        let text = example().text;
        assert_eq!(tables.map(text, Rights::Data), Err(Error::Overlap));
        assert_eq!(tables.map(0x4000_0000..0x8000_0000, Rights::Data), Err(Error::Overlap));
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let mut pool = pool(TABLES);
        let mut tables = Tables::new(&mut pool, El2);
        assert_eq!(tables.map(0x1001..0x2000, Rights::Data), Err(Error::Unaligned));
        assert_eq!(tables.map(0x1000..1 << 40, Rights::Data), Err(Error::OutOfRange));
        assert_eq!(tables.map(0..!0xfff, Rights::Data), Err(Error::OutOfRange));
    }

    #[test]
    fn a_hostile_number_of_banks_is_refused_before_the_tables_run_out() {
        let mut pool = pool(TABLES);
        let mut tables = Tables::new(&mut pool, El2);
        let results: Vec<_> = (0..40u64)
            .map(|n| {
                // Worst case: each range needs all the tables it can.
                let start = (2 * n + 1) * 0x8000_0000 - PAGE;
                tables.map(start..start + 2 * PAGE, Rights::Data)
            })
            .collect();
        assert!(results.contains(&Err(Error::TooManyRanges)));
        assert!(results.iter().filter(|r| r.is_ok()).count() >= 6);
    }
}
