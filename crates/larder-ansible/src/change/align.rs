//! Which of the old is which of the new.
//!
//! Invariant: each is matched at most once, and the same lists give the same pairs.

use std::collections::HashMap;
use std::hash::Hash;

/// Pairs of positions, in the order of the new list. Goes by one key after the other, from the one that says most: what
/// has the same key is matched in order, as long as both sides have some left.
pub(super) fn align<T>(old: &[T], new: &[T], keys: &[&dyn Fn(&T) -> String]) -> Vec<(usize, usize)> {
    let mut found: Vec<Option<usize>> = vec![None; new.len()];
    let mut taken = vec![false; old.len()];
    for key in keys {
        let mut left: HashMap<String, Vec<usize>> = HashMap::new();
        for at in (0..old.len()).rev().filter(|&at| !taken[at]) {
            left.entry(key(&old[at])).or_default().push(at);
        }
        for (to, one) in new.iter().enumerate() {
            if found[to].is_none()
                && let Some(from) = left.get_mut(&key(one)).and_then(Vec::pop)
            {
                found[to] = Some(from);
                taken[from] = true;
            }
        }
    }
    found.into_iter().enumerate().filter_map(|(to, from)| Some((from?, to))).collect()
}

/// Which pairs stand elsewhere: those outside of a longest run of pairs in the same order on both sides.
pub(super) fn moved(pairs: &[(usize, usize)]) -> Vec<bool> {
    // The last of each shortest-ending run by length, and who comes before each (patience sorting).
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    for (at, (from, _)) in pairs.iter().enumerate() {
        let length = tails.partition_point(|&tail| pairs[tail].0 < *from);
        before[at] = length.checked_sub(1).map(|shorter| tails[shorter]);
        match tails.get_mut(length) {
            Some(tail) => *tail = at,
            None => tails.push(at),
        }
    }
    let mut moved = vec![true; pairs.len()];
    let mut at = tails.last().copied();
    while let Some(stays) = at {
        moved[stays] = false;
        at = before[stays];
    }
    moved
}

/// What is in one of two lists only: in `new`, and in `old`.
pub(super) fn differing<T: Eq + Hash + Clone>(old: &[T], new: &[T]) -> (Vec<T>, Vec<T>) {
    let only = |these: &[T], those: &[T]| {
        let those: std::collections::HashSet<&T> = those.iter().collect();
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    (only(new, old), only(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_matched_before_what_is_alike() {
        let (whole, first) = (|text: &&str| (*text).to_owned(), |text: &&str| text[..1].to_owned());
        let check = |old: &[&str], new: &[&str], pairs: &[(usize, usize)], moves: &[bool]| {
            let aligned = align(old, new, &[&whole, &first]);
            assert_eq!(aligned, pairs);
            assert_eq!(moved(&aligned), moves);
        };
        check(&["a1", "b1"], &["a1", "b1"], &[(0, 0), (1, 1)], &[false, false]);
        check(&["a1", "b1"], &["x1", "a1", "b2"], &[(0, 1), (1, 2)], &[false, false]);
        check(&["a1", "a2", "a3"], &["a3", "a4", "a1"], &[(2, 0), (1, 1), (0, 2)], &[true, true, false]);
        check(&["a1", "b1", "c1"], &["c1", "a1", "b1"], &[(2, 0), (0, 1), (1, 2)], &[true, false, false]);
        check(&["a1", "a1"], &["a1"], &[(0, 0)], &[false]);
        check(&[], &["a1"], &[], &[]);
    }
}
