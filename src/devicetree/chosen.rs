//! `/chosen`: what the kernel is told about this boot.
//!
//! Sources: Linux `Documentation/devicetree/bindings/chosen.txt` and `drivers/of/fdt.c` (names and
//! sizes). `firn,*` is Firn's own: `firn,version` and `firn,generation` are strings.

use alloc::vec::Vec;

use super::{DeviceTree, DeviceTreeBuf, Property, edit::Error};
use crate::memory::Region;

/// What is written into `/chosen`. What is not given is deleted, because it speaks of an earlier
/// boot or another stage; everything else, `stdout-path` above all, stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen<'a> {
    /// The kernel command line.
    pub command_line: &'a str,
    /// Where the initrds lie, one behind the other.
    pub initrd: Option<Region>,
    /// Random numbers that nobody has used.
    pub seeds: Option<&'a Seeds>,
    /// The loader's version.
    pub version: &'a str,
    /// Identity of the generation.
    pub generation: &'a str,
}

/// Random numbers that a stage before left for the kernel. They are this boot's only if the tree
/// they stand in was made during this boot: in a tree from a card they are the same each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeds {
    kaslr: Vec<u8>,
    rng: Vec<u8>,
}

impl Seeds {
    /// The seeds in the tree that the stage before handed over.
    pub fn of(tree: DeviceTree<'_>) -> Self {
        let seed = |name| {
            let chosen = tree.find("/chosen")?;
            // The kernel zeroes a seed when it has used it.
            let seed = chosen.property(name)?.value();
            seed.iter().any(|&byte| byte != 0).then(|| seed.to_vec())
        };
        Self {
            kaslr: seed("kaslr-seed").unwrap_or_default(),
            rng: seed("rng-seed").unwrap_or_default(),
        }
    }
}

/// Bytes that properties, names and the node itself take without their values, generously.
const FIXED_ROOM: usize = 512;

impl Chosen<'_> {
    /// At least as many bytes as [`Chosen::write`] makes any tree grow by, known before the initrd
    /// has its place.
    pub fn room(&self) -> usize {
        let seeds = self.seeds.map_or(0, |seeds| seeds.kaslr.len() + seeds.rng.len());
        FIXED_ROOM + self.command_line.len() + self.version.len() + self.generation.len() + seeds
    }

    /// Writes it all.
    pub fn write(&self, tree: &mut DeviceTreeBuf) -> Result<(), Error> {
        forget_initrd(tree);
        let mut chosen = tree.find_or_create("/chosen")?;
        for stale in ["kaslr-seed", "rng-seed", "linux,initrd-start", "linux,initrd-end"] {
            chosen.remove(stale);
        }
        chosen.set_str("bootargs", self.command_line)?;
        if let Some(initrd) = self.initrd {
            chosen.set_u64("linux,initrd-start", initrd.start())?;
            chosen.set_u64("linux,initrd-end", initrd.end())?;
        }
        if let Some(seeds) = self.seeds {
            for (name, seed) in [("kaslr-seed", &seeds.kaslr), ("rng-seed", &seeds.rng)] {
                if !seed.is_empty() {
                    chosen.set(name, seed)?;
                }
            }
        }
        chosen.set_str("firn,version", self.version)?;
        chosen.set_str("firn,generation", self.generation)
    }
}

/// U-Boot reserves the initrd that it announces; once that is not used, its memory is free.
fn forget_initrd(tree: &mut DeviceTreeBuf) {
    let number = |name| tree.view().find("/chosen")?.property(name).and_then(Property::as_u64);
    let (start, end) = (number("linux,initrd-start"), number("linux,initrd-end"));
    if let (Some(start), Some(end)) = (start, end)
        && end > start
    {
        tree.remove_reservation(start, end - start);
    }
}
