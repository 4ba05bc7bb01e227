//! What the audit log says of what was done.

use std::fs;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use larder::clock::Clock;
use larder_server::guard::{Audit, AuditOptions};
use reapi::action_cache_client::ActionCacheClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;

use super::{Lab, digest_of, guard, hash_of, with_token};

const ACCESS: &str = r#"
[tokens.ci]
secret = "ci-ci-ci-ci-ci-ci-ci"
scopes = { shop = "write" }
"#;

const CI: Option<&str> = Some("ci-ci-ci-ci-ci-ci-ci");

async fn lab(reads: bool) -> (Lab, Audit) {
    let mut audit = None;
    let lab = Lab::with(|folder, options| {
        let options_of_audit =
            AuditOptions { path: folder.join("audit"), reads, max_bytes: 1 << 20, kept: 1 };
        let opened = Audit::open(options_of_audit, Clock::system()).unwrap();
        options.guard = guard(ACCESS).with_audit(opened.clone());
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
            format!("ci shop grpc write contents cas/{batch} 10 done"),
        ]
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
            format!("ci shop grpc read cas/{content} 7 done"),
        ]
    );
}
