//! Text as printable ASCII, cut and wrapped.
//!
//! Text from a card is shown through [`printable`] only: a menu label must not be able to send
//! escape sequences to somebody's terminal.

#![forbid(unsafe_code)]

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use crate::{
    error::Coded,
    nixos::{Broken, Generation},
};

/// Width of plain lines, on a terminal of 80.
pub(crate) const LINE_WIDTH: usize = 79;

/// The character, or a question mark if it cannot be shown everywhere.
pub(crate) fn printable(character: char) -> char {
    if matches!(character, ' '..='~') { character } else { '?' }
}

/// `text` as printable ASCII.
pub(crate) fn ascii(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// What a generation is called in a sentence.
pub(crate) fn name(generation: &Generation) -> String {
    let Some(number) = generation.number else { return ascii(&generation.title) };
    let profile = generation.profile.as_deref().map(|profile| format!("{}-", ascii(profile)));
    let name = format!("generation {}{number}", profile.unwrap_or_default());
    match &generation.specialisation {
        Some(specialisation) => format!("{name} ({})", ascii(specialisation)),
        None => name,
    }
}

/// A reason as it is shown everywhere: `[E405] the entry names no kernel`.
pub(crate) fn reason(broken: &Broken) -> String {
    format!("[{}] {}", broken.code(), ascii(&broken.reason))
}

/// ASCII `text` in at most `width` columns.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let mut short = text[..width.saturating_sub(2)].to_owned();
    short.push_str(&".."[..width.min(2)]);
    short
}

/// ASCII `text` in lines of at most `width` columns, broken at blanks where there are some.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        // A blank that falls behind the line does not count into it.
        let blank = rest[..=width].rfind(' ').filter(|&blank| blank > 0);
        let (line, behind) = match blank {
            Some(blank) => (&rest[..blank], &rest[blank + 1..]),
            None => rest.split_at(width),
        };
        lines.push(line.to_owned());
        rest = behind;
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_asked_for() {
        let long = "a".repeat(100);
        for width in 0..100 {
            assert!(shortened(&long, width).len() <= width);
        }
    }

    #[test]
    fn lines_break_at_blanks_and_within_long_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped(" abcd", 3), [" ab", "cd"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn what_cannot_be_shown_is_a_question_mark() {
        assert_eq!(ascii("caf\u{e9}\x1b[2J"), "caf??[2J");
    }
}
