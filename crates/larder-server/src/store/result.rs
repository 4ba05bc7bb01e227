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

/// What is kept of an action.
#[derive(Debug)]
pub enum Outcome {
    /// Its result.
    Result(Box<reapi::ActionResult>),
    /// Something that only its client understands.
    Opaque(Download),
}

/// The same as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredOutcome {
    /// The message, as the protocol writes it.
    Result(Bytes),
    Opaque(Body),
}

pub(super) fn weigh(outcome: &StoredOutcome) -> u64 {
    match outcome {
        StoredOutcome::Result(message) => message.len() as u64,
        StoredOutcome::Opaque(body) => body.weight(),
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
                    let result = reapi::ActionResult::decode(message.clone())
                        .map_err(|_| StoreError::Result("it cannot be decoded"))?;
                    let is_complete = self.is_complete(scope, action.function, &result).await?;
                    return Ok(is_complete.then(|| Outcome::Result(Box::new(result))));
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
            Some(Outcome::Result(result)) => Some(*result),
            Some(Outcome::Opaque(_)) | None => None,
        })
    }

    /// Keeps the result of an action.
    pub async fn keep_result(
        &self,
        scope: &Scope,
        action: ContentId,
        result: &reapi::ActionResult,
        made: Made<'_>,
    ) -> Result<(), StoreError> {
        let shelf = self.shelf_to_put(scope)?;
        named(action.function, result)?;
        let message = Bytes::from(result.encode_to_vec());
        let key = shelf.outcome_key(action)?;
        let _turn = match made.once {
            false => None,
            true => {
                let turn = self.inner.once.turn(&shelf.outcomes, &key).await;
                // One whose contents are gone is given to nobody, so that another may take its place.
                match self.outcome(scope, action).await? {
                    Some(Outcome::Result(there)) if *there == *result => Some(turn),
                    Some(_) => return Err(StoreError::WriteOnce),
                    None => Some(turn),
                }
            }
        };
        let entry = |outcome| Computed::new(outcome).made_by(Arc::clone(made.by));
        self.replace(&shelf.outcomes, &key, (StoredOutcome::Result(message), entry), cost(result)).await
    }

    /// Ends taking something that only its client understands, which it keeps in the place of an action's result. Where
    /// things are written once it takes the place of no result; but its client may replace it, as ccache adds to its
    /// manifests.
    pub async fn keep_opaque(
        &self,
        scope: &Scope,
        action: ContentId,
        upload: Upload,
        made: Made<'_>,
    ) -> Result<(), StoreError> {
        let shelf = self.shelf_to_put(scope)?;
        let key = shelf.outcome_key(action)?;
        let Finished { body, .. } = upload.finish().await?;
        let blob = body.blob();
        let _turn = match made.once {
            false => None,
            true => {
                let turn = self.inner.once.turn(&shelf.outcomes, &key).await;
                if self.result(scope, action).await?.is_some() {
                    return Err(StoreError::WriteOnce);
                }
                Some(turn)
            }
        };
        let entry = |outcome| Computed::new(outcome).naming(blob).made_by(Arc::clone(made.by));
        self.replace(&shelf.outcomes, &key, (StoredOutcome::Opaque(body), entry), made.cost).await
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
        let bytes = self.read(scope, content_id(function, digest)?, LARGEST_TREE_BYTES).await?;
        Ok(bytes.and_then(|bytes| M::decode(bytes).ok()))
    }
}

/// Whether a result could be one that a client made: all that it names has a digest as it should be.
pub(crate) fn is_well_formed(function: Function, result: &reapi::ActionResult) -> bool {
    named(function, result).is_ok()
}

/// The contents that a result names itself.
fn named(function: Function, result: &reapi::ActionResult) -> Result<Vec<ContentId>, StoreError> {
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

fn files(function: Function, directory: &reapi::Directory) -> Result<Vec<ContentId>, StoreError> {
    directory
        .files
        .iter()
        .map(|file| file.digest.as_ref().ok_or(StoreError::Result("a file has no digest")))
        .map(|digest| content_id(function, digest?))
        .collect()
}

fn content_id(function: Function, digest: &reapi::Digest) -> Result<ContentId, StoreError> {
    let bad = StoreError::Result("a digest is not 64 hexadecimal digits and a length");
    match digest.hash.parse() {
        Ok(parsed) if digest.size_bytes >= 0 => Ok(ContentId { function, digest: parsed }),
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
