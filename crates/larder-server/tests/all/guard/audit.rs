//! What the audit log says of what was done.

use std::fs;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytestream::byte_stream_client::ByteStreamClient;
use futures_util::stream;
use larder::clock::Clock;
use larder_server::Exposition;
use larder_server::guard::{Audit, AuditOptions};
use prost::Message as _;
use reapi::action_cache_client::ActionCacheClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;

use super::{Lab, digest_of, guard, hash_of, with_token};

const ACCESS: &str = r#"
[tokens.ci]
secret = "ci-ci-ci-ci-ci-ci-ci"
scopes = { shop = "write" }
[tokens.scraper]
secret = "scrape-scrape-scrape"
role = "admin"
"#;

const CI: Option<&str> = Some("ci-ci-ci-ci-ci-ci-ci");
const SCRAPER: Option<&str> = Some("scrape-scrape-scrape");

async fn lab(reads: bool) -> (Lab, Audit) {
    let mut audit = None;
    let lab = Lab::with(|folder, options| {
        let options_of_audit =
            AuditOptions { path: folder.join("audit"), reads, max_bytes: 1 << 20, kept: 1 };
        let opened = Audit::open(options_of_audit, Clock::system()).unwrap();
        options.guard = guard(ACCESS).with_audit(opened.clone());
        options.exposition = Some(Exposition::new(|| "up 1\n".to_owned()));
        audit = Some(opened);
    })
    .await;
    (lab, audit.unwrap())
}

