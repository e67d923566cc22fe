//! What the training firmware says and finds: the script that the reference trace was made with.

use std::collections::VecDeque;

use super::{Fault, Patience, Rules};

/// The message block's register with the firmware's revision, and what the model calls its own.
pub(super) const REVISION: (u32, u16) = (0x5_4001, 0x2020);

/// Fifteen words, two messages among them, without and with two arguments.
const ONE_D: &[u32] = &[
    0x00,
    0x08,
    0x0001_0000,
    0x01,
    0x02,
    0x08,
    0x0002_0002,
    0x11,
    0x22,
    0x03,
    0x04,
    0x0a,
    0x09,
    0xfd,
    0x07,
];
/// Ten words, a message with three arguments among them.
const TWO_D: &[u32] = &[0x00, 0x05, 0x06, 0x09, 0x08, 0x0003_0003, 0x11, 0x22, 0x33, 0x07];
/// A run that fails does so here.
const FAILING_WORD: usize = 4;

/// The microcontroller during a run.
#[derive(Debug)]
pub(super) struct Pmu {
    two_dimensional: bool,
    words: VecDeque<u32>,
    state: State,
    deaf: bool,
    endless: bool,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    PassedOneD,
    PassedTwoD,
    Failed,
}

impl End {
    /// What the firmware leaves in the message block, in the high byte.
    pub(super) fn failed_ranks(self) -> u16 {
        if self == Self::Failed { 0x0300 } else { 0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Works until the next word is ready.
    Working(Patience),
    /// Waits for an acknowledgement.
    Ready,
    /// Has been told, and will see it.
    Told(Patience),
    /// Has seen it.
    Seen,
    /// Says nothing more.
    Done,
}

impl Pmu {
    pub(super) fn new(run: usize, two_dimensional: bool, faults: &[Fault]) -> Self {
        let script = if two_dimensional { TWO_D } else { ONE_D };
        let mut words: VecDeque<u32> = script.iter().copied().collect();
        if faults.contains(&Fault::Fails(run)) {
            words.truncate(FAILING_WORD);
            words.push_back(0xff);
        }
        let silent = faults.contains(&Fault::Silent(run));
        Self {
            two_dimensional,
            words,
            state: if silent { State::Done } else { State::Working(Patience::default()) },
            deaf: faults.contains(&Fault::Deaf(run)),
            endless: faults.contains(&Fault::Endless(run)),
        }
    }

    /// A look at the state: whether there is no mail.
    pub(super) fn is_empty(&mut self) -> bool {
        match &mut self.state {
            State::Working(patience) => {
                if patience.look() {
                    self.state = State::Ready;
                }
            }
            State::Told(patience) => {
                if !self.deaf && patience.look() {
                    self.state = State::Seen;
                }
            }
            State::Ready | State::Seen | State::Done => {}
        }
        !matches!(self.state, State::Ready | State::Told(_))
    }

    /// The word in the mailbox.
    pub(super) fn word(&self) -> Option<u32> {
        matches!(self.state, State::Ready).then(|| self.words.front().copied()).flatten()
    }

    /// A store to the acknowledgement, and the end of the run if that was its last word.
    pub(super) fn acknowledge(&mut self, value: u16, rules: &mut Rules) -> Option<End> {
        match (self.state, value) {
            (State::Ready, 0) => {
                self.state = State::Told(Patience::default());
                None
            }
            (State::Seen, 1) => self.go_on(),
            (state, value) => {
                rules.require(false, || format!("acknowledgement {value} while {state:?}"));
                None
            }
        }
    }

    fn go_on(&mut self) -> Option<End> {
        let word = self.words.pop_front();
        if self.endless {
            self.words.push_front(0x01);
        }
        if !self.words.is_empty() {
            self.state = State::Working(Patience::default());
            return None;
        }
        self.state = State::Done;
        Some(match word {
            Some(0x07) if self.two_dimensional => End::PassedTwoD,
            Some(0x07) => End::PassedOneD,
            _ => End::Failed,
        })
    }
}

/// Differences between the ranks that 1D run number `run` finds: the registers from 0x54013 and
/// from 0x5402c on.
pub(super) fn differences(run: u16) -> ([u16; 6], [u16; 7]) {
    let word = |high: u16, low: u16| (high & 0xff) << 8 | low & 0xff;
    let a = [0, 1, 2, 3, 4, 5].map(|k| word(2 + 3 * k + run, 0x81 + 5 * k + run));
    let b = [0, 1, 2, 3, 4, 5, 6].map(|k| word(4 + 2 * k + run, 6 + k + 2 * run));
    (a, b)
}
