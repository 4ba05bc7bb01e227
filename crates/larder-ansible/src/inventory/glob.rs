//! Shell patterns, as Python's `fnmatch` reads them.
//!
//! Time is bounded by the product of both lengths: only the last `*` is ever taken back.

/// A pattern, read once and matched against many names.
#[derive(Debug)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Any,
    One,
    Char(char),
    /// Ranges of characters, ends included; whether what is in none of them is meant.
    Class(Vec<(char, char)>, bool),
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut pieces = Vec::with_capacity(chars.len());
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            at += 1;
            match c {
                '*' if matches!(pieces.last(), Some(Piece::Any)) => {}
                '*' => pieces.push(Piece::Any),
                '?' => pieces.push(Piece::One),
                '[' => match class(&chars[at..]) {
                    Some((piece, len)) => {
                        pieces.push(piece);
                        at += len;
                    }
                    None => pieces.push(Piece::Char('[')),
                },
                c => pieces.push(Piece::Char(c)),
            }
        }
        Self(pieces)
    }

    /// Whether it matches a whole name.
    pub(super) fn matches(&self, name: &str) -> bool {
        let pieces = &self.0;
        let (mut at, mut rest) = (0, name);
        // Where to go on if what follows the last star does not match here.
        let mut retry: Option<(usize, &str)> = None;
        loop {
            match (pieces.get(at), rest.chars().next()) {
                (None, None) => return true,
                (Some(Piece::Any), _) => {
                    at += 1;
                    retry = Some((at, rest));
                    continue;
                }
                (Some(piece), Some(c)) if piece.takes(c) => {
                    at += 1;
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
                _ => {}
            }
            let Some((after, from)) = retry else { return false };
            let Some(c) = from.chars().next() else { return false };
            rest = &from[c.len_utf8()..];
            at = after;
            retry = Some((after, rest));
        }
    }
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(it) => *it == c,
            Self::Class(ranges, is_negated) => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *is_negated
            }
        }
    }
}

/// The class that stands behind an opening bracket, and its length with the closing one.
fn class(chars: &[char]) -> Option<(Piece, usize)> {
    let is_negated = chars.first() == Some(&'!');
    let start = usize::from(is_negated);
    // A bracket that comes first is a member.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|&c| c == ']')?;
    let mut members = &chars[start..end];
    let mut ranges = Vec::new();
    while let Some((&low, rest)) = members.split_first() {
        if let [high, after @ ..] = rest.strip_prefix(&['-']).unwrap_or_default() {
            if low <= *high {
                ranges.push((low, *high));
            }
            members = after;
        } else {
            ranges.push((low, low));
            members = rest;
        }
    }
    Some((Piece::Class(ranges, is_negated), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (pattern, name, matches) in [
            ("web*", "web", true),
            ("web*", "dbweb", false),
            ("*.example.*", "a.example.com", true),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[c-a]", "b", false),
            ("[a", "[a", true),
            ("[!]", "[!]", true),
            ("a**b", "axxb", true),
            ("Web", "web", false),
            ("[a-]", "-", true),
            ("", "", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_length_times_the_names() {
        let pattern = "*a".repeat(1_000) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(10_000)));
    }
}
