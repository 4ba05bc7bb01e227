//! Results of actions, over gRPC and HTTP: given while all that they name is there.

use std::thread;
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use larder_shared::testing::{RedisServer, Server as _};
use prost::Message as _;
use reapi::action_cache_client::ActionCacheClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::contents::Contents;
use crate::lab::{Lab, digest, hash, noise};

/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Results(ActionCacheClient<Channel>);

impl Results {
    pub(crate) fn of(lab: &Lab) -> Self {
        Self(ActionCacheClient::new(lab.channel()))
    }

    pub(crate) async fn put(&mut self, action: &[u8], result: &reapi::ActionResult) -> Result<(), Code> {
        let request = reapi::UpdateActionResultRequest {
            instance_name: "shop".to_owned(),
            action_digest: Some(digest(action)),
            action_result: Some(result.clone()),
            ..Default::default()
        };
        let told = self.0.update_action_result(request).await.map_err(|status| status.code())?;
        assert_eq!(told.get_ref(), result);
        Ok(())
    }

    pub(crate) async fn get(&mut self, action: &[u8]) -> Result<reapi::ActionResult, Code> {
        let request = reapi::GetActionResultRequest {
            instance_name: "shop".to_owned(),
            action_digest: Some(digest(action)),
            ..Default::default()
        };
        Ok(self.0.get_action_result(request).await.map_err(|status| status.code())?.into_inner())
    }
}

pub(crate) fn file(path: &str, content: &[u8]) -> reapi::OutputFile {
    reapi::OutputFile { path: path.to_owned(), digest: Some(digest(content)), ..Default::default() }
}

fn node(name: &str, content: &[u8]) -> reapi::FileNode {
    reapi::FileNode { name: name.to_owned(), digest: Some(digest(content)), ..Default::default() }
}

#[test]
fn a_result_is_given_only_while_each_content_that_it_names_is_there() {
    let lab = Lab::start();
    let (mut results, mut contents) = (Results::of(&lab), Contents::of(&lab, "shop"));
    let (out, log, errors) = (noise(1, 100_000), b"built".as_slice(), noise(2, 30_000));
    let result = reapi::ActionResult {
        output_files: vec![file("out", &out), file("empty", b"")],
        stdout_digest: Some(digest(log)),
        stderr_digest: Some(digest(&errors)),
        exit_code: 3,
        ..Default::default()
    };
    lab.block_on(async {
        assert_eq!(results.get(b"build").await, Err(Code::NotFound));
        results.put(b"build", &result).await.unwrap();
        for content in [&out[..], log, &errors] {
            assert_eq!(results.get(b"build").await, Err(Code::NotFound));
            contents.put(&[content]).await;
        }
        assert_eq!(results.get(b"build").await, Ok(result.clone()));
    });
    assert_eq!(lab.damage(), 2);
    lab.block_on(async {
        assert_eq!(results.get(b"build").await, Err(Code::NotFound));
        contents.put(&[&out]).await;
        assert_eq!(results.get(b"build").await, Err(Code::NotFound));
        contents.put(&[&errors]).await;
        assert_eq!(results.get(b"build").await, Ok(result.clone()));
    });
}

#[test]
fn the_files_of_a_result_s_directories_have_to_be_there_too() {
    let lab = Lab::start();
    let (mut results, mut contents) = (Results::of(&lab), Contents::of(&lab, "shop"));
    let (above, below) = (noise(3, 20_000), b"below".as_slice());
    let child = reapi::Directory { files: vec![node("b", below)], ..Default::default() };
    let child_bytes = child.encode_to_vec();
    let root = reapi::Directory {
        files: vec![node("a", &above)],
        directories: vec![reapi::DirectoryNode {
            name: "child".to_owned(),
            digest: Some(digest(&child_bytes)),
        }],
        ..Default::default()
    };
    let root_bytes = root.encode_to_vec();
    let tree = reapi::Tree { root: Some(root), children: vec![child] }.encode_to_vec();
    let output = reapi::OutputDirectory { path: "dist".to_owned(), ..Default::default() };
    let as_tree = reapi::OutputDirectory { tree_digest: Some(digest(&tree)), ..output.clone() };
    let as_root = reapi::OutputDirectory { root_directory_digest: Some(digest(&root_bytes)), ..output };
    let result = |output| reapi::ActionResult { output_directories: vec![output], ..Default::default() };
    let (as_tree, as_root) = (result(as_tree), result(as_root));
    lab.block_on(async {
        results.put(b"tree", &as_tree).await.unwrap();
        results.put(b"root", &as_root).await.unwrap();
        for content in [&tree[..], &root_bytes, &child_bytes, &above] {
            contents.put(&[content]).await;
            assert_eq!(results.get(b"tree").await, Err(Code::NotFound));
            assert_eq!(results.get(b"root").await, Err(Code::NotFound));
        }
        contents.put(&[below]).await;
        assert_eq!(results.get(b"tree").await, Ok(as_tree));
        assert_eq!(results.get(b"root").await, Ok(as_root));
        // What is said to be a tree and is none.
        let noise = reapi::OutputDirectory { tree_digest: Some(digest(&above)), ..Default::default() };
        results.put(b"noise", &result(noise)).await.unwrap();
        assert_eq!(results.get(b"noise").await, Err(Code::NotFound));
    });
}

