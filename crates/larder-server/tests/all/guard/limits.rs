//! How much one client may ask for.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tonic::Code;

use super::{Answer, LARGEST_BYTES, Lab, guard, hash_of, until};

const ACCESS: &str = r#"
[tokens.few]
secret = "few-few-few-few-few"
role = "write"
limits = { requests_per_second = 1 }

[tokens.slow]
secret = "slow-slow-slow-slow"
role = "write"
limits = { bytes_per_second = "256 KiB" }

[tokens.one]
secret = "one-one-one-one-one"
role = "write"
limits = { concurrent = 1 }

[tokens.free]
secret = "free-free-free-free"
role = "write"
"#;

/// What a client is told that waits with its body.
const GO_ON: [u8; 25] = *b"HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_rate_are_turned_away_with_the_time_to_come_back_and_others_are_not() {
    let lab = Lab::guarded(ACCESS).await;
    let path = format!("/cas/{}", hash_of(b"nothing"));
    let few = Some("few-few-few-few-few");
    until("the limit", async || {
        let answer = lab.get(&path, few).await;
        assert!(answer.status == 404 || answer.head.contains("retry-after: 1"), "{}", answer.head);
        answer.status == 429
    })
    .await;
    until("the limit over gRPC", async || {
        let status = lab.ask_for_result("", few).await;
        let exceeded = status.code() == Code::ResourceExhausted;
        assert!(exceeded == status.metadata().contains_key("retry-after"), "{status:?}");
        exceeded
    })
    .await;
    assert_eq!(lab.get(&path, Some("free-free-free-free")).await.status, 404);
    until("another second", async || lab.get(&path, few).await.status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_over_the_rate_are_slowed_and_then_nothing_new_is_taken() {
    let lab = Lab::guarded(ACCESS).await;
    let (slow, content) = (Some("slow-slow-slow-slow"), vec![7; LARGEST_BYTES as usize]);
    let path = format!("/cas/{}", hash_of(&content));
    let began = Instant::now();
    assert_eq!(lab.put(&path, slow, &content).await, 200);
    // The first second's worth is free, and what waits at the end is owed.
    assert!(began.elapsed().as_secs_f64() > 1.0, "{:?}", began.elapsed());
    assert_eq!(lab.get(&path, slow).await.body.len(), content.len());
    // Many at once: with their first pieces alone they owe more than a second's worth.
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = lab.connect().await;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", slow.unwrap());
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let missing = format!("/cas/{}", hash_of(b"nothing"));
    until("the limit", async || lab.get(&missing, slow).await.status == 429).await;
    assert_eq!(lab.get(&path, Some("free-free-free-free")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_so_many_requests_at_once() {
    let lab = Lab::with(|_, options| options.guard = guard(ACCESS)).await;
    let (one, path) = (Some("one-one-one-one-one"), format!("/cas/{}", hash_of(b"content")));
    let mut stream = lab.connect().await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Expect: 100-continue\r\nContent-Length: 7\r\n\r\n",
        one.unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It has the place when it is asked for its body. Whoever looked before might take that place.
    let mut asked = [0; GO_ON.len()];
    timeout(Duration::from_secs(60), stream.read_exact(&mut asked)).await.unwrap().unwrap();
    assert_eq!(asked, GO_ON, "{}", String::from_utf8_lossy(&asked));
    assert_eq!(lab.get(&path, one).await.status, 429);
    stream.write_all(b"content").await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    until("its end", async || lab.get(&path, one).await.status == 200).await;
}
