//! Bytes of a serial line to keys.
//!
//! Key sequences as xterm, the Linux console, tmux, screen and minicom send them (ECMA-48 CSI and
//! SS3 forms, see xterm's `ctlseqs`). They may arrive in pieces: a byte is judged by what came
//! before it and how long ago. Total: any bytes at any times give events, never an error.

#![forbid(unsafe_code)]

use core::{mem, time::Duration};

/// An ESC that nothing follows for this long is the Esc key. USB serial adapters hold bytes back
/// for up to 16 ms.
pub const ESCAPE_WAIT: Duration = Duration::from_millis(50);

/// A sequence that stops in its middle for this long is given up.
const SEQUENCE_WAIT: Duration = Duration::from_millis(500);

/// Longest parameter part of a CSI sequence that is understood.
const MAX_PARAMETERS: usize = 12;

const ESC: u8 = 0x1b;

/// A key that a person pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of keys")]
pub enum Key {
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    /// A printable ASCII character.
    Character(char),
    /// A printable ASCII character with Alt, or right behind Esc.
    Alt(char),
    /// A letter, in lower case, with Ctrl; those that are keys of their own excepted.
    Control(char),
}

/// What bytes turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key.
    Key(Key),
    /// The terminal's answer to the question where its cursor is, counted from 1.
    CursorAt {
        /// Row.
        row: u16,
        /// Column.
        column: u16,
    },
    /// Well-formed, but not a key that means anything here: a function key, a letter beyond ASCII.
    Unbound,
    /// Nothing that a terminal sends.
    Garbage,
}

/// The events of one byte, in order.
pub type Events = [Option<Event>; 2];

/// Turns bytes into events.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    last_byte: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Ground,
    /// Behind CR, where a LF or NUL is part of the same Enter.
    Return,
    Escape,
    Csi {
        parameters: [u8; MAX_PARAMETERS],
        length: usize,
    },
    Ss3,
    /// Behind `ESC [ [`, the Linux console's function keys.
    FunctionKey,
    Utf8 {
        missing: u8,
    },
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Ground, last_byte: Duration::ZERO }
    }
}

impl Decoder {
    /// Takes in a byte that arrived at `now`.
    pub fn push(&mut self, byte: u8, now: Duration) -> Events {
        let expired = self.poll(now);
        self.last_byte = now;
        let [first, second] = self.byte(byte);
        // Whatever expires leaves the ground state, where one byte is at most one event.
        if expired.is_some() { [expired, first] } else { [first, second] }
    }

    /// What the silence up to `now` means.
    pub fn poll(&mut self, now: Duration) -> Option<Event> {
        let silence = now.saturating_sub(self.last_byte);
        let (wait, event) = match self.state {
            State::Ground => return None,
            State::Return => (ESCAPE_WAIT, None),
            State::Escape => (ESCAPE_WAIT, Some(Event::Key(Key::Escape))),
            State::Csi { .. } | State::Ss3 | State::FunctionKey | State::Utf8 { .. } => {
                (SEQUENCE_WAIT, Some(Event::Garbage))
            }
        };
        if silence < wait {
            return None;
        }
        self.state = State::Ground;
        event
    }

