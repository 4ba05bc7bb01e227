//! What an action result says, in the place of what a command printed to its standard error.
//!
//! Each begins with the number of this layout and ends with a checksum over its name, its words and the content that
//! it names, so that one which is cut, damaged or another's is none. Nor is one that names longer pieces, or more of them,
//! than anybody writes for what it says: whoever reads them need not fear for their memory.

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use larder::clock::Timestamp;
use larder::key::{Digest, Key};
use larder::tier::{BlobForm, TierError};

use super::blob::{CONTENT_BYTES, SALT};
use super::connection::{Lane, is_denied, is_taken, unexpected};
use super::{RemoteExecution, Terms};
use crate::limits::MAX_ENVELOPE_BYTES;

/// The number of the layout.
const LAYOUT: &str = "larder remote execution 1";

/// What an action result is filed under: its digest stands in the place of an action's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn epoch() -> Self {
        Self(format!("{LAYOUT}\nepoch\n"))
    }

    pub(super) fn entry(key: &Key) -> Self {
        Self(format!("{LAYOUT}\nentry\n{key}\n"))
    }

    pub(super) fn blob(digest: Digest) -> Self {
        Self(format!("{LAYOUT}\nblob\n{digest}\n"))
    }

    pub(super) fn digest(&self, terms: Terms) -> api::Digest {
        terms.digest(self.0.as_bytes())
    }
}

/// What is said under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// The epoch now.
    Epoch(u64),
    /// An entry that was stored under an epoch and holds until then.
    Entry { epoch: u64, until: Timestamp },
    /// A blob in this form, of whose pieces each begins with so many bytes that are none of it.
    Blob { form: BlobForm, salt: usize },
    /// What was here proved bad.
    Aside,
}

/// What an action result says, and the content that it names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) says: Says,
    /// Content that is short enough to stand here.
    pub(super) inline: Vec<u8>,
    /// Content in pieces.
    pub(super) pieces: Vec<api::Digest>,
    /// Content of the blobs that an entry names: it is to be kept as long as this.
    pub(super) beside: Vec<api::Digest>,
}

impl Says {
    fn words(self) -> String {
        match self {
            Self::Epoch(epoch) => format!("1 epoch {epoch}"),
            Self::Entry { epoch, until } => format!("1 entry {epoch} {}", until.as_millis()),
            Self::Blob { form: BlobForm { packed, bytes }, salt } => {
                format!("1 blob {} {bytes} {salt}", if packed { "zstd" } else { "plain" })
            }
            Self::Aside => "1 aside".to_owned(),
        }
    }

    fn parse(words: &[&str]) -> Option<Self> {
        match words {
            ["1", "epoch", epoch] => Some(Self::Epoch(epoch.parse().ok()?)),
            ["1", "entry", epoch, until] => {
                let until = Timestamp::from_millis(until.parse().ok()?);
                Some(Self::Entry { epoch: epoch.parse().ok()?, until })
            }
            ["1", "blob", form, bytes, salt] => {
                let packed = match *form {
                    "zstd" => true,
                    "plain" => false,
                    _ => return None,
                };
                let form = BlobForm { packed, bytes: bytes.parse().ok()? };
                let salt = salt.parse().ok().filter(|&salt| salt <= SALT)?;
                Some(Self::Blob { form, salt })
            }
            ["1", "aside"] => Some(Self::Aside),
            _ => None,
        }
    }

    /// Whether this is said with such pieces: all but the last one are whole, and together they are no longer than what
    /// they are of.
    fn is_in(self, pieces: &[api::Digest]) -> bool {
        let (most, salt) = match self {
            Self::Entry { .. } => (MAX_ENVELOPE_BYTES as u64, 0),
            Self::Blob { form, salt } => (form.bytes, salt),
            Self::Epoch(_) => (0, 0),
            // Nobody reads them.
            Self::Aside => return true,
        };
        let whole = (salt + CONTENT_BYTES) as i64;
        let Some((last, others)) = pieces.split_last() else { return true };
        let is_last = (salt as i64 + 1..=whole).contains(&last.size_bytes);
        let before = (others.len() * CONTENT_BYTES) as u64;
        is_last
            && others.iter().all(|piece| piece.size_bytes == whole)
            && before + (last.size_bytes as u64 - salt as u64) <= most
    }
}

