//! What goes wrong in a run.

use std::time::Duration;

use super::{
    cards::Layout,
    setup::{Baseline, Kind},
};
use crate::{
    models::usdhc::{Fault as Bus, Weakness},
    soak::Random,
};

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What it is called in reports.
    pub(super) name: &'static str,
    /// In which boot of the run, from 0 on.
    pub(super) boot: usize,
    /// At which slot.
    pub(super) slot: usize,
    pub(super) what: What,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// On the wires, at so many commands from this one on.
    Wires { command: usize, count: usize, fault: Bus },
    /// At this command.
    At(usize, Happens),
    /// With the card, as long as it is in.
    Weak(Weakness),
    /// The card is not in.
    Absent,
    /// The card is protected against writing.
    Protected,
    /// These bits of these bytes of the medium are not what was written.
    Flipped(Vec<(u64, usize, u8)>),
    /// So many blocks of the medium hold one byte all over.
    Overwritten { block: u64, count: u64, byte: u8 },
    /// The line's transmitter stands still.
    Stuck { from: Duration, to: Duration },
    /// The line's receiver babbles.
    Babble { from: Duration, to: Duration, seed: u64 },
    /// The board has so many bytes of memory.
    Memory(u64),
}

/// What happens in the middle of a boot.
#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// The board loses its power.
    PowerCut,
    /// The board is reset; its cards are not.
    Reset,
    /// Another card is put in.
    Swap(Kind),
    /// Time goes on at once.
    Jump(Duration),
    /// The controller stops to react.
    Break,
    /// What the controller does never ends.
    Jam,
}

/// Rolls the details of a kind of fault.
type Roll = fn(&mut Dice<'_>) -> What;

/// What the dice may choose from.
const KINDS: &[(&str, Roll)] = &[
    ("command lost", |dice| dice.wires(Bus::CommandLost)),
    ("response lost or damaged", |dice| {
        let fault = [Bus::ResponseLost, Bus::ResponseCrc, Bus::ResponseEndBit, Bus::ResponseIndex];
        let fault = dice.one_of(&fault);
        dice.wires(fault)
    }),
    ("data lost", |dice| {
        let block = dice.below(200);
        dice.wires(Bus::DataTimeout(block))
    }),
    ("data damaged on the wires", |dice| {
        let block = dice.below(200);
        let fault = dice.one_of(&[Bus::DataCrc(block), Bus::DataEndBit(block)]);
        dice.wires(fault)
    }),
    ("slow card", |dice| {
        let milliseconds = 1 + dice.below(3000);
        dice.wires(Bus::Slow(milliseconds))
    }),
    ("DMA error", |dice| {
        let block = dice.below(200);
        dice.wires(Bus::Dma(block))
    }),
    ("stop or switch refused", |dice| {
        let fault = dice.one_of(&[Bus::AutoStop, Bus::SwitchError]);
        dice.wires(fault)
    }),
    ("card stuck busy", |dice| dice.wires(Bus::StuckBusy)),
    ("card pulled or dead", |dice| {
        let fault = dice.one_of(&[Bus::Removal, Bus::Death]);
        What::Wires { command: dice.command(), count: 1, fault }
    }),
    ("card swapped", |dice| {
        // An eMMC is soldered on.
        if dice.fault_slot != 0 {
            return What::Wires { command: dice.command(), count: 1, fault: Bus::Death };
        }
        let kind = Kind::roll(dice.random, dice.fault_slot);
        What::At(dice.command(), Happens::Swap(kind))
    }),
    ("no card", |_| What::Absent),
    ("bad sector", |dice| {
        let bad_block = Some(dice.block());
        What::Weak(Weakness { bad_block, ..Weakness::default() })
    }),
    ("weak lines", |dice| {
        What::Weak(match dice.below(5) {
            0 => Weakness { max_hertz: Some(26_000_000), ..Weakness::default() },
            1 => Weakness { max_width: Some(1), ..Weakness::default() },
            2 => Weakness { no_tuning: true, ..Weakness::default() },
            3 => Weakness { no_voltage_switch: true, ..Weakness::default() },
            _ => Weakness { max_hertz: Some(300_000), ..Weakness::default() },
        })
    }),
    ("bits flipped on the card", |dice| {
        let count = 1 + dice.random.index(8);
        let flip = |_| (dice.block(), dice.random.index(512), 1 << dice.below(8));
        What::Flipped((0..count).map(flip).collect())
    }),
    ("sectors overwritten on the card", |dice| {
        let byte = dice.one_of(&[0, 0xff, 0x5a]);
        What::Overwritten { block: dice.block(), count: dice.random.within(1..9), byte }
    }),
    ("power cut", |dice| What::At(dice.command(), Happens::PowerCut)),
    ("power cut in a write", |dice| {
        let Some(command) = dice.write() else {
            return What::At(dice.command(), Happens::PowerCut);
        };
        What::Wires { command, count: 1, fault: Bus::PowerCut(dice.below(4096)) }
    }),
    ("write fails", |dice| {
        let Some(command) = dice.write() else { return What::Protected };
        let block = dice.below(8);
        let faults =
            [Bus::DataTimeout(block), Bus::DataCrc(block), Bus::StuckBusy, Bus::ResponseLost];
        let count = 1 + dice.random.index(6);
        What::Wires { command, count, fault: dice.one_of(&faults) }
    }),
    ("write-protected", |_| What::Protected),
    ("watchdog bites", |dice| What::At(dice.command(), Happens::Reset)),
    ("time jumps", |dice| {
        let time = Duration::from_millis(1 << dice.below(23));
        What::At(dice.command(), Happens::Jump(time))
    }),
    ("controller stops", |dice| {
        let happens = if dice.random.once_in(2) { Happens::Break } else { Happens::Jam };
        What::At(dice.command(), happens)
    }),
    ("transmitter stuck", |dice| {
        let (from, to) = dice.span(Duration::from_secs(3600));
        What::Stuck { from, to }
    }),
    ("receiver babbles", |dice| {
        let (from, to) = dice.span(Duration::from_secs(60));
        What::Babble { from, to, seed: dice.random.next() }
    }),
    ("little memory", |dice| What::Memory(dice.random.within(0x80..0x1000) * 4096)),
];

/// What kinds of faults there are.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|&(name, _)| name)
}

