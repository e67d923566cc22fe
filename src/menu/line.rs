//! Editing one line of text: the kernel's command line, a command of the rescue prompt.
//!
//! [`LineEditor`] holds the text and knows the keys, as a shell with its usual bindings does;
//! [`LineView`] keeps it up to date on a terminal of which nothing is known but that backspace
//! moves the cursor back.

#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};

use super::{keys::Key, text::printable};

/// A text with a cursor in it.
#[derive(Debug)]
pub struct LineEditor {
    text: String,
    /// Byte index of the character under the cursor.
    cursor: usize,
    /// Longest text in bytes.
    limit: usize,
    /// First character that is shown.
    offset: usize,
}

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Changed text or cursor, or could have: a key of the editor.
    Handled,
    /// Ended the line.
    Entered,
    /// Gave it up.
    Cancelled,
    /// Nothing: not a key of the editor.
    Unbound,
}

/// What of a line is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Printable ASCII. `<` and `>` at its ends stand for more.
    pub text: String,
    /// Column of the cursor in it, counted from 0; at most the length of `text`.
    pub cursor: usize,
}

impl LineEditor {
    /// Begins with `text` (shortened to `limit` bytes if need be), the cursor at its end.
    pub fn new(text: &str, limit: usize) -> Self {
        let mut end = text.len().min(limit);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self { text: text[..end].into(), cursor: end, limit, offset: 0 }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands in front of the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Takes the text out and leaves an empty line.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        self.offset = 0;
        core::mem::take(&mut self.text)
    }

    /// Takes in a key.
    pub fn handle(&mut self, key: Key) -> Edit {
        match key {
            Key::Enter => return Edit::Entered,
            Key::Escape | Key::Control('c' | 'g') => return Edit::Cancelled,
            Key::Character(character) => self.insert(character),
            Key::Left | Key::Control('b') => self.cursor = self.before(),
            Key::Right | Key::Control('f') => self.cursor = self.behind(),
            Key::Home | Key::Control('a') => self.cursor = 0,
            Key::End | Key::Control('e') => self.cursor = self.text.len(),
            Key::Alt('b') => self.cursor = self.word_start(),
            Key::Alt('f') => self.cursor = self.word_end(),
            Key::Backspace => self.delete(self.before(), self.cursor),
            Key::Delete | Key::Control('d') => self.delete(self.cursor, self.behind()),
            Key::Control('u') => self.delete(0, self.cursor),
            Key::Control('k') => self.delete(self.cursor, self.text.len()),
            Key::Control('w') => self.delete(self.word_start(), self.cursor),
            Key::Alt('d') => self.delete(self.cursor, self.word_end()),
            _ => return Edit::Unbound,
        }
        Edit::Handled
    }

    /// What is to be seen in `width` columns, at least 3, the one behind the text included.
    /// Scrolls by a third of them at a time: each scroll sends the whole line.
    pub fn window(&mut self, width: usize) -> Window {
        let width = width.max(3);
        let length = self.text.chars().count();
        let cursor = self.text[..self.cursor].chars().count();
        let step = (width / 3).max(1);
        // The first and the last column may hold a mark instead of the text.
        while self.offset > 0 && cursor <= self.offset {
            self.offset = self.offset.saturating_sub(step);
        }
        while cursor >= self.offset + width - 1 {
            self.offset += step;
        }
        let shown = self.text.chars().skip(self.offset).take(width).enumerate();
        let text = shown
            .map(|(column, character)| {
                let more_before = column == 0 && self.offset > 0;
                let more_behind = column == width - 1 && self.offset + width < length;
                match (more_before, more_behind) {
                    (true, _) => '<',
                    (_, true) => '>',
                    _ => printable(character),
                }
            })
            .collect();
        Window { text, cursor: cursor - self.offset }
    }

    fn insert(&mut self, character: char) {
        if self.text.len() + character.len_utf8() <= self.limit {
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(index, _)| index)
    }

    fn behind(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |c| self.cursor + c.len_utf8())
    }

    fn word_start(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |blank| blank + before[blank..].chars().next().map_or(0, char::len_utf8))
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let word = rest.len() - rest.trim_start().len();
        rest[word..]
            .find(char::is_whitespace)
            .map_or(self.text.len(), |end| self.cursor + word + end)
    }
}

/// What a terminal shows of a line, so that only what changed is sent.
#[derive(Debug, Default)]
pub struct LineView {
    shown: Vec<u8>,
    cursor: usize,
}

impl LineView {
    /// Sends what makes the shown line that of `window`.
    pub fn update(&mut self, window: &Window, out: &mut Vec<u8>) {
        let want = window.text.as_bytes();
        let same = self.shown.iter().zip(want).take_while(|(shown, want)| shown == want).count();
        if same < want.len() || same < self.shown.len() {
            self.move_to(same, out);
            out.extend_from_slice(&want[same..]);
            let surplus = self.shown.len().saturating_sub(want.len());
            out.extend(core::iter::repeat_n(b' ', surplus));
            self.cursor = want.len() + surplus;
            self.shown.clear();
            self.shown.extend_from_slice(want);
        }
        self.move_to(window.cursor.min(want.len()), out);
    }

