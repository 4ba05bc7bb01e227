//! The stored forms of traces and grounds; `docs/format.md` describes it.
//!
//! A version byte, then postcard. Another version reads as no traces: a miss, which the next computation replaces.
//! There is no checksum, as the envelope around it has one. Paths and digests stand apart from the rest, each sort in a
//! piece: the paths that are read back share it, and a digest needs no look at each of its bytes.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Fingerprint, Ground, Observation, Question, RootPath, Source, Trace, Traces};
use crate::clock::Timestamp;
use crate::key::{Digest, KindName};

const VERSION: u8 = 3;

/// What stands before the observations of a trace.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    value: Digest,
    at_millis: u64,
    /// Of files and listings, one right after the other.
    paths: &'a [u8],
    /// Of each observation the id of the query, if it is one, and the digest that is its fingerprint, if there is one.
    digests: &'a [u8],
    /// How many observations follow.
    count: usize,
}

#[derive(Serialize, Deserialize)]
struct StoredObservation<'a> {
    #[serde(borrow)]
    source: StoredSource<'a>,
    is_there: bool,
    together: bool,
}

#[derive(Serialize, Deserialize)]
enum StoredSource<'a> {
    /// The length of the path.
    File(usize),
    Listing(usize),
    Glob(#[serde(borrow)] Vec<&'a str>),
    Variable(&'a str),
    Tool(&'a str),
    Query {
        kind: &'a str,
        version: u32,
        params: &'a [u8],
    },
}

/// Reads one thing after another.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let (taken, rest) = postcard::take_from_bytes(self.0).ok()?;
        self.0 = rest;
        Some(taken)
    }

    fn trace(&mut self) -> Option<Trace> {
        let Head { value, at_millis, paths, digests, count } = self.take()?;
        let (mut paths, mut digests) = (Paths { text: paths.into(), taken: 0 }, Digests(digests));
        // Each takes a byte at least, however many there are said to be.
        let mut observations = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            let StoredObservation { source, is_there, together } = self.take()?;
            let source = restore(source, &mut paths, &mut digests)?;
            let fingerprint = if is_there { Fingerprint::Is(digests.next()?) } else { Fingerprint::Absent };
            observations.push(Observation { source, fingerprint, together });
        }
        let at = Timestamp::from_millis(at_millis);
        let is_whole = digests.0.is_empty() && paths.taken == paths.text.len();
        is_whole.then(|| Trace { observations: observations.into(), value, at })
    }
}

/// The paths of a trace, as they are taken.
struct Paths {
    text: Arc<[u8]>,
    taken: usize,
}

impl Paths {
    fn next(&mut self, len: usize) -> Option<RootPath> {
        let path = RootPath::within(&self.text, self.taken, len)?;
        self.taken += len;
        Some(path)
    }
}

/// The digests of a trace that are not taken yet.
struct Digests<'a>(&'a [u8]);

impl Digests<'_> {
    fn next(&mut self) -> Option<Digest> {
        let (digest, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Digest::from_bytes(*digest))
    }
}

fn restore(stored: StoredSource<'_>, paths: &mut Paths, digests: &mut Digests<'_>) -> Option<Source> {
    Some(match stored {
        StoredSource::File(len) => Source::File(paths.next(len)?),
        StoredSource::Listing(len) => Source::Listing(paths.next(len)?),
        StoredSource::Glob(patterns) => Source::Glob(patterns.into_iter().map(Box::from).collect()),
        StoredSource::Variable(name) => Source::Variable(name.into()),
        StoredSource::Tool(name) => Source::Tool(name.into()),
        StoredSource::Query { kind, version, params } => {
            Source::Query(Question::new(KindName::new(kind, version).ok()?, digests.next()?, params))
        }
    })
}

