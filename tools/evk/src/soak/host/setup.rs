//! Which cards are in the slots of a run, and what a good boot of each is like.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use firn::{
    block::{BlockDevice as _, SharedDevice},
    board::BOARD,
    boot::Store,
    state::{Identity, Record},
};

use super::{
    board::{self, DRAM_SIZE, End, Memory, Slot, Start},
    cards::Layout,
    line::Line,
    medium::Medium,
};
use crate::{
    models::usdhc::{self, Bench, Emmc, EmmcKind, SdCard, SdKind, Weakness},
    soak::Random,
};

/// What a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sd(SdModel),
    Emmc(EmmcModel),
}

/// Numbers of kinds, which can be a map's key.
type SdModel = usize;
type EmmcModel = usize;

const SD: [SdKind; 4] =
    [SdKind::StandardV1, SdKind::StandardV2, SdKind::HighCapacity, SdKind::Sdr104];
const EMMC: [EmmcKind; 5] = [
    EmmcKind::ByteAddressed,
    EmmcKind::Ddr52,
    EmmcKind::Hs200,
    EmmcKind::Hs400,
    EmmcKind::EnhancedStrobe,
];

/// Serial numbers of the card that belongs to a slot and of another one.
const OWN: u32 = 0x1234_5678;
const OTHER: u32 = 0x9abc_def0;

impl Kind {
    /// One that fits into the slot.
    pub(super) fn roll(random: &mut Random, slot: usize) -> Self {
        if slot == 0 {
            Self::Sd(random.index(SD.len()))
        } else {
            Self::Emmc(random.index(EMMC.len()))
        }
    }

    /// A card of that kind.
    pub(super) fn card(self, medium: &Medium, state: State) -> Box<dyn usdhc::Card> {
        let blocks = medium.block_count();
        let protection = u8::from(state.is_protected);
        match self {
            Self::Sd(model) => Box::new(
                SdCard::new(SD[model], blocks)
                    .with_serial(if state.is_other { OTHER } else { OWN })
                    .with_storage(medium.clone())
                    .with_protection(protection)
                    .with_weakness(state.weakness),
            ),
            Self::Emmc(model) => Box::new(
                Emmc::new(EMMC[model], blocks)
                    .with_storage(medium.clone())
                    .with_protection(protection)
                    .with_weakness(state.weakness),
            ),
        }
    }
}

/// What is wrong with a card.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) weakness: Weakness,
    pub(super) is_protected: bool,
    /// Whether it is another one of the same kind.
    pub(super) is_other: bool,
}

/// What is in a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inserted {
    /// Index of the layout.
    pub(super) layout: usize,
    pub(super) kind: Kind,
}

/// What is in the slots: the SD card's and the eMMC's.
pub(super) type Setup = [Option<Inserted>; 2];

/// A setup with at least one card; no two cards are alike.
pub(super) fn roll(random: &mut Random, layouts: usize) -> Setup {
    let mut card =
        |slot| Inserted { layout: random.index(layouts), kind: Kind::roll(random, slot) };
    let (sd, mut emmc) = (card(0), card(1));
    if emmc.layout == sd.layout {
        emmc.layout = (sd.layout + 1) % layouts;
    }
    match random.index(4) {
        0 => [Some(sd), Some(emmc)],
        1 => [None, Some(emmc)],
        _ => [Some(sd), None],
    }
}

/// A card of that layout. Where boots are counted, the newest generation was installed a moment ago, and
/// the one before it is known to work.
pub(super) fn installed(layout: &Layout) -> Medium {
    let medium = Medium::new(layout.image.clone());
    if let ([newest, before, ..], true) = (&layout.generations[..], layout.is_counted) {
        change_record(&medium, |record| {
            record.bless(Identity::new(&before.toplevel));
            record.set_default(Identity::new(&newest.toplevel), None);
        });
    }
    medium
}

/// What a running system does to the state record, if it can be written.
pub(super) fn change_record(medium: &Medium, change: impl FnOnce(&mut Record)) {
    let mut store = Store::open(&(Rc::new(RefCell::new(medium.clone())) as SharedDevice), None);
    let mut record = store.record().clone();
    change(&mut record);
    // A card that has no place for it any more is a fault of the run.
    let _ = store.write(&record);
}

/// What a good boot of a card is like.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    /// Commands of it.
    pub(super) commands: usize,
    /// Numbers of those that write.
    pub(super) writes: Vec<usize>,
}

/// Those that are known so far.
#[derive(Default)]
pub(super) struct Baselines(HashMap<(usize, usize, Kind), Baseline>);

impl Baselines {
    /// What a good boot of this card is like, in this slot.
    pub(super) fn get(
        &mut self,
        slot: usize,
        inserted: Inserted,
        layouts: &[Layout],
        memory: &mut Memory,
    ) -> Baseline {
        let Inserted { layout, kind } = inserted;
        let measured = || {
            let medium = installed(&layouts[layout]);
            let card = kind.card(&medium, State::default());
            let card_slot = &BOARD.cards[slot];
            let slot = Slot::new(card_slot, Bench::new(card_slot, Some(card)));
            let slots = [slot];
            let start =
                Start { slots: &slots, line: Line::default(), memory: DRAM_SIZE, reset: None };
            let ended = board::boot(start, memory);
            assert!(
                matches!(ended.end, End::Kernel(_)),
                "{kind:?} with {} does not boot without a fault: {:?}\n{}",
                layouts[layout].name,
                ended.end,
                ended.line
            );
            let issued = slot.bench.issued();
            let writes = issued.iter().enumerate();
            let writes = writes.filter(|(_, command)| matches!(command.index, 24 | 25));
            Baseline { commands: issued.len(), writes: writes.map(|(number, _)| number).collect() }
        };
        self.0.entry((slot, layout, kind)).or_insert_with(measured).clone()
    }
}
