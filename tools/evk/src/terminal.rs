//! The board's serial line on the user's own terminal.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdin, stdout},
    time::Duration,
};

use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::session::Session;

/// Says how to leave, in the same words everywhere.
pub const HOW_TO_LEAVE: &str = "Ctrl-] or Ctrl-A X leaves.";

const CTRL_A: u8 = 0x01;
const CTRL_BRACKET: u8 = 0x1d;

/// How a session at the terminal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user left.
    Left,
    /// The board powered off, or the emulator failed: its exit code, where it has one.
    Ended(Option<i32>),
}

/// Connects the terminal with the serial line until the user leaves or the board powers off.
///
/// Where standard input is no terminal its bytes go to the board as they are; its end does not end
/// the session.
pub fn attach(session: &mut Session) -> Result<Ending> {
    let raw = RawMode::enter()?;
    let mut keys = Keys::default();
    let mut shown = 0;
    let mut open = true;
    loop {
        // What the board said before it ended is shown before the ending.
        let ended = session.ended()?;
        let patience = Duration::from_millis(10);
        match session.bytes_from(shown, patience) {
            Some(news) => {
                shown += news.len();
                stdout().write_all(&news)?;
                stdout().flush()?;
            }
            None => std::thread::sleep(patience),
        }
        if let Some(status) = ended
            && session.bytes_from(shown, Duration::ZERO).is_none_or(|rest| rest.is_empty())
        {
            drop(raw);
            return Ok(Ending::Ended(status.code()));
        }
        if ended.is_none() && open {
            match read_keys()? {
                Some(bytes) if bytes.is_empty() => open = false,
                Some(bytes) => match keys.take(&bytes) {
                    Some(typed) => session.send(typed)?,
                    None => return Ok(Ending::Left),
                },
                None => {}
            }
        }
    }
}

/// What was typed by now; `None` if nothing, empty at the end of the input.
fn read_keys() -> Result<Option<Vec<u8>>> {
    let input = stdin();
    let mut waiting = [PollFd::new(&input, PollFlags::IN)];
    if poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Ok(None);
    }
    let mut buffer = [0; 256];
    let count = rustix::io::read(&input, &mut buffer)?;
    Ok(Some(buffer[..count].to_vec()))
}

/// Looks for the keys that leave.
#[derive(Debug, Default)]
struct Keys {
    after_ctrl_a: bool,
}

impl Keys {
    /// What goes to the board; `None` to leave. Ctrl-A twice sends it once.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut typed = Vec::new();
        for &byte in bytes {
            match (std::mem::take(&mut self.after_ctrl_a), byte) {
                (_, CTRL_BRACKET) | (true, b'x' | b'X') => return None,
                (false, CTRL_A) => self.after_ctrl_a = true,
                (true, CTRL_A) => typed.push(CTRL_A),
                (true, _) => typed.extend([CTRL_A, byte]),
                (false, _) => typed.push(byte),
            }
        }
        Some(typed)
    }
}

/// The terminal passes every key as it is; set back when this value goes.
struct RawMode(Option<Termios>);

impl RawMode {
    fn enter() -> Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone; there is nobody left to tell.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            // Attributes off, cursor on, a line of its own for what comes next.
            let _ = stderr().write_all(b"\x1b[0m\x1b[?25h\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_leave_work_also_when_typed_slowly() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"ab\x01").as_deref(), Some(&b"ab"[..]));
        assert_eq!(keys.take(b"x"), None);
        assert_eq!(Keys::default().take(b"a\x1d"), None);
    }

    #[test]
    fn other_keys_behind_ctrl_a_reach_the_board() {
        assert_eq!(Keys::default().take(b"\x01\x01\x01c").as_deref(), Some(&b"\x01\x01c"[..]));
    }
}
