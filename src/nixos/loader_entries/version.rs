//! Which of two versions is newer, by the rules of UAPI.10, the Version Format Specification.
//!
//! Own code because the crate for it, `uapi-version` 0.4, counts leading zeros as digits, so that it
//! puts `02` after `3`.

#![forbid(unsafe_code)]

use core::cmp::Ordering;

/// Compares two versions; a newer one is greater. Different texts can be equal (`1_` and `1`).
///
/// A total order on any text, in time linear in its length.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        left = without_separators(left);
        right = without_separators(right);
        let (Some(&first), Some(&second)) = (left.first(), right.first()) else {
            return end(left, right);
        };
        let order = match (first, second) {
            _ if is_mark(first) || is_mark(second) => rank(first).cmp(&rank(second)),
            _ if first.is_ascii_digit() || second.is_ascii_digit() => {
                let order = number(take(&mut left, u8::is_ascii_digit))
                    .cmp(&number(take(&mut right, u8::is_ascii_digit)));
                if order.is_eq() {
                    continue;
                }
                order
            }
            _ => {
                let order = take(&mut left, u8::is_ascii_alphabetic)
                    .cmp(take(&mut right, u8::is_ascii_alphabetic));
                if order.is_eq() {
                    continue;
                }
                order
            }
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (&left[1..], &right[1..]);
    }
}

/// At the end of at least one of them only `~` is lower than nothing.
fn end(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |rest: &[u8]| match rest.first() {
        Some(b'~') => 0,
        None => 1,
        Some(_) => 2,
    };
    rank(left).cmp(&rank(right))
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'~' | b'-' | b'^' | b'.')
}

fn rank(byte: u8) -> u8 {
    match byte {
        b'~' => 0,
        b'-' => 1,
        b'.' => 2,
        b'^' => 4,
        _ => 3,
    }
}

fn without_separators(text: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || is_mark(*byte);
    &text[text.iter().position(is_part).unwrap_or(text.len())..]
}

/// Takes the bytes that are `wanted` from the front of `text`.
fn take<'a>(text: &mut &'a [u8], wanted: fn(&u8) -> bool) -> &'a [u8] {
    let length = text.iter().take_while(|byte| wanted(byte)).count();
    let (taken, rest) = text.split_at(length);
    *text = rest;
    taken
}

/// Sorts digits by their value, however many there are.
fn number(digits: &[u8]) -> (usize, &[u8]) {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    (digits.len() - zeros, &digits[zeros..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_compare_as_the_examples_of_the_specification_say() {
        for (low, high) in [
            ("bar-123", "foo-123"),
            ("123", "123a"),
            ("123", "123.a"),
            ("123.a", "123.b"),
            ("123.a", "123a"),
            ("A", "a"),
            ("", "0"),
            ("0", "0."),
            ("0", "0.0"),
            ("1_", "1.2"),
            ("1.3.3", "1_2_3"),
            ("1+", "1.2"),
            ("1.3.3", "1+2+3"),
        ] {
            assert_eq!(compare(low, high), Ordering::Less, "{low} {high}");
        }
        for (one, other) in [("11", "11"), ("11α", "11β"), ("1_", "1"), ("_1", "1"), ("1+", "1")]
        {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn a_release_candidate_is_older_than_its_release_and_a_patch_newer() {
        assert_eq!(compare("6.18~rc3", "6.18"), Ordering::Less);
        assert_eq!(compare("6.18^p1", "6.18"), Ordering::Greater);
        assert_eq!(compare("6.18-1", "6.18.1"), Ordering::Less);
    }

    #[test]
    fn numbers_of_any_length_compare_by_value_without_leading_zeros() {
        assert_eq!(compare("Generation 9 x", "Generation 10 x"), Ordering::Less);
        assert_eq!(compare("02", "3"), Ordering::Less);
        assert_eq!(compare("007", "7"), Ordering::Equal);
        assert_eq!(compare("99999999999999999999998", "99999999999999999999999"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn any_texts_have_one_order(
            a in "[0-3a-cA~^._é -]{0,8}", b in "[0-3a-cA~^._é -]{0,8}", c in "[0-3a-cA~^._é -]{0,8}"
        ) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
