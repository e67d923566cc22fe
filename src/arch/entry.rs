//! The first instructions, and what the stage before left.
//!
//! Told apart at run time, never by a build flag: entry at EL2 from TF-A's BL31 (x0 = 0; x1, x2 =
//! base and size of a TEE, if there is one), from `booti` or an emulator's `-kernel` (x0 = device
//! tree), and at EL3 from something that put no firmware beneath.
//!
//! Sources: Linux Documentation/arch/arm64/booting.rst (header and state at entry); Arm Architecture
//! Reference Manual for A-profile (DDI 0487); Cortex-A53 reference manual (SMPEN); i.MX 8M Plus
//! reference manual (system counter, CSU); TF-A plat/imx/imx8m (arguments of the next stage).

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use crate::handoff::{self, HandOff};
use crate::memory::{Region, Size};

/// The Image header's text_offset: distance from a 2 MiB boundary at the start of DRAM. With the
/// flags below it makes `booti` and QEMU load to 0x40200000, where BL31 enters too.
pub const TEXT_OFFSET: u64 = 0x20_0000;

/// The Image header's flags: little-endian, 4 KiB pages, and bit 3 clear: as close to the start of
/// DRAM as possible.
pub const IMAGE_FLAGS: u64 = 1 << 1;

/// The Image header's magic, "ARM\x64".
pub const IMAGE_MAGIC: u32 = u32::from_le_bytes(*b"ARM\x64");

/// SCTLR_EL2 with MMU and caches off: the reserved bits that are one.
pub const SCTLR_EL2_OFF: u64 = 0x30c5_0830;

/// SCTLR_EL2 of the running loader: MMU (0), data cache (2), stack alignment check (3), instruction
/// cache (12), and nothing writable may be executed (19).
pub const SCTLR_EL2_ON: u64 = SCTLR_EL2_OFF | 1 << 19 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

/// Largest device tree that is taken over, in bytes: Linux's limit.
pub const MAX_DEVICE_TREE: u32 = 2 << 20;

/// How a device tree begins, big-endian.
const DEVICE_TREE_MAGIC: u32 = 0xd00d_feed;

/// Bytes in a device tree's header.
const DEVICE_TREE_HEADER: u32 = 40;

/// What the stage before left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// The exception level entered at.
    pub level: u8,
    /// x0 to x3.
    pub arguments: [u64; 4],
    /// Where the image was loaded; it moves itself to where it is linked.
    pub loaded_at: u64,
    /// A copy of the tree in x0, if x0 points to one: its magic and size hold, no more is checked.
    pub device_tree: Option<Box<[u8]>>,
    /// Whether the stage before left an asynchronous error (SError) pending; it was dropped.
    pub pending_error: bool,
    /// What the first stage has left in memory, if it was Firn's.
    pub hand_off: Result<Option<HandOff>, handoff::Error>,
}

impl EntryState {
    /// Whether firmware at EL3 answers calls.
    pub fn firmware_beneath(&self) -> bool {
        self.level < 3
    }

    /// Whether that is what BL31, `booti` or an emulator leaves behind a boot that went well.
    pub fn is_usual(&self) -> bool {
        self.firmware_beneath() && (self.device_tree.is_some() || self.arguments[0] == 0)
    }

    /// Memory of a TEE, as BL31 tells it in x1 and x2.
    pub fn tee(&self) -> Option<Region> {
        let [x0, base, size, _] = self.arguments;
        let plausible = self.level == 2 && x0 == 0 && base != 0 && size != 0;
        plausible.then(|| Region::new(base, size))
    }
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EL{}", self.level)?;
        match self.level {
            3 => f.write_str(" without firmware beneath (no PSCI); continuing at EL2")?,
            _ if self.device_tree.is_some() => f.write_str(" with a device tree")?,
            _ if self.arguments[0] == 0 => f.write_str(" without a device tree")?,
            _ => write!(f, "; x0 = {:#x} is no device tree", self.arguments[0])?,
        }
        if let Some(tee) = self.tee() {
            write!(f, ", TEE at {:#x}, {}", tee.start(), Size(tee.size()))?;
        }
        Ok(())
    }
}

/// Whether `address` may be looked at for a device tree: aligned as the boot protocol asks, in DRAM
/// that the board can have, and not where the loader's own variables already are.
pub fn may_hold_device_tree(address: u64, banks: &[(u64, u64)], image: &Range<u64>) -> bool {
    let in_bank = banks.iter().any(|&(start, size)| {
        address.checked_sub(start).is_some_and(|offset| {
            offset.checked_add(u64::from(MAX_DEVICE_TREE)).is_some_and(|end| end <= size)
        })
    });
    address.is_multiple_of(8) && in_bank && !image.contains(&address)
}

