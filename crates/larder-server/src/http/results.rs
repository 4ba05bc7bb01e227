//! Reading what is put under `/ac/`: action results as messages or as JSON, which name contents, and anything else.
//!
//! A client may say more in a result than this knows of. What it names has to be there all the same.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use crate::store::{Function, named};

/// What somebody put in the place of an action's result.
#[derive(Debug)]
pub(crate) enum Put {
    /// A result, as a message.
    Result(Box<reapi::ActionResult>, Bytes),
    /// Something in which what it names is known, and not all else.
    Naming(Box<reapi::ActionResult>),
}

/// Reads an action result; `None` if it is anything else.
pub(crate) fn read(bytes: &Bytes, is_json: bool) -> Option<Put> {
    if is_json {
        return read_json(bytes);
    }
    let result = reapi::ActionResult::decode(bytes.clone()).ok()?;
    let names = named(Function::Sha256, &result).ok()?;
    // What names nothing and has fields that this does not know is another message.
    let is_one = !names.is_empty() || (!bytes.is_empty() && result.encoded_len() == bytes.len());
    is_one.then(|| Put::Result(Box::new(result), bytes.clone()))
}

fn read_json(bytes: &Bytes) -> Option<Put> {
    if let Ok(result) = serde_json::from_slice::<reapi::ActionResult>(bytes) {
        named(Function::Sha256, &result).ok()?;
        let message = result.encode_to_vec().into();
        return Some(Put::Result(Box::new(result), message));
    }
    // Fields that this does not know are an error there.
    let mut text: Value = serde_json::from_slice(bytes).ok()?;
    RESULT.prune(&mut text);
    let result = serde_json::from_value(text).ok()?;
    let names = named(Function::Sha256, &result).ok()?;
    (!names.is_empty()).then(|| Put::Naming(Box::new(result)))
}

/// Which fields of a message name contents, each with what stands there.
struct Naming(&'static [(&'static str, &'static Self)]);

static DIGEST: Naming =
    Naming(&[("hash", &Naming(&[])), ("sizeBytes", &Naming(&[])), ("size_bytes", &Naming(&[]))]);
static FILE: Naming = Naming(&[("digest", &DIGEST)]);
static DIRECTORY: Naming = Naming(&[
    ("treeDigest", &DIGEST),
    ("tree_digest", &DIGEST),
    ("rootDirectoryDigest", &DIGEST),
    ("root_directory_digest", &DIGEST),
]);
static RESULT: Naming = Naming(&[
    ("outputFiles", &FILE),
    ("output_files", &FILE),
    ("outputDirectories", &DIRECTORY),
    ("output_directories", &DIRECTORY),
    ("stdoutDigest", &DIGEST),
    ("stdout_digest", &DIGEST),
    ("stderrDigest", &DIGEST),
    ("stderr_digest", &DIGEST),
]);

impl Naming {
    /// Leaves of a value only what names contents.
    fn prune(&self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.prune(value)),
            Value::Object(fields) => fields.retain(|name, value| {
                let inner = self.0.iter().find(|(known, _)| known == name);
                inner.inspect(|(_, inner)| inner.prune(value)).is_some()
            }),
            _ => {}
        }
    }
}
