//! Stable sorting whose code is in the firmware once, instead of five kilobytes for each type that is
//! sorted. The standard library does it, on indices.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::{cmp::Ordering, mem};

/// Sorts `list`; what compares as equal keeps its order.
pub(crate) fn sort_by<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut order: Vec<usize> = (0..list.len()).collect();
    sort_indices(&mut order, &|one, other| compare(&list[one], &list[other]));
    let mut items: Vec<Option<T>> = mem::take(list).into_iter().map(Some).collect();
    list.extend(order.into_iter().filter_map(|index| items[index].take()));
}

/// Like [`sort_by`], by what `key` makes of each item.
pub(crate) fn sort_by_key<T, K: Ord>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort_by(list, |one, other| key(one).cmp(&key(other)));
}

fn sort_indices(order: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    order.sort_by(|&one, &other| compare(one, other));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(list in proptest::collection::vec(".{0,3}", 0..60)) {
            let length = |text: &String| text.len();
            let (mut ours, mut theirs) = (list.clone(), list);
            sort_by_key(&mut ours, length);
            theirs.sort_by_key(length);
            prop_assert_eq!(ours, theirs);
        }
    }
}
