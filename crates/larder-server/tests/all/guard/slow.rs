//! Clients that draw things out: they cost little, for a short time, and keep nobody out.

use std::time::Duration;

use bazel_remote_apis::google::bytestream;
use bytestream::byte_stream_client::ByteStreamClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{LARGEST_BYTES, Lab, SHORT, guard, hash_of, until};

async fn lab() -> Lab {
    Lab::with(|_, options| options.patience = SHORT).await
}

/// One whose clients have one request at once.
async fn lab_for_one() -> Lab {
    Lab::with(|_, options| {
        options.patience = SHORT;
        options.guard = guard("anybody = \"write\"\nlimits = { concurrent = 1 }");
    })
    .await
}

/// Whether the server has hung up.
async fn is_over(stream: &mut TcpStream) -> bool {
    let mut some = [0; 4096];
    let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut some)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_or_does_not_come_to_the_end_of_a_head_is_hung_up_on() {
    let lab = lab().await;
    for said in ["", "G", "GET /cas/00 HTTP/1.1\r\nHost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = lab.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        until(said, async || is_over(&mut stream).await).await;
    }
    // A head that never ends, a little at a time.
    let mut stream = lab.connect().await;
    stream.write_all(b"GET /cas/00 HTTP/1.1\r\n").await.unwrap();
    until("the end of a drawn out head", async || {
        stream.write_all(b"x: y\r\n").await.is_err() || is_over(&mut stream).await
    })
    .await;
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_or_only_drips_is_given_up() {
    let lab = lab().await;
    let head = format!("PUT /cas/{} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", hash_of(b"x"));
    let mut stream = lab.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    let mut stream = lab.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the end of a dripping body", async || {
        stream.write_all(b"x").await.is_err() || is_over(&mut stream).await
    })
    .await;
    // Over gRPC: the first message comes, and no second.
    let content = vec![1; 100_000];
    let name = format!("uploads/1/blobs/{}/{}", hash_of(&content), content.len());
    let first =
        bytestream::WriteRequest { resource_name: name, data: content[..10].to_vec(), ..Default::default() };
    let messages = futures_util::stream::StreamExt::chain(
        futures_util::stream::iter([first]),
        futures_util::stream::pending(),
    );
    let mut client = ByteStreamClient::new(lab.channel().await);
    client.write(messages).await.unwrap_err();
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_take_what_they_asked_for_is_hung_up_on() {
    let lab = lab_for_one().await;
    let content: Vec<u8> =
        (0..LARGEST_BYTES as u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    let path = format!("/cas/{}", hash_of(&content));
    assert_eq!(lab.put(&path, None, &content).await, 200);
    // Over HTTP/1.1, many times on one connection, so that no buffer of the system holds it all.
    let mut stream = lab.connect().await;
    let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(64);
    stream.write_all(asked.as_bytes()).await.unwrap();
    until("the end of the connection", async || stream.write_all(b"\r\n").await.is_err()).await;
    // Over HTTP/2: a stream whose window never opens, on a connection that answers otherwise.
    let address = format!("http://{}", lab.address);
    let endpoint = tonic::transport::Channel::from_shared(address).unwrap().initial_stream_window_size(1024);
    let mut client = ByteStreamClient::new(endpoint.connect().await.unwrap());
    let name = format!("blobs/{}/{}", hash_of(&content), content.len());
    let request = bytestream::ReadRequest { resource_name: name, ..Default::default() };
    let mut stalled = client.read(request).await.unwrap().into_inner();
    // There is one request at once, and this one has come to its end then.
    until("the end of the stream", async || lab.get(&path, None).await.status == 200).await;
    let mut end = stalled.message().await;
    while let Ok(Some(_)) = end {
        end = stalled.message().await;
    }
    assert!(end.is_err());
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_ends_after_a_while() {
    let lab = lab().await;
    let mut stream = lab.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until("the end of the connection", async || is_over(&mut stream).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    const IDLE: usize = 10_000;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    // As long as the test takes, none of them ends by itself.
    let lab = Lab::open().await;
    let mut idle = Vec::with_capacity(IDLE);
    for n in 0..IDLE {
        idle.push(lab.connect().await);
        if n % 1000 == 0 {
            lab.check_is_well(None).await;
        }
    }
    lab.check_is_well(None).await;
    // Those that waited for longest had to go, and no others.
    until("the end of the oldest", async || is_over(&mut idle[0]).await).await;
    assert!(!is_over(&mut idle[IDLE - 1]).await);
}
