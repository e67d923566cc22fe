//! What a word can become.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

/// Candidates that are shown; the others are counted.
const MAX_SHOWN: usize = 60;

/// Finds what all candidates for a word have in common. A directory may offer 50,000 of them; only
/// the first few are kept.
#[derive(Debug)]
pub struct Completion {
    word: String,
    /// How all candidates begin; nothing if there is none.
    common: Option<String>,
    count: usize,
    shown: Vec<String>,
}

impl Completion {
    /// For `word`, which is not quoted.
    pub fn new(word: &str) -> Self {
        Self { word: word.to_owned(), common: None, count: 0, shown: Vec::new() }
    }

    /// Offers a candidate: the whole word that it would become. One that begins otherwise than the
    /// word is none. `name` is what is shown of it.
    pub fn offer(&mut self, candidate: &str, name: &str) {
        if !candidate.starts_with(&self.word) {
            return;
        }
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(name.to_owned());
        }
        match &mut self.common {
            None => self.common = Some(candidate.to_owned()),
            Some(common) => {
                let same = common.chars().zip(candidate.chars()).take_while(|(a, b)| a == b);
                let length = same.map(|(character, _)| character.len_utf8()).sum();
                common.truncate(length);
            }
        }
    }

    /// What all candidates add to the word, and whether it is complete then.
    pub(super) fn addition(&self) -> Option<(&str, bool)> {
        let addition = self.common.as_deref()?.get(self.word.len()..)?;
        // What a directory or a volume holds is the next thing to be typed.
        let complete = self.count == 1 && !self.common.as_deref()?.ends_with(['/', ':']);
        Some((addition, complete))
    }

    /// The candidates as a person reads them.
    pub(super) fn list(&self) -> String {
        let mut list = self.shown.join("  ");
        if self.count > self.shown.len() {
            list.push_str(&format!("  and {} more", self.count - self.shown.len()));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(word: &str, candidates: &[&str]) -> Completion {
        let mut completion = Completion::new(word);
        candidates.iter().for_each(|candidate| completion.offer(candidate, candidate));
        completion
    }

    #[test]
    fn a_single_candidate_completes_the_word() {
        assert_eq!(completion("/Im", &["/Image", "/other"]).addition(), Some(("age", true)));
    }

    #[test]
    fn a_directory_or_a_volume_leaves_it_open() {
        assert_eq!(completion("/ni", &["/nixos/"]).addition(), Some(("xos/", false)));
        assert_eq!(completion("s", &["sd1:"]).addition(), Some(("d1:", false)));
    }

    #[test]
    fn several_candidates_add_what_they_have_in_common() {
        assert_eq!(completion("/k", &["/k41", "/k42"]).addition(), Some(("4", false)));
        assert_eq!(completion("/k4", &["/k41", "/k42"]).addition(), Some(("", false)));
        assert_eq!(completion("/", &["/\u{e4}", "/\u{e5}"]).addition(), Some(("", false)));
    }

    #[test]
    fn no_candidate_adds_nothing() {
        assert_eq!(completion("/x", &["/Image"]).addition(), None);
    }

    #[test]
    fn a_crowd_is_counted() {
        let mut completion = Completion::new("");
        let names = (0..50_000_u32).map(|n| alloc::format!("{n}"));
        names.for_each(|name| completion.offer(&name, &name));
        assert!(completion.list().ends_with("  59  and 49940 more"));
    }
}
