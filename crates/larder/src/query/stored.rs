//! The stored forms of traces and grounds; `docs/format.md` describes it.
//!
//! A version byte, then postcard. Another version reads as no traces: a miss, which the next computation replaces.
//! There is no checksum, as the envelope around it has one.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Fingerprint, Ground, Observation, Question, RootPath, Source, Trace, Traces};
use crate::clock::Timestamp;
use crate::key::{Digest, KindName};

const VERSION: u8 = 2;

#[derive(Serialize, Deserialize)]
struct StoredTrace<'a> {
    value: Digest,
    at_millis: u64,
    #[serde(borrow)]
    observations: Vec<(StoredSource<'a>, Option<Digest>, bool)>,
}

#[derive(Serialize, Deserialize)]
enum StoredSource<'a> {
    File(&'a [u8]),
    Listing(&'a [u8]),
    Glob(#[serde(borrow)] Vec<&'a str>),
    Variable(&'a str),
    Tool(&'a str),
    Query { kind: &'a str, version: u32, id: Digest, params: &'a [u8] },
}

impl Traces {
    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let stored: Vec<StoredTrace<'_>> = self.iter().map(|trace| store(trace)).collect();
        postcard::to_extend(&stored, vec![VERSION])
    }

    /// `None` if the bytes are damaged.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        if version != VERSION {
            return Some(Self::default());
        }
        let (stored, rest) = postcard::take_from_bytes::<Vec<StoredTrace<'_>>>(body).ok()?;
        let traces: Option<Vec<Trace>> = stored.into_iter().map(restore).collect();
        rest.is_empty().then_some(Self::of(traces?.into_iter()))
    }
}

fn store(trace: &Trace) -> StoredTrace<'_> {
    let fingerprint = |fingerprint| match fingerprint {
        Fingerprint::Absent => None,
        Fingerprint::Is(digest) => Some(digest),
    };
    let observations = trace.observations.iter();
    let observations =
        observations.map(|seen| (store_source(&seen.source), fingerprint(seen.fingerprint), seen.together));
    StoredTrace { value: trace.value, at_millis: trace.at.as_millis(), observations: observations.collect() }
}

fn store_source(source: &Source) -> StoredSource<'_> {
    fn bytes(path: &RootPath) -> &[u8] {
        path.as_path().as_os_str().as_bytes()
    }
    match source {
        Source::File(path) => StoredSource::File(bytes(path)),
        Source::Listing(path) => StoredSource::Listing(bytes(path)),
        Source::Glob(patterns) => StoredSource::Glob(patterns.iter().map(|pattern| &**pattern).collect()),
        Source::Variable(name) => StoredSource::Variable(name),
        Source::Tool(name) => StoredSource::Tool(name),
        Source::Query(question) => StoredSource::Query {
            kind: question.kind().name(),
            version: question.kind().version(),
            id: question.id(),
            params: question.params(),
        },
    }
}

fn restore(stored: StoredTrace<'_>) -> Option<Trace> {
    let path = |bytes| RootPath::new(OsStr::from_bytes(bytes)).ok();
    let source = |stored| {
        Some(match stored {
            StoredSource::File(file) => Source::File(path(file)?),
            StoredSource::Listing(directory) => Source::Listing(path(directory)?),
            StoredSource::Glob(patterns) => Source::Glob(patterns.into_iter().map(Box::from).collect()),
            StoredSource::Variable(name) => Source::Variable(name.into()),
            StoredSource::Tool(name) => Source::Tool(name.into()),
            StoredSource::Query { kind, version, id, params } => {
                Source::Query(Question::new(KindName::new(kind, version).ok()?, id, params))
            }
        })
    };
    let mut observations = Vec::with_capacity(stored.observations.len());
    for (seen, fingerprint, together) in stored.observations {
        let fingerprint = fingerprint.map_or(Fingerprint::Absent, Fingerprint::Is);
        observations.push(Observation { source: source(seen)?, fingerprint, together });
    }
    let at = Timestamp::from_millis(stored.at_millis);
    Some(Trace { observations: observations.into(), value: stored.value, at })
}

#[derive(Serialize, Deserialize)]
struct StoredGround<'a> {
    #[serde(borrow)]
    trace: StoredTrace<'a>,
    #[serde(borrow)]
    kinds: Vec<(&'a str, u32)>,
    epochs: Vec<u64>,
}