/// The bytes that a device tree at `address` takes, from the first two words of its header.
pub fn device_tree_extent(
    address: u64,
    magic: u32,
    size: u32,
    image: &Range<u64>,
) -> Option<Range<u64>> {
    let size = u32::from_be(size);
    let plausible = u32::from_be(magic) == DEVICE_TREE_MAGIC
        && (DEVICE_TREE_HEADER..=MAX_DEVICE_TREE).contains(&size);
    let extent = address..address.checked_add(u64::from(size))?;
    let overwritten = extent.start < image.end && image.start < extent.end;
    (plausible && !overwritten).then_some(extent)
}

/// Names the function that runs once the processor is set up: `fn(EntryState, Machine) -> !`.
#[macro_export]
macro_rules! entry_point {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "Rust" fn firn_main(
                entry: $crate::arch::entry::EntryState,
                machine: $crate::arch::Machine,
            ) -> ! {
                $main(entry, machine)
            }
        };
    };
}

#[cfg(target_os = "none")]
mod asm {
    use super::*;
    use crate::board::BOARD;

    core::arch::global_asm!(
        include_str!("entry.S"),
        text_offset = const TEXT_OFFSET,
        image_flags = const IMAGE_FLAGS,
        image_magic = const IMAGE_MAGIC,
        sctlr_el2_off = const SCTLR_EL2_OFF,
        system_counter_frequency = const crate::arch::timer::DEFAULT_FREQUENCY,
        uart = const BOARD.console_uart,
        start = sym crate::arch::machine::start,
    );
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const IMAGE: Range<u64> = 0x4020_0000..0x4140_0000;
    const BANKS: &[(u64, u64)] = &[(0x4000_0000, 0xc000_0000), (0x1_0000_0000, 0xc000_0000)];

    fn state(level: u8, arguments: [u64; 4]) -> EntryState {
        EntryState {
            level,
            arguments,
            loaded_at: IMAGE.start,
            device_tree: None,
            pending_error: false,
            hand_off: Ok(None),
        }
    }

    #[test]
    fn the_header_makes_every_loader_choose_the_same_address() {
        assert_eq!(0x4000_0000 + TEXT_OFFSET, IMAGE.start);
        assert_eq!(IMAGE_MAGIC, 0x644d_5241);
        assert_eq!(IMAGE_FLAGS >> 3 & 1, 0, "not `anywhere`");
    }

    #[test]
    fn each_way_of_entry_is_told_apart() {
        assert_eq!(state(2, [0; 4]).to_string(), "EL2 without a device tree");
        let tee = state(2, [0, 0x5600_0000, 0x0200_0000, 0x4320_0000]);
        assert_eq!(tee.to_string(), "EL2 without a device tree, TEE at 0x56000000, 32.0 MiB");
        let mut booti = state(2, [0x4300_0000, 0, 0, 0]);
        booti.device_tree = Some(std::vec![0; 40].into());
        assert_eq!(booti.to_string(), "EL2 with a device tree");
        assert!(state(3, [0; 4]).to_string().starts_with("EL3 without firmware beneath"));
        let garbage = state(2, [0x1234_5678, 1, 2, 3]);
        assert_eq!(garbage.to_string(), "EL2; x0 = 0x12345678 is no device tree");
        assert_eq!(garbage.tee(), None);
    }

    #[test]
    fn garbage_in_x0_is_not_even_looked_at() {
        for address in [0, 4, 0x3089_0000, 0x4000_0004, 0x4020_0000, 0x4130_0000, u64::MAX - 7] {
            assert!(!may_hold_device_tree(address, BANKS, &IMAGE), "{address:#x}");
        }
        let end_of_dram = 0x1_c000_0000 - 8;
        assert!(!may_hold_device_tree(end_of_dram, BANKS, &IMAGE));
        for address in [0x4000_0000, 0x4800_0000, 0x1_0000_0000] {
            assert!(may_hold_device_tree(address, BANKS, &IMAGE), "{address:#x}");
        }
    }

    #[test]
    fn a_device_tree_is_believed_by_its_magic_and_a_sane_size() {
        let extent = |magic: u32, size: u32| {
            device_tree_extent(0x4800_0000, magic.to_be(), size.to_be(), &IMAGE)
        };
        assert_eq!(extent(0xd00d_feed, 0x8000), Some(0x4800_0000..0x4800_8000));
        assert_eq!(extent(0xd00d_feee, 0x8000), None, "ATAGs");
        assert_eq!(extent(0xd00d_feed, 39), None);
        assert_eq!(extent(0xd00d_feed, MAX_DEVICE_TREE + 1), None);
    }

    #[test]
    fn a_device_tree_that_the_loader_overwrote_is_not_believed() {
        let size = 0x10_0000u32.to_be();
        let magic = 0xd00d_feed_u32.to_be();
        assert_eq!(device_tree_extent(0x4018_0000, magic, size, &IMAGE), None);
        assert!(device_tree_extent(0x4008_0000, magic, size, &IMAGE).is_some());
    }
}
