//! What goes wrong.

use std::{fmt, time::Duration};

use super::{bench::Medium, journal::Journal, random::Random};
use crate::models::usdhc::Fault as Wire;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Sectors of the card hold something else.
    Damaged {
        /// Where.
        part: Part,
        /// What they hold.
        damage: Damage,
    },
    /// The file system was not unmounted, and this is its journal.
    Journal(Journal),
    /// The card reads so many sectors in a second.
    SlowReads(u32),
    /// A sector that the card cannot read, ever.
    Unreadable(Part),
    /// Something goes wrong on the card's bus, at a command, counted from 0.
    Bus {
        /// Which one.
        command: usize,
        /// What.
        fault: Wire,
    },
    /// On the bus no data arrives whole above this clock, in hertz.
    SlowLines(u32),
    /// The card never gets ready.
    DeadCard,
    /// The card's mode switches are refused from this timing on.
    ModesRefused(u8),
    /// Before this command another card with the same generations is put in.
    Swapped(usize),
    /// Before this command the card is pulled.
    Pulled(usize),
    /// The card keeps nothing that is written to it.
    WornOut,
    /// The power goes when so many blocks have been written, and comes back.
    PowerCut(usize),
    /// The power goes at this moment, and comes back.
    PowerLoss(Moment),
    /// A watchdog bites.
    Bite(Moment),
    /// The processor stands still for so long, and time goes on.
    TimeJump(Moment, Duration),
    /// The card is pulled while the processor is at work.
    PulledAt(Moment),
    /// So much memory, as QEMU takes it.
    Memory(&'static str),
    /// The serial line sends nothing.
    StuckSerial,
    /// The serial line receives what nobody typed.
    Babble(Moment, Babble),
}

/// When something happens: at so many thousandths of the characters that a sound boot prints.
pub type Moment = u16;

/// What of a card is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first sector: an MBR, or the one in front of a GPT.
    Table,
    /// The header of a GPT's first copy.
    TableHeader,
    /// The partition table's second copy, at the card's end.
    BackupTable,
    /// The first sectors of the file system to boot from.
    FileSystem,
    /// The kernel of the default generation.
    Kernel,
    /// Its initrd.
    Initrd,
    /// A device tree.
    DeviceTree,
    /// The state record.
    Record,
    /// Any sector that is not empty, drawn by this number.
    Anywhere(u64),
}

/// What a damaged sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Zeros, in so many sectors.
    Zeros(u64),
    /// Noise of this seed, in so many sectors.
    Noise(u64, u64),
    /// One bit the other way round.
    Bit(u16),
}

/// What a line babbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Babble {
    /// One byte again and again.
    Same(u8),
    /// Any bytes.
    Any(u64),
    /// Letters and spaces.
    Text(u64),
}

impl Babble {
    /// Some hundred characters of it.
    pub(super) fn bytes(self) -> Vec<u8> {
        const LENGTH: usize = 600;
        match self {
            Self::Same(byte) => vec![byte; LENGTH],
            Self::Any(seed) => {
                let mut random = super::Run { seed, index: 0 }.random();
                (0..LENGTH).map(|_| random.next().to_le_bytes()[0]).collect()
            }
            Self::Text(seed) => {
                let mut random = super::Run { seed, index: 0 }.random();
                (0..LENGTH).map(|_| *random.one_of(b"etaoin shrdlu\r")).collect()
            }
        }
    }
}

impl Fault {
    /// Whether it is done to the card's bus, which takes a modelled controller.
    pub fn needs_model(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_)
                | Self::Bus { .. }
                | Self::SlowLines(_)
                | Self::DeadCard
                | Self::ModesRefused(_)
                | Self::Swapped(_)
                | Self::Pulled(_)
                | Self::PowerCut(_)
        )
    }

    /// Whether the board is started a second time.
    pub fn ends_power(&self) -> bool {
        matches!(self, Self::PowerCut(_) | Self::PowerLoss(_))
    }

    /// The kind, for a summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Damaged { part, .. } => match part {
                Part::Table | Part::TableHeader | Part::BackupTable => "partition table damaged",
                Part::FileSystem => "file system damaged",
                Part::Kernel => "kernel damaged",
                Part::Initrd => "initrd damaged",
                Part::DeviceTree => "device tree damaged",
                Part::Record => "state record damaged",
                Part::Anywhere(_) => "any sector damaged",
            },
            Self::Journal(_) => "journal to replay",
            Self::SlowReads(_) => "slow card",
            Self::Unreadable(_) => "sector unreadable",
            Self::Bus { .. } => "error on the card's bus",
            Self::SlowLines(_) => "lines that bear no speed",
            Self::DeadCard => "card never ready",
            Self::ModesRefused(_) => "mode switches refused",
            Self::Swapped(_) => "card swapped",
            Self::Pulled(_) | Self::PulledAt(_) => "card pulled",
            Self::WornOut => "card worn out",
            Self::PowerCut(_) => "power cut at a write",
            Self::PowerLoss(_) => "power lost",
            Self::Bite(_) => "watchdog bite",
            Self::TimeJump(..) => "time jump",
            Self::Memory(_) => "other memory size",
            Self::StuckSerial => "serial line stuck",
            Self::Babble(..) => "serial line babbling",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:?}", self.kind())
    }
}

