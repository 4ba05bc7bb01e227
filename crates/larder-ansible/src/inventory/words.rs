//! Words of a line of an INI inventory, as Python's `shlex.split(line, comments=True)` finds them.

use std::ops::Range;

/// Why a line does not split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordsError {
    /// A quotation that begins at this byte does not end.
    Quotation(usize),
    /// Nothing follows the backslash at this byte.
    Escape(usize),
}

/// A word without its quotes, and the bytes of the line that it was written with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// Splits a line. A `#` outside quotes begins a comment, also within a word.
pub(super) fn split(line: &str) -> Result<Vec<Word>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' => break,
            _ => {
                let word = word.get_or_insert_with(|| Word { text: String::new(), span: at..at });
                match c {
                    '\\' => word.text.push(chars.next().ok_or(WordsError::Escape(at))?.1),
                    '\'' => loop {
                        match chars.next().ok_or(WordsError::Quotation(at))?.1 {
                            '\'' => break,
                            c => word.text.push(c),
                        }
                    },
                    '"' => loop {
                        match chars.next().ok_or(WordsError::Quotation(at))?.1 {
                            '"' => break,
                            '\\' => match chars.next().ok_or(WordsError::Quotation(at))?.1 {
                                c @ ('"' | '\\') => word.text.push(c),
                                c => word.text.extend(['\\', c]),
                            },
                            c => word.text.push(c),
                        }
                    },
                    c => word.text.push(c),
                }
                word.span.end = chars.offset();
            }
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_escapes_and_comments_are_those_of_a_shell() {
        assert_eq!(words("a  b=1\tc='x y'z # d"), ["a", "b=1", "c=x yz"]);
        assert_eq!(words(r#"a b="x \" \\ \n" c\ d '\'"#), ["a", r#"b=x " \ \n"#, "c d", "\\"]);
        assert_eq!(words("web#1 x"), ["web"]);
        assert_eq!(words("a '' b"), ["a", "", "b"]);
        assert_eq!(words("a='#'"), ["a=#"]);
    }

    #[test]
    fn what_does_not_end_is_found_where_it_begins() {
        assert_eq!(split("a 'b"), Err(WordsError::Quotation(2)));
        assert_eq!(split("a b=\"c\\"), Err(WordsError::Quotation(4)));
        assert_eq!(split("a b\\"), Err(WordsError::Escape(3)));
    }

    #[test]
    fn a_word_knows_where_it_stands() {
        let spans: Vec<_> = split("é 'a b'=c d").unwrap().into_iter().map(|word| word.span).collect();
        assert_eq!(spans, [0..2, 3..10, 11..12]);
    }
}
