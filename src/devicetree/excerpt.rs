//! Texts of a tree as they are told.

use core::fmt;

/// The beginning of a text that may be long and hold anything.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

/// Characters that are shown.
const SHOWN: usize = 80;

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(SHOWN).map(|(index, _)| index);
        write!(f, "{}", self.0[..end.unwrap_or(self.0.len())].escape_debug())?;
        if end.is_some() { f.write_str("…") } else { Ok(()) }
    }
}
