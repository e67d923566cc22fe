//! Tells a line that sends back what it is sent from a person.
//!
//! A loop at the far end, or a login that echoes, answers with letters that mean something here. Nobody
//! can type what was just sent, in its order and before anything else.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;

/// Bytes in a row that came back, behind which nobody takes them for typed: a third of a line.
const PROOF: usize = 24;

/// Different bytes among them at least: a key that is held comes back to itself.
const VARIED: u32 = 8;

/// Bytes that are waited for at most; a screen is less.
const KEPT: usize = 4096;

/// What was sent and may come back.
#[derive(Debug, Default)]
pub(super) struct Echo {
    sent: VecDeque<u8>,
    /// How many came back in a row, and which of the 128 characters.
    run: usize,
    seen: u128,
}

/// What a byte that arrived is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Possibly a person's.
    Key,
    /// The byte by which the line has given itself away.
    Proof,
    /// One of those that follow it.
    Echo,
}

impl Echo {
    /// Takes note of what is sent.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.sent.len());
        self.sent.extend(bytes.iter().take(room));
    }

    /// Tells what `byte` is.
    pub(super) fn arrived(&mut self, byte: u8) -> Arrived {
        if self.sent.pop_front() != Some(byte) {
            *self = Self::default();
            return Arrived::Key;
        }
        let was_proven = self.is_proven();
        self.run = self.run.saturating_add(1);
        self.seen |= 1 << (byte % 128);
        match (was_proven, self.is_proven()) {
            (true, _) => Arrived::Echo,
            (false, true) => Arrived::Proof,
            (false, false) => Arrived::Key,
        }
    }

    fn is_proven(&self) -> bool {
        self.run >= PROOF && self.seen.count_ones() >= VARIED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(echo: &mut Echo, text: &[u8]) -> std::vec::Vec<Arrived> {
        text.iter().map(|&byte| echo.arrived(byte)).collect()
    }

    #[test]
    fn a_line_gives_itself_away_once_and_is_ignored_until_something_else_comes() {
        let mut echo = Echo::default();
        let text = b"Enter boots generation 42, any other key opens the menu.";
        echo.sent(text);
        let arrived = arrive(&mut echo, &text[..30]);
        assert_eq!(arrived[..23], [Arrived::Key; 23]);
        assert_eq!(arrived[23], Arrived::Proof);
        assert_eq!(arrived[24..], [Arrived::Echo; 6]);
        assert_eq!(arrive(&mut echo, b"x"), [Arrived::Key]);
        assert_eq!(arrive(&mut echo, &text[31..]), [Arrived::Key; 25]);
    }

    #[test]
    fn a_person_who_types_a_text_twice_is_no_echo() {
        let mut echo = Echo::default();
        for byte in b"console=ttymxc1,115200 root=/dev/mmcblk1p2 rw".repeat(2) {
            assert_eq!(echo.arrived(byte), Arrived::Key);
            // Typed text is shown.
            echo.sent(&[byte]);
        }
    }

    #[test]
    fn a_key_that_is_held_is_no_echo() {
        let mut echo = Echo::default();
        for _ in 0..1000 {
            assert_eq!(echo.arrived(b'a'), Arrived::Key);
            echo.sent(b"a");
        }
    }
}