    fn byte(&mut self, byte: u8) -> Events {
        match mem::replace(&mut self.state, State::Ground) {
            State::Return if matches!(byte, b'\n' | 0) => [None, None],
            State::Ground | State::Return => [self.ground(byte), None],
            State::Escape => self.behind_escape(byte),
            State::Csi { parameters, length } => self.csi(parameters, length, byte),
            State::Ss3 => match byte {
                b'M' => one(Key::Enter),
                b' '..=b'~' => [Some(letter_sequence(byte)), None],
                _ => self.broken_off(byte),
            },
            State::FunctionKey => match byte {
                b' '..=b'~' => [Some(Event::Unbound), None],
                _ => self.broken_off(byte),
            },
            State::Utf8 { missing } => match (byte, missing) {
                (0x80..=0xbf, 1) => [Some(Event::Unbound), None],
                (0x80..=0xbf, _) => {
                    self.state = State::Utf8 { missing: missing - 1 };
                    [None, None]
                }
                _ => self.broken_off(byte),
            },
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Event> {
        let key = match byte {
            b'\r' => {
                self.state = State::Return;
                Key::Enter
            }
            b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            0x08 | 0x7f => Key::Backspace,
            ESC => {
                self.state = State::Escape;
                return None;
            }
            // XON and XOFF are flow control, not keys.
            0x11 | 0x13 => return Some(Event::Unbound),
            0x01..=0x1a => Key::Control(char::from(byte | 0x60)),
            b' '..=b'~' => Key::Character(char::from(byte)),
            0xc2..=0xf4 => {
                let missing = 1 + u8::from(byte >= 0xe0) + u8::from(byte >= 0xf0);
                self.state = State::Utf8 { missing };
                return None;
            }
            _ => return Some(Event::Garbage),
        };
        Some(Event::Key(key))
    }

    fn behind_escape(&mut self, byte: u8) -> Events {
        match byte {
            b'[' => self.state = State::Csi { parameters: [0; MAX_PARAMETERS], length: 0 },
            b'O' => self.state = State::Ss3,
            b' '..=b'~' => return one(Key::Alt(char::from(byte))),
            _ => return [Some(Event::Key(Key::Escape)), self.ground(byte)],
        }
        [None, None]
    }

    fn csi(&mut self, mut parameters: [u8; MAX_PARAMETERS], length: usize, byte: u8) -> Events {
        match byte {
            b'[' if length == 0 => self.state = State::FunctionKey,
            b' '..=b'?' => {
                let Some(place) = parameters.get_mut(length) else {
                    return [Some(Event::Garbage), None];
                };
                *place = byte;
                self.state = State::Csi { parameters, length: length + 1 };
            }
            b'@'..=b'~' => return [Some(csi_event(&parameters[..length], byte)), None],
            _ => return self.broken_off(byte),
        }
        [None, None]
    }

    /// A sequence ended by a byte that does not belong to it.
    fn broken_off(&mut self, byte: u8) -> Events {
        [Some(Event::Garbage), self.ground(byte)]
    }
}

fn one(key: Key) -> Events {
    [Some(Event::Key(key)), None]
}

/// A CSI sequence: its parameters and its last byte.
fn csi_event(parameters: &[u8], last: u8) -> Event {
    let mut numbers = parameters.split(|&byte| byte == b';').map(number);
    let first = numbers.next().flatten();
    let key = match (last, first) {
        (b'R', Some(row)) => {
            return match numbers.next().flatten() {
                Some(column) => Event::CursorAt { row, column },
                None => Event::Unbound,
            };
        }
        (b'~', Some(1 | 7)) => Key::Home,
        (b'~', Some(4 | 8)) => Key::End,
        (b'~', Some(3)) => Key::Delete,
        (b'~', Some(5)) => Key::PageUp,
        (b'~', Some(6)) => Key::PageDown,
        _ => return letter_sequence(last),
    };
    Event::Key(key)
}

/// What CSI and SS3 sequences with the same last letter have in common.
fn letter_sequence(last: u8) -> Event {
    Event::Key(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return Event::Unbound,
    })
}

fn number(digits: &[u8]) -> Option<u16> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Events of bytes that arrive together, followed by silence.
    fn decode(bytes: &[u8]) -> Vec<Event> {
        decode_slowly(bytes, Duration::ZERO)
    }

    fn decode_slowly(bytes: &[u8], gap: Duration) -> Vec<Event> {
        let mut decoder = Decoder::default();
        let mut now = Duration::from_secs(1);
        let mut events = Vec::new();
        for &byte in bytes {
            events.extend(decoder.push(byte, now).into_iter().flatten());
            now += gap;
        }
        events.extend(decoder.poll(now + Duration::from_secs(1)));
        events
    }