#[test]
fn a_result_whose_digests_are_none_is_refused() {
    let lab = Lab::start();
    let mut results = Results::of(&lab);
    let named = |digest| reapi::ActionResult {
        output_files: vec![reapi::OutputFile { path: "a".to_owned(), digest, ..Default::default() }],
        ..Default::default()
    };
    let short = reapi::Digest { hash: "ab".to_owned(), size_bytes: 1 };
    let negative = reapi::Digest { size_bytes: -1, ..digest(b"a") };
    lab.block_on(async {
        for bad in [None, Some(short), Some(negative)] {
            assert_eq!(results.put(b"build", &named(bad)).await, Err(Code::InvalidArgument));
        }
        let empty =
            reapi::UpdateActionResultRequest { action_digest: Some(digest(b"build")), ..Default::default() };
        let refused = results.0.update_action_result(empty).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    });
}

#[test]
fn of_a_result_and_what_is_none_under_one_name_the_one_that_came_last_counts() {
    let redis = RedisServer::start();
    let mut lab = Lab::sharing(redis.url());
    let other = Lab::sharing(redis.url());
    let path = format!("/scope/shop/ac/{}", hash(b"build"));
    let got = |lab: &Lab| {
        let answer = lab.http("GET", &path, &[], "");
        (answer.code() == 200).then(|| answer.body.unwrap())
    };
    // Another server hears of it.
    let both_give = |lab: &Lab, expected: Option<&[u8]>| {
        let until = Instant::now() + LIMIT;
        while [lab, &other].map(got) != [(); 2].map(|()| expected.map(Bytes::copy_from_slice)) {
            assert!(Instant::now() < until, "what was replaced is given");
            thread::sleep(Duration::from_millis(20));
        }
    };
    for (opaque, out) in [(b"no message".as_slice(), noise(4, 20_000)), (&noise(5, 60_000), noise(6, 20_000))]
    {
        let result = reapi::ActionResult { output_files: vec![file("out", &out)], ..Default::default() };
        let message = result.encode_to_vec();
        assert_eq!(lab.http("PUT", &path, &[], opaque.to_vec()).code(), 200);
        both_give(&lab, Some(opaque));
        let mut results = Results::of(&lab);
        assert_eq!(lab.block_on(results.get(b"build")), Err(Code::NotFound));
        // It names what is not there, which is nothing to give something older for.
        lab.block_on(results.put(b"build", &result)).unwrap();
        both_give(&lab, None);
        lab.restart();
        assert_eq!(got(&lab), None, "nor is it on disk");
        lab.block_on(Contents::of(&lab, "shop").put(&[&out]));
        assert_eq!(got(&lab).as_deref(), Some(&message[..]));
        assert_eq!(lab.http("PUT", &path, &[], opaque.to_vec()).code(), 200);
        assert_eq!(got(&lab).as_deref(), Some(opaque));
        assert_eq!(lab.block_on(Results::of(&lab).get(b"build")), Err(Code::NotFound));
        assert_eq!(lab.http("PUT", &path, &[], message.clone()).code(), 200);
        assert_eq!(got(&lab).as_deref(), Some(&message[..]));
    }
}

#[test]
fn a_result_put_over_one_protocol_is_given_over_each_as_message_or_as_json() {
    let lab = Lab::start();
    let (mut results, mut contents) = (Results::of(&lab), Contents::of(&lab, "shop"));
    let out = noise(4, 20_000);
    let json = format!(
        r#"{{"outputFiles":[{{"path":"dist/out","digest":{{"hash":"{}","sizeBytes":"20000"}},"isExecutable":true,"nodeProperties":{{"mtime":"2026-11-29T14:26:17.875455452+00:00","unixMode":33188}}}}],"executionMetadata":{{"worker":"moon"}}}}"#,
        hash(&out)
    );
    let path = format!("/scope/shop/ac/{}", hash(b"build"));
    let as_json = [("content-type", "application/json"), ("accept", "application/json")];
    assert_eq!(lab.http("PUT", &path, &as_json, json.clone()).code(), 200);
    assert_eq!(lab.http("GET", &path, &as_json, "").code(), 404, "it names what is not there");
    lab.block_on(contents.put(&[&out]));
    let got = lab.http("GET", &path, &as_json, "");
    assert_eq!((got.header("content-type"), got.text()), (Some("application/json"), json));
    let result = lab.block_on(results.get(b"build")).unwrap();
    assert!(result.output_files[0].is_executable && result.execution_metadata.is_some());
    let message = lab.http("GET", &path, &[], "").body.unwrap();
    assert_eq!(reapi::ActionResult::decode(message.clone()).unwrap(), result);
    // And as a message over HTTP, of which gRPC and JSON know.
    let other = format!("/scope/shop/ac/{}", hash(b"other"));
    assert_eq!(lab.http("PUT", &other, &[], message).code(), 200);
    assert_eq!(lab.block_on(results.get(b"other")).unwrap(), result);
    assert!(lab.http("GET", &other, &as_json, "").text().contains("\"sizeBytes\":\"20000\""));
}

