//! `/chosen`: what the kernel is told about this boot.
//!
//! Sources: Linux `Documentation/devicetree/bindings/chosen.txt` and `drivers/of/fdt.c` (names and
//! sizes). `firn,*` is Firn's own ([`Boot`]): what the `firn` command of the running system reads.

use alloc::{vec, vec::Vec};
use core::{ops::Range, time::Duration};

use zeroize::Zeroize;

use super::{
    DeviceTree, DeviceTreeBuf, Property,
    edit::Error,
    validate::{self, Layout},
};
use crate::{
    entropy::{Pool, Seeds, Source},
    memory::Region,
};

/// What is written into `/chosen`. What is not given is deleted, because it speaks of an earlier
/// boot or another stage; everything else, `stdout-path` above all, stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen<'a> {
    /// The kernel command line.
    pub command_line: &'a str,
    /// Where the initrds lie, one behind the other.
    pub initrd: Option<Region>,
    /// For which room is made; [`put_seeds`] puts them there, once the tree is where the kernel finds
    /// it: they are nowhere else.
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

const KASLR_SEED: &str = "kaslr-seed";
const RNG_SEED: &str = "rng-seed";

/// Bytes that properties, names, seeds and the node itself take without other values, generously.
const FIXED_ROOM: usize = 1024;

impl Chosen<'_> {
    /// At least as many bytes as [`Chosen::write`] makes any tree grow by, known before the initrd
    /// has its place.
    pub fn room(&self) -> usize {
        let account = self.boot.properties().into_iter().filter_map(|(_, value)| value);
        let account: usize = account.map(|value| value.len()).sum();
        FIXED_ROOM + self.command_line.len() + account
    }

    /// Writes it all.
    pub fn write(&self, tree: &mut DeviceTreeBuf) -> Result<(), Error> {
        forget_initrd(tree);
        let initrd = self.initrd.map(|initrd| [initrd.start(), initrd.end()].map(u64::to_be_bytes));
        let size =
            |seed| named(self.seeds?).find(|(name, _)| *name == seed).map(|(_, it)| it.len());
        let mut properties = Vec::from([
            ("bootargs", Some(string(self.command_line).unwrap_or_else(|| Vec::from([0])))),
            ("linux,initrd-start", initrd.map(|[start, _]| start.to_vec())),
            ("linux,initrd-end", initrd.map(|[_, end]| end.to_vec())),
        ]);
        let zeros = |seed| (seed, size(seed).map(|size| vec![0; size]));
        properties.extend([KASLR_SEED, RNG_SEED].map(zeros));
        properties.extend(self.boot.properties());
        let given = properties.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let stale = properties.iter().filter(|(_, value)| value.is_none());
        let stale: Vec<_> = stale.map(|(name, _)| *name).collect();
        tree.find_or_create("/chosen")?.set_all(given, &stale)
    }
}

/// Each of them with its property.
fn named(seeds: &Seeds) -> impl Iterator<Item = (&'static str, &[u8])> {
    let rng = seeds.rng.as_ref().map(|rng| (RNG_SEED, &rng[..]));
    [(KASLR_SEED, &seeds.kaslr[..])].into_iter().chain(rng)
}

/// Puts `seeds` into `written`, which was written by `tree`, in which [`Chosen::write`] has made room
/// for them; `None` if it has not.
pub fn put_seeds(tree: &DeviceTreeBuf, written: &mut [u8], seeds: &Seeds) -> Option<()> {
    let chosen = tree.view().find("/chosen")?;
    for (name, seed) in named(seeds) {
        let place = tree.place_of_value(chosen.property(name)?);
        let place = written.get_mut(place).filter(|place| place.len() == seed.len())?;
        place.copy_from_slice(seed);
    }
    Some(())
}

/// Validates the tree of the stage before, and takes the seeds that were left in it for the kernel;
/// the tree has zeros then, as when a kernel has used them. They are this boot's only if the tree was
/// made during this boot: in one from a card they are the same each time.
pub fn take_seeds<'t>(
    bytes: &'t mut [u8],
    pool: &mut Pool,
) -> Result<DeviceTree<'t>, validate::Error> {
    let layout = Layout::check(bytes)?;
    for name in [KASLR_SEED, RNG_SEED] {
        let place = place(bytes, layout.of(bytes), name);
        if let Some(seed) = place.and_then(|place| bytes.get_mut(place)) {
            pool.absorb(Source::FirmwareTree, seed);
            seed.zeroize();
        }
    }
    Ok(layout.of(bytes))
}

/// Where the value of this property of `/chosen` lies in the bytes of `tree`.
fn place(bytes: &[u8], tree: DeviceTree<'_>, name: &str) -> Option<Range<usize>> {
    let value = tree.find("/chosen")?.property(name)?.value();
    let start = value.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    Some(start..start.checked_add(value.len())?)
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
