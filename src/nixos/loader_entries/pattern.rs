//! Patterns that name an entry in `loader.conf`.

#![forbid(unsafe_code)]

/// Longest pattern in bytes: twice the longest file name, which bounds the time of a comparison.
pub(super) const MAX_PATTERN: usize = 510;

/// Whether `name` is what `pattern` means: `*` any text, `?` a character, `[a-z]` one of a set, a
/// backslash the character behind it. ASCII letters match in either case, as names on FAT do.
///
/// Takes at most the product of both lengths in steps.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut rest, mut text) = (pattern, name);
    // Where to go on if it does not fit: behind the last `*`, one character further in the name.
    let mut again: Option<(&str, &str)> = None;
    loop {
        if let Some(behind) = rest.strip_prefix('*') {
            again = Some((behind, text));
            rest = behind;
            continue;
        }
        if rest.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((behind, after)) = one(rest, text) {
            (rest, text) = (behind, after);
            continue;
        }
        let Some((behind, from)) = again else { return false };
        let mut characters = from.chars();
        if characters.next().is_none() {
            return false;
        }
        again = Some((behind, characters.as_str()));
        (rest, text) = (behind, characters.as_str());
    }
}

/// Takes one character from both, if they fit.
fn one<'a>(pattern: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let mut characters = text.chars();
    let character = characters.next()?.to_ascii_lowercase();
    let mut parts = pattern.chars();
    let fits = match parts.next()? {
        '?' => true,
        '[' => {
            let (set, behind) = parts.as_str().split_once(']')?;
            parts = behind.chars();
            is_in(set, character)
        }
        '\\' => parts.next()?.to_ascii_lowercase() == character,
        literal => literal.to_ascii_lowercase() == character,
    };
    fits.then_some((parts.as_str(), characters.as_str()))
}

fn is_in(set: &str, character: char) -> bool {
    let mut characters = set.chars().map(|c| c.to_ascii_lowercase()).peekable();
    while let Some(first) = characters.next() {
        let mut last = first;
        if characters.peek() == Some(&'-') {
            characters.next();
            // A dash at the end stands for itself.
            last = match characters.next() {
                Some(last) => last,
                None => return character == first || character == '-',
            };
        }
        if (first..=last).contains(&character) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_mean_what_they_mean_in_a_shell() {
        for (pattern, name, fits) in [
            ("nixos-*", "nixos-generation-42.conf", true),
            ("nixos-*", "debian.conf", false),
            ("*-42.conf", "nixos-generation-42.conf", true),
            ("*4*.conf", "nixos-generation-42.conf", true),
            ("nixos-generation-4?.conf", "nixos-generation-42.conf", true),
            ("nixos-generation-4[1-3].conf", "nixos-generation-42.conf", true),
            ("nixos-generation-4[13-].conf", "nixos-generation-42.conf", false),
            ("NIXOS-*.CONF", "nixos-generation-42.conf", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("nixos-[", "nixos-[", false),
            ("", "", true),
            ("", "a", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in "[ab*?\\[\\]\\\\é-]{0,40}", name in "[abé-]{0,60}") {
            matches(&pattern, &name);
        }

        #[test]
        fn a_name_matches_itself_and_with_any_part_starred(
            head in "[a-z.]{0,9}", part in "[a-z.]{0,9}", tail in "[a-z.]{0,9}"
        ) {
            let name = std::format!("{head}{part}{tail}");
            prop_assert!(matches(&name, &name));
            let starred = std::format!("{head}*{tail}");
            prop_assert!(matches(&starred, &name));
        }
    }
}
