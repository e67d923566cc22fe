//! Key scripts: what a person at the serial line would do, as text.
//!
//! A script is a list of words, with quotes as in a shell where a word holds spaces:
//!
//! | word | meaning |
//! |---|---|
//! | `up` `down` `left` `right` `home` `end` `page-up` `page-down` `insert` `delete` | that key |
//! | `enter` `esc` `tab` `space` `backspace` | that key |
//! | `ctrl-X` | X with the control key held |
//! | one character | that key |
//! | `type:TEXT` | the characters of TEXT |
//! | `wait:TEXT` | waits until TEXT has come over the serial line |
//! | `sleep:MS` | waits so many milliseconds |
//!
//! Example: `wait:"Boots in" down e end type:" quiet" enter`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What the enter key sends.
pub const ENTER: &[u8] = b"\r";

/// A script that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(Vec<Step>);

/// One word of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Wait for this text.
    Wait(String),
    /// Wait for so long.
    Sleep(Duration),
}

impl Script {
    /// Reads a script. The error names the word that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let words = shlex::split(text).context("a quote in the key script is not closed")?;
        words.iter().map(|word| step(word)).collect::<Result<_>>().map(Self)
    }

    /// Its steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it waits before its first key.
    pub fn waits_first(&self) -> bool {
        matches!(self.0.first(), Some(Step::Wait(_)))
    }
}

fn step(word: &str) -> Result<Step> {
    if let Some(text) = word.strip_prefix("wait:") {
        return Ok(Step::Wait(text.into()));
    }
    if let Some(text) = word.strip_prefix("type:") {
        return Ok(Step::Send(text.into()));
    }
    if let Some(time) = word.strip_prefix("sleep:") {
        let milliseconds =
            time.parse().with_context(|| format!("{time:?} is not a number of milliseconds"))?;
        return Ok(Step::Sleep(Duration::from_millis(milliseconds)));
    }
    let bytes = key(word).with_context(|| format!("{word:?} is not a word of a key script"))?;
    Ok(Step::Send(bytes))
}

/// What a terminal sends for a key. Source: xterm control sequences, "PC-Style Function Keys".
fn key(name: &str) -> Result<Vec<u8>> {
    let sequence: &[u8] = match name {
        "up" => b"\x1b[A",
        "down" => b"\x1b[B",
        "right" => b"\x1b[C",
        "left" => b"\x1b[D",
        "home" => b"\x1b[H",
        "end" => b"\x1b[F",
        "insert" => b"\x1b[2~",
        "delete" => b"\x1b[3~",
        "page-up" => b"\x1b[5~",
        "page-down" => b"\x1b[6~",
        "enter" => ENTER,
        "esc" => b"\x1b",
        "tab" => b"\t",
        "space" => b" ",
        "backspace" => b"\x7f",
        _ => return other_key(name),
    };
    Ok(sequence.into())
}

fn other_key(name: &str) -> Result<Vec<u8>> {
    let letter = name.strip_prefix("ctrl-").unwrap_or(name);
    let &[byte] = letter.as_bytes() else { bail!("no key of that name") };
    Ok(vec![if letter.len() == name.len() { byte } else { byte & 0x1f }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(bytes: &[u8]) -> Step {
        Step::Send(bytes.into())
    }

    #[test]
    fn keys_texts_and_waits_are_told_apart() {
        let script = Script::parse("wait:'Boots in' down e type:\" a b\" ctrl-c enter sleep:20");
        assert_eq!(
            script.unwrap().steps(),
            [
                Step::Wait("Boots in".into()),
                send(b"\x1b[B"),
                send(b"e"),
                send(b" a b"),
                send(b"\x03"),
                send(b"\r"),
                Step::Sleep(Duration::from_millis(20)),
            ]
        );
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_it() {
        let error = Script::parse("down entre").unwrap_err();
        assert!(format!("{error:#}").contains("entre"), "{error:#}");
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(Script::parse("type:'abc").is_err());
    }
}
