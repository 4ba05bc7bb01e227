//! Free-form arguments: `copy: src=a dest="b c"` as Ansible splits it.
//!
//! Follows `ansible.parsing.splitter` step by step, quirks included: what looks odd here is odd there.
//! Not here: which modules take free text (`action`).

use crate::plain::{Mapping, Plain};

/// Arguments that a command takes beside its text.
const COMMAND_OPTIONS: &[&str] =
    &["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline", "strip_empty_ends"];

/// Where free text goes.
pub(super) const RAW: &str = "_raw_params";

/// A quote or a template is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// The `key=value` pairs of a text. What is no pair is joined under [`RAW`]; with `is_command` that is every pair
/// but those that commands know.
pub(super) fn pairs(text: &str, is_command: bool) -> Result<Mapping, Unbalanced> {
    let mut options = Mapping::default();
    let mut raw: Vec<String> = Vec::new();
    for written in words(text)? {
        let word = decoded(&written);
        match assignment(&word) {
            Assignment::None => raw.push(written),
            Assignment::Escaped => raw.push(word.replace("\\=", "=")),
            Assignment::At(at) => {
                let (key, value) = (&word[..at], &word[at + 1..]);
                if is_command && !COMMAND_OPTIONS.contains(&key) {
                    raw.push(written);
                } else {
                    options.set(key.trim(), Plain::text(unquoted(value.trim())));
                }
            }
        }
    }
    if !raw.is_empty() {
        options.set(RAW, Plain::text(joined(&raw)));
    }
    Ok(options)
}

/// The first word of a text and the rest.
pub(super) fn first_word(text: &str) -> Result<(String, String), Unbalanced> {
    let words = words(text)?;
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Ok((first.trim().to_owned(), rest.join(" ")))
}

enum Assignment {
    None,
    /// Every equals sign has a backslash before it.
    Escaped,
    At(usize),
}

fn assignment(word: &str) -> Assignment {
    if !word.contains('=') {
        return Assignment::None;
    }
    // The first character is no candidate: `=x` is no pair.
    let found = word.match_indices('=').map(|(at, _)| at).find(|&at| at > 0 && !word[..at].ends_with('\\'));
    found.map_or(Assignment::Escaped, Assignment::At)
}

/// Words with the blanks put back where they were.
fn joined(words: &[String]) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.ends_with('\\')) {
            return inner;
        }
    }
    text
}

/// Escapes as Python knows them, by code and by letter. By name (`\N{DASH}`) they stay.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (c, length) = escape(&rest[at + 1..]).unwrap_or(('\\', 0));
        out.push(c);
        rest = &rest[at + 1 + length..];
    }
    out.push_str(rest);
    out
}

/// What an escape stands for, and how long it is after its backslash.
fn escape(text: &str) -> Option<(char, usize)> {
    let code = |digits: usize| {
        let hex = text.get(1..=digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, digits + 1))
    };
    let simple = |c: char| Some((c, 1));
    match text.chars().next()? {
        'U' => code(8),
        'u' => code(4),
        'x' => code(2),
        c @ ('\\' | '\'' | '"') => simple(c),
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\u{b}'),
        _ => None,
    }
}

/// What is open while a text is split.
#[derive(Default)]
struct Open {
    quote: Option<char>,
    print: usize,
    block: usize,
    comment: usize,
}

impl Open {
    fn template(&self) -> bool {
        self.print + self.block + self.comment > 0
    }
}

/// Splits at blanks that are in no quotes and in no template.
fn words(text: &str) -> Result<Vec<String>, Unbalanced> {
    let mut words: Vec<String> = Vec::new();
    let mut open = Open::default();
    let lines: Vec<&str> = text.split('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let mut continues = false;
        for (n, token) in line.split(' ').enumerate() {
            if token.is_empty() && n != 0 {
                last(&mut words).push(' ');
            } else if token == "\\" && open.quote.is_none() {
                continues = true;
            } else {
                open.take(token, n, &mut words);
            }
        }
        if number + 1 < lines.len() && !continues {
            last(&mut words).push('\n');
        }
    }
    if open.template() || open.quote.is_some() { Err(Unbalanced) } else { Ok(words) }
}

