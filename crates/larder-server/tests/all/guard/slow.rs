//! Clients that draw things out: they cost little, for a short time, and keep nobody out.

use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytestream::byte_stream_client::ByteStreamClient;
use larder_server::Patience;
use reapi::action_cache_client::ActionCacheClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::{Answer, LARGEST_BYTES, Lab, SHORT, bearer, digest_of, guard, hash_of, until, with_token};

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
async fn a_server_that_ends_does_not_wait_for_whoever_says_nothing() {
    let patience = Patience { head: Duration::from_hours(1), ..SHORT };
    let mut lab = Lab::with(|_, options| options.patience = patience).await;
    let mut silent = lab.connect().await;
    lab.check_is_well(None).await;
    drop(lab.end.take());
    until("the end of a silent connection", async || is_over(&mut silent).await).await;
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

/// One for those with a token that serves two connections, and has all the patience there is.
async fn lab_for_two() -> Lab {
    Lab::with(|_, options| {
        let long = Duration::from_secs(3600);
        options.patience = Patience { head: long, stall: long, idle: long, alive: long };
        options.max_connections = 2;
        options.guard = guard("[tokens.ci]\nsecret = \"ci-ci-ci-ci-ci-ci-ci\"\nrole = \"write\"\n");
    })
    .await
}

const CI: Option<&str> = Some("ci-ci-ci-ci-ci-ci-ci");

/// Says something, and takes the line that begins the answer.
async fn ask(stream: &mut TcpStream, said: &str) -> String {
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    head.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_nothing_more_makes_room_for_who_does_and_may_come_with_a_token_until_then() {
    let lab = lab_for_two().await;
    let path = format!("/cas/{}", hash_of(b"nothing"));
    let without = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let with = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(CI).replace('\n', "\r\n"));
    let mut first = lab.connect().await;
    assert_eq!(ask(&mut first, &without).await, "http/1.1 401 unauthorized");
    assert_eq!(ask(&mut first, &with).await, "http/1.1 404 not found", "on the same connection");
    for said in [
        without.as_str(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
    ] {
        let mut all = [lab.connect().await, lab.connect().await];
        for stream in &mut all {
            stream.write_all(said.as_bytes()).await.unwrap();
        }
        lab.check_is_well(CI).await;
        until(said, async || is_over(&mut all[0]).await || is_over(&mut all[1]).await).await;
    }
    assert!(is_over(&mut first).await, "it rested for longest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_on_http_2_that_had_to_make_room_comes_again_by_itself() {
    let lab = lab_for_two().await;
    let mut client = ActionCacheClient::new(lab.channel().await);
    let mut result = async |token| {
        let request = reapi::GetActionResultRequest {
            action_digest: Some(digest_of(b"an action")),
            ..reapi::GetActionResultRequest::default()
        };
        client.get_action_result(with_token(request, token)).await.unwrap_err().code()
    };
    assert_eq!(result(None).await, Code::Unauthenticated);
    let mut rest = [lab.connect().await, lab.connect().await];
    for stream in &mut rest {
        ask(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    assert!(!is_over(&mut rest[1]).await, "nobody but those two is served");
    until("the client", async || result(CI).await == Code::NotFound).await;
    lab.check_is_well(CI).await;
}

/// Begins to put some content, and returns what of it is still to come.
async fn begin_put(lab: &Lab, byte: u8) -> (TcpStream, Vec<u8>) {
    let content = vec![byte; 100_000];
    let head = format!(
        "PUT /cas/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n{}\r\n",
        hash_of(&content),
        content.len(),
        bearer(CI).replace('\n', "\r\n")
    );
    let mut puts = lab.connect().await;
    puts.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    puts.read_exact(&mut goes_on).await.unwrap();
    assert!(goes_on.starts_with(b"HTTP/1.1 100"));
    puts.write_all(&content[..50_000]).await.unwrap();
    (puts, content[50_000..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_under_way_makes_room_for_nobody() {
    let lab = lab_for_two().await;
    let (mut puts, rest) = begin_put(&lab, 7).await;
    let mut rests = lab.connect().await;
    ask(&mut rests, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    lab.check_is_well(CI).await;
    until("the end of the one that rests", async || is_over(&mut rests).await).await;
    puts.write_all(&rest).await.unwrap();
    assert_eq!(Answer::read(&mut puts).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_to_be_served_is_not_put_out_by_those_who_say_nothing() {
    let lab = lab_for_two().await;
    let mut puts = [begin_put(&lab, 1).await, begin_put(&lab, 2).await];
    let asks = async || {
        let mut asks = lab.connect().await;
        asks.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut silent = [lab.connect().await, lab.connect().await];
        // One of the three has to go, and at times it is seen too late that the first has spoken.
        for _ in 0..3000 {
            if is_over(&mut asks).await {
                return None;
            }
            if is_over(&mut silent[0]).await || is_over(&mut silent[1]).await {
                return Some((asks, silent));
            }
        }
        panic!("nobody has to go");
    };
    let mut stays = None;
    until("one that waits", async || {
        stays = asks().await;
        stays.is_some()
    })
    .await;
    let (mut asks, silent) = stays.unwrap();
    let mut silent = Vec::from(silent);
    for _ in 0..10 {
        silent.push(lab.connect().await);
    }
    until("the end of those who say nothing", async || {
        let mut over = 0;
        for stream in &mut silent {
            over += usize::from(is_over(stream).await);
        }
        over >= 10
    })
    .await;
    for (put, rest) in &mut puts {
        put.write_all(rest).await.unwrap();
        assert_eq!(Answer::read(put).await.status, 200);
    }
    assert_eq!(ask(&mut asks, "").await, "http/1.1 200 ok");
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
