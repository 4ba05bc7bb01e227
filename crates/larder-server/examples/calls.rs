//! Calls of the Remote Execution API's cache, one after another on each connection: with which `cargo xtask servers`
//! compares servers.
//!
//! ```text
//! calls ADDRESS CALL CONNECTIONS FIRST CONTENTS
//! ```
//!
//! CALL is `read` or `write` (a byte stream for each content), `batch-read` or `batch-write` (sixteen at a time). What is
//! read has to have been written with the same FIRST. Prints how many contents went in a second. What is sent is made
//! before the time begins; what comes is compared with what it is to be only by its length.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::env;
use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytestream::byte_stream_client::ByteStreamClient;
use futures_util::{future, stream};
use larder::key::Algorithm;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use reapi::{batch_update_blobs_request, compressor};
use tonic::transport::{Channel, Endpoint};

/// How long a content is.
const LENGTH: usize = 4096;
/// How many are in a batch.
const BATCH: usize = 16;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, call, connections, first, contents] = &arguments[..] else {
        return Err("it is called with ADDRESS CALL CONNECTIONS FIRST CONTENTS".into());
    };
    let (first, contents): (u64, u64) = (first.parse()?, contents.parse()?);
    let connections: u64 = connections.parse()?;
    let share = contents / connections;
    let made: Vec<Vec<Request>> =
        (0..connections).map(|nth| requests(call, first + nth * share, share)).collect::<Result<_, _>>()?;
    let threads = thread::available_parallelism()?.get().min(made.len());
    let mut shares: Vec<Vec<Vec<Request>>> = (0..threads).map(|_| Vec::new()).collect();
    made.into_iter().enumerate().for_each(|(nth, requests)| shares[nth % threads].push(requests));
    let ready = Arc::new(Barrier::new(threads + 1));
    let workers: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let (ready, address) = (Arc::clone(&ready), address.clone());
            thread::spawn(move || work(&address, share, &ready))
        })
        .collect();
    ready.wait();
    let began = Instant::now();
    for worker in workers {
        worker.join().map_err(|_| "a thread panicked")??;
    }
    println!("{}", (share * connections) as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Asks on a connection for each of some lists of requests.
fn work(address: &str, share: Vec<Vec<Request>>, ready: &Barrier) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let connected = future::try_join_all(share.iter().map(|_| Client::connect(&endpoint))).await;
        ready.wait();
        let clients = connected?.into_iter().zip(share);
        let asked = clients.map(|(mut client, requests)| async move {
            for request in requests {
                client.ask(request).await?;
            }
            Ok::<_, Failure>(())
        });
        future::try_join_all(asked).await.map(drop)
    })
}

/// What is asked for at once.
enum Request {
    Read(bytestream::ReadRequest),
    Write(bytestream::WriteRequest),
    BatchRead(reapi::BatchReadBlobsRequest),
    BatchWrite(reapi::BatchUpdateBlobsRequest),
}

/// The requests for so many contents.
fn requests(call: &str, first: u64, contents: u64) -> Result<Vec<Request>, Failure> {
    let numbers: Vec<u64> = (first..first + contents).collect();
    let batches = || numbers.chunks(BATCH).map(|batch| batch.iter().map(|&number| content(number)));
    Ok(match call {
        "read" => numbers.iter().map(|&number| read(&content(number).0)).collect(),
        "write" => numbers.iter().map(|&number| write(number, content(number))).collect(),
        "batch-read" => batches().map(|batch| batch_read(batch.map(|(digest, _)| digest))).collect(),
        "batch-write" => batches().map(batch_write).collect(),
        _ => return Err(format!("{call} is no call").into()),
    })
}

fn read(digest: &reapi::Digest) -> Request {
    let resource_name = format!("blobs/{}/{LENGTH}", digest.hash);
    Request::Read(bytestream::ReadRequest { resource_name, ..Default::default() })
}

fn write(number: u64, (digest, data): (reapi::Digest, Vec<u8>)) -> Request {
    let resource_name =
        format!("uploads/00000000-0000-4000-8000-{number:012x}/blobs/{}/{LENGTH}", digest.hash);
    Request::Write(bytestream::WriteRequest { resource_name, write_offset: 0, finish_write: true, data })
}

fn batch_read(digests: impl Iterator<Item = reapi::Digest>) -> Request {
    Request::BatchRead(reapi::BatchReadBlobsRequest { digests: digests.collect(), ..Default::default() })
}

fn batch_write(contents: impl Iterator<Item = (reapi::Digest, Vec<u8>)>) -> Request {
    let one = |(digest, data)| batch_update_blobs_request::Request {
        digest: Some(digest),
        data,
        compressor: compressor::Value::Identity as i32,
    };
    let requests = contents.map(one).collect();
    Request::BatchWrite(reapi::BatchUpdateBlobsRequest { requests, ..Default::default() })
}

/// A content that no other number makes and that does not compress.
fn content(number: u64) -> (reapi::Digest, Vec<u8>) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = number.to_le_bytes().to_vec();
    while data.len() < LENGTH {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    let hash = Algorithm::Sha256.digest(&data).to_string();
    (reapi::Digest { hash, size_bytes: LENGTH as i64 }, data)
}

/// A connection.
struct Client {
    contents: ContentAddressableStorageClient<Channel>,
    streams: ByteStreamClient<Channel>,
}

impl Client {
    async fn connect(endpoint: &Endpoint) -> Result<Self, Failure> {
        let channel = endpoint.connect().await?;
        let streams = ByteStreamClient::new(channel.clone());
        let mut contents = ContentAddressableStorageClient::new(channel);
        contents.find_missing_blobs(reapi::FindMissingBlobsRequest::default()).await?;
        Ok(Self { contents, streams })
    }

    async fn ask(&mut self, request: Request) -> Result<(), Failure> {
        match request {
            Request::Read(request) => {
                let mut messages = self.streams.read(request).await?.into_inner();
                let mut came = 0;
                while let Some(message) = messages.message().await? {
                    came += message.data.len();
                }
                whole(came)
            }
            Request::Write(request) => {
                let written = self.streams.write(stream::iter([request])).await?.into_inner();
                whole(usize::try_from(written.committed_size)?)
            }
            Request::BatchRead(request) => {
                let read = self.contents.batch_read_blobs(request).await?.into_inner();
                read.responses.iter().try_for_each(|one| whole(one.data.len()))
            }
            Request::BatchWrite(request) => {
                let written = self.contents.batch_update_blobs(request).await?.into_inner();
                let is_taken = |status: &Option<_>| {
                    status.as_ref().is_none_or(|status: &bazel_remote_apis::google::rpc::Status| {
                        status.code == tonic::Code::Ok as i32
                    })
                };
                match written.responses.iter().all(|one| is_taken(&one.status)) {
                    true => Ok(()),
                    false => Err("a content is not taken".into()),
                }
            }
        }
    }
}

fn whole(bytes: usize) -> Result<(), Failure> {
    match bytes {
        LENGTH => Ok(()),
        _ => Err(format!("{bytes} bytes where there are to be {LENGTH}").into()),
    }
}