    fn keys(bytes: &[u8]) -> Vec<Key> {
        decode(bytes)
            .into_iter()
            .map(|event| match event {
                Event::Key(key) => key,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn arrows_come_in_two_forms_and_with_modifiers() {
        for bytes in [&b"\x1b[A"[..], b"\x1bOA", b"\x1b[1;5A"] {
            assert_eq!(keys(bytes), [Key::Up]);
        }
        assert_eq!(keys(b"\x1b[B\x1b[C\x1bOD"), [Key::Down, Key::Right, Key::Left]);
    }

    #[test]
    fn home_and_end_come_in_four_forms() {
        for bytes in [&b"\x1b[H"[..], b"\x1bOH", b"\x1b[1~", b"\x1b[7~"] {
            assert_eq!(keys(bytes), [Key::Home]);
        }
        for bytes in [&b"\x1b[F"[..], b"\x1bOF", b"\x1b[4~", b"\x1b[8~"] {
            assert_eq!(keys(bytes), [Key::End]);
        }
        assert_eq!(keys(b"\x1b[5~\x1b[6~\x1b[3~"), [Key::PageUp, Key::PageDown, Key::Delete]);
    }

    #[test]
    fn every_form_of_enter_is_one_enter() {
        for bytes in [&b"\r"[..], b"\n", b"\r\n", b"\r\0", b"\x1bOM"] {
            assert_eq!(keys(bytes), [Key::Enter]);
        }
        assert_eq!(keys(b"\r\r\n\n"), [Key::Enter; 3]);
    }

    #[test]
    fn a_line_feed_long_after_a_return_is_an_enter_of_its_own() {
        assert_eq!(decode_slowly(b"\r\n", Duration::from_millis(60)).len(), 2);
    }

    #[test]
    fn both_codes_of_backspace_are_known() {
        assert_eq!(keys(b"\x08\x7f"), [Key::Backspace, Key::Backspace]);
    }

    #[test]
    fn a_lone_escape_is_a_key_only_after_a_while() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(ESC, Duration::ZERO), [None, None]);
        assert_eq!(decoder.poll(Duration::from_millis(49)), None);
        assert_eq!(decoder.poll(Duration::from_millis(50)), Some(Event::Key(Key::Escape)));
        assert_eq!(decoder.poll(Duration::from_millis(51)), None);
    }

    #[test]
    fn a_sequence_in_pieces_is_one_key() {
        assert_eq!(decode_slowly(b"\x1b[B", Duration::from_millis(40)), [Event::Key(Key::Down)]);
    }

    #[test]
    fn escape_right_before_a_character_is_alt_and_before_escape_a_key() {
        assert_eq!(keys(b"\x1bf"), [Key::Alt('f')]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        assert_eq!(keys(b"\x1b\r"), [Key::Escape, Key::Enter]);
    }

    #[test]
    fn letters_with_control_are_keys() {
        assert_eq!(keys(b"\x01\x0c"), [Key::Control('a'), Key::Control('l')]);
    }

    #[test]
    fn function_keys_pastes_and_letters_beyond_ascii_leave_nothing_behind() {
        for bytes in ["\x1b[[A", "\x1b[15~", "\x1bOP", "\x1b[200~", "\u{e9}", "\u{1f600}"] {
            assert_eq!(decode(bytes.as_bytes()), [Event::Unbound], "{bytes:?}");
        }
    }

    #[test]
    fn noise_is_garbage() {
        assert_eq!(decode(b"\0"), [Event::Garbage]);
        assert_eq!(decode(b"\xff\x80"), [Event::Garbage; 2]);
        assert_eq!(decode(b"\xc3j"), [Event::Garbage, Event::Key(Key::Character('j'))]);
        assert_eq!(decode(b"\x1b[1"), [Event::Garbage]);
        assert_eq!(decode(b"\x1b[1111111111111")[0], Event::Garbage);
    }

    #[test]
    fn the_terminals_answer_is_understood() {
        assert_eq!(decode(b"\x1b[24;80R"), [Event::CursorAt { row: 24, column: 80 }]);
        assert_eq!(decode(b"\x1b[99999;80R"), [Event::Unbound]);
    }

    proptest! {
        #[test]
        fn any_bytes_at_any_times_end_in_a_state_where_keys_work(
            bytes in proptest::collection::vec((any::<u8>(), 0..700_u64), 0..64)
        ) {
            let mut decoder = Decoder::default();
            let mut now = Duration::ZERO;
            for (byte, gap) in bytes {
                decoder.push(byte, now);
                now += Duration::from_millis(gap);
            }
            now += Duration::from_secs(1);
            decoder.poll(now);
            prop_assert_eq!(decoder.push(b'j', now), one(Key::Character('j')));
        }
    }
}
