//! The lines that were entered, for Up and Down.

use alloc::{collections::VecDeque, string::String};

/// Lines that are kept.
const MAX: usize = 32;

/// Lines, and which of them is on the terminal.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last one first.
    lines: VecDeque<String>,
    /// How far back the shown line is; 0 is the new one.
    back: usize,
    /// The new line, while an old one is shown in its place.
    new: String,
}

impl History {
    /// Keeps a line that was entered; the next one is new.
    pub(super) fn keep(&mut self, line: &str) {
        self.back = 0;
        self.new.clear();
        if line.trim().is_empty() || self.lines.front().is_some_and(|last| last == line) {
            return;
        }
        self.lines.truncate(MAX - 1);
        self.lines.push_front(line.into());
    }

    /// The line before the shown one, which is `shown` by now.
    pub(super) fn older(&mut self, shown: &str) -> Option<&str> {
        let line = self.lines.get(self.back)?;
        if self.back == 0 {
            self.new = shown.into();
        }
        self.back += 1;
        Some(line)
    }

    /// The line behind the shown one.
    pub(super) fn newer(&mut self) -> Option<&str> {
        self.back = self.back.checked_sub(1)?;
        Some(match self.back.checked_sub(1) {
            Some(index) => self.lines.get(index)?,
            None => &self.new,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn old_lines_come_back_and_the_new_one_is_not_lost() {
        let mut history = History::default();
        history.keep("one");
        history.keep("two");
        assert_eq!(history.older("thr"), Some("two"));
        assert_eq!(history.older("two"), Some("one"));
        assert_eq!(history.older("one"), None);
        assert_eq!(history.newer(), Some("two"));
        assert_eq!(history.newer(), Some("thr"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn blank_and_repeated_lines_are_not_kept() {
        let mut history = History::default();
        ["one", "one", " ", ""].into_iter().for_each(|line| history.keep(line));
        assert_eq!(history.older(""), Some("one"));
        assert_eq!(history.older("one"), None);
    }

    #[test]
    fn the_oldest_lines_are_forgotten() {
        let mut history = History::default();
        (0..100).for_each(|n| history.keep(&format!("{n}")));
        let count = core::iter::from_fn(|| history.older("").map(|_| ())).count();
        assert_eq!(count, MAX);
    }
}
