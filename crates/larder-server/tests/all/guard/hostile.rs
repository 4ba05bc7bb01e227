//! Input that is not what it says it is.

use std::io::Write as _;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytestream::byte_stream_client::ByteStreamClient;
use larder::key::Scope;
use larder_server::store::{ContentId, Function};
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use tokio::io::AsyncWriteExt as _;
use tonic::{Code, Status};

use super::{Answer, LARGEST_BYTES, Lab, digest_of, hash_of};

impl Lab {
    async fn write(&self, name: String, pieces: &[&[u8]]) -> Result<i64, Status> {
        let (mut messages, mut offset) = (Vec::new(), 0);
        for (nth, piece) in pieces.iter().enumerate() {
            messages.push(bytestream::WriteRequest {
                resource_name: name.clone(),
                write_offset: offset,
                finish_write: nth + 1 == pieces.len(),
                data: piece.to_vec(),
            });
            offset += piece.len() as i64;
        }
        self.send(messages).await
    }

    async fn send(&self, messages: Vec<bytestream::WriteRequest>) -> Result<i64, Status> {
        let mut client = ByteStreamClient::new(self.channel().await);
        let written = client.write(futures_util::stream::iter(messages)).await;
        written.map(|response| response.into_inner().committed_size)
    }

    /// Whether a content of these bytes is there, or one under their name.
    async fn has(&self, bytes: &[u8]) -> bool {
        let id = ContentId::of(Function::Sha256, bytes);
        let missing = self.store.missing(&Scope::new("default").unwrap(), &[(id, bytes.len() as u64)]).await;
        missing.unwrap().is_empty()
    }

    /// Files that uploads left.
    fn leftovers(&self) -> usize {
        let mut number = 0;
        for entry in std::fs::read_dir(self.folder.path().join("cache/v1/tmp")).into_iter().flatten() {
            number += usize::from(entry.is_ok());
        }
        number
    }
}

