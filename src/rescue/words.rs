//! A command's words, and how a file name becomes one.
//!
//! Blanks end a word, unless quotes are around them or a backslash is in front; what stands behind a
//! lone `--` is left as it is, because the kernel's command line has quotes of its own.

use alloc::{string::String, vec::Vec};

/// A line taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// Words that a blank follows.
    pub ended: Vec<String>,
    /// The one that is being written when the line ends.
    pub last: Option<String>,
    /// Whether a quote is open at the end of the line.
    pub open_quote: bool,
    /// What stands behind `--`.
    pub arguments: Option<&'l str>,
}

impl<'l> Line<'l> {
    /// Takes `line` apart. Total: the worst that a line can be is one word.
    pub(super) fn split(line: &'l str) -> Self {
        let mut split = Self::default();
        let mut characters = line.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => {
                    let literal = characters.next().map(|(_, literal)| literal);
                    split.last.get_or_insert_default().extend(literal);
                }
                '"' => {
                    split.open_quote ^= true;
                    split.last.get_or_insert_default();
                }
                ' ' | '\t' if !split.open_quote => {
                    if split.ends_in_dashes() {
                        split.arguments = Some(line[index..].trim());
                        break;
                    }
                    split.ended.extend(split.last.take());
                }
                _ => split.last.get_or_insert_default().push(character),
            }
        }
        if split.ends_in_dashes() {
            split.last = None;
            split.arguments.get_or_insert("");
        }
        split
    }

    /// All words.
    pub(super) fn words(self) -> Vec<String> {
        let mut words = self.ended;
        words.extend(self.last);
        words
    }

    fn ends_in_dashes(&self) -> bool {
        !self.open_quote && self.last.as_deref() == Some("--")
    }
}

/// `text` as it is typed within a word, in quotes or not.
pub(super) fn quoted(text: &str, in_quotes: bool) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        let special = match character {
            '"' | '\\' => true,
            ' ' | '\t' => !in_quotes,
            _ => false,
        };
        quoted.extend(special.then_some('\\'));
        quoted.push(character);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        Line::split(line).words()
    }

    #[test]
    fn blanks_are_between_words() {
        assert_eq!(words("  cat  a\tb "), ["cat", "a", "b"]);
        assert_eq!(words("   "), Vec::<String>::new());
    }

    #[test]
    fn a_quoted_blank_is_part_of_its_word() {
        assert_eq!(words(r#"cat "a b"c d\ e "" \""#), ["cat", "a bc", "d e", "", "\""]);
    }

    #[test]
    fn behind_two_dashes_everything_is_left_as_it_is() {
        let line = Line::split(r#"boot k --  init=/x  a="b \ c" -- d "#);
        assert_eq!(line.ended, ["boot", "k"]);
        assert_eq!(line.arguments, Some(r#"init=/x  a="b \ c" -- d"#));
        assert_eq!(Line::split("boot k --").arguments, Some(""));
        assert_eq!(Line::split("boot k ---").arguments, None);
    }

    #[test]
    fn it_tells_whether_a_word_or_a_quote_is_open() {
        assert_eq!(Line::split("cat ").last, None);
        assert_eq!(Line::split("cat /a").last.as_deref(), Some("/a"));
        let open = Line::split("cat \"/a b");
        assert_eq!((open.last.as_deref(), open.open_quote), (Some("/a b"), true));
    }

    proptest! {
        #[test]
        fn any_name_can_be_typed(name in "\\PC{1,20}", in_quotes: bool) {
            let typed = quoted(&name, in_quotes);
            let typed = if in_quotes { format!("\"{typed}\"") } else { typed };
            prop_assume!(name != "--");
            prop_assert_eq!(words(&typed), vec![name]);
        }

        #[test]
        fn any_line_can_be_taken_apart(line in "[ \\\\\"a\\-\\PC]{0,30}") {
            Line::split(&line);
        }
    }
}