#[test]
fn a_result_that_says_more_than_is_known_of_is_given_as_it_came_while_what_it_names_is_there() {
    let lab = Lab::start();
    let (mut results, mut contents) = (Results::of(&lab), Contents::of(&lab, "shop"));
    let out = noise(7, 20_000);
    let result = reapi::ActionResult { output_files: vec![file("out", &out)], ..Default::default() };
    // A field with the number 1000 that is text.
    let message = [&result.encode_to_vec()[..], &[0xc2, 0x3e, 3], b"new"].concat();
    let digest = format!(r#"{{"hash":"{}","sizeBytes":"20000","new":1}}"#, hash(&out));
    let json = format!(r#"{{"new":[{{}}],"outputFiles":[{{"path":"out","digest":{digest}}}]}}"#);
    let paths = [b"message", b"asjson."].map(|action| format!("/scope/shop/ac/{}", hash(action)));
    let as_json = [("content-type", "application/json"), ("accept", "application/json")];
    let as_it_is = [];
    let forms = [(&as_it_is[..], message), (&as_json, json.into_bytes())];
    for (path, (headers, body)) in paths.iter().zip(&forms) {
        assert_eq!(lab.http("PUT", path, headers, body.clone()).code(), 200);
        assert_eq!(lab.http("GET", path, headers, "").code(), 404, "it names what is not there");
    }
    lab.block_on(contents.put(&[&out]));
    for (path, (headers, body)) in paths.iter().zip(&forms) {
        let got = lab.http("GET", path, headers, "");
        assert_eq!(got.body.as_deref(), Some(&body[..]));
        assert_eq!(got.header("content-type") == Some("application/json"), !headers.is_empty());
    }
    lab.block_on(async {
        assert_eq!(results.get(b"message").await, Ok(result));
        assert_eq!(results.get(b"asjson.").await, Err(Code::NotFound), "not all of it is known");
    });
}

#[test]
fn a_result_that_is_too_long_is_refused_over_each_protocol() {
    let lab = Lab::start();
    let mut results = Results::of(&lab);
    let long = vec![b'.'; 4_000_000];
    let names = reapi::ActionResult { output_files: vec![file("out", b"out")], ..Default::default() };
    let after = reapi::ActionResult { stderr_digest: Some(digest(b"log")), ..Default::default() };
    for result in [names, after] {
        let result = reapi::ActionResult { stdout_raw: long.clone(), ..result };
        let message = result.encode_to_vec();
        assert_eq!(lab.block_on(results.put(b"build", &result)), Err(Code::ResourceExhausted));
        let path = format!("/scope/shop/ac/{}", hash(b"build"));
        let json = serde_json::to_vec(&result).unwrap();
        let frame = zstd::bulk::compress(&message, 1).unwrap();
        for (headers, body) in [
            (&[("content-type", "application/json")][..], json),
            (&[("content-encoding", "zstd")], frame),
            (&[], message),
        ] {
            let answer = lab.try_http("PUT", &path, headers, body);
            assert!(answer.is_none_or(|answer| answer.code() == 413), "{headers:?}");
        }
        assert_eq!(lab.http("GET", &path, &[], "").code(), 404);
    }
}

#[test]
fn what_comes_packed_in_the_place_of_a_result_is_what_it_unpacks_to() {
    let lab = Lab::start();
    lab.block_on(Contents::of(&lab, "shop").put(&[b"out"]));
    let result = reapi::ActionResult { output_files: vec![file("out", b"out")], ..Default::default() };
    let path = format!("/scope/shop/ac/{}", hash(b"build"));
    for body in [result.encode_to_vec(), b"no message ".repeat(10_000)] {
        let frame = zstd::bulk::compress(&body, 1).unwrap();
        assert_eq!(lab.http("PUT", &path, &[("content-encoding", "zstd")], frame).code(), 200);
        assert_eq!(lab.http("GET", &path, &[], "").body.unwrap(), body);
    }
    assert_eq!(lab.http("PUT", &path, &[("content-encoding", "gzip")], "x").code(), 400);
}