fn upload(bytes: &[u8], stated: usize) -> String {
    format!("uploads/1/blobs/{}/{stated}", hash_of(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_with_a_wrong_digest_are_refused_over_each_protocol_and_are_not_there() {
    let lab = Lab::open().await;
    let (named, comes) = (vec![1; 50_000], vec![2; 50_000]);
    assert_eq!(lab.put(&format!("/cas/{}", hash_of(&named)), None, &comes).await, 400);
    let refused = lab.write(upload(&named, comes.len()), &[&comes]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut client = ContentAddressableStorageClient::new(lab.channel().await);
    let request = reapi::batch_update_blobs_request::Request {
        digest: Some(digest_of(&named)),
        data: comes.clone(),
        ..Default::default()
    };
    let request = reapi::BatchUpdateBlobsRequest { requests: vec![request], ..Default::default() };
    let response = client.batch_update_blobs(request).await.unwrap().into_inner();
    assert_eq!(response.responses[0].status.as_ref().unwrap().code, Code::InvalidArgument as i32);
    assert!(!lab.has(&named).await && !lab.has(&comes).await);
    assert_eq!(lab.leftovers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_lie_are_refused_over_each_protocol() {
    let lab = Lab::open().await;
    let content = vec![3; 50_000];
    for stated in [0, 1, 49_999, 50_001, i64::MAX as usize] {
        let refused = lab.write(upload(&content, stated), &[&content[..20_000], &content[20_000..]]).await;
        let expected =
            if stated > LARGEST_BYTES as usize { Code::ResourceExhausted } else { Code::InvalidArgument };
        assert_eq!(refused.unwrap_err().code(), expected, "{stated}");
        let mut client = ContentAddressableStorageClient::new(lab.channel().await);
        let digest = reapi::Digest { hash: hash_of(&content), size_bytes: stated as i64 };
        let one = reapi::batch_update_blobs_request::Request {
            digest: Some(digest),
            data: content.clone(),
            ..Default::default()
        };
        let request = reapi::BatchUpdateBlobsRequest { requests: vec![one], ..Default::default() };
        let updated = client.batch_update_blobs(request).await.map(tonic::Response::into_inner);
        let ok = updated.is_ok_and(|response| response.responses[0].status.as_ref().unwrap().code == 0);
        assert!(!ok, "{stated}");
    }
    assert!(!lab.has(&content).await);
    // Offsets that leave a gap, go back, or are negative.
    for offset in [10_001, 9_999, 0, -1] {
        let piece = |write_offset, data: &[u8], finish_write| bytestream::WriteRequest {
            resource_name: upload(&content, content.len()),
            write_offset,
            data: data.to_vec(),
            finish_write,
        };
        let pieces = vec![piece(0, &content[..10_000], false), piece(offset, &content[10_000..], true)];
        assert_eq!(lab.send(pieces).await.unwrap_err().code(), Code::InvalidArgument, "{offset}");
    }
    // What is there is there under its size only.
    lab.write(upload(&content, content.len()), &[&content]).await.unwrap();
    let mut client = ByteStreamClient::new(lab.channel().await);
    for stated in [0, 49_999, 50_001] {
        let resource_name = format!("blobs/{}/{stated}", hash_of(&content));
        let request = bytestream::ReadRequest { resource_name, ..Default::default() };
        assert_eq!(client.read(request).await.unwrap_err().code(), Code::NotFound, "{stated}");
    }
    for (read_offset, read_limit) in [(-1, 0), (0, -1), (i64::MAX, 0), (50_001, 0)] {
        let resource_name = format!("blobs/{}/50000", hash_of(&content));
        let request = bytestream::ReadRequest { resource_name, read_offset, read_limit };
        assert_eq!(client.read(request).await.unwrap_err().code(), Code::OutOfRange, "{read_offset}");
    }
    // A length over HTTP that is no length, or two of them.
    let path = format!("/cas/{}", hash_of(b"x"));
    for lengths in ["Content-Length: -1", "Content-Length: 1x", "Content-Length: 1\nContent-Length: 2"] {
        assert_eq!(lab.http(&format!("PUT {path} HTTP/1.1\n{lengths}"), b"x").await.status, 400, "{lengths}");
    }
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_uploads_leave_nothing() {
    let lab = Lab::open().await;
    let content = vec![4; 600_000];
    for path in [format!("/cas/{}", hash_of(&content)), "/gradle/0123".to_owned(), "/webdav/a".to_owned()] {
        let mut stream = lab.connect().await;
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&content[..500_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_ne!(Answer::read(&mut stream).await.status / 100, 2, "{path}");
        assert_eq!(lab.get(&path, None).await.status, 404, "{path}");
    }
    let name = upload(&content, content.len());
    let first = bytestream::WriteRequest {
        resource_name: name,
        data: content[..500_000].to_vec(),
        ..Default::default()
    };
    assert_eq!(lab.send(vec![first]).await.unwrap_err().code(), Code::InvalidArgument);
    // Packed, and cut.
    let packed = zstd::bulk::compress(&content, 1).unwrap();
    let name = format!("uploads/1/compressed-blobs/zstd/{}/{}", hash_of(&content), content.len());
    let cut = &packed[..packed.len() - 5];
    assert_eq!(lab.write(name, &[cut]).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(!lab.has(&content).await);
    assert_eq!(lab.leftovers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_upload_ends_at_the_limit() {
    let lab = Lab::open().await;
    for path in
        [format!("/cas/{}", hash_of(b"x")), format!("/ac/{}", hash_of(b"x")), "/gradle/0123".to_owned()]
    {
        let mut stream = lab.connect().await;
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut chunk = b"10000\r\n".to_vec();
        chunk.resize(7 + 0x10000, b'x');
        chunk.extend_from_slice(b"\r\n");
        let mut sent = 0;
        // Until the server has had enough; buffers of the system take some more.
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
            assert!(sent < 64 * LARGEST_BYTES, "{path}: the server takes all of it");
        }
        assert_eq!(lab.get(&path, None).await.status, 404);
    }
    let pieces = vec![0_u8; 1 << 16];
    let pieces: Vec<&[u8]> = (0..64).map(|_| &pieces[..]).collect();
    let refused = lab.write(upload(b"x", 1 << 20), &pieces).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert_eq!(lab.leftovers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_unpacks_to_more_than_is_taken_is_refused_early() {
    let lab = Lab::open().await;
    // A gigabyte of zeros, in a hundred kilobytes.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..1024 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 256 << 10, "{}", bomb.len());
    let path = format!("/cas/{}", hash_of(b"x"));
    let packed = format!("PUT {path} HTTP/1.1\nContent-Encoding: zstd");
    assert_eq!(lab.http(&packed, &bomb).await.status, 413);
    let name = format!("uploads/1/compressed-blobs/zstd/{}/1000", hash_of(b"x"));
    assert_eq!(lab.write(name, &[&bomb]).await.unwrap_err().code(), Code::InvalidArgument);
    // Frames without end that hold nothing, and what is no frame.
    let empty = zstd::bulk::compress(b"", 1).unwrap().repeat(10_000);
    assert_eq!(lab.http(&packed, &empty).await.status, 400);
    assert_eq!(lab.http(&packed, b"no frame").await.status, 400);
    assert_eq!(lab.http(&format!("PUT {path} HTTP/1.1\nContent-Encoding: gzip"), b"x").await.status, 400);
    // A window that takes more memory than a frame may ask for: header with a window of 2 TiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
    assert_eq!(lab.http(&packed, &window).await.status, 400);
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_do_not_lead_out_of_their_scope() {
    let lab = Lab::open().await;
    std::fs::write(lab.folder.path().join("secret"), "secret").unwrap();
    assert_eq!(lab.put("/scope/other/webdav/secret", None, b"of another scope").await, 201);
    let long = format!("/webdav/{}", "a".repeat(8000));
    for path in [
        "/webdav/../../secret",
        "/webdav/..%2f..%2fsecret",
        "/webdav/../scope/other/webdav/secret",
        "/webdav/%2e%2e/scope/other/webdav/secret",
        "/webdav//etc/passwd",
        "/webdav/%00",
        "/webdav/secret",
        "/ccache/../webdav/secret",
        "/scope/../other/webdav/secret",
        "/scope/%2e%2e/webdav/secret",
        "/scope//webdav/secret",
        "/scope/a%2fother/webdav/secret",
        "/scope/default/scope/other/webdav/secret",
        "//scope/other/webdav/secret",
        "/gradle/..%2fwebdav%2fsecret",
        "/v8/artifacts/..%2f..%2fsecret",
        "/v1/cache/%ff%fe",
        "/cas/..",
        &long,
    ] {
        let answer = lab.get(path, None).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    // What looks like a way is a name, and is where it was put.
    for path in ["/webdav/../x", "/webdav/..%2fx", "/ccache/a/../b"] {
        if lab.put(path, None, path.as_bytes()).await == 201 {
            assert_eq!(lab.get(path, None).await.body, path.as_bytes(), "{path}");
        }
    }
    assert_eq!(lab.get("/scope/other/webdav/secret", None).await.body, b"of another scope");
    for instance in ["..", "a/b", "other/../default", "\0", &"a".repeat(65)] {
        let status = lab.ask_for_result(instance, None).await;
        assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{instance:?} {status:?}");
    }
    for name in ["", "blobs", "blobs/../x/1", "../blobs/00/1", "uploads/../blobs/00/1", "\0/blobs/00/1"] {
        let request = bytestream::ReadRequest { resource_name: name.to_owned(), ..Default::default() };
        let mut client = ByteStreamClient::new(lab.channel().await);
        assert_eq!(client.read(request).await.unwrap_err().code(), Code::InvalidArgument, "{name:?}");
        assert_eq!(lab.write(name.to_owned(), &[b"x"]).await.unwrap_err().code(), Code::InvalidArgument);
    }
    // Nothing was put beside the cache.
    let mut names: Vec<_> =
        std::fs::read_dir(lab.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cache", "secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_messages_that_are_too_long_are_refused() {
    let lab = Lab::open().await;
    let long = "x".repeat(100_000);
    let answer = lab.http(&format!("GET /healthz HTTP/1.1\nX-Long: {long}"), b"").await;
    assert!(matches!(answer.status, 431 | 0), "{}", answer.status);
    let answer = lab.http(&format!("GET /{long} HTTP/1.1"), b"").await;
    assert!(matches!(answer.status, 414 | 431 | 0), "{}", answer.status);
    let many: String = (0..2000).map(|n| format!("x-{n}: y\n")).collect();
    assert!(matches!(lab.http(&format!("GET /healthz HTTP/1.1\n{many}"), b"").await.status, 431 | 0));
    let mut request = tonic::Request::new(reapi::GetCapabilitiesRequest::default());
    request.metadata_mut().insert("x-long", long.parse().unwrap());
    let mut client = reapi::capabilities_client::CapabilitiesClient::new(lab.channel().await);
    client.get_capabilities(request).await.unwrap_err();
    // A message that is longer than a batch may be, and a batch that says it is.
    let mut client = ContentAddressableStorageClient::new(lab.channel().await);
    let content = vec![0; 6 << 20];
    let part = reapi::batch_update_blobs_request::Request {
        digest: Some(digest_of(&content)),
        data: content,
        ..Default::default()
    };
    let request = reapi::BatchUpdateBlobsRequest { requests: vec![part], ..Default::default() };
    client.batch_update_blobs(request).await.unwrap_err();
    let digests = vec![reapi::Digest { hash: hash_of(b"x"), size_bytes: i64::MAX }; 3];
    let request = reapi::BatchReadBlobsRequest { digests, ..Default::default() };
    let refused = client.batch_read_blobs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let body = format!("{{\"hashes\":[\"{}\"]}}", "a".repeat(11 << 20));
    let answer = lab.http("POST /v8/artifacts HTTP/1.1", body.as_bytes()).await;
    assert!(matches!(answer.status, 413 | 0), "{}", answer.status);
    lab.check_is_well(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_documents_that_are_none_are_refused_and_nothing_breaks() {
    let lab = Lab::open().await;
    let asked = "POST /v8/artifacts HTTP/1.1";
    for text in ["", "{", "[]", "{\"hashes\":5}", "{\"hashes\":[5]}", "null", "\u{0}", &"[".repeat(100_000)] {
        assert_eq!(lab.http(asked, text.as_bytes()).await.status, 400, "{text:.20}");
    }
    // Garbage in the frames of gRPC, over HTTP/2 as curl speaks it: lengths that lie, tags that are none.
    for (nth, frame) in [
        &b""[..],
        b"\0\0\0\0\x05\xff\xff\xff\xff\xff",
        b"\0\xff\xff\xff\xff\x0a",
        b"\x01\0\0\0\x05hello",
        b"\0\0\0\0\x03\x0a\x7fx",
        b"no frame at all",
    ]
    .into_iter()
    .enumerate()
    {
        let file = lab.folder.path().join("frame");
        std::fs::write(&file, frame).unwrap();
        for method in [
            "build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
            "build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
            "google.bytestream.ByteStream/Write",
        ] {
            let output = std::process::Command::new("curl")
                .args(["--silent", "--include", "--max-time", "30", "--http2-prior-knowledge"])
                .args(["--header", "content-type: application/grpc", "--header", "te: trailers"])
                .args(["--data-binary", &format!("@{}", file.display())])
                .arg(format!("http://{}/{method}", lab.address))
                .output()
                .expect("curl is installed: apt-get install curl");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.contains("grpc-status:") && !said.contains("grpc-status: 0"),
                "{nth} {method}: {said}"
            );
        }
    }
    // What is no action result under `/ac/` is kept as what it is, and given as that.
    let path = format!("/ac/{}", hash_of(b"x"));
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x0a\x05ab", b""] {
        assert_eq!(lab.put(&path, None, bytes).await, 200);
        assert_eq!(lab.get(&path, None).await.body, bytes);
    }
    lab.check_is_well(None).await;
}
