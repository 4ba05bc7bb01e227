//! Action results: what an action made, as contents that it names. Some clients keep something else of their own in the
//! place of a result.
//!
//! Invariants: a result is given only while each content that it names is there, those of its directories included.
//! What names a content that is gone is a miss, and stays: whoever runs the action anew stores both. An action has one
//! outcome, the one that came last, whatever it is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use larder::engine::Computed;
use larder::key::Scope;
use larder::stats::Place;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::content::Body;
use super::download::Download;
use super::upload::{Finished, Upload};
use super::{ContentId, Function, Made, Store, StoreError};

/// A tree or a directory that is longer than this is not looked into: what names it is not given.
const LARGEST_TREE_BYTES: u64 = 64 << 20;

/// How many directories below one result are looked into.
const MAX_DIRECTORIES: usize = 100_000;

/// A result that is longer is refused: in messages of gRPC most clients take 4 MiB.
pub(crate) const LARGEST_RESULT_BYTES: u64 = 4_000_000;

/// What is kept of an action.
#[derive(Debug)]
pub enum Outcome {
    /// Its result, and the message as it came.
    Result(Box<reapi::ActionResult>, Bytes),
    /// A result of which what it names is known, and not all else.
    Naming(Download),
    /// Something that only its client understands.
    Opaque(Download),
}

/// The same as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredOutcome {
    /// The message, as the protocol writes it.
    Result(Bytes),
    Opaque(Body),
    /// Something that only its client understands, but for what it names: that stands in a message of its own.
    Naming(Bytes, Body),
}

pub(super) fn weigh(outcome: &StoredOutcome) -> u64 {
    match outcome {
        StoredOutcome::Result(message) => message.len() as u64,
        StoredOutcome::Opaque(body) => body.weight(),
        StoredOutcome::Naming(names, body) => names.len() as u64 + body.weight(),
    }
}

impl Store {
    /// What is kept of an action, if all of it is there.
    pub async fn outcome(&self, scope: &Scope, action: ContentId) -> Result<Option<Outcome>, StoreError> {
        let shelf = self.shelf(scope)?;
        let key = shelf.outcome_key(action)?;
        for _ in 0..2 {
            let Some((entry, place)) = shelf.outcomes.get_from(&key).await else { return Ok(None) };
            match place {
                Place::Memory => self.inner.uses.note(&key),
                _ => self.found_in(scope),
            }
            match &entry.value {
                StoredOutcome::Result(message) => {
                    let result = decoded(message)?;
                    let is_complete = self.is_complete(scope, action.function, &result).await?;
                    return Ok(is_complete.then(|| Outcome::Result(Box::new(result), message.clone())));
                }
                StoredOutcome::Naming(names, body) => {
                    if !self.is_complete(scope, action.function, &decoded(names)?).await? {
                        return Ok(None);
                    }
                    if let Some(download) = self.open_body(body).await? {
                        return Ok(Some(Outcome::Naming(download)));
                    }
                }
                StoredOutcome::Opaque(body) => {
                    if let Some(download) = self.open_body(body).await? {
                        return Ok(Some(Outcome::Opaque(download)));
                    }
                }
            }
            // It was damaged here. A shared tier may have it whole.
            shelf.outcomes.set_aside(&key).await;
        }
        Ok(None)
    }

    /// The result of an action, if there is one and all that it names is there.
    pub async fn result(
        &self,
        scope: &Scope,
        action: ContentId,
    ) -> Result<Option<reapi::ActionResult>, StoreError> {
        Ok(match self.outcome(scope, action).await? {
            Some(Outcome::Result(result, _)) => Some(*result),
            Some(Outcome::Naming(_) | Outcome::Opaque(_)) | None => None,
        })
    }

    /// Begins to take what stands in the place of an action's result, of as many bytes as are announced. What is a result
    /// and is too long for one is refused as soon as that is seen; whatever is JSON is taken for one.
    pub(crate) fn upload_outcome(&self, announced: Option<u64>, is_json: bool) -> Result<Upload, StoreError> {
        let most = if is_json { LARGEST_RESULT_BYTES } else { u64::MAX };
        let limit = self.largest_bytes().min(most);
        Ok(self.upload_of_at_most(limit, Function::Blake3, announced)?.scanned())
    }