/// One fault.
pub(super) fn roll(
    random: &mut Random,
    boot: usize,
    slot: usize,
    layout: &Layout,
    baseline: &Baseline,
) -> Fault {
    let (name, what) = *random.one_of(KINDS);
    let what = what(&mut Dice { random, fault_slot: slot, layout, baseline });
    Fault { name, boot, slot, what }
}

struct Dice<'a> {
    random: &'a mut Random,
    fault_slot: usize,
    layout: &'a Layout,
    baseline: &'a Baseline,
}

impl Dice<'_> {
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        *self.random.one_of(all)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.random.within(0..end.into())).unwrap_or_default()
    }

    /// A command of a good boot, or a few behind its last one: there are more when something fails.
    fn command(&mut self) -> usize {
        self.random.index(self.baseline.commands + 8)
    }

    /// A command of a good boot that writes.
    fn write(&mut self) -> Option<usize> {
        let writes = &self.baseline.writes;
        (!writes.is_empty()).then(|| *self.random.one_of(writes))
    }

    /// Now and then it happens at many commands.
    fn wires(&mut self, fault: Bus) -> What {
        let command = self.command();
        let count = if self.random.once_in(4) { 2 + self.random.index(60) } else { 1 };
        What::Wires { command, count, fault }
    }

    /// A block that is not empty.
    fn block(&mut self) -> u64 {
        // Half of them in what is small: tables, directories, and so on.
        let used = self.layout.used();
        let end = if self.random.once_in(2) { used.len().min(300) } else { used.len() };
        *self.random.one_of(&used[..end])
    }

    fn span(&mut self, longest: Duration) -> (Duration, Duration) {
        let from = Duration::from_millis(self.below(1500).into());
        // Short ones as often as long ones.
        let longest = longest / (1 << self.below(10));
        (from, from + longest * self.below(1000) / 1000)
    }
}