impl Statement {
    /// A statement that names no content.
    pub(super) fn bare(says: Says) -> Self {
        Self { says, inline: Vec::new(), pieces: Vec::new(), beside: Vec::new() }
    }

    fn checksum(&self, name: &Name) -> Digest {
        let mut text = format!("{}{}\n", name.0, self.says.words());
        for api::Digest { hash, size_bytes } in &self.pieces {
            text.push_str(&format!("{hash} {size_bytes}\n"));
        }
        Digest::of(text.as_bytes())
    }

    fn into_result(self, name: &Name) -> api::ActionResult {
        let words = format!("{} {}", self.says.words(), self.checksum(name));
        let named = |letter: char, content: Vec<api::Digest>| {
            let file = move |(nth, digest)| api::OutputFile {
                path: format!("{letter}{nth}"),
                digest: Some(digest),
                ..api::OutputFile::default()
            };
            content.into_iter().enumerate().map(file)
        };
        api::ActionResult {
            output_files: named('p', self.pieces).chain(named('b', self.beside)).collect(),
            stdout_raw: self.inline,
            stderr_raw: words.into_bytes(),
            ..api::ActionResult::default()
        }
    }

    fn of_result(name: &Name, result: api::ActionResult) -> Option<Self> {
        let text = String::from_utf8(result.stderr_raw).ok()?;
        let (words, checksum) = text.rsplit_once(' ')?;
        let says = Says::parse(&words.split(' ').collect::<Vec<_>>())?;
        let (mut pieces, mut beside) = (Vec::new(), Vec::new());
        for file in result.output_files {
            let list = if file.path.starts_with('p') { &mut pieces } else { &mut beside };
            list.push(file.digest?);
        }
        let statement = Self { says, inline: result.stdout_raw, pieces, beside };
        let holds = says.is_in(&statement.pieces) && statement.checksum(name).to_string() == checksum;
        holds.then_some(statement)
    }
}

/// For `fuzz/`: a statement that is read, or would be with its checksum, is written and read again as the same.
#[cfg(feature = "fuzzing")]
pub(crate) fn check_statement(name: &str, message: &[u8]) {
    use prost::Message as _;

    let name = Name(name.to_owned());
    let Ok(result) = api::ActionResult::decode(message) else { return };
    let words = String::from_utf8_lossy(&result.stderr_raw).into_owned();
    let bare = Says::parse(&words.split(' ').collect::<Vec<_>>()).map(Statement::bare);
    for statement in [bare, Statement::of_result(&name, result)].into_iter().flatten() {
        let again = Statement::of_result(&name, statement.clone().into_result(&name));
        assert_eq!(again, Some(statement));
    }
}

impl RemoteExecution {
    /// What is said under a name. What cannot be read is as good as nothing.
    pub(super) async fn stated(&self, name: &Name) -> Result<Option<Statement>, TierError> {
        let terms = self.terms().await?;
        let asks = api::GetActionResultRequest {
            instance_name: self.inner.instance.clone(),
            action_digest: Some(name.digest(terms)),
            inline_stdout: true,
            inline_stderr: true,
            digest_function: terms.function(),
            ..api::GetActionResultRequest::default()
        };
        let ask = |wire| {
            let asks = asks.clone();
            async move {
                let mut client = api::action_cache_client::ActionCacheClient::new(wire)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES);
                Ok(client.get_action_result(asks).await?.into_inner())
            }
        };
        let told = self.inner.connections.call(Lane::Small, "GetActionResult", ask).await?;
        Ok(told.and_then(|result| Statement::of_result(name, result)))
    }

    /// Says something under a name, in the place of what was said there before; a server that writes things once does
    /// not let that be. `statement` is called for each attempt.
    pub(super) async fn state(
        &self,
        name: &Name,
        statement: impl Fn() -> Statement,
    ) -> Result<(), TierError> {
        let terms = self.terms().await?;
        if self.reads_only() {
            return Err(TierError::ReadOnly);
        }
        let say = |wire| {
            let says = api::UpdateActionResultRequest {
                instance_name: self.inner.instance.clone(),
                action_digest: Some(name.digest(terms)),
                action_result: Some(statement().into_result(name)),
                digest_function: terms.function(),
                ..api::UpdateActionResultRequest::default()
            };
            async move {
                let mut client = api::action_cache_client::ActionCacheClient::new(wire)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES);
                client.update_action_result(says).await.map(drop)
            }
        };
        match self.inner.connections.call(Lane::Small, "UpdateActionResult", say).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(unexpected("UpdateActionResult: content that is named is not there")),
            Err(error) if is_denied(&error) => {
                self.only_reads();
                Err(TierError::ReadOnly)
            }
            Err(error) if is_taken(&error) => Err(TierError::ReadOnly),
            Err(error) => Err(error),
        }
    }
}