    /// The whole of what came in the place of a result, if it may be one.
    pub(crate) async fn may_be_result(
        &self,
        came: &Finished,
        is_json: bool,
    ) -> Result<Option<Bytes>, StoreError> {
        if !(is_json || came.may_be_result) || came.body.bytes() > LARGEST_RESULT_BYTES {
            return Ok(None);
        }
        match self.open_body(&came.body).await? {
            Some(download) => download.collect().await,
            None => Ok(None),
        }
    }

    /// Keeps the result of an action, as the message that it came as.
    pub async fn keep_result(
        &self,
        scope: &Scope,
        action: ContentId,
        (result, message): (&reapi::ActionResult, Bytes),
        made: Made<'_>,
    ) -> Result<(), StoreError> {
        if message.len() as u64 > LARGEST_RESULT_BYTES {
            return Err(StoreError::TooLarge { limit: LARGEST_RESULT_BYTES });
        }
        let shelf = self.shelf_to_put(scope)?;
        named(action.function, result)?;
        let key = shelf.outcome_key(action)?;
        let _turn = match made.once {
            false => None,
            true => {
                let turn = self.inner.once.turn(&shelf.outcomes, &key).await;
                // One whose contents are gone is given to nobody, so that another may take its place.
                match self.outcome(scope, action).await? {
                    Some(Outcome::Result(there, as_message))
                        if says_the_same((&there, &as_message), (result, &message)) =>
                    {
                        Some(turn)
                    }
                    Some(_) => return Err(StoreError::WriteOnce),
                    None => Some(turn),
                }
            }
        };
        let entry = |outcome| Computed::new(outcome).made_by(Arc::clone(made.by));
        self.replace(&shelf.outcomes, &key, (StoredOutcome::Result(message), entry), cost(result)).await
    }

    /// Keeps something that only its client understands in the place of an action's result, but for what it names, if that
    /// is known. Where things are written once it takes the place of no result; but what names nothing its client may
    /// replace, as ccache adds to its manifests.
    pub(crate) async fn keep_other(
        &self,
        scope: &Scope,
        action: ContentId,
        (came, names): (Finished, Option<&reapi::ActionResult>),
        made: Made<'_>,
    ) -> Result<(), StoreError> {
        let shelf = self.shelf_to_put(scope)?;
        let key = shelf.outcome_key(action)?;
        let blob = came.body.blob();
        let stored = match names {
            Some(names) => StoredOutcome::Naming(names.encode_to_vec().into(), came.body),
            None => StoredOutcome::Opaque(came.body),
        };
        let _turn = match made.once {
            false => None,
            true => {
                let turn = self.inner.once.turn(&shelf.outcomes, &key).await;
                let is_same = shelf.outcomes.kept(&key).await.is_some_and(|there| there.value == stored);
                match self.outcome(scope, action).await? {
                    Some(Outcome::Result(..) | Outcome::Naming(_)) if !is_same => {
                        return Err(StoreError::WriteOnce);
                    }
                    Some(Outcome::Opaque(_)) if names.is_some() => return Err(StoreError::WriteOnce),
                    _ => Some(turn),
                }
            }
        };
        let entry = |outcome| Computed::new(outcome).naming(blob).made_by(Arc::clone(made.by));
        self.replace(&shelf.outcomes, &key, (stored, entry), made.cost).await
    }

