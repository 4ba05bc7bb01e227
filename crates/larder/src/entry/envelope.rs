//! The envelope: the one form in which an entry is stored and sent. `docs/format.md` describes it byte by byte.
//!
//! Invariant: [`open`] returns only what [`seal`] was given for the same key. A changed, cut or foreign envelope
//! is an error, whichever byte it is.
//! Not here: where envelopes are kept (`tier`), what a payload means (`engine`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::compress::{self, Level};
use super::record::Record;
use crate::clock::Timestamp;
use crate::key::{Digest, Key};

const MAGIC: [u8; 4] = *b"LRDR";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 60;
const CHECKSUM_BYTES: usize = 16;

/// The largest value that an entry may hold. What is larger is a blob that the entry names.
pub const MAX_VALUE_BYTES: u64 = 1 << 30;

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Bytes that mean themselves.
    Bytes,
    /// postcard's wire format, version 1.
    Postcard,
}

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What is known about the entry.
    pub record: Record,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The value, encoded, no longer compressed.
    pub payload: Vec<u8>,
}

/// An envelope can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Too short, wrong magic, or lengths that do not add up.
    #[error("not a whole envelope")]
    Shape,
    /// A newer version wrote it.
    #[error("envelope format {found} is newer than {FORMAT}, which this version reads")]
    Format {
        /// The format that the envelope states.
        found: u16,
    },
    /// The checksum does not fit the bytes.
    #[error("checksum does not fit the bytes")]
    Checksum,
    /// It holds another key's entry.
    #[error("envelope belongs to another key")]
    Key,
    /// The value is larger than an entry may hold.
    #[error("value of {bytes} bytes is over the limit of {MAX_VALUE_BYTES}")]
    TooLarge {
        /// The value's size.
        bytes: u64,
    },
}

/// The record as it is stored: its own type, so that the working type can change.
#[derive(Serialize, Deserialize)]
struct StoredRecord<'a> {
    created_millis: u64,
    cost_nanos: u64,
    expires_millis: Option<u64>,
    tags: Vec<&'a str>,
    producer: &'a str,
    blobs: Vec<[u8; 32]>,
}

