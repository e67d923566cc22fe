//! How long a boot would take on the board: its instructions, commands and characters as they were counted,
//! played again against a processor, a card and a serial line that take their time.
//!
//! The emulator's card answers at once and its serial line is never full. Here the processor goes on until
//! it needs what is not there yet: a command's answer, a transfer's end, room in the UART's FIFO. What
//! overlaps on the board overlaps here.
//!
//! What is left out: loads and stores that miss the caches, a card's own start (ACMD41; up to a second,
//! the same for every loader), and the change to the fast mode. The bus is the fast one as of the command
//! that selects the card. So the times are lower bounds, the same for all.

use std::collections::VecDeque;

use crate::{
    qemu::Slot,
    stamps::{Command, Event, Moment, Stamp},
};

/// Nanoseconds since the replay began.
type Time = u64;

/// Instructions in 1,000 ns: one a cycle at 1.2 GHz, as the first stage sets the ARM PLL.
const INSTRUCTIONS_PER_MICROSECOND: u64 = 1200;
/// A character of ten bits at 115,200 baud.
const CHARACTER: Time = 86_806;
/// Characters that the UART's FIFO holds. Source: i.MX 8M Plus reference manual, UART.
const FIFO: usize = 32;
/// A command, and what has to lie between it, its answer and the next one, in bits. Source: SD physical
/// layer specification 6.00, 4.12 (N_CR, N_RC).
const COMMAND: u64 = 48 + 16;
/// The clock until a card is selected. Source: the same, 4.2.1.
const IDENTIFICATION_HERTZ: u64 = 400_000;
/// The command that selects a card.
const SELECT: u32 = 7;
/// The commands that read blocks.
const READS: [u32; 2] = [17, 18];

/// A card and its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// What people call it.
    pub name: &'static str,
    /// The command line's clock.
    pub hertz: u64,
    /// Bytes a second over the data lines.
    pub bytes_per_second: u64,
    /// From a read's answer to its first byte, in nanoseconds.
    pub access: Time,
}

/// 4 bits at 200 MHz; 4,000 reads of 4 KiB a second, as the SD specification wants of class A2.
pub const SD: Card =
    Card { name: "SD SDR104", hertz: 200_000_000, bytes_per_second: 100_000_000, access: 209_000 };
/// 8 bits at both edges of 200 MHz; 100 us for a read to begin is what data sheets tell.
pub const EMMC: Card =
    Card { name: "eMMC HS400", hertz: 200_000_000, bytes_per_second: 400_000_000, access: 100_000 };

/// One read of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The command's argument.
    pub argument: u32,
    /// When the command was sent, in nanoseconds.
    pub begin: Time,
    /// When its last byte came.
    pub end: Time,
}

/// What a replay found, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// From the first moment to when the processor came to the last.
    pub processor: Time,
    /// From the first moment to when the serial line had sent everything.
    pub line: Time,
    /// How long the processor waited for the card.
    pub waited_for_card: Time,
    /// How long it waited for room on the serial line.
    pub waited_for_line: Time,
    /// The reads.
    pub reads: Vec<Read>,
}

impl Replayed {
    /// When both the processor and the line were done: the loader sends everything before it hands over.
    pub fn end(&self) -> Time {
        self.processor.max(self.line)
    }

    /// Of the time between the first and the last of those reads that `counts` names, in which the card
    /// had nothing to do, in 10,000ths. `None` without such reads.
    pub fn idle(&self, counts: impl Fn(u32) -> bool) -> Option<u64> {
        let reads = || self.reads.iter().filter(|read| counts(read.argument));
        let begin = reads().map(|read| read.begin).min()?;
        let end = reads().map(|read| read.end).max()?;
        // Directories that are read in between keep the card busy, too.
        let within = self.reads.iter().filter(|read| read.begin >= begin && read.end <= end);
        let busy: Time = within.map(|read| read.end - read.begin).sum();
        Some((end - begin).saturating_sub(busy) * 10_000 / (end - begin).max(1))
    }
}

