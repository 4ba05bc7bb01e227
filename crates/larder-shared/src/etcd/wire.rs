//! What is said over etcd's JSON gateway: keys and values in base64, whole numbers as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a key or a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl Bytes {
    /// As text; what is no text is none of ours.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// A whole number, which comes as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A look at one key, or at all keys from it to where the range ends.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Range {
    pub(super) key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_end: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) keys_only: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) count_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sort_order: Option<&'static str>,
}

impl Range {
    /// One key.
    pub(super) fn one(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// All keys that begin so.
    pub(super) fn below(prefix: impl Into<Bytes>) -> Self {
        let key = prefix.into();
        let range_end = Some(end_of(&key));
        Self { key, range_end, ..Self::default() }
    }

    /// The last key that begins so.
    pub(super) fn last_below(prefix: impl Into<Bytes>) -> Self {
        Self { limit: Some(1), sort_order: Some("DESCEND"), ..Self::below(prefix) }
    }

    /// How many keys begin so.
    pub(super) fn count(prefix: impl Into<Bytes>) -> Self {
        Self { count_only: true, ..Self::below(prefix) }
    }
}

/// The first key after all those that begin so.
pub(super) fn end_of(prefix: &Bytes) -> Bytes {
    let mut end = prefix.0.clone();
    // What is given ends with text, which has no byte 255.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Bytes(end)
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Put {
    pub(super) key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<i64>,
    /// Whether the answer has what was there before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) prev_kv: bool,
    /// Whether the value stays, and the lease only is another.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) ignore_value: bool,
}

impl Put {
    pub(super) fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: Some(value.into()), ..Self::default() }
    }

    /// The same, to end with a lease.
    pub(super) fn until(self, lease: i64) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// What is there already, to end with another lease.
    pub(super) fn longer(key: impl Into<Bytes>, lease: i64) -> Self {
        Self { key: key.into(), lease: Some(lease), ignore_value: true, ..Self::default() }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Delete {
    pub(super) key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_end: Option<Bytes>,
}

impl Delete {
    pub(super) fn one(key: impl Into<Bytes>) -> Op {
        Op::Delete(Self { key: key.into(), range_end: None })
    }

    pub(super) fn below(prefix: impl Into<Bytes>) -> Op {
        let key = prefix.into();
        let range_end = Some(end_of(&key));
        Op::Delete(Self { key, range_end })
    }
}

/// A step of a transaction.
#[derive(Debug, Clone, Serialize)]
pub(super) enum Op {
    #[serde(rename = "request_range")]
    Range(Range),
    #[serde(rename = "request_put")]
    Put(Put),
    #[serde(rename = "request_delete_range")]
    Delete(Delete),
    #[serde(rename = "request_txn")]
    Txn(Txn),
}

/// What has to be so for a transaction to succeed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Compare {
    key: Bytes,
    result: &'static str,
    target: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<i64>,
}

impl Compare {
    fn new(key: impl Into<Bytes>, target: &'static str, result: &'static str) -> Self {
        Self { key: key.into(), result, target, value: None, version: None, mod_revision: None }
    }

    /// The key has this value.
    pub(super) fn value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::new(key, "VALUE", "EQUAL") }
    }

    /// The key is there.
    pub(super) fn there(key: impl Into<Bytes>) -> Self {
        Self { version: Some(0), ..Self::new(key, "VERSION", "GREATER") }
    }

    /// The key was changed last in this revision; 0 for one that is not there.
    pub(super) fn changed_in(key: impl Into<Bytes>, revision: i64) -> Self {
        Self { mod_revision: Some(revision), ..Self::new(key, "MOD", "EQUAL") }
    }
}

/// Does what stands under `success` if all comparisons hold, and else what stands under `failure`: all of it or nothing.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Txn {
    pub(super) compare: Vec<Compare>,
    pub(super) success: Vec<Op>,
    pub(super) failure: Vec<Op>,
}

impl Txn {
    /// Looks at several keys, as they are at one moment.
    pub(super) fn looks(ranges: impl IntoIterator<Item = Range>) -> Self {
        Self { success: ranges.into_iter().map(Op::Range).collect(), ..Self::default() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

/// A key as it stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    #[serde(deserialize_with = "number")]
    pub(super) create_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) lease: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ranged {
    pub(super) header: Header,
    pub(super) kvs: Vec<Stored>,
    #[serde(deserialize_with = "number")]
    pub(super) count: i64,
    pub(super) more: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WasPut {
    pub(super) prev_kv: Option<Stored>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Done {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    pub(super) responses: Vec<Reply>,
}

/// What a step of a transaction says.
#[derive(Debug, Clone, Deserialize)]
pub(super) enum Reply {
    #[serde(rename = "response_range")]
    Range(Ranged),
    #[serde(rename = "response_put")]
    Put(WasPut),
    #[serde(rename = "response_delete_range")]
    Delete(serde::de::IgnoredAny),
    #[serde(rename = "response_txn")]
    Txn(Done),
}

impl Done {
    /// What its looks saw, in order.
    pub(super) fn ranges(self) -> impl Iterator<Item = Ranged> {
        self.responses.into_iter().filter_map(|reply| match reply {
            Reply::Range(ranged) => Some(ranged),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Grant {
    #[serde(rename = "TTL")]
    pub(super) seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OfLease {
    #[serde(rename = "ID")]
    pub(super) id: i64,
}

/// A lease as the server tells of it; one that is over has no time left.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Leased {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) seconds: i64,
}

/// A line of a stream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound = "T: Default + Deserialize<'de>")]
pub(super) struct Line<T> {
    pub(super) result: T,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Watch {
    pub(super) create_request: Watched,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Watched {
    pub(super) key: Bytes,
    pub(super) start_revision: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    pub(super) canceled: bool,
    pub(super) events: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Admitted {
    pub(super) token: String,
}

/// What the gateway says of a request that failed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Failed {
    pub(super) code: i64,
    pub(super) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_written_as_the_gateway_reads_it() {
        let txn = Txn {
            compare: vec![Compare::value("a", "x"), Compare::changed_in("b", 7)],
            success: vec![Op::Put(Put::new("c", "y").until(9)), Delete::below("d/")],
            failure: vec![Op::Range(Range::count("e/"))],
        };
        let expected = serde_json::json!({
            "compare": [
                {"key": "YQ==", "result": "EQUAL", "target": "VALUE", "value": "eA=="},
                {"key": "Yg==", "result": "EQUAL", "target": "MOD", "mod_revision": 7},
            ],
            "success": [
                {"request_put": {"key": "Yw==", "value": "eQ==", "lease": 9}},
                {"request_delete_range": {"key": "ZC8=", "range_end": "ZDA="}},
            ],
            "failure": [
                {"request_range": {"key": "ZS8=", "range_end": "ZTA=", "count_only": true}},
            ],
        });
        assert_eq!(serde_json::to_value(txn).unwrap(), expected);
    }

    #[test]
    fn what_the_gateway_leaves_out_is_nothing() {
        let told = r#"{"header":{"revision":"3"},"responses":[{"response_range":{"header":{}}},
            {"response_put":{}},{"response_txn":{"header":{}}}]}"#;
        let done: Done = serde_json::from_str(told).unwrap();
        assert_eq!((done.header.revision, done.succeeded, done.responses.len()), (3, false, 3));
        assert!(done.ranges().all(|ranged| ranged.kvs.is_empty() && ranged.count == 0));
        assert!(serde_json::from_str::<Stored>(r#"{"key":"no base64"}"#).is_err());
    }
}