/// Puts an entry into an envelope. `payload` is the encoded value.
///
/// Cost: one pass of compression if `level` asks for it, and one of XXH3.
pub fn seal(
    key: &Key,
    record: &Record,
    codec: Codec,
    payload: &[u8],
    level: Level,
) -> Result<Vec<u8>, EnvelopeError> {
    if payload.len() as u64 > MAX_VALUE_BYTES {
        return Err(EnvelopeError::TooLarge { bytes: payload.len() as u64 });
    }
    let stored = StoredRecord {
        created_millis: record.created.as_millis(),
        cost_nanos: u64::try_from(record.cost.as_nanos()).unwrap_or(u64::MAX),
        expires_millis: record.expires.map(Timestamp::as_millis),
        tags: record.tags.iter().map(|tag| &**tag).collect(),
        producer: &record.producer,
        blobs: record.blobs.iter().map(|digest| *digest.as_bytes()).collect(),
    };
    let stored = postcard::to_stdvec(&stored).expect("plain data of bounded size always serializes");
    let packed = level.pack(payload);
    let body = packed.as_deref().unwrap_or(payload);

    let mut bytes = Vec::with_capacity(HEADER_BYTES + stored.len() + body.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.push(match codec {
        Codec::Bytes => 0,
        Codec::Postcard => 1,
    });
    bytes.push(u8::from(packed.is_some()));
    bytes.extend_from_slice(key.digest().as_bytes());
    bytes.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    debug_assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.extend_from_slice(&stored);
    bytes.extend_from_slice(body);
    let checksum = XxHash3_128::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Opens the envelope of the entry filed under `key`. Checks all of it first.
pub fn open(key: &Key, bytes: &[u8]) -> Result<Opened, EnvelopeError> {
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || bytes[..4] != MAGIC {
        return Err(EnvelopeError::Shape);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if XxHash3_128::oneshot(content).to_le_bytes() != checksum {
        return Err(EnvelopeError::Checksum);
    }
    let found = u16::from_le_bytes([content[4], content[5]]);
    if found != FORMAT {
        return Err(EnvelopeError::Format { found });
    }
    if content[8..40] != *key.digest().as_bytes() {
        return Err(EnvelopeError::Key);
    }
    let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
    let record_len = u32::from_le_bytes(content[40..44].try_into().expect("four bytes")) as usize;
    let (raw_len, body_len) = (number(44), number(52));
    let rest = &content[HEADER_BYTES..];
    if raw_len > MAX_VALUE_BYTES {
        return Err(EnvelopeError::TooLarge { bytes: raw_len });
    }
    if record_len > rest.len() || (rest.len() - record_len) as u64 != body_len {
        return Err(EnvelopeError::Shape);
    }
    let (stored, body) = rest.split_at(record_len);
    let codec = match content[6] {
        0 => Codec::Bytes,
        1 => Codec::Postcard,
        _ => return Err(EnvelopeError::Shape),
    };
    let payload = match content[7] {
        0 if raw_len == body_len => body.to_vec(),
        1 => compress::unpack(body, raw_len).map_err(|_| EnvelopeError::Shape)?,
        _ => return Err(EnvelopeError::Shape),
    };
    Ok(Opened { record: record_from(stored)?, codec, payload })
}

fn record_from(stored: &[u8]) -> Result<Record, EnvelopeError> {
    let stored: StoredRecord<'_> = postcard::from_bytes(stored).map_err(|_| EnvelopeError::Shape)?;
    Ok(Record {
        created: Timestamp::from_millis(stored.created_millis),
        cost: Duration::from_nanos(stored.cost_nanos),
        expires: stored.expires_millis.map(Timestamp::from_millis),
        tags: stored.tags.into_iter().map(Into::into).collect(),
        producer: stored.producer.into(),
        blobs: stored.blobs.into_iter().map(Digest::from_bytes).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: &str) -> Key {
        Key::parse(&format!("acme/task@3/{id}")).unwrap()
    }

    fn record() -> Record {
        Record {
            expires: Some(Timestamp::from_millis(5)),
            tags: ["a".into(), "b".into()].into(),
            producer: "ann@box".into(),
            blobs: [Digest::of(b"x")].into(),
            ..Record::new(Timestamp::from_millis(3), Duration::from_nanos(7))
        }
    }

    #[test]
    fn the_bytes_of_an_envelope_are_these_forever() {
        let sealed = seal(&key("web#build"), &record(), Codec::Bytes, b"payload", Level::OFF).unwrap();
        assert_eq!(format!("{:.16}", Digest::of(&sealed)), "fdd33425a6724986");
    }

    #[test]
    fn each_flipped_byte_and_each_cut_is_noticed() {
        let payload = b"some words, some words, ".repeat(60);
        let sealed = seal(&key("a"), &record(), Codec::Postcard, &payload, Level::FAST).unwrap();
        assert!(sealed.len() < payload.len());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 0x10;
            assert!(open(&key("a"), &bad).is_err(), "flipped at {at}");
            assert!(open(&key("a"), &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(open(&key("b"), &sealed), Err(EnvelopeError::Key));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut sealed = seal(&key("a"), &record(), Codec::Bytes, b"", Level::OFF).unwrap();
        sealed[4] = 9;
        let content = sealed.len() - CHECKSUM_BYTES;
        let checksum = XxHash3_128::oneshot(&sealed[..content]).to_le_bytes();
        sealed[content..].copy_from_slice(&checksum);
        assert_eq!(open(&key("a"), &sealed), Err(EnvelopeError::Format { found: 9 }));
    }

    proptest! {
        #[test]
        fn what_was_sealed_comes_out(payload in prop::collection::vec(any::<u8>(), 0..5000), level in 0..4) {
            let level = Level::new(level).unwrap();
            let sealed = seal(&key("a"), &record(), Codec::Bytes, &payload, level).unwrap();
            let opened = open(&key("a"), &sealed).unwrap();
            prop_assert_eq!(opened, Opened { record: record(), codec: Codec::Bytes, payload });
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = MAGIC.to_vec();
            framed.extend(bytes);
            let checksum = XxHash3_128::oneshot(&framed).to_le_bytes();
            framed.extend(checksum);
            prop_assert!(open(&key("a"), &framed).is_err());
        }
    }
}