/// Plays what happened from one moment to another. Before it, nothing was under way.
pub fn replay(stamps: &[Stamp], from: Moment, to: Moment, card: Card) -> Replayed {
    let mut board = Board::new(card, from);
    let before = |moment: Moment| stamps.partition_point(|s| s.at.executed <= moment.executed);
    // Cards that were selected before stay so.
    for stamp in &stamps[..before(from)] {
        if let Event::Command(slot, command) = stamp.event {
            board.slot(slot).selected |= command.index == SELECT;
        }
    }
    for stamp in &stamps[before(from)..before(to)] {
        board.work_until(stamp.at);
        match stamp.event {
            Event::Sent(_) => board.send(),
            Event::Command(slot, command) => board.command(slot, command),
            Event::Complete(slot) => board.wait_for_card(slot),
            Event::Taken(_) => {}
        }
    }
    board.work_until(to);
    board.found.processor = board.now;
    board.found.line = board.line.back().copied().unwrap_or(board.sent);
    board.found
}

/// What a slot is about.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    selected: bool,
    /// When the command's answer comes, until somebody has waited for it.
    answer: Option<Time>,
    /// When the data's last byte comes, likewise.
    data: Option<Time>,
}

struct Board {
    card: Card,
    now: Time,
    at: Moment,
    /// When the characters that are in the FIFO have been sent.
    line: VecDeque<Time>,
    /// When the last one was that is not there any more.
    sent: Time,
    slots: [Pending; 2],
    found: Replayed,
}

impl Board {
    fn new(card: Card, at: Moment) -> Self {
        let found = Replayed::default();
        Self { card, now: 0, at, line: VecDeque::new(), sent: 0, slots: Default::default(), found }
    }

    fn slot(&mut self, slot: Slot) -> &mut Pending {
        &mut self.slots[usize::from(slot == Slot::Emmc)]
    }

    /// Instructions take cycles; waits by the clock take the time that they are to take, which the emulator's
    /// clock, an instruction a nanosecond, has counted.
    fn work_until(&mut self, at: Moment) {
        let waited = at.waited.saturating_sub(self.at.waited);
        let worked = at.executed.saturating_sub(self.at.executed).saturating_sub(waited);
        self.now += waited + worked * 1000 / INSTRUCTIONS_PER_MICROSECOND;
        self.at = at;
    }

    fn send(&mut self) {
        while self.line.front().is_some_and(|&end| end <= self.now) {
            self.sent = self.line.pop_front().unwrap_or_default();
        }
        if self.line.len() == FIFO
            && let Some(room) = self.line.pop_front()
        {
            self.found.waited_for_line += room - self.now;
            (self.now, self.sent) = (room, room);
        }
        let begin = self.line.back().copied().unwrap_or(self.sent).max(self.now);
        self.line.push_back(begin + CHARACTER);
    }

    fn command(&mut self, slot: Slot, command: Command) {
        let (now, card) = (self.now, self.card);
        let hertz = if self.slot(slot).selected { card.hertz } else { IDENTIFICATION_HERTZ };
        let answer = now + (COMMAND + command.answer) * 1_000_000_000 / hertz;
        let is_read = READS.contains(&command.index);
        let access = if is_read { card.access } else { 0 };
        let data = (command.bytes > 0)
            .then(|| answer + access + command.bytes * 1_000_000_000 / card.bytes_per_second);
        let pending = self.slot(slot);
        pending.selected |= command.index == SELECT;
        (pending.answer, pending.data) = (Some(answer), data);
        if let (true, Some(end)) = (is_read, data) {
            self.found.reads.push(Read { argument: command.argument, begin: now, end });
        }
    }