    /// Whether each content that a result names is there.
    async fn is_complete(
        &self,
        scope: &Scope,
        function: Function,
        result: &reapi::ActionResult,
    ) -> Result<bool, StoreError> {
        let mut contents = named(function, result)?;
        let mut directories = Vec::new();
        for directory in &result.output_directories {
            if let Some(digest) = &directory.tree_digest {
                let Some(tree) = self.message::<reapi::Tree>(scope, function, digest).await? else {
                    return Ok(false);
                };
                for directory in tree.root.iter().chain(&tree.children) {
                    contents.extend(files(function, directory)?);
                }
            }
            directories.extend(directory.root_directory_digest.clone());
        }
        let mut seen = HashSet::new();
        while let Some(digest) = directories.pop() {
            if !seen.insert(content_id(function, &digest)?) {
                continue;
            }
            if seen.len() > MAX_DIRECTORIES {
                return Ok(false);
            }
            let Some(directory) = self.message::<reapi::Directory>(scope, function, &digest).await? else {
                return Ok(false);
            };
            contents.extend(files(function, &directory)?);
            directories.extend(directory.directories.into_iter().filter_map(|node| node.digest));
        }
        let mut seen = HashSet::new();
        contents.retain(|id| seen.insert(*id));
        Ok(self.absent(scope, &contents).await?.is_empty())
    }

    /// A content that is a message; `None` if it is not there, or is none.
    async fn message<M: Message + Default>(
        &self,
        scope: &Scope,
        function: Function,
        digest: &reapi::Digest,
    ) -> Result<Option<M>, StoreError> {
        let (id, length) = content_id(function, digest)?;
        let bytes = self.read(scope, id, LARGEST_TREE_BYTES).await?;
        let bytes = bytes.filter(|bytes| bytes.len() as u64 == length);
        Ok(bytes.and_then(|bytes| M::decode(bytes).ok()))
    }
}

fn decoded(message: &Bytes) -> Result<reapi::ActionResult, StoreError> {
    reapi::ActionResult::decode(message.clone()).map_err(|_| StoreError::Result("it cannot be decoded"))
}

/// Whether two results are the same, also in what is not known of them.
fn says_the_same(a: (&reapi::ActionResult, &Bytes), b: (&reapi::ActionResult, &Bytes)) -> bool {
    let is_known = |(result, message): (&reapi::ActionResult, &Bytes)| result.encoded_len() == message.len();
    a.1 == b.1 || (a.0 == b.0 && is_known(a) && is_known(b))
}

/// The contents that a result names itself, unless it could be none that a client made.
pub(crate) fn named(
    function: Function,
    result: &reapi::ActionResult,
) -> Result<Vec<(ContentId, u64)>, StoreError> {
    let files = result.output_files.iter();
    // A file whose content stands in the result need not be anywhere else, but its digest names it all the same.
    let files = files.map(|file| file.digest.as_ref().ok_or(StoreError::Result("a file has no digest")));
    let logs = [&result.stdout_digest, &result.stderr_digest].into_iter().flatten().map(Ok);
    let trees = result
        .output_directories
        .iter()
        .flat_map(|directory| directory.tree_digest.iter().chain(&directory.root_directory_digest))
        .map(Ok);
    files.chain(logs).chain(trees).map(|digest| content_id(function, digest?)).collect()
}

fn files(function: Function, directory: &reapi::Directory) -> Result<Vec<(ContentId, u64)>, StoreError> {
    directory
        .files
        .iter()
        .map(|file| file.digest.as_ref().ok_or(StoreError::Result("a file has no digest")))
        .map(|digest| content_id(function, digest?))
        .collect()
}

/// A content's name and its length.
fn content_id(function: Function, digest: &reapi::Digest) -> Result<(ContentId, u64), StoreError> {
    let bad = StoreError::Result("a digest is not 64 hexadecimal digits and a length");
    match (digest.hash.parse(), u64::try_from(digest.size_bytes)) {
        (Ok(parsed), Ok(bytes)) => Ok((ContentId { function, digest: parsed }, bytes)),
        _ => Err(bad),
    }
}

/// How long running the action took, as far as the result says.
fn cost(result: &reapi::ActionResult) -> Duration {
    let metadata = result.execution_metadata.as_ref();
    let instant = |at: &Option<bazel_remote_apis::google::protobuf::Timestamp>| {
        let at = at.as_ref()?;
        Some(Duration::new(u64::try_from(at.seconds).ok()?, u32::try_from(at.nanos).ok()?))
    };
    metadata
        .and_then(|m| {
            let end = instant(&m.execution_completed_timestamp)?;
            end.checked_sub(instant(&m.execution_start_timestamp)?)
        })
        .unwrap_or_default()
}
