//! The Remote Execution API's cache, version 2: capabilities, action cache, contents, byte streams.
//!
//! An instance name is a scope; none is the scope of the request's path, or the default one. See the protocol's own description,
//! `build/bazel/remote/execution/v2/remote_execution.proto`, and `google/bytestream/bytestream.proto`.

mod action_cache;
mod byte_stream;
mod capabilities;
mod contents;
mod names;

#[cfg(feature = "fuzzing")]
pub(crate) use self::names::check as check_name;
use std::error::Error;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_server::ActionCacheServer;
use bazel_remote_apis::build::bazel::remote::execution::v2::capabilities_server::CapabilitiesServer;
use bazel_remote_apis::build::bazel::remote::execution::v2::content_addressable_storage_server::ContentAddressableStorageServer;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStreamServer;
use larder::key::Scope;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::guard::{Asker, Deed, Denied, Outcome};
use crate::store::{ContentId, Function, Store, StoreError};

/// How many bytes of contents one batch may have, and of directories one page of a tree. Most clients take 4 MiB in a
/// message, in which there is room for what stands around them.
const MAX_BATCH_BYTES: u64 = 4_000_000;

/// How long a message may be that comes.
const MAX_MESSAGE_BYTES: usize = 5 << 20;

/// The services over one store.
#[derive(Clone, Debug)]
struct Rpc {
    store: Store,
}

/// The routes of all services.
pub(crate) fn routes(store: Store) -> Routes {
    let rpc = Rpc { store };
    Routes::new(CapabilitiesServer::new(rpc.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ActionCacheServer::new(rpc.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(
            ContentAddressableStorageServer::new(rpc.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(ByteStreamServer::new(rpc).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

impl Rpc {
    /// Who asks, in the scope that an instance name means, if they may do this there.
    fn asker<T>(&self, instance: &str, request: &Request<T>, deed: Deed) -> Result<Asker, Status> {
        let asker = request.extensions().get::<Asker>().cloned();
        let asker = asker.ok_or_else(|| Status::unauthenticated("no token"))?;
        let asker = if instance.is_empty() {
            asker
        } else {
            asker.within(Scope::new(instance).map_err(|error| invalid(&error))?)
        };
        asker.may(deed).map_err(denied)?;
        Ok(asker)
    }
}

/// Which function a request means. Clients of version 2.0 do not say.
fn function(value: i32) -> Result<Function, Status> {
    use reapi::digest_function::Value;
    match Value::try_from(value) {
        Ok(Value::Unknown | Value::Sha256) => Ok(Function::Sha256),
        Ok(Value::Blake3) => Ok(Function::Blake3),
        _ => Err(Status::invalid_argument("digest function is neither SHA256 nor BLAKE3")),
    }
}

/// A digest and its length, checked.
fn content_id(function: Function, digest: Option<&reapi::Digest>) -> Result<(ContentId, u64), Status> {
    let digest = digest.ok_or_else(|| Status::invalid_argument("a digest is missing"))?;
    let parsed = digest.hash.parse().map_err(|error| invalid(&error))?;
    let bytes = u64::try_from(digest.size_bytes)
        .map_err(|_| Status::invalid_argument("a digest has a negative length"))?;
    Ok((ContentId { function, digest: parsed }, bytes))
}

fn invalid(error: &dyn Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn denied(denied: Denied) -> Status {
    Status::permission_denied(denied.to_string())
}

/// What a failure of the store is to a client.
fn failed(error: StoreError) -> Status {
    let text = words(&error);
    match error {
        StoreError::Mismatch { .. }
        | StoreError::Length { .. }
        | StoreError::Packed
        | StoreError::Result(_)
        | StoreError::Name(_) => Status::invalid_argument(text),
        StoreError::TooLarge { .. } | StoreError::TooManyScopes => Status::resource_exhausted(text),
        StoreError::WriteOnce => Status::already_exists(text),
        StoreError::NotKept(_) | StoreError::Tier(_) | StoreError::Untold { .. } => {
            tracing::warn!(error = text, "request failed");
            Status::unavailable(text)
        }
    }
}

/// How giving something ended, for the audit log.
fn gave<T>(given: &Result<Option<T>, StoreError>) -> Outcome {
    match given {
        Ok(Some(_)) => Outcome::Done,
        Ok(None) => Outcome::Missing,
        Err(_) => Outcome::Failed,
    }
}

/// How taking something ended, for the audit log.
fn wrote<T>(taken: &Result<T, StoreError>) -> Outcome {
    match taken {
        Ok(_) => Outcome::Done,
        Err(StoreError::WriteOnce) => Outcome::Refused,
        Err(_) => Outcome::Failed,
    }
}

/// An error with its causes in one line.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
