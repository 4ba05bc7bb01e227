//! Contents, many at once.

use std::collections::{HashSet, VecDeque};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::remote::execution::v2::content_addressable_storage_server::ContentAddressableStorage;
use bazel_remote_apis::google::rpc;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use larder::entry::compress::Level;
use larder::key::Scope;
use larder::tier::Brief;
use prost::Message;
use reapi::{batch_read_blobs_response, batch_update_blobs_request, batch_update_blobs_response, compressor};
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, Rpc, content_id, failed, function, gave};
use crate::guard::{Asker, Deed, Outcome};
use crate::store::{Function, StoreError};

/// How many contents of a batch are at work at once.
const AT_ONCE: usize = 16;
/// How many directories stand in one answer where the client does not say.
const DIRECTORIES: usize = 500;
/// How many directories a tree may have.
const MAX_DIRECTORIES: usize = 1_000_000;

#[async_trait]
impl ContentAddressableStorage for Rpc {
    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        let asked = request.get_ref();
        let asker = self.asker(&asked.instance_name, &request, Deed::Read)?;
        let function = function(asked.digest_function)?;
        let mut ids = Vec::with_capacity(asked.blob_digests.len());
        for digest in &asked.blob_digests {
            ids.push(content_id(function, Some(digest))?);
        }
        let missing: HashSet<_> =
            self.store.missing(&asker.scope, &ids).await.map_err(failed)?.into_iter().collect();
        let asked = request.into_inner().blob_digests.into_iter().zip(ids);
        let missing_blob_digests =
            asked.filter(|(_, id)| missing.contains(id)).map(|(digest, _)| digest).collect();
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        let asker = self.asker(&request.get_ref().instance_name, &request, Deed::WriteContent)?;
        let asked = request.into_inner();
        let function = function(asked.digest_function)?;
        let sizes = asked.requests.iter().filter_map(|one| one.digest.as_ref());
        check_batch(sizes)?;
        let rpc = self.clone();
        // What comes together is stored together.
        let place = if asked.requests.len() == 1 { Brief::InPlace } else { Brief::Aside };
        let updates = asked.requests.into_iter().map(move |one| {
            let (rpc, asker) = (rpc.clone(), asker.clone());
            async move {
                let digest = one.digest.clone();
                let updated = rpc.update(function, one, place, &asker).await;
                tell(&asker, Deed::WriteContent, (function, digest.as_ref()), updated.as_ref().err());
                let status = updated.err().map(|status| told(&status)).unwrap_or_default();
                batch_update_blobs_response::Response { digest, status: Some(status) }
            }
        });
        let responses = stream::iter(updates).buffered(AT_ONCE).collect().await;
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        let asker = self.asker(&request.get_ref().instance_name, &request, Deed::Read)?;
        let asked = request.into_inner();
        let function = function(asked.digest_function)?;
        check_batch(asked.digests.iter())?;
        let packs = asked.acceptable_compressors.contains(&(compressor::Value::Zstd as i32));
        let rpc = self.clone();
        let reads = asked.digests.into_iter().map(move |digest| {
            let (rpc, asker) = (rpc.clone(), asker.clone());
            async move {
                let read = rpc.read_one(&asker.scope, function, &digest).await;
                tell(&asker, Deed::Read, (function, Some(&digest)), read.as_ref().err());
                match read {
                    Ok(content) => given(digest, content, packs),
                    Err(status) => batch_read_blobs_response::Response {
                        digest: Some(digest),
                        status: Some(told(&status)),
                        ..batch_read_blobs_response::Response::default()
                    },
                }
            }
        });
        let responses = stream::iter(reads).buffered(AT_ONCE).collect().await;
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = BoxStream<'static, Result<reapi::GetTreeResponse, Status>>;

    async fn get_tree(
        &self,
        request: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        let asked = request.get_ref();
        let asker = self.asker(&asked.instance_name, &request, Deed::Read)?;
        let function = function(asked.digest_function)?;
        if !asked.page_token.is_empty() {
            return Err(Status::invalid_argument("no page token was ever given"));
        }
        content_id(function, asked.root_digest.as_ref())?;
        let page = usize::try_from(asked.page_size).ok().filter(|&size| size > 0).unwrap_or(DIRECTORIES);
        let Some(root) = request.into_inner().root_digest else {
            return Err(Status::invalid_argument("a digest is missing"));
        };
        let first = self.directory(&asker, function, &root).await?;
        let Some(first) = first else { return Err(Status::not_found("the root directory is not kept")) };
        let walk = Walk {
            rpc: self.clone(),
            asker,
            function,
            page: page.min(DIRECTORIES),
            seen: HashSet::from([root.hash]),
            waiting: VecDeque::new(),
            next: Some(first),
        };
        Ok(Response::new(stream::unfold(walk, Walk::next).boxed()))
    }

    async fn split_blob(
        &self,
        _request: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(in_chunks())
    }

    type GetChunkMappingStream = BoxStream<'static, Result<reapi::GetChunkMappingResponse, Status>>;

    async fn get_chunk_mapping(
        &self,
        _request: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(in_chunks())
    }

    async fn splice_blob(
        &self,
        _request: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(in_chunks())
    }

    async fn register_chunk_mapping(
        &self,
        _request: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(in_chunks())
    }
}

/// The capabilities say that contents do not go in chunks, so nobody who read them asks.
fn in_chunks() -> Status {
    Status::unimplemented("contents do not go in chunks")
}