/// Appends a trace.
fn store(trace: &Trace, mut to: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    let (mut paths, mut digests) = (Vec::new(), Vec::new());
    for Observation { source, fingerprint, .. } in trace.observations.iter() {
        match source {
            Source::File(path) | Source::Listing(path) => paths.extend_from_slice(path.as_bytes()),
            Source::Query(question) => digests.extend_from_slice(question.id().as_bytes()),
            Source::Glob(_) | Source::Variable(_) | Source::Tool(_) => {}
        }
        if let Fingerprint::Is(digest) = fingerprint {
            digests.extend_from_slice(digest.as_bytes());
        }
    }
    let Trace { observations, value, at } = trace;
    let (at_millis, count) = (at.as_millis(), observations.len());
    let head = Head { value: *value, at_millis, paths: &paths, digests: &digests, count };
    to = postcard::to_extend(&head, to)?;
    for Observation { source, fingerprint, together } in observations.iter() {
        let (source, is_there) = (store_source(source), *fingerprint != Fingerprint::Absent);
        to = postcard::to_extend(&StoredObservation { source, is_there, together: *together }, to)?;
    }
    Ok(to)
}

fn store_source(source: &Source) -> StoredSource<'_> {
    match source {
        Source::File(path) => StoredSource::File(path.as_bytes().len()),
        Source::Listing(path) => StoredSource::Listing(path.as_bytes().len()),
        Source::Glob(patterns) => StoredSource::Glob(patterns.iter().map(|pattern| &**pattern).collect()),
        Source::Variable(name) => StoredSource::Variable(name),
        Source::Tool(name) => StoredSource::Tool(name),
        Source::Query(question) => StoredSource::Query {
            kind: question.kind().name(),
            version: question.kind().version(),
            params: question.params(),
        },
    }
}

impl Traces {
    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let count = postcard::to_extend(&self.iter().count(), vec![VERSION])?;
        self.iter().try_fold(count, |to, trace| store(trace, to))
    }

    /// `None` if the bytes are damaged.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        if version != VERSION {
            return Some(Self::default());
        }
        let mut reader = Reader(body);
        let count: usize = reader.take()?;
        let traces: Option<Vec<Trace>> = (0..count).map(|_| reader.trace()).collect();
        reader.0.is_empty().then_some(Self::of(traces?.into_iter()))
    }
}

impl Ground {
    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let kinds: Vec<(&str, u32)> = self.kinds.iter().map(|kind| (kind.name(), kind.version())).collect();
        postcard::to_extend(&(kinds, &self.epochs), store(&self.trace, vec![VERSION])?)
    }

    /// `None` if the bytes are damaged, or of a version that is not known.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let mut reader = Reader(body);
        let trace = reader.trace()?;
        let (kinds, epochs): (Vec<(&str, u32)>, Vec<u64>) = reader.take()?;
        let kinds = kinds.into_iter().map(|(name, version)| KindName::new(name, version).ok());
        let kinds = kinds.collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self { trace, kinds, epochs, generation: 0 })
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
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

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
        assert_eq!(format!("{:.16}", Digest::of(&bytes)), "740e8dda9ce648bb");
    }

    #[test]
    fn another_version_is_a_miss_and_damage_is_an_error() {
        let mut bytes = traces().encode().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Traces::decode(&bytes[..len]), None, "{len}");
        }
        bytes.push(0);
        assert_eq!(Traces::decode(&bytes), None);
        let left_over = |paths, digests| {
            let head = Head { value: Digest::of(b"value"), at_millis: 0, paths, digests, count: 0 };
            Traces::decode(&postcard::to_extend(&(1_usize, head), vec![VERSION]).unwrap())
        };
        assert!(left_over(b"", b"").is_some());
        assert_eq!(left_over(b"path", b""), None);
        assert_eq!(left_over(b"", &[0; 32]), None);
        bytes[0] = VERSION + 1;
        assert_eq!(Traces::decode(&bytes), Some(Traces::default()));
    }

    #[test]
    fn the_stored_form_is_this_one_until_the_version_changes() {
        assert_eq!(format!("{:.16}", Digest::of(&traces().encode().unwrap())), "e5e46f604ff12b1a");
    }
}