/// A longer answer is not taken.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: i64 = CONTENT_BYTES as i64;
    const ENTRY: Says = Says::Entry { epoch: 9, until: Timestamp::from_millis(7) };

    fn blob(bytes: u64, salt: usize) -> Says {
        Says::Blob { form: BlobForm { packed: true, bytes }, salt }
    }

    fn statement(says: Says, pieces: &[i64]) -> Statement {
        let digest = |size_bytes: i64| api::Digest { hash: Digest::of(b"x").to_string(), size_bytes };
        let pieces = pieces.iter().copied().map(digest).collect();
        Statement { says, inline: vec![1, 2], pieces, beside: vec![digest(1 << 60)] }
    }

    #[test]
    fn what_is_said_reads_back_under_its_name_and_under_no_other() {
        for (says, pieces) in [
            (Says::Epoch(9), [].as_slice()),
            (ENTRY, &[]),
            (ENTRY, &[WHOLE, WHOLE, 7]),
            (blob(300, 0), &[]),
            (blob(CONTENT_BYTES as u64 + 1, 16), &[WHOLE + 16, 17]),
            (Says::Aside, &[WHOLE, 7]),
        ] {
            let (name, other) = (Name::blob(Digest::of(b"a")), Name::blob(Digest::of(b"b")));
            let said = statement(says, pieces);
            let result = said.clone().into_result(&name);
            assert_eq!(Statement::of_result(&name, result.clone()), Some(said));
            assert_eq!(Statement::of_result(&other, result), None);
        }
    }

    #[test]
    fn pieces_that_nobody_writes_for_what_is_said_say_nothing() {
        let name = Name::blob(Digest::of(b"a"));
        let many = vec![WHOLE; 100_000];
        for (says, pieces) in [
            (Says::Epoch(9), [1].as_slice()),
            (ENTRY, &[1 << 60]),
            (ENTRY, &[WHOLE + 1]),
            (ENTRY, &[0]),
            (ENTRY, &[-1]),
            (ENTRY, &[1, 1]),
            (ENTRY, &[WHOLE; 9]),
            (ENTRY, &many),
            (blob(300, 0), &[301]),
            (blob(300, 16), &[16]),
            (blob(300, 17), &[20]),
            (blob(300, usize::MAX), &[20]),
            (blob(u64::MAX, 0), &[1 << 60]),
            (blob(CONTENT_BYTES as u64, 0), &[WHOLE, 1]),
        ] {
            let result = statement(says, pieces).into_result(&name);
            assert_eq!(Statement::of_result(&name, result), None, "{says:?} {}", pieces.len());
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_layout_says_nothing() {
        let name = Name::epoch();
        let result = statement(ENTRY, &[WHOLE, 7]).into_result(&name);
        for at in 0..result.stderr_raw.len() {
            let mut damaged = result.clone();
            damaged.stderr_raw[at] ^= 1;
            assert_eq!(Statement::of_result(&name, damaged), None, "byte {at}");
        }
        let mut fewer = result.clone();
        fewer.output_files.remove(0);
        assert_eq!(Statement::of_result(&name, fewer), None);
        let later = api::ActionResult { stderr_raw: b"2 aside x".to_vec(), ..result };
        assert_eq!(Statement::of_result(&name, later), None);
    }
}
