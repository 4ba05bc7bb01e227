//! Of several who miss the same thing, one makes it.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use reapi::action_cache_client::ActionCacheClient;
use tonic::Code;
use tonic::transport::Channel;

use super::{Lab, digest_of, until};

const ACCESS: &str = r#"
anybody = "write"

[scopes.patient]
wait = "1 h"

[scopes.hasty]
wait = "50 ms"
"#;

async fn ask(client: &mut ActionCacheClient<Channel>, instance: &str) -> Result<reapi::ActionResult, Code> {
    let request = reapi::GetActionResultRequest {
        instance_name: instance.to_owned(),
        action_digest: Some(digest_of(b"action")),
        ..Default::default()
    };
    let answer = client.get_action_result(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

async fn put(client: &mut ActionCacheClient<Channel>, instance: &str) -> reapi::ActionResult {
    let result = reapi::ActionResult { exit_code: 7, ..Default::default() };
    let request = reapi::UpdateActionResultRequest {
        instance_name: instance.to_owned(),
        action_digest: Some(digest_of(b"action")),
        action_result: Some(result.clone()),
        ..Default::default()
    };
    client.update_action_result(request).await.unwrap();
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_client_waits_for_the_result_of_the_first() {
    let lab = Lab::guarded(ACCESS).await;
    let mut first = ActionCacheClient::new(lab.channel().await);
    let mut second = ActionCacheClient::new(lab.channel().await);
    assert_eq!(ask(&mut first, "patient").await, Err(Code::NotFound));
    let waits = tokio::spawn(async move { ask(&mut second, "patient").await });
    until("somebody who waits", async || lab.guard.waiting() == 1).await;
    assert!(!waits.is_finished());
    // Of another scope nobody waits, nor where it was not asked for.
    let mut third = ActionCacheClient::new(lab.channel().await);
    assert_eq!(ask(&mut third, "other").await, Err(Code::NotFound));
    assert_eq!(ask(&mut first, "other").await, Err(Code::NotFound));
    let result = put(&mut first, "patient").await;
    assert_eq!(waits.await.unwrap(), Ok(result));
    assert_eq!(lab.guard.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_client_that_is_gone() {
    let lab = Lab::guarded(ACCESS).await;
    let mut first = ActionCacheClient::new(lab.channel().await);
    assert_eq!(ask(&mut first, "patient").await, Err(Code::NotFound));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = ActionCacheClient::new(lab.channel().await);
        waiting.push(tokio::spawn(async move { (ask(&mut client, "patient").await, client) }));
    }
    until("those who wait", async || lab.guard.waiting() == 3).await;
    drop(first);
    // One of them has the turn now, and the others wait for that one.
    until("one that goes on", async || waiting.iter().any(tokio::task::JoinHandle::is_finished)).await;
    let at = waiting.iter().position(tokio::task::JoinHandle::is_finished).unwrap();
    let (answer, mut client) = waiting.swap_remove(at).await.unwrap();
    assert_eq!(answer, Err(Code::NotFound));
    until("those who wait", async || lab.guard.waiting() == 2).await;
    let result = put(&mut client, "patient").await;
    for waits in waiting {
        assert_eq!(waits.await.unwrap().0, Ok(result.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_longer_than_the_scope_says() {
    let lab = Lab::guarded(ACCESS).await;
    let mut first = ActionCacheClient::new(lab.channel().await);
    let mut second = ActionCacheClient::new(lab.channel().await);
    assert_eq!(ask(&mut first, "hasty").await, Err(Code::NotFound));
    assert_eq!(ask(&mut second, "hasty").await, Err(Code::NotFound));
}