/// A boot takes about so many commands; how many exactly is a matter of time, and the same faults are to be
/// drawn again.
const COMMANDS: usize = 64;

/// Draws one to three faults of a boot from `medium`.
pub(super) fn draw(random: &mut Random, medium: Medium) -> Vec<Fault> {
    let count = 1 + random.index(3);
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < count {
        let fault = if medium.is_modelled() { on_model(random) } else { on_qemu(random) };
        // One of a kind, and one that ends the power.
        let again = |other: &Fault| {
            other.kind() == fault.kind() && !matches!(other, Fault::Bus { .. })
                || other.ends_power() && fault.ends_power()
        };
        if fault == Fault::StuckSerial {
            // Nobody would see what else goes wrong.
            return vec![fault];
        }
        if !faults.iter().any(again) {
            faults.push(fault);
        }
    }
    faults
}

fn on_model(random: &mut Random) -> Fault {
    let command = random.index(COMMANDS);
    match random.within(0..16) {
        0..6 => Fault::Bus { command, fault: wire(random) },
        6 => Fault::Unreadable(part(random)),
        7 => Fault::SlowLines(*random.one_of(&[1_000_000, 26_000_000, 60_000_000, 120_000_000])),
        8 => Fault::ModesRefused(u8::try_from(random.within(0..5)).unwrap_or_default()),
        9 => Fault::Swapped(command),
        10 => Fault::Pulled(command),
        11 if random.once_in(4) => Fault::DeadCard,
        11 | 12 => Fault::PowerCut(random.index(17)),
        13 => Fault::Memory(memory(random)),
        _ => damaged(random),
    }
}

fn on_qemu(random: &mut Random) -> Fault {
    let moment = u16::try_from(random.within(0..1000)).unwrap_or_default();
    match random.within(0..16) {
        0 if random.once_in(2) => Fault::WornOut,
        0 => Fault::SlowReads(u32::try_from(random.within(100..4000)).unwrap_or_default()),
        1..3 => Fault::PowerLoss(moment),
        3..5 => Fault::Bite(moment),
        5 => Fault::TimeJump(moment, Duration::from_millis(random.within(50..3000))),
        6 => Fault::PulledAt(moment),
        7 => Fault::Memory(memory(random)),
        8 if random.once_in(2) => Fault::StuckSerial,
        8 | 9 => Fault::Babble(moment, babble(random)),
        _ => damaged(random),
    }
}

fn memory(random: &mut Random) -> &'static str {
    const SIZES: [&str; 6] = ["256M", "384M", "512M", "1536M", "3G", "4G"];
    SIZES[random.index(SIZES.len())]
}

fn babble(random: &mut Random) -> Babble {
    match random.within(0..3) {
        0 => Babble::Same(*random.one_of(&[0, 0xff, b'U', b'\r', 0x1b])),
        1 => Babble::Any(random.next()),
        _ => Babble::Text(random.next()),
    }
}

fn damaged(random: &mut Random) -> Fault {
    let part = part(random);
    let sectors = 1 + random.within(0..4);
    let damage = match random.within(0..3) {
        0 => Damage::Zeros(sectors),
        1 => Damage::Noise(random.next(), sectors),
        _ => Damage::Bit(u16::try_from(random.within(0..4096)).unwrap_or_default()),
    };
    Fault::Damaged { part, damage }
}

fn part(random: &mut Random) -> Part {
    match random.within(0..12) {
        0 => Part::Table,
        1 => Part::BackupTable,
        2 | 3 => Part::FileSystem,
        4 => Part::Kernel,
        5 => Part::Initrd,
        6 => Part::DeviceTree,
        7 => Part::Record,
        _ => Part::Anywhere(random.next()),
    }
}

fn wire(random: &mut Random) -> Wire {
    let block = u32::try_from(random.within(0..8)).unwrap_or_default();
    match random.within(0..14) {
        0 => Wire::CommandLost,
        1 => Wire::ResponseLost,
        2 => Wire::ResponseCrc,
        3 => Wire::ResponseEndBit,
        4 => Wire::ResponseIndex,
        5 => Wire::DataTimeout(block),
        6 | 7 => Wire::DataCrc(block),
        8 => Wire::DataEndBit(block),
        9 => Wire::AutoStop,
        10 => Wire::Dma(block),
        11 => Wire::StuckBusy,
        12 => Wire::Slow(u32::try_from(random.within(1..3000)).unwrap_or_default()),
        _ => Wire::SwitchError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::Run;

    fn drawn(index: u64) -> Vec<Fault> {
        let mut random = Run { seed: 1, index }.random();
        let medium = *random.one_of(&Medium::ALL);
        let faults = draw(&mut random, medium);
        assert!(medium.is_modelled() || !faults.iter().any(Fault::needs_model));
        faults
    }

    #[test]
    fn one_to_three_faults_are_drawn_of_every_kind_and_again_for_the_same_run() {
        let mut kinds = std::collections::BTreeSet::new();
        for index in 0..1000 {
            let faults = drawn(index);
            assert!((1..=3).contains(&faults.len()));
            assert_eq!(format!("{faults:?}"), format!("{:?}", drawn(index)));
            kinds.extend(faults.iter().map(Fault::kind));
        }
        assert_eq!(kinds.len(), 23, "{kinds:?}");
    }
}