/// What was written down, without times.
fn lines(lab: &Lab, audit: &Audit) -> Vec<String> {
    audit.close();
    let text = fs::read_to_string(lab.folder.path().join("audit")).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        let word = |name: &str| match &line[name] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        ["who", "scope", "protocol", "deed", "key", "bytes", "outcome"].map(word).join(" ")
    };
    text.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_removals_and_refusals_are_written_down_whatever_the_protocol() {
    let (lab, audit) = lab(false).await;
    let hash = hash_of(b"content");
    let path = format!("/scope/shop/cas/{hash}");
    lab.put(&path, CI, b"content").await;
    lab.put(&path, CI, b"another").await;
    lab.get(&path, CI).await;
    lab.put(&path, None, b"content").await;
    lab.put("/gradle/0123", CI, b"content").await;
    lab.put("/scope/shop/v1/cache/12", CI, b"one").await;
    lab.put("/scope/shop/v1/cache/12", CI, b"two").await;
    lab.put("/scope/shop/ccache/a/b", CI, b"x").await;
    let remove = format!("DELETE /scope/shop/ccache/a/b HTTP/1.1\nAuthorization: Bearer {}", CI.unwrap());
    lab.http(&remove, b"").await;
    let mut client = ActionCacheClient::new(lab.channel().await);
    for instance_name in ["shop", "other"] {
        let request = reapi::UpdateActionResultRequest {
            instance_name: instance_name.to_owned(),
            action_digest: Some(digest_of(b"action")),
            action_result: Some(reapi::ActionResult { exit_code: 1, ..Default::default() }),
            ..Default::default()
        };
        drop(client.update_action_result(with_token(request, CI)).await);
    }
    let mut contents = ContentAddressableStorageClient::new(lab.channel().await);
    let part = reapi::batch_update_blobs_request::Request {
        digest: Some(digest_of(b"in a batch")),
        data: b"in a batch".to_vec(),
        ..Default::default()
    };
    let request = reapi::BatchUpdateBlobsRequest {
        instance_name: "shop".to_owned(),
        requests: vec![part],
        ..Default::default()
    };
    contents.batch_update_blobs(with_token(request, CI)).await.unwrap();
    let (action, batch) = (hash_of(b"action"), hash_of(b"in a batch"));
    assert_eq!(
        lines(&lab, &audit),
        [
            format!("ci shop cas write contents {path} 7 done"),
            format!("ci shop cas write contents {path} 7 failed"),
            format!("- - cas - {path} - refused"),
            "ci default gradle write results /gradle/0123 - refused".to_owned(),
            "ci shop nx write results /scope/shop/v1/cache/12 3 done".to_owned(),
            "ci shop nx write results /scope/shop/v1/cache/12 0 refused".to_owned(),
            "ci shop ccache write results /scope/shop/ccache/a/b 1 done".to_owned(),
            "ci shop ccache remove /scope/shop/ccache/a/b 0 done".to_owned(),
            format!("ci shop grpc write results ac/sha256-{action} 2 done"),
            "ci other grpc write results \
             /build.bazel.remote.execution.v2.ActionCache/UpdateActionResult - refused"
                .to_owned(),
            format!("ci shop grpc write contents cas/sha256-{batch} 10 done"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_over_grpc_has_one_name_in_each_line_whichever_call_it_is_of() {
    let (lab, audit) = lab(true).await;
    let leaf = reapi::Directory::default().encode_to_vec();
    let node = reapi::DirectoryNode { name: "n".repeat(20_000), digest: Some(digest_of(&leaf)) };
    let root = reapi::Directory { directories: vec![node], ..Default::default() }.encode_to_vec();
    let (leaf, root, bytes) = (hash_of(&leaf), hash_of(&root), (root.len(), root));
    let mut streams = ByteStreamClient::new(lab.channel().await);
    for _ in ["it comes", "it is there by now"] {
        let message = bytestream::WriteRequest {
            resource_name: format!("shop/uploads/x/blobs/{root}/{}", bytes.0),
            finish_write: true,
            data: bytes.1.clone(),
            ..Default::default()
        };
        streams.write(with_token(stream::iter([message]), CI)).await.unwrap();
    }
    for stated in [bytes.0, 7] {
        let request = bytestream::ReadRequest {
            resource_name: format!("shop/blobs/{root}/{stated}"),
            ..Default::default()
        };
        drop(streams.read(with_token(request, CI)).await);
    }
    let mut contents = ContentAddressableStorageClient::new(lab.channel().await);
    let request = reapi::GetTreeRequest {
        instance_name: "shop".to_owned(),
        root_digest: Some(digest_of(&bytes.1)),
        ..Default::default()
    };
    let mut tree = contents.get_tree(with_token(request, CI)).await.unwrap().into_inner();
    while tree.message().await.unwrap().is_some() {}
    let length = bytes.0;
    assert_eq!(
        lines(&lab, &audit),
        [
            format!("ci shop grpc write contents cas/sha256-{root} {length} done"),
            format!("ci shop grpc write contents cas/sha256-{root} {length} done"),
            format!("ci shop grpc read cas/sha256-{root} {length} done"),
            format!("ci shop grpc read cas/sha256-{root} - missing"),
            format!("ci shop grpc read cas/sha256-{root} {length} done"),
            format!("ci shop grpc read cas/sha256-{leaf} 0 done"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_took_the_metrics_and_who_was_not_let_is_written_down() {
    let (lab, audit) = lab(true).await;
    assert_eq!(lab.get("/metrics", SCRAPER).await.status, 200);
    assert_eq!(lab.get("/metrics", CI).await.status, 403);
    assert_eq!(
        lines(&lab, &audit),
        ["scraper - http read /metrics 0 done", "ci - http - /metrics - refused"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_written_down_where_that_is_wanted() {
    let (lab, audit) = lab(true).await;
    let path = format!("/scope/shop/cas/{}", hash_of(b"content"));
    lab.get(&path, CI).await;
    lab.put(&path, CI, b"content").await;
    lab.get(&path, CI).await;
    lab.ask_for_result("shop", CI).await;
    let mut contents = ContentAddressableStorageClient::new(lab.channel().await);
    let request = reapi::BatchReadBlobsRequest {
        instance_name: "shop".to_owned(),
        digests: vec![digest_of(b"content")],
        ..Default::default()
    };
    contents.batch_read_blobs(with_token(request, CI)).await.unwrap();
    let (action, content) = (hash_of(b"an action"), hash_of(b"content"));
    assert_eq!(
        lines(&lab, &audit),
        [
            format!("ci shop cas read {path} 14 missing"),
            format!("ci shop cas write contents {path} 7 done"),
            format!("ci shop cas read {path} 7 done"),
            format!("ci shop grpc read ac/sha256-{action} - missing"),
            format!("ci shop grpc read cas/sha256-{content} 7 done"),
        ]
    );
}
