//! `/chosen`: what the kernel is told about this boot.
//!
//! Sources: Linux `Documentation/devicetree/bindings/chosen.txt` and `drivers/of/fdt.c` (names and
//! sizes). `firn,*` is Firn's own ([`Boot`]): what the `firn` command of the running system reads.

use alloc::vec::Vec;
use core::time::Duration;

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
    /// What is booted, and how it came to that.
    pub boot: Boot<'a>,
}

/// The account of a boot. Each field is a property; one that is empty or not known is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boot<'a> {
    /// `firn,version`: the loader's.
    pub version: &'a str,
    /// `firn,generation`: its identity.
    pub generation: &'a str,
    /// `firn,source`: which kind of source names it.
    pub source: &'a str,
    /// `firn,number`, one cell.
    pub number: Option<u32>,
    /// `firn,profile`, if it is not `system`.
    pub profile: &'a str,
    /// `firn,specialisation`.
    pub specialisation: &'a str,
    /// `firn,try`, two cells: the number of this try, and how many there are in all.
    pub attempt: Option<[u32; 2]>,
    /// `firn,reset-cause`.
    pub reset_cause: &'a str,
    /// `firn,last-failure`: which generation failed last, and why.
    pub last_failure: &'a str,
    /// `firn,time-names`, a list of strings, and `firn,times-us`, two cells each: when each step was
    /// reached, in microseconds since the system counter started.
    pub times: &'a [(&'a str, Duration)],
    /// `firn,state-device`: the controller of the card that holds the state record, as Linux calls
    /// it: `30b50000.mmc`.
    pub state_device: &'a str,
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
const FIXED_ROOM: usize = 1024;

impl Chosen<'_> {
    /// At least as many bytes as [`Chosen::write`] makes any tree grow by, known before the initrd
    /// has its place.
    pub fn room(&self) -> usize {
        let seeds = self.seeds.map_or(0, |seeds| seeds.kaslr.len() + seeds.rng.len());
        let account = self.boot.properties().into_iter().filter_map(|(_, value)| value);
        let account: usize = account.map(|value| value.len()).sum();
        FIXED_ROOM + self.command_line.len() + seeds + account
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
        for (name, value) in self.boot.properties() {
            match value {
                Some(value) => chosen.set(name, &value)?,
                // That of an earlier boot.
                None => drop(chosen.remove(name)),
            }
        }
        Ok(())
    }
}

impl Boot<'_> {
    fn properties(&self) -> [(&'static str, Option<Vec<u8>>); 12] {
        let cells = |cells: &[u32]| cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        let names = self.times.iter().flat_map(|(name, _)| string(name)).flatten().collect();
        let times = self.times.iter().map(|(_, time)| microseconds(*time)).collect::<Vec<_>>();
        [
            ("firn,version", string(self.version)),
            ("firn,generation", string(self.generation)),
            ("firn,source", string(self.source)),
            ("firn,number", self.number.map(|number| cells(&[number]))),
            ("firn,profile", string(self.profile)),
            ("firn,specialisation", string(self.specialisation)),
            ("firn,try", self.attempt.map(|attempt| cells(&attempt))),
            ("firn,reset-cause", string(self.reset_cause)),
            ("firn,last-failure", string(self.last_failure)),
            ("firn,time-names", (!times.is_empty()).then_some(names)),
            ("firn,times-us", (!times.is_empty()).then(|| cells(times.as_flattened()))),
            ("firn,state-device", string(self.state_device)),
        ]
    }
}

/// A text with the zero that ends it, cut at one that it holds itself.
fn string(text: &str) -> Option<Vec<u8>> {
    let text = text.split('\0').next().unwrap_or_default();
    (!text.is_empty()).then(|| [text.as_bytes(), &[0]].concat())
}

/// As two cells.
#[allow(clippy::cast_possible_truncation, reason = "the halves of a number of 64 bits")]
fn microseconds(time: Duration) -> [u32; 2] {
    let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    [(time >> 32) as u32, time as u32]
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