impl Ground {
    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let kinds = self.kinds.iter().map(|kind| (kind.name(), kind.version())).collect();
        let stored = StoredGround { trace: store(&self.trace), kinds, epochs: self.epochs.clone() };
        postcard::to_extend(&stored, vec![VERSION])
    }

    /// `None` if the bytes are damaged, or of a version that is not known.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        let (stored, rest) = postcard::take_from_bytes::<StoredGround<'_>>(body).ok()?;
        let kinds = stored.kinds.into_iter().map(|(name, version)| KindName::new(name, version).ok());
        (version == VERSION && rest.is_empty()).then_some(Self {
            trace: restore(stored.trace)?,
            kinds: kinds.collect::<Option<_>>()?,
            epochs: stored.epochs,
            generation: 0,
        })
    }
}

impl Serialize for Ground {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Ground {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Ground;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stored ground")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Ground, E> {
                Ground::decode(bytes).ok_or_else(|| E::custom("ground is damaged"))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl Serialize for Traces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Traces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Traces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("stored traces")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Traces, E> {
                Traces::decode(bytes).ok_or_else(|| E::custom("traces are damaged"))
            }
        }
        deserializer.deserialize_bytes(Bytes).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> Traces {
        let path = |path: &str| RootPath::new(path).unwrap();
        let kind = KindName::new("words", 3).unwrap();
        let sources = [
            Source::File(path("src/ü\u{1}.txt")),
            Source::File(RootPath::new(OsStr::from_bytes(b"\xff")).unwrap()),
            Source::Listing(path("")),
            Source::Glob(["**/*.txt".into(), "!x".into()].into()),
            Source::Variable("LANG".into()),
            Source::Tool("cc".into()),
            Source::Query(Question::new(kind, Digest::of(b"id"), *b"params")),
        ];
        let mut traces = Traces::default();
        for n in 0..3 {
            let observations = sources.iter().enumerate().map(|(at, source)| {
                let fingerprint =
                    if at == n { Fingerprint::Absent } else { Fingerprint::Is(Digest::of(&[at as u8])) };
                Observation { source: source.clone(), fingerprint, together: at % 2 == 1 }
            });
            let at = Timestamp::from_millis(1 << (10 * n));
            traces.add(Trace { observations: observations.collect(), value: Digest::of(&[n as u8]), at });
        }
        traces
    }

    #[test]
    fn traces_read_back_as_they_were() {
        let traces = traces();
        let bytes = postcard::to_stdvec(&traces).unwrap();
        let read: Traces = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read, traces);
        let params = |traces: &Traces| {
            traces.iter().flat_map(|trace| trace.observations.iter()).fold(Vec::new(), |mut all, seen| {
                if let Source::Query(question) = &seen.source {
                    all.push(question.params().to_vec());
                }
                all
            })
        };
        assert_eq!(params(&read), vec![b"params".to_vec(); 3]);
    }

    #[test]
    fn a_ground_reads_back_as_it_was_and_damage_is_an_error() {
        let trace = traces().iter().next().map(|trace| (**trace).clone()).unwrap();
        let kinds = vec![KindName::new("a", 1).unwrap(), KindName::new("b", 7).unwrap()];
        let ground = Ground { trace, kinds, epochs: vec![1, 1 << 40], generation: 0 };
        let bytes = postcard::to_stdvec(&ground).unwrap();
        assert_eq!(postcard::from_bytes::<Ground>(&bytes).unwrap(), ground);
        let bytes = ground.encode().unwrap();
        assert!((0..bytes.len()).all(|len| Ground::decode(&bytes[..len]).is_none()));
        assert_eq!(format!("{:.16}", Digest::of(&bytes)), "c88711a2eeaec9f8");
    }

    #[test]
    fn another_version_is_a_miss_and_damage_is_an_error() {
        let mut bytes = traces().encode().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Traces::decode(&bytes[..len]), None, "{len}");
        }
        bytes.push(0);
        assert_eq!(Traces::decode(&bytes), None);
        bytes[0] = VERSION + 1;
        assert_eq!(Traces::decode(&bytes), Some(Traces::default()));
    }

    #[test]
    fn the_stored_form_is_this_one_until_the_version_changes() {
        assert_eq!(format!("{:.16}", Digest::of(&traces().encode().unwrap())), "95ae9b4130959fe4");
    }
}
