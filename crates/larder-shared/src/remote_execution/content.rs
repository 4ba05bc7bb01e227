//! Content: what the server files under its own digest.
//!
//! What is short goes in a batch call, what is long as a stream.

use std::collections::HashSet;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::bytestream as stream;
use larder::key::Algorithm;
use larder::tier::TierError;
use tonic::{Code, Status};

use super::connection::{Lane, Wire, unexpected};
use super::statement::MAX_MESSAGE_BYTES;
use super::{RemoteExecution, Terms};
use crate::naming::random;

/// Up to which length content goes in a batch call.
const SHORT: usize = 64 << 10;
/// How much of a stream goes in one message.
const MESSAGE_BYTES: usize = 64 << 10;
/// How many digests are asked after in one call.
const ASKED: usize = 5_000;

type ContentClient = api::content_addressable_storage_client::ContentAddressableStorageClient<Wire>;
type StreamClient = stream::byte_stream_client::ByteStreamClient<Wire>;

fn content_client(wire: Wire) -> ContentClient {
    ContentClient::new(wire).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

impl Terms {
    /// Whether content of this length goes in a batch call.
    fn is_short(self, bytes: usize) -> bool {
        bytes <= SHORT.min(self.batch_bytes)
    }

    /// The name of content in a stream: `blobs/HASH/SIZE`, with the digest function where the hash does not tell it.
    fn resource(self, instance: &str, upload: Option<&str>, digest: &api::Digest) -> String {
        let mut parts = Vec::new();
        parts.extend(Some(instance).filter(|instance| !instance.is_empty()));
        if let Some(upload) = upload {
            parts.extend(["uploads", upload]);
        }
        parts.push("blobs");
        parts.extend((self.algorithm == Algorithm::Blake3).then_some("blake3"));
        let size = digest.size_bytes.to_string();
        parts.extend([&*digest.hash, &*size]);
        parts.join("/")
    }
}

/// A name that no other upload has, in the form of a UUID.
fn upload_name() -> String {
    let (a, b) = (random(), random());
    let parts = (a >> 32, a >> 16 & 0xffff, a & 0xfff, 0x8000 | b >> 48 & 0x3fff, b & 0xffff_ffff_ffff);
    format!("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", parts.0, parts.1, parts.2, parts.3, parts.4)
}

impl RemoteExecution {
    /// Which of some content is not there.
    pub(super) async fn missing_content(
        &self,
        digests: Vec<api::Digest>,
    ) -> Result<HashSet<String>, TierError> {
        let terms = self.terms().await?;
        let mut missing = HashSet::new();
        for asked in digests.chunks(ASKED) {
            let asks = api::FindMissingBlobsRequest {
                instance_name: self.inner.instance.clone(),
                blob_digests: asked.to_vec(),
                digest_function: terms.function(),
            };
            let ask = |wire| {
                let asks = asks.clone();
                async move { Ok(content_client(wire).find_missing_blobs(asks).await?.into_inner()) }
            };
            let told = self.inner.connections.call(Lane::Small, "FindMissingBlobs", ask).await?;
            let told = told.ok_or_else(|| unexpected("FindMissingBlobs: not found"))?;
            missing.extend(told.missing_blob_digests.into_iter().map(|digest| digest.hash));
        }
        Ok(missing)
    }

    /// Stores content and returns its digest.
    pub(super) async fn store_content(&self, bytes: Vec<u8>) -> Result<api::Digest, TierError> {
        let terms = self.terms().await?;
        let digest = terms.digest(&bytes);
        if terms.is_short(bytes.len()) {
            self.store_short(terms, digest.clone(), bytes).await?;
        } else {
            self.store_long(terms, &digest, &bytes).await?;
        }
        Ok(digest)
    }

    async fn store_short(&self, terms: Terms, digest: api::Digest, bytes: Vec<u8>) -> Result<(), TierError> {
        let one =
            api::batch_update_blobs_request::Request { digest: Some(digest), data: bytes, compressor: 0 };
        let says = api::BatchUpdateBlobsRequest {
            instance_name: self.inner.instance.clone(),
            requests: vec![one],
            digest_function: terms.function(),
        };
        let say = |wire| {
            let says = says.clone();
            async move {
                let told = content_client(wire).batch_update_blobs(says).await?.into_inner();
                let status = told.responses.into_iter().next().and_then(|response| response.status);
                // A status that says nothing says that all is well.
                let status = status.unwrap_or_default();
                if status.code == 0 { Ok(()) } else { Err(Status::new(status.code.into(), status.message)) }
            }
        };
        let stored = self.inner.connections.call(Lane::Bulk, "BatchUpdateBlobs", say).await?;
        stored.ok_or_else(|| unexpected("BatchUpdateBlobs: not found"))
    }

    async fn store_long(&self, terms: Terms, digest: &api::Digest, bytes: &[u8]) -> Result<(), TierError> {
        let say = |wire| {
            // Another name in each attempt: what is left of the one before is the server's to clear.
            let name = terms.resource(&self.inner.instance, Some(&upload_name()), digest);
            let messages: Vec<_> = bytes
                .chunks(MESSAGE_BYTES)
                .enumerate()
                .map(|(nth, data)| {
                    let offset = nth * MESSAGE_BYTES;
                    stream::WriteRequest {
                        resource_name: if nth == 0 { name.clone() } else { String::new() },
                        write_offset: offset as i64,
                        finish_write: offset + data.len() == bytes.len(),
                        data: data.to_vec(),
                    }
                })
                .collect();
            async move {
                let told = StreamClient::new(wire).write(tokio_stream::iter(messages)).await?;
                Ok(told.into_inner().committed_size)
            }
        };
        match self.inner.connections.call(Lane::Bulk, "Write", say).await? {
            Some(committed) if committed == digest.size_bytes => Ok(()),
            _ => Err(unexpected("Write: the server did not take all of it")),
        }
    }

    /// Content; `None` if it is not there. Whether it is what it should be is for whoever knows its use to check.
    pub(super) async fn content(&self, digest: &api::Digest) -> Result<Option<Vec<u8>>, TierError> {
        let terms = self.terms().await?;
        let Ok(length) = usize::try_from(digest.size_bytes) else { return Ok(None) };
        if terms.is_short(length) {
            self.read_short(terms, digest).await
        } else {
            self.read_long(terms, digest, length).await
        }
    }

    async fn read_short(&self, terms: Terms, digest: &api::Digest) -> Result<Option<Vec<u8>>, TierError> {
        let asks = api::BatchReadBlobsRequest {
            instance_name: self.inner.instance.clone(),
            digests: vec![digest.clone()],
            acceptable_compressors: Vec::new(),
            digest_function: terms.function(),
        };
        let ask = |wire| {
            let asks = asks.clone();
            async move {
                let told = content_client(wire).batch_read_blobs(asks).await?.into_inner();
                let Some(one) = told.responses.into_iter().next() else {
                    return Err(Status::new(Code::NotFound, ""));
                };
                let status = one.status.unwrap_or_default();
                if status.code == 0 {
                    Ok(one.data)
                } else {
                    Err(Status::new(status.code.into(), status.message))
                }
            }
        };
        self.inner.connections.call(Lane::Bulk, "BatchReadBlobs", ask).await
    }

    async fn read_long(
        &self,
        terms: Terms,
        digest: &api::Digest,
        length: usize,
    ) -> Result<Option<Vec<u8>>, TierError> {
        let asks = stream::ReadRequest {
            resource_name: terms.resource(&self.inner.instance, None, digest),
            ..stream::ReadRequest::default()
        };
        let ask = |wire| {
            let asks = asks.clone();
            async move {
                let client = StreamClient::new(wire).max_decoding_message_size(MAX_MESSAGE_BYTES);
                let mut messages = { client }.read(asks).await?.into_inner();
                let mut content = Vec::with_capacity(length);
                // What goes on beyond its length is not read to its end.
                while content.len() <= length
                    && let Some(message) = messages.message().await?
                {
                    content.extend(message.data);
                }
                Ok(content)
            }
        };
        self.inner.connections.call(Lane::Bulk, "Read", ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_named_as_the_protocol_says() {
        let digest = api::Digest { hash: "ab".into(), size_bytes: 7 };
        let terms = |algorithm| Terms { algorithm, batch_bytes: 100, updates: true };
        let sha256 = terms(Algorithm::Sha256);
        assert_eq!(sha256.resource("", None, &digest), "blobs/ab/7");
        assert_eq!(sha256.resource("a/b", Some("u"), &digest), "a/b/uploads/u/blobs/ab/7");
        let blake3 = terms(Algorithm::Blake3);
        assert_eq!(blake3.resource("main", None, &digest), "main/blobs/blake3/ab/7");
        assert_eq!(blake3.resource("", Some("u"), &digest), "uploads/u/blobs/blake3/ab/7");
        assert!(sha256.is_short(100) && !sha256.is_short(101));
    }

    #[test]
    fn an_upload_has_a_name_of_its_own_in_the_form_of_a_uuid() {
        let (one, two) = (upload_name(), upload_name());
        assert_ne!(one, two);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
