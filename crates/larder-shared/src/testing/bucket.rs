//! Objects in files, by `s3s-fs`, with the promises that it does not make itself.
//!
//! It writes an object and its tag one after the other, looks at a condition and writes some time later, and does not
//! look at a condition on reads. So what is written comes in whole first, and then one operation is done at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
    StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::{RwLock, watch};

/// More does not come in one write.
const MAX_BYTES: usize = 64 << 20;

/// What it does otherwise than it should.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Conditions on writes are ignored.
    pub(super) heedless: AtomicBool,
    /// Lists are denied.
    pub(super) denies_lists: AtomicBool,
    /// Writes of entries in the place of claims wait until they do not.
    pub(super) holds: watch::Sender<bool>,
    /// How many of those wait.
    pub(super) held: AtomicUsize,
}

impl Faults {
    /// Waits while such writes are held.
    async fn hold(&self, request: &PutObjectInput) {
        if request.if_match.is_some() && request.key.contains("/e/") && *self.holds.borrow() {
            self.held.fetch_add(1, Ordering::Relaxed);
            // The sender lives as long as `self`.
            let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    files: FileSystem,
    /// Held while something is changed.
    changing: RwLock<()>,
    faults: Arc<Faults>,
}

impl Bucket {
    pub(super) fn new(files: FileSystem, faults: Arc<Faults>) -> Self {
        Self { files, changing: RwLock::default(), faults }
    }
}

/// All of what is to be written. What is cut is nothing.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Option<StreamingBlob>> {
    let Some(mut body) = body else { return Ok(None) };
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece: Bytes = piece.map_err(|_| s3_error!(IncompleteBody))?;
        if whole.len() + piece.len() > MAX_BYTES {
            return Err(s3_error!(EntityTooLarge));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(Body::from(whole.freeze()).into()))
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        request.input.body = whole(request.input.body.take()).await?;
        if self.faults.heedless.load(Ordering::Relaxed) {
            (request.input.if_match, request.input.if_none_match) = (None, None);
        }
        self.faults.hold(&request.input).await;
        let _held = self.changing.write().await;
        self.files.put_object(request).await
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        request.input.body = whole(request.input.body.take()).await?;
        self.files.upload_part(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let _held = self.changing.read().await;
        let unless = request.input.if_none_match.clone();
        let response = self.files.get_object(request).await?;
        let tag = response.output.e_tag.as_ref();
        match (unless.as_ref().and_then(|unless| unless.as_etag()), tag) {
            (Some(unless), Some(tag)) if unless.weak_cmp(tag) => Err(s3_error!(NotModified)),
            _ => Ok(response),
        }
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let _held = self.changing.write().await;
        self.files.create_bucket(request).await
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let _held = self.changing.write().await;
        self.files.copy_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _held = self.changing.write().await;
        self.files.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let _held = self.changing.write().await;
        self.files.delete_objects(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let _held = self.changing.write().await;
        self.files.create_multipart_upload(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _held = self.changing.write().await;
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let _held = self.changing.write().await;
        self.files.abort_multipart_upload(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let _held = self.changing.read().await;
        self.files.head_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        if self.faults.denies_lists.load(Ordering::Relaxed) {
            return Err(s3_error!(AccessDenied));
        }
        let _held = self.changing.read().await;
        self.files.list_objects_v2(request).await
    }
}