    /// The driver looks for a command's answer first and for its data's end later; the emulator may
    /// show both at once.
    fn wait_for_card(&mut self, slot: Slot) {
        let pending = self.slot(slot);
        let Some(until) = pending.answer.take().or_else(|| pending.data.take()) else { return };
        let waited = until.saturating_sub(self.now);
        self.found.waited_for_card += waited;
        self.now += waited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLION: u64 = 1_000_000;
    /// A card on which a byte takes a nanosecond.
    const CARD: Card =
        Card { name: "", hertz: 1_000_000_000, bytes_per_second: 1_000_000_000, access: 1000 };

    /// After so many instructions and the first, which takes no time that counts.
    fn at(executed: u64) -> Moment {
        Moment { executed: executed + 1, waited: 0 }
    }

    fn stamp(executed: u64, event: Event) -> Stamp {
        Stamp { at: at(executed), event }
    }

    fn command(executed: u64, index: u32, bytes: u64) -> Stamp {
        let command = Command { index, argument: 7, bytes, answer: 0 };
        stamp(executed, Event::Command(Slot::Sd, command))
    }

    fn seen(executed: u64) -> Stamp {
        stamp(executed, Event::Complete(Slot::Sd))
    }

    fn from_start(stamps: &[Stamp], to: Moment) -> Replayed {
        replay(stamps, Moment::default(), to, CARD)
    }

    #[test]
    fn work_takes_cycles_and_waits_take_their_time() {
        let to = Moment { executed: 12 * MILLION + 500, waited: 500 };
        assert_eq!(from_start(&[], to).end(), 10 * MILLION + 500);
    }

    #[test]
    fn the_processor_waits_for_the_card_only_as_long_as_it_has_nothing_else_to_do() {
        let busy = |work: u64| {
            let stamps =
                [command(0, SELECT, 0), seen(0), command(0, 18, MILLION), seen(0), seen(work)];
            from_start(&stamps, at(work))
        };
        let select = 64_000_000_000 / IDENTIFICATION_HERTZ;
        let read = 64 + 1000 + MILLION;
        let idle = busy(0);
        assert_eq!((idle.end(), idle.waited_for_card), (select + read, select + read));
        // 0.6 ms of work, then 5 ms: the first is done before the card is.
        let overlapped = busy(720_000);
        assert_eq!(overlapped.end(), select + read);
        assert_eq!(busy(6 * MILLION).end(), select + 64 + 5 * MILLION);
    }

    #[test]
    fn a_full_fifo_holds_the_processor_up_and_an_empty_one_does_not() {
        let characters = |count| vec![stamp(0, Event::Sent(b'x')); count];
        let few = from_start(&characters(FIFO), at(0));
        assert_eq!((few.waited_for_line, few.processor), (0, 0));
        assert_eq!(few.end(), 32 * CHARACTER);
        let many = from_start(&characters(100), at(0));
        assert_eq!(many.waited_for_line, 68 * CHARACTER);
        assert_eq!(many.end(), 100 * CHARACTER);
        // With time between them the line is never busy for long.
        let spaced: Vec<Stamp> = (0..100).map(|n| stamp(n * 200_000, Event::Sent(b'x'))).collect();
        assert_eq!(from_start(&spaced, at(20 * MILLION)).waited_for_line, 0);
    }

    #[test]
    fn a_card_is_idle_between_reads_that_do_not_follow_at_once() {
        let read = [command(0, SELECT, 0), seen(0), command(0, 18, 1000), seen(0), seen(0)];
        // 2,064 ns, as long as a read takes.
        let pause = 2477;
        let second = [command(pause, 18, 1000), seen(pause), seen(pause)];
        let stamps: Vec<Stamp> = read.into_iter().chain(second).collect();
        let replayed = from_start(&stamps, at(pause));
        assert_eq!(replayed.idle(|argument| argument == 7), Some(3333));
        assert_eq!(replayed.idle(|argument| argument == 8), None);
    }

    #[test]
    fn a_card_that_was_selected_before_is_fast() {
        let stamps = [command(1, SELECT, 0), seen(2), command(5, 13, 0), seen(5)];
        let replayed = replay(&stamps, at(3), at(5), CARD);
        assert_eq!(replayed.waited_for_card, 64);
    }
}
