//! An entry's object: what is to be known before its envelope is believed, and the envelope.
//!
//! Invariant: a header that is damaged or cut is none.

use std::sync::Arc;

use larder::clock::Timestamp;
use larder::key::{Digest, Key};

use crate::tags;

const FORMAT: &str = "larder entry 1";

/// How much of an object is read where only its header is wanted. A longer one is read whole.
pub(super) const USUAL_HEADER: u64 = 8 << 10;

/// What stands before an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: Key,
    pub(super) tags: Vec<Arc<str>>,
    /// Which log it goes by.
    pub(super) born: u64,
    /// The epoch up to which nothing in the log covers it.
    pub(super) checked: u64,
    /// Until when it is served.
    pub(super) ends: Timestamp,
}

/// What an object holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// A place that somebody claimed, and no entry.
    Claim,
    Entry(Header, &'a [u8]),
    /// Nothing that this version reads.
    Unknown,
    /// The beginning of an entry with a longer header.
    Cut,
}

/// A claim that no other is like: `mark` comes only once.
pub(super) fn claim(mark: &str) -> Vec<u8> {
    format!("{FORMAT}\nclaim {mark}\n").into_bytes()
}

pub(super) fn write(header: &Header, envelope: &[u8]) -> Vec<u8> {
    let Header { key, tags, born, checked, ends } = header;
    let tags = tags::join(tags);
    let ends = ends.as_millis();
    let mut text = format!("{FORMAT}\nkey {key}\ntags {tags}\nborn {born}\nchecked {checked}\nends {ends}\n");
    let sum = Digest::of(text.as_bytes());
    text.push_str(&format!("sum {sum}\n"));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(envelope);
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Form<'_> {
    let mut rest = bytes;
    let mut line = || {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        std::str::from_utf8(line).ok()
    };
    let Some(format) = line() else { return Form::Unknown };
    if format != FORMAT {
        return Form::Unknown;
    }
    let Some(first) = line() else { return Form::Cut };
    if first.starts_with("claim ") {
        return Form::Claim;
    }
    let (tags, born, checked, ends, sum) = (line(), line(), line(), line(), line());
    let (Some(tags), Some(born), Some(checked), Some(ends), Some(sum)) = (tags, born, checked, ends, sum)
    else {
        return Form::Cut;
    };
    let header_bytes = bytes.len() - rest.len() - sum.len() - 1;
    if sum.strip_prefix("sum ") != Some(&*Digest::of(&bytes[..header_bytes]).to_string()) {
        return Form::Unknown;
    }
    let header = || {
        let number = |line: &str, name: &str| line.strip_prefix(name)?.parse::<u64>().ok();
        Some(Header {
            key: Key::parse(first.strip_prefix("key ")?).ok()?,
            tags: tags::split(tags.strip_prefix("tags ")?),
            born: number(born, "born ")?,
            checked: number(checked, "checked ")?,
            ends: Timestamp::from_millis(number(ends, "ends ")?),
        })
    };
    header().map_or(Form::Unknown, |header| Form::Entry(header, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_and_a_damaged_or_cut_header_does_not() {
        let header = Header {
            key: Key::parse("a/b@1/x y").unwrap(),
            tags: vec!["one".into(), "two words".into()],
            born: 1,
            checked: 2,
            ends: Timestamp::from_millis(3),
        };
        let bytes = write(&header, b"\nenvelope\n");
        let header_bytes = bytes.len() - 10;
        assert_eq!(read(&bytes), Form::Entry(header.clone(), b"\nenvelope\n"));
        let untagged = Header { tags: Vec::new(), ..header };
        assert_eq!(read(&write(&untagged, b"")), Form::Entry(untagged, b""));
        for at in 0..header_bytes {
            assert!(!matches!(read(&bytes[..at]), Form::Entry(..) | Form::Claim), "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(!matches!(read(&damaged), Form::Entry(..)), "byte {at}");
        }
        assert_eq!(read(&bytes[..header_bytes - 1]), Form::Cut);
        assert_eq!(read(&claim("mark")), Form::Claim);
        assert_eq!(read(b""), Form::Unknown);
        assert_eq!(read(b"larder entry 2\nkey"), Form::Unknown);
    }
}
