//! In which order copies are replaced, so that the boot ROM finds an intact one at any time.
//!
//! The ROM tries one copy, and takes the other if that has no head. A copy that is being written has none
//! until it is whole (`write::copy`). So: the copy that is needed now is written when the other one is
//! known to be good, or not at all.

use crate::write::emmc::BootPartition;

/// One of the two copies of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The card's primary copy, or an eMMC's first boot partition.
    One,
    /// The card's secondary copy, or an eMMC's second boot partition.
    Two,
}

impl Slot {
    pub(super) const BOTH: [Self; 2] = [Self::One, Self::Two];

    pub(super) fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// What an eMMC has of it.
    pub(super) fn partition(self) -> BootPartition {
        match self {
            Self::One => BootPartition::One,
            Self::Two => BootPartition::Two,
        }
    }

    pub(super) fn of_partition(partition: BootPartition) -> Self {
        match partition {
            BootPartition::One => Self::One,
            BootPartition::Two => Self::Two,
        }
    }
}

/// What has to be known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is the new one already.
    New,
    /// The board can start from it.
    Intact,
    /// There is none, or it is damaged.
    Bad,
}

/// Something that is done, and is done before the next step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the new image there, read it back, compare it.
    Write(Slot),
    /// Have the ROM try this one first.
    Switch(Slot),
}

/// For a card, whose primary copy (the first one) the ROM always tries first. Both are new in the end.
pub(super) fn for_card([one, two]: [State; 2]) -> Vec<Step> {
    // Only where the secondary copy alone is good is the primary one the one to be lost.
    let first = if one == State::Bad && two != State::Bad { Slot::One } else { Slot::Two };
    [first, first.other()]
        .into_iter()
        .filter(|slot| [one, two][*slot as usize] != State::New)
        .map(Step::Write)
        .collect()
}

/// For an eMMC whose register names the boot partition that the ROM tries first; none if it starts the
/// user area. The other one keeps what it had, to fall back on.
pub(super) fn for_emmc(named: Option<Slot>, states: [State; 2]) -> Vec<Step> {
    let state = |slot: Slot| states[slot as usize];
    let replace = |slot| vec![Step::Write(slot), Step::Switch(slot)];
    let Some(named) = named else {
        return match states.iter().position(|state| *state == State::New) {
            Some(index) => vec![Step::Switch(Slot::BOTH[index])],
            None => replace(Slot::One),
        };
    };
    match (state(named), state(named.other())) {
        (State::New, _) => Vec::new(),
        // Until it has a head again, the ROM starts the other one.
        (State::Bad, State::Intact) => vec![Step::Write(named)],
        (_, State::New) => vec![Step::Switch(named.other())],
        (State::Intact, _) | (State::Bad, State::Bad) => replace(named.other()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Slot::{One, Two},
        State::{Bad, Intact, New},
        Step::{Switch, Write},
        *,
    };

    #[test]
    fn a_cards_copies_are_replaced_the_one_that_is_not_needed_first() {
        for (states, steps) in [
            ([Intact, Intact], &[Write(Two), Write(One)][..]),
            ([Intact, Bad], &[Write(Two), Write(One)]),
            ([Bad, Intact], &[Write(One), Write(Two)]),
            ([Bad, Bad], &[Write(Two), Write(One)]),
            ([New, Intact], &[Write(Two)]),
            ([New, Bad], &[Write(Two)]),
            ([Intact, New], &[Write(One)]),
            ([Bad, New], &[Write(One)]),
            ([New, New], &[]),
        ] {
            assert_eq!(for_card(states), steps, "{states:?}");
        }
    }

    #[test]
    fn of_an_emmc_the_partition_that_is_not_started_is_replaced_and_then_named() {
        for (named, states, steps) in [
            (Some(One), [Intact, Intact], &[Write(Two), Switch(Two)][..]),
            (Some(One), [Intact, Bad], &[Write(Two), Switch(Two)]),
            (Some(Two), [Bad, Intact], &[Write(One), Switch(One)]),
            (Some(One), [Bad, Bad], &[Write(Two), Switch(Two)]),
            // The ROM has fallen back: what it starts now is kept until the named one is whole.
            (Some(One), [Bad, Intact], &[Write(One)]),
            (Some(Two), [Intact, Bad], &[Write(Two)]),
            (Some(One), [New, Intact], &[]),
            (Some(Two), [Bad, New], &[]),
            (Some(One), [Intact, New], &[Switch(Two)]),
            (Some(One), [Bad, New], &[Switch(Two)]),
            (None, [Intact, New], &[Switch(Two)]),
            (None, [Intact, Bad], &[Write(One), Switch(One)]),
        ] {
            assert_eq!(for_emmc(named, states), steps, "{named:?} {states:?}");
        }
    }
}
