//! What the go command and its cache say to each other: a line of JSON for each request and each answer, as
//! `cmd/go/internal/cacheprog` describes it. Behind a request to put comes the content, as a JSON string of base64.

use std::io::{self, BufRead, Read, Stdin, StdinLock, Stdout, Write as _};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use larder::clock::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A request has a few digests and numbers: a line that is longer is none.
const LONGEST_LINE: u64 = 64 << 10;

/// What the go command asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    #[serde(rename = "ID")]
    pub(super) id: i64,
    #[serde(rename = "Command")]
    pub(super) command: String,
    #[serde(rename = "ActionID", default, deserialize_with = "bytes")]
    pub(super) action: Vec<u8>,
    #[serde(rename = "OutputID", alias = "ObjectID", default, deserialize_with = "bytes")]
    pub(super) output: Vec<u8>,
    #[serde(rename = "BodySize", default)]
    pub(super) body_bytes: u64,
}

/// What it is answered.
#[derive(Debug, Default, Serialize)]
pub(super) struct Response {
    #[serde(rename = "ID")]
    pub(super) id: i64,
    #[serde(rename = "Err", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(rename = "KnownCommands", skip_serializing_if = "<[_]>::is_empty")]
    known: &'static [&'static str],
    #[serde(rename = "Miss", skip_serializing_if = "std::ops::Not::not")]
    miss: bool,
    #[serde(rename = "OutputID", skip_serializing_if = "Vec::is_empty", serialize_with = "base64")]
    output: Vec<u8>,
    #[serde(rename = "Size", skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(rename = "Time", skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(rename = "DiskPath", skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl Response {
    /// What is said before anything was asked.
    pub(super) fn hello() -> Self {
        Self { known: &["get", "put", "close"], ..Self::default() }
    }

    pub(super) fn to(id: i64) -> Self {
        Self { id, ..Self::default() }
    }

    pub(super) fn miss(id: i64) -> Self {
        Self { miss: true, ..Self::to(id) }
    }

    pub(super) fn failed(id: i64, why: impl ToString) -> Self {
        Self { error: Some(why.to_string()), ..Self::to(id) }
    }

    pub(super) fn put(id: i64, path: &Path) -> Self {
        Self { path: Some(path.display().to_string()), ..Self::to(id) }
    }

    /// The same as the answer to a request.
    pub(super) fn answering(self, id: i64) -> Self {
        Self { id, ..self }
    }

    /// An output of so many bytes that was put at some time.
    pub(super) fn hit(output: Vec<u8>, bytes: u64, at: Timestamp, path: &Path) -> Self {
        let at = i64::try_from(at.as_millis()).ok().and_then(chrono::DateTime::from_timestamp_millis);
        Self { output, bytes: Some(bytes), at: at.map(|at| at.to_rfc3339()), ..Self::put(0, path) }
    }
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn base64<S: Serializer>(bytes: &Vec<u8>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

/// What comes from the go command.
pub(super) struct Input(StdinLock<'static>);

impl Input {
    pub(super) fn new() -> Self {
        Self(Stdin::lock(&io::stdin()))
    }

    /// The next request; `None` where the go command ended without a word.
    pub(super) fn request(&mut self) -> anyhow::Result<Option<Request>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line);
            read.context("cannot read what the go command asks for")?;
            if line.is_empty() {
                return Ok(None);
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            return serde_json::from_slice(&line).context("the go command says what is no request").map(Some);
        }
    }

    /// What comes behind a request to put `bytes`, which is all to be read.
    pub(super) fn body(&mut self, bytes: u64) -> impl Read + '_ {
        let quoted = Quoted { input: &mut self.0, at: if bytes == 0 { At::End } else { At::Beginning } };
        Exactly { body: DecoderReader::new(quoted, &STANDARD), left: bytes }
    }
}

/// What stands between two quotation marks. base64 has none of its own.
struct Quoted<'a> {
    input: &'a mut StdinLock<'static>,
    at: At,
}

#[derive(PartialEq, Eq)]
enum At {
    Beginning,
    Inside,
    End,
}

impl Read for Quoted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.at == At::End {
                return Ok(0);
            }
            let available = self.input.fill_buf()?;
            let Some(&first) = available.first() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            match (&self.at, first) {
                (At::Beginning, b'"') => self.at = At::Inside,
                (At::Beginning, byte) if byte.is_ascii_whitespace() => {}
                (At::Beginning, _) => return Err(io::ErrorKind::InvalidData.into()),
                (_, b'"') => self.at = At::End,
                _ => {
                    let end = available.iter().position(|&byte| byte == b'"').unwrap_or(available.len());
                    let read = end.min(buffer.len());
                    buffer[..read].copy_from_slice(&available[..read]);
                    self.input.consume(read);
                    return Ok(read);
                }
            }
            self.input.consume(1);
        }
    }
}

/// A body that has to have as many bytes as were announced.
struct Exactly<R> {
    body: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) if read > 0 || left == 0 => self.left = left,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the content is not as long as announced",
                ));
            }
        }
        Ok(read)
    }
}

/// What goes to the go command.
pub(super) struct Output(Mutex<Stdout>);

impl Output {
    pub(super) fn new() -> Self {
        Self(Mutex::new(io::stdout()))
    }

    pub(super) fn say(&self, response: &Response) -> io::Result<()> {
        let mut line = serde_json::to_vec(response)?;
        line.push(b'\n');
        let mut stdout = self.0.lock();
        stdout.write_all(&line)?;
        stdout.flush()
    }
}
