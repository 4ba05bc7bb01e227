//! What a tier is still to be told: invalidations from while it did not answer.
//!
//! Invariant: one that was told takes away one that is owed, so that what was invalidated anew while it was told stays
//! owed. Nothing is owed more than twice.

use crate::key::Selector;

/// How many invalidations a tier may be owed; what is more is one of everything.
const MAX_OWED: usize = 1024;

/// An invalidation that a tier could not be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// What was invalidated.
    pub selector: Selector,
    /// Whether what it selects was removed from everywhere else here.
    pub done_here: bool,
}

/// How what a tier is owed changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Owing {
    /// This could not be told.
    Owes(Selector),
    /// This is done here by now.
    DoneHere(Selector),
    /// These were told.
    Told(Vec<Selector>),
}

impl Owing {
    /// Changes what is owed, oldest first.
    pub(crate) fn apply(&self, all: &mut Vec<Owed>) {
        match self {
            // Once more where it may be being told just now, and no more than that.
            Self::Owes(selector) if all.iter().filter(|owed| owed.selector == *selector).nth(1).is_some() => {
            }
            Self::Owes(selector) if all.len() < MAX_OWED => {
                all.push(Owed { selector: selector.clone(), done_here: false });
            }
            Self::Owes(_) => *all = vec![Owed { selector: Selector::all(), done_here: false }],
            Self::DoneHere(selector) => {
                let same = all.iter_mut().filter(|owed| owed.selector == *selector);
                same.for_each(|owed| owed.done_here = true);
            }
            Self::Told(selectors) => {
                for selector in selectors {
                    if let Some(at) = all.iter().position(|owed| owed.selector == *selector) {
                        all.remove(at);
                    }
                }
            }
        }
    }
}

/// What is owed as a text: a line each, oldest first.
pub(crate) fn text(all: &[Owed]) -> String {
    let line = |owed: &Owed| format!("{}{}\n", if owed.done_here { '+' } else { '-' }, owed.selector);
    all.iter().map(line).collect()
}

/// Reads such a text. Of what cannot be read everything is owed.
pub(crate) fn parse(text: &str) -> Vec<Owed> {
    let line = |line: &str| {
        let (sign, selector) = line.split_at_checked(1)?;
        Some(Owed { selector: selector.parse().ok()?, done_here: sign == "+" })
    };
    let everything = || Owed { selector: Selector::all(), done_here: false };
    text.lines().map(|text| line(text).unwrap_or_else(everything)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[Owing]) -> String {
        let mut all = Vec::new();
        changes.iter().for_each(|change| change.apply(&mut all));
        assert_eq!(parse(&text(&all)), all);
        text(&all)
    }

    #[test]
    fn what_is_owed_is_so_until_it_is_told_as_often_as_it_came_or_twice() {
        let selectors = ["key:a/b@1/x", "any:a/b"].map(|text| text.parse::<Selector>().unwrap());
        let [x, all] = &selectors;
        let owes = |selector: &Selector| Owing::Owes(selector.clone());
        assert_eq!(after(&[owes(x), owes(all)]), "-key:a/b@1/x\n-any:a/b\n");
        assert_eq!(after(&[owes(x), Owing::DoneHere(x.clone()), owes(x)]), "+key:a/b@1/x\n-key:a/b@1/x\n");
        assert_eq!(
            after(&[owes(x), owes(all), owes(x), Owing::Told(vec![x.clone()])]),
            "-any:a/b\n-key:a/b@1/x\n"
        );
        assert_eq!(after(&vec![owes(x); 3]), "-key:a/b@1/x\n".repeat(2));
        assert_eq!(after(&[Owing::Told(selectors.to_vec())]), "");
    }

    #[test]
    fn more_than_can_be_remembered_and_what_cannot_be_read_is_everything() {
        let many = |n: usize| Owing::Owes(format!("key:a/b@1/{n}").parse().unwrap());
        let everything = text(&[Owed { selector: Selector::all(), done_here: false }]);
        assert_eq!(after(&(0..=MAX_OWED).map(many).collect::<Vec<_>>()), everything);
        for damaged in ["+\n", "+key:\n", "é\n", "\n"] {
            assert_eq!(text(&parse(damaged)), everything, "{damaged:?}");
        }
    }
}