impl Rpc {
    async fn update(
        &self,
        function: Function,
        one: batch_update_blobs_request::Request,
        place: Brief,
        asker: &Asker,
    ) -> Result<(), Status> {
        let (id, bytes) = content_id(function, one.digest.as_ref())?;
        let mut upload = self.store.upload(function, Some(bytes)).map_err(failed)?;
        match compressor::Value::try_from(one.compressor) {
            Ok(compressor::Value::Identity) => {}
            Ok(compressor::Value::Zstd) => upload = upload.packed().map_err(failed)?,
            _ => return Err(Status::invalid_argument("contents are taken as they are or packed with zstd")),
        }
        upload.write(&one.data).await.map_err(failed)?;
        self.store.keep(&asker.scope, id, (upload, place), asker.name()).await.map_err(failed)?;
        Ok(())
    }

    async fn read_one(
        &self,
        scope: &Scope,
        function: Function,
        digest: &reapi::Digest,
    ) -> Result<bytes::Bytes, Status> {
        let (id, bytes) = content_id(function, Some(digest))?;
        match self.store.read(scope, id, bytes).await.map_err(failed)? {
            Some(content) if content.len() as u64 == bytes => Ok(content),
            _ => Err(Status::not_found("the content is not kept")),
        }
    }

    async fn directory(
        &self,
        asker: &Asker,
        function: Function,
        digest: &reapi::Digest,
    ) -> Result<Option<reapi::Directory>, Status> {
        let (id, bytes) = content_id(function, Some(digest))?;
        let content = self.store.read(&asker.scope, id, MAX_MESSAGE_BYTES as u64).await;
        asker.tell(Deed::Read, format_args!("cas/{id}"), Some(bytes), gave(&content));
        let content = content.map_err(failed)?.filter(|content| content.len() as u64 == bytes);
        let decode = |content| {
            let error = StoreError::Result("a directory cannot be decoded");
            reapi::Directory::decode(content).map_err(|_| failed(error))
        };
        content.map(decode).transpose()
    }
}

/// Directories below a root on their way, breadth first, each once.
struct Walk {
    rpc: Rpc,
    asker: Asker,
    function: Function,
    page: usize,
    seen: HashSet<String>,
    waiting: VecDeque<reapi::Digest>,
    /// What comes next, where that was read already.
    next: Option<reapi::Directory>,
}

impl Walk {
    async fn next(mut self) -> Option<(Result<reapi::GetTreeResponse, Status>, Self)> {
        let (mut directories, mut bytes) = (Vec::new(), 0);
        while directories.len() < self.page {
            let directory = match self.next.take() {
                Some(next) => Some(next),
                None => match self.waiting.pop_front() {
                    None => break,
                    Some(digest) => match self.rpc.directory(&self.asker, self.function, &digest).await {
                        Ok(directory) => directory,
                        Err(status) => return Some((Err(status), self)),
                    },
                },
            };
            // What is not there is left out, as the protocol says.
            let Some(directory) = directory else { continue };
            bytes += directory.encoded_len() as u64;
            if bytes > MAX_BATCH_BYTES && !directories.is_empty() {
                self.next = Some(directory);
                break;
            }
            for digest in directory.directories.iter().filter_map(|node| node.digest.clone()) {
                if self.seen.len() < MAX_DIRECTORIES && self.seen.insert(digest.hash.clone()) {
                    self.waiting.push_back(digest);
                }
            }
            directories.push(directory);
        }
        let next_page_token = String::new();
        (!directories.is_empty())
            .then_some((Ok(reapi::GetTreeResponse { directories, next_page_token }), self))
    }
}

/// A batch may have so many bytes, by what is said of it.
fn check_batch<'a>(digests: impl Iterator<Item = &'a reapi::Digest>) -> Result<(), Status> {
    let bytes =
        digests.map(|digest| u64::try_from(digest.size_bytes).unwrap_or(0)).fold(0, u64::saturating_add);
    if bytes <= MAX_BATCH_BYTES {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("a batch may have {MAX_BATCH_BYTES} bytes, this one has {bytes}")))
}

fn given(digest: reapi::Digest, content: bytes::Bytes, packs: bool) -> batch_read_blobs_response::Response {
    let packed = if packs { Level::FAST.pack(&content) } else { None };
    let compressor = if packed.is_some() { compressor::Value::Zstd } else { compressor::Value::Identity };
    batch_read_blobs_response::Response {
        digest: Some(digest),
        data: packed.unwrap_or_else(|| content.into()),
        compressor: compressor as i32,
        status: Some(rpc::Status::default()),
    }
}

/// Tells the audit log of one content of a batch.
fn tell(
    asker: &Asker,
    deed: Deed,
    (function, digest): (Function, Option<&reapi::Digest>),
    failed: Option<&Status>,
) {
    let outcome = match failed.map(Status::code) {
        None => Outcome::Done,
        Some(Code::NotFound) => Outcome::Missing,
        Some(_) => Outcome::Failed,
    };
    let Some(digest) = digest else { return };
    let key = format_args!("cas/{function}-{}", digest.hash);
    asker.tell(deed, key, u64::try_from(digest.size_bytes).ok(), outcome);
}

fn told(status: &Status) -> rpc::Status {
    debug_assert_ne!(status.code(), Code::Ok);
    rpc::Status { code: status.code() as i32, message: status.message().to_owned(), details: Vec::new() }
}