impl Open {
    /// Adds a token: to the last word if that is still open, else as a word of its own.
    fn take(&mut self, token: &str, n: usize, words: &mut Vec<String>) {
        let was_quoted = self.quote.is_some();
        self.quote = quote_after(token, self.quote);
        let is_quoted = self.quote.is_some();
        let mut taken = false;
        if is_quoted && !was_quoted && !self.template() {
            words.push(token.to_owned());
            taken = true;
        } else if self.template() || is_quoted || was_quoted {
            let last = last(words);
            if n > 0 || !was_quoted {
                last.push_str(if n > 0 { " " } else { "" });
            }
            last.push_str(token);
            taken = true;
        }
        for (depth, begin, end) in
            [(&mut self.print, "{{", "}}"), (&mut self.block, "{%", "%}"), (&mut self.comment, "{#", "#}")]
        {
            let before = *depth;
            *depth = (before + token.matches(begin).count()).saturating_sub(token.matches(end).count());
            if *depth != before && !taken {
                words.push(token.to_owned());
                taken = true;
            }
        }
        if !self.template() && !is_quoted && !taken && !token.is_empty() {
            words.push(token.to_owned());
        }
    }
}

/// The quote that is open after a token.
fn quote_after(token: &str, mut quote: Option<char>) -> Option<char> {
    let mut previous = None;
    for c in token.chars() {
        if matches!(c, '"' | '\'') && previous != Some('\\') {
            match quote {
                Some(open) if open == c => quote = None,
                Some(_) => {}
                None => quote = Some(c),
            }
        }
        previous = Some(c);
    }
    quote
}

fn last(words: &mut Vec<String>) -> &mut String {
    if words.is_empty() {
        words.push(String::new());
    }
    words.last_mut().expect("there is one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_command: bool, expected: &str) {
        let shown = pairs(text, is_command).map(|pairs| serde_json::to_string(&pairs).unwrap());
        assert_eq!(shown.as_deref().unwrap_or("unbalanced"), expected, "of {text:?}");
    }

    #[test]
    fn pairs_are_split_as_ansible_splits_them() {
        check("src=a dest=b", false, r#"{"src":"a","dest":"b"}"#);
        check("a=b c=\"foo bar\"", false, r#"{"a":"b","c":"foo bar"}"#);
        check("msg='it''s' x=1", false, r#"{"msg":"it''s","x":"1"}"#);
        check("name={{ item.name }} state=present", false, r#"{"name":"{{ item.name }}","state":"present"}"#);
        check("a={{ x | default('y z') }}b c=d", false, r#"{"a":"{{ x | default('y z') }}b","c":"d"}"#);
        check("path=/a\n  mode=0644", false, r#"{"path":"/a","mode":"0644"}"#);
        check("x=a\\=b", false, r#"{"x":"a\\=b"}"#);
        check("plain words", false, r#"{"_raw_params":"plain words"}"#);
    }

    #[test]
    fn a_command_keeps_its_text_and_gives_up_its_options() {
        check("ls -l  /tmp chdir=/x", true, r#"{"chdir":"/x","_raw_params":"ls -l  /tmp"}"#);
        check("env A=b make", true, r#"{"_raw_params":"env A=b make"}"#);
        check("echo a\necho b", true, r#"{"_raw_params":"echo a\necho b"}"#);
        check("echo 'a b' creates='/x y'", true, r#"{"creates":"/x y","_raw_params":"echo 'a b'"}"#);
    }

    #[test]
    fn what_is_not_closed_is_no_list_of_words() {
        for text in ["a='b", "a={{ b", "x {% if"] {
            check(text, false, "unbalanced");
        }
    }
}
