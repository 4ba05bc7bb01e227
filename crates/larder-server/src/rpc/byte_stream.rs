//! Contents in streams, with constant memory.

use bazel_remote_apis::google::bytestream;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStream;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use larder::tier::Brief;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::names::{self, Resource};
use super::{Rpc, failed, gave, wrote};
use crate::guard::{Deed, Outcome};
use crate::store::{Coding, Upload};

/// What is no longer than this is taken without a look whether it is there.
const SMALL_BYTES: usize = 16 << 10;

#[async_trait]
impl ByteStream for Rpc {
    type ReadStream = BoxStream<'static, Result<bytestream::ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<bytestream::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let asked = request.get_ref();
        let resource = names::to_read(&asked.resource_name).ok_or_else(|| unknown(&asked.resource_name))?;
        let asker = self.asker(resource.instance, &request, Deed::Read)?;
        let positive = |number: i64, what: &str| {
            u64::try_from(number).map_err(|_| Status::out_of_range(format!("{what} is negative")))
        };
        let offset = positive(asked.read_offset, "the offset")?;
        let limit = Some(positive(asked.read_limit, "the limit")?).filter(|&limit| limit > 0);
        if resource.coding == Coding::Zstd && limit.is_some() {
            return Err(Status::invalid_argument("what is packed has no limit"));
        }
        if offset > resource.bytes {
            return Err(Status::out_of_range("the offset is behind the end"));
        }
        let opened = self.store.open(&asker.scope, resource.id).await;
        let opened = opened.map(|found| found.filter(|download| download.bytes() == resource.bytes));
        let bytes = matches!(opened, Ok(Some(_))).then_some(resource.bytes);
        asker.tell(Deed::Read, format_args!("cas/{}", resource.id), bytes, gave(&opened));
        let Some(download) = opened.map_err(failed)? else {
            return Err(Status::not_found("the content is not kept"));
        };
        let pieces = download.pieces(offset, limit, resource.coding).await.map_err(failed)?;
        let responses = pieces.map(|piece| match piece {
            Ok(piece) => Ok(bytestream::ReadResponse { data: piece.into() }),
            Err(error) => Err(Status::data_loss(error.to_string())),
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<bytestream::WriteRequest>>,
    ) -> Result<Response<bytestream::WriteResponse>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let first = messages.message().await?.ok_or_else(|| Status::invalid_argument("nothing came"))?;
        let resource = names::to_write(&first.resource_name).ok_or_else(|| unknown(&first.resource_name))?;
        let head = Request::from_parts(metadata, extensions, ());
        let asker = self.asker(resource.instance, &head, Deed::WriteContent)?;
        let tell = |outcome| {
            let key = format_args!("cas/{}", resource.id);
            asker.tell(Deed::WriteContent, key, Some(resource.bytes), outcome);
        };
        // Where all of it is here by now, taking it costs no more than looking whether it is there.
        let came_whole = first.finish_write && first.data.len() <= SMALL_BYTES;
        if !came_whole
            && self.store.holds(&asker.scope, (resource.id, resource.bytes)).await.map_err(failed)?
        {
            // It came another way. How much of this stream was taken does not matter then.
            tell(Outcome::Done);
            let committed_size = match resource.coding {
                Coding::Identity => resource.bytes as i64,
                Coding::Zstd => -1,
            };
            return Ok(Response::new(bytestream::WriteResponse { committed_size }));
        }
        let upload = match self.take(&resource, first.clone(), &mut messages).await {
            Ok(upload) => upload,
            Err(status) => {
                tell(Outcome::Failed);
                return Err(status);
            }
        };
        let came = upload.came();
        let kept = self.store.keep(&asker.scope, resource.id, (upload, Brief::InPlace), asker.name()).await;
        tell(wrote(&kept));
        kept.map_err(failed)?;
        Ok(Response::new(bytestream::WriteResponse { committed_size: came as i64 }))
    }

    async fn query_write_status(
        &self,
        request: Request<bytestream::QueryWriteStatusRequest>,
    ) -> Result<Response<bytestream::QueryWriteStatusResponse>, Status> {
        let name = &request.get_ref().resource_name;
        let resource = names::to_write(name).ok_or_else(|| unknown(name))?;
        let asker = self.asker(resource.instance, &request, Deed::Read)?;
        let complete = self.store.holds(&asker.scope, (resource.id, resource.bytes)).await.map_err(failed)?;
        // What breaks off is dropped, so an upload is there wholly or not at all.
        let committed_size = if complete { resource.bytes as i64 } else { 0 };
        Ok(Response::new(bytestream::QueryWriteStatusResponse { committed_size, complete }))
    }
}

impl Rpc {
    /// Takes all that comes, from its first message on.
    async fn take(
        &self,
        resource: &Resource<'_>,
        first: bytestream::WriteRequest,
        messages: &mut Streaming<bytestream::WriteRequest>,
    ) -> Result<Upload, Status> {
        let mut upload = self.store.upload(resource.id.function, Some(resource.bytes)).map_err(failed)?;
        if resource.coding == Coding::Zstd {
            upload = upload.packed().map_err(failed)?;
        }
        let name = first.resource_name.clone();
        let mut message = first;
        loop {
            if !message.resource_name.is_empty() && message.resource_name != name {
                return Err(Status::invalid_argument("the name changes in the middle of the stream"));
            }
            if u64::try_from(message.write_offset) != Ok(upload.came()) {
                let came = upload.came();
                let text = format!("the next byte is {came}, but {} comes", message.write_offset);
                return Err(Status::invalid_argument(text));
            }
            upload.write(&message.data).await.map_err(failed)?;
            if message.finish_write {
                return Ok(upload);
            }
            message = match messages.message().await? {
                Some(message) => message,
                None => return Err(Status::invalid_argument("the stream ends before its last message")),
            };
        }
    }
}

fn unknown(name: &str) -> Status {
    let name: String = name.chars().take(200).collect();
    Status::invalid_argument(format!("{name:?} is no name of a content"))
}