    fn move_to(&mut self, column: usize, out: &mut Vec<u8>) {
        if column < self.cursor {
            out.extend(core::iter::repeat_n(0x08, self.cursor - column));
        } else {
            out.extend_from_slice(&self.shown[self.cursor..column]);
        }
        self.cursor = column;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edited(text: &str, keys: &[Key]) -> String {
        let mut editor = LineEditor::new(text, 100);
        for &key in keys {
            assert_eq!(editor.handle(key), Edit::Handled);
        }
        let mut marked = editor.text.clone();
        marked.insert(editor.cursor, '|');
        marked
    }

    #[test]
    fn characters_go_where_the_cursor_is() {
        let keys = [Key::Left, Key::Left, Key::Character('x'), Key::Home, Key::Character('y')];
        assert_eq!(edited("abc", &keys), "y|axbc");
    }

    #[test]
    fn deletions_are_those_of_a_shell() {
        assert_eq!(edited("ab", &[Key::Backspace]), "a|");
        assert_eq!(edited("ab", &[Key::Home, Key::Delete]), "|b");
        assert_eq!(edited("ab", &[Key::Home, Key::Backspace]), "|ab");
        assert_eq!(edited("ab", &[Key::Delete]), "ab|");
        assert_eq!(edited("one two  ", &[Key::Control('w')]), "one |");
        assert_eq!(edited("one two", &[Key::Left, Key::Control('u')]), "|o");
        assert_eq!(edited("one two", &[Key::Home, Key::Right, Key::Control('k')]), "o|");
        assert_eq!(edited("one two", &[Key::Home, Key::Alt('d')]), "| two");
    }

    #[test]
    fn words_are_jumped_over() {
        assert_eq!(edited("one two", &[Key::Alt('b')]), "one |two");
        assert_eq!(edited("one two", &[Key::Control('a'), Key::Alt('f')]), "one| two");
        assert_eq!(edited("one two", &[Key::Home, Key::Control('e')]), "one two|");
    }

    #[test]
    fn letters_beyond_ascii_are_kept_whole() {
        assert_eq!(edited("aé", &[Key::Left, Key::Character('x')]), "ax|é");
        assert_eq!(edited("aé", &[Key::Backspace]), "a|");
        assert_eq!(edited("é\u{2003}b", &[Key::Control('w')]), "é\u{2003}|");
    }

    #[test]
    fn the_limit_holds() {
        let mut editor = LineEditor::new("aé", 2);
        assert_eq!(editor.text(), "a");
        editor.handle(Key::Character('b'));
        editor.handle(Key::Character('c'));
        assert_eq!(editor.text(), "ab");
    }

    #[test]
    fn a_long_line_shows_where_there_is_more() {
        let mut editor = LineEditor::new("0123456789", 100);
        assert_eq!(editor.window(6), Window { text: "<789".into(), cursor: 4 });
        editor.handle(Key::Home);
        assert_eq!(editor.window(6), Window { text: "01234>".into(), cursor: 0 });
    }

    proptest! {
        #[test]
        fn the_cursor_is_always_to_be_seen_on_what_it_stands_on(
            text in "[a-zé ]{0,40}", keys in proptest::collection::vec(0..8_usize, 0..40),
            width in 3..20_usize
        ) {
            const KEYS: [Key; 8] = [Key::Left, Key::Right, Key::Home, Key::End, Key::Backspace,
                Key::Character('x'), Key::Alt('b'), Key::Control('w')];
            let mut editor = LineEditor::new(&text, 60);
            for key in keys {
                editor.handle(KEYS[key]);
                let window = editor.window(width);
                prop_assert!(window.text.len() <= width && window.cursor < width);
                let under = editor.text[editor.cursor..].chars().next().map(printable);
                prop_assert_eq!(window.text.chars().nth(window.cursor), under);
            }
        }

        #[test]
        fn a_terminal_shows_what_the_view_was_told(
            lines in proptest::collection::vec(("[a-c ]{0,20}", 0..21_usize), 1..12)
        ) {
            let mut terminal = vt100::Parser::new(2, 40, 0);
            let mut view = LineView::default();
            for (text, cursor) in lines {
                let mut out = Vec::new();
                let window = Window { cursor: cursor.min(text.len()), text };
                view.update(&window, &mut out);
                terminal.process(&out);
                let screen = terminal.screen();
                let shown = screen.contents();
                prop_assert_eq!(shown.trim_end(), window.text.trim_end());
                prop_assert_eq!(usize::from(screen.cursor_position().1), window.cursor);
            }
        }
    }
}
